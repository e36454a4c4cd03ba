"""Transport delay of a continuous signal."""

import math

import torch

from simdl import Block, Diagram, Input, ModelError, Output, Param, State, edges, initial, output, tick
from simdl.blocks.sources import whole
from simdl.clock import Duration, nanoseconds, seconds


class TransportDelay(Diagram):
    """y(t) = u(t - delay), and `start` for t < delay: a ring of samples of u, read by cubic interpolation.

    `sample` is the ring's own period: the error is of the order of its fourth power where u is smooth, and a jump of u
    is smeared over three samples. The delay is at least four samples; where lanes differ, give the `longest`. A lane
    whose delay leaves the ring fails. There is no feedthrough, so it breaks loops.

    >>> from simdl import simulate
    >>> delay = TransportDelay(delay=0.5, sample=0.1)
    >>> y = simulate(delay, 2, inputs={"u": ([0.0, 1.0], [1.0, 3.0])}, every=0.25)["y"]
    >>> float(y.at(0.25)), round(float(y.at(1.0)), 12), round(float(y.at(2.0)), 12)
    (0.0, 1.0, 3.0)
    """

    u, y = Input(), Output()
    delay: Param = Param(1.0, unit="s", dtype="float64")
    start: Param = Param(0.0)

    def __init__(
        self, delay: float = 1.0, sample: Duration = "10 ms", start: float = 0.0, longest: float | None = None
    ) -> None:
        period = seconds(nanoseconds(sample))
        if delay / period < 4 - 1e-9:
            raise ModelError("TransportDelay", f"delay={delay:g} with sample={sample!r}", "at least four samples")
        length = math.ceil((delay if longest is None else longest) / period) + 4
        self.samples = Samples(length, start=self.start, spacing=period, period=sample)
        self.samples.u = self.u
        self.read = Interpolation(delay=self.delay, start=self.start, spacing=period)
        self.read.ring, self.read.newest = self.samples.ring, self.samples.newest
        self.y = self.read.y


class Samples(Block):
    """The last samples of u, newest last, and the time of the newest; seen from outside as before the last tick."""

    u = Input()
    start: Param = Param(0.0)
    spacing: Param = Param(1.0, unit="s", dtype="float64")
    ring, newest = State(), State(0.0, unit="s", dtype="float64")

    def __init__(self, length: int, **settings):
        super().__init__(**settings)
        self.length = length

    @initial
    def fill(self, start, spacing):
        return dict(ring=start.unsqueeze(1).expand(-1, self.length), newest=-spacing)

    @tick
    def push(self, u, ring, t):
        return dict(ring=torch.cat([ring[:, 1:], u.unsqueeze(1)], dim=1), newest=t)


class Interpolation(Block):
    """The cubic through the four samples around t - delay (Lagrange); at the start, through the first four."""

    ring, newest = Input(), Input(unit="s", dtype="float64")
    delay: Param = Param(1.0, unit="s", dtype="float64")
    spacing: Param = Param(1.0, unit="s", dtype="float64")
    start: Param = Param(0.0)

    @output
    def y(self, t, ring, newest, delay, spacing, start):
        last = ring.shape[1] - 1
        place = last + (t - delay - newest) / spacing  # 0 at the oldest sample
        zero = last - torch.round(newest / spacing)  # where the sample at t = 0 lies
        base = torch.maximum(torch.floor(place) - 1.0, zero).clamp(0.0, last - 3.0)
        x = (place - base).to(ring.dtype)
        a, b, c, d = ring.gather(1, base.long().unsqueeze(1) + torch.arange(4, device=ring.device)).unbind(1)
        cubic = (x * (x - 1) * (x - 2) * d - (x - 1) * (x - 2) * (x - 3) * a) / 6
        cubic = cubic + (x * (x - 2) * (x - 3) * b - x * (x - 1) * (x - 3) * c) / 2
        cubic = torch.where((place < 0.0) | (place > last + 1e-6), math.nan, cubic)
        return torch.where(t < whole(delay), start, cubic)

    @edges
    def arrival(self, t, delay):
        return torch.where(t < whole(delay), delay, math.inf)
