"""In which order values are computed, and which of them together: groups of statements that share a loop over lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from simdl.engine.native.expressions import DECISIONS, FLOATS, HEAVY, POINTWISE
from simdl.engine.native.ir import CONSTANT, Loop, Value
from simdl.engine.native.unit import Access

UNROLLED = 512  # multiplications of a matrix product that is written out
GROUP = 250  # cost of the statements in one loop over lanes
FEW = 2  # elements of a costly function that are written out

Groups = list[tuple[str, list[Value]]]


class Order:
    """Orders the values of a program. Subclasses say what is stored already."""

    def __init__(self, width: int) -> None:
        self.small = 24 if width > 1 else 12
        self.few = FEW
        self.products = UNROLLED if width > 1 else 64
        self.uses: dict[int, int] = {}
        self.tainted: set[int] = set()
        self.fused: set[int] = set()
        self._symbolic: set[int] = set()

    def access(self, value: Value) -> Access | None:
        """How to read a value that is stored somewhere."""
        raise NotImplementedError

    def grouped(self, wanted: Sequence[Value]) -> tuple[Groups, set[int]]:
        """Groups in the order in which they are computed, and the values that are read outside their own group."""
        order = self._order(wanted)
        self._analyse(order)
        waiting = [v for v in order if not self._transparent(v)]
        done: set[int] = set()
        groups: Groups = []
        group_of: dict[int, int] = {}
        needs = {v.index: self._needs(v) for v in waiting}

        def add(kind: str, values: list[Value]) -> None:
            group_of.update((v.index, len(groups)) for v in values)
            groups.append((kind, values))

        while waiting:
            small: list[Value] = []
            rest: list[Value] = []
            for v in waiting:
                if self._is_small(v) and needs[v.index] <= done:
                    small.append(v)
                    done.add(v.index)
                else:
                    rest.append(v)
            for part in _parts(small):
                add("small", part)
            waiting = rest
            large = self._fusable(waiting, needs, done)
            if large:
                add("large", large)
                taken = {v.index for v in large}
                done |= taken
                waiting = [v for v in waiting if v.index not in taken]
            elif not small and waiting:
                raise AssertionError(f"nothing is ready among {waiting[:3]}")
        outside = {w.index for v in wanted for w in self._leaves(v)}
        for number, (_, values) in enumerate(groups):
            for v in values:
                outside.update(need for need in needs[v.index] if group_of.get(need, number) != number)
        return groups, outside

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
            if value.op in ("input", "outside"):
                raise AssertionError(f"{value.op} {value.attr} is not provided")
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

    def _analyse(self, order: list[Value]) -> None:
        """Which concatenations are read by computed element; which products ride on a sum as one fused operation."""
        self._symbolic = set()
        for v in order:
            if not self._is_small(v) or v.op == "select":
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
        if value.op in HEAVY and value.type in FLOATS:
            return value.size <= self.few
        if value.op in POINTWISE or value.op in ("take", "select"):
            return value.size <= self.small
        if value.op == "reduce":
            return value.args[0].size <= 4 * self.small
        if value.op == "matmul":
            b, m, k, n = value.attr
            return bool(b * m * k * n <= self.products and b * m * n <= self.small)
        return bool(value.op == "pick" and value.size * value.attr <= 4 * self.small)

    def _fusable(self, waiting: list[Value], needs: dict[int, set[int]], done: set[int]) -> list[Value]:
        """The next large operation, with the pointwise ones of the same size that can share its loop."""
        first = next((v for v in waiting if not self._is_small(v) and needs[v.index] <= done), None)
        if first is None or not _simple(first):
            return [] if first is None else [first]
        group, inside = [first], {first.index}
        for v in waiting:
            if v is first or not _simple(v) or v.size != first.size or self._is_small(v):
                continue
            if needs[v.index] <= done | inside and self._same_places(v, inside):
                group.append(v)
                inside.add(v.index)
        return group

    def _same_places(self, value: Value, inside: set[int]) -> bool:
        """Whether an operation reads what is computed in the same loop at its own element only."""
        for arg in value.args:
            stack = [(arg, value.op != "select")]
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


def _simple(value: Value) -> bool:
    """Whether large values of an operation are computed in a loop that others can share."""
    return value.op == "select" or value.op in POINTWISE and not (value.op in HEAVY and value.type in FLOATS)


def _parts(values: Iterable[Value]) -> Iterable[list[Value]]:
    """Statements in pieces of a bounded cost."""
    part: list[Value] = []
    cost = 0
    for v in values:
        more = _cost(v)
        if part and cost + more > GROUP:
            yield part
            part, cost = [], 0
        part.append(v)
        cost += more
    if part:
        yield part


def _cost(value: Value) -> int:
    if value.op in HEAVY:
        return 20 * value.size
    if value.op == "matmul":
        b, m, k, n = value.attr
        return int(b * m * k * n)
    if value.op == "reduce":
        return value.args[0].size
    return value.size * (value.attr if value.op == "pick" else 1)


def loop_reads(loop: Loop, there: Callable[[Value], bool]) -> list[Value]:
    """What the body of a loop reads that does not change from turn to turn, and must be there before it."""
    inside = {s.index for s in loop.state} | {loop.index.index}
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
            elif _turning(v) or there(v) or not args:
                moving[v.index] = _turning(v)
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


def _turning(value: Value) -> bool:
    """Whether a value is a placeholder of a loop's turn."""
    return value.op == "input" and str(value.attr).startswith(("carried:", "turn:"))
