"""The C of a part: its header, its source, and the layout of its structures as numpy sees them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simdl.engine.instant import Instants
from simdl.engine.native.expressions import literal
from simdl.engine.native.ir import TYPES, Value
from simdl.engine.native.layout import MEMORY
from simdl.engine.native.lower import GROUPS, Lowering, Program
from simdl.engine.native.macro import publish
from simdl.engine.native.memory import evaluated
from simdl.engine.native.placeholders import TracedEvaluator
from simdl.engine.native.program import Queue
from simdl.engine.native.tracer import replay
from simdl.engine.record import Recorder
from simdl.engine.solver import RK4
from simdl.errors import LoweringError
from simdl.export.c.names import mangled
from simdl.export.c.part import Part, Terminal
from simdl.export.c.prelude import plain, prelude
from simdl.export.c.writer import StepWriter

PATTERNS = 1_000_000  # steps until clocks come together again
Layout = np.dtype[Any]


@dataclass(frozen=True)
class Written:
    """C text of a part. layouts: of the structures in, out and state; fields: port -> member; macs: at the busiest
    step; parameters: bytes of constants."""

    header: str
    source: str
    inside: Layout
    outside: Layout
    state: Layout
    inputs: dict[str, str]
    outputs: dict[str, str]
    counters: tuple[tuple[str, int], ...]  # members of the state and below what they must stay
    macs: int
    parameters: int


class _Unweighed(TracedEvaluator):
    """Networks of any size: there is no torch to leave them to."""

    def _weigh(self, node: Any, start: int) -> None:
        return


def written(part: Part, name: str) -> Written:
    """Trace a part and write it. Raises LoweringError for what cannot be lowered to C."""
    keys = {t.name: t.key for t in part.outputs}
    lowering = Lowering(part.setup, keys, None, RK4(), None)
    evaluator = _Unweighed(lowering.setup, lowering.tracer, ())
    evaluator.types, evaluator.shapes = lowering.instants.evaluator.types, lowering.instants.evaluator.shapes
    lowering.instants.evaluator = evaluator
    patterns, cycle = _patterns(part)
    wanted = tuple(dict.fromkeys(keys.values()))
    try:
        programs = {p: lowering.instant(p, wanted, False).simplify(lowering.graph) for p in patterns}
        first = lowering.instant(cycle, wanted, True).simplify(lowering.graph) if part.model.regions else None
    except LoweringError as error:
        where = f"{part.path}.{error.where}" if part.path and error.where else error.where or part.path
        raise LoweringError(where, error.found, error.expected, error.fix) from None
    writer = StepWriter(lowering, _queues(part, programs), part.inputs, part.outputs)
    numbers: dict[Any, str] = {}
    everything = [*programs.values(), first or programs[cycle]]
    lane, _ = writer.hoist((program, False) for program in everything)
    if lane:
        writer.constants("constants", lane)
    names = [_function(writer, program, numbers) for program in everything]
    return _File(part, name, writer, list(programs), names, everything).written()


def _function(writer: StepWriter, program: Program, numbers: dict[Any, str]) -> str:
    signature = program.signature()
    if signature not in numbers:
        numbers[signature] = f"tick{len(numbers)}"
        writer.step(numbers[signature], program)
    return numbers[signature]


def _patterns(part: Part) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
    """The sets of clocks that tick together at some step, and the one of the first step."""
    clocks = part.model.clocks
    every = [c.numerator // part.base for c in clocks]
    phase = [(c.offset - part.start) // part.base for c in clocks]
    length = math.lcm(*every)
    if length > PATTERNS:
        raise LoweringError(part.path or part.model.name, f"periods that come together after {length} steps",
                            f"at most {PATTERNS}", "periods that divide each other")  # fmt: skip
    k = np.arange(length + max(phase))
    code = np.zeros(len(k), dtype=np.int64)
    for i, (n, first) in enumerate(zip(every, phase)):
        code |= ((k >= first) & ((k - first) % n == 0)).astype(np.int64) << i
    sets = [tuple(i for i in range(len(clocks)) if one >> i & 1) for one in np.unique(code).tolist()]
    return sets, tuple(i for i in range(len(clocks)) if code[0] >> i & 1)


def _queues(part: Part, programs: dict[tuple[int, ...], Program]) -> list[Queue]:
    pushes = {push.path: push for program in programs.values() for push in program.pushes}
    masked = {p.path for program in programs.values() for p in program.pushes if p.mask is not None}
    found: list[Queue] = []
    for node in part.model.graph.nodes:
        if node.delay and isinstance(node.clock, int) and node.path in pushes:
            capacity = node.delay // part.model.clocks[node.clock].numerator + 2
            keys = tuple(pushes[node.path].values)
            found.append(Queue(len(found), node.path, node.delay, capacity, keys, node.path in masked))
    return found


class _File:
    """The text of one export."""

    def __init__(
        self, part: Part, name: str, writer: StepWriter, patterns: list[tuple[int, ...]], names: list[str],
        programs: list[Program],
    ) -> None:  # fmt: skip
        self.part, self.name, self.writer, self.patterns, self.names = part, name, writer, patterns, names
        self.programs = programs
        self.queues = list(writer.queues.values())
        self.parameters = 0

    def written(self) -> Written:
        inside = list(self._ports(self.part.inputs))
        outside = list(self._ports(self.part.outputs))
        state = list(self._state())
        init, initials = self._init()
        functions = plain("\n".join(self.writer.functions))
        maps = plain("\n".join(self.writer.unit.maps))
        tables = [*self._tables(), *self._fixed(), *initials]
        step = self._step()
        solved = max((v.attr[1] ** 2 for v in self.writer.lowering.graph.values if v.op == "solve"), default=1)
        source = "\n".join([
            f"/* Written by simdl: see {self.name}.json for the names of the ports. */",
            f'#include "{self.name}.h"', prelude(functions + maps, solved),
            *tables, maps, f"#define ARGUMENTS const {self.name}_in *in, {self.name}_out *out, {self.name}_state *s, "
            "double t", functions, init, step, "",
        ])  # fmt: skip
        fields = zip([*self.part.inputs], inside), zip([*self.part.outputs], outside)
        ins, outs = ({t.name: f[0] for t, f in pairs} for pairs in fields)
        return Written(self._header(inside, outside, state), source, _layout(inside), _layout(outside), _layout(state),
                       ins, outs, tuple(self._counters()), max(map(_macs, self.programs)), self.parameters)  # fmt: skip

    def _ports(self, terminals: tuple[Terminal, ...]) -> Iterator[tuple[str, str, int]]:
        for i, t in enumerate(terminals):
            yield mangled(i, t.name), TYPES[t.dtype], -1 if t.shape == () else t.size

    def _state(self) -> Iterator[tuple[str, str, int]]:
        yield "ns", "i8", -1
        for q in self.queues:
            yield f"at{q.number}", "i8", q.capacity
        for slot in self.writer.layout.slots.values():
            if slot.size:
                yield slot.label, slot.type, slot.size
        for label, value in self.writer.kept.items():
            yield label, value.type, value.size
        yield "due", "i4", len(self.part.model.clocks)
        for q in self.queues:
            yield f"first{q.number}", "i4", -1
            yield f"count{q.number}", "i4", -1

    def _counters(self) -> Iterator[tuple[str, int]]:
        for q in self.queues:
            yield f"first{q.number}", q.capacity
            yield f"count{q.number}", q.capacity + 1

    def _header(self, *members: list[tuple[str, str, int]]) -> str:
        name = self.name
        lines = [f"/* Written by simdl. {name}_init once, then {name}_step every {self.part.base} ns. */",
                 f"#ifndef {name.upper()}_H", f"#define {name.upper()}_H", "", "#include <stdint.h>", "",
                 "#ifdef __cplusplus", 'extern "C" {', "#endif", ""]  # fmt: skip
        for what, fields in zip(("in", "out", "state"), members):
            lines += ["typedef struct {"]
            lines += [f"    {MEMORY[kind][0]} {label}{'' if size < 0 else f'[{size}]'};"
                      for label, kind, size in fields]  # fmt: skip
            lines += [] if fields else ["    uint8_t none;"]
            lines += [f"}} {name}_{what};", ""]
        lines += [f"void {name}_init({name}_state *s);",
                  f"void {name}_step(const {name}_in *in, {name}_out *out, {name}_state *s);", "",
                  "#ifdef __cplusplus", "}", "#endif", "#endif", ""]  # fmt: skip
        return "\n".join(lines)

    # -- constants ------------------------------------------------------------------------------------------------

    def _array(self, label: str, kind: str, numbers: Any) -> str:
        flat = np.asarray(numbers).reshape(-1)
        self.parameters += flat.size * np.dtype(MEMORY[kind][1]).itemsize
        items = [plain(literal(x, kind)) for x in flat.tolist()]
        rows = [", ".join(items[i : i + 8]) for i in range(0, len(items), 8)]
        return f"static const {MEMORY[kind][0]} {label}[{max(1, flat.size)}] = {{\n    " + ",\n    ".join(rows) + "};"

    def _tables(self) -> list[str]:
        lowering, setup = self.writer.lowering, self.part.setup
        given = {k: v[:1].expand(lowering.lanes, *v.shape[1:]) for k, v in setup.params.items()}
        done: dict[int, Tensor] = {}
        with torch.no_grad():
            tensors = [replay(t, given, done, lowering.tracer.tables) for t in lowering.tracer.order]
        return [self._array(f"table{i}", shared.value.type, evaluated(shared.value, tensors))
                for i, shared in enumerate(self.writer.unit.shared)]  # fmt: skip

    def _fixed(self) -> list[str]:
        return [self._array(label, kind, self._value(slot)) for slot, (label, kind, _) in self.writer.fixed.items()]

    def _value(self, slot: str) -> Any:
        kind, _, key = slot.partition(":")
        if kind == "param":
            return self.part.setup.params[key][0].detach().cpu().numpy()
        group, _, inner = key.partition(":")
        found = self.initial[group]
        return found[inner if inner in found else int(inner)][0].detach().cpu().numpy()

    @property
    def initial(self) -> dict[str, dict[Any, Tensor]]:
        """The values of every state before the first step, by group."""
        if not hasattr(self, "_initial"):
            setup = self.part.setup
            with torch.no_grad():
                state = Instants(setup, Recorder(setup, {}, None)).initial
            self._initial = {name: getattr(state, name) for name in GROUPS}
        return self._initial

    # -- functions ------------------------------------------------------------------------------------------------

    def _init(self) -> tuple[str, list[str]]:
        lines: list[str] = []
        arrays: list[str] = []
        for name, slot in self.writer.layout.slots.items():
            if not slot.size or name not in self.writer.lowering.state_names:
                continue
            numbers = np.asarray(self._value(f"initial:{name}")).reshape(-1)
            if not numbers.any():
                continue
            if (numbers == numbers[0]).all():
                value = plain(literal(numbers[0].item(), slot.type))
                lines.append(f"ELEMENTS({slot.size}) s->{slot.label}[e] = {value};")
            else:
                arrays.append(self._array(f"start{len(arrays)}", slot.type, numbers))
                lines.append(f"memcpy(s->{slot.label}, start{len(arrays) - 1}, sizeof s->{slot.label});")
        clocks, part = self.part.model.clocks, self.part
        for i, clock in enumerate(clocks):
            if clock.offset != part.start:
                lines.append(f"s->due[{i}] = {(clock.offset - part.start) // part.base};")
        if part.start:
            lines.append(f"s->ns = INT64_C({part.start});")
        if self.writer.kept:
            lines.append("constants(NULL, NULL, s, 0.0);")
        text = [f"void {self.name}_init({self.name}_state *s)", "{", "    memset(s, 0, sizeof *s);",
                *(f"    {line}" for line in lines), "}"]  # fmt: skip
        return "\n".join(text), arrays

    def _step(self) -> str:
        part, lines = self.part, []
        text = publish(self.queues, self.writer.layout)
        for q in self.queues:  # the engine keeps a queue's counters in one array, a state in members
            ring = f"ring[{q.number}]"
            text = text.replace(f"{ring}[2 + {ring}[0]]", f"s->at{q.number}[s->first{q.number}]")
            text = text.replace(f"{ring}[0]", f"s->first{q.number}").replace(f"{ring}[1]", f"s->count{q.number}")
        lines += text.replace("LANES ", "").replace("[l]", "").replace("<= ns)", "<= s->ns)").splitlines()
        lines.append("const double t = (double)s->ns / 1e9;")
        clocks = part.model.clocks
        lines.append("unsigned now = 0;")
        for i, clock in enumerate(clocks):
            lines.append(f"if (s->due[{i}] == 0) {{ now |= {1 << i}u; s->due[{i}] = {clock.numerator // part.base}; }}")
            lines.append(f"s->due[{i}]--;")
        first = self.names[-1]
        usual = dict(zip(self.patterns, self.names))
        begin = next(p for p in self.patterns if p == tuple(i for i, c in enumerate(clocks) if c.offset == part.start))
        if usual[begin] != first:
            lines.append(f"if (s->ns == INT64_C({part.start})) {first}(in, out, s, t);")
            lines.append("else")
        if len(set(usual.values())) == 1:
            lines.append(f"{usual[begin]}(in, out, s, t);")
            lines.append("(void)now;")
        else:
            lines.append("switch (now) {")
            lines += [f"case {sum(1 << i for i in p)}u: {name}(in, out, s, t); break;" for p, name in usual.items()]
            lines += ["default: break;", "}"]
        lines.append(f"s->ns += INT64_C({part.base});")
        head = f"void {self.name}_step(const {self.name}_in *in, {self.name}_out *out, {self.name}_state *s)"
        return "\n".join([head, "{", *(f"    {line}" for line in lines), "}"])


def _layout(fields: list[tuple[str, str, int]]) -> Layout:
    """The numpy type of a C structure."""
    members = [(label, MEMORY[kind][1]) if size < 0 else (label, MEMORY[kind][1], (size,))
               for label, kind, size in fields]  # fmt: skip
    return np.dtype(members or [("none", "u1")], align=True)


def _macs(program: Program) -> int:
    """Multiplications that are added up in matrix products."""
    return _counted(program.values(), set())


def _counted(values: list[Value], seen: set[int]) -> int:
    total, stack = 0, list(values)
    while stack:
        v = stack.pop()
        if v.index in seen:
            continue
        seen.add(v.index)
        if v.op == "matmul":
            total += math.prod(v.attr)
        if v.op == "repeat":
            total += v.attr.turns * _counted(list(v.attr.following), seen)
        stack += v.args
    return total


__all__ = ["Written", "written"]
