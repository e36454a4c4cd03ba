"""Lane programs with cheaper operations: a division by what does not change in a run is a product.

A product with a rounded reciprocal may differ in the last bit. So nothing is changed that a decision depends on: a
floor or a comparison jumps where its argument moves by a bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from simdl.engine.native.expressions import DECISIONS, FLOATS
from simdl.engine.native.ir import CONSTANT, LANE, Graph, Value


def simplified(graph: Graph, values: Sequence[Value]) -> list[Value]:
    """The same values, computed with fewer divisions."""
    order = _ordered(values)
    decisive = _decisive(order)
    found: dict[int, Value] = {}
    for v in order:
        args = [found.get(a.index, a) for a in v.args]
        if v.op == "div" and v.type in FLOATS:
            cheaper = _product(graph, v, args, v.index in decisive)
            if cheaper is not None:
                found[v.index] = cheaper
                continue
        if any(a is not b for a, b in zip(args, v.args)):
            found[v.index] = graph.make(v.op, args, v.attr, v.type, v.size, v.level)
    return [found.get(v.index, v) for v in values]


def _product(graph: Graph, v: Value, args: Sequence[Value], decisive: bool) -> Value | None:
    """x / d as x * (1 / d)."""
    x, d = args
    if d.op == "const" and d.attr[1] and math.isfinite(d.attr[1]):
        exact = abs(math.frexp(d.attr[1])[0]) == 0.5 and 2.0**-100 < abs(d.attr[1]) < 2.0**100
        if exact or not decisive:
            return graph.pointwise("mul", [x, graph.const(1.0 / d.attr[1], v.type)], v.type)
    elif d.level <= LANE and d.level < x.level and not decisive and d.level > CONSTANT:
        return graph.pointwise("mul", [x, graph.pointwise("reciprocal", [d], v.type)], v.type)
    return None


def _ordered(values: Iterable[Value]) -> list[Value]:
    """All values that these are made of, each after its arguments. What loops compute inside is left alone."""
    order: dict[int, Value] = {}
    stack = [(v, False) for v in values]
    while stack:
        v, ready = stack.pop()
        if v.index in order:
            continue
        if ready:
            order[v.index] = v
            continue
        stack.append((v, True))
        stack.extend((a, False) for a in v.args)
    return list(order.values())


def _decisive(order: Sequence[Value]) -> set[int]:
    """The values that some decision depends on."""
    found: set[int] = set()
    for v in reversed(order):
        if v.op in DECISIONS or v.op in ("repeat", "reduce", "take", "pick") or v.index in found:
            found.update(a.index for a in v.args)
    return found
