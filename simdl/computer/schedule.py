"""What happened in one lane: jobs, who used what when, messages, and the times at which blocks are read and written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simdl.clock import period_text
from simdl.computer.energy import consumption
from simdl.errors import RunError

if TYPE_CHECKING:
    from simdl.computer.accelerator import Accelerator
    from simdl.computer.bus import Bus
    from simdl.computer.energy import Frequency
    from simdl.computer.job import Job
    from simdl.computer.task import Task

Times = NDArray[np.int64]
SAID = 8  # names in the line that a schedule prints


class Access(NamedTuple):
    """A read or write of a block; captured: when what it shows was read; number: of that read among the block's;
    variant: of the job that reads."""

    kind: str
    block: str
    ns: int
    captured: int
    number: int
    variant: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class Schedule:
    """The timeline of a lane to `until`, ns.

    jobs: in order of arrival. cores: name -> (job, from, to), the job None for a context switch; accelerators: name ->
    (stream, jobs, what, from, to); messages: in the order sent. holds, waits: (job, name, from, to), who held a lock,
    and who waited for a lock, a mailbox or an event. frequencies: of a core -> (from, Frequency). streams: of an
    accelerator -> all it has. drawn: whether the lane or the seed had a part in it. variants: block -> the number of a
    read -> the variant of the degraded job that made it.
    Asking for a task, a block or a device that does not exist is a RunError with the names. Printed, it is one line,
    however many jobs there are.

    >>> from simdl.computer import Computer, Processor, Task
    >>> cpu = Processor("cpu")
    >>> tasks = [Task(f"t{k}", cpu, period="1 ms", execution="1 us") for k in range(20)]
    >>> Computer(tasks[:2]).schedule("1.5 s")
    <schedule to 1.5 s: 3002 jobs (1501 of t0, 1501 of t1); cpu>
    >>> Computer(tasks).schedule("1 ms")  # doctest: +ELLIPSIS
    <schedule to 1 ms: 40 jobs (2 of t0, 2 of t1, ..., 2 of t7 and 12 more); cpu>
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
    tasks: Sequence[Task] = ()
    streams: Mapping[str, Sequence[object]] = field(default_factory=dict)
    drawn: bool = True
    variants: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def __repr__(self) -> str:
        jobs = [f"{n} of {task}" for task, n in Counter(job.task.name for job in self.jobs).items()]
        parts = [f"{len(self.jobs)} jobs" + (f" ({_few(jobs)})" if jobs else "")]
        parts += [_few(list(self.cores))] if self.cores else []
        parts += [_few(list(self.accelerators))] if self.accelerators else []
        parts += [f"{len(self.messages)} messages"] if self.messages else []
        return f"<schedule to {period_text(self.until)}: {'; '.join(parts)}>"

    def accesses(self, name: str) -> tuple[Times, Times, Times]:
        """When a block is read (n,) and written (m,), ns, and the index of the read that each write shows (m,)."""
        known = {*self.reads, *self.writes, *(block for task in self.tasks for block in task.runs)}
        if name not in known:
            raise RunError("schedule", f"no task runs {name!r}", "a block", names=sorted(known), wrong=name)
        pairs = np.array(self.writes.get(name, ()), dtype=np.int64).reshape(-1, 2)
        return np.array(self.reads.get(name, ()), dtype=np.int64), pairs[:, 0], pairs[:, 1]

    def of(self, task: str) -> list[Job]:
        """The jobs of a task."""
        names = {one.name for one in self.tasks}
        if names and task not in names:
            raise RunError("schedule", f"no task {task!r}", "a task", names=sorted(names), wrong=task)
        return [job for job in self.jobs if job.task.name == task]

    def responses(self, task: str) -> Times:
        """From arrival to end of the jobs that ended, ns."""
        jobs = self.of(task)
        return np.array([j.end - j.arrival for j in jobs if j.end is not None and j.status != "killed"], dtype=np.int64)

    def ages(self, block: str) -> tuple[Times, Times]:
        """The age of a block's output just after each change, and just before the next one or the end, ns: (m,) each.

        An age counts from when the inputs behind the output were read.
        """
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

    def utilisation(self, of: str | Accelerator | Bus) -> float:
        """The part of the time in which a core, a processor, an accelerator or a bus works.

        A mean over the cores of a processor, the streams of an accelerator (copies that have an engine of their own do
        not count), and the links of a switch that carried something. Raises RunError for a name that nothing here has;
        an accelerator or a bus that no job has used is 0, given itself instead of its name.
        """
        name = of if isinstance(of, str) else of.name
        if name in self.accelerators:
            parts = self.accelerators[name]
            streams = self.streams.get(name) or {part[0] for part in parts}
            work = [_covered([part[3:5] for part in parts if part[0] == stream]) for stream in streams]
        else:
            cores = [one for one in self.cores if name in (one, one.partition("[")[0])]
            work = [sum(end - begin for _, begin, end in self.cores[one]) for one in cores]
        if not work and isinstance(of, str) and name not in self.accelerators:
            raise RunError("schedule", f"nothing named {name!r} was used", "a core, or a device that jobs have used",
                           "give the accelerator or bus itself", [*self.cores, *self.accelerators], name)  # fmt: skip
        return sum(work) / (self.until * max(1, len(work)))

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


def _few(names: Sequence[str]) -> str:
    """The first of many names."""
    more = f" and {len(names) - SAID} more" if len(names) > SAID else ""
    return ", ".join(names[:SAID]) + more


def _covered(spans: Sequence[tuple[int, int]]) -> int:
    """How much of the time lies within one span or more, ns."""
    total = last = 0
    for begin, end in sorted(spans):
        total += max(0, end - max(begin, last))
        last = max(last, end)
    return total
