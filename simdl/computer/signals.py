"""What tasks do as signals of a diagram: for requirements, plots and data sets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from simdl.block import Block
from simdl.clock import SECOND
from simdl.computer.mapped import NEVER, entry, in_seconds
from simdl.computer.states import STATES as ACTIVE, states
from simdl.computer.timetable import SPARE, first, waits
from simdl.declarations import Output, Param, State
from simdl.diagram import Diagram
from simdl.errors import LaneError, ModelError
from simdl.methods import hit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simdl.computer.computer import Computer
    from simdl.computer.schedule import Schedule

    Columns = dict[str, NDArray[Any]]

STATES = ("idle", *reversed(ACTIVE))
"""Idle: no job. Blocked: each waits for an accelerator, a lock, a message. Ready: one waits for a core."""


class TaskSignals(Block):
    """What a task does: its state, the response time of the job that ended last, and how many deadlines it has missed.

    A deadline is missed when it passes before its job has ended, or when a job is left out.
    """

    state = Output(labels=STATES)
    response = Output(unit="s", dtype="float64")
    missed = Output(dtype="int64")
    row = State(0, dtype="int64", doc="changes so far")
    begin: Param = Param(NEVER, dtype="int64", doc="the first change, ns; -1 for never")
    waits: Param = Param(torch.tensor([NEVER]), dtype="int64", doc="from each change to the next, ns; -1 for none")
    states: Param = Param(torch.tensor([0]), dtype="int64")
    responses: Param = Param(torch.tensor([0.0], dtype=torch.float64), dtype="float64", unit="s")
    misses: Param = Param(torch.tensor([0]), dtype="int64")

    @hit(first="begin")
    def change(self, row, waits, states, responses, misses):  # type: ignore[no-untyped-def]
        return {
            "state": entry(states, row), "response": entry(responses, row), "missed": entry(misses, row),
            "row": row + 1, "next": in_seconds(entry(waits, row)),
        }  # fmt: skip

    def lane_settings(self, ids: Tensor, seed: int) -> Mapping[str, Tensor]:
        observed: Observed = vars(self)["_observed"]
        return observed.settings(vars(self)["_task"], ids, seed)

    def lane_failures(self, ids: Tensor, seed: int) -> Mapping[int, str]:
        observed: Observed = vars(self)["_observed"]
        return observed.failures(ids, seed)

    def hashed(self) -> Sequence[Any]:
        return (vars(self)["_observed"].computer.tasks, vars(self)["_task"])

    @property
    def until_ns(self) -> int | None:
        observed: Observed = vars(self)["_observed"]
        return observed.horizon


@dataclass
class Observed:
    """The changes of the tasks of a computer, in the lanes of a run. Each lane is scheduled for it twice more.

    lengths: how many changes of a task there is room for.
    """

    computer: Computer
    horizon: int  # ns
    lengths: dict[str, int] = field(default_factory=dict)
    _kept: tuple[Any, dict[str, dict[str, Tensor]], dict[int, str]] | None = None

    def settings(self, task: str, ids: Tensor, seed: int) -> Mapping[str, Tensor]:
        return self._known(ids, seed)[0][task]

    def failures(self, ids: Tensor, seed: int) -> Mapping[int, str]:
        """The lanes, by place, that have more changes than there is room for."""
        return self._known(ids, seed)[1]

    def _known(self, ids: Tensor, seed: int) -> tuple[dict[str, dict[str, Tensor]], dict[int, str]]:
        key = (seed, tuple(ids.tolist()))
        if self._kept is None or self._kept[0] != key:
            with torch.device("cpu"):  # wherever the run is
                self._kept = (key, *self._computed(ids.tolist(), seed))
        return self._kept[1:]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}

    def changes(self, lane: int, seed: int) -> dict[str, Columns]:
        """Task -> when something changes, and what is then. Nothing changes in a lane whose schedule fails."""
        try:
            schedule = self.computer.schedule(f"{self.horizon} ns", seed, lane)
            spans = states(schedule)
        except LaneError:
            return {task.name: _columns({}, [], []) for task in self.computer.tasks}
        return {name: _changes(schedule, name, spans[name]) for name in spans}

    def _computed(self, ids: list[int], seed: int) -> tuple[dict[str, dict[str, Tensor]], dict[int, str]]:
        rows, failed = [], {}
        for place, lane in enumerate(ids[:1] if self.computer.deterministic else ids):
            changes = self.changes(lane, seed)
            for name, room in self.lengths.items():
                if len(changes[name]["times"]) > room:
                    count = len(changes[name]["times"])
                    failed[place] = (f"lane {lane}: task {name} changes {count} times, and there is room for {room}: "
                                     "on(diagram, most=...) makes room for more")  # fmt: skip
                    changes[name] = _columns({}, [], [])
            rows.append({name: self._padded(name, one) for name, one in changes.items()})
        found = {
            name: {key: torch.as_tensor(np.stack([row[name][key] for row in rows])) for key in rows[0][name]}
            for name in self.lengths
        }
        return {name: {key: one.expand(len(ids), *one.shape[1:]) for key, one in of.items()}
                for name, of in found.items()}, failed  # fmt: skip

    def _padded(self, name: str, one: Columns) -> Columns:
        times, room = one["times"], self.lengths[name]
        padded = {key: np.resize(np.append(one[key], np.zeros(room, one[key].dtype)), room)
                  for key in ("states", "responses", "misses")}  # fmt: skip
        return {"begin": first(times), "waits": waits(times, room), **padded}


def _changes(schedule: Schedule, task: str, spans: list[tuple[str, int, int]]) -> Columns:
    state: dict[int, int] = {}
    for name, begin, end in spans:
        state[begin] = STATES.index(name)
        state.setdefault(end, 0)
    jobs = schedule.of(task)
    ended = sorted((job.end, (job.end - job.arrival) / SECOND) for job in jobs
                   if job.end is not None and job.end <= schedule.until and job.status != "killed")  # fmt: skip
    missed = sorted(job.arrival if job.status == "skipped" else min(job.deadline, job.end or job.deadline)
                    if job.status == "killed" else job.deadline for job in jobs
                    if job.deadline is not None and _misses(job, schedule.until))  # fmt: skip
    return _columns(state, ended, missed)


def _misses(job: Any, until: int) -> bool:
    if job.status in ("skipped", "killed"):
        return True
    return job.deadline < until and (job.end is None or job.end > job.deadline)


def _columns(state: dict[int, int], ended: list[tuple[int, float]], missed: list[int]) -> Columns:
    """The times of all changes, and the values from each of them on."""
    times = np.array(sorted({*state, *(ns for ns, _ in ended), *missed}), dtype=np.int64)
    known = np.array(sorted(state), dtype=np.int64)
    values = np.array([0, *(state[ns] for ns in sorted(state))], dtype=np.int64)
    ends = np.array([ns for ns, _ in ended], dtype=np.int64)
    responses = np.array([0.0, *(one for _, one in ended)])
    return {
        "times": times, "states": values[np.searchsorted(known, times, side="right")],
        "responses": responses[np.searchsorted(ends, times, side="right")],
        "misses": np.searchsorted(np.array(missed, dtype=np.int64), times, side="right"),
    }  # fmt: skip


def observe(made: Diagram, computer: Computer, horizon: int, most: int | None = None) -> None:
    """Put a block `<task>_task` for each task into a diagram, what no name may have in it as _."""
    observed = Observed(computer, horizon)
    for name, one in observed.changes(0, 0).items():
        count = len(one["times"])
        room = max(1, count if computer.deterministic else count + count // 2 + SPARE)
        observed.lengths[name] = max(room, 4 * (most or 0))
    for name, length in observed.lengths.items():
        label = re.sub(r"\W", "_", f"{name}_task")
        if hasattr(made, label):
            raise ModelError("signals", f"{label!r} is there already", "a name that is free", "call the task otherwise")
        empty = torch.zeros(length, dtype=torch.int64)
        block = TaskSignals(waits=empty - 1, states=empty, responses=empty.double(), misses=empty)
        vars(block).update(_observed=observed, _task=name)
        setattr(made, label, block)
