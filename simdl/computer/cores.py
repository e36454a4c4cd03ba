"""The cores of one processor in one lane: who runs, until when, and who takes over."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from simdl.clock import nanoseconds
from simdl.computer.energy import Frequency
from simdl.computer.policy import Table
from simdl.errors import RunError

if TYPE_CHECKING:
    from simdl.computer.job import Job
    from simdl.computer.kernel import Kernel, Timer
    from simdl.computer.processor import Processor

SWITCH = "context switch"


class Core:
    """One core: its job since when, what part of that is the switch to it, and the timer of what comes next.

    left: of the quantum of its job. Without a job, switch is what is left of a switch that was cut short.
    """

    __slots__ = ("number", "job", "last", "since", "switch", "left", "timer", "segments", "slot")

    def __init__(self, number: int) -> None:
        self.number = number
        self.job: Job | None = None
        self.last: Job | None = None
        self.since = self.switch = self.left = 0
        self.timer: Timer | None = None
        self.slot = ""  # the task that a table allows now
        self.segments: list[tuple[Job | None, int, int]] = []  # None: a context switch


class Cores:
    """The jobs of a processor that are ready or run."""

    rank = 0

    def __init__(self, processor: Processor, kernel: Kernel) -> None:
        self.processor, self.kernel, self.policy = processor, kernel, processor.policy
        self.cores = [Core(i) for i in range(processor.cores)]
        self.switch = nanoseconds(processor.context_switch)
        self.quantum = processor.policy.quantum_ns
        self.ready: list[Job] = []  # in no order; those that run are among them
        self.turns = 0
        self.dirty = False
        self.frequency = processor.frequencies[0] if processor.frequencies else Frequency()
        self.frequencies = [(0, self.frequency)]
        self.factor: int | Fraction = 1 if self.frequency.factor == 1 else self.frequency.exact
        self.halted = False
        self.meter = kernel.meter(processor.battery) if processor.battery is not None else None
        if self.meter is not None:
            self.meter.of.append(self)
            kernel.touch(self)
        self.table = self.policy if isinstance(self.policy, Table) else None
        if self.table is not None:
            self._windows, self._cycle = self.table.windows(), nanoseconds(self.table.cycle)
            self._slots(processor.local(0))

    def add(self, job: Job) -> None:
        """A job becomes ready."""
        job.turn = self.turns
        self.turns += 1
        job.key = job.own = self.policy.key(job)
        if job.held:
            self.urge(job)
        self.ready.append(job)
        self.kernel.touch(self)

    def urge(self, job: Job) -> bool:
        """A job is as urgent as its policy says, or as the locks it holds make it; whether that is new."""
        key = min([job.own, *(urgency for lock in job.held for urgency in lock.urgencies())])
        if key == job.key or self.quantum or self.table is not None:
            return False
        job.key = key
        self.kernel.touch(self)
        return True

    def concede(self, job: Job) -> bool:
        """Whether a job leaves its core, and stays ready, because a more urgent one is ready."""
        pre_empted = self.policy.preemptive and self.table is None
        if pre_empted and any(one.core is None and one.key < job.key for one in self.ready):
            assert job.core is not None
            self.stop(job.core)
            self.kernel.touch(self)
            return True
        return False

    def leave(self, job: Job) -> None:
        """A job ends, is killed, or waits for something else than a core."""
        if job.core is not None:
            self.stop(job.core)
        self.ready.remove(job)
        self.kernel.touch(self)

    def stop(self, core: Core) -> None:
        """Take the job off its core; what it has used is counted."""
        job = core.job
        assert job is not None
        self._count(core)
        core.job, core.timer, job.core = None, None, None

    def _count(self, core: Core) -> None:
        """Count what the job of a core has used until now."""
        job, since, now = core.job, core.since, self.kernel.now
        assert job is not None
        begun = since + core.switch
        if core.switch and now > since:
            core.segments.append((None, since, min(begun, now)))
        if now > begun:
            used = now - begun
            job.used += used
            left = job.remaining - used * self.factor
            job.remaining = left if left > 0 else 0  # the last ns may have room to spare
            if self.quantum:
                core.left -= used
            if job.budget_left is not None:
                job.budget_left -= used
            last = core.segments[-1] if core.segments else None
            if last is not None and last[0] is job and last[2] == begun:
                core.segments[-1] = (job, last[1], now)
            else:
                core.segments.append((job, begun, now))
        core.switch = max(0, begun - now)
        core.since = now

    def _start(self, core: Core, job: Job) -> None:
        core.job, job.core, job.last_core = job, core, core
        core.since = self.kernel.now
        core.left = self.quantum
        if core.last is not job:
            core.switch = self.switch
        core.last = job
        if job.remaining and self._over(job):
            return
        if core.switch or job.remaining:
            self._time(core)
        else:
            self.kernel.progress(job)

    def _time(self, core: Core) -> None:
        """Set the timer of a core: the end of the computation, of the budget or of the quantum."""
        job = core.job
        assert job is not None
        length = whole = -(-job.remaining // self.factor)
        if job.budget_left is not None and 0 < job.budget_left < length:
            length = job.budget_left
        if self.quantum and core.left < length:
            length = core.left
        core.timer = self.kernel.after(core.switch + length, 2 if length < whole else 0, self._due, core)

    def _due(self, timer: Timer) -> None:
        core: Core = timer.of
        if core.timer is not timer:
            return  # pre-empted since
        job = core.job
        assert job is not None
        self._count(core)
        core.timer = None
        if job.remaining == 0:
            self.kernel.progress(job)
        elif self._over(job):
            return
        elif self.quantum and core.left == 0 and len(self.ready) > 1:
            self.stop(core)
            job.turn = self.turns
            self.turns += 1
            job.key = self.policy.key(job)
            self.kernel.touch(self)
        else:
            core.left = core.left or self.quantum
            self._time(core)

    def compute(self, job: Job, ns: int) -> bool:
        """The job on a core begins to compute; whether it takes time."""
        job.remaining = ns
        if ns == 0:
            return False
        core = job.core
        assert core is not None
        core.since = self.kernel.now
        if not self._over(job):
            self._time(core)
        return True

    def _over(self, job: Job) -> bool:
        """Whether a job that has used its budget, and needs more, is over with it."""
        return job.budget_left == 0 and not job.overrun and self.kernel.overrun(job)

    def dispatch(self) -> None:
        """Give the cores to the jobs that should have them now."""
        self.dirty = False
        if len(self.cores) == 1 and self.table is None:
            self._single(self.cores[0])
        else:
            self._several()
        if self.meter is not None:
            self.meter.update()

    def scale(self, factor: float | Fraction) -> None:
        """Go on at another frequency; what jobs have left takes longer or less from now on."""
        found = next((one for one in self.processor.frequencies if one.factor == factor), None)
        if found is None:
            raise RunError(self.processor.name, f"Scale({factor!r})", "the factor of one of its frequencies",
                           names=[str(one.factor) for one in self.processor.frequencies])  # fmt: skip
        for core in self.cores:
            if core.job is not None:
                self._count(core)
        self.frequency, self.factor = found, found.exact
        self.frequencies.append((self.kernel.now, found))
        for core in self.cores:
            if core.timer is not None:
                self._time(core)
        self.kernel.touch(self)

    def power(self) -> float:
        """What its cores use now, W."""
        busy = sum(core.job is not None for core in self.cores)
        return 0.0 if self.halted else busy * self.frequency.active + (len(self.cores) - busy) * self.frequency.idle

    def halt(self) -> None:
        """Stop for good: there is no energy."""
        self.halted = True
        for queue in self.kernel.queues.values():
            if queue.cores is self:
                queue.halt()
        self.frequencies.append((self.kernel.now, Frequency(self.frequency.factor)))

    def _single(self, core: Core) -> None:
        if not self.ready:
            return
        running = core.job
        if running is not None and (not self.policy.preemptive or len(self.ready) == 1):
            return
        best = min(self.ready, key=_order) if len(self.ready) > 1 else self.ready[0]
        if running is None:
            self._start(core, best)
        elif best is not running and best.key < running.key:
            self.stop(core)
            self._start(core, best)

    def _several(self) -> None:
        if self.table is not None:
            chosen = self._allowed()
        else:
            chosen = {}
            for job in sorted(self.ready, key=self._claim):
                core = self._core_for(job, chosen)
                if core is not None:
                    chosen[core.number] = job
        for core in self.cores:
            if core.job is not None and chosen.get(core.number) is not core.job:
                self.stop(core)
        for core in self.cores:
            mine = chosen.get(core.number)
            if mine is not None and core.job is None and mine.core is None and mine in self.ready:
                self._start(core, mine)
                if self.kernel.asked is not None:
                    return  # it reads: the rest of this instant waits for the answer

    def _claim(self, job: Job) -> Any:
        running = job.core is not None
        return (not (running and not self.policy.preemptive), job.key, not running, *_order(job)[1:])

    def _core_for(self, job: Job, taken: dict[int, Job]) -> Core | None:
        """The core a job claims: its own, else its last one if idle, an idle one, or that of the least urgent job."""
        free = [self.cores[i] for i in job.task.cores if i not in taken]
        if not free:
            return None
        if job.core is not None and job.core in free:
            return job.core
        idle = [core for core in free if core.job is None]
        if idle:
            return job.last_core if job.last_core in idle else idle[0]
        if not self.policy.preemptive:
            return None
        return max(free, key=lambda core: (core.job.key, *_order(core.job)[1:]) if core.job else ())

    def _allowed(self) -> dict[int, Job]:
        chosen: dict[int, Job] = {}
        for core in self.cores:
            fit = [j for j in self.ready if j.task.name == core.slot and j not in chosen.values()]
            if fit:
                chosen[core.number] = min(fit, key=lambda job: job.turn)
        return chosen

    def _slots(self, local: int) -> None:
        """Open the slots of this local time and set a timer for the next change."""
        cycle, into = local // self._cycle, local % self._cycle
        edges = {0, self._cycle} | {t for window in self._windows for t in window[:2]}
        for core in self.cores:
            core.slot = next((w[2] for w in self._windows if w[3] == core.number and w[0] <= into < w[1]), "")
        following = cycle * self._cycle + min(e for e in edges if e > into)
        due = self.processor.true(following)
        self.kernel.after(due - self.kernel.now, 1, self._turn, following)
        self.kernel.touch(self)

    def _turn(self, timer: Timer) -> None:
        self._slots(timer.of)


def _order(job: Job) -> tuple[Any, ...]:
    return (job.key, not job.held, job.release, job.order, job.index)  # at its ceiling a holder is not overtaken
