"""What networks that say how sure they are return, as the outputs of a block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from simdl.declarations import Output
from simdl.errors import NetworkError


@dataclass(frozen=True)
class Spread:
    """Several guesses, (lanes, members, ...), as the outputs mean and std, and members if `shown`.

    std is that of the sample, with n - 1; with `gaussian` each member says mean and log-variance, and the variance is
    that of their mixture: the mean of the variances plus the variance (with n) of the means. Lakshminarayanan,
    Pritzel & Blundell, Simple and scalable predictive uncertainty estimation, NeurIPS 2017. factor: multiplies std.
    """

    gaussian: bool = False
    shown: bool = False
    factor: float = 1.0
    shape: tuple[int, ...] | None = None

    def outputs(self) -> dict[str, Output]:
        shown = {"members": Output(doc="what each member says")} if self.shown else {}
        return {
            "mean": Output(self.shape, doc="of the members"),
            "std": Output(self.shape, doc="how much they differ"),
            **shown,
        }

    def tensors(self, result: Any, lanes: int, where: str) -> tuple[Tensor, ...]:
        count = result.shape[1]
        guesses, noise = result, None
        if self.gaussian:
            guesses, logarithm = _halves(result, where)
            noise = torch.exp(logarithm).sum(1) / count
        mean = guesses.sum(1) / count
        squares = ((guesses - mean.unsqueeze(1)) ** 2).sum(1)
        variance = squares / max(1, count - 1) if noise is None else noise + squares / count
        found = (mean, self.factor * torch.sqrt(variance))
        return (*found, guesses.squeeze(-1)) if self.shown else found

    def __str__(self) -> str:
        return f"mean and standard deviation of members{_scaled(self.factor)}"


@dataclass(frozen=True)
class Normal:
    """Mean and log-variance, (lanes, 2 n) or a pair of (lanes, n), as the outputs mean and std. factor: of std."""

    factor: float = 1.0
    shape: tuple[int, ...] | None = None

    def outputs(self) -> dict[str, Output]:
        return {
            "mean": Output(self.shape),
            "std": Output(self.shape, doc="standard deviation of the noise around the mean"),
        }

    def tensors(self, result: Any, lanes: int, where: str) -> tuple[Tensor, ...]:
        mean, logarithm = result if isinstance(result, tuple | list) and len(result) == 2 else _halves(result, where)
        return mean, self.factor * torch.exp(0.5 * logarithm)

    def __str__(self) -> str:
        return f"mean and standard deviation{_scaled(self.factor)}"


@dataclass(frozen=True)
class Quantiles:
    """A value for each level, (lanes, levels) or (lanes, n, levels), sorted so that they never cross.

    Sorting does not make the pinball loss larger (Chernozhukov, Fernandez-Val & Galichon, Econometrica 78 (2010) 1093).
    factor: multiplies the distances from the middle level.
    """

    levels: tuple[float, ...]
    factor: float = 1.0
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        levels = tuple(float(level) for level in self.levels)
        object.__setattr__(self, "levels", levels)
        if len(levels) < 2 or not all(0 < level < 1 for level in levels) or sorted({*levels}) != list(levels):
            raise NetworkError("Quantile", f"levels={levels}", "two or more between 0 and 1, rising",
                               "levels=(0.05, 0.5, 0.95)")  # fmt: skip
        if self.factor != 1.0 and len(levels) % 2 == 0:
            raise NetworkError("Quantile", f"factor={self.factor:g} and levels={levels}", "an odd number of levels",
                               "the distances are taken from the middle one")  # fmt: skip

    def outputs(self) -> dict[str, Output]:
        return {
            level_name(level): Output(self.shape, doc=f"below it with probability {level:g}") for level in self.levels
        }

    def tensors(self, result: Any, lanes: int, where: str) -> tuple[Tensor, ...]:
        count = len(self.levels)
        if not isinstance(result, Tensor) or result.ndim < 2 or result.shape[-1] != count:
            found = str(tuple(result.shape)) if isinstance(result, Tensor) else type(result).__name__
            raise NetworkError(where, f"the module returned {found}", f"(lanes, {count}): a value for each level")
        values = list(result.unbind(-1))
        for turn in range(count):  # odd and even places in turn: a sorting network of plain minima and maxima
            for i in range(turn % 2, count - 1, 2):
                a, b = values[i], values[i + 1]
                values[i], values[i + 1] = torch.minimum(a, b), torch.maximum(a, b)
        if self.factor != 1.0:
            middle = values[count // 2]
            values = [middle + self.factor * (value - middle) for value in values]
        return tuple(values)

    def __str__(self) -> str:
        return f"quantiles {', '.join(f'{level:g}' for level in self.levels)}, sorted{_scaled(self.factor)}"


def shape_on(card: Any) -> tuple[int, ...] | None:
    """The shape that a card states of its first output."""
    return None if card is None else tuple(card.outputs[0].shape)


def level_name(level: float) -> str:
    """The port of a level: q05 for 0.05, q975 for 0.975."""
    digits = f"{level:.6f}".split(".")[1]
    return f"q{digits[:2]}{digits[2:].rstrip('0')}"


def checked_factor(factor: float | None, card: Any, where: str) -> float:
    """The factor given, else the one that `Calibration` left on the card as the metric "conformal", else 1."""
    found = factor if factor is not None else card.metrics.get("conformal", 1.0) if card is not None else 1.0
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < float("inf"):
        raise NetworkError(where, f"factor={found!r}", "a number above zero", "factor=calibration(...).factor")
    return float(found)


def _halves(result: Any, where: str) -> Sequence[Tensor]:
    if not isinstance(result, Tensor) or result.ndim < 2 or result.shape[-1] % 2:
        found = str(tuple(result.shape)) if isinstance(result, Tensor) else type(result).__name__
        raise NetworkError(where, f"the module returned {found}", "an even last axis: means, then log-variances")
    n = result.shape[-1] // 2
    return result[..., :n], result[..., n:]


def _scaled(factor: float) -> str:
    return "" if factor == 1.0 else f", scaled by {factor:.4g}"
