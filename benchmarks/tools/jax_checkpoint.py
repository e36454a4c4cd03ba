"""JAX with checkpointing: gradients that compute each interval again instead of keeping its steps."""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Case
from benchmarks.data import Data
from benchmarks.tools import jax


def gradient(case: Case, data: Data) -> Any:
    """As in `jax`, with jax.checkpoint around an interval."""
    return jax.gradient(case, data, checkpoint=True)
