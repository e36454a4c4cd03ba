"""Sampled blocks: each has a period (or rate), ticks on it, and holds its outputs in between."""

import math

import torch

from simdl import Block, Input, Output, Param, State, initial, output, tick
from simdl.blocks.arithmetic import spread
from simdl.blocks.limits import Limit, whole_number
from simdl.blocks.vector import apply, combined


class Hold(Block):
    """y = u at the ticks, held in between: a zero-order hold.

    >>> from simdl import simulate
    >>> from simdl.blocks import Ramp
    >>> from simdl import Diagram
    >>> class Stairs(Diagram):
    ...     y = Output()
    ...     def __init__(self):
    ...         self.ramp, self.hold = Ramp(), Hold(period=1)
    ...         self.hold.u = self.ramp.y
    ...         self.y = self.hold.y
    >>> simulate(Stairs(), 2, every=0.5)["y"].values
    tensor([[0., 0., 1., 1., 2.]], dtype=torch.float64)
    """

    u = Input()

    @output
    def y(self, u):
        return u


class UnitDelay(Block):
    """y = u at the tick before; `start` at the first tick. Breaks loops. A vector needs a vector as start.

    >>> from simdl import simulate
    >>> simulate(UnitDelay(period=1, start=-1.0), 2, inputs={"u": 5.0})["y"].values
    tensor([[-1.,  5.,  5.]], dtype=torch.float64)
    """

    u = Input()
    start: Param = Param(0.0)
    x = State(0.0)

    @initial
    def begin(self, start):
        return dict(x=start)

    @output
    def y(self, x):
        return x

    @tick
    def store(self, u):
        return dict(x=u)


class DiscreteIntegrator(Block):
    """x = x + k T u after every tick, limited to [low, high], y = x: forward Euler, without feedthrough.

    A vector needs a vector as start.

    >>> from simdl import simulate
    >>> simulate(DiscreteIntegrator(period=0.5), 1.5, inputs={"u": 2.0})["y"].values
    tensor([[0., 1., 2., 3.]], dtype=torch.float64)
    """

    u = Input()
    k: Param = Param(1.0)
    start: Param = Param(0.0)
    low: Param = Limit(-math.inf, below="high")
    high: Param = Limit(math.inf, above="low")
    x = State(0.0)

    @initial
    def begin(self, start):
        return dict(x=start)

    @output
    def y(self, x):
        return x

    @tick
    def add(self, x, u, k, low, high, dt):
        return dict(x=torch.clamp(x + spread(k * dt, u) * u, spread(low, x), spread(high, x)))


class RateLimiter(Block):
    """y follows u, rising by at most `rise` and falling by at most `fall` a second. It starts at `start`.

    A vector needs a vector as start.

    >>> from simdl import simulate
    >>> simulate(RateLimiter(period=1, rise=2.0), 3, inputs={"u": 5.0})["y"].values
    tensor([[2., 4., 5., 5.]], dtype=torch.float64)
    """

    u = Input()
    y = Output()
    rise: Param = Param(1.0, unit="1/s", low=0.0)
    fall: Param = Param(1.0, unit="1/s", low=0.0)
    start: Param = Param(0.0)
    last = State(0.0)

    @initial
    def begin(self, start):
        return dict(last=start)

    @tick
    def follow(self, u, last, rise, fall, dt):
        y = last + torch.clamp(u - last, spread(-fall * dt, u), spread(rise * dt, u))
        return dict(y=y, last=y)


class MovingAverage(Block):
    """y = the mean of the last `length` samples of u, this one included; of those there are, at the start.

    >>> from simdl import simulate
    >>> from simdl.blocks import Ramp
    >>> mean = MovingAverage(2, period=1)
    >>> simulate(mean, 3, inputs={"u": ([0, 1, 2, 3], [4.0, 6.0, 0.0, 0.0])})["y"].values
    tensor([[4., 5., 3., 0.]], dtype=torch.float64)
    """

    u = Input()
    y = Output()
    window, count = State(0.0), State(0.0)

    def __init__(self, length: int = 10, **settings):
        super().__init__(**settings)
        self.length = whole_number("MovingAverage.length", length)

    @initial
    def empty(self):
        return dict(window=torch.zeros(1, self.length, dtype=torch.float64))

    @tick
    def shift(self, u, window, count):
        window = torch.cat([window[:, 1:], u.unsqueeze(1)], dim=1)
        count = (count + 1.0).clamp(max=float(self.length))
        return dict(y=window.sum(dim=1) / count, window=window, count=count)


