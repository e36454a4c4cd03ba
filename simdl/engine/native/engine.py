"""Running a simulator natively: from the state at one instant to the state at a later one."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from simdl.clock import FOREVER, SECOND, seconds
from simdl.engine.native.assemble import assembled
from simdl.engine.native.cache import load
from simdl.engine.native.cpu import cpu_features
from simdl.engine.native.ir import DTYPES, TYPES
from simdl.engine.native.lower import GROUPS, Lowering, Program, lowered
from simdl.engine.native.memory import Array, Blocks, aligned, evaluated
from simdl.engine.native.program import Queue, Writer
from simdl.engine.native.schedule import Kind, Schedule, schedule, ticks_of
from simdl.engine.crossing import BUDGET
from simdl.engine.native.tracer import replay
from simdl.engine.native.walk import Walk
from simdl.errors import LoweringError

if TYPE_CHECKING:
    from simdl.engine.simulator import Simulator

CHUNK = 1 << 20  # instants in one call


class _Input(ctypes.Structure):
    _fields_ = [("count", ctypes.c_int64), ("times", ctypes.c_void_p), ("values", ctypes.c_void_p),
                ("lanes", ctypes.c_int64)]  # fmt: skip


class _Context(ctypes.Structure):
    _fields_ = [
        *((n, ctypes.c_int64) for n in ("lanes", "number", "threads", "count", "grid")),
        ("max_step", ctypes.c_double),
        *((n, ctypes.c_void_p) for n in ("ns", "ticks", "ids", "column", "mark", "ring", "program", "out", "shared",
                                         "streams", "inputs", "ring_next", "column_next", "mark_next", "place",
                                         "failed", "cause", "accuracy", "blocks", "scratch", "events",
                                         "event_times")),
        ("most", ctypes.c_int64), ("noted", ctypes.c_void_p),
    ]  # fmt: skip


@dataclass(eq=False)
class Built:
    """A library, and what its memory looks like."""

    lowering: Lowering
    writer: Writer
    kinds: tuple[Kind, ...]
    programs: dict[int, Program]
    inputs: tuple[str, ...]
    library: ctypes.CDLL
    reasons: dict[str, str] = field(default_factory=dict)


def vector_width(dtype: torch.dtype) -> int:
    """How many lanes a vector of this processor holds."""
    flags = dict(cpu_features())
    text = " ".join(f"{k} {v}" for k, v in flags.items())
    wide = 8 if "avx512f" in text else 4 if "avx2" in text else 2
    return wide if dtype == torch.float64 else 2 * wide


class Native:
    """The native engine of one simulator."""

    def __init__(self, simulator: Simulator, threads: int | None = None) -> None:
        self.simulator = simulator
        self.model = simulator.model
        self.threads = threads or torch.get_num_threads()
        self.walks = simulator.solver.adaptive or bool(self.model.crossings) or simulator.segments.events
        self.width = vector_width(simulator.setup.dtype)
        if self.walks or simulator.lanes < self.width // 2:
            self.width = 1
        self.most = 1 << 12  # crossings kept by one call
        self.built: Built | None = None
        self.source = ""

    # -- building -------------------------------------------------------------------------------------------------

    def _key(self) -> Any:
        s = self.simulator
        smooth = tuple(sorted(k for k, x in s.setup.inputs.items() if x.smooth))
        timed = tuple(sorted(k for k, x in s.setup.inputs.items() if x.times is not None))
        laned = tuple(sorted(s.setup.laned))
        return (tuple(s.recorder.paths.items()), s.recorder.step is None, str(s.setup.dtype), repr(s.solver), smooth, timed,
                laned, self.width)  # fmt: skip

    def build(self, kinds: Sequence[Kind]) -> Built:
        """The library for these kinds of instants, made once for a model and its recorded signals."""
        kept: dict[Any, Built] = vars(self.model).setdefault("_native", {})
        key = self._key()
        found = kept.get(key)
        if found is not None and set(kinds) <= set(found.kinds):
            return found
        every = tuple(dict.fromkeys([*(found.kinds if found is not None else ()), *kinds]))
        s = self.simulator

        def make(opaque: tuple[str, ...]) -> tuple[Lowering, dict[int, Program]]:
            lowering = Lowering(s.setup, s.recorder.paths, _every(s), s.solver, s.segments.max_step, opaque)
            return lowering, {i: lowering.instant(*kind) for i, kind in enumerate(every)}

        (lowering, programs), reasons = lowered(make, s.setup)
        timed = tuple(k for k, x in s.setup.inputs.items() if x.times is not None)
        writer = Writer(lowering, self.width, self._queues(programs))
        self.source = assembled(writer, programs, timed, Walk(lowering) if self.walks else None)
        library = load(self.source)
        library.run.argtypes = [ctypes.c_void_p]
        library.run.restype = ctypes.c_int32
        built = Built(lowering, writer, every, programs, timed, library, reasons)
        kept[key] = built
        return built

    def _queues(self, programs: dict[int, Program]) -> list[Queue]:
        found: dict[str, Queue] = {}
        masked = {p.path for program in programs.values() for p in program.pushes if p.mask is not None}
        for program in programs.values():
            for push in program.pushes:
                node = next(n for n in self.model.graph.nodes if n.path == push.path)
                assert isinstance(node.clock, int)
                clock = self.model.clocks[node.clock]
                capacity = int(push.delay * clock.denominator // clock.numerator) + 3
                found[push.path] = Queue(len(found), push.path, push.delay, capacity, tuple(push.values),
                                         push.path in masked)  # fmt: skip
        return [Queue(i, q.path, q.delay, q.capacity, q.keys, q.masked) for i, q in enumerate(found.values())]

    def prepare(self, end: int) -> None:
        """Trace and compile what a run to `end` needs. Raises LoweringError and CompileError."""
        self.build(self._plan(self.simulator.state.ns, end).kinds)

    def describe(self) -> str:
        """What runs in C, and what in Python."""
        built = next(iter(vars(self.model)["_native"].values()))
        names = [call.name for call in built.lowering.tracer.outside]
        opaque = "; ".join(f"{name} in torch at its ticks ({built.reasons[name]})" for name in dict.fromkeys(names))
        return f"one C loop, {self.width} lanes in a vector, {self.threads} threads" + (f"; {opaque}" if opaque else "")

    # -- running --------------------------------------------------------------------------------------------------

    def advance(self, end: int, progress: Callable[[float], None] | None = None) -> None:
        """Bring the simulator to the instant `end`, ns."""
        s = self.simulator
        while s.state.ns < end:
            plan = self._plan(s.state.ns, end)
            self._run(plan)
            if progress is not None:
                progress(s.t)

    def _plan(self, begin: int, end: int) -> Schedule:
        s = self.simulator
        clocks = self.model.clocks
        fastest = min((c.numerator / c.denominator for c in clocks), default=0.0)
        if fastest and (end - begin) / fastest > CHUNK:
            end = begin + int(CHUNK * fastest)
        extra: list[Array] = []
        for source in s.setup.inputs.values():
            if source.times is not None:
                extra.append(np.asarray(source.times, dtype=np.int64))
        extra += [self._edges(i, begin, end) for i in s.uniform_edges]
        return schedule(clocks, s.recorder, begin, end, extra, self._releases(begin, end), len(self.model.hits))

    def _edges(self, index: int, begin: int, end: int) -> Array:
        """The edges of a source that all lanes share."""
        found, now = [], begin
        while True:
            now = int(self.simulator.segments.edge_after(self.simulator.state, index, now)[0])
            if now > end or now >= FOREVER:
                return np.array(found, dtype=np.int64)
            found.append(now)

    def _releases(self, begin: int, end: int) -> list[tuple[Array, frozenset[str]]]:
        """When delayed values appear: those under way, and those of ticks to come."""
        found: list[tuple[Array, frozenset[str]]] = []
        for node in self.model.graph.nodes:
            if not node.delay or not isinstance(node.clock, int):
                continue
            ticks, _ = ticks_of(self.model.clocks[node.clock], begin, end)
            waiting = [at for at, _, _ in self.simulator.state.queues.get(node.path, ())]
            times = np.concatenate([np.array(waiting, dtype=np.int64), ticks + node.delay])
            keys = {k for k in (*node.writes, *node.names.values()) if k in self.model.held}
            found.append((times[times <= end], frozenset(keys)))
        return found

    def _run(self, plan: Schedule) -> None:
        s = self.simulator
        built = self.build(plan.kinds)
        numbers = {kind: i for i, kind in enumerate(built.kinds)}
        program = np.array([numbers[kind] for kind in plan.kinds], dtype=np.int32)[plan.which]
        blocks = Blocks(built.writer.layout, s.lanes, self.width)
        self._pack(built, blocks)
        keep: list[Any] = []
        context = self._context(built, blocks, plan, program, keep)
        outs = self._outs(built, plan, blocks, context, keep)
        before = blocks.data.copy() if self.model.crossings else None
        rings = self.ring.copy()
        place = self.place.copy()
        while True:
            self._events(context, keep)
            while self._go(built, context):
                self._call(built, plan, program, blocks)
            if before is None or self.noted[0] <= self.most:
                break
            self.most = 2 * int(self.noted[0])  # more crossings than there was room for: once more
            blocks.data[:], self.ring[:], self.place[:] = before, rings, place
            self.column[:], self.mark[:], self.failed[:], self.cause[:] = 0, 0, -1, -1
        self._note()
        self._record(built, plan, outs)
        self._unpack(built, blocks, context, keep)
        s.state.ns = int(plan.ns[-1])

    def _go(self, built: Built, context: _Context) -> bool:
        """Run to the end of the plan, or to the next call into Python: whether there is one."""
        paused = bool(built.library.run(ctypes.addressof(context)))
        self.ring[:], self.column[:], self.mark[:] = self.ring_next, self.column_next, self.mark_next
        return paused

    def _call(self, built: Built, plan: Schedule, program: Array, blocks: Blocks) -> None:
        """Make the call into Python at which the run has paused."""
        first, part = int(self.place[0]), int(self.place[1])
        call = built.programs[int(program[first])].outside[part - 1]
        number = built.lowering.tracer.outside.index(call)
        with torch.no_grad():
            given = [
                blocks.get(f"argument:{number}:{j}", tuple(entry.shape[1:]), dtype)
                for j, (_, entry, dtype) in enumerate(call.inputs)
            ]
            found = call.function(*given)
        for j, value in enumerate(found.values()):
            name = f"outside:{number}:{j}"
            if name in blocks.layout.slots:
                blocks.put(name, value)

    def _pack(self, built: Built, blocks: Blocks) -> None:
        s, state, setup = self.simulator, self.simulator.state, self.simulator.setup
        initial = s.instants.initial
        for name in built.writer.layout.slots:
            kind, _, key = name.partition(":")
            if name == "y":
                blocks.put_rows(name, state.y)
            elif name == "carry":
                assert state.carry is not None
                blocks.put_rows(name, state.carry)
            elif name == "armed":
                if state.armed is not None:
                    blocks.put_rows(name, state.armed)
            elif name == "frozen":
                if state.frozen is not None:
                    blocks.put(name, state.frozen)
            elif kind in GROUPS:
                group = getattr(state, kind)
                blocks.put(name, group[_typed(group, key)])
            elif kind == "param":
                blocks.put(name, setup.params[key])
            elif kind == "input":
                if setup.inputs[key].times is None:
                    blocks.put(name, setup.inputs[key].values)
            elif kind == "initial":
                group_name, _, inner = key.partition(":")
                if group_name == "y":
                    blocks.put_rows(name, initial.y)
                elif group_name == "carry":
                    assert initial.carry is not None
                    blocks.put_rows(name, initial.carry)
                else:
                    group = getattr(initial, group_name)
                    blocks.put(name, group[_typed(group, inner)])
        for queue in built.writer.queues.values():
            for place, (_, values, mask) in enumerate(state.queues.get(queue.path, ())):
                self._enqueue(blocks, queue, place, values, mask)

    def _enqueue(self, blocks: Blocks, queue: Queue, place: int, values: dict[str, Tensor], mask: Tensor | None) -> None:
        """Put one entry of a queue into its ring."""
        one = Blocks(blocks.layout, blocks.lanes, blocks.width)
        for j, key in enumerate(queue.keys):
            slot = blocks.layout.slots[f"queue:{queue.number}:{j}"]
            size = slot.size // queue.capacity
            wide = torch.zeros(blocks.lanes, slot.size, dtype=values[key].dtype)
            wide[:, place * size : (place + 1) * size] = values[key].reshape(blocks.lanes, -1)
            one.put(slot.name, wide)
            rows = slice(place * size, (place + 1) * size)
            blocks.data[slot.label][:, rows] = one.data[slot.label][:, rows]
        if queue.masked:
            slot = blocks.layout.slots[f"queue:{queue.number}:mask"]
            on = torch.ones(blocks.lanes, dtype=torch.bool) if mask is None else mask
            one.put(slot.name, on[:, None].expand(-1, queue.capacity))
            blocks.data[slot.label][:, place] = one.data[slot.label][:, place]

    def _context(self, built: Built, blocks: Blocks, plan: Schedule, program: Array, keep: list[Any]) -> _Context:
        s, setup = self.simulator, self.simulator.setup
        padded = blocks.number * self.width

        def hold(array: Any) -> int:
            array = np.ascontiguousarray(array)
            keep.append(array)
            return int(array.ctypes.data)

        c = _Context()
        c.lanes, c.number, c.threads = padded, blocks.number, min(self.threads, blocks.number)
        c.count, c.grid = len(plan.ns), s.recorder.step or 0
        c.max_step = s.segments.max_step or 0.0
        self.place = np.array([0, 0, s.state.ns, s.state.armed is not None, s._checked], dtype=np.int64)
        c.place = self.place.ctypes.data
        c.ns, c.ticks, c.program = hold(plan.ns), hold(plan.ticks[:, : max(1, len(self.model.clocks))]), hold(program)
        ids = setup.ids.cpu().numpy()
        c.ids = hold(np.concatenate([ids, np.repeat(ids[-1:], padded - len(ids))]))
        c.streams = hold(np.array([setup.key_of_noise(k) for k in self.model.noises] or [0], dtype=np.uint64))
        c.shared = hold(np.array([hold(a) for a in self._tables(built)] or [0], dtype=np.uint64))
        c.inputs = self._inputs(built, padded, keep, hold)
        ring = self._rings(built)
        keep.append(ring)
        self.ring = ring
        self.ring_next = ring.copy()
        c.ring, c.ring_next = ring.ctypes.data, self.ring_next.ctypes.data
        self.failed, self.cause = np.full(padded, -1, dtype=np.int64), np.full(padded, -1, dtype=np.int32)
        c.failed, c.cause = self.failed.ctypes.data, self.cause.ctypes.data
        self.accuracy = np.array([-1.0, 0.0, 0.0])
        check = not self.walks and bool(self.model.continuous) and s.lanes <= 4096 and s.check_accuracy
        c.accuracy = self.accuracy.ctypes.data if check and s._checked < 64 else 0
        c.blocks = blocks.data.ctypes.data
        pauses = any(p.outside for p in built.programs.values())
        scratch = aligned(max(3 * max(1, c.threads), blocks.number * pauses + 3), blocks.data.dtype)
        keep.append(scratch)
        c.scratch = scratch.ctypes.data
        return c

    def _events(self, context: _Context, keep: list[Any]) -> None:
        """Room for crossings."""
        most = self.most if self.model.crossings else 1
        self.event_lanes, self.event_times = np.zeros((most, 2), dtype=np.int64), np.zeros(most)
        self.noted = np.zeros(1, dtype=np.int64)
        context.events, context.event_times = self.event_lanes.ctypes.data, self.event_times.ctypes.data
        context.noted, context.most = self.noted.ctypes.data, most

    def _note(self) -> None:
        """Hand crossings on, in order of time, and of lanes where times are equal."""
        count = int(self.noted[0])
        lanes, times = self.event_lanes[:count], self.event_times[:count]
        order = np.lexsort((np.arange(count), lanes[:, 0], times))
        paths = [node.path for node in self.model.crossings]
        real = self.simulator.lanes
        self.simulator.recorder.events += [
            (int(lanes[i, 0]), float(times[i]), paths[int(lanes[i, 1])]) for i in order if lanes[i, 0] < real
        ]

    def _tables(self, built: Built) -> list[Array]:
        """The shared tables with today's weights."""
        tracer = built.lowering.tracer
        lanes = built.lowering.lanes
        given = {k: v[:1].detach().cpu().expand(lanes, *v.shape[1:]) for k, v in self.simulator.setup.params.items()}
        done: dict[int, Tensor] = {}
        with torch.no_grad():
            tensors = [replay(t, given, done, tracer.tables) for t in tracer.order]
        arrays = []
        for shared in built.writer.unit.shared:
            flat = evaluated(shared.value, tensors)
            if shared.padded != shared.columns:
                wide = np.zeros((shared.rows, shared.padded), dtype=flat.dtype)
                wide[:, : shared.columns] = flat.reshape(shared.rows, shared.columns)
                flat = wide
            place = aligned(flat.size, flat.dtype)
            place[:] = flat.reshape(-1)
            arrays.append(place)
        return arrays

    def _inputs(self, built: Built, padded: int, keep: list[Any], hold: Callable[[Any], int]) -> int:
        array = (_Input * max(1, len(built.inputs)))()
        for i, key in enumerate(built.inputs):
            source = self.simulator.setup.inputs[key]
            assert source.times is not None
            values = source.values.detach().cpu()
            flat = values.reshape(values.shape[0], values.shape[1], -1) if values.stride(0) else values[:1].reshape(
                1, values.shape[1], -1)  # fmt: skip
            wide = flat.permute(1, 2, 0).numpy()
            if flat.shape[0] > 1:
                wide = np.concatenate([wide, np.repeat(wide[..., -1:], padded - wide.shape[-1], axis=-1)], axis=-1)
            if wide.dtype == np.bool_:
                wide = wide.astype(np.uint8)
            array[i] = _Input(len(source.times), hold(np.array(source.times, dtype=np.int64)), hold(wide), wide.shape[-1])
        keep.append(array)
        return ctypes.addressof(array)

    def _rings(self, built: Built) -> Array:
        queues = list(built.writer.queues.values())
        width = 2 + max((q.capacity for q in queues), default=0)
        ring = np.zeros((max(1, len(queues)), width), dtype=np.int64)
        for q in queues:
            entries = self.simulator.state.queues.get(q.path, ())
            ring[q.number, 1] = len(entries)
            ring[q.number, 2 : 2 + len(entries)] = [at for at, _, _ in entries]
        return ring

    def _outs(self, built: Built, plan: Schedule, blocks: Blocks, context: _Context, keep: list[Any]) -> dict[str, Any]:
        """Memory for what will be recorded: key -> (times, values (columns, size, padded))."""
        recorder, s = self.simulator.recorder, self.simulator
        outs: dict[str, Any] = {}
        pointers = []
        grid: Array | None = None
        if recorder.step is not None:
            first = (s.state.ns // recorder.step + 1) * recorder.step if s.state.ns >= 0 else 0
            grid = np.arange(first, int(plan.ns[-1]) + 1, recorder.step, dtype=np.int64)
        for key in built.writer.keys:
            if grid is not None:
                times = grid
            else:
                wanted = np.array([key in kind[1] for kind in plan.kinds])
                times = plan.ns[wanted[plan.which]]
            shape = built.lowering.instants.evaluator.shapes.get(key, ())
            size = int(np.prod(shape)) if shape else 1
            dtype = DTYPES[built.lowering.type_of(key)]
            values = torch.empty(len(times), size, blocks.number * self.width, dtype=dtype)
            keep.append(values)
            pointers.append(values.data_ptr())
            outs[key] = (times, values, shape)
        array = np.array(pointers or [0], dtype=np.uint64)
        self.column, self.mark = (np.zeros(max(1, len(pointers)), dtype=np.int64) for _ in range(2))
        keep.append(array)
        context.out = array.ctypes.data
        self.column_next, self.mark_next = self.column.copy(), self.mark.copy()
        context.column, context.column_next = self.column.ctypes.data, self.column_next.ctypes.data
        context.mark, context.mark_next = self.mark.ctypes.data, self.mark_next.ctypes.data
        return outs

    def _record(self, built: Built, plan: Schedule, outs: dict[str, Any]) -> None:
        recorder, lanes = self.simulator.recorder, self.simulator.lanes
        for key, (times, values, shape) in outs.items():
            whole = values[:, :, :lanes].permute(0, 2, 1).reshape(len(times), lanes, *shape) if values.shape[1] != 1 \
                else values[:, 0, :lanes].reshape(len(times), lanes, *shape)  # fmt: skip
            recorder.extend(key, times.tolist(), whole)

    def _unpack(self, built: Built, blocks: Blocks, context: _Context, keep: list[Any]) -> None:
        s, state, layout = self.simulator, self.simulator.state.copy(), built.writer.layout
        if "y" in layout.slots:
            state.y = blocks.get_rows("y")
        if "carry" in layout.slots:
            state.carry = blocks.get_rows("carry")
        if self.model.crossings and "armed" in layout.slots and s.state.ns >= -1:
            state.armed = blocks.get_rows("armed").to(torch.bool)
        for name in GROUPS:
            group = {}
            for key, old in getattr(state, name).items():
                slot = layout.slots.get(f"{name}:{key}")
                group[key] = old if slot is None else blocks.get(slot.name, tuple(old.shape[1:]), old.dtype)
            setattr(state, name, group)
        for queue in built.writer.queues.values():
            state.queues[queue.path] = self._dequeued(blocks, queue)
        frozen = blocks.get("frozen", (), torch.bool)
        if bool(frozen.any()):
            state.frozen = frozen
            for lane in np.flatnonzero(self.failed[: s.lanes] >= 0).tolist():
                state.status[lane] = (seconds(int(self.failed[lane])), self._reason(built, int(self.cause[lane])))
        if context.accuracy:
            s._checked = 64
            if self.accuracy[0] >= 0:
                s.tell_accuracy(float(self.accuracy[0]), int(self.accuracy[1]), float(self.accuracy[2]))
        s.state, s.seen = state, {}

    def _dequeued(self, blocks: Blocks, queue: Queue) -> Any:
        ring = self.ring[queue.number]
        entries = []
        for i in range(int(ring[1])):
            place = (int(ring[0]) + i) % queue.capacity
            values = {}
            for j, key in enumerate(queue.keys):
                slot = blocks.layout.slots[f"queue:{queue.number}:{j}"]
                size = slot.size // queue.capacity
                held = self.simulator.state.held[key]
                every = blocks.get(slot.name, (slot.size,), held.dtype)
                values[key] = every[:, place * size : (place + 1) * size].reshape(held.shape)
            mask = None
            if queue.masked:
                mask = blocks.get(f"queue:{queue.number}:mask", (queue.capacity,), torch.bool)[:, place]
            entries.append((int(ring[2 + place]), values, mask))
        return tuple(entries)

    def _reason(self, built: Built, cause: int) -> str:
        if cause == -2:
            return "the step size went to zero: the solution blows up or is stiff for this method"
        if cause == -3:
            return f"more than {getattr(self.simulator.solver, 'max_steps', 0)} steps between two instants"
        if cause <= -4:
            return f"{self.model.crossings[-4 - cause].path} fired more than {BUDGET} times between two instants"
        names: list[str] = []
        s = self.simulator
        for key, rows in s.instants.rows.items():
            names += [key] * (rows.stop - rows.start)
        for name, slot in built.writer.layout.slots.items():
            if name.startswith("raw:") and slot.type in ("f8", "f4"):
                names += [name[4:].removesuffix("!")] * slot.size
        return f"{names[cause]} is not finite" if 0 <= cause < len(names) else "not finite"


def _typed(group: dict[Any, Tensor], key: str) -> Any:
    """A key of a state's group from its text."""
    return key if key in group else int(key)


def _every(simulator: Simulator) -> Any:
    step = simulator.recorder.step
    return None if step is None else seconds(step)


__all__ = ["LoweringError", "Native", "SECOND", "TYPES", "os"]
