"""Sampled controllers with limits, and integrators that do not wind up at them."""

import math

import torch

from simdl import Block, Input, Output, Param, State, tick


class PI(Block):
    """i = i + ki T e, u = kp e + i, limited to [low, high].

    Anti-windup by clamping: while u is at a limit, the integral does not move further towards it.

    >>> from simdl import simulate
    >>> simulate(PI(kp=1.0, ki=2.0, period=0.5), 1, inputs={"e": 1.0})["u"].values
    tensor([[2., 3., 4.]], dtype=torch.float64)
    """

    e, u = Input(), Output()
    kp: Param = Param(1.0)
    ki: Param = Param(1.0, unit="1/s")
    low: Param = Param(-math.inf)
    high: Param = Param(math.inf)
    i = State(0.0)

    @tick
    def step(self, e, i, kp, ki, low, high, dt):
        grown = i + ki * dt * e
        wanted = kp * e + grown
        outward = ((wanted > high) & (ki * e > 0)) | ((wanted < low) & (ki * e < 0))
        i = torch.where(outward, i, grown)
        return dict(i=i, u=torch.clamp(kp * e + i, low, high))


class PID(Block):
    """u = kp (b r - y) + i + d, limited to [low, high]: derivative of the measurement, filtered; back-calculation.

    d = (tf d - kd (y - last y)) / (tf + T); after u is limited to v, i = i + T (ki (r - y) + (v - u) / tt).
    Astrom & Hagglund, Advanced PID Control (2006), section 13.4. `tt` is the tracking time; `b` weighs the setpoint.

    >>> from simdl import simulate
    >>> run = simulate(PID(kp=2.0, ki=0.0, kd=0.0, high=1.5, period=0.1), 0, inputs={"r": 1.0, "y": 0.0})
    >>> float(run["u"].at(0))
    1.5
    """

    r, y, u = Input(), Input(), Output()
    kp: Param = Param(1.0)
    ki: Param = Param(1.0, unit="1/s")
    kd: Param = Param(0.0, unit="s")
    b: Param = Param(1.0)
    tf: Param = Param(0.1, unit="s", low=0.0)
    tt: Param = Param(1.0, unit="s", low=1e-9)
    low: Param = Param(-math.inf)
    high: Param = Param(math.inf)
    i, d, last, started = State(0.0), State(0.0), State(0.0), State(False, dtype="bool")

    @tick
    def step(self, r, y, i, d, last, started, kp, ki, kd, b, tf, tt, low, high, dt):
        last = torch.where(started, last, y)  # no kick at the first tick
        d = (tf * d - kd * (y - last)) / (tf + dt)
        wanted = kp * (b * r - y) + i + d
        u = torch.clamp(wanted, low, high)
        i = i + dt * (ki * (r - y) + (u - wanted) / tt)
        return dict(u=u, i=i, d=d, last=y, started=torch.ones_like(started))
