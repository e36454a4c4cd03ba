"""One small diagram for each source, with what `simulate` needs to run it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from simdl import RK4, Diagram, Output
from simdl.blocks import (
    APRBS,
    PRBS,
    AllanNoise,
    BandLimitedNoise,
    Chirp,
    ColouredNoise,
    Constant,
    GaussMarkov,
    Integrator,
    Multisine,
    Playback,
    Pulse,
    Ramp,
    RandomWalk,
    Sine,
    Staircase,
    Step,
    Time,
    WhiteNoise,
)

Case = tuple[Diagram, dict[str, Any]]


class Integrated(Diagram):
    """A source and its integral, which sees every edge."""

    y, area = Output(), Output()

    def __init__(self, source: Any) -> None:
        self.source, self.integrator = source, Integrator()
        self.integrator.u = source.y
        self.y, self.area = source.y, self.integrator.y


def case(source: Any, until: float = 1.0, **lanes: Any) -> Case:
    """lanes: parameters of the source with a value for each of three lanes."""
    model = Integrated(source)
    values = {getattr(source, name): torch.tensor(value) for name, value in lanes.items()}
    return model, dict(until=until, every=0.05, solver=RK4(max_step=0.05), **({"set": values} if values else {}))


RECORD = [0.0, 0.2, 0.3, 0.7], [1.0, 3.0, -1.0, 1.0]

CASES: dict[str, Callable[[], Case]] = {
    "Constant": lambda: case(Constant(), value=[1.0, 2.0, -3.0]),
    "Time": lambda: case(Time()),
    "Step": lambda: case(Step(), at=[0.3, 0.123456789, 2.0]),
    "Ramp": lambda: case(Ramp(slope=2.0), at=[0.0, 1 / 3, 0.7]),
    "Staircase": lambda: case(Staircase(width=0.13, steps=4), at=[0.0, 0.1, 0.35]),
    "Sine": lambda: case(Sine(frequency=1.7, bias=0.1), phase=[0.0, 1.0, math.pi]),
    "Pulse": lambda: case(Pulse(cycle=0.3, duty=0.4), at=[0.0, 0.05, 0.2]),
    "Chirp": lambda: case(Chirp("logarithmic", f1=2.0, duration=0.8, bias=2.0), f0=[0.5, 1.0, 2.0]),
    "Multisine": lambda: case(Multisine([1, 3, 4, 7]), rms=[0.5, 1.0, 2.0]),
    "PRBS": lambda: case(PRBS(7, period=0.1), start=[0, 17, 40]),
    "APRBS": lambda: case(APRBS(4, high=3.0, period=0.1)),
    "Playback": lambda: case(Playback(*RECORD, kind="cubic", beyond="periodic"), 1.5),
    "WhiteNoise": lambda: case(WhiteNoise(period=0.1), std=[0.5, 1.0, 2.0]),
    "BandLimitedNoise": lambda: case(BandLimitedNoise(power=0.1, period=0.05)),
    "RandomWalk": lambda: case(RandomWalk(walk=0.3, period=0.1)),
    "GaussMarkov": lambda: case(GaussMarkov(std=0.3, period=0.1), tau=[0.1, 1.0, 5.0]),
    "ColouredNoise": lambda: case(ColouredNoise(1.0, length=16, period=0.1)),
    "AllanNoise": lambda: case(AllanNoise(tau=0.5, period=0.1), instability=[0.0, 0.1, 1.0]),
}
