"""What varies between lanes: distributions drawn per lane and name, so that a lane alone draws what it drew before."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from simdl import random
from simdl.declarations import as_tensor
from simdl.errors import RunError


@dataclass(frozen=True)
class Uniform:
    """Uniform between low and high."""

    low: float
    high: float
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise RunError("Uniform", f"low={self.low:g}, high={self.high:g}", "low at most high")

    def draw(self, key: int, ids: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * _uniform(key, ids, self.shape)


@dataclass(frozen=True)
class LogUniform:
    """Uniform in the logarithm, between two positive limits."""

    low: float
    high: float
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise RunError("LogUniform", f"low={self.low:g}, high={self.high:g}", "0 < low, low at most high")

    def draw(self, key: int, ids: Tensor) -> Tensor:
        return torch.exp(math.log(self.low) + math.log(self.high / self.low) * _uniform(key, ids, self.shape))


@dataclass(frozen=True)
class Normal:
    """Normal with mean and standard deviation; values beyond low or high are put back to that limit."""

    mean: float = 0.0
    std: float = 1.0
    low: float = -math.inf
    high: float = math.inf
    shape: tuple[int, ...] = ()

    def draw(self, key: int, ids: Tensor) -> Tensor:
        values = random.normal(key, ids, 0, math.prod(self.shape))
        return (self.mean + self.std * values.reshape(len(ids), *self.shape)).clamp(self.low, self.high)


@dataclass(frozen=True)
class Choice:
    """One of several values, with weights or equally likely."""

    values: Sequence[float]
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if not self.values or (self.weights is not None and len(self.weights) != len(self.values)):
            raise RunError("Choice", f"{len(self.values)} values", "at least one, and a weight for each")

    def draw(self, key: int, ids: Tensor) -> Tensor:
        weights = torch.as_tensor(self.weights or [1.0] * len(self.values), dtype=torch.float64)
        edges = torch.cumsum(weights, 0) / weights.sum()
        index = torch.searchsorted(edges, _uniform(key, ids, ()), right=True).clamp(max=len(self.values) - 1)
        return as_tensor(self.values)[index]


@dataclass(frozen=True)
class Sampled:
    """Whatever a function makes of the lane numbers: `function(ids, key)` returns (lanes, *shape).

    For an external input it may return (times, values) with values (lanes, times): a profile for each lane.
    The function must give a lane the same values whatever other lanes are drawn with it.
    """

    function: Callable[[Tensor, int], Any]

    def draw(self, key: int, ids: Tensor) -> Any:
        return self.function(ids, key)


@dataclass(frozen=True)
class Grid:
    """Values in turn: lane i takes values[i // repeat % len(values)]; with different `repeat`s, a full factorial."""

    values: Sequence[float]
    repeat: int = 1

    def draw(self, key: int, ids: Tensor) -> Tensor:
        return as_tensor(self.values)[ids // self.repeat % len(self.values)]


Distribution = Uniform | LogUniform | Normal | Choice | Sampled | Grid


def draw(space: Mapping[str, Any], seed: int, ids: Tensor) -> dict[str, Any]:
    """The values of each name for these lanes, by name. Raises RunError for what is not a distribution."""
    drawn: dict[str, Any] = {}
    for name, distribution in space.items():
        if not hasattr(distribution, "draw"):
            raise RunError(f"space[{name!r}]", f"{distribution!r}", "a distribution such as Uniform(0.7, 1.4)",
                           "put fixed values into set=", names=("Uniform", "LogUniform", "Normal", "Choice", "Grid",
                                                                "Sampled"))  # fmt: skip
        drawn[name] = distribution.draw(random.stream_key(seed, f"space:{name}"), ids)
    return drawn


def _uniform(key: int, ids: Tensor, shape: tuple[int, ...]) -> Tensor:
    return random.uniform(key, ids, 0, math.prod(shape)).reshape(len(ids), *shape)
