"""simdl: one small file per model, for an engine given by name; `compile_model` belongs to preparing."""

from __future__ import annotations

import os
from typing import Any

import torch

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def options(engine: str, threads: int) -> dict[str, Any]:
    """What `simulate` is told about the engine; torch has its threads from the environment."""
    return {"engine": engine, **({"threads": threads} if engine == "native" else {})}
