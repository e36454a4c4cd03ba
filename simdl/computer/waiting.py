"""Jobs that wait for a lock, a mailbox or an event: off their core, the most urgent first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simdl.computer.job import Job
    from simdl.computer.kernel import Kernel


class Waiting:
    """The jobs that wait for one thing in one lane; of: the thing, whose `left()` is told of those who give up."""

    def __init__(self, name: str, kernel: Kernel, of: Any = None) -> None:
        self.name, self.kernel, self.of = name, kernel, of
        self.entries: list[tuple[Job, int, Any]] = []  # (job, since, what it brings)
        self.past: list[tuple[Job, str, int, int]] = []

    @property
    def jobs(self) -> list[Job]:
        return [job for job, _, _ in self.entries]

    def add(self, job: Job, brings: Any = None) -> None:
        """A job leaves its core to wait."""
        self.kernel.cores[id(job.task.on)].leave(job)
        job.waiting = self
        self.entries.append((job, self.kernel.now, brings))

    def pop(self) -> tuple[Job, Any] | None:
        """The most urgent job, of equal ones the first to wait, waits no longer; what it brings with it."""
        if not self.entries:
            return None
        first = min(self.entries, key=lambda entry: entry[0].key)
        self._gone(first)
        return first[0], first[2]

    def leave(self, job: Job) -> None:
        """A job that is killed waits no longer."""
        self._gone(next(entry for entry in self.entries if entry[0] is job))
        if self.of is not None:
            self.of.left()

    def waits(self, until: int) -> list[tuple[Job, str, int, int]]:
        """Who has waited from when to when, ns."""
        return [*self.past, *((job, self.name, since, until) for job, since, _ in self.entries)]

    def _gone(self, entry: tuple[Job, int, Any]) -> None:
        self.entries.remove(entry)
        job, since, _ = entry
        job.waiting = None
        self.past.append((job, self.name, since, self.kernel.now))
