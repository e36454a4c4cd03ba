"""The native engine's writer for one lane without an engine: state, inputs and outputs are structures of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from simdl.engine.native.emit import Access, Body, Sink, Unit
from simdl.engine.native.ir import LANE, Value
from simdl.engine.native.lower import Lowering, Program
from simdl.engine.native.program import Queue, Writer
from simdl.export.c.names import mangled
from simdl.export.c.part import Terminal

ROOM = 1 << 60
"""Bytes of arrays on the stack: a step has no other memory. The report says how many there are."""


class ConstUnit(Unit):
    """A file whose tables are constant arrays in it."""

    def table(self, value: Value, rows: int = 1, columns: int = 0, padded: int = 0) -> str:
        """The name of a table; rows follow each other without gaps."""
        text = super().table(value, rows, columns, 0)
        return f"table{text.partition('shared[')[2].rstrip(')]')}"


class StackBody(Body):
    """Statements whose arrays are all on the stack, without padding."""

    def __init__(self, unit: Unit, inputs: object, room: list[int] | None = None) -> None:
        super().__init__(unit, inputs, [ROOM])  # type: ignore[arg-type]

    def child(self, inputs: object) -> StackBody:
        return StackBody(self.unit, inputs)

    def _padded(self, v: Value) -> int:
        return v.size


class StepWriter(Writer):
    """Writes the programs of a part. values: slots that are the same for ever (parameters, initial values)."""

    def __init__(
        self, lowering: Lowering, queues: Sequence[Queue], inputs: Sequence[Terminal], outputs: Sequence[Terminal]
    ) -> None:
        super().__init__(lowering, 1, queues)
        self.unit = ConstUnit(1)
        self.inside = {t.key: (mangled(i, t.name), t) for i, t in enumerate(inputs)}
        self.shown = [(mangled(i, t.name), t) for i, t in enumerate(outputs)]
        self.fixed: dict[str, tuple[str, str, int]] = {}  # slot -> label, type, size
        self.kept: dict[str, Value] = {}  # label in the state -> what `init` computes
        for i, (name, slot) in enumerate(self.layout.slots.items()):
            self.layout.slots[name] = replace(slot, label=mangled(i, name))

    def slot(self, value: Value) -> Access | None:
        """How to read an input of a program."""
        name = str(value.attr)
        kind, _, key = name.partition(":")
        if value.op != "input" or kind == "carried" or kind == "turn":
            return None
        if name == "t":
            return lambda at: "t"
        if kind == "input":
            label, terminal = self.inside[key]
            text = f"in->{label}" if terminal.shape == () else f"in->{label}[%s]"
            text = f"({text} != 0)" if value.type == "b1" else text
            return lambda at: text % at if "%s" in text else text
        if kind in ("param", "initial"):
            label = self.fixed.setdefault(name, (f"p{len(self.fixed)}", value.type, value.size))[0]
            return lambda at: f"{label}[{at}]"
        label = self.layout.add(name, value.type, value.size).label
        return lambda at: f"s->{label}[{at}]"

    def inputs(self, value: Value) -> Access | None:
        found = self.hoisted.get(value.index)
        return (lambda at: f"s->{found}[{at}]") if found is not None else self.slot(value)

    def instant_inputs(self, value: Value) -> Access | None:
        return self.inputs(value) if value.level == LANE else self.slot(value)

    def sinks(self, program: Program) -> list[Sink]:
        found: list[Sink] = []
        for name, value in program.stores.items():
            label = self.layout.add(name, value.type, value.size).label
            found.append((value, lambda at, text, b=label: f"s->{b}[{at}] = {text};"))  # type: ignore[misc]
        for label, terminal in self.shown:
            place = f"out->{label}" if terminal.shape == () else f"out->{label}[%s]"
            found.append((program.records[terminal.key],
                          lambda at, text, p=place: f"{p % at if '%s' in p else p} = {text};"))  # type: ignore[misc]  # fmt: skip
        for push in program.pushes:
            queue = self.queues[push.path]
            for j, key in enumerate(queue.keys):
                found.append((push.values[key], self._enqueued(queue, f"queue:{queue.number}:{j}")))
            if queue.masked:
                mask = push.mask if push.mask is not None else self.lowering.graph.const(True, "b1")
                found.append((mask, self._enqueued(queue, f"queue:{queue.number}:mask")))
        return found

    def _enqueued(self, queue: Queue, name: str) -> Callable[[str, str], str]:
        slot = self.layout.slots[name]
        size, tail = slot.size // queue.capacity, f"tail{queue.number}"
        return lambda at, text: f"s->{slot.label}[{tail} * {size} + {at}] = {text};"

    def step(self, name: str, program: Program) -> None:
        """A program as a function of the inputs, outputs and state."""
        body = StackBody(self.unit, self.instant_inputs)
        body.store(self.sinks(program))
        pushed = {push.path for push in program.pushes}
        first = [f"const int32_t tail{q.number} = (s->first{q.number} + s->count{q.number}) % {q.capacity};"
                 for q in self.queues.values() if q.path in pushed]  # fmt: skip
        after = [f"s->at{q.number}[tail{q.number}] = s->ns + INT64_C({q.delay}); s->count{q.number}++;"
                 for q in self.queues.values() if q.path in pushed]  # fmt: skip
        self._function(name, [*first, *body.lines, *after])

    def constants(self, name: str, values: Sequence[Value]) -> None:
        """What depends on parameters alone, computed once by `init`."""
        body = StackBody(self.unit, self.slot)
        labels = {v.index: f"k{i}" for i, v in enumerate(values)}
        body.store([(v, lambda at, text, b=labels[v.index]: f"s->{b}[{at}] = {text};")  # type: ignore[misc]
                    for v in values])  # fmt: skip
        self.kept = {labels[v.index]: v for v in values}
        self._function(name, body.lines)
        self.hoisted |= labels

    def _function(self, name: str, lines: list[str]) -> None:
        text = "\n".join(lines)
        used = [word for word, mark in (("in", "in->"), ("out", "out->"), ("s", "s->"), ("t", "t"))
                if (mark in text if word != "t" else _reads_time(lines))]  # fmt: skip
        spare = [f"(void){word};" for word in ("in", "out", "s", "t") if word not in used]
        body = [f"    {line}" for line in _needed([*spare, *lines])]
        self.functions += [f"static void {name}(ARGUMENTS)", "{", *body, "}", ""]


def _reads_time(lines: Sequence[str]) -> bool:
    return any(re.search(r"\bt\b", line) for line in lines)


def _needed(lines: list[str]) -> list[str]:
    """Statements without the variables that nothing reads."""
    flat = [part for line in lines for part in line.split("\n")]
    made = re.compile(r"^\s*const [\w ]+? (\w+) = .*;$")
    word = re.compile(r"\b[A-Za-z_]\w*\b")
    while True:
        count: dict[str, int] = {}
        for line in flat:
            for name in word.findall(line):
                count[name] = count.get(name, 0) + 1
        kept = [line for line in flat if (m := made.match(line)) is None or count[m[1]] > 1]
        if len(kept) == len(flat):
            return kept
        flat = kept
