"""Whether a network is as sure as it should be: coverage, reliability, PIT, and conformal scaling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.errors import NetworkError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOMINAL = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"


@dataclass(frozen=True)
class Coverage:
    """How many of `count` values an interval of probability `nominal` held; low, high: exact binomial interval."""

    nominal: float
    held: int
    count: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        return self.held / self.count

    @property
    def agrees(self) -> bool:
        """Whether the nominal probability is inside the confidence interval."""
        return self.low <= self.nominal <= self.high

    def __str__(self) -> str:
        return f"{self.nominal:6.1%}  {self.rate:6.1%}  [{self.low:.1%}, {self.high:.1%}]"


@dataclass(frozen=True)
class Calibration:
    """Coverage of central intervals against nominal; the PIT (probability integral transform) in equal or given bins.

    pit: fractions in the bins between `edges`; of calibrated forecasts each is the width of its bin. factor: the split
    conformal one: intervals of probability `level` scaled by it hold at least that fraction of values that are
    exchangeable with these. Vovk, Gammerman & Shafer, Algorithmic learning in a random world (2005); Romano, Patterson
    & Candes, Conformalized quantile regression, NeurIPS 2019. Samples of one run are not exchangeable with each other:
    take few per run, or one.
    """

    coverage: tuple[Coverage, ...]
    edges: tuple[float, ...]
    pit: tuple[float, ...]
    level: float
    factor: float
    count: int
    confidence: float

    @property
    def error(self) -> float:
        """The mean absolute difference of observed and nominal coverage."""
        return sum(abs(one.rate - one.nominal) for one in self.coverage) / len(self.coverage)

    def on_card(self, card: Any) -> Any:
        """The card with the factor as the metric "conformal", which the heads take from it."""
        return card.model_copy(update={"metrics": {**card.metrics, "conformal": self.factor}})

    def plot(self, path: str | Path | None = None) -> Figure:
        """Reliability with confidence intervals, and the PIT histogram; written to `path` if given."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.0, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        nominal, rate = [one.nominal for one in self.coverage], [one.rate for one in self.coverage]
        errors = ([one.rate - one.low for one in self.coverage], [one.high - one.rate for one in self.coverage])
        left.plot([0, 1], [0, 1], color=GREY, ls="--", label="as sure as it should be")
        left.errorbar(nominal, rate, yerr=errors, color=BLUE, marker="o", ms=3.5, capsize=2,
                      label=f"observed, {self.confidence:.0%} interval")  # fmt: skip
        left.set(xlabel="nominal probability of the interval", ylabel="fraction of values inside", xlim=(0, 1),
                 ylim=(0, 1.02), title=f"{self.count} values, conformal factor {self.factor:.3g}")  # fmt: skip
        left.legend(frameon=False, loc="upper left")
        widths = [b - a for a, b in zip(self.edges, self.edges[1:])]
        heights = [part / width for part, width in zip(self.pit, widths)]
        right.bar(self.edges[:-1], heights, widths, align="edge", color=BLUE, edgecolor="white")
        right.axhline(1.0, color=ORANGE, ls="--", label="uniform: calibrated")
        right.set(xlabel="where the value falls in its forecast (PIT)", ylabel="density", xlim=(0, 1),
                  title="humped: too wide, U: too narrow")  # fmt: skip
        right.set_ylim(0, max(1.6, 1.25 * max(heights)))
        right.legend(frameon=False, loc="upper right")
        for axes in (left, right):
            axes.title.set_fontsize(10)
            axes.grid(alpha=0.25)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def __str__(self) -> str:
        rows = "\n".join(str(one) for one in self.coverage)
        head = f"nominal  inside  {self.confidence:.0%} interval"
        return f"{head}\n{rows}\nconformal factor at {self.level:g}: {self.factor:.4g}"


