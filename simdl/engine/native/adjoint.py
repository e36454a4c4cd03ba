"""Gradients through native runs: one autograd function from what a stretch of a run begins with to what it gives.

Forward, the stretch runs as it does without gradients, and nothing is kept but what it began with. Backward, each block of
lanes runs forward again with a tape, in pieces that fit into BUDGET bytes, and then back (`adjoint.h`). Gradients of
parameters, initial values and inputs come lane by lane; those of tensors that all lanes share, such as weights, from sums
over lanes that do not depend on the number of threads.
"""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from simdl.clock import seconds
from simdl.engine.native.adjoint_program import Adjoint
from simdl.engine.native.backward import Gradients
from simdl.engine.native.cache import load
from simdl.engine.native.engine import Built, Native
from simdl.engine.native.ir import DTYPES
from simdl.engine.native.launch import Launch
from simdl.engine.native.memory import Array, Blocks, aligned
from simdl.engine.native.schedule import Schedule
from simdl.engine.native.tables import replay
from simdl.engine.native.tape import COLUMNS, Tape
from simdl.engine.state import State
from simdl.errors import LoweringError, RunError

if TYPE_CHECKING:
    from simdl.engine.simulator import Simulator

BUDGET = 1 << 23  # bytes of tape for each thread
RANGES = 32  # parts of a batch whose sums over lanes are kept apart


class _Backward(ctypes.Structure):
    _fields_ = [*((n, ctypes.c_int64) for n in ("start", "stretches", "ranges", "room")),
                *((n, ctypes.c_void_p) for n in ("cuts", "columns", "tape", "checks", "sums", "shown", "inputs"))]  # fmt: skip


@dataclass(eq=False)
class Differentiable:
    """A library for gradients, and what its programs are."""

    built: Built
    adjoint: Adjoint
    sources: list[Tensor]  # weights and other tensors from outside
    asked: tuple[bool, ...]  # which of them required gradients

    @property
    def leaves(self) -> list[Tensor]:
        """The tensors from outside that gradients are computed for."""
        return [tensor for tensor, asked in zip(self.sources, self.asked) if asked]


class NativeGradients(Native):
    """The native engine of a simulator with gradients."""

    made: Differentiable

    def prepare(self, end: int) -> None:
        super().prepare(end)
        assert self.built is not None
        self.made = self.differentiable(self.built)

    def describe(self) -> str:
        return super().describe() + "; gradients by its adjoint"

    def plan(self, begin: int, end: int, whole: bool = False) -> Schedule:
        """The whole way: sums over lanes have one order, however long a call takes."""
        return super().plan(begin, end, True)

    def differentiable(self, forward: Built) -> Differentiable:
        """The library for gradients through what a library does, made once."""
        s = self.simulator
        calls = [call.name for program in forward.programs.values() for call in program.outside]
        if calls:
            raise LoweringError(calls[0], "a gradient through what torch computes at its ticks", "what is lowered to C")
        asked = frozenset(name for name, tensor in given(s, s.state).items()
                          if tensor.requires_grad and name.startswith(("param:", "input:", "initial:")))  # fmt: skip
        kept: dict[Any, Differentiable] = vars(self.model).setdefault("_adjoints", {})
        key = self._key(), asked
        found = kept.get(key)
        if found is not None and set(forward.kinds) <= set(found.built.kinds):
            if tuple(tensor.requires_grad for tensor in found.sources) == found.asked:
                return found
        kinds = tuple(dict.fromkeys([*(found.built.kinds if found is not None else ()), *forward.kinds]))
        step = None if s.recorder.step is None else seconds(s.recorder.step)
        lowering = Gradients(s.setup, s.recorder.paths, step, s.solver, s.segments.max_step, asked.__contains__)
        joints = {i: lowering.joint(partial(lowering.instant, *kind)) for i, kind in enumerate(kinds)}
        programs = {i: joint.program for i, joint in joints.items()}
        tape = Tape(lowering, self.width, self._queues(programs))
        adjoint = Adjoint(tape, lowering, joints, forward.inputs)
        library = load(adjoint.text)
        library.adjoint.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        library.adjoint.restype = ctypes.c_int32
        sources = [*lowering.differentiating.sources.values()]
        built = Built(lowering, tape, kinds, programs, forward.inputs, library)
        kept[key] = found = Differentiable(built, adjoint, sources, tuple(t.requires_grad for t in sources))
        return found

    def go(self, plan: Schedule) -> None:
        """Run a plan as one node of the graph of gradients."""
        s = self.simulator
        self.built = self.build(plan.kinds)
        self.made = self.differentiable(self.built)
        run = Stretch(self, self.made, plan)
        with torch.enable_grad():
            results = _Run.apply(run, self, *given(s, s.state).values(), *self.made.leaves)  # type: ignore[no-untyped-call]
            run.attach(s, results)


