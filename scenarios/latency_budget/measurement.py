"""What one computer makes of the loop: response times, lanes that hold, the cost of control, and margins."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from simdl.computer import Computer, Schedule
from simdl.scenarios.latency_budget.machine import machine
from simdl.scenarios.latency_budget.scenario import SCENARIO, UP

Numbers = NDArray[np.float64]
QUARTILES = (0.25, 0.5, 0.75)
SHARD = 64  # lanes at once


class Watched(Computer):
    """A computer that computes the schedule of a lane once, and keeps the response times, s, of its control task."""

    def __init__(self, computer: Computer) -> None:
        super().__init__(computer.tasks)
        self.responses: dict[tuple[int, int], Numbers] = {}
        self._known: dict[tuple[Any, int, int], Schedule] = {}

    def schedule(self, until: Any, seed: int = 0, lane: int = 0) -> Schedule:
        if (until, seed, lane) not in self._known:
            found = super().schedule(until, seed, lane)
            self.responses[seed, lane] = found.responses("control") / 1e9
            # What a diagram asks for is small, and the jobs of thousands of lanes are not.
            self._known[until, seed, lane] = replace(found, jobs=(), cores={}, accelerators={})
        return self._known[until, seed, lane]


@dataclass(frozen=True)
class Point:
    """A computer of `machine(**given)` over lanes that differ in the pole, where it starts, and the noise.

    responses: median and 99th percentile, s, of the control task's response times. held: lanes in which every
    requirement holds; fallen: in which the pole went past the horizontal. cost: quartiles over the lanes of J on this
    computer to J without any delay in the same lane; margins: of each requirement, quartiles over the lanes. A lane
    that has fallen counts as infinitely dear, and as infinitely far from what is required: where it got to means
    nothing.
    """

    series: str
    given: Mapping[str, Any]
    lanes: int
    seed: int
    responses: tuple[float, float]
    held: int
    fallen: int
    cost: tuple[float, float, float]
    margins: Mapping[str, tuple[float, float, float]]

    @property
    def rate(self) -> tuple[float, float, float]:
        """The part of the lanes that hold, and its Clopper-Pearson bounds of 95 %."""
        bounds = binomtest(self.held, self.lanes).proportion_ci(0.95, "exact")
        return self.held / self.lanes, float(bounds.low), float(bounds.high)


def costs(computer: Computer | None, lanes: int, seed: int) -> tuple[Any, Numbers]:
    """A campaign on a computer, or without one, and the cost J of each of its lanes."""
    campaign = replace(SCENARIO, computer=computer).campaign(
        lanes, seed=seed, record=("cost",), keep=True, shard=SHARD, progress=False
    )
    if not campaign.complete:
        raise KeyboardInterrupt
    trace = campaign["cost"]
    return campaign, trace.values[:, -1].numpy() / float(trace.t[-1])


def measure(series: str, given: Mapping[str, Any], lanes: int, seed: int, undelayed: Numbers) -> Point:
    """A campaign on a computer. undelayed: J of the same lanes without one."""
    computer = Watched(machine(**given))
    campaign, cost = costs(computer, lanes, seed)
    margins = {name: margin.numpy() for name, margin in campaign.margins.items()}
    stands = margins["stays up"] > UP - math.pi / 2  # false for a lane that failed
    responses = np.concatenate([times for (of, _), times in computer.responses.items() if of == seed])
    mid, late = np.percentile(responses, (50, 99))
    return Point(
        series, dict(given), lanes, seed, (float(mid), float(late)),
        held=int(np.sum(np.min(list(margins.values()), axis=0) > 0)),
        fallen=int(np.sum(~stands)),
        cost=_quartiles(np.where(stands, cost / undelayed, math.inf)),
        margins={name: _quartiles(np.where(stands, margin, -math.inf)) for name, margin in margins.items()},
    )  # fmt: skip


def _quartiles(values: Numbers) -> tuple[float, float, float]:
    """Each the value of a lane, so that infinite ones are no trouble."""
    low, median, high = np.quantile(values, QUARTILES, method="inverted_cdf")
    return float(low), float(median), float(high)
