"""What the backward pass needs of the forward one: slots and costly values, kept on a tape, and programs that use it.

A tape is a stack of records, one for the head of an instant, for each instant, segment and step. A record holds slots
as they were before its program ran, and the *residuals*: values that the program computes, that its back program
needs, and that cost more to compute again than to keep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from simdl.engine.native.backward import Joint
from simdl.engine.native.differentiating import Differentiating
from simdl.engine.native.emit import Access, Body, Sink, Unit
from simdl.engine.native.ir import INSTANT, LANE, STAGE, Value
from simdl.engine.native.layout import ALIGNED, MEMORY
from simdl.engine.native.lower import Lowering, Program
from simdl.engine.native.program import SCALARS, Queue, Writer

COSTLY = frozenset(
    "sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh exp exp2 expm1 log log2 log10 log1p sigmoid erf "
    "pow hypot matmul solve noise fmod remainder".split()
)
STRIP = 16  # columns of a total product that lie together (outer.h)


@dataclass(eq=False)
class Record:
    """A part of the tape: the slots it keeps, then residuals at their offsets; `bytes` of it all."""

    slots: tuple[str, ...] = ()
    residuals: dict[int, int] = field(default_factory=dict)
    bytes: int = 0


class BackBody(Body):
    """The statements of a back program; arrays of residuals are used where they are."""

    def __init__(
        self, unit: Unit, inputs: Callable[[Value], Access | None], residual: Callable[[Value], str | None]
    ) -> None:
        super().__init__(unit, inputs)
        self.residual = residual

    def stored(self, v: Value) -> str:
        return self.residual(v) or super().stored(v)


class Tape(Writer):
    """Writes programs that keep what their back programs need, and these."""

    def __init__(self, lowering: Lowering, width: int, queues: Sequence[Queue]) -> None:
        super().__init__(lowering, width, queues)
        for name, (kind, size) in lowering.state_names.items():
            if size and kind in ("f8", "f4") and differentiable(name):
                self.layout.add(f"bar:{name}", kind, size)
        tracer = lowering.tracer
        assert isinstance(tracer, Differentiating)
        self.totals = tracer.totals
        self.offsets: dict[int, int] = {}
        self.sums = 0

    def place(self, number: int) -> int:
        """Where a total lies in the memory of a range of blocks."""
        if number not in self.offsets:
            self.offsets[number] = self.sums
            self.sums += aligned(self.count(number) * itemsize(self.totals[number].type))
        return self.offsets[number]

    def count(self, number: int) -> int:
        """How many numbers a total holds in memory: a product in strips of columns, a sum with a lane axis."""
        total = self.totals[number]
        if total.attr is None:
            return total.args[0].size * self.width
        m, _, n = total.attr
        return m * -(-n // STRIP) * STRIP

    # -- reading and writing --------------------------------------------------------------------------------------

    def slot(self, value: Value) -> Access | None:
        if value.op == "input":
            name, kind, size = str(value.attr), MEMORY[value.type][0], value.size
            if name.startswith("bar:record:"):
                number = self.keys.index(name[11:])
                return lambda at: (
                    f"((const {kind} *)k->d->shown[{number}])[(column[{number}] * {size} + {at}) * c->lanes + base + l]"
                )
            if name.startswith("bar:push:"):
                path, _, key = name[9:].partition(":")
                label, queue = self.pushed(path, key, value.type, size)
                return lambda at: f"s->{label}[tail[{queue.number}] * {size} + {at}][l]"
        return super().slot(value)

    def pushed(self, path: str, key: str, kind: str, size: int) -> tuple[str, Queue]:
        """The slot of the cotangents of a queue's values."""
        queue = self.queues[path]
        j = queue.keys.index(key)
        return self.layout.add(f"bar:queue:{queue.number}:{j}", kind, queue.capacity * size).label, queue

    def kept(self, record: Record, value: Value) -> Access | None:
        """How to read or write a residual."""
        place = self.residual(record, value)
        return None if place is None else lambda e: f"{place}[{e}][l]"

    def residual(self, record: Record, value: Value) -> str | None:
        """The array of a residual."""
        at = record.residuals.get(value.index)
        return None if at is None else f"(({MEMORY[value.type][0]} (*)[W])(k->z + {at}))"

    # -- what to keep ---------------------------------------------------------------------------------------------

    def record(self, joint: Joint, within: bool, slots: Sequence[str] | None = None) -> Record:
        """The record of a program. slots: those to keep (those that its back program reads, when None)."""
        forward = reached(bare(joint.program).values())
        residuals = self._residuals(joint, within, forward) if joint.program.stores or joint.program.pushes else []
        found = Record(
            tuple(slots)
            if slots is not None
            else tuple(self.reads(joint.back.values(), {v.index for v in residuals}, within))
        )
        found.bytes = sum(aligned(self.bytes_of(name)) for name in found.slots)
        for v in residuals:
            found.residuals[v.index] = found.bytes
            found.bytes += aligned(v.size * self.width * itemsize(v.type))
        return found

    def bytes_of(self, name: str) -> int:
        slot = self.layout.slots[name]
        return slot.size * self.width * itemsize(slot.type)

    def _residuals(self, joint: Joint, within: bool, forward: dict[int, Value]) -> list[Value]:
        primal: dict[int, bool] = {}
        found: dict[int, Value] = {}
        stack, seen = list(joint.back.values()), set()
        pairs = {v.args[0].index for v in forward.values() if v.op in ("sin", "cos")}
        while stack:
            v = stack.pop()
            if v.index in seen:
                continue
            seen.add(v.index)
            there = v.index in forward or v.op in ("sin", "cos") and v.args[0].index in pairs
            if v.op in COSTLY and v.level >= (STAGE if within else INSTANT) and there and is_primal(v, primal):
                found[v.index] = v
                continue
            if v.level >= (STAGE if within else INSTANT):
                stack.extend(v.args)
        return sorted(found.values(), key=lambda v: v.index)

    def reads(self, values: Iterable[Value], stop: set[int], within: bool, hoisted: bool = True) -> list[str]:
        """The changing slots that are read to compute values, but for those that are kept or computed once."""
        found: dict[str, None] = {}
        stack, seen = list(values), set[int]()
        while stack:
            v = stack.pop()
            if v.index in seen or v.index in stop:
                continue
            seen.add(v.index)
            if hoisted and v.index in self.hoisted and (within or v.level == LANE):
                continue
            name = str(v.attr) if v.op == "input" else ""
            if name and v.level != LANE and name not in SCALARS and not name.startswith(("bar:", "tick:", "carried:")):
                self.slot(v)
                found[name] = None
            stack.extend(v.args)
        return list(found)

    # -- functions ------------------------------------------------------------------------------------------------

    def taped(self, name: str, joint: Joint, record: Record, within: bool) -> None:
        """A program that keeps its residuals at k->z, and records nothing."""
        body = Body(self.unit, self.inputs if within else self.instant_inputs)
        sinks = self.sinks(bare(joint.program))
        values = reached([*bare(joint.program).values(), *joint.back.values()])
        for index in record.residuals:
            access = self.kept(record, values[index])
            assert access is not None
            sinks.append((values[index], _into(access)))
        body.store(sinks)
        self.emit(name, body, inline=within)

    def back(self, name: str, joint: Joint, record: Record, within: bool) -> None:
        """A back program."""
        base = self.inputs if within else self.instant_inputs
        body = BackBody(self.unit, lambda v: self.kept(record, v) or base(v), lambda v: self.residual(record, v))
        sinks: list[Sink] = []
        for slot, value in joint.back.stores.items():
            label = self.layout.add(slot, value.type, value.size).label
            sinks.append((value, _into(_member(label))))
        for path, key in joint.back.taken:
            push = next(p for p in joint.program.pushes if p.path == path)
            value = push.values[key]
            label, queue = self.pushed(path, key, value.type, value.size)
            zero = self.lowering.graph.const(0.0, value.type)
            sinks.append(
                (
                    self.lowering.graph.expanded(zero, value.size),
                    lambda at,
                    text,
                    b=label,
                    n=queue.number,  # type: ignore[misc]
                    size=value.size: f"s->{b}[tail[{n}] * {size} + {at}][l] = {text};",
                )
            )
        products = []
        added = iter(joint.back.added)
        for number in joint.back.totals:
            total, at = self.totals[number], self.place(number)
            args = [next(added) for _ in total.args]
            kind = MEMORY[total.type][0]
            if total.attr is None:
                sinks.append(
                    (
                        args[0],
                        lambda e, text, t=kind, o=at: (  # type: ignore[misc]
                            f"(({t} (*)[W])(k->sums + {o}))[{e}][l] += {text};"
                        ),
                    )
                )
            else:
                products.append((total, args, at, kind))
        body.run([*(v for v, _ in sinks), *(a for _, args, _, _ in products for a in args)])
        for total, args, at, kind in products:
            assert total.attr is not None
            m, depth, n = total.attr
            left, right = (body.stored(a) for a in args)
            end = "f" if total.type == "f4" else ""
            body.lines.append(f"k_outer{end}(({kind} *)(k->sums + {at}), {left}, {right}, {m}, {depth}, {n});")
        body.store(sinks)
        self.emit(name, body, inline=False)

    # -- slots to and from memory ---------------------------------------------------------------------------------

    def moves(self, slots: Iterable[str], place: str, save: bool) -> str:
        """C statements that copy slots to, or from, memory at `place`."""
        lines, at = [], 0
        for name in slots:
            label = self.layout.slots[name].label
            ends = (f"{place} + {at}", f"s->{label}") if save else (f"s->{label}", f"{place} + {at}")
            lines.append(f"memcpy({ends[0]}, {ends[1]}, sizeof s->{label});")
            at += aligned(self.bytes_of(name))
        return " ".join(lines)


