"""One small diagram for each block that estimates, with what `simulate` needs to run it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from simdl import Diagram, LinearModel, Output, stack
from simdl.blocks import (
    AttitudeFilter,
    ComplementaryFilter,
    ExtendedKalmanFilter,
    KalmanFilter,
    Observer,
    Pulse,
    SampledObserver,
    SensorChain,
    Sine,
    StateSpace,
    SteadyKalmanFilter,
    UnscentedKalmanFilter,
)

Case = tuple[Diagram, dict[str, Any]]
SPRING = LinearModel.of([[0.0, 1.0], [-4.0, -0.5]], [[0.0], [1.0]], [[1.0, 0.0]])
AT_TICKS = SPRING.sampled(0.05)
NOISES = dict(Q=[[1e-5, 0.0], [0.0, 1e-4]], R=[[1e-3]])
BEGIN = dict(start=[0.0, 0.0], doubt=[[1.0, 0.0], [0.0, 1.0]])
RUN = dict(until=1.0, every=0.05, seed=3)


def swing(x: Tensor, u: Tensor, stiffness: Tensor) -> Tensor:
    """A pendulum's step of 0.05 s."""
    angle, speed = x.unbind(1)
    speed = speed + 0.05 * (u - 0.5 * speed - stiffness * torch.sin(angle))
    return torch.stack([angle + 0.05 * speed, speed], 1)


def sight(x: Tensor, u: Tensor, stiffness: Tensor) -> Tensor:
    return torch.sin(x[:, :1])


class Watched(Diagram):
    """A mass on a spring, driven and measured with noise, and a block that estimates its state."""

    x, estimate = Output(), Output()

    def __init__(self, block: Any, estimate: str = "x") -> None:
        self.force = Sine(frequency=0.7)
        self.plant = StateSpace(A=SPRING.A, B=SPRING.B[:, 0], C=torch.eye(2), start=[1.0, 0.0])
        self.sensor, self.block = SensorChain(noise=0.03, period=0.05), block
        self.plant.u = self.force.y
        self.sensor.u = self.plant.y[0]
        self.block.y = self.sensor.y
        if isinstance(block, ExtendedKalmanFilter | UnscentedKalmanFilter):
            self.block.u = [self.force.y, 4.0]
        else:
            self.block.u = self.force.y
        if hasattr(type(block), "valid"):
            self.gaps = Pulse(cycle=0.4, duty=0.7)
            self.block.valid = self.gaps.y > 0.5
        self.x, self.estimate = self.plant.y, getattr(block, estimate)


class Blended(Diagram):
    """A turning body: its angle from a drifting gyroscope and a noisy inclinometer."""

    angle = Output()

    def __init__(self) -> None:
        self.truth = Sine(frequency=0.4)
        self.slow, self.gyroscope = SensorChain(noise=0.1, period=0.02), SensorChain(bias=0.05, period=0.02)
        self.block = ComplementaryFilter(tau=0.5, period=0.02)
        self.slow.u, self.gyroscope.u = self.truth.y, self.truth.y
        self.block.slow, self.block.speed = self.slow.y, self.gyroscope.y
        self.angle = self.block.y


class Tumbling(Diagram):
    q = Output()

    def __init__(self) -> None:
        self.wobble = Sine(frequency=0.4)
        self.block = AttitudeFilter(kp=2.0, ki=0.3, period=0.02)
        self.block.gyro = stack(self.wobble.y, 0.3 - self.wobble.y, 0.1 * self.wobble.y)
        self.block.accel = stack(self.wobble.y, 0.5 * self.wobble.y, 9.81 + 0 * self.wobble.y)
        self.q = self.block.q


CASES: dict[str, Callable[[], Case]] = {
    "Observer": lambda: (
        Watched(Observer(A=SPRING.A, B=SPRING.B[:, 0], C=[1.0, 0.0], L=[4.0, 2.0], start=[0.0, 0.0])), RUN
    ),
    "SampledObserver": lambda: (
        Watched(
            SampledObserver(A=AT_TICKS.A, B=AT_TICKS.B[:, 0], C=[1.0, 0.0], L=[0.3, 0.4], M=[0.3, 0.4],
                            start=[0.0, 0.0], period=0.05),
            "estimate",
        ),
        RUN,
    ),
    "SteadyKalmanFilter": lambda: (Watched(SteadyKalmanFilter(AT_TICKS, **NOISES), "estimate"), RUN),
    "KalmanFilter": lambda: (
        Watched(KalmanFilter(A=AT_TICKS.A, B=AT_TICKS.B, C=AT_TICKS.C, **NOISES, **BEGIN, period=0.05)), RUN
    ),
    "ExtendedKalmanFilter": lambda: (Watched(ExtendedKalmanFilter(swing, sight, **NOISES, **BEGIN, period=0.05)), RUN),
    "UnscentedKalmanFilter": lambda: (
        Watched(UnscentedKalmanFilter(swing, sight, **NOISES, **BEGIN, alpha=0.5, kappa=1.0, period=0.05)), RUN
    ),
    "ComplementaryFilter": lambda: (Blended(), RUN),
    "AttitudeFilter": lambda: (Tumbling(), RUN),
}  # fmt: skip
