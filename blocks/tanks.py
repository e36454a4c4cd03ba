"""Liquid in tanks."""

import torch

from simdl import Block, Input, Param, State, derivative, output


class TwoTanks(Block):
    """A pump fills the upper tank, which drains into the lower one, which drains away (Torricelli).

    A1 h1' = gain pump - a1 sqrt(2 g h1),  A2 h2' = a1 sqrt(2 g h1) - a2 sqrt(2 g h2); nothing flows from an empty tank.

    Areas and gain: tanks 4 and 2 of the quadruple-tank process, Johansson, IEEE Trans. Control Systems Technology 8
    (2000) 456, where their outlets differ: here both have that of his tanks 2 and 4.

    >>> from simdl import RK4, simulate
    >>> run = simulate(TwoTanks(), 2000, inputs={"pump": 3.0}, solver=RK4(max_step=1.0))
    >>> wanted = (3.33 * 3.0 / 0.057) ** 2 / (2 * 981)  # (inflow / a)^2 / 2 g, in both
    >>> [round(float(run[name].at(2000)) / wanted, 6) for name in ("h1", "h2")]
    [1.0, 1.0]
    """

    pump = Input(unit="V")
    gain: Param = Param(3.33, unit="cm^3/(V s)")
    A1: Param = Param(32.0, unit="cm^2", low=1e-12)
    A2: Param = Param(32.0, unit="cm^2", low=1e-12)
    a1: Param = Param(0.057, unit="cm^2", low=0.0)
    a2: Param = Param(0.057, unit="cm^2", low=0.0)
    gravity: Param = Param(981.0, unit="cm/s^2")
    h1, h2 = State(0.0, unit="cm"), State(0.0, unit="cm")

    @derivative(h1, h2)
    def flow(self, h1, h2, pump, gain, A1, A2, a1, a2, gravity):
        between = draining(h1, a1, gravity)
        return (gain * pump - between) / A1, (between - draining(h2, a2, gravity)) / A2

    @output(unit="cm^3/s")
    def outflow(self, h2, a2, gravity):
        return draining(h2, a2, gravity)


def draining(h, outlet, gravity):
    """outlet sqrt(2 g h), zero below h = 0. The inner `where` keeps the gradient of the root finite there."""
    full = h > 0
    return torch.where(full, outlet * torch.sqrt(2 * gravity * torch.where(full, h, 1.0)), 0.0)
