"""One small diagram for each sampled block and filter, with what `simulate` needs to run it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from simdl import Diagram, Output
from simdl.blocks import (
    FIR,
    IIR,
    Biquads,
    Decimate,
    Delay,
    DiscreteDerivative,
    DiscreteIntegrator,
    DiscreteStateSpace,
    DiscreteStateSpaceD,
    DiscreteTransferFunction,
    Hold,
    MovingAverage,
    RateLimiter,
    RateTransition,
    SampleClock,
    Sine,
    UnitDelay,
    Window,
)

Case = tuple[Diagram, dict[str, Any]]


class Sampled(Diagram):
    """A wave, of other phase in each lane, into a sampled block."""

    y = Output()

    def __init__(self, block: Any) -> None:
        self.wave, self.block = Sine(frequency=0.9, bias=0.1), block
        block.u = self.wave.y
        self.y = block.y


class Ticking(Diagram):
    y, k = Output(), Output()

    def __init__(self) -> None:
        self.clock = SampleClock(rate=30)
        self.y, self.k = self.clock.time, self.clock.k


def case(block: Any) -> Case:
    model = Sampled(block)
    return model, dict(until=1.0, set={model.wave.phase: torch.tensor([0.0, 1.0, 2.5])})


MATRICES: dict[str, Any] = dict(A=[[0.5, 0.1], [-0.2, 0.8]], B=[1.0, 0.5], C=[1.0, -1.0], start=[0.3, 0.0])
CASES: dict[str, Callable[[], Case]] = {
    "Hold": lambda: case(Hold(period=0.1)),
    "UnitDelay": lambda: case(UnitDelay(period=0.1, start=2.0)),
    "RateTransition": lambda: case(RateTransition(period=0.2)),
    "DiscreteIntegrator": lambda: case(DiscreteIntegrator(period=0.1, high=0.2)),
    "DiscreteDerivative": lambda: case(DiscreteDerivative(period=0.1)),
    "DiscreteStateSpace": lambda: case(DiscreteStateSpace(**MATRICES, period=0.1)),
    "DiscreteStateSpaceD": lambda: case(DiscreteStateSpaceD(**MATRICES, D=0.5, period=0.1)),
    "RateLimiter": lambda: case(RateLimiter(rise=2.0, fall=1.0, period=0.1)),
    "MovingAverage": lambda: case(MovingAverage(3, period=0.1)),
    "SampleClock": lambda: (Ticking(), dict(until=1.0)),
    "Delay": lambda: case(Delay(3, period=0.1, start=1.0)),
    "Window": lambda: case(Window(4, period=0.1)),
    "Decimate": lambda: case(Decimate(3, period=0.1)),
    "FIR": lambda: case(FIR(b=[0.5, 0.3, 0.2], period=0.1)),
    "IIR": lambda: case(IIR(b=[0.5, 0.3, 0.2], a=[1.0, -0.5, 0.2], period=0.1)),
    "DiscreteTransferFunction": lambda: case(DiscreteTransferFunction([1.0, 0.5], [1.0, -0.5, 0.2], period=0.1)),
    "Biquads": lambda: case(Biquads.butterworth(4, 2.0, 0.05)),
}
