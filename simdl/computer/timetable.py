"""Timetables: when the jobs of mapped blocks read and write, in every lane, from the schedules of a computer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from simdl.computer.mapped import NEVER
from simdl.errors import LaneError, RunError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simdl.computer.schedule import Schedule

    Times = NDArray[np.int64]


SPARE = 16  # entries of a table beyond half as many again as lane 0 needs, where their number is random


class Accessed(Protocol):
    """The schedule of one lane, as far as a diagram sees it."""

    @property
    def drawn(self) -> bool:
        """Whether the lane or the seed had a part in it."""
        ...

    def accesses(self, name: str) -> tuple[Times, Times, Times]:
        """When the blocks `name` are read and written, ns, and which read each write shows."""
        ...


class Placed(Protocol):
    def placed(self) -> Mapping[str, tuple[float, float]]: ...

    def task(self, name: str) -> str: ...


class Scheduler(Protocol):
    """What computes the schedules of lanes."""

    @property
    def deterministic(self) -> bool:
        """Whether all lanes have one schedule."""
        ...

    def schedule(self, until: int, seed: int = 0, lane: int = 0) -> Accessed: ...

    def under_way(self, name: str) -> int:
        """Room for jobs of what `name` runs that have read and not written yet, where lanes differ."""
        ...

    def placed(self) -> Mapping[str, tuple[float, float]]:
        """The names of what tasks run -> drift and offset (s) of the clock of their processor."""
        ...

    def task(self, name: str) -> str:
        """The task that runs what is named, if there is one."""
        ...


@dataclass
class Timetables:
    """The times of mapped blocks for the lanes of a run, computed once for all blocks.

    Where neither lane nor seed had a part in the schedules of the first two lanes, and they are equal, all lanes have
    that one.
    """

    scheduler: Scheduler
    horizon: int | None  # ns
    names: dict[str, str]  # path of a block -> the name its task runs
    lengths: dict[str, tuple[int, int]] = field(default_factory=dict)
    immediate: frozenset[str] = frozenset()
    pending: dict[str, int] = field(default_factory=dict)
    varied: frozenset[str] = frozenset()  # blocks of which degraded jobs run another one, and those others
    _kept: tuple[Any, dict[str, dict[str, Tensor]], dict[int, str]] | None = None

    def tables(self, path: str, ids: Tensor, seed: int) -> Mapping[str, Tensor]:
        found = self._known(ids, seed)[0][self.names[path]]
        return found if path in self.varied else {key: value for key, value in found.items() if key != "variant"}

    def failures(self, ids: Tensor, seed: int) -> Mapping[int, str]:
        """The lanes, by place, whose schedule ends in an error, and which."""
        return self._known(ids, seed)[1]

    def _known(self, ids: Tensor, seed: int) -> tuple[dict[str, dict[str, Tensor]], dict[int, str]]:
        numbers = ids.tolist()
        key = (seed, tuple(numbers))
        if self._kept is None or self._kept[0] != key:
            with torch.device("cpu"):  # wherever the run is
                self._kept = (key, *self._computed(numbers, seed))
        return self._kept[1:]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}

    def _computed(self, ids: list[int], seed: int) -> tuple[dict[str, dict[str, Tensor]], dict[int, str]]:
        rows: list[dict[str, dict[str, Times]]] = []
        failed: dict[int, str] = {}
        drawn = False
        for place, lane in enumerate(ids):
            try:
                schedule = self.scheduler.schedule(self.horizon or 0, seed, lane)
                rows.append({name: self._rows(name, schedule, lane) for name in self.names.values()})
            except LaneError as error:
                if self.scheduler.deterministic:
                    raise
                failed[place] = f"{error.where}: {error.found}"
                rows.append({name: self._never(name) for name in self.names.values()})
                continue
            drawn = drawn or schedule.drawn
            if self.scheduler.deterministic or place == 1 and not failed and not drawn and _equal(*rows):
                del rows[1:]
                break
        found: dict[str, dict[str, Tensor]] = {}
        for name in dict.fromkeys(self.names.values()):
            stacked = {key: torch.as_tensor(np.stack([row[name][key] for row in rows])) for key in rows[0][name]}
            found[name] = {key: value.expand(len(ids), *value.shape[1:]) for key, value in stacked.items()}
        return found, failed

    def _never(self, name: str) -> dict[str, Times]:
        """The times of a lane that has no job."""
        none = np.zeros(0, dtype=np.int64)
        jobs, shown = self.lengths[name]
        found = {"begin": first(none), "waits": waits(none, jobs)}
        if name in self.immediate:
            return found
        nothing = waits(none, shown)
        if self._several(name):
            found["variant"] = np.zeros(jobs, dtype=np.int64)
        return {**found, "write_begin": first(none), "write_waits": nothing, "written": nothing}

    def _several(self, name: str) -> bool:
        """Whether jobs of a name differ in what they run."""
        return any(self.names[path] == name for path in self.varied)

    def _rows(self, name: str, schedule: Accessed, lane: int) -> dict[str, Times]:
        reads, writes, source = checked(schedule.accesses(name), name, name not in self.immediate)
        jobs, shown = self.lengths[name]
        where = f"{name}: lane {lane}"
        if len(reads) > jobs or len(writes) > shown:
            found_text = f"{len(reads)} jobs and {len(writes)} writes, and room for {jobs} and {shown}"
            raise LaneError(where, found_text, "fewer", "on(diagram, most=...) makes room for more")
        found = {"begin": first(reads), "waits": waits(reads, jobs)}
        if name in self.immediate:
            if not np.array_equal(reads, writes):
                raise LaneError(where, "jobs that take time, and none of them does in lane 0", "one or the other",
                                "give the task an execution time of at least 1 ns")  # fmt: skip
            return found
        if in_flight(reads, writes, source) > self.pending[name]:
            found_text = f"{in_flight(reads, writes, source)} jobs under way at once, and room for {self.pending[name]}"
            raise LaneError(where, found_text, "fewer", "on(diagram, pending=...)")
        which = np.full(shown, NEVER, dtype=np.int64)
        which[: len(source)] = source
        if self._several(name):
            found["variant"] = variant = np.zeros(jobs, dtype=np.int64)
            for number, one in cast("Schedule", schedule).variants.get(name, {}).items():
                variant[number] = one
        return {**found, "write_begin": first(writes), "write_waits": waits(writes, shown), "written": which}


def checked(accesses: tuple[Times, Times, Times], name: str, apart: bool = False) -> tuple[Times, Times, Times]:
    """Reads, writes and sources in order of time; of several writes at one time the last is kept.

    apart: what is written as it is read is shown 1 ns later, as among jobs that take time."""
    reads, writes, source = (np.asarray(one, dtype=np.int64) for one in accesses)
    if bool((np.diff(reads) <= 0).any()):
        raise RunError(name, "two jobs that read at one time", "one job after the other",
                       "a block is run by one task, once in a job")  # fmt: skip
    writes = np.where(writes == reads[source], writes + 1, writes) if apart and len(writes) else writes
    order = np.argsort(writes, kind="stable")
    writes, source = writes[order], source[order]
    last = np.append(np.diff(writes) > 0, True)[: len(writes)]
    return reads, writes[last], source[last]


def in_flight(reads: Times, writes: Times, source: Times) -> int:
    """How many jobs have begun since the one that a write shows, itself counted, at most."""
    begun = np.searchsorted(reads, writes, side="left")
    return int((begun - source).max(initial=1))


def _equal(one: Mapping[str, Mapping[str, Times]], two: Mapping[str, Mapping[str, Times]]) -> bool:
    return all(np.array_equal(value, two[name][key]) for name, row in one.items() for key, value in row.items())


def first(times: Times) -> Times:
    return np.asarray(times[0] if len(times) else NEVER, dtype=np.int64)


def waits(times: Times, length: int) -> Times:
    found = np.full(length, NEVER, dtype=np.int64)
    found[: max(0, len(times) - 1)] = np.diff(times)
    return found
