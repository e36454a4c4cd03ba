"""One C file: the tables, index maps and helper functions that its programs share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from simdl.engine.native.expressions import C_TYPES, expression
from simdl.engine.native.ir import Value

Access = Callable[[str], str]
"""Element, as a C expression -> what reads it in lane l."""
Sink = tuple[Value, Callable[[str, str], str]]
"""A value to be stored, and (element, expression) -> the statement that stores it for lane l."""


@dataclass(eq=False)
class Shared:
    """A table for the C code: the value it holds, in the order (rows, columns) with columns padded to `padded`."""

    value: Value
    rows: int
    columns: int
    padded: int


class Unit:
    """One C file for vectors of `width` lanes. maps: what the file needs before its functions."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.shared: list[Shared] = []
        self.maps: list[str] = []
        self._maps: dict[bytes, str] = {}
        self._shared: dict[tuple[int, int, int, int], int] = {}
        self._functions: set[str] = set()
        self._names = 0

    def name(self, prefix: str) -> str:
        """A name that is not used yet."""
        self._names += 1
        return f"{prefix}{self._names}"

    def table(self, value: Value, rows: int = 1, columns: int = 0, padded: int = 0) -> str:
        """The C expression of a pointer to a table."""
        columns = columns or value.size
        key = (value.index, rows, columns, padded or columns)
        number = self._shared.setdefault(key, len(self.shared))
        if number == len(self.shared):
            self.shared.append(Shared(value, rows, columns, padded or columns))
        return f"((const {C_TYPES[value.type]} *restrict)c->shared[{number}])"

    def map(self, array: np.ndarray[Any, Any]) -> str:
        """The name of a constant array of indices."""
        key = array.tobytes()
        if key not in self._maps:
            name = self._maps[key] = f"map{len(self._maps)}"
            self.maps.append(f"static const int32_t {name}[{len(array)}] = {{{', '.join(map(str, array.tolist()))}}};")
        return self._maps[key]

    def function(self, op: str, kind: str, given: int) -> str:
        """The name of a C function that applies an operation to every number of `given` arrays. It is compiled once,
        where it would otherwise be written out for each element."""
        name = f"k_{op}_{kind}"
        if name not in self._functions:
            self._functions.add(name)
            ctype, letters = C_TYPES[kind], "abc"[:given]
            arguments = "".join(f", const {ctype} *restrict {x}" for x in letters)
            text = expression(op, [f"{x}[i]" for x in letters], kind, kind)
            self.maps.append(
                f"__attribute__((noinline, unused)) static void {name}({ctype} *restrict out{arguments}, int n)\n"
                f"{{\n    _Pragma(\"omp simd\") for (int i = 0; i < n; i++) out[i] = {text};\n}}"
            )
        return name
