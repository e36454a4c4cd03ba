"""Execution times, gaps and jitter as distributions of whole nanoseconds, made from uniform draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtr, ndtri

from simdl.clock import SECOND, Duration, nanoseconds
from simdl.errors import ModelError

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


class Distribution:
    """Durations of jobs as a function of their uniform draws and of nothing else."""

    @property
    def count(self) -> int:
        """How many uniform draws a duration takes."""
        return 1

    @property
    def longest(self) -> int | None:
        """The longest duration, ns; None where there is no bound."""
        return None

    def from_one(self, draws: Floats, first: int) -> Whole:
        """The durations (jobs,), ns, each from a single draw, (jobs,)."""
        return self.durations(draws[:, None], first, 0.0)[0]

    def durations(self, draws: Floats, first: int, carry: float) -> tuple[Whole, float]:
        """The durations (jobs,), ns, of jobs first, first + 1, … from draws (jobs, count) in (0, 1).

        carry: what the jobs before left behind, 0 at first; the second result is what these leave.
        """
        raise NotImplementedError


def _whole(values: Floats) -> Whole:
    return np.maximum(np.rint(values), 0).astype(np.int64)


@dataclass(frozen=True)
class Uniform(Distribution):
    """Uniform between two times.

    >>> Uniform("1 ms", "2 ms").durations(np.array([[0.25]]), 0, 0.0)[0].tolist()
    [1250000]
    """

    low: Duration
    high: Duration

    def __post_init__(self) -> None:
        if not 0 <= nanoseconds(self.low, "Uniform: low") <= nanoseconds(self.high, "Uniform: high"):
            raise ModelError("Uniform", f"low={self.low!r}, high={self.high!r}", "0 <= low <= high")

    @property
    def longest(self) -> int | None:
        return nanoseconds(self.high)

    def durations(self, draws: Floats, first: int, carry: float) -> tuple[Whole, float]:
        low, high = nanoseconds(self.low), nanoseconds(self.high)
        return _whole(low + (high - low) * draws[:, 0]), carry


@dataclass(frozen=True)
class Exponential(Distribution):
    """Exponential with a mean: gaps of Poisson arrivals, service of an M/M/1 queue."""

    mean: Duration

    def __post_init__(self) -> None:
        _positive(self.mean, "Exponential: mean")

    def durations(self, draws: Floats, first: int, carry: float) -> tuple[Whole, float]:
        return _whole(-nanoseconds(self.mean) * np.log(draws[:, 0])), carry


@dataclass(frozen=True)
class Normal(Distribution):
    """Normal, truncated (not put back) to [low, high]: by the inverse of its distribution function."""

    mean: Duration
    std: Duration
    low: Duration = 0
    high: Duration | None = None

    def __post_init__(self) -> None:
        _positive(self.std, "Normal: std")
        low = nanoseconds(self.low, "Normal: low")
        high = math.inf if self.high is None else nanoseconds(self.high, "Normal: high")
        if not 0 <= low < high:
            raise ModelError("Normal", f"low={self.low!r}, high={self.high!r}", "0 <= low < high")
        mean, std = nanoseconds(self.mean, "Normal: mean"), nanoseconds(self.std)
        if not ndtr((high - mean) / std) > ndtr((low - mean) / std):
            raise ModelError("Normal", f"no mass between {self.low!r} and {self.high!r}", "limits near the mean")

    @property
    def longest(self) -> int | None:
        return None if self.high is None else nanoseconds(self.high)

    def durations(self, draws: Floats, first: int, carry: float) -> tuple[Whole, float]:
        mean, std, low = nanoseconds(self.mean), nanoseconds(self.std), nanoseconds(self.low)
        high = math.inf if self.high is None else nanoseconds(self.high)
        below, above = ndtr((low - mean) / std), ndtr((high - mean) / std)
        return _whole(np.clip(mean + std * ndtri(below + (above - below) * draws[:, 0]), low, high)), carry


@dataclass(frozen=True)
class Mixture(Distribution):
    """One of several distributions, or times, by weight, such as truncated normals of fast and slow paths."""

    parts: Sequence[Any]
    weights: Sequence[float]

    def __post_init__(self) -> None:
        parts = tuple(one if isinstance(one, Distribution) else Uniform(one, one) for one in self.parts)
        object.__setattr__(self, "parts", parts)
        if any(isinstance(one, Correlated) for one in parts):
            raise ModelError("Mixture", "a part that is Correlated", "Correlated(Mixture(...), rho)")
        sizes = f"{len(self.parts)} parts, {len(self.weights)} weights"
        weights = np.asarray(self.weights, dtype=np.float64)
        if not parts or weights.shape != (len(parts),) or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
            raise ModelError("Mixture", f"{sizes}: {list(self.weights)}", "a weight of at least 0 for each part")

    @property
    def count(self) -> int:
        return 1 + max(int(part.count) for part in self.parts)

    @property
    def longest(self) -> int | None:
        found = [part.longest for part, weight in zip(self.parts, self.weights) if weight > 0]
        return None if None in found else max(found)

    def from_one(self, draws: Floats, first: int) -> Whole:
        """The draw chooses the part, and what it is within that part's weight the time."""
        edges = np.cumsum(self.weights) / np.sum(self.weights)
        which = np.minimum(np.searchsorted(edges, draws, side="right"), len(self.parts) - 1)
        widths = np.maximum(np.diff(edges, prepend=0.0), 2.0**-53)
        within = _inside((draws - (edges[which] - widths[which])) / widths[which])
        return np.choose(which, [part.from_one(within, first) for part in self.parts]).astype(np.int64)

    def durations(self, draws: Floats, first: int, carry: float) -> tuple[Whole, float]:
        edges = np.cumsum(self.weights) / np.sum(self.weights)
        which = np.minimum(np.searchsorted(edges, draws[:, 0], side="right"), len(self.parts) - 1)
        made = [part.durations(draws[:, 1:], first, carry)[0] for part in self.parts]
        return np.choose(which, made).astype(np.int64), carry


