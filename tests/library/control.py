"""One small diagram for each controller and for `Solve`, with what `simulate` needs to run it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from simdl import RK4, Diagram, LinearModel, Output
from simdl.blocks import (
    LQG,
    LQR,
    MPC,
    PI,
    PID,
    ContinuousPID,
    FirstOrder,
    Integrator,
    Pulse,
    Ramp,
    SensorChain,
    Sine,
    Solve,
    StateSpace,
    Step,
)

Case = tuple[Diagram, dict[str, Any]]
MASS = LinearModel.of([[0.0, 1.0], [0.0, 0.0]], [[0.0], [1.0]])
SEEN = LinearModel.of(MASS.A, MASS.B, [[1.0, 0.0]])
WEIGHTS = dict(Q=[[4.0, 0.0], [0.0, 1.0]], R=[[0.5]])
RUN = dict(until=1.0, every=0.05, solver=RK4(max_step=0.05))


class Regulated(Diagram):
    """A controller of one variable and a lag, with a setpoint that jumps and, where there is one, a manual mode."""

    y, u = Output(), Output()

    def __init__(self, block: Any) -> None:
        self.setpoint, self.plant, self.block = Step(at=0.2, after=1.5), FirstOrder(tau=0.5), block
        if isinstance(block, PI):
            self.block.e = self.setpoint.y - self.plant.y
        else:
            self.block.r, self.block.y = self.setpoint.y, self.plant.y
        if isinstance(block, PID):
            self.mode, self.hand = Pulse(cycle=0.6, duty=0.3, at=0.5), Ramp(slope=0.5)
            self.block.manual, self.block.hand = self.mode.y > 0.5, self.hand.y
        self.plant.u = self.block.u
        self.y, self.u = self.plant.y, self.block.u


class Held(Diagram):
    """A linear plant, and a controller of its state, or of what a noisy sensor sees of it."""

    x, u = Output(), Output()

    def __init__(self, block: Any) -> None:
        self.plant, self.block = StateSpace(A=MASS.A, B=MASS.B[:, 0], C=torch.eye(2), start=[1.0, -0.5]), block
        if isinstance(block, LQG):
            self.sensor = SensorChain(noise=0.01, period=0.05)
            self.sensor.u = self.plant.y[0]
            self.block.y = self.sensor.y
        else:
            self.block.x = self.plant.y
        self.block.r = torch.tensor([0.5, 0.0], dtype=torch.float64)
        self.plant.u = self.block.u
        self.x, self.u = self.plant.y, self.block.u


class Crank(Solve):
    """The angles of a connecting rod and the place of its piston for a crank angle: two equations."""

    turns = 6

    def residual(self, z, angle, rod):  # type: ignore[no-untyped-def]
        tilt, place = z.unbind(1)
        return torch.stack(
            [torch.sin(angle) - rod * torch.sin(tilt), torch.cos(angle) + rod * torch.cos(tilt) - place], 1
        )


class Diode(Solve):
    """The voltage of a diode behind a resistor."""

    turns = 20

    def residual(self, z, u):  # type: ignore[no-untyped-def]
        return z + 0.1 * torch.expm1(z) - u


class Implicit(Diagram):
    z, area, error = Output(), Output(), Output()

    def __init__(self) -> None:
        self.angle, self.source, self.rod = Ramp(slope=3.0), Sine(frequency=1.5), Crank(guess=[0.0, 4.0])
        self.diode, self.sum = Diode(guess=0.0), Integrator()
        self.rod.u, self.diode.u = [self.angle.y, 3.0], [self.source.y]
        self.sum.u = self.diode.z
        self.z, self.area, self.error = self.rod.z, self.sum.y, self.rod.error


CASES: dict[str, Callable[[], Case]] = {
    "PI": lambda: (Regulated(PI(kp=2.0, ki=3.0, low=-1.0, high=2.0, period=0.02)), RUN),
    "PID": lambda: (
        Regulated(PID(kp=2.0, ki=3.0, kd=0.1, b=0.8, c=0.2, tf=0.05, tt=0.3, low=-1.0, high=2.0, period=0.02)), RUN
    ),
    "ContinuousPID": lambda: (
        Regulated(ContinuousPID(kp=2.0, ki=3.0, kd=0.1, b=0.8, c=0.2, tf=0.05, tt=0.3, low=-1.0, high=2.0)), RUN
    ),
    "LQR": lambda: (Held(LQR(MASS.sampled(0.05), **WEIGHTS, low=-1.0, high=1.0)), RUN),
    "LQG": lambda: (
        Held(LQG(SEEN.sampled(0.05), **WEIGHTS, W=[[1e-5, 0.0], [0.0, 1e-3]], V=[[1e-4]], low=-1.0, high=1.0)),
        dict(**RUN, seed=2),
    ),
    "MPC": lambda: (Held(MPC(MASS.sampled(0.05), **WEIGHTS, horizon=12, iterations=8, low=-0.6, high=0.8)), RUN),
    "Solve": lambda: (Implicit(), RUN),
}  # fmt: skip
