"""Encoders: angles as whole numbers."""

import math

import torch

from simdl import Block, Input, Noise, Output, Param, State, tick

TURN = 2.0 * math.pi


class IncrementalEncoder(Block):
    """Counts the quarter lines that pass: count = floor(4 lines theta / 2 pi), from 0 where the shaft is at the start.

    `a` and `b` are the two tracks, a quarter line apart: a leads b where theta grows. `speed` is the change of the
    count over the last period, so it comes in steps of 2 pi / (4 lines T).

    >>> from simdl import Diagram, Output, simulate
    >>> from simdl.blocks import Ramp
    >>> class Shaft(Diagram):
    ...     count, speed = Output(), Output()
    ...     def __init__(self):
    ...         self.ramp, self.encoder = Ramp(slope=6.5), IncrementalEncoder(lines=100, period="10 ms")
    ...         self.encoder.theta = self.ramp.y
    ...         self.count, self.speed = self.encoder.count, self.encoder.speed
    >>> run = simulate(Shaft(), 1)
    >>> run["count"].at(1).tolist(), [round(float(run["speed"].at(t)), 3) for t in (0.5, 0.51)]
    ([413], [6.283, 7.854])
    """

    theta = Input(unit="rad")
    count, speed = Output(dtype="int64"), Output(unit="rad/s")
    a, b = Output(dtype="bool"), Output(dtype="bool")
    lines: Param = Param(1000.0, low=1.0)
    zero, last, started = State(0.0), State(0.0), State(False, dtype="bool")

    @tick
    def read(self, theta, zero, last, started, lines, dt):
        place = torch.floor(4 * lines * theta / TURN)
        zero = torch.where(started, zero, place)
        last = torch.where(started, last, place)
        track = torch.remainder(place, 4.0)
        speed = (place - last) * TURN / (4 * lines) / dt
        a, b = track < 1.5, (track > 0.5) & (track < 2.5)
        return dict(count=(place - zero).long(), speed=speed, a=a, b=b, zero=zero, last=place,
                    started=torch.ones_like(started))  # fmt: skip


class AbsoluteEncoder(Block):
    """The angle within a turn in 2^bits parts: code = floor(2^bits frac((theta + error) / 2 pi)), angle = its middle.

    error = zero + eccentricity sin(theta) + noise w: a disc that is mounted off its centre reads one turn unevenly.

    >>> from simdl import simulate
    >>> run = simulate(AbsoluteEncoder(bits=4, period="1 ms"), 0, inputs={"theta": [0.1, 3.2, -0.1]})
    >>> run["code"].at(0).tolist()
    [0, 8, 15]
    """

    theta = Input(unit="rad")
    code, angle = Output(dtype="int64"), Output(unit="rad")
    bits: Param = Param(12, low=1.0, high=32.0)
    zero: Param = Param(0.0, unit="rad")
    eccentricity: Param = Param(0.0, unit="rad")
    noise: Param = Param(0.0, unit="rad", low=0.0)
    w = Noise()

    @tick
    def read(self, theta, w, bits, zero, eccentricity, noise):
        parts = torch.round(torch.exp2(bits))
        turns = (theta + zero + eccentricity * torch.sin(theta) + noise * w) / TURN
        code = torch.remainder(torch.floor(parts * turns), parts)
        return dict(code=code.long(), angle=(code + 0.5) * TURN / parts)
