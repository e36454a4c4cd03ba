"""Whether the engine's own code is being traced into a program instead of run, and what may then not ask the data.

The native engine runs the reference engine once, on placeholder lanes, and records what it computes. So the reference
engine asks here instead of asking a mask: a traced program must hold for every lane.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from torch import Tensor


class Tracer(Protocol):
    """What records: the primitives that it keeps whole instead of the operations they are made of."""

    def repeat(self, n: int, body: Callable[[Any, int], Any], state: Any) -> Any:
        """A loop with a fixed number of turns."""

    def opaque(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        """A call into Python that is not recorded but made at run time."""


_tracers: list[Tracer] = []


def tracer() -> Tracer | None:
    """The tracer at work, or None."""
    return _tracers[-1] if _tracers else None


@contextmanager
def traced_by(one: Tracer) -> Iterator[None]:
    """Let `tracer()` answer with this one."""
    _tracers.append(one)
    try:
        yield
    finally:
        _tracers.pop()


def anywhere(mask: Tensor) -> bool:
    """Whether a mask holds in some lane; True while tracing, because a program is for all lanes."""
    return bool(_tracers) or bool(mask.any())
