"""Large values: arrays [element][lane], computed in loops over elements and lanes, or by kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from simdl.engine.native.expressions import C_TYPES, FLOATS, HEAVY, POINTWISE, better, combined
from simdl.engine.native.ir import CONSTANT, Loop, Value
from simdl.engine.native.small import stored
from simdl.engine.native.unit import Access

if TYPE_CHECKING:
    from simdl.engine.native.emit import Body


def large_group(body: Body, values: list[Value], outside: set[int]) -> None:
    """Compute pointwise values of one size in one loop, or one other value."""
    first = values[0]
    if len(values) == 1 and first.op in HEAVY and all(a.type == first.type for a in first.args):
        _mapped(body, first)
    elif first.op in POINTWISE or first.op == "select":
        _loop(body, values, outside)
    else:
        _OTHERS[first.op](body, first)


def _loop(body: Body, values: list[Value], outside: set[int]) -> None:
    inner: list[str] = []
    for v in values:
        if v.index in outside:
            body.array(v)
        text = body.selected(v, "e") if v.op == "select" else body.point(v, "e")
        inner.append(f"const {C_TYPES[v.type]} t{v.index} = {text};")
        if v.index in outside:
            inner.append(f"b{v.index}[e][l] = t{v.index};")
        body.places[v.index] = _named(f"t{v.index}")
    body.lines += [f"ELEMENTS({values[0].size}) LANES {{", *(f"  {line}" for line in inner), "}"]
    for v in values:
        if v.index in outside:
            body.places[v.index] = stored(f"b{v.index}")
        else:
            body.places.pop(v.index, None)


def _mapped(body: Body, v: Value) -> None:
    """A costly function of every number of arrays, by a function that is compiled once."""
    given = [body.stored(body.spread(a, v.size)) for a in v.args]
    name = body.array(v)
    arrays = ", ".join(f"&{x}[0][0]" for x in (name, *given))
    body.lines.append(f"{body.unit.function(v.op, v.type, len(given))}({arrays}, {v.size} * W);")
    body.places[v.index] = stored(name)


def _concat(body: Body, v: Value) -> None:
    name = body.array(v)
    body.copy(v, lambda at, text: f"{name}[{at}][l] = {text};")
    body.places[v.index] = stored(name)


def _reduce(body: Body, v: Value) -> None:
    kind, columns = v.attr
    source, name, ctype = v.args[0], body.array(v), C_TYPES[v.type]
    given = C_TYPES[source.type]
    lines = [f"for (int e = 0; e < {v.size}; e++) {{", f"  {given} best[W]; {ctype} place[W];",
             f"  LANES {{ best[l] = {body.element(source, f'(e * {columns})')}; place[l] = 0; }}",
             f"  for (int j = 1; j < {columns}; j++) LANES {{",
             f"    const {given} next = {body.element(source, f'(e * {columns} + j)')};"]  # fmt: skip
    if kind in ("argmax", "argmin"):
        lines += [f"    const int taken = {better(kind, 'next', 'best[l]', source.type)};",
                  "    place[l] = taken ? j : place[l];", "    best[l] = taken ? next : best[l];"]  # fmt: skip
    else:
        lines.append(f"    best[l] = {combined(kind, 'best[l]', 'next', v.type)};")
    result = "place[l]" if kind in ("argmax", "argmin") else "best[l]"
    body.lines += [*lines, "  }", f"  LANES {name}[e][l] = {result};", "}"]
    body.places[v.index] = stored(name)


def _matmul(body: Body, v: Value) -> None:
    b, m, k, n = v.attr
    left, right = v.args
    a = body.stored(left)
    weights = right.level == CONSTANT and v.type in FLOATS
    other = "" if weights else body.stored(right)
    name = body.array(v)
    end = "f" if v.type == "f4" else ""
    for i in range(b):
        out, start = f"{name} + {i * m * n}", f"{a} + {i * m * k}"
        if weights:
            padded = -(-n // 16) * 16
            part = right if b == 1 else _part(right, i * k * n, k * n)
            table = body.unit.table(part, k, n, padded)
            body.lines.append(f"k_weights{end}({out}, {start}, {table}, {m}, {k}, {n}, {padded});")
        else:
            body.lines.append(f"k_matmul_{v.type}({out}, {start}, {other} + {i * k * n}, {m}, {k}, {n});")
    body.places[v.index] = stored(name)


def _part(value: Value, start: int, size: int) -> Value:
    """A stretch of a table."""
    return Value(-1 - value.index * 4096 - start, "view", (value,), _Range(start, size), value.type, size, CONSTANT)


class _Range:
    """The indices of a stretch."""

    def __init__(self, start: int, size: int) -> None:
        self.array = np.arange(start, start + size)


def _take(body: Body, v: Value) -> None:
    rows, width = v.attr
    index, name = body.stored(v.args[1]), body.array(v)
    table = body.unit.table(v.args[0], rows, width, width)
    body.lines.append(f"for (int e = 0; e < {v.args[1].size}; e++) for (int j = 0; j < {width}; j++) LANES "
                      f"{name}[e * {width} + j][l] = {table}[i_row({index}[e][l], {rows}) * {width} + j];")  # fmt: skip
    body.places[v.index] = stored(name)


def _pick(body: Body, v: Value) -> None:
    which, name = body.stored(v.args[1]), body.array(v)
    found = body.indexed(v.args[0], f"(e * {v.attr} + i_row({which}[e][l], {v.attr}))")
    body.lines.append(f"for (int e = 0; e < {v.size}; e++) LANES {name}[e][l] = {found};")
    body.places[v.index] = stored(name)


def _solve(body: Body, v: Value) -> None:
    batch, n, m = v.attr
    a, b, name = body.stored(v.args[0]), body.stored(v.args[1]), body.array(v)
    for i in range(batch):
        body.lines.append(f"k_solve_{v.type}({name} + {i * n * m}, {a} + {i * n * n}, {b} + {i * n * m}, {n}, {m});")
    body.places[v.index] = stored(name)


def _noise(body: Body, v: Value) -> None:
    stream, distribution, count = v.attr
    tick, name = body.stored(v.args[0]), body.array(v)
    body.lines.append(f"k_{distribution}_{v.type}({name}, c->streams[{stream}], lane, {tick}[0], {count});")
    body.places[v.index] = stored(name)


def _repeat(body: Body, v: Value) -> None:
    loop: Loop = v.attr
    carried = []
    for i, (begin, state) in enumerate(zip(v.args, loop.state)):
        name = f"r{v.index}_{i}"
        carried.append(name)
        body.declare(C_TYPES[state.type], name, state.size)
        body.copy(begin, lambda at, text, n=name: f"{n}[{at}][l] = {text};")  # type: ignore[misc]
    states = {s.index: name for s, name in zip(loop.state, carried)}
    turn = body.unit.name("turn")

    def inputs(value: Value) -> Access | None:
        if value.index in states:
            return stored(states[value.index])
        if value.index == loop.index.index:
            return _named(f"(int64_t){turn}")
        return body.access(value)

    inner = body.child(inputs)
    inner.store([(f, lambda at, text, n=name: f"{n}[{at}][l] = {text};")  # type: ignore[misc]
                 for f, name in zip(loop.following, carried)])  # fmt: skip
    body.lines += [f"for (int {turn} = 0; {turn} < {loop.turns}; {turn}++) {{", *(f"  {line}" for line in inner.lines),
                   "}"]  # fmt: skip
    body.places[v.index] = _named("0")
    body.loops[v.index] = carried


def _result(body: Body, v: Value) -> None:
    body.places[v.index] = stored(body.loops[v.args[0].index][v.attr])


_OTHERS: dict[str, Callable[[Body, Value], None]] = {
    "concat": _concat, "reduce": _reduce, "matmul": _matmul, "take": _take, "pick": _pick, "solve": _solve,
    "noise": _noise, "repeat": _repeat, "result": _result,
}  # fmt: skip


def _named(name: str) -> Access:
    return lambda at: name
