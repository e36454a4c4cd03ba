"""A first-order plant and a sampled controller, for the tests of computers."""

from __future__ import annotations

from simdl import Block, Diagram, Input, Output, Param, State, derivative, initial
from simdl.blocks import PI


class Lag(Block):
    """y' = u - y, from `start`."""

    u, y = Input(), State(0.0)
    start: Param = Param(0.0)

    @initial
    def begin(self, start):
        return {"y": start}

    @derivative(y)
    def motion(self, y, u):
        return u - y


class Loop(Diagram):
    """A PI controller every 20 ms that brings y to `wanted`."""

    y, u = Output(), Output()

    def __init__(self, latency: str | None = None, start: float = 0.0, wanted: float = 1.0) -> None:
        self.plant = Lag(start=start)
        self.pi = PI(period="20 ms", latency=latency)
        self.pi.e = wanted - self.plant.y
        self.plant.u = self.pi.u
        self.y, self.u = self.plant.y, self.pi.u
