"""One stretch of a native run: its memory, what C is given, and how the results come back."""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from simdl.clock import seconds
from simdl.engine.arguments import LESS, too_large
from simdl.engine.crossing import BUDGET
from simdl.engine.failing import not_finite
from simdl.engine.native.ir import DTYPES
from simdl.engine.native.lower import GROUPS
from simdl.engine.native.memory import Array, Blocks, aligned, evaluated
from simdl.engine.native.program import Queue
from simdl.engine.native.schedule import Schedule
from simdl.engine.native.tracer import replay
from simdl.errors import RunError

if TYPE_CHECKING:
    from simdl.engine.native.engine import Built, Native


PAUSED, STOPPED = 1, 2  # how a call of the loop ends before the end of the plan


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
        ("most", ctypes.c_int64), ("noted", ctypes.c_void_p), ("stop", ctypes.c_void_p), ("watched", ctypes.c_int64),
    ]  # fmt: skip


class Launch:
    """A plan of instants with everything that the library needs to run it; made once, run as often as wanted.

    `fire` runs it from what is in memory; `run` hands the results to the simulator."""

    def __init__(self, native: Native, built: Built, plan: Schedule) -> None:
        self.native, self.built, self.plan = native, built, plan
        self.simulator, self.model = native.simulator, native.model
        numbers = {kind: i for i, kind in enumerate(built.kinds)}
        self.program = np.array([numbers[kind] for kind in plan.kinds], dtype=np.int32)[plan.which]
        self.blocks = Blocks(built.writer.layout, self.simulator.lanes, native.width)
        self.keep: list[Any] = []  # memory that only C points to
        self.ring = self.ring_next = self.place = np.zeros(0, dtype=np.int64)  # given by `_context`
        self._pack()
        self.recorded = self._recorded()
        self.context = self._context()
        self.start = (self.ring.copy(), self.place.copy())
        self.most = 1 << 12  # crossings kept by one run

    def run(self) -> None:
        """Bring the simulator to the end of the plan."""
        outs = self.fire()
        recorder = self.simulator.recorder
        recorder.events += self.events()
        for key, (times, values, shape) in outs.items():
            recorder.extend(key, times.tolist(), self.columns(values, shape))
        self.unpack()
        self.simulator.state.ns = int(self.plan.ns[-1])

    def fire(self) -> dict[str, Any]:
        """Run it. What was recorded: key -> (times in ns, values (times, size, lanes of all blocks), shape).

        Ctrl-C leaves the loop at once. Where the signal's handler raises nothing, it runs once more, to its end."""
        outs = self.room()
        self.watch(in_main_thread())
        while True:
            self._room_for_crossings()
            while (end := self._go()) == PAUSED:
                self._call()
            if end == STOPPED:
                self.watch(False)
            elif self.noted[0] <= self.most or not self.model.crossings:
                return outs
            else:
                self.most = 2 * int(self.noted[0])  # more crossings than there was room for: once more
            self.blocks.bytes[:] = 0
            self._pack()
            self.rewind(self.blocks.bytes)

    def watch(self, signals: bool) -> None:
        """Whether the next run is to be left when a signal comes."""
        self.stop[0], self.context.watched = 0, signals

    def rewind(self, blocks: Array) -> None:
        """Back to the beginning of the plan, with this memory."""
        self.blocks.bytes[:] = blocks
        self.ring[:], self.place[:] = self.start
        self.ring_next[:] = self.ring
        self.column[:], self.mark[:], self.failed[:], self.cause[:] = 0, 0, -1, -1

    def _go(self) -> int:
        """Run to the end of the plan, or to the next call into Python (PAUSED), or until a signal comes (STOPPED)."""
        end = int(self.built.library.run(ctypes.addressof(self.context)))
        self.ring[:], self.column[:], self.mark[:] = self.ring_next, self.column_next, self.mark_next
        return end

    def _call(self) -> None:
        """Make the call into Python at which the run has paused."""
        first, part = int(self.place[0]), int(self.place[1])
        call = self.built.programs[int(self.program[first])].outside[part - 1]
        number = self.built.lowering.tracer.outside.index(call)
        blocks = self.blocks
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

    def _pack(self) -> None:
        s, blocks, state, setup = self.simulator, self.blocks, self.simulator.state, self.simulator.setup
        initial = s.instants.initial
        for name in self.built.writer.layout.slots:
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
        for queue in self.built.writer.queues.values():
            for place, (_, values, mask) in enumerate(state.queues.get(queue.path, ())):
                self._enqueue(queue, place, values, mask)

    def _enqueue(self, queue: Queue, place: int, values: dict[str, Tensor], mask: Tensor | None) -> None:
        """Put one entry of a queue into its ring."""
        blocks = self.blocks
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

    def _context(self) -> _Context:
        s, setup, built, blocks, plan = self.simulator, self.simulator.setup, self.built, self.blocks, self.plan
        padded = blocks.number * blocks.width

        def hold(array: Any) -> int:
            array = np.ascontiguousarray(array)
            self.keep.append(array)
            return int(array.ctypes.data)

        c = _Context()
        c.lanes, c.number, c.threads = padded, blocks.number, min(self.native.threads, blocks.number)
        c.count, c.grid = len(plan.ns), s.recorder.step or 0
        c.max_step = s.segments.max_step or 0.0
        self.place = np.array([0, 0, s.state.ns, s.state.armed is not None, s._checked], dtype=np.int64)
        c.place = self.place.ctypes.data
        c.ns, c.ticks, c.program = (
            hold(plan.ns),
            hold(plan.ticks[:, : max(1, len(self.model.clocks))]),
            hold(self.program),
        )
        ids = setup.ids.cpu().numpy()
        c.ids = hold(np.concatenate([ids, np.repeat(ids[-1:], padded - len(ids))]))
        c.streams = hold(np.array([setup.key_of_noise(k) for k in self.model.noises] or [0], dtype=np.uint64))
        self.tables = self._tables()
        c.shared = hold(np.array([hold(a) for a in self.tables] or [0], dtype=np.uint64))
        c.inputs = self._inputs(padded, hold)
        self.ring = self._rings()
        self.ring_next = self.ring.copy()
        c.ring, c.ring_next = self.ring.ctypes.data, self.ring_next.ctypes.data
        self.failed, self.cause = np.full(padded, -1, dtype=np.int64), np.full(padded, -1, dtype=np.int32)
        c.failed, c.cause = self.failed.ctypes.data, self.cause.ctypes.data
        self.accuracy = np.array([-1.0, 0.0, 0.0])
        check = not self.native.walks and bool(self.model.continuous) and s.lanes <= 4096 and s.check_accuracy
        c.accuracy = self.accuracy.ctypes.data if check and s._checked < 64 else 0
        self.pointers = np.zeros(max(1, len(self.recorded)), dtype=np.uint64)
        c.out = self.pointers.ctypes.data
        self.column, self.mark = (np.zeros(len(self.pointers), dtype=np.int64) for _ in range(2))
        self.column_next, self.mark_next = self.column.copy(), self.mark.copy()
        c.column, c.column_next = self.column.ctypes.data, self.column_next.ctypes.data
        c.mark, c.mark_next = self.mark.ctypes.data, self.mark_next.ctypes.data
        c.blocks = blocks.data.ctypes.data
        self.stop = np.zeros(1, dtype=np.int32)
        c.stop = self.stop.ctypes.data
        pauses = any(p.outside for p in built.programs.values())
        scratch = aligned(max(3 * max(1, c.threads), blocks.number * pauses + 3), blocks.data.dtype)
        self.keep.append(scratch)
        c.scratch = scratch.ctypes.data
        return c

    def _room_for_crossings(self) -> None:
        context = self.context
        most = self.most if self.model.crossings else 1
        self.event_lanes, self.event_times = np.zeros((most, 2), dtype=np.int64), np.zeros(most)
        self.noted = np.zeros(1, dtype=np.int64)
        context.events, context.event_times = self.event_lanes.ctypes.data, self.event_times.ctypes.data
        context.noted, context.most = self.noted.ctypes.data, most

    def events(self) -> list[tuple[int, float, str]]:
        """The crossings (lane, t, path) in order of time, and of lanes where times are equal."""
        count = int(self.noted[0])
        lanes, guards, times = self.event_lanes[:count, 0], self.event_lanes[:count, 1], self.event_times[:count]
        order = np.lexsort((lanes, times))  # stable: a lane notes its own in order
        order = order[lanes[order] < self.simulator.lanes]
        paths = [node.path for node in self.model.crossings]
        named = [paths[k] for k in guards[order].tolist()]
        return list(zip(lanes[order].tolist(), times[order].tolist(), named, strict=True))

    def refresh(self) -> None:
        """Take over the weights of today."""
        for place, now in zip(self.tables, self._tables(), strict=True):
            place[:] = now

    def _tables(self) -> list[Array]:
        """The shared tables with today's weights."""
        built = self.built
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

    def _inputs(self, padded: int, hold: Callable[[Any], int]) -> int:
        built = self.built
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
            array[i] = _Input(
                len(source.times), hold(np.array(source.times, dtype=np.int64)), hold(wide), wide.shape[-1]
            )
        self.keep.append(array)
        return ctypes.addressof(array)

    def _rings(self) -> Array:
        queues = list(self.built.writer.queues.values())
        width = 2 + max((q.capacity for q in queues), default=0)
        ring = np.zeros((max(1, len(queues)), width), dtype=np.int64)
        for q in queues:
            entries = self.simulator.state.queues.get(q.path, ())
            ring[q.number, 1] = len(entries)
            ring[q.number, 2 : 2 + len(entries)] = [at for at, _, _ in entries]
        return ring

    def _recorded(self) -> list[tuple[str, Array, int, tuple[int, ...], torch.dtype]]:
        """What a run records: key, times in ns, numbers of a lane at a time, shape and type."""
        recorder, s, built, plan = self.simulator.recorder, self.simulator, self.built, self.plan
        grid: Array | None = None
        if recorder.step is not None:
            first = (s.state.ns // recorder.step + 1) * recorder.step if s.state.ns >= 0 else 0
            grid = np.arange(first, int(plan.ns[-1]) + 1, recorder.step, dtype=np.int64)
        found = []
        for key in built.writer.keys:
            times = grid if grid is not None else plan.ns[np.array([key in kind[1] for kind in plan.kinds])[plan.which]]
            shape = built.lowering.instants.evaluator.shapes.get(key, ())
            found.append((key, times, math.prod(shape), shape, DTYPES[built.lowering.type_of(key)]))
        return found

    def room(self) -> dict[str, Any]:
        """Memory for what will be recorded: key -> (times, values (columns, size, padded), shape)."""
        lanes, outs = self.context.lanes, {}
        for i, (key, times, size, shape, dtype) in enumerate(self.recorded):
            try:
                values = torch.empty(len(times), size, lanes, dtype=dtype)
            except (RuntimeError, MemoryError):
                found = too_large(len(times), size, lanes, 8 * len(times) * size * lanes)
                raise RunError(key, found, "a record that fits into the memory that is free", LESS) from None
            self.pointers[i] = values.data_ptr()
            outs[key] = (times, values, shape)
        return outs

    def columns(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """What was recorded of a key as (times, lanes, *shape)."""
        lanes = self.simulator.lanes
        if values.shape[1] == 1:
            return values[:, 0, :lanes].reshape(len(values), lanes, *shape)
        return values[:, :, :lanes].permute(0, 2, 1).reshape(len(values), lanes, *shape)

    def unpack(self) -> None:
        s, state, blocks, layout = self.simulator, self.simulator.state.copy(), self.blocks, self.built.writer.layout
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
        for queue in self.built.writer.queues.values():
            state.queues[queue.path] = self._dequeued(queue)
        frozen = blocks.get("frozen", (), torch.bool)
        if bool(frozen.any()):
            state.frozen = frozen
            state.status |= self.status()
        self.tell_accuracy()
        s.state, s.seen = state, {}

    def status(self) -> dict[int, tuple[float, str]]:
        """The lanes that failed in this run: when, and why."""
        lanes = np.flatnonzero(self.failed[: self.simulator.lanes] >= 0).tolist()
        return {i: (seconds(int(self.failed[i])), self._reason(int(self.cause[i]))) for i in lanes}

    def tell_accuracy(self) -> None:
        """Hand on what half the step changed, where it was tried."""
        s = self.simulator
        if self.context.accuracy:
            s._checked = 64
            if self.accuracy[0] >= 0:
                s.tell_accuracy(float(self.accuracy[0]), int(self.accuracy[1]), float(self.accuracy[2]))

    def _dequeued(self, queue: Queue) -> Any:
        blocks = self.blocks
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

    def _reason(self, cause: int) -> str:
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
        for name, slot in self.built.writer.layout.slots.items():
            if name.startswith("raw:") and slot.type in ("f8", "f4"):
                names += [name[4:].removesuffix("!")] * slot.size
        return not_finite(self.model, names[cause]) if 0 <= cause < len(names) else "not finite"


def in_main_thread() -> bool:
    """Whether this is the thread that Python tells of signals."""
    return threading.get_ident() == threading.main_thread().ident


def _typed(group: dict[Any, Tensor], key: str) -> Any:
    """A key of a state's group from its text."""
    return key if key in group else int(key)