def calibration(
    target: Any, mean: Any = None, std: Any = None, *, quantiles: Mapping[float, Any] | None = None,
    level: float = 0.9, bins: int = 10, confidence: float = 0.95,
) -> Calibration:  # fmt: skip
    """How often values fall where a network says they do.

    target, mean, std: arrays or tensors of one shape: normal forecasts; or quantiles: level -> array, such as
    {0.05: q05, 0.5: q50, 0.95: q95}. level: of the conformal factor (for quantiles it must be that of a pair of
    levels). confidence: of the binomial intervals.
    Raises NetworkError for shapes that differ, NaN, and a std that is not above zero.

    >>> x = torch.randn(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> found = calibration(x, torch.zeros(4000), torch.full((4000,), 0.5))  # half as wide as it should be
    >>> 1.9 < found.factor < 2.1
    True
    """
    y = _flat(target, "target")
    if not 0 < level < 1 or not 0 < confidence < 1:
        raise NetworkError("calibration", f"level={level}, confidence={confidence}", "between 0 and 1")
    if (quantiles is None) == (mean is None or std is None):
        raise NetworkError("calibration", "neither or both of mean, std and quantiles", "mean and std, or quantiles=")
    if quantiles is None:
        m, s = _flat(mean, "mean", y), _flat(std, "std", y)
        if not bool((s > 0).all()):
            raise NetworkError("calibration: std", f"{float(s.min()):g}", "above zero")
        z = (y - m) / s
        held = {p: z.abs() <= _normal_quantile(0.5 + p / 2) for p in NOMINAL}
        pit = 0.5 * (1 + torch.erf(z / math.sqrt(2)))
        edges = [i / bins for i in range(bins + 1)]
        places = torch.bucketize(pit, torch.tensor(edges[1:-1], dtype=torch.float64))
        factor = _conformal(z.abs() / _normal_quantile(0.5 + level / 2), level)
    else:
        held, edges, places, factor = _of_quantiles(y, quantiles, level)
    counts = torch.bincount(places, minlength=len(edges) - 1)
    coverage = tuple(_coverage(p, int(inside.sum()), len(y), confidence) for p, inside in held.items())
    shares = tuple((counts / len(y)).tolist())
    return Calibration(coverage, tuple(edges), shares, level, factor, len(y), confidence)


def _of_quantiles(
    y: Tensor, quantiles: Mapping[float, Any], level: float
) -> tuple[dict[float, Tensor], list[float], Tensor, float]:  # fmt: skip
    given = {float(p): _flat(quantiles[p], f"quantile {p:g}", y) for p in sorted(quantiles)}
    levels, values = list(given), list(given.values())
    pairs = [(a, b) for a, b in zip(levels, reversed(levels)) if a < b and math.isclose(a + b, 1.0, abs_tol=1e-9)]
    held = {round(b - a, 9): (given[a] <= y) & (y <= given[b]) for a, b in reversed(pairs)}
    pair = next(((a, b) for a, b in pairs if math.isclose(b - a, level, abs_tol=1e-9)), None)
    if pair is None or 0.5 not in given:
        raise NetworkError("calibration: quantiles", f"levels {', '.join(f'{p:g}' for p in levels)}, level={level:g}",
                           "the median, and a pair of levels with level= between them",
                           "level=0.9 wants 0.05, 0.5 and 0.95")  # fmt: skip
    middle = given[0.5]
    low, high = middle - given[pair[0]], given[pair[1]] - middle
    above = torch.where(y >= middle, (y - middle) / high.clamp(min=1e-300), (middle - y) / low.clamp(min=1e-300))
    places = torch.stack([y > value for value in values]).sum(0)
    return held, [0.0, *levels, 1.0], places, _conformal(above, level)


def _conformal(scores: Tensor, level: float) -> float:
    """The ceil((n + 1) level)-th smallest score."""
    place = math.ceil((len(scores) + 1) * level - 1e-9)
    if place > len(scores):
        raise NetworkError("calibration", f"{len(scores)} values for level={level:g}",
                           f"at least {math.ceil(level / (1 - level) - 1e-9)}")  # fmt: skip
    return float(scores.sort().values[place - 1])


def _coverage(nominal: float, held: int, count: int, confidence: float) -> Coverage:
    """With the interval of Clopper & Pearson, Biometrika 26 (1934) 404."""
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = 0.0 if held == 0 else float(beta.ppf(tail, held, count - held + 1))
    high = 1.0 if held == count else float(beta.ppf(1 - tail, held + 1, count - held))
    return Coverage(nominal, held, count, low, high)


def _normal_quantile(p: float) -> float:
    return float(torch.special.ndtri(torch.tensor(p, dtype=torch.float64)))


def _flat(values: Any, what: str, like: Tensor | None = None) -> Tensor:
    flat = torch.as_tensor(values).detach().to(torch.float64).reshape(-1)
    if like is not None and len(flat) != len(like):
        raise NetworkError(f"calibration: {what}", f"{len(flat)} values", f"{len(like)}, as the target")
    if not len(flat) or not bool(torch.isfinite(flat).all()):
        raise NetworkError(f"calibration: {what}", "no values" if not len(flat) else "NaN or inf", "finite values",
                           "leave out lanes that failed: run.failed")  # fmt: skip
    return flat
