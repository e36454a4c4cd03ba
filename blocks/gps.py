"""Satellite navigation."""

import torch

from simdl import Block, Input, Noise, Output, Param, State, tick
from simdl.blocks.noise import forgetting


class GPS(Block):
    """A receiver: position + c + noise w1 and velocity + velocity_noise w2, at its rate, and late with `latency=`.

    c' = a c + std sqrt(1 - a^2) w, a = exp(-T / tau): errors of orbits, clocks and air change slowly and are as large
    at the start as later (Gauss-Markov; Rankin, IEEE PLANS 1994). All in metres east, north and up. With probability
    `dropout` there is no fix: outputs keep their values and `valid` is false.

    Defaults: std of 2.1 m, which is the 2.5 m of circular error (50 %) of a u-blox NEO-M8 data sheet, and its 0.05 m/s
    of speed; the vertical ones, noise and tau are chosen.

    >>> from simdl import simulate
    >>> still = {"position": [0.0, 0.0, 0.0], "velocity": [0.0, 0.0, 0.0]}
    >>> run = simulate(GPS(rate=5, latency="100 ms"), 1, inputs=still, lanes=2000, seed=1)
    >>> 2.0 < float(run["fix"].at(1)[:, 0].std()) < 2.3
    True
    """

    position, velocity = Input(shape=(3,), unit="m"), Input(shape=(3,), unit="m/s")
    fix, speed = Output(initial=[0.0, 0.0, 0.0], unit="m"), Output(initial=[0.0, 0.0, 0.0], unit="m/s")
    valid = Output(dtype="bool")
    std: Param = Param([2.1, 2.1, 4.0], unit="m", low=0.0)
    tau: Param = Param(60.0, unit="s", low=1e-9)
    noise: Param = Param([0.3, 0.3, 0.6], unit="m", low=0.0)
    velocity_noise: Param = Param([0.05, 0.05, 0.1], unit="m/s", low=0.0)
    dropout: Param = Param(0.0, low=0.0, high=1.0)
    c, started = State([0.0, 0.0, 0.0], unit="m"), State(False, dtype="bool")
    last_fix, last_speed = State([0.0, 0.0, 0.0], unit="m"), State([0.0, 0.0, 0.0], unit="m/s")
    w, luck = Noise(shape=(3, 3)), Noise(distribution="uniform")

    @tick
    def receive(self, position, velocity, c, started, last_fix, last_speed, w, luck, dt, std, tau, noise,
                velocity_noise, dropout):  # fmt: skip
        c = forgetting(c, w[:, 0], std, tau.unsqueeze(1), dt.unsqueeze(1), started.unsqueeze(1))
        valid = luck >= dropout
        fix = torch.where(valid.unsqueeze(1), position + c + noise * w[:, 1], last_fix)
        speed = torch.where(valid.unsqueeze(1), velocity + velocity_noise * w[:, 2], last_speed)
        return dict(fix=fix, speed=speed, valid=valid, c=c, last_fix=fix, last_speed=speed,
                    started=torch.ones_like(started))  # fmt: skip
