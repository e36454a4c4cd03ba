"""Memoryless nonlinearities. Without a period they follow their input; with one they sample it."""

import torch

from simdl import Block, Input, Output, Param, State, crossing, initial, output, tick
from simdl.blocks.arithmetic import spread
from simdl.blocks.limits import Limit


class Saturation(Block):
    """y = u, limited to [low, high].

    >>> from simdl import simulate
    >>> float(simulate(Saturation(low=-1.0, high=1.0), 0, inputs={"u": 3.0})["y"].values[0, 0])
    1.0
    """

    u = Input()
    low: Param = Limit(-1.0, below="high")
    high: Param = Limit(1.0, above="low")

    @output
    def y(self, u, low, high):
        return torch.clamp(u, spread(low, u), spread(high, u))


class DeadZone(Block):
    """y = 0 for u in [low, high], u - high above, u - low below.

    >>> from simdl import simulate
    >>> float(simulate(DeadZone(low=-0.5, high=0.5), 0, inputs={"u": 3.0})["y"].values[0, 0])
    2.5
    """

    u = Input()
    low: Param = Limit(-1.0, below="high")
    high: Param = Limit(1.0, above="low")

    @output
    def y(self, u, low, high):
        return u - torch.clamp(u, spread(low, u), spread(high, u))


class Quantiser(Block):
    """y = step round(u / step), halves to the even multiple; y = u where step is 0. Its derivative is zero.

    >>> from simdl import simulate
    >>> float(simulate(Quantiser(step=0.25), 0, inputs={"u": 0.6})["y"].values[0, 0])
    0.5
    """

    u = Input()
    step: Param = Param(1.0, low=0.0)

    @output
    def y(self, u, step):
        return quantised(u, spread(step, u))


class Relay(Block):
    """A switch with hysteresis: y = high from where u has risen to `on`, until it has fallen to `off`; then low.

    `closed` is the same as a condition. The times are located in a continuous u; a level is an event even where it
    changes nothing. It starts closed where u >= on. off is not above on; for one that closes below, such as a heater,
    give `low` the higher value.

    >>> from simdl import RK4, simulate
    >>> fan = Relay(on=22.0, off=18.0, high=40.0)
    >>> [float(simulate(fan, 0, inputs={"u": u})["y"].at(0)) for u in (20.0, 22.0)]
    [0.0, 40.0]
    """

    u = Input()
    on: Param = Limit(1.0, above="off")
    off: Param = Limit(0.0, below="on")
    low: Param = Param(0.0)
    high: Param = Param(1.0)
    closed = State(False, dtype="bool")

    @initial
    def start(self, u, on):
        return dict(closed=u >= on)

    @output
    def y(self, closed, low, high):
        return torch.where(closed, high, low)

    @crossing
    def rises(self, u, on):
        return on - u

    @rises.reset
    def close(self, closed):
        return dict(closed=torch.ones_like(closed))

    @crossing
    def falls(self, u, off):
        return u - off

    @falls.reset
    def open(self, closed):
        return dict(closed=torch.zeros_like(closed))


class Backlash(Block):
    """The play of a gear, `width` wide: y stands still until u has crossed it, then follows at half the width.

    y = last y, kept within [u - width / 2, u + width / 2], as Simulink's Backlash; at first, as near to `start` as u
    allows. Sampled: exact where u turns at most once between two ticks.

    >>> from simdl import simulate
    >>> u = ([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 1.5, 1.0, 0.0])
    >>> simulate(Backlash(width=1.0, period=1), 4, inputs={"u": u})["y"].values
    tensor([[0.0000, 1.5000, 1.5000, 1.5000, 0.5000]], dtype=torch.float64)
    """

    u = Input()
    y = Output()
    width: Param = Param(1.0, low=0.0)
    start: Param = Param(0.0)
    last = State(0.0)

    @initial
    def begin(self, start):
        return dict(last=start)

    @tick
    def follow(self, u, last, width):
        half = spread(width, u) / 2.0
        y = torch.minimum(torch.maximum(last, u - half), u + half)
        return dict(y=y, last=y)


def quantised(value, step):
    """value in whole steps, halves to the even one; as it is where step is 0."""
    grid = torch.where(step > 0, step, 1.0)
    return torch.where(step > 0, grid * torch.round(value / grid), value)