class SampleClock(Block):
    """k = 0, 1, 2, … the number of the tick, and time = its time in seconds, both held.

    >>> from simdl import simulate
    >>> simulate(SampleClock(rate=4), 0.5)["time"].values
    tensor([[0.0000, 0.2500, 0.5000]], dtype=torch.float64)
    """

    k, time = Output(dtype="int64"), Output(unit="s")
    following = State(0, dtype="int64")

    @tick
    def count(self, following, t):
        return dict(k=following, time=t, following=following + 1)


class RateTransition(UnitDelay):
    """y = u one slow period ago, from a slow block to a fast one: deterministic, whatever the order of evaluation.

    Give it the slow block's period. It needs this only where a fast task may not wait for the slow one; else a slower
    source is simply held, at its own tick already new. From fast to slow, `Hold` with the slow period samples.

    >>> from simdl import Diagram, Output, simulate
    >>> class Rates(Diagram):
    ...     y = Output()
    ...     def __init__(self):
    ...         self.slow, self.fast = SampleClock(period=0.2), Hold(period=0.1)
    ...         self.transition = RateTransition(period=0.2)
    ...         self.transition.u = self.slow.time
    ...         self.fast.u = self.transition.y
    ...         self.y = self.fast.y
    >>> simulate(Rates(), 0.5, record="y")["y"].values
    tensor([[0.0000, 0.0000, 0.0000, 0.0000, 0.2000, 0.2000]], dtype=torch.float64)
    """


class DiscreteDerivative(Block):
    """y = k (u - u at the tick before) / T; 0 at the first tick.

    >>> from simdl import simulate
    >>> u = ([0.0, 0.5, 1.0], [1.0, 2.0, 1.0])
    >>> simulate(DiscreteDerivative(period=0.5), 1.5, inputs={"u": u})["y"].values
    tensor([[ 0.,  2., -2.,  0.]], dtype=torch.float64)
    """

    u = Input()
    y = Output()
    k: Param = Param(1.0)
    last, started = State(0.0), State(False, dtype="bool")

    @tick
    def compare(self, u, last, started, k, dt):
        return dict(y=torch.where(started, k * (u - last) / dt, 0.0), last=u, started=torch.ones_like(started))


class DiscreteStateSpace(Block):
    """x = A x + B u after every tick, y = C x: a sampled linear system without feedthrough, x = start at first.

    Shapes as for `StateSpace`: A (n, n), start (n,), B (n,) or (n, m), C (n,) or (p, n).

    >>> from simdl import simulate
    >>> delay = DiscreteStateSpace(A=[[0.0, 0.0], [1.0, 0.0]], B=[1.0, 0.0], C=[0.0, 1.0], start=[0.0, 0.0], period=1)
    >>> simulate(delay, 3, inputs={"u": 5.0})["y"].values
    tensor([[0., 0., 5., 5.]], dtype=torch.float64)
    """

    u = Input()
    A: Param = Param()
    B: Param = Param()
    C: Param = Param()
    start: Param = Param()
    x = State()

    @initial
    def begin(self, start):
        return dict(x=start)

    @output
    def y(self, x, C):
        return apply(C, x)

    @tick
    def step(self, x, u, A, B):
        return dict(x=combined((A, x), (B, u)))


class DiscreteStateSpaceD(DiscreteStateSpace):
    """x = A x + B u after every tick, y = C x + D u: a sampled linear system whose output depends on u at once.

    >>> from simdl import simulate
    >>> lead = DiscreteStateSpaceD(A=[[0.5]], B=[1.0], C=[1.0], D=2.0, start=[0.0], period=1)
    >>> simulate(lead, 2, inputs={"u": 1.0})["y"].values
    tensor([[2.0000, 3.0000, 3.5000]], dtype=torch.float64)
    """

    D: Param = Param(0.0)

    @output
    def y(self, x, u, C, D):
        return combined((C, x), (D, u))
