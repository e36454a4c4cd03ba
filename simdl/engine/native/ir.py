"""The lane program: what one lane computes, as a graph of array values without a lane axis.

A value is `size` numbers of one type. It is made by an operation from other values:

    const      a number                                    attr: the number
    input      something the loop provides at run time      attr: its name (a slot, a parameter, "t", ...)
    array      a table shared by all lanes                  attr: its number among the tables
    view       elements picked from one value               attr: Map, the flat index of each
    concat     several values one after another
    reduce     sums, products, extremes over rows           attr: (kind, columns)
    matmul     (b, m, k) times (b, k, n)                    attr: (b, m, k, n)
    take       elements picked by computed indices          args: table, indices; attr: (rows, width)
    solve      linear systems                               attr: (b, n, m)
    noise      random numbers of a stream                   attr: (stream, distribution, count)
    repeat     a loop of a fixed number of turns            attr: Loop
    result     one value of a loop                          attr: its number
    outside    what Python computed for an opaque node      attr: (call, number)
    and pointwise operations by name (`POINTWISE`), whose arguments have the value's size, or one element.

Values are made once: the same operation on the same values is the same value. `level` says how often a value may
change: 0 never in a run, 1 with the lane, 2 at instants, 3 within a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

TYPES: dict[torch.dtype, str] = {
    torch.float64: "f8", torch.float32: "f4", torch.int64: "i8", torch.int32: "i4", torch.int16: "i2",
    torch.int8: "i1", torch.uint8: "u1", torch.bool: "b1",
}  # fmt: skip
DTYPES = {name: dtype for dtype, name in TYPES.items()}
CONSTANT, LANE, INSTANT, STAGE = range(4)


class Map:
    """An array of flat indices that compares by content."""

    __slots__ = ("array", "_key")

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = np.ascontiguousarray(array, dtype=np.int64)
        self._key = self.array.tobytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Map) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@dataclass(eq=False, slots=True)
class Value:
    """`size` numbers of a type, computed by an operation."""

    index: int
    op: str
    args: tuple[Value, ...]
    attr: Any
    type: str
    size: int
    level: int

    def __repr__(self) -> str:
        args = ", ".join(f"v{a.index}" for a in self.args)
        return f"v{self.index}:{self.type}[{self.size}] = {self.op}({args})"


@dataclass(frozen=True)
class Loop:
    """The body of a repeat: inputs of a turn, the index of the turn, and what they become."""

    turns: int
    state: tuple[Value, ...]
    index: Value
    following: tuple[Value, ...]


class Graph:
    """All values of a model's programs, each made once."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self._known: dict[Any, Value] = {}

    def make(self, op: str, args: Sequence[Value] = (), attr: Any = None, type: str = "f8", size: int = 1,
             level: int | None = None) -> Value:  # fmt: skip
        """The value of an operation; level: the highest of its arguments, unless given."""
        key = (op, tuple(a.index for a in args), attr, type, size)
        found = self._known.get(key)
        if found is None:
            top = max((a.level for a in args), default=CONSTANT) if level is None else level
            found = Value(len(self.values), op, tuple(args), attr, type, size, top)
            self.values.append(found)
            self._known[key] = found
        return found

    def const(self, number: float | int | bool, type: str) -> Value:
        """A number. Floats are told apart by their bits, so that -0.0 and NaN stay what they are."""
        if type in ("f8", "f4"):
            number = float(number)
            key = number.hex() if math.isfinite(number) else repr(number)
            return self.make("const", (), (key, number) if number == number else (key, None), type)
        return self.make("const", (), (int(number), int(number)), type)

    def input(self, name: str, type: str, size: int, level: int) -> Value:
        """A value that the loop provides."""
        return self.make("input", (), name, type, size, level)

    def view(self, source: Value, indices: np.ndarray[Any, Any]) -> Value:
        """Elements of a value by flat index."""
        indices = np.asarray(indices, dtype=np.int64).reshape(-1)
        if source.op == "view":
            return self.view(source.args[0], source.attr.array[indices])
        if source.op == "concat" and len(indices):
            starts = np.cumsum([0, *(a.size for a in source.args)])
            part = np.searchsorted(starts, indices, side="right") - 1
            if (part == part[0]).all():
                return self.view(source.args[part[0]], indices - starts[part[0]])
        if len(indices) == source.size and (indices == np.arange(source.size)).all():
            return source
        return self.make("view", (source,), Map(indices), source.type, len(indices))

    def concat(self, parts: Iterable[Value]) -> Value:
        """Values one after another."""
        values = tuple(parts)
        if len(values) == 1:
            return values[0]
        return self.make("concat", values, None, values[0].type, sum(v.size for v in values))

    def pointwise(self, op: str, args: Sequence[Value], type: str) -> Value:
        """An operation on every element; arguments that are one element repeated are taken once."""
        if not all(a.size for a in args):
            return self.make("concat", (), None, type, 0)
        size = max(a.size for a in args)
        given = tuple(self._single(a) for a in args)
        return self._expanded(self.make(op, given, None, type, max(a.size for a in given)), size)

    def _single(self, value: Value) -> Value:
        if value.op == "view" and value.size > 1 and (value.attr.array == value.attr.array[0]).all():
            return self.view(value.args[0], value.attr.array[:1])
        return value

    def _expanded(self, value: Value, size: int) -> Value:
        return value if value.size == size else self.view(value, np.zeros(size, dtype=np.int64))

    def expanded(self, value: Value, size: int) -> Value:
        """One element repeated, or the value itself."""
        return self._expanded(value, size)

    def cast(self, value: Value, type: str) -> Value:
        """A value in another type."""
        if value.type == type:
            return value
        if value.op == "const":
            number = value.attr[1]
            number = float("nan") if number is None else number
            if type in ("f8", "f4") or (number == number and abs(number) < 2**62):
                if type == "f4":
                    number = float(np.float32(number))
                return self.const(bool(number) if type == "b1" else number, type)
        return self.pointwise(f"to_{type}", (value,), type)
