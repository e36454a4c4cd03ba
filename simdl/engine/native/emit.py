"""From a lane program to C statements.

Small values are C variables in a loop over lanes, which the C compiler makes vector instructions of; larger values are
arrays [element][lane]. Statements that are ready run together in one loop over lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from simdl.engine.native.analysis import Order
from simdl.engine.native.expressions import C_TYPES, expression, literal
from simdl.engine.native.ir import CONSTANT, Value
from simdl.engine.native.large import large_group
from simdl.engine.native.layout import MEMORY
from simdl.engine.native.small import small_group
from simdl.engine.native.unit import Access, Shared, Sink, Unit

ON_STACK = 128 * 1024
"""Bytes of arrays of a function on the stack, which may be small in a thread; more are memory of the thread."""


class Body(Order):
    """The statements of one straight-line program.

    inputs: how to read a value that is there already (a slot, a hoisted value), or None."""

    def __init__(self, unit: Unit, inputs: Callable[[Value], Access | None], room: list[int] | None = None) -> None:
        super().__init__(unit.width)
        self.unit, self.inputs = unit, inputs
        self.lines: list[str] = []
        self.places: dict[int, Access] = {}
        self.loops: dict[int, list[str]] = {}  # the arrays in which finished loops have left their results
        self.room = [ON_STACK] if room is None else room

    def child(self, inputs: Callable[[Value], Access | None]) -> Body:
        """The body of a loop within this one."""
        return Body(self.unit, inputs, self.room)

    # -- reading --------------------------------------------------------------------------------------------------

    def access(self, value: Value) -> Access | None:
        """How to read a value that is stored somewhere."""
        found = self.places.get(value.index)
        return found if found is not None else self.inputs(value)

    def element(self, value: Value, at: int | str) -> str:
        """The C expression of an element in lane l; `at` is a number, or a C expression."""
        found = self.access(value)
        if found is not None:
            return found(str(at))
        if value.op == "const":
            return literal(value.attr[1], value.type)
        if value.op == "view":
            indices = value.attr.array
            if isinstance(at, int):
                return self.element(value.args[0], int(indices[at]))
            index = self._index(indices, at)
            return self.element(value.args[0], int(index) if index.isdecimal() else index)
        if value.op == "concat" and isinstance(at, int):
            for part in value.args:
                if at < part.size:
                    return self.element(part, at)
                at -= part.size
        if value.level == CONSTANT:
            return f"{self.unit.table(value)}[{at}]"
        raise AssertionError(f"{value} is not there yet")

    def _index(self, indices: np.ndarray[Any, Any], at: str) -> str:
        """The C expression of an index that is looked up."""
        if len(indices) == 1 or (indices == indices[0]).all():
            return str(int(indices[0]))
        step = int(indices[1] - indices[0])
        if (np.diff(indices) == step).all():
            begin = int(indices[0])
            text = at if step == 1 else f"{step} * ({at})"
            return text if begin == 0 else f"({text} + {begin})"
        return f"{self.unit.map(indices)}[{at}]"

    def selected(self, v: Value, at: str) -> str:
        """An element of a selection whose places depend on the number of a turn."""
        turn, places = self.element(v.args[1], 0), v.attr.array.reshape(-1, v.size)
        steps = np.diff(places, axis=0)
        if len(places) > 1 and (steps == steps[0, 0]).all():
            begin = self._index(places[0], at) if v.size > 1 else str(int(places[0, 0]))
            return self.element(v.args[0], f"({begin} + {int(steps[0, 0])} * {turn})")
        return self.element(v.args[0], f"{self.unit.map(v.attr.array)}[{turn} * {v.size} + {at}]")

    def point(self, v: Value, e: int | str) -> str:
        """One element of a pointwise operation; a product that is used once rides on the sum."""

        def read(arg: Value) -> str:
            at = e if arg.size == v.size else 0
            if arg.index in self.fused:
                return self.point(arg, at)
            return self.element(arg, at)

        if v.op in ("add", "sub") and any(a.index in self.fused for a in v.args):
            end = "f" if v.type == "f4" else ""
            which = next(i for i, a in enumerate(v.args) if a.index in self.fused)
            product, other = v.args[which], v.args[1 - which]
            at = e if product.size == v.size else 0
            x, y = (self.element(f, at if f.size == product.size else 0) for f in product.args)
            rest = read(other)
            if v.op == "sub" and which == 0:
                rest = f"-{rest}"
            elif v.op == "sub":
                x = f"-{x}"
            return f"__builtin_fma{end}({x}, {y}, {rest})"
        given = v.args[-1].type
        if v.op == "to_f4" and given == "f8" and isinstance(e, int):
            return f"k_narrow({read(v.args[0])})"
        return expression(v.op, [read(a) for a in v.args], v.type, given)

    # -- computing ------------------------------------------------------------------------------------------------

    def run(self, outputs: Sequence[Value]) -> None:
        """Compute these values; afterwards `element` reads them."""
        groups, outside = self.grouped(list(outputs))
        for kind, values in groups:
            (small_group if kind == "small" else large_group)(self, values, outside)

    # -- memory ---------------------------------------------------------------------------------------------------

    def declare(self, ctype: str, name: str, size: int, aligned: bool = True) -> None:
        """An array [size][W]."""
        bytes_ = max(1, size) * self.unit.width * next(np.dtype(m[1]).itemsize for m in MEMORY.values() if m[0] == ctype
                                                      or ctype == "_Bool" and m[0] == "uint8_t")  # fmt: skip
        self.room[0] -= bytes_
        kind = "static _Thread_local " if self.room[0] < 0 else ""
        where = " __attribute__((aligned(64)))" if aligned else ""
        self.lines.append(f"{kind}{ctype} {name}[{max(1, size)}][W]{where};")

    def array(self, v: Value) -> str:
        """Declare the array of a large value, padded to whole vectors."""
        self.declare(C_TYPES[v.type], f"b{v.index}", self._padded(v))
        return f"b{v.index}"

    def _padded(self, v: Value) -> int:
        return -(-v.size // 16) * 16 if self.unit.width == 1 else v.size

    def spread(self, v: Value, size: int) -> Value:
        """A value of one element as one of `size`."""
        if v.size == size:
            return v
        return Value(-1 - v.index, "view", (v,), _Zeros(size), v.type, size, v.level)

    def stored(self, v: Value) -> str:
        """An array [element][lane] with exactly the elements of a value: its own, a part of another, or a copy."""
        source, start = v, 0
        if v.op == "view" and self.places.get(v.index) is None and (np.diff(v.attr.array) == 1).all() and v.size:
            source, start = v.args[0], int(v.attr.array[0])
        own = self.places.get(source.index)
        text = own("0") if own is not None else ""
        if text.endswith("[0][l]") and text[:1] in "bx":
            name = text.removesuffix("[0][l]")
            return f"({name} + {start})" if start else name
        name = self.unit.name("copy")
        self.declare(C_TYPES[v.type], name, self._padded(v))
        self.copy(v, lambda at, text: f"{name}[{at}][l] = {text};")
        return name

    def indexed(self, v: Value, at: str) -> str:
        """The C expression of an element at a place that differs between lanes: where it lies, or of a copy."""
        source = v.args[0] if v.op == "view" and self.access(v) is None and (np.diff(v.attr.array) == 1).all() else v
        return self.element(v, at) if self.access(source) is not None else f"{self.stored(v)}[{at}][l]"

    def copy(self, v: Value, sink: Callable[[str, str], str]) -> None:
        """Store every element of a value."""
        if not v.size:
            return
        if self.access(v) is None and v.op == "concat":
            start = 0
            for part in v.args:
                begin = start
                self.copy(part, lambda at, text, b=begin: sink(f"({at} + {b})" if b else at, text))  # type: ignore[misc]
                start += part.size
            return
        if not v.size:
            return
        if v.size <= self.small or self.access(v) is None and v.op == "view" and self._scattered(v):
            self._written([sink(str(e), self.element(v, e)) for e in range(v.size)])
        else:
            self.lines.append(f"ELEMENTS({v.size}) LANES {{ {sink('e', self.element(v, 'e'))} }}")

    def _written(self, statements: Sequence[str]) -> None:
        for i in range(0, len(statements), 128):
            self.lines += ["LANES {", *(f"  {line}" for line in statements[i : i + 128]), "}"]

    def _scattered(self, v: Value) -> bool:
        """Whether a view picks from a concatenation that is not stored."""
        source = v.args[0]
        return self.access(source) is None and source.op == "concat"

    def store(self, sinks: Sequence[Sink]) -> None:
        """Compute values and store them: everything is read before anything is written."""
        self.run([v for v, _ in sinks])
        large = [(self.stored(v), v, sink) for v, sink in sinks if v.size > self.small]
        loads, stores = [], []
        for v, sink in sinks:
            for e in range(v.size if v.size <= self.small else 0):
                name = self.unit.name("o")
                loads.append(f"const {C_TYPES[v.type]} {name} = {self.element(v, e)};")
                stores.append(sink(str(e), name))
        if loads:
            self.lines += ["LANES {", *(f"  {line}" for line in (*loads, *stores)), "}"]
        for name, v, sink in large:
            self.lines.append(f"ELEMENTS({v.size}) LANES {{ {sink('e', f'{name}[e][l]')} }}")


class _Zeros:
    """The indices of the first element, repeated."""

    def __init__(self, size: int) -> None:
        self.array = np.zeros(size, dtype=np.int64)


__all__ = ["Access", "Body", "Shared", "Sink", "Unit"]
