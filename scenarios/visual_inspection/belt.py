"""The conveyor: a belt whose speed follows its set-point, driven by a roller that is not quite round."""

import math

import torch

from simdl import Block, Output, Param, State, derivative, initial, output


class Belt(Block):
    """A belt, and how far it has travelled.

    dv/dt = (target - v) / lag;  dx/dt = v;  travel = x + e sin(2 pi x / turn), with e the eccentricity of the drive
    roller and `turn` its circumference, so that speed = v (1 + 2 pi e / turn cos(2 pi x / turn)). It runs at its
    set-point from the start.
    """

    target: Param = Param(0.5, unit="m/s", low=0.01, doc="the set-point of the speed")
    lag: Param = Param(0.5, unit="s", low=0.05)
    eccentricity: Param = Param(5e-4, unit="m", low=0.0)
    turn: Param = Param(0.3, unit="m", low=0.01)
    v = State(0.0, unit="m/s")
    x = State(0.0, unit="m")
    speed, travel = Output(unit="m/s"), Output(unit="m")

    @initial
    def begin(self, target):
        return dict(v=target)

    @derivative(v, x)
    def motion(self, v, target, lag):
        return (target - v) / lag, v

    @output(speed, travel)
    def run(self, v, x, eccentricity, turn):
        angle = 2 * math.pi * x / turn
        ripple = 2 * math.pi * eccentricity / turn
        return v * (1 + ripple * torch.cos(angle)), x + eccentricity * torch.sin(angle)
