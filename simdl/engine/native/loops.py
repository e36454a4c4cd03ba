"""Loops of a fixed number of turns: kept as loops where every turn is the same, unrolled where it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from simdl.engine.native.entry import Entry
from simdl.engine.native.ir import STAGE, TYPES, Loop, Value
from simdl.errors import LoweringError

if TYPE_CHECKING:
    from simdl.engine.native.tracer import Tracer

UNROLLED = 64  # turns that read their number


def traced_loop(tracer: Tracer, n: int, body: Callable[[Any, int], Any], state: Any) -> Any:
    """The state after `n` turns of `body(state, turn)`.

    The body is traced for two turns from the same placeholders. Where both give the same values, the loop is one
    operation; else its turns are traced one after another."""
    if n == 0:
        return state
    several = isinstance(state, tuple)
    start = state if several else (state,)
    inputs = [_carried(tracer, tensor) for tensor in start]
    given = tuple(inputs) if several else inputs[0]
    first = _values(tracer, start, body(given, 0))
    second = _values(tracer, start, body(given, 1)) if n > 1 else first
    if first is None or second is None or [v.index for v, _ in first] != [v.index for v, _ in second]:
        if n > UNROLLED:
            raise LoweringError(tracer.where, f"a loop of {n} turns whose body reads the number of the turn",
                                f"at most {UNROLLED} of them, or a body that is the same in every turn")  # fmt: skip
        for k in range(n):
            state = body(state, k)
        return state
    graph = tracer.graph
    loop = Loop(n, tuple(tracer.known(t).value for t in inputs), graph.const(0, "i8"), tuple(v for v, _ in first))
    entries = [tracer.known(t) for t in start]
    begin = [tracer.aligned(e, tuple(t.shape), (0, 1, 1)) for e, t in zip(entries, start)]
    whole = graph.make("repeat", [graph.expanded(v, c.size) for v, c in zip(begin, loop.state)], loop, "f8", 1, STAGE)
    results = []
    for i, (tensor, (value, out)) in enumerate(zip(start, first)):
        fresh = out.clone()
        made = graph.make("result", (whole,), i, TYPES[tensor.dtype], value.size, level=STAGE)
        tracer.put(fresh, Entry(made, tuple(fresh.shape), (0, 1, 1)))
        results.append(fresh)
    return tuple(results) if several else results[0]


def _carried(tracer: Tracer, tensor: Tensor) -> Tensor:
    """A placeholder for what a turn begins with."""
    fresh = tensor.clone()
    number = len(tracer.kept)
    value = tracer.graph.input(f"carried:{number}", TYPES[fresh.dtype], fresh[0].numel(), STAGE)
    tracer.put(fresh, Entry(value, tuple(fresh.shape), (0, 1, 1)))
    return fresh


def _values(tracer: Tracer, start: Any, found: Any) -> list[tuple[Value, Tensor]] | None:
    """What a turn gives, if it keeps shapes and types."""
    results = found if isinstance(found, tuple) else (found,)
    values = []
    for before, after in zip(start, results, strict=True):
        if before.shape != after.shape or before.dtype != after.dtype:
            return None
        entry = tracer.known(after)
        values.append((tracer.aligned(entry, tuple(after.shape), (0, 1, 1)), after))
    return [(tracer.graph.expanded(v, t[0].numel()), t) for v, t in values]
