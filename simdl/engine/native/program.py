"""The C file of a run: its structures, its programs as functions, and the loop over time for each block of lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from simdl.engine.native.emit import Access, Body, Sink, Unit
from simdl.engine.native.ir import CONSTANT, INSTANT, LANE, STAGE, Value
from simdl.engine.native.layout import MEMORY, Layout
from simdl.engine.native.lower import Lowering, Program, Push

SCALARS = ("t", "tau", "h", "theta", "at", "begin", "left", "right", "ns")
"""Inputs that are one number for all lanes of a block: arguments of the C functions."""


@dataclass(eq=False)
class Queue:
    """A ring of values under way: capacity, and a slot for each key, the mask and the times."""

    number: int
    path: str
    delay: int
    capacity: int
    keys: tuple[str, ...]
    masked: bool


@dataclass(eq=False)
class Source:
    """A whole C file, and what must be given to it."""

    text: str
    layout: Layout
    unit: Unit
    queues: list[Queue]
    keys: tuple[str, ...]
    programs: list[Program] = field(default_factory=list)


class Writer:
    """Writes the programs of a lowering as C."""

    def __init__(self, lowering: Lowering, width: int, queues: Sequence[Queue]) -> None:
        self.lowering, self.width = lowering, width
        self.unit = Unit(width)
        self.layout = Layout()
        self.changing = 0
        self.queues = {q.path: q for q in queues}
        self.keys = tuple(lowering.recorder.keys)
        self.hoisted: dict[int, str] = {}
        self.members: list[str] = []
        self.functions: list[str] = []
        for name, (kind, size) in lowering.state_names.items():
            if size:
                self.layout.add(name, kind, size)
        self.changing = len(self.layout.slots)
        for q in queues:
            for j, key in enumerate(q.keys):
                kind, size = lowering.state_names[f"held:{key}"]
                self.layout.add(f"queue:{q.number}:{j}", kind, q.capacity * size)
            if q.masked:
                self.layout.add(f"queue:{q.number}:mask", "b1", q.capacity)

    # -- reading and writing slots --------------------------------------------------------------------------------

    def slot(self, value: Value) -> Access | None:
        """How to read an input: a slot of the block, or a number of the loop."""
        if value.op == "outside":
            call, number = value.attr
            return _member(self.layout.add(f"outside:{call}:{number}", value.type, value.size).label)
        if value.op != "input":
            return None
        name = str(value.attr)
        if name in SCALARS:
            return lambda at: name
        if name.startswith("tick:"):
            return lambda at: f"c->ticks[i * CLOCKS + {name[5:]}]"
        if name.startswith("carried:"):
            return None
        return _member(self.layout.add(name, value.type, value.size).label)

    def inputs(self, value: Value) -> Access | None:
        """How to read what is there before a program of a segment runs."""
        found = self.hoisted.get(value.index)
        if found is not None:
            return lambda at: f"k->{found}[{at}][l]"
        return self.slot(value)

    def instant_inputs(self, value: Value) -> Access | None:
        """The same at an instant, where nothing is computed for the segment yet."""
        return self.inputs(value) if value.level == LANE else self.slot(value)

    def sinks(self, program: Program) -> list[Sink]:
        """What a program stores, and where."""
        found: list[Sink] = []
        for name, value in program.stores.items():
            label = self.layout.add(name, value.type, value.size).label
            found.append((value, _store(label)))
        for key, value in program.records.items():
            found.append((value, _record(MEMORY[value.type][0], self.keys.index(key), value.size)))
        for push in program.pushes:
            queue = self.queues[push.path]
            for j, key in enumerate(queue.keys):
                value = push.values[key]
                label = self.layout.add(f"queue:{queue.number}:{j}", value.type, queue.capacity * value.size).label
                found.append((value, _enqueue(label, queue.number, value.size)))
            if queue.masked:
                mask = push.mask if push.mask is not None else self.lowering.graph.const(True, "b1")
                label = self.layout.add(f"queue:{queue.number}:mask", "b1", queue.capacity).label
                found.append((mask, _enqueue(label, queue.number, 1)))
        return found

    # -- hoisting -------------------------------------------------------------------------------------------------

    def hoist(self, programs: Iterable[tuple[Program, bool]]) -> tuple[list[Value], list[Value]]:
        """What can be computed once for a lane, and once for a segment by programs that run in one (the flag)."""
        lane: dict[int, Value] = {}
        segment: dict[int, Value] = {}
        for program, within in programs:
            stack, seen = [(v, within) for v in program.values()], set()
            while stack:
                v, inside = stack.pop()
                if (v.index, inside) in seen or v.level == CONSTANT or v.op in ("input", "outside"):
                    continue
                seen.add((v.index, inside))
                plain = v.op not in ("view", "concat")
                if plain and v.level == LANE:
                    lane[v.index] = v
                    continue
                if plain and v.level == INSTANT and inside:
                    segment[v.index] = v
                    inside = False
                stack.extend((a, inside) for a in v.args)
                if v.op == "repeat":
                    stack.extend((a, inside) for a in v.attr.following)
        return list(lane.values()), list(segment.values())

    # -- functions ------------------------------------------------------------------------------------------------

    def function(self, name: str, program: Program, inline: bool = True, within: bool = True) -> None:
        """A program as a C function; with calls into Python, one function for each part between them."""
        for part, call in enumerate([*program.outside, None]):
            body = Body(self.unit, self.inputs if within else self.instant_inputs)
            if call is not None:
                number = self.lowering.tracer.outside.index(call)
                sinks: list[Sink] = []
                for j, (value, _, _) in enumerate(call.inputs):
                    size = value.size
                    label = self.layout.add(f"argument:{number}:{j}", value.type, size).label
                    sinks.append((value, _store(label)))
                body.store(sinks)
            else:
                body.store(self.sinks(program))
            suffix = f"_{part}" if program.outside else ""
            self.emit(f"{name}{suffix}", body, inline)

    def emit(self, name: str, body: Body, inline: bool = True) -> None:
        kind = "static inline" if inline else "__attribute__((noinline)) static"
        lines = [f"    {line}" for line in body.lines]
        self.functions += [f"__attribute__((unused)) {kind} void {name}(ARGUMENTS)", "{", *lines, "}", ""]

    def hoister(self, name: str, values: Sequence[Value]) -> None:
        """A function that computes values once and keeps them."""
        body = Body(self.unit, self.instant_inputs)
        labels = {v.index: f"v{len(self.hoisted) + i}" for i, v in enumerate(values)}
        body.store([(v, lambda at, text, b=labels[v.index]: f"k->{b}[{at}][l] = {text};")  # type: ignore[misc]
                    for v in values])  # fmt: skip
        self.emit(name, body, inline=False)
        self.members += [f"  {MEMORY[v.type][0]} {labels[v.index]}[{v.size}][W] __attribute__((aligned(64)));"
                         for v in values]  # fmt: skip
        self.hoisted |= labels


def _member(label: str) -> Access:
    return lambda at: f"s->{label}[{at}][l]"


def _store(label: str) -> Callable[[str, str], str]:
    return lambda at, text: f"s->{label}[{at}][l] = {text};"


def _record(kind: str, number: int, size: int) -> Callable[[str, str], str]:
    column = f"column[{number}] * {size}"
    return lambda at, text: f"(({kind} *)c->out[{number}])[({column} + {at}) * c->lanes + base + l] = {text};"


def _enqueue(label: str, number: int, size: int) -> Callable[[str, str], str]:
    return lambda at, text: f"s->{label}[tail[{number}] * {size} + {at}][l] = {text};"


def header(name: str) -> str:
    """The text of a header of this package."""
    return files("simdl.engine.native").joinpath(name).read_text()


__all__ = ["Push", "Queue", "STAGE", "Source", "Writer", "header"]
