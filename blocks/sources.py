"""Sources: signals that depend on time alone.

They are computed in float64 whatever the type of the run. A source with jumps or kinks declares them (`@edges`), so
that no integration step crosses one.
"""

import math

import torch

from simdl import Block, Param, edges, output


class Constant(Block):
    """y = value.

    >>> from simdl import simulate
    >>> float(simulate(Constant(value=2.5), 0)["y"].values[0, 0])
    2.5
    """

    value: Param = Param(1.0)

    @output
    def y(self, value):
        return value


class Time(Block):
    """y = t, the time in seconds.

    >>> from simdl import simulate
    >>> simulate(Time(), 1, every=0.5)["y"].values
    tensor([[0.0000, 0.5000, 1.0000]], dtype=torch.float64)
    """

    @output(unit="s")
    def y(self, t):
        return t


class Step(Block):
    """y = before for t < at, after from then on.

    >>> from simdl import simulate
    >>> simulate(Step(at=0.2), 0.4, every=0.1)["y"].values
    tensor([[0., 0., 1., 1., 1.]], dtype=torch.float64)
    """

    at: Param = Param(0.0, unit="s", dtype="float64")
    before: Param = Param(0.0, dtype="float64")
    after: Param = Param(1.0, dtype="float64")

    @output
    def y(self, t, at, before, after):
        return torch.where(t < whole(at), before, after)

    @edges
    def jump(self, t, at):
        return torch.where(t < whole(at), at, math.inf)


class Ramp(Block):
    """y = bias + slope max(0, t - at).

    >>> from simdl import simulate
    >>> simulate(Ramp(slope=2.0, at=1.0), 3, every=1)["y"].values
    tensor([[0., 0., 2., 4.]], dtype=torch.float64)
    """

    slope: Param = Param(1.0, unit="1/s", dtype="float64")
    at: Param = Param(0.0, unit="s", dtype="float64")
    bias: Param = Param(0.0, dtype="float64")

    @output
    def y(self, t, slope, at, bias):
        return bias + slope * (t - at).clamp(min=0.0)

    @edges
    def kink(self, t, at):
        return torch.where(t < whole(at), at, math.inf)


class Staircase(Block):
    """y = bias + height k from at + k width on, for k = 0 … steps; bias before, the top after.

    >>> from simdl import simulate
    >>> simulate(Staircase(width=0.2, height=5.0, steps=2), 0.6, every=0.1)["y"].values
    tensor([[ 0.,  0.,  5.,  5., 10., 10., 10.]], dtype=torch.float64)
    """

    width: Param = Param(1.0, unit="s", low=1e-6, dtype="float64")
    height: Param = Param(1.0, dtype="float64")
    steps: Param = Param(10, low=0, dtype="int64")
    at: Param = Param(0.0, unit="s", dtype="float64")
    bias: Param = Param(0.0, dtype="float64")

    @output
    def y(self, t, width, height, steps, at, bias):
        return bias + height * torch.minimum(index(t, width, at).clamp(min=0.0), steps)

    @edges
    def rise(self, t, width, steps, at):
        k = index(t, width, at).clamp(min=0.0) + 1.0
        return torch.where(k <= steps, whole(at + k * width), math.inf)


class Sine(Block):
    """y = bias + amplitude sin(2 pi frequency t + phase).

    >>> from simdl import simulate
    >>> round(float(simulate(Sine(frequency=0.25), 1, every=1)["y"].at(1)), 12)
    1.0
    """

    amplitude: Param = Param(1.0, dtype="float64")
    frequency: Param = Param(1.0, unit="Hz", dtype="float64")
    phase: Param = Param(0.0, unit="rad", dtype="float64")
    bias: Param = Param(0.0, dtype="float64")

    @output
    def y(self, t, amplitude, frequency, phase, bias):
        return bias + amplitude * torch.sin(2.0 * math.pi * frequency * t + phase)


class Pulse(Block):
    """y = high for a part `duty` of every cycle, which starts at `at` + k cycle, and low for the rest and before.

    >>> from simdl import simulate
    >>> simulate(Pulse(cycle=0.4, duty=0.25), 0.8, every=0.1)["y"].values
    tensor([[1., 0., 0., 0., 1., 0., 0., 0., 1.]], dtype=torch.float64)
    """

    cycle: Param = Param(1.0, unit="s", low=1e-6, dtype="float64")
    duty: Param = Param(0.5, low=0.0, high=1.0, dtype="float64")
    at: Param = Param(0.0, unit="s", low=0.0, dtype="float64")
    low: Param = Param(0.0, dtype="float64")
    high: Param = Param(1.0, dtype="float64")

    @output
    def y(self, t, cycle, duty, at, low, high):
        k = index(t, cycle, at)
        return torch.where((k >= 0) & (t < whole(at + (k + duty) * cycle)), high, low)

    @edges
    def jump(self, t, cycle, duty, at):
        k = index(t, cycle, at).clamp(min=-1.0)
        fall = whole(at + (k + duty) * cycle)
        return torch.where((k >= 0) & (t < fall), fall, whole(at + (k + 1.0) * cycle))


def whole(t: torch.Tensor) -> torch.Tensor:
    """The time of the instant at t: whole nanoseconds, divided as the engine divides them, so that `<` is exact.

    The divisor is a tensor: a GPU multiplies by the reciprocal of a number, which is not the same time."""
    return torch.round(t * 1e9) / torch.full_like(t, 1e9)


def index(t: torch.Tensor, cycle: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """The k for which start + k cycle <= t < start + (k + 1) cycle, exact at both ends."""
    k = torch.floor((t - start) / cycle)
    return k + (t >= whole(start + (k + 1.0) * cycle)).double() - (t < whole(start + k * cycle)).double()
