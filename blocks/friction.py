"""Friction: a force from a speed, and a mass that sticks."""

import torch

from simdl import Block, Input, Param, State, crossing, derivative, initial, output
from simdl.blocks.limits import Limit


class Friction(Block):
    """force = (coulomb + (static - coulomb) exp(-(v / stribeck)^2)) tanh(v / slip) + viscous v.

    Coulomb and viscous friction with Stribeck's higher force at low speed, smoothed over the speed `slip`: it creeps
    where a body should stick (see `StickSlip`). Armstrong-Helouvry et al., Automatica 30 (1994) 1083.

    >>> from simdl import simulate
    >>> round(float(simulate(Friction(coulomb=2.0, static=2.0, viscous=0.5), 0, inputs={"v": 4.0})["force"].at(0)), 12)
    4.0
    """

    v = Input(unit="m/s")
    coulomb: Param = Limit(1.0, below="static", unit="N", low=0.0)
    static: Param = Limit(1.2, above="coulomb", unit="N", low=0.0)
    viscous: Param = Param(0.1, unit="N s/m", low=0.0)
    stribeck: Param = Param(0.05, unit="m/s", low=1e-12)
    slip: Param = Param(1e-3, unit="m/s", low=1e-12)

    @output(unit="N")
    def force(self, v, coulomb, static, viscous, stribeck, slip):
        dry = coulomb + (static - coulomb) * torch.exp(-((v / stribeck) ** 2))
        return dry * torch.tanh(v / slip) + viscous * v


class StickSlip(Block):
    """A mass on a rough floor that really sticks: m v' = force - coulomb sign(v) - viscous v, x' = v.

    Where v falls to zero with |force| <= static it sticks, until |force| exceeds static; the times are located.
    `sliding` is -1, 0 or 1. It starts with the speed `start`, and sticks where that is 0; a force above static at t = 0
    moves it after a nanosecond. static is at least coulomb.

    >>> from simdl import RK4, simulate
    >>> sled = StickSlip(mass=2.0, coulomb=4.0, static=4.0, start=3.0)
    >>> run = simulate(sled, 3, inputs={"force": 0.0}, solver=RK4(max_step=0.1))
    >>> round(float(run["x"].at(3)), 9), float(run["v"].at(3))  # v^2 m / (2 coulomb), reached at 1.5 s
    (2.25, 0.0)
    """

    force = Input(unit="N")
    mass: Param = Param(1.0, unit="kg", low=1e-12)
    coulomb: Param = Limit(1.0, below="static", unit="N", low=0.0)
    static: Param = Limit(1.2, above="coulomb", unit="N", low=0.0)
    viscous: Param = Param(0.0, unit="N s/m", low=0.0)
    start: Param = Param(0.0, unit="m/s")
    x, v = State(0.0, unit="m"), State(0.0, unit="m/s")
    sliding = State(0.0)

    @initial
    def begin(self, start):
        return dict(v=start, sliding=torch.sign(start))

    @derivative(x, v)
    def motion(self, v, sliding, force, mass, coulomb, viscous):
        moves = sliding != 0
        return torch.where(moves, v, 0.0), torch.where(moves, (force - coulomb * sliding - viscous * v) / mass, 0.0)

    @crossing
    def stop(self, v, sliding):  # not positive while it sticks, so that breaking away cannot push it to zero
        return torch.where(sliding != 0, v * sliding, -1.0)

    @stop.reset
    def stick(self, v, force, static):
        return dict(v=torch.zeros_like(v), sliding=torch.where(torch.abs(force) > static, torch.sign(force), 0.0))

    @crossing
    def breakaway(self, t, sliding, force, static):  # positive at t = 0, so that it can fall
        return torch.where(sliding == 0, torch.maximum(static - torch.abs(force), 1e-9 - t), -1.0)

    @breakaway.reset
    def slide(self, force):
        return dict(sliding=torch.sign(force))