@dataclass(frozen=True, eq=False)
class Measured(Distribution):
    """Measured times (n,), seconds or as text: drawn at random with their frequencies, or in order ("cyclic")."""

    times: Any
    order: str = "random"

    def __post_init__(self) -> None:
        given = self.times
        if any(isinstance(one, str) for one in (given if isinstance(given, list | tuple) else ())):
            given = [nanoseconds(one, "Measured") / SECOND for one in given]
        try:
            times = np.asarray(given, dtype=np.float64).reshape(-1)
        except (TypeError, ValueError):
            raise ModelError("Measured", f"{given!r}", 'times: seconds, or text such as "1 ms"') from None
        if not len(times) or not np.isfinite(times).all() or (times < 0).any():
            raise ModelError("Measured", f"{len(times)} times", "one or more finite times of at least 0 s")
        if self.order not in ("random", "cyclic"):
            raise ModelError("Measured", f"order={self.order!r}", '"random" or "cyclic"')
        object.__setattr__(self, "times", times)

    @property
    def longest(self) -> int | None:
        return round(float(self.times.max()) * SECOND)

    def percentile(self, percent: float) -> float:
        """A percentile of the times, s."""
        return float(np.percentile(self.times, percent))

    def durations(self, draws: Floats, first: int, carry: float) -> tuple[Whole, float]:
        size = len(self.times)
        cyclic = np.arange(first, first + len(draws)) % size
        which = cyclic if self.order == "cyclic" else np.minimum((draws[:, 0] * size).astype(int), size - 1)
        return _whole(self.times[which] * SECOND), carry


@dataclass(frozen=True)
class Correlated(Distribution):
    """Durations of a distribution, correlated from job to job.

    A Gaussian copula: z[k] = rho z[k-1] + sqrt(1 - rho^2) e[k] has standard normal margins and autocorrelation rho^n;
    the distribution is given Phi(z[k]) in place of its uniform draw. Durations keep their distribution. Of a Mixture
    Phi(z[k]) chooses the part too, so its parts go from short to long.
    """

    distribution: Distribution
    rho: float

    def __post_init__(self) -> None:
        if not -1 < self.rho < 1:
            raise ModelError("Correlated", f"rho={self.rho!r}", "between -1 and 1")
        if not isinstance(self.distribution, Distribution) or isinstance(self.distribution, Correlated):
            raise ModelError("Correlated", f"{self.distribution!r}", "a distribution that is not correlated")

    @property
    def longest(self) -> int | None:
        return self.distribution.longest

    def durations(self, draws: Floats, first: int, carry: float) -> tuple[Whole, float]:
        noise = ndtri(draws[:, 0])
        gain = np.full(len(noise), math.sqrt(1 - self.rho**2))
        if first == 0:
            gain[0] = 1.0  # stationary from the first job
        z, _ = lfilter([1.0], [1.0, -self.rho], gain * noise, zi=[self.rho * carry])
        return self.distribution.from_one(_inside(ndtr(z)), first), float(z[-1])


def _inside(draws: Floats) -> Floats:
    return np.clip(draws, 2.0**-53, 1 - 2.0**-53)


def _positive(time: Duration, where: str) -> None:
    if nanoseconds(time, where) <= 0:
        raise ModelError(where, f"{time!r}", "a positive time")
