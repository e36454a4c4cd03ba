"""The jobs of one task in one lane: when they arrive, and which of them may begin."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING

from simdl.clock import FOREVER, nanoseconds
from simdl.computer.draws import Draws
from simdl.computer.job import Job
from simdl.computer.task import Degrade, Task, plain
from simdl.computer.times import Distribution, Uniform
from simdl.errors import RunError

if TYPE_CHECKING:
    from simdl.computer.cores import Cores
    from simdl.computer.kernel import Kernel, Timer


class Jobs:
    """Arrivals, pending jobs and those under way."""

    def __init__(self, task: Task, order: int, cores: Cores, kernel: Kernel) -> None:
        self.task, self.order, self.cores, self.kernel = task, order, cores, kernel
        self.index = self.tick = self.good = 0
        self.skip = False
        self.degraded: Degrade | None = None
        self.pending: deque[Job] = deque()
        self.under_way: list[Job] = []
        self.draws: dict[str, Draws] = {}
        self.deadline, self.clock = task.deadline_ns, task.clock
        self.budget = None if task.budget is None else nanoseconds(task.budget)
        self.kills = task.late == "kill"
        jitter = task.jitter
        self.jitter = jitter if isinstance(jitter, Distribution) or jitter is None else Uniform(0, jitter)
        self.arrivals = task.arrivals
        self.skewed = task.on.skewed
        if self.clock is not None:
            self.tick = self.clock.first(task.on.local(0))
        self.nominal, self.due = 0, FOREVER  # when the next job is released that has a time of its own, ns
        if isinstance(self.arrivals, Distribution):
            self.nominal = nanoseconds(task.offset)
        self.body = task.body or plain

    def draw(self, name: str, distribution: Distribution, index: int) -> int:
        """A duration of the stream `name` for a job, ns."""
        draws = self.draws.get(name)
        if draws is None:
            draws = self.draws[name] = Draws(self.kernel.seed, self.kernel.lane, f"{self.task.name}.{name}")
        return draws.duration(index, distribution)

    def next(self) -> None:
        """Set the timer of the next arrival, if the task has times of its own."""
        tick, self.due = self.tick, FOREVER
        if self.clock is not None:
            at = self.clock.at(tick)
            if self.skewed:
                at = self.task.on.true(at)
        elif isinstance(self.arrivals, Distribution):
            at = self.nominal = self.nominal + self.draw("arrivals", self.arrivals, tick)
        elif self.arrivals is not None and tick < len(self.arrivals):
            at = nanoseconds(self.arrivals[tick])
        else:
            return
        due = at + self.draw("jitter", self.jitter, tick) if self.jitter is not None else at
        self.tick, self.due = tick + 1, max(self.kernel.now, due)
        self.kernel.after(self.due - self.kernel.now, 1, self._arrived, at)

    def _arrived(self, timer: Timer) -> None:
        self.arrive(timer.of)
        self.next()

    def arrive(self, arrival: int) -> Job:
        """A job arrives: it is released, waits for the one before, or is left out."""
        kernel = self.kernel
        deadline = None if self.deadline is None else self.task.on.later(arrival, self.deadline)
        job = Job(self.task, self.index, arrival, deadline, self.order, kernel)
        self.index += 1
        kernel.jobs.append(job)
        if self.skip and self.under_way or self._late() or self.cores.halted:
            job.status = "skipped"
        elif len(self.under_way) < self.task.instances:
            self._release(job)
        else:
            self.pending.append(job)
        if self.kills and job.status != "skipped" and job.deadline is not None:
            kernel.after(max(0, job.deadline - kernel.now), 2, self._overdue, job)
        return job

    def _late(self) -> bool:
        now = self.kernel.now
        return self.task.late == "skip next" and any(
            job.deadline is not None and now >= job.deadline for job in self.under_way
        )

    def _release(self, job: Job) -> None:
        job.release = self.kernel.now
        job.budget_left = self.budget
        job.cheaper, job.degraded = self.degraded, self.degraded is not None
        job.body = self.body(job)
        if not isinstance(job.body, Generator):
            raise RunError(f"task {self.task.name}: body", f"it gives {job.body!r}", "a generator function of the job",
                           "yield Compute() in it")  # fmt: skip
        self.under_way.append(job)
        self.cores.add(job)

    def halt(self) -> None:
        """The processor stops: every job there is over."""
        for job in self.pending:
            job.end, job.status = self.kernel.now, "killed"
        self.pending.clear()
        for job in list(self.under_way):
            self.kernel.kill(job)

    def _overdue(self, timer: Timer) -> None:
        job: Job = timer.of
        if job.status == "unfinished" and job.end is None:
            self.kernel.kill(job)

    def ended(self, job: Job, status: str) -> None:
        """A job is over: the next one may begin."""
        job.end, job.status = self.kernel.now, status
        if job in self.under_way:
            self.under_way.remove(job)
        else:
            self.pending.remove(job)
        if job.body is not None:
            job.body.close()
        task = self.task
        late = job.deadline is not None and self.kernel.now > job.deadline
        if late and task.late == "skip next" and self.pending:
            self.pending.popleft().status = "skipped"
        self.skip = False
        causes = [p for p, bad in ((task.late, late), (task.over, job.overrun)) if bad and isinstance(p, Degrade)]
        self.good = 0 if causes else self.good + 1
        if causes:
            self.degraded = causes[0]
        elif self.degraded is not None and self.good >= self.degraded.recover:
            self.degraded = None
        while self.pending and len(self.under_way) < task.instances:
            self._release(self.pending.popleft())