class Stretch:
    """A plan of instants from a state: run forward natively, and backward.

    It keeps what the stretch began with, and no way to the simulator: that would be a cycle through its results."""

    def __init__(self, native: NativeGradients, made: Differentiable, plan: Schedule) -> None:
        self.made, self.plan = made, plan
        s = native.simulator
        self.names = [*given(s, s.state)]
        self.state, self.setup, self.initial, self.inputs = s.state.copy(), s.setup, s.instants.initial, dict(s.setup.inputs)
        self.checkpoint = s.checkpoint if s.checkpoint > 0 else 0
        self.native = copy.copy(native)
        self.native.simulator = SimpleNamespace(  # type: ignore[assignment]
            model=s.model, lanes=s.lanes, recorder=SimpleNamespace(step=s.recorder.step), solver=s.solver,
            segments=SimpleNamespace(max_step=s.segments.max_step), rows=dict(s.instants.rows), _checked=64,
            check_accuracy=False,
        )  # fmt: skip
        self.versions = [tensor._version for tensor in made.sources]

    # -- forward --------------------------------------------------------------------------------------------------

    def forward(self, native: NativeGradients) -> list[Tensor]:
        """Run, and return what has changed: `outputs` names it."""
        s = native.simulator
        assert native.built is not None
        launch = Launch(native, native.built, self.plan)
        recorded = launch.fire()
        launch.unpack()
        s.state.ns = int(self.plan.ns[-1])
        self.failed = None if s.state.frozen is None else s.state.frozen.clone()
        slots = self.made.built.writer.layout.slots
        now = stated(s.state)
        self.outputs = [name for name in now if f"bar:{name}" in slots or name.startswith("queue:")]
        found = [now[name] for name in self.outputs]
        self.outputs += [f"record:{key}" for key in recorded]
        self.times = {key: times.tolist() for key, (times, _, _) in recorded.items()}
        return found + [launch.columns(values, shape) for _, values, shape in recorded.values()]

    def attach(self, s: Simulator, results: Sequence[Tensor]) -> None:
        """Hand results that know their gradients to the simulator."""
        state = s.state.copy()
        queues = {path: [(at, dict(values), mask) for at, values, mask in q] for path, q in state.queues.items()}
        for name, tensor in zip(self.outputs, results, strict=True):
            kind, _, key = name.partition(":")
            if kind == "record":
                s.recorder.extend(key, self.times[key], tensor)
            elif kind == "queue":
                path, place, inner = key.split("|")
                queues[path][int(place)][1][inner] = tensor
            elif key:
                getattr(state, kind)[key] = tensor
            else:
                setattr(state, kind, tensor)
        state.queues = {path: tuple(q) for path, q in queues.items()}
        s.state = state
        del self.times

    # -- backward -------------------------------------------------------------------------------------------------

    def backward(self, tensors: Sequence[Tensor], grads: Sequence[Tensor | None], needed: Sequence[bool]) -> list[Tensor | None]:
        """Cotangents of what the stretch began with and of shared tensors, from those of its results.

        Raises RunError when weights have changed since."""
        if [tensor._version for tensor in self.made.sources] != self.versions:
            raise RunError(self.native.model.name, "weights changed in place between the run and its backward pass",
                           "backward() before the weights change")  # fmt: skip
        lanes, failed = self.setup.lanes, self.failed
        bars = {name: g for name, g in zip(self.outputs, grads, strict=True) if g is not None}
        if not bars or failed is not None and bool(failed.all()):
            return [torch.zeros_like(t) if n else None for t, n in zip(tensors, needed)]
        index = None
        if failed is not None and bool(failed.any()):  # failed lanes compute what a healthy one does, for nothing
            healthy = int((~failed).nonzero()[0, 0])
            index = torch.where(failed, healthy, torch.arange(lanes))
            bars = {name: _silenced(name, g, failed) for name, g in bars.items()}
        launch = self._launch(tensors, index)
        call = Call(self, launch, bars)
        call.run()
        found = call.results([*zip(self.names, tensors)], needed)
        if failed is not None and index is not None:
            found = [None if g is None else _silenced(name, g, failed) for name, g in zip(self.names, found)]
        return [*found, *call.shared()]

    def _launch(self, tensors: Sequence[Tensor], index: Tensor | None) -> Launch:
        """Memory for the way back, with the values that the stretch began with."""
        native = copy.copy(self.native)
        s = native.simulator
        values = {name: t.detach() for name, t in zip(self.names, tensors)}

        def lanes(x: Tensor, axis: int = 0) -> Tensor:
            return x if index is None else x.index_select(axis, index)

        state, initial = self.state.copy(), self.initial.copy()
        for one, prefix in ((state, ""), (initial, "initial:")):
            for name in ("y", "carry"):
                if getattr(one, name) is not None:
                    setattr(one, name, lanes(values.get(prefix + name, getattr(one, name).detach()), 1))
            for group in ("raw", "held", "next_hit", "last", "count", "before", "next_edge"):
                setattr(one, group, {k: lanes(values.get(f"{prefix}{group}:{k}", v.detach()))
                                     for k, v in getattr(one, group).items()})  # fmt: skip
        state.frozen = None
        state.queues = {
            path: tuple((at, {k: lanes(values[f"queue:{path}|{i}|{k}"]) for k in entry}, None if m is None else lanes(m))
                        for i, (at, entry, m) in enumerate(queue))
            for path, queue in self.state.queues.items()
        }  # fmt: skip
        inputs = {key: replace(source, values=lanes(values[f"input:{key}"])) for key, source in self.inputs.items()}
        params = {key: lanes(values[f"param:{key}"]) for key in self.setup.params}
        setup = replace(self.setup, params=params, inputs=inputs, ids=lanes(self.setup.ids))
        instants = SimpleNamespace(initial=initial, rows=vars(s)["rows"])
        native.simulator = SimpleNamespace(**vars(s), setup=setup, state=state, instants=instants)  # type: ignore[assignment]
        return Launch(native, self.made.built, self.plan)


