"""Sampled blocks that remember the last samples."""

import torch

from simdl import Block, Input, Output, Param, State, initial, output, tick
from simdl.blocks.arithmetic import spread
from simdl.blocks.limits import whole_number


class Delay(Block):
    """y = u `length` ticks ago, `start` until there is one: z^-length, without feedthrough. Breaks loops.

    A vector needs a vector as start.

    >>> from simdl import simulate
    >>> u = ([0, 1, 2, 3], [4.0, 5.0, 6.0, 7.0])
    >>> simulate(Delay(2, period=1), 4, inputs={"u": u})["y"].values
    tensor([[0., 0., 4., 5., 6.]], dtype=torch.float64)
    """

    u = Input()
    start: Param = Param(0.0)
    line = State(0.0)

    def __init__(self, length: int = 1, **settings):
        super().__init__(**settings)
        self.length = whole_number("Delay.length", length)

    @initial
    def fill(self, start):
        return dict(line=start.unsqueeze(1).expand(-1, self.length, *start.shape[1:]))

    @output
    def y(self, line):
        return line[:, 0]

    @tick
    def shift(self, line, u):
        return dict(line=torch.cat([line[:, 1:], u.unsqueeze(1)], dim=1))


class Window(Block):
    """y = the last `length` samples of u, this one included and last; `start` where there is none yet.

    (length,) for a scalar u, (length, m) for a vector, with a vector as start. `ready` is true once it is full.

    >>> from simdl import simulate
    >>> run = simulate(Window(3, period=1), 2, inputs={"u": ([0, 1, 2], [4.0, 5.0, 6.0])})
    >>> run["y"].values[0, 1:].tolist(), run["ready"].values.tolist()
    ([[0.0, 4.0, 5.0], [4.0, 5.0, 6.0]], [[False, False, True]])
    """

    u = Input()
    y, ready = Output(), Output(dtype="bool", initial=False)
    start: Param = Param(0.0)
    past, count = State(0.0), State(0, dtype="int64")

    def __init__(self, length: int = 10, **settings):
        super().__init__(**settings)
        self.length = whole_number("Window.length", length)

    @initial
    def fill(self, start):
        return dict(past=start.unsqueeze(1).expand(-1, self.length, *start.shape[1:]))

    @tick
    def shift(self, past, count, u):
        past = torch.cat([past[:, 1:], u.unsqueeze(1)], dim=1)
        count = (count + 1).clamp(max=self.length)
        return dict(y=past, past=past, count=count, ready=count >= self.length)


class Decimate(Block):
    """y = the mean of `factor` samples of u, new at every factor-th tick and held: a rate lower by that factor.

    The mean (a cascaded integrator-comb filter of order one) has zeros at the multiples of the new rate. It shows
    `start` before. To take every factor-th sample as it is, use `Hold` with the longer period.

    >>> from simdl import simulate
    >>> u = ([0, 1, 2, 3], [4.0, 6.0, 1.0, 3.0])
    >>> simulate(Decimate(2, period=1), 4, inputs={"u": u})["y"].values
    tensor([[0., 5., 5., 2., 2.]], dtype=torch.float64)
    """

    u = Input()
    y = Output()
    start: Param = Param(0.0)
    total, shown, count = State(0.0), State(0.0), State(0, dtype="int64")

    def __init__(self, factor: int = 2, **settings):
        super().__init__(**settings)
        self.factor = whole_number("Decimate.factor", factor)

    @initial
    def begin(self, start):
        return dict(shown=start, total=torch.zeros_like(start))

    @tick
    def add(self, u, total, shown, count):
        total, full = total + u, count + 1 >= self.factor
        shown = torch.where(spread(full, total), total / self.factor, shown)
        total = torch.where(spread(full, total), 0.0, total)
        return dict(y=shown, shown=shown, total=total, count=torch.where(full, 0, count + 1))
