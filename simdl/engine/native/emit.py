"""From a lane program to C statements.

Up to SMALL elements of a value are C variables in a loop over lanes, which the C compiler makes vector instructions of;
larger values are arrays [element][lane]. Statements that are ready run together in one loop over lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from simdl.engine.native.expressions import C_TYPES, DECISIONS, FLOATS, POINTWISE, expression, literal
from simdl.engine.native.ir import CONSTANT, Loop, Value

SMALL = 24
UNROLLED = 512  # multiplications of a matrix product that is written out
GROUP = 250  # statements in one loop over lanes

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
    """One C file: what its functions share."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.shared: list[Shared] = []
        self.maps: list[str] = []
        self._maps: dict[bytes, str] = {}
        self._shared: dict[tuple[int, int, int, int], int] = {}
        self._names = 0

    def name(self, prefix: str) -> str:
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

    def map(self, array: np.ndarray) -> str:  # type: ignore[type-arg]
        """The name of a constant array of indices."""
        key = array.tobytes()
        if key not in self._maps:
            name = self._maps[key] = f"map{len(self._maps)}"
            self.maps.append(f"static const int32_t {name}[{len(array)}] = {{{', '.join(map(str, array.tolist()))}}};")
        return self._maps[key]


class Body:
    """The statements of one straight-line program.

    inputs: how to read a value that is there already (a slot, a hoisted value), or None."""

    def __init__(self, unit: Unit, inputs: Callable[[Value], Access | None]) -> None:
        self.unit, self.inputs = unit, inputs
        self.lines: list[str] = []
        self.places: dict[int, Access] = {}
        self.uses: dict[int, int] = {}
        self.tainted: set[int] = set()
        self.fused: set[int] = set()

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
            return self.element(value.args[0], self._index(indices, at))
        if value.op == "concat" and isinstance(at, int):
            for part in value.args:
                if at < part.size:
                    return self.element(part, at)
                at -= part.size
        if value.level == CONSTANT:
            return f"{self.unit.table(value)}[{at}]"
        raise AssertionError(f"{value} is not there yet")

    def _index(self, indices: np.ndarray, at: str) -> str:  # type: ignore[type-arg]
        """The C expression of an index that is looked up."""
        if len(indices) == 1 or (indices == indices[0]).all():
            return str(int(indices[0]))
        step = int(indices[1] - indices[0])
        if (np.diff(indices) == step).all():
            begin = int(indices[0])
            text = at if step == 1 else f"{step} * ({at})"
            return text if begin == 0 else f"({text} + {begin})"
        return f"{self.unit.map(indices)}[{at}]"

    # -- ordering -------------------------------------------------------------------------------------------------

    def run(self, outputs: Iterable[Value]) -> None:
        """Compute these values; afterwards `element` reads them."""
        wanted = list(outputs)
        order = self._order(wanted)
        self._analyse(order, wanted)
        waiting = [v for v in order if not self._transparent(v)]
        done: set[int] = set()
        groups: list[tuple[str, list[Value]]] = []
        group_of: dict[int, int] = {}
        needs = {v.index: self._needs(v) for v in waiting}
        while waiting:
            small: list[Value] = []
            rest: list[Value] = []
            for v in waiting:
                if self._is_small(v) and needs[v.index] <= done:
                    small.append(v)
                    done.add(v.index)
                else:
                    rest.append(v)
            for i in range(0, len(small), GROUP):
                for v in small[i : i + GROUP]:
                    group_of[v.index] = len(groups)
                groups.append(("small", small[i : i + GROUP]))
            waiting = rest
            big = self._fusable(waiting, needs, done)
            if big:
                for v in big:
                    group_of[v.index] = len(groups)
                groups.append(("big", big))
                taken = {v.index for v in big}
                done |= taken
                waiting = [v for v in waiting if v.index not in taken]
            elif not small and waiting:
                raise AssertionError(f"nothing is ready among {waiting[:3]}")
        outside = {w.index for v in wanted for w in self._leaves(v)}
        for number, (kind, values) in enumerate(groups):
            for v in values:
                for need in needs[v.index]:
                    if group_of.get(need, number) != number:
                        outside.add(need)
        for kind, values in groups:
            if kind == "small":
                self._small_group(values, outside)
            else:
                self._big_group(values, outside)

    def _transparent(self, value: Value) -> bool:
        """Whether a value needs no statement of its own."""
        if self.access(value) is not None or value.level == CONSTANT or value.op == "view":
            return True
        return value.index not in self._symbolic if value.op == "concat" else value.index in self.fused

    def _order(self, wanted: Sequence[Value]) -> list[Value]:
        """The values needed, each after its arguments."""
        order: dict[int, Value] = {}
        stack: list[tuple[Value, bool]] = [(v, False) for v in reversed(wanted)]
        self.uses = {}
        for v in wanted:
            self.uses[v.index] = self.uses.get(v.index, 0) + 2  # an output is needed as it is
        while stack:
            value, ready = stack.pop()
            if value.index in order:
                continue
            if ready:
                order[value.index] = value
                continue
            if self.access(value) is not None:
                continue
            if value.op == "input":
                raise AssertionError(f"{value.attr} is not provided")
            if value.op == "outside":
                raise AssertionError("an outside result is not provided")
            stack.append((value, True))
            if value.level == CONSTANT:
                continue
            for arg in reversed(self._arguments(value)):
                self.uses[arg.index] = self.uses.get(arg.index, 0) + 1
                stack.append((arg, False))
        return list(order.values())

    def _arguments(self, value: Value) -> list[Value]:
        """The arguments of an operation; of a loop, also what its body reads from outside."""
        if value.op != "repeat":
            return list(value.args)
        return [*value.args, *loop_reads(value.attr, lambda v: self.access(v) is not None)]

    def _leaves(self, value: Value) -> list[Value]:
        """The values that are stored and that an argument reads, through views and concatenations."""
        found: dict[int, Value] = {}
        stack, seen = [value], set()
        while stack:
            v = stack.pop()
            if v.index in seen:
                continue
            seen.add(v.index)
            if self.access(v) is not None or v.level == CONSTANT:
                continue
            if v.op in ("view", "concat") and self._transparent(v) or v.index in self.fused:
                stack.extend(v.args)
            else:
                found[v.index] = v
        return list(found.values())

    def _needs(self, value: Value) -> set[int]:
        return {leaf.index for arg in self._arguments(value) for leaf in self._leaves(arg)}

    def _analyse(self, order: list[Value], wanted: Sequence[Value]) -> None:
        """Which concatenations are read by computed element; which products ride on a sum as one fused operation."""
        self._symbolic: set[int] = set()
        for v in order:
            if not self._is_small(v):
                for arg in self._arguments(v):
                    stack = [arg]
                    while stack:
                        a = stack.pop()
                        if self.access(a) is None and a.op == "concat" and a.level != CONSTANT:
                            self._symbolic.add(a.index)
                        elif self.access(a) is None and a.op == "view":
                            stack.append(a.args[0])
        for v in reversed(order):
            if v.op in DECISIONS or v.index in self.tainted:
                self.tainted.update(a.index for a in v.args)
        for v in order:
            if v.op in ("add", "sub") and v.type in FLOATS and v.index not in self.tainted:
                for arg in v.args:
                    alone = arg.op == "mul" and self.uses.get(arg.index) == 1 and self.access(arg) is None
                    if alone and arg.size == v.size and arg.level != CONSTANT and arg.index not in self.tainted:
                        self.fused.add(arg.index)
                        break

    def _is_small(self, value: Value) -> bool:
        if value.op in POINTWISE:
            return value.size <= SMALL
        if value.op == "reduce":
            return value.args[0].size <= 4 * SMALL
        if value.op == "matmul":
            b, m, k, n = value.attr
            return bool(b * m * k * n <= UNROLLED and b * m * n <= SMALL)
        if value.op == "take":
            return value.size <= SMALL
        if value.op == "pick":
            return value.size * value.attr <= 8 * SMALL
        return False

    def _fusable(self, waiting: list[Value], needs: dict[int, set[int]], done: set[int]) -> list[Value]:
        """The next large operation, with the pointwise ones of the same size that can share its loop."""
        first = next((v for v in waiting if not self._is_small(v) and needs[v.index] <= done), None)
        if first is None:
            return []
        if first.op not in POINTWISE:
            return [first]
        group, inside = [first], {first.index}
        for v in waiting:
            if v is first or v.op not in POINTWISE or v.size != first.size or self._is_small(v):
                continue
            if needs[v.index] <= done | inside and self._same_places(v, inside):
                group.append(v)
                inside.add(v.index)
        return group

    def _same_places(self, value: Value, inside: set[int]) -> bool:
        """Whether an operation reads what is computed in the same loop at its own element only."""
        for arg in value.args:
            stack = [(arg, True)]
            while stack:
                a, direct = stack.pop()
                if a.index in inside:
                    if not direct:
                        return False
                elif self.access(a) is None and a.op in ("view", "concat"):
                    stack.extend((x, False) for x in a.args)
                elif a.index in self.fused:
                    stack.extend((x, direct) for x in a.args)
        return True

    # -- small values ---------------------------------------------------------------------------------------------

    def _small_group(self, values: list[Value], outside: set[int]) -> None:
        stored = [v for v in values if v.index in outside]
        for v in stored:
            self.lines.append(f"{C_TYPES[v.type]} x{v.index}[{v.size}][W];")
        inner: list[str] = []
        pairs, named = _sines(values), set[int]()
        for v in values:
            partner = pairs.get(v.index)
            if partner is not None and v.index not in named:
                self._both(v, partner, inner)
                named |= {v.index, partner}
            for e in range(v.size):
                name = f"x{v.index}_{e}"
                if partner is None:
                    inner.append(f"const {C_TYPES[v.type]} {name} = {self._statement(v, e)};")
                if v.index in outside:
                    inner.append(f"x{v.index}[{e}][l] = {name};")
            self.places[v.index] = _local(f"x{v.index}")
        self.lines += ["LANES {", *(f"  {line}" for line in inner), "}"]
        for v in values:
            if v.index in outside:
                self.places[v.index] = _stored(f"x{v.index}")
            else:
                self.places.pop(v.index, None)

    def _both(self, v: Value, partner: int, inner: list[str]) -> None:
        """Sine and cosine of one argument from one reduction."""
        end = "f" if v.type == "f4" else ""
        sine, cosine = (v.index, partner) if v.op == "sin" else (partner, v.index)
        for e in range(v.size):
            inner.append(f"{C_TYPES[v.type]} x{sine}_{e}, x{cosine}_{e};")
            inner.append(f"m_sincos{end}({self.element(v.args[0], e)}, &x{sine}_{e}, &x{cosine}_{e});")

    def _statement(self, v: Value, e: int) -> str:
        """The expression of one element of a small value."""
        if v.op in POINTWISE:
            return self._point(v, e)
        if v.op == "reduce":
            return self._reduced(v, e)
        if v.op == "matmul":
            b, m, k, n = v.attr
            i, rest = divmod(e, m * n)
            row, column = divmod(rest, n)
            left = [self.element(v.args[0], (i * m + row) * k + j) for j in range(k)]
            right = [self.element(v.args[1], (i * k + j) * n + column) for j in range(k)]
            return self._chain(left, right, v.type)
        if v.op == "take":
            rows, width = v.attr
            i, j = divmod(e, width)
            row = f"i_row({self.element(v.args[1], i)}, {rows})"
            table = self.unit.table(v.args[0], rows, width, width)
            return f"{table}[{row} * {width} + {j}]"
        text = self.element(v.args[0], e * v.attr + v.attr - 1)
        which = f"i_row({self.element(v.args[1], e)}, {v.attr})"
        for j in range(v.attr - 2, -1, -1):
            text = f"({which} == {j} ? {self.element(v.args[0], e * v.attr + j)} : {text})"
        return text

    def _chain(self, left: list[str], right: list[str], kind: str) -> str:
        end = "f" if kind == "f4" else ""
        text = f"({left[0]} * {right[0]})"
        for a, b in zip(left[1:], right[1:]):
            text = f"__builtin_fma{end}({a}, {b}, {text})" if kind in FLOATS else f"({a} * {b} + {text})"
        return text

    def _reduced(self, v: Value, e: int) -> str:
        kind, columns = v.attr
        source = v.args[0]
        parts = [self.element(source, e * columns + j) for j in range(columns)]
        if kind in ("argmax", "argmin"):
            compare = ">" if kind == "argmax" else "<"
            best, place = parts[0], "INT64_C(0)"
            for j, part in enumerate(parts[1:], 1):
                place = f"({part} {compare} {best} ? INT64_C({j}) : {place})"
                best = f"({part} {compare} {best} ? {part} : {best})"
            return place
        text = parts[0]
        for part in parts[1:]:
            text = combined(kind, text, part, v.type)
        return text

    def _point(self, v: Value, e: int | str) -> str:
        """One element of a pointwise operation; a product that is used once rides on the sum."""
        def read(arg: Value) -> str:
            at = e if arg.size == v.size else 0
            if arg.index in self.fused:
                return self._point(arg, at)
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
        return expression(v.op, [read(a) for a in v.args], v.type, given)

    # -- large values ---------------------------------------------------------------------------------------------

    def _big_group(self, values: list[Value], outside: set[int]) -> None:
        first = values[0]
        if first.op in POINTWISE:
            self._pointwise_loop(values, outside)
        else:
            getattr(self, f"_big_{first.op}")(first)

    def _pointwise_loop(self, values: list[Value], outside: set[int]) -> None:
        inner: list[str] = []
        for v in values:
            if v.index in outside:
                self.array(v)
            inner.append(f"const {C_TYPES[v.type]} t{v.index} = {self._point(v, 'e')};")
            if v.index in outside:
                inner.append(f"b{v.index}[e][l] = t{v.index};")
            self.places[v.index] = _named(f"t{v.index}")
        self.lines += [f"ELEMENTS({values[0].size}) LANES {{", *(f"  {line}" for line in inner), "}"]
        for v in values:
            if v.index in outside:
                self.places[v.index] = _stored(f"b{v.index}")
            else:
                self.places.pop(v.index, None)

    def array(self, v: Value) -> str:
        """Declare the array of a large value, padded to whole vectors."""
        size = -(-v.size // 16) * 16 if self.unit.width == 1 else v.size
        self.lines.append(f"{C_TYPES[v.type]} b{v.index}[{size}][W] __attribute__((aligned(64)));")
        return f"b{v.index}"

    def stored(self, v: Value) -> str:
        """The name of an array [element][lane] with exactly the elements of a value: its own, or a copy."""
        own = self.places.get(v.index)
        if own is not None and own("0") == f"b{v.index}[0][l]":
            return f"b{v.index}"
        name = self.unit.name("copy")
        size = -(-v.size // 16) * 16
        self.lines.append(f"{C_TYPES[v.type]} {name}[{size}][W] __attribute__((aligned(64)));")
        self.copy(v, lambda at, text: f"{name}[{at}][l] = {text};")
        return name

    def copy(self, v: Value, sink: Callable[[str, str], str]) -> None:
        """Store every element of a value."""
        if self.access(v) is None and v.op == "concat":
            start = 0
            for part in v.args:
                begin = start
                self.copy(part, lambda at, text, b=begin: sink(f"({at} + {b})" if b else at, text))  # type: ignore[misc]
                start += part.size
            return
        if v.size <= SMALL or self.access(v) is None and v.op == "view" and self._scattered(v):
            inner = [sink(str(e), self.element(v, e)) for e in range(v.size)]
            for i in range(0, len(inner), GROUP):
                self.lines += ["LANES {", *(f"  {line}" for line in inner[i : i + GROUP]), "}"]
            return
        self.lines.append(f"ELEMENTS({v.size}) LANES {{ {sink('e', self.element(v, 'e'))} }}")

    def _scattered(self, v: Value) -> bool:
        """Whether a view picks from a concatenation that is not stored."""
        source = v.args[0]
        return self.access(source) is None and source.op == "concat"

    def _big_concat(self, v: Value) -> None:
        name = self.array(v)
        self.copy(v, lambda at, text: f"{name}[{at}][l] = {text};")
        self.places[v.index] = _stored(name)

    def _big_reduce(self, v: Value) -> None:
        kind, columns = v.attr
        source, name, ctype = v.args[0], self.array(v), C_TYPES[v.type]
        at = f"(e * {columns} + j)"
        given = C_TYPES[source.type]
        lines = [f"for (int e = 0; e < {v.size}; e++) {{", f"  {given} best[W]; {ctype} place[W];",
                 f"  LANES {{ best[l] = {self.element(source, f'(e * {columns})')}; place[l] = 0; }}"]  # fmt: skip
        lines.append(f"  for (int j = 1; j < {columns}; j++) LANES {{")
        lines.append(f"    const {given} next = {self.element(source, at)};")
        if kind in ("argmax", "argmin"):
            compare = ">" if kind == "argmax" else "<"
            lines.append(f"    place[l] = next {compare} best[l] ? j : place[l];")
            lines.append(f"    best[l] = next {compare} best[l] ? next : best[l];")
        else:
            lines.append(f"    best[l] = {combined(kind, 'best[l]', 'next', v.type)};")
        result = "place[l]" if kind in ("argmax", "argmin") else "best[l]"
        self.lines += [*lines, "  }", f"  LANES {name}[e][l] = {result};", "}"]
        self.places[v.index] = _stored(name)

    def _big_matmul(self, v: Value) -> None:
        b, m, k, n = v.attr
        left, right = v.args
        name = self.array(v)
        a = self.stored(left)
        end = "f" if v.type == "f4" else ""
        for i in range(b):
            out, start = f"{name} + {i * m * n}" if i else name, f"{a} + {i * m * k}" if i else a
            if right.level == CONSTANT and v.type in FLOATS:
                padded = -(-n // 16) * 16
                part = right if b == 1 else self.part(right, i * k * n, k * n)
                weights = self.unit.table(part, k, n, padded)
                self.lines.append(f"k_weights{end}({out}, {start}, {weights}, {m}, {k}, {n}, {padded});")
            else:
                other = self.stored(right) if i == 0 else other
                place = f"{other} + {i * k * n}" if i else other
                self.lines.append(f"k_matmul_{v.type}({out}, {start}, {place}, {m}, {k}, {n});")
        self.places[v.index] = _stored(name)

    def part(self, value: Value, start: int, size: int) -> Value:
        """A stretch of a table."""
        return Value(-1 - value.index * 4096 - start, "view", (value,), _Range(start, size), value.type, size, CONSTANT)

    def _big_take(self, v: Value) -> None:
        rows, width = v.attr
        name, index = self.array(v), self.stored(v.args[1])
        table = self.unit.table(v.args[0], rows, width, width)
        self.lines.append(f"for (int e = 0; e < {v.args[1].size}; e++) for (int j = 0; j < {width}; j++) LANES "
                          f"{name}[e * {width} + j][l] = {table}[i_row({index}[e][l], {rows}) * {width} + j];")  # fmt: skip
        self.places[v.index] = _stored(name)

    def _big_pick(self, v: Value) -> None:
        name, wide, which = self.array(v), self.stored(v.args[0]), self.stored(v.args[1])
        self.lines.append(f"for (int e = 0; e < {v.size}; e++) LANES "
                          f"{name}[e][l] = {wide}[e * {v.attr} + i_row({which}[e][l], {v.attr})][l];")  # fmt: skip
        self.places[v.index] = _stored(name)

    def _big_solve(self, v: Value) -> None:
        batch, n, m = v.attr
        name, a, b = self.array(v), self.stored(v.args[0]), self.stored(v.args[1])
        for i in range(batch):
            self.lines.append(f"k_solve_{v.type}({name} + {i * n * m}, {a} + {i * n * n}, {b} + {i * n * m}, "
                              f"{n}, {m});")  # fmt: skip
        self.places[v.index] = _stored(name)

    def _big_noise(self, v: Value) -> None:
        stream, distribution, count = v.attr
        name, tick = self.array(v), self.stored(v.args[0])
        self.lines.append(f"k_{distribution}_{v.type}({name}, c->streams[{stream}], lane, {tick}[0], {count});")
        self.places[v.index] = _stored(name)

    def _big_repeat(self, v: Value) -> None:
        loop: Loop = v.attr
        carried = []
        for i, (begin, state) in enumerate(zip(v.args, loop.state)):
            name = f"r{v.index}_{i}"
            carried.append(name)
            self.lines.append(f"{C_TYPES[state.type]} {name}[{state.size}][W] __attribute__((aligned(64)));")
            self.copy(begin, lambda at, text, n=name: f"{n}[{at}][l] = {text};")  # type: ignore[misc]
        states = {s.index: name for s, name in zip(loop.state, carried)}

        def inputs(value: Value) -> Access | None:
            if value.index in states:
                return _stored(states[value.index])
            return self.access(value)

        body = Body(self.unit, inputs)
        body.store([(f, lambda at, text, n=name: f"{n}[{at}][l] = {text};")  # type: ignore[misc]
                    for f, name in zip(loop.following, carried)])  # fmt: skip
        turn = self.unit.name("turn")
        self.lines += [f"for (int {turn} = 0; {turn} < {loop.turns}; {turn}++) {{",
                       *(f"  {line}" for line in body.lines), "}"]  # fmt: skip
        self.places[v.index] = lambda at: "0"
        self.loops[v.index] = carried

    @property
    def loops(self) -> dict[int, list[str]]:
        """The arrays in which finished loops have left their results."""
        if not hasattr(self, "_loops"):
            self._loops: dict[int, list[str]] = {}
        return self._loops

    def _big_result(self, v: Value) -> None:
        self.places[v.index] = _stored(self.loops[v.args[0].index][v.attr])

    # -- storing --------------------------------------------------------------------------------------------------

    def store(self, sinks: Sequence[Sink]) -> None:
        """Compute values and store them: everything is read before anything is written."""
        self.run([v for v, _ in sinks])
        small = [(v, sink) for v, sink in sinks if v.size <= SMALL]
        ready: list[tuple[str, Value, Callable[[str, str], str]]] = []
        for v, sink in sinks:
            if v.size > SMALL:
                ready.append((self.stored(v), v, sink))
        loads, stores = [], []
        for v, sink in small:
            for e in range(v.size):
                name = self.unit.name("o")
                loads.append(f"const {C_TYPES[v.type]} {name} = {self.element(v, e)};")
                stores.append(sink(str(e), name))
        if loads:
            self.lines += ["LANES {", *(f"  {line}" for line in (*loads, *stores)), "}"]
        for name, v, sink in ready:
            self.lines.append(f"ELEMENTS({v.size}) LANES {{ {sink('e', f'{name}[e][l]')} }}")


class _Range:
    """The indices of a stretch."""

    def __init__(self, start: int, size: int) -> None:
        self.array = np.arange(start, start + size)


def loop_reads(loop: Loop, there: Callable[[Value], bool]) -> list[Value]:
    """What the body of a loop reads that does not change from turn to turn, and must be there before it."""
    inside = {s.index for s in loop.state}
    moving: dict[int, bool] = {}

    def moves(value: Value) -> bool:
        stack = [(value, False)]
        while stack:
            v, ready = stack.pop()
            if v.index in moving:
                continue
            args = list(v.args) + (list(v.attr.following) if v.op == "repeat" else [])
            if ready:
                moving[v.index] = any(moving.get(a.index, False) for a in args)
            elif v.index in inside:
                moving[v.index] = True
            elif v.op == "input" and str(v.attr).startswith("carried:") or there(v) or not args:
                moving[v.index] = v.op == "input" and str(v.attr).startswith("carried:")
            else:
                stack.append((v, True))
                stack.extend((a, False) for a in args)
        return moving[value.index]

    found: dict[int, Value] = {}
    stack, seen = list(loop.following), set()
    while stack:
        v = stack.pop()
        if v.index in seen:
            continue
        seen.add(v.index)
        if not moves(v):
            if v.op != "const":
                found[v.index] = v
        elif v.index not in inside:
            stack.extend(v.args)
            if v.op == "repeat":
                stack.extend(loop_reads(v.attr, there))
    return list(found.values())


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


def combined(kind: str, a: str, b: str, type: str) -> str:
    """One more element in a reduction."""
    end = "f" if type == "f4" else ""
    if kind == "sum":
        return f"({a} + {b})"
    if kind == "prod":
        return f"({a} * {b})"
    if kind in ("any", "all"):
        return f"({a} {'|' if kind == 'any' else '&'} {b})"
    if type in FLOATS:
        return f"m_{kind}imum{end}({a}, {b})"
    return f"i_{kind}({a}, {b})"


def _local(name: str) -> Access:
    return lambda at: f"{name}_{at}"


def _named(name: str) -> Access:
    return lambda at: name


def _stored(name: str) -> Access:
    return lambda at: f"{name}[{at}][l]"
