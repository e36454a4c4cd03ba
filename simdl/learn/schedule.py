"""Learning rate over a training run: factors of its progress, 0 at the start and 1 at the end.

Progress is the larger of epochs done and time spent, as parts of what was allowed; so one schedule serves both kinds
of budget, and there is nothing to keep in a checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from simdl.errors import RunError

Schedule = Callable[[float], float]


@dataclass(frozen=True)
class Constant:
    """The same rate throughout."""

    def __call__(self, progress: float) -> float:
        return 1.0


@dataclass(frozen=True)
class Linear:
    """From 1 down to `floor`, after rising from 0 during the first `ramp` of the run."""

    ramp: float = 0.02
    floor: float = 0.01

    def __call__(self, progress: float) -> float:
        rest = max(progress - self.ramp, 0.0) / (1.0 - self.ramp)
        return _risen(progress, self.ramp) * (1.0 - (1.0 - self.floor) * min(rest, 1.0))


@dataclass(frozen=True)
class Cosine:
    """From 1 down to `floor` along half a cosine (Loshchilov & Hutter 2017), after rising from 0 during `ramp`."""

    ramp: float = 0.02
    floor: float = 0.01

    def __call__(self, progress: float) -> float:
        rest = min(max(progress - self.ramp, 0.0) / (1.0 - self.ramp), 1.0)
        return _risen(progress, self.ramp) * (self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * rest)))


def _risen(progress: float, ramp: float) -> float:
    # Not from zero: the first step of a ramp that starts there would be wasted.
    return 1.0 if progress >= ramp else 0.05 + 0.95 * progress / ramp


def named_schedule(schedule: str | Schedule) -> Schedule:
    """A schedule by name, or the given function of progress. RunError for other names."""
    if not isinstance(schedule, str):
        return schedule
    known: dict[str, Schedule] = {"constant": Constant(), "linear": Linear(), "cosine": Cosine()}
    if schedule not in known:
        raise RunError("fit", f"schedule={schedule!r}", "a name or a function of progress", names=known, wrong=schedule)
    return known[schedule]
