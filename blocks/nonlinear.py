"""Memoryless nonlinearities. Without a period they follow their input; with one they sample it."""

import torch

from simdl import Block, Input, Output, Param, State, crossing, initial, output, tick
from simdl.blocks.arithmetic import spread


class Saturation(Block):
    """y = u, limited to [low, high].

    >>> from simdl import simulate
    >>> float(simulate(Saturation(low=-1.0, high=1.0), 0, inputs={"u": 3.0})["y"].values[0, 0])
    1.0
    """

    u = Input()
    low: Param = Param(-1.0)
    high: Param = Param(1.0)

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
    low: Param = Param(-1.0)
    high: Param = Param(1.0)

    @output
    def y(self, u, low, high):
        return u - torch.clamp(u, spread(low, u), spread(high, u))


class Quantiser(Block):
    """y = step round(u / step), halves to the even multiple. Its derivative is zero.

    >>> from simdl import simulate
    >>> float(simulate(Quantiser(step=0.25), 0, inputs={"u": 0.6})["y"].values[0, 0])
    0.5
    """

    u = Input()
    step: Param = Param(1.0, low=1e-300)

    @output
    def y(self, u, step):
        step = spread(step, u)
        return step * torch.round(u / step)


class Relay(Block):
    """A switch with hysteresis that closes below: y = high once u has fallen to `on`, low once it has risen to `off`.

    A heater's thermostat: on < off. For one that closes above, as Simulink's Relay does, see `Hysteresis`.
    The switching times of a continuous u are located. It starts high where u <= on, and low elsewhere.

    >>> from simdl import RK4, simulate
    >>> relay = Relay(on=18.0, off=22.0)
    >>> float(simulate(relay, 0, inputs={"u": 15.0})["y"].values[0, 0])
    1.0
    """

    u = Input()
    closed = State(0.0)
    on: Param = Param(0.0)
    off: Param = Param(1.0)
    low: Param = Param(0.0)
    high: Param = Param(1.0)

    @initial
    def start(self, u, on):
        return dict(closed=torch.where(u <= on, 1.0, 0.0))

    @output
    def y(self, closed, low, high):
        return torch.where(closed > 0.5, high, low)

    @crossing
    def falls(self, u, on):
        return u - on

    @falls.reset
    def close(self, closed):
        return dict(closed=torch.ones_like(closed))

    @crossing
    def rises(self, u, off):
        return off - u

    @rises.reset
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