class Call:
    """One call of the C function `adjoint`."""

    def __init__(self, stretch: Stretch, launch: Launch, bars: dict[str, Tensor]) -> None:
        self.stretch, self.launch, self.made = stretch, launch, stretch.made
        self.blocks, self.layout = launch.blocks, launch.blocks.layout
        self.sizes, self.plan = self.made.adjoint.sizes, launch.plan
        self.keep: list[Any] = []
        for name, bar in bars.items():
            if not name.startswith(("record:", "queue:")):
                self._put(f"bar:{name}", bar, name in ("y", "carry"))
            elif name.startswith("queue:"):
                self._put_queued(name, bar)
        self.context = self._context(bars)

    def _put(self, name: str, tensor: Tensor, rows: bool = False) -> None:
        if name not in self.layout.slots:
            return
        (self.blocks.put_rows if rows else self.blocks.put)(name, tensor)
        self._silence(name)

    def _silence(self, name: str) -> None:
        """Lanes that fill up the last block have no cotangents."""
        rest = self.blocks.lanes % self.blocks.width
        if rest:
            self.blocks.data[self.layout.slots[name].label][-1, :, rest:] = 0

    def _queue(self, name: str) -> tuple[str, int, int]:
        """The slot of a queued value's cotangent, the place in the ring of entry 0, and the number of the entry."""
        path, place, key = name[6:].split("|")
        queue = self.made.built.writer.queues[path]
        return f"bar:queue:{queue.number}:{queue.keys.index(key)}", queue.capacity, int(place)

    def _put_queued(self, name: str, bar: Tensor) -> None:
        slot_name, capacity, entry = self._queue(name)
        slot = self.layout.slots.get(slot_name)
        if slot is None:
            return
        size = slot.size // capacity
        number = int(slot_name.split(":")[2])
        place = (int(self._last_ring()[number]) + entry) % capacity
        one = Blocks(self.layout, self.blocks.lanes, self.blocks.width)
        wide = torch.zeros(self.blocks.lanes, slot.size, dtype=bar.dtype)
        wide[:, place * size : (place + 1) * size] = bar.reshape(self.blocks.lanes, -1)
        one.put(slot_name, wide)
        rows = slice(place * size, (place + 1) * size)
        self.blocks.data[slot.label][:, rows] = one.data[slot.label][:, rows]
        self._silence(slot_name)

    def _last_ring(self) -> Array:
        """Where each ring begins at the end of the plan: after as many values as have been published."""
        ends = np.zeros(max(1, len(self.launch.ring)), dtype=np.int64)
        end = int(self.plan.ns[-1])
        for queue in self.made.built.writer.queues.values():
            waiting = [at for at, _, _ in self.stretch.state.queues.get(queue.path, ())]
            pushes = np.array([any(p.path == queue.path for p in self.made.built.programs[i].pushes)
                               for i in range(len(self.made.built.kinds))])  # fmt: skip
            pushed = self.plan.ns[pushes[self.launch.program]] + queue.delay
            ends[queue.number] = sum(at <= end for at in waiting) + int((pushed <= end).sum())
        return ends

    def _context(self, bars: dict[str, Tensor]) -> _Backward:
        launch, sizes, plan = self.launch, self.sizes, self.plan
        c, lanes, padded = launch.context, launch.blocks.lanes, launch.context.lanes
        d = _Backward()
        outs = launch.room()
        shown, columns = [], []
        for key, (times, values, _) in outs.items():
            bar = bars.get(f"record:{key}")
            values.zero_()
            if bar is not None:
                values[:, :, :lanes] = bar.reshape(len(times), lanes, -1).permute(0, 2, 1)
            self.keep.append(values)
            shown.append(values.data_ptr())
            columns.append(len(times))
        d.shown, d.columns = self._hold(shown, np.uint64), self._hold(columns, np.int64)
        d.start = self.stretch.state.ns
        cuts, room = self._cuts()
        d.stretches, d.room = len(cuts) - 1, room
        d.cuts = self._hold(cuts, np.int64)
        d.ranges = min(RANGES, c.number)
        c.threads = min(c.threads, d.ranges)
        threads = max(1, c.threads)
        d.tape, d.checks = self._memory(threads * room), self._memory(threads * d.stretches * sizes.check)
        self.sums = aligned(max(1, d.ranges * sizes.sums), np.uint8)
        d.sums = self.sums.ctypes.data
        self.pieces: dict[str, Tensor] = {}
        pointers = []
        for key in self.made.built.inputs:
            source = self.stretch.inputs[key]
            name = next((n for n in (f"bar:input:{key}", f"bar:start:{key}", f"bar:stop:{key}") if n in self.layout.slots), "")
            if not name:
                pointers.append(0)
                continue
            slot = self.layout.slots[name]
            assert source.times is not None
            self.pieces[key] = torch.zeros(len(source.times), slot.size, padded, dtype=DTYPES[slot.type])
            pointers.append(self.pieces[key].data_ptr())
        d.inputs = self._hold(pointers, np.uint64)
        return d

    def _hold(self, numbers: Any, dtype: Any) -> int:
        array = np.array(list(numbers) or [0], dtype=dtype)
        self.keep.append(array)
        return int(array.ctypes.data)

    def _memory(self, count: int) -> int:
        raw = np.empty(count + 128, dtype=np.uint8)
        self.keep.append(raw)
        return int(raw.ctypes.data + -raw.ctypes.data % 64)

    def _cuts(self) -> tuple[list[int], int]:
        """Where stretches begin and end, and the bytes of tape for the longest."""
        plan, sizes, s = self.plan, self.sizes, self.launch.simulator
        start = self.stretch.state.ns
        before = np.concatenate([[start], plan.ns[:-1]])
        gaps = np.where(before >= 0, plan.ns - before, 0)
        step = s.segments.max_step
        counts = np.ones(len(gaps)) if not step else np.maximum(1, np.ceil(gaps / 1e9 / step * (1 - 1e-12)))
        need = np.array([sizes.instants[i] for i in range(len(sizes.instants))])[self.launch.program] + sizes.head
        need = need + np.where(gaps > 0, sizes.segment + counts.astype(np.int64) * sizes.step, 0)
        if self.stretch.checkpoint:
            cuts = [*range(0, len(need), self.stretch.checkpoint), len(need)]
        else:
            ends = np.cumsum(need)
            cuts = [0]
            while cuts[-1] < len(need):
                base = ends[cuts[-1] - 1] if cuts[-1] else 0
                cuts.append(max(cuts[-1] + 1, int(np.searchsorted(ends, base + BUDGET, side="right"))))
        longest = max(int(need[a:b].sum()) for a, b in zip(cuts, cuts[1:]))
        return cuts, longest + 64

    def run(self) -> None:
        self.made.built.library.adjoint(ctypes.addressof(self.launch.context), ctypes.addressof(self.context))

    # -- results --------------------------------------------------------------------------------------------------

    def results(self, wanted: list[tuple[str, Tensor]], needed: Sequence[bool]) -> list[Tensor | None]:
        """The cotangents of what the stretch began with."""
        return [self._result(name, like) if need else None for (name, like), need in zip(wanted, needed)]

    def _result(self, name: str, like: Tensor) -> Tensor | None:
        kind, _, key = name.partition(":")
        if kind == "input" and key in self.pieces:
            whole = self.pieces[key][:, :, : self.blocks.lanes]
            return whole.permute(2, 0, 1).reshape(like.shape).to(like.dtype)
        if kind == "queue":
            slot_name, capacity, entry = self._queue(name)
            slot = self.layout.slots.get(slot_name)
            if slot is None:
                return torch.zeros_like(like)
            size = slot.size // capacity
            every = self.blocks.get(slot_name, (slot.size,), like.dtype)
            return every[:, entry * size : (entry + 1) * size].reshape(like.shape)
        if f"bar:{name}" not in self.layout.slots:
            return torch.zeros_like(like)
        if name in ("y", "carry", "initial:y", "initial:carry"):
            return self.blocks.get_rows(f"bar:{name}")
        return self.blocks.get(f"bar:{name}", tuple(like.shape[1:]), like.dtype)

    def shared(self) -> list[Tensor | None]:
        """The gradients of shared tensors, from the sums over lanes."""
        made, tape = self.made, self.made.adjoint.tape
        tracer = made.adjoint.lowering.differentiating
        params = self.launch.simulator.setup.params
        lanes = made.built.lowering.lanes
        known = {k: v[:1].expand(lanes, *v.shape[1:]) for k, v in params.items()}
        known |= {f"total:{number}": self._total(number) for number in tape.offsets}
        done: dict[int, Tensor] = {}
        found: dict[int, Tensor] = {}
        for back in made.adjoint.counted:
            for leaf, grad in back.shared:
                value = replay(tracer.tables[id(grad)], known, done, tracer.tables)
                found[id(leaf)] = found[id(leaf)] + value if id(leaf) in found else value
        return [found.get(id(leaf)) for leaf in made.leaves]

    def _total(self, number: int) -> Tensor:
        """A sum over lanes: of the parts in their order."""
        tape, sizes = self.made.adjoint.tape, self.sizes
        total, at, count = tape.totals[number], tape.offsets[number], tape.count(number)
        dtype = DTYPES[total.type]
        size = count * torch.tensor([], dtype=dtype).element_size()
        parts = self.sums[: self.context.ranges * sizes.sums].reshape(self.context.ranges, -1)[:, at : at + size]
        flat = torch.from_numpy(np.ascontiguousarray(parts)).view(dtype)
        sums = flat[0]
        for part in flat[1:]:
            sums = sums + part
        if total.attr is None:
            return sums.reshape(-1, tape.width).sum(1).reshape(total.shape)
        m, _, n = total.attr
        return sums.reshape(m, -(-n // COLUMNS) * COLUMNS)[:, :n].reshape(total.shape)


class _Run(torch.autograd.Function):
    """A stretch as a node of autograd's graph."""

    @staticmethod
    def forward(ctx: Any, run: Stretch, native: NativeGradients, *tensors: Tensor) -> tuple[Tensor, ...]:
        results = run.forward(native)
        ctx.run = run
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*(r for r in results if not r.is_floating_point()))
        return tuple(results)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return (None, None, *ctx.run.backward(ctx.saved_tensors, grads, ctx.needs_input_grad[2:]))


def stated(state: State) -> dict[str, Tensor]:
    """The tensors of a state that gradients pass through, by name; "queue:path|entry|key" for values under way."""
    found = {"y": state.y} if state.y.shape[0] else {}
    if state.carry is not None and state.carry.shape[0]:
        found["carry"] = state.carry
    for group in ("raw", "held"):
        found |= {f"{group}:{k}": v for k, v in getattr(state, group).items() if v.is_floating_point()}
    for path, queue in state.queues.items():
        for i, (_, values, _) in enumerate(queue):
            found |= {f"queue:{path}|{i}|{k}": v for k, v in values.items()}
    return found


def given(simulator: Simulator, state: State) -> dict[str, Tensor]:
    """Everything that a stretch begins with, by name."""
    found = stated(state)
    found |= {f"initial:{name}": t for name, t in stated(simulator.instants.initial).items()}
    found |= {f"param:{key}": t for key, t in simulator.setup.params.items()}
    return found | {f"input:{key}": source.values for key, source in simulator.setup.inputs.items()}


def _silenced(name: str, g: Tensor, failed: Tensor) -> Tensor:
    """A cotangent without the lanes that have failed."""
    axis = 1 if name in ("y", "carry", "initial:y", "initial:carry") or name.startswith("record:") else 0
    mask = failed.reshape(*(1,) * axis, -1, *(1,) * (g.ndim - axis - 1))
    return torch.where(mask, torch.zeros((), dtype=g.dtype), g)
