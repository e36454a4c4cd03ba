"""Recording: what readers saw at instants, and dense output between them. It never changes a trajectory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from simdl.clock import seconds
from simdl.compile import Model
from simdl.compile.node import ClockId
from simdl.engine.arguments import grid
from simdl.engine.setup import Setup

Record = tuple[dict[str, list[int]], dict[str, list[Tensor]], list[tuple[int, float, str]]]
"""Times and columns by key, and events."""


class Recorder:
    """Columns of values by path, on a uniform grid (`every`) or at each signal's own times."""

    def __init__(self, setup: Setup, paths: Mapping[str, str], every: Any) -> None:
        self.setup, self.paths = setup, dict(paths)
        model = setup.model
        self.keys = tuple(dict.fromkeys(self.paths.values()))
        self.step = grid(every)
        self.smooth = frozenset(k for k in self.keys if k in model.graph.smooth or self._interpolated(model, k))
        self.stepped = model.graph.stepped
        self.clocks: dict[str, frozenset[ClockId] | None] = {k: _clocks(model, k) for k in self.keys}
        self.times: dict[str, list[int]] = {k: [] for k in self.keys}
        self.columns: dict[str, list[Tensor]] = {k: [] for k in self.keys}
        self.whole: dict[str, Tensor] = {}  # the columns of a key that came in one piece
        self.events: list[tuple[int, float, str]] = []

    @property
    def size(self) -> int:
        """How many numbers a lane records at a time of the grid."""
        return sum(math.prod(self.setup.model.values[key].shape or ()) for key in self.keys)

    def _interpolated(self, model: Model, key: str) -> bool:
        source = self.setup.inputs.get(key)
        return source is not None and source.smooth

    def mark(self) -> tuple[dict[str, int], int]:
        return {k: len(t) for k, t in self.times.items()}, len(self.events)

    def rollback(self, mark: tuple[dict[str, int], int]) -> None:
        for key, length in mark[0].items():
            del self.times[key][length:]
            del self.columns[key][length:]
        del self.events[mark[1] :]

    def fork(self) -> Record:
        """Go on with a copy of the record; what is returned is the record itself, for `join`."""
        kept = self.times, self.columns, self.events
        self.times = {key: list(times) for key, times in self.times.items()}
        self.columns = {key: list(columns) for key, columns in self.columns.items()}
        self.events = list(self.events)
        return kept

    def join(self, kept: Record) -> None:
        """Back to a record that was left by `fork`."""
        self.times, self.columns, self.events = kept

    def wanted(self, ns: int, ticking: frozenset[ClockId], released: frozenset[str]) -> tuple[str, ...]:
        """The keys recorded at this instant."""
        if self.step is not None:
            return self.keys if ns % self.step == 0 else ()
        found = []
        for key in self.keys:
            clocks = self.clocks[key]
            if ns == 0 or clocks is None or clocks & ticking or key in released:
                found.append(key)
        return tuple(found)

    def take(self, ns: int, key: str, value: Tensor, frozen: Tensor | None) -> None:
        columns = self.columns[key]
        if frozen is not None and columns:
            mask = frozen.reshape(-1, *(1,) * (value.ndim - 1))
            value = torch.where(mask, columns[-1].detach(), value)
        self.times[key].append(ns)
        columns.append(value)

    def extend(self, key: str, times: list[int], values: Tensor) -> None:
        """Many columns at once, (times, lanes, *shape)."""
        if not self.columns[key]:
            self.whole[key] = values
        self.times[key] += times
        self.columns[key] += values.unbind(0)

    def _stacked(self, key: str) -> Tensor:
        """All columns, (lanes, times, *shape): without a copy where they came in one piece."""
        columns, whole = self.columns[key], self.whole.get(key)
        if whole is not None and len(whole) == len(columns) and whole[0].data_ptr() == columns[0].data_ptr() and (
            whole[-1].data_ptr() == columns[-1].data_ptr()
        ):  # fmt: skip
            return whole.transpose(0, 1)
        return torch.stack(columns, dim=1).cpu()

    def grid(self, start: int, end: int) -> range:
        """The recording times strictly between two instants."""
        if self.step is None:
            return range(0)
        return range((start // self.step + 1) * self.step, end, self.step)

    def kind(self, key: str) -> Literal["held", "smooth"]:
        """How the values of a key behave between those recorded."""
        return "smooth" if key in self.smooth and not self.stepped(key) else "held"

    def results(self, failed: Tensor | None) -> dict[str, tuple[Tensor, Tensor, str]]:
        """Path -> (times in seconds, values (lanes, time, ...), kind)."""
        found: dict[str, tuple[Tensor, Tensor, str]] = {}
        done: dict[str, tuple[Tensor, Tensor, str]] = {}
        for path, key in self.paths.items():
            if key not in done:
                t = torch.tensor([seconds(ns) for ns in self.times[key]], dtype=torch.float64)
                columns = self.columns[key]
                if columns:
                    values = self._stacked(key)
                else:
                    value = self.setup.model.values[key]
                    values = torch.zeros(self.setup.lanes, 0, *(value.shape or ()), dtype=self.setup.type_of(value))
                if failed is not None and values.requires_grad:
                    values = torch.where(failed.reshape(-1, *(1,) * (values.ndim - 1)), values.detach(), values)
                done[key] = (t, values, self.kind(key))
            found[path] = done[key]
        return found


def _clocks(model: Model, key: str) -> frozenset[ClockId] | None:
    """The clocks at which a held value may change; None for one that moves in continuous time or with its lane."""
    if key in model.graph.smooth:
        return None
    found: set[ClockId] = set()
    seen: set[str] = set()
    stack = [key]
    while stack:
        current = stack.pop()
        if current in seen:
            continue
        seen.add(current)
        if current in model.externals or model.graph.before.get(current):
            return None
        nodes = [n for n in model.graph.nodes if current in n.writes]
        for node in nodes:
            if node.clock is None:
                stack.extend(node.keys)
            elif node.delay:
                return None
            else:
                found.add(node.clock)
    return frozenset(found)