def bare(program: Program) -> Program:
    """The program without what it records."""
    return replace(program, records={})


def differentiable(name: str) -> bool:
    """Whether gradients pass through a slot of a state."""
    return name.partition(":")[0] in ("y", "carry", "raw", "held")


def reached(values: Iterable[Value]) -> dict[int, Value]:
    """Values and everything they are computed from, by index."""
    found: dict[int, Value] = {}
    stack = list(values)
    while stack:
        v = stack.pop()
        if v.index not in found:
            found[v.index] = v
            stack.extend(v.args)
    return found


def is_primal(value: Value, known: dict[int, bool]) -> bool:
    """Whether a value depends on no cotangent."""
    stack = [(value, False)]
    while stack:
        v, ready = stack.pop()
        if v.index in known:
            continue
        if v.op == "input":
            known[v.index] = not str(v.attr).startswith("bar:")
        elif ready:
            known[v.index] = all(known[a.index] for a in v.args)
        else:
            stack.append((v, True))
            stack.extend((a, False) for a in v.args)
    return known[value.index]


def aligned(size: int) -> int:
    """Bytes rounded up to whole cache lines."""
    return -(-size // ALIGNED) * ALIGNED


def itemsize(kind: str) -> int:
    return np.dtype(MEMORY[kind][1]).itemsize


def _member(label: str) -> Access:
    return lambda at: f"s->{label}[{at}][l]"


def _into(access: Access):  # type: ignore[no-untyped-def]
    return lambda at, text: f"{access(at)} = {text};"
