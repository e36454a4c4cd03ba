"""Small values: every element is a C variable in a loop over lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simdl.engine.native.expressions import C_TYPES, FLOATS, POINTWISE, better, combined
from simdl.engine.native.ir import Value
from simdl.engine.native.unit import Access

if TYPE_CHECKING:
    from simdl.engine.native.emit import Body


def small_group(body: Body, values: list[Value], outside: set[int]) -> None:
    """Compute values in one loop over lanes; those in `outside` are also stored in arrays."""
    for v in values:
        if v.index in outside:
            body.declare(C_TYPES[v.type], f"x{v.index}", v.size, aligned=False)
    inner: list[str] = []
    pairs, named = _sines(values), set[int]()
    for v in values:
        partner = pairs.get(v.index)
        if partner is not None and v.index not in named:
            _both(body, v, partner, inner)
            named |= {v.index, partner}
        for e in range(v.size):
            name = f"x{v.index}_{e}"
            if partner is None:
                text = _statement(body, v, e, inner)
                inner.append(f"const {C_TYPES[v.type]} {name} = {text};")
            if v.index in outside:
                inner.append(f"x{v.index}[{e}][l] = {name};")
        body.places[v.index] = _local(f"x{v.index}")
    body.lines += ["LANES {", *(f"  {line}" for line in inner), "}"]
    for v in values:
        if v.index in outside:
            body.places[v.index] = stored(f"x{v.index}")
        else:
            body.places.pop(v.index, None)


def _sines(values: list[Value]) -> dict[int, int]:
    """Sines whose cosine is wanted too, and the other way round."""
    found: dict[int, int] = {}
    by_argument: dict[int, dict[str, Value]] = {}
    for v in values:
        if v.op in ("sin", "cos"):
            by_argument.setdefault(v.args[0].index, {})[v.op] = v
    for pair in by_argument.values():
        if len(pair) == 2:
            found[pair["sin"].index], found[pair["cos"].index] = pair["cos"].index, pair["sin"].index
    return found


def _both(body: Body, v: Value, partner: int, inner: list[str]) -> None:
    """Sine and cosine of one argument from one reduction."""
    end = "f" if v.type == "f4" else ""
    sine, cosine = (v.index, partner) if v.op == "sin" else (partner, v.index)
    for e in range(v.size):
        inner.append(f"{C_TYPES[v.type]} x{sine}_{e}, x{cosine}_{e};")
        inner.append(f"m_sincos{end}({body.element(v.args[0], e)}, &x{sine}_{e}, &x{cosine}_{e});")


def _statement(body: Body, v: Value, e: int, inner: list[str]) -> str:
    """The expression of one element; what it needs before goes to `inner`."""
    if v.op in POINTWISE:
        return body.point(v, e)
    if v.op == "select":
        return body.selected(v, str(e))
    if v.op == "reduce":
        return _reduced(body, v, e, inner)
    if v.op == "matmul":
        b, m, k, n = v.attr
        i, rest = divmod(e, m * n)
        row, column = divmod(rest, n)
        left = [body.element(v.args[0], (i * m + row) * k + j) for j in range(k)]
        right = [body.element(v.args[1], (i * k + j) * n + column) for j in range(k)]
        return _chain(left, right, v.type)
    if v.op == "take":
        rows, width = v.attr
        i, j = divmod(e, width)
        row = f"i_row({body.element(v.args[1], i)}, {rows})"
        table = body.unit.table(v.args[0], rows, width, width)
        return f"{table}[{row} * {width} + {j}]"
    which = body.unit.name("w")
    inner.append(f"const int64_t {which} = i_row({body.element(v.args[1], e)}, {v.attr});")
    text = body.element(v.args[0], e * v.attr + v.attr - 1)
    for j in range(v.attr - 2, -1, -1):
        text = f"({which} == {j} ? {body.element(v.args[0], e * v.attr + j)} : {text})"
    return text


def _chain(left: list[str], right: list[str], kind: str) -> str:
    """The sum of products in the order of the kernels, which begin at zero."""
    if kind not in FLOATS:
        text = "0"
        for a, b in zip(left, right):
            text = f"({C_TYPES[kind]})({a} * {b} + {text})"
        return text
    end = "f" if kind == "f4" else ""
    text = f"0.0{end}"
    for a, b in zip(left, right):
        text = f"__builtin_fma{end}({a}, {b}, {text})"
    return text


def _reduced(body: Body, v: Value, e: int, inner: list[str]) -> str:
    kind, columns = v.attr
    source = v.args[0]
    parts = [body.element(source, e * columns + j) for j in range(columns)]
    if kind not in ("argmax", "argmin"):
        text = parts[0]
        for part in parts[1:]:
            text = combined(kind, text, part, v.type)
        return text
    best, place, taken = (body.unit.name(prefix) for prefix in ("best", "place", "taken"))
    inner.append(f"{C_TYPES[source.type]} {best} = {parts[0]}; int64_t {place} = 0; int {taken};")
    for j, part in enumerate(parts[1:], 1):
        inner.append(f"{taken} = {better(kind, part, best, source.type)}; {place} = {taken} ? {j} : {place}; "
                     f"{best} = {taken} ? {part} : {best};")  # fmt: skip
    return place


def _local(name: str) -> Access:
    return lambda at: f"{name}_{at}"


def stored(name: str) -> Access:
    """How to read an array [element][lane]."""
    return lambda at: f"{name}[{at}][l]"
