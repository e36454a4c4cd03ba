"""Loops of a fixed number of turns: kept as loops where turns differ in numbers and indices only, else unrolled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from simdl.engine.native.entry import Entry
from simdl.engine.native.ir import CONSTANT, DTYPES, STAGE, TYPES, Loop, Map, Value
from simdl.errors import LoweringError

if TYPE_CHECKING:
    from simdl.engine.native.tracer import Tracer

UNROLLED = 64  # turns that are written out
TRACED = 4096  # turns that are compared
Turn = list[tuple[Value, Tensor]]


def traced_loop(tracer: Tracer, n: int, body: Callable[[Any, int], Any], state: Any) -> Any:
    """The state after `n` turns of `body(state, turn)`.

    The body is traced for two turns from the same placeholders. Where both give the same values, the loop is one
    operation. Else every turn is traced, and numbers, tables and indices that differ become tables by turn; turns that
    differ otherwise are written one after another."""
    if n == 0:
        return state
    several = isinstance(state, tuple)
    start: tuple[Tensor, ...] = state if several else (state,)
    depth = tracer.depth
    inputs = tuple(_carried(tracer, tensor, f"carried:{depth}:{i}") for i, tensor in enumerate(start))
    index = tracer.graph.input(f"turn:{depth}", "i8", 1, STAGE)

    def turn(k: int) -> Turn | None:
        tracer.depth += 1
        try:
            return _values(tracer, start, body(inputs if several else inputs[0], k))
        finally:
            tracer.depth -= 1

    first = turn(0)
    second = turn(1) if n > 1 and first is not None else first
    following = _following(tracer, index, n, first, second, turn)
    if first is None or following is None:
        if n > UNROLLED:
            raise LoweringError(tracer.where, f"a loop of {n} turns that differ in more than numbers and indices",
                                f"at most {UNROLLED} of them, or a body that is the same in every turn")  # fmt: skip
        for k in range(n):
            state = body(state, k)
        return state
    graph = tracer.graph
    loop = Loop(n, tuple(tracer.known(t).value for t in inputs), index, tuple(following))
    begin = [tracer.aligned(tracer.known(t), tuple(t.shape), (0, 1, 1)) for t in start]
    whole = graph.make("repeat", [graph.expanded(v, c.size) for v, c in zip(begin, loop.state)], loop, "f8", 1, STAGE)
    results = []
    for i, (tensor, (value, out)) in enumerate(zip(start, first)):
        with tracer.paused():
            fresh = out.clone()
        made = graph.make("result", (whole,), i, TYPES[tensor.dtype], value.size, level=STAGE)
        tracer.put(fresh, Entry(made, tuple(fresh.shape), (0, 1, 1)))
        results.append(fresh)
    return tuple(results) if several else results[0]


def _following(tracer: Tracer, index: Value, n: int, first: Turn | None, second: Turn | None,
               turn: Callable[[int], Turn | None]) -> list[Value] | None:  # fmt: skip
    """What a turn makes of its state, as one program for all turns."""
    if first is None or second is None:
        return None
    one, two = [v for v, _ in first], [v for v, _ in second]
    if all(a is b for a, b in zip(one, two)) and n <= 2:
        return one
    last = turn(n - 1)  # a body may also be different at its end
    middle = turn(n // 2)
    if last is None or middle is None:
        return None
    if all(a is b is c is d for a, b, (c, _), (d, _) in zip(one, two, last, middle)):
        return one
    if n > TRACED or any(_joined(tracer, index, pair, 2, {}) is None for pair in zip(one, two)):
        return None
    turns = [one, two]
    for k in range(2, n):
        found = turn(k)
        if found is None:
            return None
        turns.append([v for v, _ in found])
    known: dict[tuple[int, ...], Value | None] = {}
    joined = [_joined(tracer, index, values, n, known) for values in zip(*turns)]
    return None if any(v is None for v in joined) else [v for v in joined if v is not None]


def _joined(tracer: Tracer, index: Value, values: Sequence[Value], n: int,
            known: dict[tuple[int, ...], Value | None]) -> Value | None:  # fmt: skip
    """One value for the values of all turns; None if they are not alike."""
    key = tuple(v.index for v in values)
    if key in known:
        return known[key]
    first = values[0]
    found: Value | None = None
    if all(v is first for v in values):
        found = first
    elif any((v.type, v.size) != (first.type, first.size) for v in values):
        found = None
    elif all(v.level == CONSTANT for v in values):
        found = _table(tracer, index, values, n)
    elif all(v.op == first.op and len(v.args) == len(first.args) for v in values):
        found = _alike(tracer, index, values, n, known)
    known[key] = found
    return found


def _table(tracer: Tracer, index: Value, values: Sequence[Value], n: int) -> Value:
    """Constants that differ from turn to turn, as rows of a table."""
    graph, first = tracer.graph, values[0]
    if all(v.op == "const" for v in values):
        with tracer.paused():
            numbers = [float("nan") if v.attr[1] is None else v.attr[1] for v in values]
            tensor = torch.tensor(numbers, dtype=DTYPES[first.type])
        tracer.literal(tensor)
        whole = tracer.known(tensor).value
    else:
        whole = graph.concat(values)
    return graph.make("take", (whole, index), (n, first.size), first.type, first.size)


def _alike(tracer: Tracer, index: Value, values: Sequence[Value], n: int,
           known: dict[tuple[int, ...], Value | None]) -> Value | None:  # fmt: skip
    """The same operation on what the turns' arguments are together."""
    graph, first = tracer.graph, values[0]
    args = [_joined(tracer, index, group, n, known) for group in zip(*(v.args for v in values))]
    if first.op == "view" and any(v.attr != first.attr for v in values):
        source = first.args[0]
        if any(v.args[0] is not source for v in values):
            return None
        places = Map(np.stack([v.attr.array for v in values]).reshape(-1))
        return graph.make("select", (source, index), places, first.type, first.size)
    if any(a is None for a in args) or any(v.attr != first.attr for v in values):
        return None
    return graph.make(first.op, [a for a in args if a is not None], first.attr, first.type, first.size, first.level)


def _carried(tracer: Tracer, tensor: Tensor, name: str) -> Tensor:
    """A placeholder for what a turn begins with; loops at the same depth use the same."""
    with tracer.paused():
        fresh = tensor.clone()
    value = tracer.graph.input(name, TYPES[fresh.dtype], fresh[0].numel(), STAGE)
    tracer.put(fresh, Entry(value, tuple(fresh.shape), (0, 1, 1)))
    return fresh


def _values(tracer: Tracer, start: Any, found: Any) -> Turn | None:
    """What a turn gives, if it keeps shapes and types."""
    results = found if isinstance(found, tuple) else (found,)
    values = []
    for before, after in zip(start, results, strict=True):
        if before.shape != after.shape or before.dtype != after.dtype:
            return None
        value = tracer.aligned(tracer.known(after), tuple(after.shape), (0, 1, 1))
        values.append((tracer.graph.expanded(value, after[0].numel()), after))
    return values
