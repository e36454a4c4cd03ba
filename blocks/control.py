"""Controllers of one variable with limits, and integrators that do not wind up at them."""

import math

import torch

from simdl import Block, Input, Output, Param, State, derivative, initial, output, tick
from simdl.blocks.limits import Limit


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
    low: Param = Limit(-math.inf, below="high")
    high: Param = Limit(math.inf, above="low")
    i = State(0.0)

    @tick
    def step(self, e, i, kp, ki, low, high, dt):
        grown = i + ki * dt * e
        wanted = kp * e + grown
        outward = ((wanted > high) & (ki * e > 0)) | ((wanted < low) & (ki * e < 0))
        i = torch.where(outward, i, grown)
        return dict(i=i, u=torch.clamp(kp * e + i, low, high))


class PID(Block):
    """u = kp (b r - y) + i + d, limited to [low, high]: a sampled PID with weights of the setpoint r.

    d follows e = c r - y with a filter: d = (tf d + kd (e - last e)) / (tf + T); c = 0, the default, is the derivative
    of the measurement alone, without a kick when r jumps. After u is limited to v, back-calculation leads the integral
    back within the tracking time tt: i = i + T (ki (r - y) + (v - u) / tt); with `clamping` it waits instead while u is
    at a limit and the error points outward. While `manual` is true, u is `hand` (limited) and i follows it, so that
    neither switching back nor on gives a bump. Astrom & Hagglund, Advanced PID Control (2006), chapters 3 and 13.

    >>> from simdl import simulate
    >>> run = simulate(PID(kp=2.0, ki=0.0, kd=0.0, high=1.5, period=0.1), 0, inputs={"r": 1.0, "y": 0.0})
    >>> float(run["u"].at(0))
    1.5
    """

    r, y, u = Input(), Input(), Output()
    manual, hand = Input(dtype="bool", default=False), Input(default=0.0)
    kp: Param = Param(1.0)
    ki: Param = Param(1.0, unit="1/s")
    kd: Param = Param(0.0, unit="s")
    b: Param = Param(1.0)
    c: Param = Param(0.0)
    tf: Param = Param(0.1, unit="s", low=0.0)
    tt: Param = Param(1.0, unit="s", low=1e-9)
    clamping: Param = Param(False, dtype="bool")
    low: Param = Limit(-math.inf, below="high")
    high: Param = Limit(math.inf, above="low")
    start: Param = Param(0.0)
    i, d, last, started = State(0.0), State(0.0), State(0.0), State(False, dtype="bool")

    @initial
    def begin(self, start):
        return dict(i=start)

    @tick
    def step(self, r, y, manual, hand, i, d, last, started, kp, ki, kd, b, c, tf, tt, clamping, low, high, dt):
        e = c * r - y
        d = (tf * d + kd * (e - torch.where(started, last, e))) / (tf + dt)  # no kick at the first tick
        rest = kp * (b * r - y) + d
        wanted = rest + i
        u = torch.clamp(torch.where(manual, hand, wanted), low, high)
        grows = ki * (r - y)
        outward = ((wanted > high) & (grows > 0)) | ((wanted < low) & (grows < 0))
        moved = torch.where(clamping, torch.where(outward, 0.0, grows), grows + (u - wanted) / tt)
        i = torch.where(manual, u - rest, i + dt * moved)
        return dict(u=u, i=i, d=d, last=e, started=torch.ones_like(started))


class ContinuousPID(Block):
    """u = kp (b r - y) + i + d, limited to [low, high], in continuous time.

    i' = ki (r - y) + (u - unlimited u) / tt: back-calculation within the tracking time tt. d = kd (e - f) / tf is the
    filtered derivative kd s / (tf s + 1) of e = c r - y, with f' = (e - f) / tf from f(0) = e(0); c = 0, the default,
    is the derivative of the measurement alone. u depends on r and y at once.

    >>> from simdl import RK4, simulate
    >>> pid = ContinuousPID(kp=2.0, ki=1.0, high=6.0)
    >>> run = simulate(pid, 2, inputs={"r": 1.0, "y": 0.0}, solver=RK4(max_step=0.1))
    >>> float(run["u"].at(0)), float(run["u"].at(2))
    (2.0, 4.0)
    """

    r, y = Input(), Input()
    kp: Param = Param(1.0)
    ki: Param = Param(1.0, unit="1/s")
    kd: Param = Param(0.0, unit="s")
    b: Param = Param(1.0)
    c: Param = Param(0.0)
    tf: Param = Param(0.1, unit="s", low=1e-9)
    tt: Param = Param(1.0, unit="s", low=1e-9)
    low: Param = Limit(-math.inf, below="high")
    high: Param = Limit(math.inf, above="low")
    start: Param = Param(0.0)
    i, f = State(0.0), State(0.0)

    @initial
    def begin(self, r, y, c, start):
        return dict(i=start, f=c * r - y)

    @output
    def u(self, r, y, i, f, kp, kd, b, c, tf, low, high):
        return torch.clamp(kp * (b * r - y) + i + kd * (c * r - y - f) / tf, low, high)

    @derivative(i, f)
    def flow(self, r, y, i, f, kp, ki, kd, b, c, tf, tt, low, high):
        wanted = kp * (b * r - y) + i + kd * (c * r - y - f) / tf
        return ki * (r - y) + (torch.clamp(wanted, low, high) - wanted) / tt, (c * r - y - f) / tf
