"""One small diagram for each continuous block, with what `simulate` needs to run it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simdl import RK4, Diagram, Output, connect
from simdl.blocks import (
    FirstOrder,
    GatedIntegrator,
    Integrator,
    LeadLag,
    LimitedIntegrator,
    Notch,
    Pulse,
    Ramp,
    Rational,
    RationalD,
    ResettableIntegrator,
    SecondOrder,
    Sine,
    StateSpace,
    StateSpaceD,
    Step,
    TransferFunction,
    TransportDelay,
    VariableDelay,
    ZeroPoleGain,
)

Case = tuple[Diagram, dict[str, Any]]


class Driven(Diagram):
    """A block with its inputs driven by sources (blocks or numbers), and its output y."""

    y = Output()

    def __init__(self, block: Any, **sources: Any) -> None:
        self.sources = [source for source in sources.values() if not isinstance(source, float)]
        self.block = block
        for name, source in sources.items():
            connect(source if isinstance(source, float) else source.y, getattr(block, name))
        self.y = block.y


def case(block: Any, until: float = 1.0, **sources: Any) -> Case:
    return Driven(block, **(sources or {"u": Sine(frequency=1.3, bias=0.2)})), dict(
        until=until, every=0.05, solver=RK4(max_step=0.02)
    )


CASES: dict[str, Callable[[], Case]] = {
    "Integrator": lambda: case(Integrator(start=0.5)),
    "LimitedIntegrator": lambda: case(LimitedIntegrator(start=0.1, low=-0.02, high=0.25), 2.0),
    "ResettableIntegrator": lambda: case(
        ResettableIntegrator(), u=1.0, start=Ramp(slope=0.5), reset=Sine(frequency=2.1)
    ),
    "GatedIntegrator": lambda: case(GatedIntegrator(), u=1.0, start=Ramp(slope=0.5), hold=Pulse(cycle=0.4, at=0.1)),
    "FirstOrder": lambda: case(FirstOrder(k=2.0, tau=0.3, start=-1.0)),
    "SecondOrder": lambda: case(SecondOrder(k=2.0, omega=5.0, zeta=0.3, start=-1.0)),
    "StateSpace": lambda: case(StateSpace(A=[[0.0, 1.0], [-4.0, -0.5]], B=[0.0, 1.0], C=[1.0, 0.5], start=[1.0, 0.0])),
    "StateSpaceD": lambda: case(StateSpaceD(A=[[-1.0]], B=[1.0], C=[1.0], D=0.5, start=[0.2])),
    "TransferFunction": lambda: case(TransferFunction([1.0, 0.6, 2.0], [2.0, 3.0, 3.0])),
    "Rational": lambda: case(Rational(numerator=[0.0, 2.0], denominator=[1.0, 0.4, 4.0])),
    "RationalD": lambda: case(RationalD(numerator=[2.0, 1.0], denominator=[0.5, 1.0])),
    "ZeroPoleGain": lambda: case(ZeroPoleGain([-3.0], [-1 + 2j, -1 - 2j, -0.5], 4.0)),
    "LeadLag": lambda: case(LeadLag(lead=0.5, lag=0.1, k=2.0)),
    "Notch": lambda: case(Notch(omega=8.0, width=1.0, depth=0.1)),
    "TransportDelay": lambda: case(TransportDelay(delay=0.23, sample=0.02, start=0.4)),
    "VariableDelay": lambda: case(
        VariableDelay(longest=0.5, sample=0.02, start=0.4), u=Sine(frequency=1.3),
        delay=Step(at=0.6, before=0.23, after=0.31),
    ),
}  # fmt: skip
