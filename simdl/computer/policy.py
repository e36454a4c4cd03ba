"""Scheduling policies: who of the ready jobs gets a core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

from simdl.clock import Duration, nanoseconds
from simdl.errors import ModelError, RunError, SimdlError

if TYPE_CHECKING:
    from simdl.computer.job import Job


@dataclass(frozen=True)
class Policy:
    """The job with the smallest key runs; of equal keys the running one, then the earlier released, then task order.

    preemptive: whether a job with a smaller key takes the core of a running one.
    """

    preemptive: bool = field(default=True, kw_only=True)

    def key(self, job: Job) -> Any:
        """Compared between jobs: numbers, or tuples of numbers. Computed when a job becomes ready."""
        raise NotImplementedError

    @property
    def quantum_ns(self) -> int:
        return 0

    def faults(self, where: str, cores: int) -> list[ModelError]:
        """What is wrong with it on a processor of so many cores."""
        ok = isinstance(self.preemptive, bool)
        return [] if ok else [ModelError(f"{where}: preemptive", f"{self.preemptive!r}", "True or False")]


@dataclass(frozen=True)
class FixedPriority(Policy):
    """The smallest `priority` number first (rate or deadline monotonic: number the tasks so)."""

    def key(self, job: Job) -> Any:
        return job.priority


@dataclass(frozen=True)
class EDF(Policy):
    """Earliest deadline first: the smallest absolute deadline."""

    def key(self, job: Job) -> Any:
        return job.deadline


@dataclass(frozen=True)
class RoundRobin(Policy):
    """Jobs in turn, each for a quantum; one that is not finished goes behind those that wait."""

    quantum: Duration = "1 ms"

    def key(self, job: Job) -> Any:
        return job.turn

    @property
    def quantum_ns(self) -> int:
        return nanoseconds(self.quantum)

    def faults(self, where: str, cores: int) -> list[ModelError]:
        found = super().faults(where, cores)
        if nanoseconds(self.quantum, f"{where}: quantum") <= 0:
            found.append(ModelError(f"{where}: quantum", f"{self.quantum!r}", "a positive time"))
        return found


@dataclass(frozen=True)
class Keyed(Policy):
    """Any function of a job; the smallest value first, such as `Keyed(lambda job: -job.task.priority)`.

    Raises RunError in a lane where the function raises, or gives what is no number and no tuple of numbers.
    """

    function: Callable[[Job], Any] = lambda job: job.release  # first come, first served

    def key(self, job: Job) -> Any:
        where = f"task {job.task.name}: job {job.index}"
        try:
            found = self.function(job)
        except SimdlError:
            raise
        except Exception as error:
            raise RunError(where, f"its key: {type(error).__name__}: {error}", "a number, or numbers") from error
        if not all(isinstance(one, Real) and one == one for one in (found if isinstance(found, tuple) else (found,))):
            raise RunError(where, f"the key {found!r}", "a number, or a tuple of numbers")
        return found

    def faults(self, where: str, cores: int) -> list[ModelError]:
        found = super().faults(where, cores)
        if not callable(self.function):
            found.append(ModelError(f"{where}: policy", f"Keyed({self.function!r})", "a function of a job"))
        return found


@dataclass(frozen=True)
class Table(Policy):
    """A time-triggered table: in a slot (from, to, task) or (from, to, task, core) jobs of that task alone run.

    The table repeats every `cycle`, in the processor's local time. What does not finish waits for its next slot.
    """

    slots: Sequence[tuple[Any, ...]] = ()
    cycle: Duration = 0

    def key(self, job: Job) -> Any:
        return job.turn

    def windows(self) -> list[tuple[int, int, str, int]]:
        """The slots as (from, to, task, core), ns."""
        return sorted((nanoseconds(a, "slot"), nanoseconds(b, "slot"), str(task), int(core[0]) if core else 0)
                      for a, b, task, *core in self.slots)  # fmt: skip

    def faults(self, where: str, cores: int) -> list[ModelError]:
        cycle = nanoseconds(self.cycle, f"{where}: cycle")
        found = super().faults(where, cores)
        if cycle <= 0 or not self.slots:
            return [ModelError(where, f"cycle={self.cycle!r} with {len(self.slots)} slots", "a cycle and a slot")]
        for slot in self.slots:
            if not isinstance(slot, tuple | list) or len(slot) not in (3, 4):
                return [ModelError(where, f"the slot {slot!r}", "(from, to, task) or (from, to, task, core)")]
        busy: dict[int, int] = {}
        for begin, end, task, core in self.windows():
            if not 0 <= begin < end <= cycle:
                found.append(ModelError(where, f"a slot of {task!r} from {begin} to {end} ns", f"within {cycle} ns"))
            if not 0 <= core < cores:
                found.append(ModelError(where, f"a slot of {task!r} on core {core}", f"one of {cores} cores"))
            if begin < busy.get(core, 0):
                found.append(ModelError(where, f"the slot of {task!r} at {begin} ns overlaps another", "one at a time"))
            busy[core] = max(end, busy.get(core, 0))
        return found
