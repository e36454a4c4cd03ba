"""Subsystems: one for each element, variants, and the three conditions, with what `simulate` needs to run them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from simdl import RK4, Diagram, Input, Output, enabled, resettable, stack, triggered
from simdl.blocks import (
    Counter,
    DiscreteIntegrator,
    FirstOrder,
    ForEach,
    Gain,
    Integrator,
    Pulse,
    Sine,
    UnitDelay,
    Variant,
)

Case = tuple[Diagram, dict[str, Any]]


class Each(Diagram):
    y = Output()

    def __init__(self) -> None:
        self.wave, self.lags = Sine(frequency=1.3), ForEach(FirstOrder, 3, tau=0.2)
        self.lags.u = stack(self.wave.y, 1.0 - self.wave.y, 2.0 * self.wave.y)
        self.y = self.lags.y


class Actuator(Variant):
    u, y = Input(), Output()
    choices = {"ideal": Gain, "slow": lambda: FirstOrder(tau=0.3)}


class Chosen(Diagram):
    y = Output()

    def __init__(self, choice: str) -> None:
        self.wave, self.actuator = Sine(frequency=1.3), Actuator(choice=choice)
        self.actuator.u = self.wave.y
        self.y = self.actuator.y


class Conditional(Diagram):
    """A condition of other phase in each lane, around a sampled and a continuous block."""

    a, b = Output(), Output()

    def __init__(self, kind: str) -> None:
        self.wave, self.pulse = Sine(frequency=1.3), Pulse(cycle=0.4, duty=0.5)
        on = self.pulse.y > 0.5
        if kind == "triggered":
            self.sampled, self.other = triggered(Counter(), when=on, edge="either", period=0.05), UnitDelay(period=0.1)
            self.sampled.count, self.other.u = True, self.wave.y
        else:
            condition = enabled if kind == "enabled" else resettable
            self.sampled = condition(DiscreteIntegrator(period=0.1), when=on, period=0.05)
            self.other = condition(Integrator(), when=on, period=0.05)
            self.sampled.u, self.other.u = self.wave.y, self.wave.y
        self.a, self.b = self.sampled.y, self.other.x if kind == "triggered" else self.other.y


def conditional(kind: str) -> Case:
    model = Conditional(kind)
    starts = {model.pulse.at: torch.tensor([0.0, 0.15, 0.3], dtype=torch.float64)}
    return model, dict(until=1.0, every=0.05, solver=RK4(max_step=0.05), set=starts)


CASES: dict[str, Callable[[], Case]] = {
    "ForEach": lambda: (Each(), dict(until=1.0, every=0.05, solver=RK4(max_step=0.05))),
    "Variant": lambda: (Chosen("slow"), dict(until=1.0, every=0.05, solver=RK4(max_step=0.05))),
    "enabled": lambda: conditional("enabled"),
    "resettable": lambda: conditional("resettable"),
    "triggered": lambda: conditional("triggered"),
}
