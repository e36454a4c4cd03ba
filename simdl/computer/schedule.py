"""What happened in one lane: jobs, who used what when, messages, and the times at which blocks are read and written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simdl.computer.energy import consumption

if TYPE_CHECKING:
    from simdl.computer.energy import Frequency
    from simdl.computer.job import Job

Times = NDArray[np.int64]


class Access(NamedTuple):
    """A read or write of a block; captured: when what it shows was read; number: of that read among the block's."""

    kind: str
    block: str
    ns: int
    captured: int
    number: int


@dataclass(frozen=True, eq=False)
class Schedule:
    """The timeline of a lane to `until`, ns.

    jobs: in order of arrival. cores: name -> (job, from, to), the job None for a context switch; accelerators: name ->
    (stream, jobs, what, from, to); messages: in the order sent. holds, waits: (job, name, from, to), who held a lock,
    and who waited for a lock, a mailbox or an event. frequencies: of a core -> (from, Frequency).
    """

    until: int
    jobs: Sequence[Job]
    cores: Mapping[str, Sequence[tuple[Job | None, int, int]]]
    accelerators: Mapping[str, Sequence[tuple[Any, ...]]]
    messages: Sequence[Any]
    reads: Mapping[str, Sequence[int]]
    writes: Mapping[str, Sequence[tuple[int, int]]]
    holds: Sequence[tuple[Job, str, int, int]] = ()
    waits: Sequence[tuple[Job, str, int, int]] = ()
    frequencies: Mapping[str, Sequence[tuple[int, Frequency]]] = field(default_factory=dict)

    def accesses(self, name: str) -> tuple[Times, Times, Times]:
        """When a block is read (n,) and written (m,), ns, and the index of the read that each write shows (m,)."""
        pairs = np.array(self.writes.get(name, ()), dtype=np.int64).reshape(-1, 2)
        return np.array(self.reads.get(name, ()), dtype=np.int64), pairs[:, 0], pairs[:, 1]

    def of(self, task: str) -> list[Job]:
        """The jobs of a task."""
        return [job for job in self.jobs if job.task.name == task]

    def responses(self, task: str) -> Times:
        """From arrival to end of the jobs that ended, ns."""
        jobs = self.of(task)
        return np.array([j.end - j.arrival for j in jobs if j.end is not None and j.status != "killed"], dtype=np.int64)

    def ages(self, block: str) -> tuple[Times, Times]:
        """Each time at which a block's output changes, and its age just before that and at it, ns: (2, m) each row."""
        reads, writes, source = self.accesses(block)
        captured = reads[source]
        before = np.append(writes[1:], self.until) - captured
        return writes - captured, before

    def counts(self, task: str) -> dict[str, int]:
        """How many jobs of a task have each status."""
        return dict(Counter(job.status for job in self.of(task)))

    def miss_ratio(self, task: str) -> float:
        """Jobs that were late, killed or skipped, of those whose deadline is past."""
        due = [j for j in self.of(task) if j.deadline is not None and (j.deadline <= self.until or j.end is not None)]
        bad = [j for j in due if j.status != "done"]
        return len(bad) / len(due) if due else 0.0

    def utilisation(self, core: str) -> float:
        """The part of the time in which a core or an accelerator (per stream) works."""
        if core in self.accelerators:
            parts = self.accelerators[core]
            streams = len({part[0] for part in parts}) or 1
            return float(sum(part[4] - part[3] for part in parts)) / (self.until * streams)
        return sum(end - begin for _, begin, end in self.cores[core]) / self.until

    def energy(self, by: str = "core") -> dict[str, float]:
        """What processors with frequencies= have used, J, by "core" or by "task"; what no task has used is then under
        "context switch" and "idle".

        >>> from simdl.computer import Computer, Frequency, Processor, Task
        >>> cpu = Processor("cpu", frequencies=[Frequency(0.5, active=2.0, idle=0.5)])
        >>> history = Computer([Task("control", cpu, period="10 ms", execution="2 ms")]).schedule("1 s")
        >>> round(history.energy()["cpu"], 6)  # 4 of 10 ms at 2 W, the rest at 0.5 W
        1.1
        """
        return consumption(self, by)

    def events(self) -> list[tuple[int, str, str, int]]:
        """Every change of a job in order: (ns, what, task, index); arrive, release, start, suspend, resume, end."""
        found = []
        for job in self.jobs:
            named = (job.task.name, job.index)
            found.append((job.arrival, "arrive", *named))
            for what, ns in (("release", job.release), ("start", job.start), (job.status, job.end)):
                if ns is not None:
                    found.append((ns, what, *named))
        for parts in self.cores.values():
            for part, begin, end in parts:
                if part is not None:
                    found.append((begin, "resume", part.task.name, part.index))
                    found.append((end, "suspend", part.task.name, part.index))
        return sorted(found, key=lambda event: event[0])
