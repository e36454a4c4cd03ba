"""A loop with the original beside the same loop with its surrogate: errors of every signal, and time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from simdl.clock import Duration
from simdl.declared import Declared
from simdl.errors import SimdlError
from simdl.result import Run
from simdl.simulate import simulator_for


@dataclass(frozen=True)
class Difference:
    """How far a signal of the loop with the surrogate is from the original, over all lanes and times, in its unit.

    range: from the least to the greatest value of the original; lane: the number of the lane with the worst error.
    """

    path: str
    unit: str
    rms: float
    worst: float
    range: float
    lane: int

    def relative(self, value: float) -> float:
        return value / self.range if self.range > 0 else (0.0 if value == 0 else float("inf"))


@dataclass(frozen=True)
class Speed:
    """Seconds that the two loops took in an engine, the median of `repeats` runs after one that is not counted;
    why: the reason where an engine did not run."""

    engine: str
    original: float
    surrogate: float
    why: str = ""

    @property
    def gain(self) -> float:
        """How many times faster the surrogate is; below 1 it is slower."""
        return self.original / self.surrogate


@dataclass(frozen=True)
class Pair:
    """A signal of the original, or one element of it, and the path of what stands for it."""

    name: str
    original: str
    index: int | None
    surrogate: str

    def values(self, original: Run, surrogate: Run) -> tuple[Tensor, Tensor]:
        """Both, (lanes, times), as float64."""
        a = original[self.original].values
        return (a if self.index is None else a[..., self.index]).double(), surrogate[self.surrogate].values.double()


def differences(
    original: Run, surrogate: Run, pairs: Sequence[Pair], ids: Sequence[int]
) -> tuple[Difference, ...]:  # fmt: skip
    """The errors of signals recorded on one grid, over the lanes that failed in neither run."""
    good = [row for row in range(original.lanes) if row not in original.status and row not in surrogate.status]
    found = []
    for pair in pairs:
        a, b = (values[good] for values in pair.values(original, surrogate))
        unit = original[pair.original].unit
        if not good:
            found.append(Difference(pair.name, unit, *(float("nan"),) * 3, -1))
            continue
        error = (b - a).abs()
        worst = error.flatten(1).amax(1)
        found.append(Difference(pair.name, unit, float(error.square().mean().sqrt()), float(worst.max()),
                                float(a.max() - a.min()), ids[good[int(worst.argmax())]]))  # fmt: skip
    return tuple(found)


def speeds(
    original: tuple[Declared, Mapping[str, Any]], surrogate: tuple[Declared, Mapping[str, Any]], until: Duration, *,
    engines: Sequence[str], repeats: int, **options: Any,
) -> tuple[Speed, ...]:  # fmt: skip
    """Time both in each engine: the run alone, without setting it up or compiling it."""
    found = []
    for engine in engines:
        try:
            both: list[list[float]] = [[], []]
            for turn in range(repeats + 1):
                for times, (model, more) in zip(both, (original, surrogate)):
                    simulator = simulator_for(model, until, engine=engine, **{**options, **more})
                    begun = time.perf_counter()
                    simulator.run_until(until)
                    if turn:
                        times.append(time.perf_counter() - begun)
            found.append(Speed(engine, statistics.median(both[0]), statistics.median(both[1])))
        except SimdlError as error:
            why = " ".join(str(error).split())
            found.append(Speed(engine, float("nan"), float("nan"), why[:160]))
    return tuple(found)
