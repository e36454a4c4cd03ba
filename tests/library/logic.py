"""One small diagram for each block of arithmetic, logic, tables, routing and friction, with what `simulate` needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from simdl import RK4, Diagram, Input, Output, Param, connect, stack
from simdl.blocks import (
    Backlash,
    Bus,
    Counter,
    DeadZone,
    Debounce,
    Dot,
    Edge,
    Equal,
    Extremum,
    Friction,
    Gain,
    Integrator,
    Latch,
    Lookup1D,
    Lookup2D,
    LookupND,
    MatrixGain,
    MultiportSwitch,
    Mux,
    Norm,
    Product,
    Pulse,
    Quantiser,
    Ramp,
    Relay,
    SampleClock,
    Saturation,
    Select,
    Sine,
    StateMachine,
    StickSlip,
    Sum,
    Switch,
    Within,
    during,
    on_entry,
    on_exit,
    transition,
)

Case = tuple[Diagram, dict[str, Any]]
PHASES = torch.tensor([0.0, 1.0, 2.5])


class Waves(Diagram):
    """A block with waves on its inputs: a, of other phase in each lane, b, both as a vector, and a condition."""

    y = Output()

    def __init__(self, block: Any, port: str = "y", **wires: str) -> None:
        self.a, self.b = Sine(frequency=1.3), Sine(frequency=0.7, phase=0.4, amplitude=2.0)
        self.gate, self.block, self.clock = Pulse(cycle=0.3, duty=0.5, at=0.1), block, SampleClock(period=0.1)
        signals = {
            "a": self.a.y, "b": self.b.y, "v": stack(self.a.y, self.b.y, 2.0 * self.a.y), "on": self.gate.y > 0.5,
            "off": self.a.y > 0.5, "k": self.clock.k, "list": [self.a.y, self.b.y, 1.0],
        }  # fmt: skip
        for name, signal in wires.items():
            if isinstance(signals[signal], list):
                setattr(block, name, signals[signal])
            else:
                connect(signals[signal], getattr(block, name))
        self.y = getattr(block, port)


def case(block: Any, port: str = "y", **wires: str) -> Case:
    model = Waves(block, port, **(wires or {"u": "a"}))
    return model, dict(until=1.0, every=0.05, solver=RK4(max_step=0.05), set={model.a.phase: PHASES})


class Pair(Bus):
    values = Input(shape=(3,))
    on = Input(dtype="bool")


class Packed(Diagram):
    y, on = Output(), Output()

    def __init__(self) -> None:
        self.a, self.gate, self.pair = Sine(frequency=1.3), Pulse(cycle=0.3), Pair()
        self.pair.values, self.pair.on = stack(self.a.y, -self.a.y, self.a.y * self.a.y), self.gate.y > 0.5
        read = Pair.read(self.pair.bus)
        self.y, self.on = read.values[2], read.on


class Supervisor(StateMachine):
    """Watches a signal; degrades when it is high for long, and recovers."""

    states = "normal", "watch", "degraded"
    u, level, entries = Input(), Output(), Output(dtype="int64", initial=0)
    limit: Param = Param(0.25, unit="s")
    late = transition("watch", "degraded", after=limit)

    @transition("normal", "watch")
    def high(self, u):  # type: ignore[no-untyped-def]
        return u > 0.3

    @transition("*", "normal")
    def low(self, u):  # type: ignore[no-untyped-def]
        return u < -0.2

    @on_entry("watch")
    def look(self, entries):  # type: ignore[no-untyped-def]
        return dict(entries=entries + 1, level=0.5)

    @during("watch")
    def grow(self, level, elapsed):  # type: ignore[no-untyped-def]
        return dict(level=level + elapsed)

    @on_exit("degraded")
    def clear(self):  # type: ignore[no-untyped-def]
        return dict(level=0.0)


class Dragged(Diagram):
    """A mass pulled over a rough floor by a spring."""

    x, v = Output(), Output()

    def __init__(self) -> None:
        self.hand, self.mass = Ramp(slope=1.0), StickSlip(coulomb=1.0, static=2.0)
        self.mass.force = 20.0 * (self.hand.y - self.mass.x)
        self.x, self.v = self.mass.x, self.mass.v


def dragged() -> Case:
    model = Dragged()
    lanes = {model.mass.static: torch.tensor([2.0, 1.5, 30.0])}
    return model, dict(until=1.0, every=0.05, solver=RK4(max_step=0.02), set=lanes)


class Rubbed(Diagram):
    """A speed that friction brakes."""

    v = Output()

    def __init__(self) -> None:
        self.speed, self.friction = Integrator(start=0.5), Friction(slip=0.05)
        self.friction.v = self.speed.y
        self.speed.u = -self.friction.force
        self.v = self.speed.y


AXIS = [-1.0, 0.0, 1.5]
CASES: dict[str, Callable[[], Case]] = {
    "Gain": lambda: case(Gain(k=2.0)),
    "Sum": lambda: case(Sum(), u="list"),
    "Product": lambda: case(Product(), u="list"),
    "MatrixGain": lambda: case(MatrixGain(K=[[1.0, 2.0, 3.0], [0.0, -1.0, 1.0]]), u="v"),
    "Dot": lambda: case(Dot(), a="v", b="v"),
    "Norm": lambda: case(Norm(), u="v"),
    "Extremum": lambda: case(Extremum(), "highest", u="v"),
    "Saturation": lambda: case(Saturation(low=-0.5, high=0.7)),
    "DeadZone": lambda: case(DeadZone(low=-0.2, high=0.3)),
    "Quantiser": lambda: case(Quantiser(step=0.3)),
    "Relay": lambda: case(Relay(on=0.4, off=-0.3)),
    "Backlash": lambda: case(Backlash(width=0.4, period=0.05)),
    "Friction": lambda: (Rubbed(), dict(until=0.5, every=0.05, solver=RK4(max_step=0.02))),
    "StickSlip": dragged,
    "Lookup1D": lambda: case(Lookup1D("extend", breaks=[-0.5, 0.1, 0.6], table=[1.0, 0.0, 2.0])),
    "Lookup2D": lambda: case(
        Lookup2D(x_breaks=AXIS, y_breaks=AXIS, table=[[0.0, 1.0, 2.0], [3.0, 5.0, 4.0], [1.0, 0.0, 9.0]]),
        "z", x="a", y="b",
    ),
    "LookupND": lambda: case(
        LookupND([AXIS, AXIS, [0.0, 2.0]], [[[0.0, 1.0], [2.0, 4.0], [1.0, 3.0]]] * 3, "extend"), u="list"
    ),
    "Switch": lambda: case(Switch(), when="on", a="a", b="b"),
    "MultiportSwitch": lambda: case(MultiportSwitch(), u="list", index="k"),
    "Mux": lambda: case(Mux(), u="list"),
    "Select": lambda: case(Select(), u="v", index="k"),
    "Equal": lambda: case(Equal(tolerance=0.5), a="a", b="b"),
    "Within": lambda: case(Within(low=-0.5, high=0.5)),
    "Edge": lambda: case(Edge("either", period=0.05), u="off"),
    "Latch": lambda: case(Latch(period=0.05), on="on", off="off"),
    "Counter": lambda: case(Counter(modulo=4, period=0.05), count="on", reset="off"),
    "Debounce": lambda: case(Debounce(wait=0.1, period=0.05), u="off"),
    "Bus": lambda: (Packed(), dict(until=1.0, every=0.05)),
    "StateMachine": lambda: case(Supervisor(period=0.05), "level"),
}  # fmt: skip
