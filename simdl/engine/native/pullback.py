"""The way back through a stretch of a run: memory for the C function `adjoint`, and the gradients that it leaves."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simdl.engine.native.adjoint_program import Adjoint
from simdl.engine.native.engine import Built
from simdl.engine.native.ir import DTYPES
from simdl.engine.native.launch import Launch
from simdl.engine.native.layout import MEMORY
from simdl.engine.native.memory import Array, Blocks, aligned
from simdl.engine.native.tables import replay
from simdl.engine.native.tape import STRIP, itemsize
from simdl.engine.setup import Source
from simdl.engine.state import State

BUDGET = 1 << 23  # bytes of tape for each thread
RANGES = 32  # parts of a batch whose sums over lanes are kept apart


class _Backward(ctypes.Structure):
    _fields_ = [
        *((n, ctypes.c_int64) for n in ("start", "stretches", "ranges", "room")),
        *((n, ctypes.c_void_p) for n in ("cuts", "columns", "tape", "checks", "sums", "shown", "inputs")),
    ]


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


class Pullback:
    """One call of the C function `adjoint`: from cotangents of results, by name, to those of what a stretch began with.

    start, inputs: what it began with; launch: its memory, packed; checkpoint: instants of a piece of the tape, 0 for as
    many as fit."""

    def __init__(
        self, start: State, inputs: Mapping[str, Source], made: Differentiable, launch: Launch, checkpoint: int,
        bars: dict[str, Tensor],
    ) -> None:  # fmt: skip
        self.start, self.inputs, self.made, self.launch, self.checkpoint = start, inputs, made, launch, checkpoint
        self.blocks, self.layout = launch.blocks, launch.blocks.layout
        self.sizes, self.plan = made.adjoint.sizes, launch.plan
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
            waiting = [at for at, _, _ in self.start.queues.get(queue.path, ())]
            pushes = np.array(
                [
                    any(p.path == queue.path for p in self.made.built.programs[i].pushes)
                    for i in range(len(self.made.built.kinds))
                ]
            )
            pushed = self.plan.ns[pushes[self.launch.program]] + queue.delay
            ends[queue.number] = sum(at <= end for at in waiting) + int((pushed <= end).sum())
        return ends

    def _context(self, bars: dict[str, Tensor]) -> _Backward:
        launch, sizes = self.launch, self.sizes
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
        d.start = self.start.ns
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
            source = self.inputs[key]
            name = next(
                (n for n in (f"bar:input:{key}", f"bar:start:{key}", f"bar:stop:{key}") if n in self.layout.slots), ""
            )
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
        start = self.start.ns
        before = np.concatenate([[start], plan.ns[:-1]])
        gaps = np.where(before >= 0, plan.ns - before, 0)
        step = s.segments.max_step
        counts = np.ones(len(gaps)) if not step else np.maximum(1, np.ceil(gaps / 1e9 / step * (1 - 1e-12)))
        need = np.array([sizes.instants[i] for i in range(len(sizes.instants))])[self.launch.program] + sizes.head
        need = need + np.where(gaps > 0, sizes.segment + counts.astype(np.int64) * sizes.step, 0)
        if self.checkpoint:
            cuts = [*range(0, len(need), self.checkpoint), len(need)]
        else:
            ends = np.cumsum(need)
            cuts = [0]
            while cuts[-1] < len(need):
                base = ends[cuts[-1] - 1] if cuts[-1] else 0
                cuts.append(max(cuts[-1] + 1, int(np.searchsorted(ends, base + BUDGET, side="right"))))
        longest = max(int(need[a:b].sum()) for a, b in zip(cuts, cuts[1:]))
        return cuts, longest + 64

    def run(self, watched: bool) -> bool:
        """Go back through the stretch; whether it came to its end, which it does when no signals are watched for."""
        self.launch.watch(watched)
        return not self.made.built.library.adjoint(
            ctypes.addressof(self.launch.context), ctypes.addressof(self.context)
        )

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
        size = count * itemsize(total.type)
        parts = self.sums[: self.context.ranges * sizes.sums].reshape(self.context.ranges, -1)[:, at : at + size]
        sums = torch.from_numpy(np.ascontiguousarray(parts).view(np.dtype(MEMORY[total.type][1])).sum(axis=0))
        if total.attr is None:
            return sums.reshape(-1, tape.width).sum(1).reshape(total.shape)
        m, _, n = total.attr
        return sums.reshape(-1, m, STRIP).transpose(0, 1).reshape(m, -1)[:, :n].reshape(total.shape).contiguous()
