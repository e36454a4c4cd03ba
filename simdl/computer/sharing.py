"""What the tasks of one lane share: locks, mailboxes, and events for which jobs wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simdl.computer.instructions import Acquire, Put, Release, Take, Wait
from simdl.computer.lock import Holding, Lock
from simdl.computer.mailbox import Box, Mailbox
from simdl.computer.waiting import Waiting
from simdl.errors import ModelError, RunError

if TYPE_CHECKING:
    from simdl.computer.job import Job
    from simdl.computer.kernel import Kernel

    Spans = list[tuple[Job, str, int, int]]


class Sharing:
    """The locks, mailboxes and events of a lane, each opened when a job first uses it."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.opened: dict[Lock | Mailbox, Any] = {}
        self.events: dict[str, Waiting] = {}

    def follow(self, job: Job, step: Acquire | Release | Put | Take | Wait) -> tuple[bool, Any]:
        """Do what a job yields; whether it goes on, and the answer it then gets.

        Before it acquires a lock a job leaves its core to a more urgent one that has become ready at this instant.
        """
        if isinstance(step, Wait):
            if step.event not in self.events:
                self.events[step.event] = Waiting(step.event, self.kernel)
            self.events[step.event].add(job)
            return False, None
        if isinstance(step, Acquire):
            if self.kernel.cores[id(job.task.on)].concede(job):
                job.step = step
                return False, None
            return self._holding(job, step.lock).acquire(job), None
        if isinstance(step, Release):
            self._holding(job, step.lock).release(job)
            return True, None
        if isinstance(step, Put):
            put = self._box(job, step.box).put(job, step.value)
            return put is not None, put
        return self._box(job, step.box).take(job, step.wait)

    def happen(self, event: str) -> None:
        """Every job that waits for an event goes on."""
        waiting = self.events.get(event)
        while waiting is not None and (woken := waiting.pop()) is not None:
            self.kernel.again(woken[0])

    def over(self, job: Job, status: str) -> None:
        """A job is over: it waits no longer, and holds nothing. Raises RunError when it ended with a lock."""
        if job.waiting is not None:
            job.waiting.leave(job)
        if job.held and status != "killed":
            names = " and ".join(repr(one.name) for one in job.held)
            raise RunError(f"task {job.task.name}", f"job {job.index} ends and holds {names}",
                           "Release of what it has acquired", f"yield Release({job.held[-1].name})")  # fmt: skip
        for holding in reversed(list(job.held)):
            holding.release(job)

    def waits(self, until: int) -> Spans:
        """Who has waited for what from when to when, ns, in order."""
        found = [span for one in self.opened.values() for part in _parts(one) for span in part.waits(until)]
        found += [span for waiting in self.events.values() for span in waiting.waits(until)]
        return sorted(found, key=lambda span: span[2])

    def holds(self, until: int) -> Spans:
        """Who has held which lock from when to when, ns, in order."""
        found = [span for one in self.opened.values() if isinstance(one, Holding) for span in one.held(until)]
        return sorted(found, key=lambda span: span[2])

    def _holding(self, job: Job, lock: Lock) -> Holding:
        if not isinstance(lock, Lock):
            raise ModelError(f"task {job.task.name}", f"{lock!r}", "a Lock")
        found: Holding = self._open(lock)
        return found

    def _box(self, job: Job, box: Mailbox) -> Box:
        if not isinstance(box, Mailbox):
            raise ModelError(f"task {job.task.name}", f"{box!r}", "a Mailbox")
        found: Box = self._open(box)
        return found

    def _open(self, what: Lock | Mailbox) -> Any:
        found = self.opened.get(what)
        if found is None:
            if any(one.name == what.name for one in self.opened):
                raise ModelError("computer", f"two locks or mailboxes named {what.name!r}", "different names",
                                 "make it once, and let the bodies share it")  # fmt: skip
            found = self.opened[what] = what.open(self.kernel)
        return found


def _parts(one: Holding | Box) -> list[Waiting]:
    return [one.waiting] if isinstance(one, Holding) else [one.takers, one.putters]
