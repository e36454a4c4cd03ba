"""What a scenario must say so that a network for one of its slots can be designed in the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from simdl.clock import Duration

if TYPE_CHECKING:
    from simdl.campaign import Campaign
    from simdl.data import Shards


@dataclass(frozen=True)
class Training:
    """How long and with which seed to train; `start` is a card folder to go on from."""

    seconds: float | None = None
    epochs: int | None = None
    seed: int = 0
    start: Path | None = None
    progress: bool | None = None


Train = Callable[["Sequence[Shards]", "Shards", Path, Training], Path]
"""(data sets to learn from, lanes to stop by, folder, training) -> the folder of the model card."""


@dataclass(frozen=True)
class Stratum:
    """A way to group lanes in tables: a drawn value cut at edges."""

    path: str
    edges: tuple[float, ...]
    unit: str = ""

    def labels(self) -> list[str]:
        unit = f" {self.unit}" if self.unit else ""
        lows = [f"below {self.edges[0]:g}{unit}"]
        mids = [f"{a:g} to {b:g}{unit}" for a, b in zip(self.edges, self.edges[1:], strict=False)]
        return [*lows, *mids, f"above {self.edges[-1]:g}{unit}"]


@dataclass(frozen=True)
class Design:
    """The recipe of `simdl codesign`.

    slot: where the network goes; driver: the baseline that closes the loop while the first data are made.
    inputs, targets, labels: name -> path of what the data set holds, every `every`.
    train: makes a network from data. baselines: other estimators for the slot, compared with it in one table.
    evaluate: figures of merit for each lane of a campaign, name -> (lanes,); the first is the headline.
    lanes, check, search, worst: lanes to learn from, to check on, to search for bad ones, and how many of those to add.
    """

    slot: str
    driver: str
    inputs: Mapping[str, str]
    targets: Mapping[str, str]
    every: Duration
    train: Train
    baselines: Mapping[str, Callable[[], Any]]
    evaluate: Callable[[Campaign], Mapping[str, Tensor]]
    labels: Mapping[str, str] = field(default_factory=dict)
    strata: Mapping[str, Stratum] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    figure: tuple[str, ...] = ()  # paths drawn for single lanes
    lanes: int = 2000
    check: int = 1000
    search: int = 500
    worst: int = 100
    seconds: float = 240.0
    epochs: int | None = None
    quick: Mapping[str, Any] = field(default_factory=dict)
