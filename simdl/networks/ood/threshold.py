"""Thresholds from a wanted rate of false alarms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from simdl.clock import SECOND, Duration, nanoseconds
from simdl.errors import NetworkError

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


@dataclass(frozen=True)
class Calibration:
    """A threshold and what it promises of data like that it was made from.

    per_sample: the part of the samples above it. per_hour: how often in an hour the score rises above it (`trip`
    samples in a row), one sample every `period` s; None where only the rate per sample was asked for.
    basis: "quantile": an order statistic; the chance of an alarm is at most per_sample if samples are exchangeable.
    "counted": rises counted in sequences, so whatever their dependence. "autocorrelated": from the quantile, as if
    neighbouring scores were jointly Gaussian after a monotone map, with this autocorrelation.
    """

    threshold: float
    samples: int
    basis: Literal["quantile", "counted", "autocorrelated"]
    per_sample: float
    per_hour: float | None = None
    period: float | None = None
    autocorrelation: float | None = None
    trip: int = 1

    def __str__(self) -> str:
        text = f"threshold {self.threshold:.4g}: {self.per_sample:.2g} of the samples"
        if self.per_hour is not None:
            row = f", {self.trip} samples in a row" if self.trip > 1 else ""
            text += f", {self.per_hour:.3g} times an hour at {self.period:g} s{row}"
        return f"{text} ({self.basis}, {self.samples} samples)"


def per_sample(scores: Tensor, chance: float) -> Calibration:
    """The threshold that a further score exceeds with at most this chance.

    It is the ceil((n + 1)(1 - chance))-th smallest of n scores, so the promise holds for any distribution, on average
    over samples (Vovk et al., Algorithmic Learning in a Random World, 2005). Raises NetworkError for fewer than
    1 / chance - 1 scores.

    >>> import torch
    >>> per_sample(torch.arange(1.0, 100.0), 0.1).threshold
    90.0
    """
    flat = _sorted(scores)
    if not 0.0 < chance < 1.0:
        raise NetworkError("per_sample", f"{chance!r}", "a chance between 0 and 1")
    rank = math.ceil((len(flat) + 1) * (1.0 - chance) - 1e-9)
    if rank > len(flat):
        least = math.ceil(1 / chance - 1)
        raise NetworkError("per_sample", f"{len(flat)} scores", f"at least {least} for a chance of {chance:g}")
    return Calibration(float(flat[rank - 1]), len(flat), "quantile", chance)


def per_hour(
    scores: Tensor, number: float, period: Duration, *, autocorrelation: float | None = None, trip: int = 1
) -> Calibration:
    """The threshold that scores rise above `number` times an hour, one score every `period`.

    scores (sequences, time): the rises for `trip` samples in a row are counted; one that stays above is one alarm,
    above from the start is one too. scores (samples,): from their quantiles and the `autocorrelation` r of
    neighbouring ones: number * period = P(Z1 <= z < Z2) for standard normal Z with correlation r, and the threshold is
    the quantile of Phi(z).
    Raises NetworkError for data too short for the rate, and rates that no threshold has.
    """
    where = "per_hour"
    step = nanoseconds(period, where) / SECOND
    if not 0.0 < number < math.inf or step <= 0:
        raise NetworkError(where, f"{number!r} an hour at {step:g} s", "numbers above zero")
    if isinstance(trip, bool) or not isinstance(trip, int) or trip < 1:
        raise NetworkError(where, f"trip={trip!r}", "a whole number of samples, 1 or more")
    if scores.ndim == 2 and autocorrelation is None:
        return _counted(scores, number, step, trip)
    if scores.ndim != 1 or autocorrelation is None or trip > 1:
        raise NetworkError(where, f"scores of shape {tuple(scores.shape)}, autocorrelation {autocorrelation}, "
                           f"trip {trip}", "sequences (sequences, time), or (samples,) with their autocorrelation "
                           "and trip=1")  # fmt: skip
    if not 0.0 <= autocorrelation < 1.0:
        raise NetworkError(where, f"autocorrelation {autocorrelation!r}", "from 0 to below 1")
    flat = _sorted(scores)
    z = _level(number * step / 3600.0, autocorrelation)
    found = per_sample(flat, 0.5 * math.erfc(z / math.sqrt(2.0)))
    return Calibration(found.threshold, len(flat), "autocorrelated", found.per_sample, number, step, autocorrelation)


def rise_chance(z: float, r: float) -> float:
    """P(Z1 <= z < Z2) for standard normal variables with correlation r.

    The integral of d P / d r = -exp(-z^2 / (1 + r)) / (2 pi sqrt(1 - r^2)) from r to 1, with r = sin(angle).

    >>> round(rise_chance(0.0, 0.0), 12)
    0.25
    """
    low, high = math.asin(r), math.pi / 2
    angle = (high - low) / 2 * _NODES + (high + low) / 2
    values = np.exp(-z * z / (1.0 + np.sin(angle))) / (2 * math.pi)
    return float((high - low) / 2 * (values * _WEIGHTS).sum())


def _level(chance: float, r: float) -> float:
    """The z >= 0 with this chance of a rise, by bisection."""
    low, high = 0.0, 40.0
    if chance > rise_chance(0.0, r):
        raise NetworkError("per_hour", f"{chance:.3g} rises a sample", f"at most {rise_chance(0.0, r):.3g}",
                           "ask for fewer alarms: scores so correlated do not rise as often")  # fmt: skip
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if rise_chance(middle, r) > chance else (low, middle)
    return (low + high) / 2


def _counted(scores: Tensor, number: float, step: float, trip: int) -> Calibration:
    _sorted(scores)
    hours = scores.numel() * step / 3600.0
    allowed = math.floor(number * hours + 1e-9)
    if allowed < 1 or scores.shape[1] < trip + 1:
        raise NetworkError("per_hour", f"{hours:.3g} hours of scores", f"at least {1 / number:.3g} for {number:g} an "
                           "hour", "simulate more lanes, or ask for more alarms")  # fmt: skip
    held = scores.double().unfold(-1, trip, 1).amin(-1)  # above a level where the last `trip` scores are
    # Rises above u: the samples above it, less those whose predecessor is above it too.
    every, both = held.flatten().sort().values, torch.minimum(held[:, 1:], held[:, :-1]).flatten().sort().values
    levels = torch.unique_consecutive(every)
    above = len(every) - torch.searchsorted(every, levels, right=True)
    rises = above - (len(both) - torch.searchsorted(both, levels, right=True))
    too_many = (rises > allowed).nonzero()
    if not len(too_many):  # lower levels are risen above less often, because the score hardly falls below them
        raise NetworkError("per_hour", f"{number:g} alarms an hour, and no threshold is risen above so often",
                           f"fewer than {int(rises.max()) / hours:.3g} an hour")  # fmt: skip
    first = int(too_many[-1]) + 1
    level, n = float(levels[first]), int(rises[first])
    part = float((scores > level).double().mean())
    return Calibration(level, scores.numel(), "counted", part, n / hours, step, None, trip)


def _sorted(scores: Tensor) -> Tensor:
    flat = scores.detach().double().flatten().sort().values
    if not len(flat) or not bool(flat.isfinite().all()):
        raise NetworkError("threshold", f"{len(flat)} scores, not all finite" if len(flat) else "no scores",
                           "finite scores of data without faults")  # fmt: skip
    return flat
