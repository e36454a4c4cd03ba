"""Frequency levels of processors, the energy of a schedule, and batteries that stop a processor when they are empty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from simdl.clock import SECOND
from simdl.errors import ModelError

if TYPE_CHECKING:
    from simdl.computer.cores import Cores
    from simdl.computer.kernel import Kernel, Timer
    from simdl.computer.schedule import Schedule

SWITCH, IDLE = "context switch", "idle"


@dataclass(frozen=True)
class Frequency:
    """A level of a processor: computations take 1/factor of the times that tasks give.

    active, idle: the power of a core that works, context switches included, and of one that does not, W.
    """

    factor: float | Fraction = 1
    active: float = 0.0
    idle: float = 0.0

    @property
    def exact(self) -> Fraction:
        """The factor as written: 0.4 is 2/5."""
        return self.factor if isinstance(self.factor, Fraction) else Fraction(str(self.factor))

    def faults(self, where: str) -> list[ModelError]:
        numbers = (float(self.factor), self.active, self.idle)
        if all(math.isfinite(one) for one in numbers) and numbers[0] > 0 and min(numbers[1:]) >= 0:
            return []
        return [ModelError(f"{where}: frequencies", f"{self!r}", "a factor above 0, and powers of at least 0 W")]


@dataclass(frozen=True, eq=False)
class Battery:
    """So much energy, J, for the processors that have it: when it is used up, they stop for good.

    Jobs under way are then killed, and those that arrive later skipped; messages under way arrive.
    """

    capacity: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.capacity) and self.capacity > 0):
            raise ModelError("Battery", f"capacity={self.capacity!r}", "an energy above 0 J")


class Meter:
    """The battery of one lane: what is left of it, and when it will be empty."""

    def __init__(self, battery: Battery, kernel: Kernel) -> None:
        self.kernel, self.left = kernel, battery.capacity
        self.power, self.since = 0.0, 0
        self.of: list[Cores] = []
        self.timer: Timer | None = None

    def update(self) -> None:
        """Something has begun to work or stopped."""
        now, power = self.kernel.now, sum(cores.power() for cores in self.of)
        self.left -= self.power * (now - self.since) / SECOND
        self.since = now
        if power != self.power or self.timer is None:
            self.power, self.timer = power, None
            if power > 0:
                wait = max(0, math.ceil(self.left / power * SECOND))
                self.timer = self.kernel.after(wait, 2, self._empty)

    def _empty(self, timer: Timer) -> None:
        if timer is self.timer:
            for cores in self.of:
                cores.halt()


def consumption(schedule: Schedule, by: str) -> dict[str, float]:
    """The energy of a schedule, J, by "core" or by "task": see `Schedule.energy`."""
    if by not in ("core", "task"):
        raise ModelError("Schedule.energy", f"by={by!r}", '"core" or "task"')
    found: dict[str, float] = {}
    for name, levels in schedule.frequencies.items():
        idle = _joules([(level, begin, end) for level, begin, end in _spans(levels, schedule.until)], "idle")
        for job, begin, end in schedule.cores[name]:
            parts = [(level, max(a, begin), min(b, end)) for level, a, b in _spans(levels, schedule.until)
                     if a < end and b > begin]  # fmt: skip
            used = _joules(parts, "active")
            idle -= _joules(parts, "idle")
            key = name if by == "core" else SWITCH if job is None else job.task.name
            found[key] = found.get(key, 0.0) + used
        key = name if by == "core" else IDLE
        found[key] = found.get(key, 0.0) + idle
    return found


def _spans(levels: Sequence[tuple[int, Frequency]], until: int) -> list[tuple[Frequency, int, int]]:
    ends = [*(at for at, _ in levels[1:]), until]
    return [(level, at, end) for (at, level), end in zip(levels, ends)]


def _joules(parts: Sequence[tuple[Frequency, int, int]], what: str) -> float:
    return math.fsum(float(getattr(level, what)) * (end - begin) / SECOND for level, begin, end in parts)
