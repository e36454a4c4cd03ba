"""The error of a network that runs on its own predictions, over the horizon, beside its error of one step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from simdl.clock import SECOND
from simdl.errors import NetworkError
from simdl.networks.state_space import NeuralStateSpace

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class FreeRun:
    """Errors of the states by name, (horizon,), RMS over starts in the state's unit.

    seconds: the horizons; error: running on its own predictions; one_step: told the true state before each step, over
    the whole record; spread: the standard deviation of the true state; stable: seconds, the longest horizon up to which
    every error stays within `tolerance` standard deviations (0 when not even the first does); starts: how many.
    """

    seconds: Tensor
    error: Mapping[str, Tensor]
    one_step: Mapping[str, float]
    spread: Mapping[str, float]
    tolerance: float
    stable: float
    starts: int

    @property
    def whole(self) -> bool:
        """Whether it stayed within the tolerance as long as it was run: the stability horizon may be longer."""
        return self.stable == float(self.seconds[-1])

    def plot(self, path: str | Path | None = None) -> Figure:
        """Errors over the horizon in standard deviations, the error of one step dotted; written to `path` if given."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.0, 4.0), layout="constrained")
        axes = figure.subplots()
        for number, (name, error) in enumerate(self.error.items()):
            color = f"C{number}"
            size = self.spread[name]
            axes.plot(self.seconds, error / size, color=color, label=f"{name}: free run")
            axes.axhline(self.one_step[name] / size, color=color, ls=":", label=f"{name}: one step")
        axes.axhline(self.tolerance, color="#555555", ls="--", lw=1, label=f"tolerance {self.tolerance:g}")
        if self.stable > 0:
            axes.axvline(self.stable, color="#555555", lw=1)
        axes.set(xlabel="horizon [s]", ylabel="RMS error / standard deviation", yscale="log")
        more = "at least " if self.whole else ""
        axes.set_title(f"stability horizon {more}{self.stable:.3g} s, {self.starts} starts", fontsize=10)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def __str__(self) -> str:
        rows = [f"{'state':12} {'one step':>11} {'free run':>11} {'worst':>11}   (RMS; after {self.seconds[-1]:.3g} s)"]
        for name, error in self.error.items():
            rows.append(f"{name:12} {self.one_step[name]:11.4g} {float(error[-1]):11.4g} {float(error.max()):11.4g}")
        more = "at least " if self.whole else ""
        return "\n".join([*rows, f"stability horizon {more}{self.stable:.4g} s (error within {self.tolerance:g} std)"])


def free_run(
    network: NeuralStateSpace, states: Mapping[str, Tensor], inputs: Mapping[str, Tensor], *,
    horizon: int | None = None, starts: int = 8, tolerance: float = 0.1,
) -> FreeRun:  # fmt: skip
    """Run a discrete neural state space from true states on its own predictions, and compare with the record.

    states, inputs: (lanes, samples) by name, sampled at the network's period. horizon: steps, to the end of the record
    from the last start when not given; starts: in each lane, evenly spread. tolerance: standard deviations.
    Raises NetworkError for a continuous network, for names and shapes that do not fit, and for values not finite in the
    record. A prediction that is not finite is an infinite error.

    >>> f = torch.nn.Linear(1, 1, bias=False).double()
    >>> _ = f.weight.data.fill_(-0.5)
    >>> halves = 0.5 ** torch.arange(10, dtype=torch.float64)
    >>> found = free_run(NeuralStateSpace(f, ("x",), period=1), {"x": halves[None]}, {}, starts=1)
    >>> float(found.error["x"].max()), found.whole
    (0.0, True)
    """
    where = f"free_run({network})"
    clock = network.clock
    if clock is None:
        raise NetworkError(where, "a continuous network", "one with a period", "NeuralStateSpace(..., period=...)")
    names, driven, _ = network._names
    given = {name: torch.as_tensor(value).to(torch.float64) for name, value in {**states, **inputs}.items()}
    for name in (*names, *driven):
        if name not in given:
            raise NetworkError(where, f"no data for {name!r}", "each state and input", names=given, wrong=name)
    shape = given[names[0]].shape
    for name, value in given.items():
        if value.ndim != 2 or value.shape != shape or not bool(torch.isfinite(value).all()):
            raise NetworkError(f"{where}.{name}", f"shape {tuple(value.shape)}, or NaN", f"finite {tuple(shape)}")
    lanes, samples = shape
    steps = horizon if horizon is not None else max(1, samples // 2)
    if not 1 <= steps < samples or starts < 1 or not tolerance > 0:
        raise NetworkError(where, f"horizon={horizon}, starts={starts}, tolerance={tolerance} for {samples} samples",
                           "a horizon below the samples, a start, a tolerance above zero")  # fmt: skip
    first = torch.unique(torch.linspace(0, samples - 1 - steps, starts).round().long())
    with torch.no_grad():
        flat = {name: value[:, :-1].reshape(-1) for name, value in given.items()}
        after = network.step(**{name: flat[name] for name in (*names, *driven)})
        one = {n: _rms(after[n] - given[n][:, 1:].reshape(-1)) for n in names}
        now = {name: given[name][:, first].reshape(-1) for name in names}
        errors: dict[str, list[float]] = {name: [] for name in names}
        for step in range(steps):
            now = network.step(**now, **{name: given[name][:, first + step].reshape(-1) for name in driven})
            for name in names:
                errors[name].append(_rms(now[name] - given[name][:, first + step + 1].reshape(-1)))
    error = {name: torch.tensor(values, dtype=torch.float64) for name, values in errors.items()}
    spread = {name: float(given[name].std()) or 1.0 for name in names}
    good = torch.stack([error[name] <= tolerance * spread[name] for name in names]).all(0)
    seconds = torch.arange(1, steps + 1, dtype=torch.float64) * (clock.numerator / (clock.denominator * SECOND))
    held = int(good.long().cumprod(0).sum())
    stable = float(seconds[held - 1]) if held else 0.0
    return FreeRun(seconds, error, one, spread, tolerance, stable, len(first) * lanes)


def _rms(error: Tensor) -> float:
    value = float(error.square().mean().sqrt())
    return value if math.isfinite(value) else math.inf
