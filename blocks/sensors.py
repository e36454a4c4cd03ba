"""Sensors with the errors of real ones."""

import math

import torch

from simdl import Block, Input, Noise, Output, Param, State, tick


class SensorChain(Block):
    """A sampled sensor: y = limit(quantise(gain u + bias + drift + noise w)).

    In the order in which the errors arise: gain and bias, a drift (a random walk of `wander` per square root of a
    second), white noise, steps of `step` (0: none), limits [low, high].

    >>> from simdl import simulate
    >>> adc = SensorChain(bias=0.03, step=0.1, high=5.0, period="10 ms")
    >>> [round(float(simulate(adc, 0, inputs={"u": u})["y"].at(0)), 12) for u in (1.0, 7.0)]
    [1.0, 5.0]
    """

    u, y = Input(), Output()
    gain: Param = Param(1.0)
    bias: Param = Param(0.0)
    wander: Param = Param(0.0, low=0.0)
    noise: Param = Param(0.0, low=0.0)
    step: Param = Param(0.0, low=0.0)
    low: Param = Param(-math.inf)
    high: Param = Param(math.inf)
    drift = State(0.0)
    w = Noise(shape=(2,))

    @tick
    def measure(self, u, drift, w, gain, bias, wander, noise, step, low, high, dt):
        raw = gain * u + bias + drift + noise * w[:, 0]
        grid = torch.where(step > 0, step, 1.0)
        y = torch.where(step > 0, grid * torch.round(raw / grid), raw)
        return dict(y=torch.clamp(y, low, high), drift=drift + wander * dt**0.5 * w[:, 1])
