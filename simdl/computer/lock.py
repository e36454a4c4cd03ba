"""Locks: one or more jobs hold them, others wait; priority inheritance, immediate ceiling, and deadlock found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simdl.computer.policy import FixedPriority
from simdl.computer.waiting import Waiting
from simdl.errors import LaneError, ModelError, RunError

if TYPE_CHECKING:
    from simdl.computer.job import Job
    from simdl.computer.kernel import Kernel
    from simdl.computer.processor import Processor

PROTOCOLS = ("inheritance", "ceiling", "none")


@dataclass(frozen=True, eq=False)
class Lock:
    """What at most `count` jobs of one processor hold at once: a mutex, or a counting semaphore.

    A body says `yield Acquire(lock)` and `yield Release(lock)`; the most urgent job that waits is given it, of equal
    ones the first to wait. A job that ends with a lock is an error; one that is killed gives its locks back. protocol:
      "inheritance"  a holder is as urgent as the most urgent job that waits for it, through chains of locks (Sha,
                     Rajkumar & Lehoczky 1990, Priority inheritance protocols, IEEE Trans. Computers 39)
      "ceiling"      a holder is as urgent as `ceiling`, the priority of the most urgent task that uses the lock, at
                     once (immediate priority ceiling); for FixedPriority. On one core a job then waits before it
                     starts, for one critical section at most, and jobs that do not suspend themselves cannot deadlock
      "none"         a holder keeps its priority
    Policies without priorities (round robin, tables) share locks with none of this.
    """

    name: str
    count: int = 1
    protocol: str = "inheritance"
    ceiling: int | None = None

    def __post_init__(self) -> None:
        where = f"lock {self.name}"
        if not isinstance(self.count, int) or self.count < 1:
            raise ModelError(where, f"count={self.count!r}", "at least 1")
        if self.protocol not in PROTOCOLS:
            raise ModelError(where, f"protocol={self.protocol!r}", "a protocol", names=PROTOCOLS, wrong=self.protocol)
        if (self.protocol == "ceiling") != (self.ceiling is not None) or (self.count > 1 and self.ceiling is not None):
            raise ModelError(where, f"protocol={self.protocol!r}, ceiling={self.ceiling!r}, count={self.count}",
                             'ceiling= with protocol="ceiling" and count=1, and nowhere else')  # fmt: skip

    def open(self, kernel: Kernel) -> Holding:
        return Holding(self, kernel)


class Holding:
    """A lock in one lane: who holds it since when, and who waits."""

    def __init__(self, lock: Lock, kernel: Kernel) -> None:
        self.lock, self.kernel, self.name = lock, kernel, lock.name
        self.on: Processor | None = None
        self.holders: list[tuple[Job, int]] = []
        self.holds: list[tuple[Job, str, int, int]] = []
        self.waiting = Waiting(lock.name, kernel, self)

    def acquire(self, job: Job) -> bool:
        """A job asks for the lock; whether it has it at once."""
        self._check(job)
        if len(self.holders) < self.lock.count:
            self._give(job)
            return True
        self.waiting.add(job)
        self._deadlock(job)
        self._rank()
        return False

    def release(self, job: Job) -> None:
        """A job gives the lock back; the most urgent one that waits has it now."""
        since = next((since for one, since in self.holders if one is job), None)
        if since is None:
            raise RunError(self._where(), f"{_named(job)} releases {self.name!r}, and does not hold it",
                           "Acquire before Release")  # fmt: skip
        self.holders.remove((job, since))
        job.held.remove(self)
        self.holds.append((job, self.name, since, self.kernel.now))
        following = self.waiting.pop()
        if following is not None:
            self._give(following[0])
            self.kernel.again(following[0])
        self.kernel.cores[id(job.task.on)].urge(job)
        self._rank()

    def left(self) -> None:
        """A job that waited is gone."""
        self._rank()

    def urgencies(self) -> list[Any]:
        """The keys that a holder inherits."""
        if self.lock.protocol == "ceiling":
            return [self.lock.ceiling]
        return [job.key for job in self.waiting.jobs] if self.lock.protocol == "inheritance" else []

    def held(self, until: int) -> list[tuple[Job, str, int, int]]:
        """Who has held it from when to when, ns."""
        return [*self.holds, *((job, self.name, since, until) for job, since in self.holders)]

    def _give(self, job: Job) -> None:
        self.holders.append((job, self.kernel.now))
        job.held.append(self)
        self.kernel.cores[id(job.task.on)].urge(job)

    def _rank(self) -> None:
        """The holders are as urgent as who waits for them now, and so are those for whom these wait."""
        for job, _ in self.holders:
            if self.kernel.cores[id(job.task.on)].urge(job) and job.waiting is not None:
                further = job.waiting.of
                if isinstance(further, Holding):
                    further._rank()

    def _where(self) -> str:
        return f"computer: lane {self.kernel.lane}, {self.kernel.now} ns"

    def _check(self, job: Job) -> None:
        on = job.task.on
        if any(one is job for one, _ in self.holders) and self.lock.count == 1:
            raise RunError(self._where(), f"{_named(job)} acquires {self.name!r}, and holds it already",
                           "Release before it acquires it again")  # fmt: skip
        self.on = self.on or on
        if self.on is not on:
            raise RunError(self._where(), f"{self.name!r} is used on {self.on.name!r} and {on.name!r}",
                           "a lock of one processor", "send a message instead")  # fmt: skip
        if self.lock.ceiling is None:
            return
        if not isinstance(on.policy, FixedPriority):
            raise RunError(self._where(), f"{self.name!r} has a ceiling, and {on.name!r} {type(on.policy).__name__}",
                           "FixedPriority", 'protocol="inheritance"')  # fmt: skip
        if job.task.priority < self.lock.ceiling:
            raise RunError(self._where(), f"{_named(job)}, of priority {job.task.priority}, acquires {self.name!r}",
                           f"no task more urgent than its ceiling {self.lock.ceiling}",
                           f"ceiling={job.task.priority}")  # fmt: skip

    def _deadlock(self, job: Job) -> None:
        """Raises LaneError when everybody whom a waiting job waits for waits for a lock too, for good."""
        chain, known = [job], {job}
        for one in chain:
            waits = None if one.waiting is None else one.waiting.of
            if not isinstance(waits, Holding):
                return
            new = [holder for holder, _ in waits.holders if holder not in known]
            chain += dict.fromkeys(new)
            known.update(new)
        said = [f"{_named(one)} holds {_listed(one)} and waits for {one.waiting.name!r}" for one in chain if one.held]
        raise LaneError(self._where(), f"deadlock: {'; '.join(said)}", "locks taken in the same order by every task",
                       'one order, or protocol="ceiling"')  # fmt: skip


def _named(job: Job) -> str:
    return f"job {job.index} of {job.task.name!r}"


def _listed(job: Job) -> str:
    return " and ".join(repr(one.name) for one in job.held)
