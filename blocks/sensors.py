"""Sensors with the errors of real ones, sampled on their own clocks; `latency=` of a block delays what they report."""

import math

import torch

from simdl import Block, Input, Noise, Output, Param, State, hit, tick
from simdl.blocks.limits import Limit
from simdl.blocks.nonlinear import quantised


class SensorChain(Block):
    """A sampled sensor: y = limit(quantise(gain u + bias + drift + noise w)), held where a sample is lost.

    In the order in which the errors arise: gain and bias, a drift (a random walk of `walk` per square root of a
    second), white noise, steps of `step` (0: none), limits [low, high]. With probability `dropout` a sample is lost: y
    keeps its value and `valid` is false. `stamp` is the time the sensor believes it is, off by `jitter` (rms).

    >>> from simdl import simulate
    >>> adc = SensorChain(bias=0.03, step=0.1, high=5.0, period="10 ms")
    >>> [round(float(simulate(adc, 0, inputs={"u": u})["y"].at(0)), 12) for u in (1.0, 7.0)]
    [1.0, 5.0]
    """

    u, y = Input(), Output()
    valid, stamp = Output(dtype="bool"), Output(unit="s")
    gain: Param = Param(1.0)
    bias: Param = Param(0.0)
    walk: Param = Param(0.0, low=0.0)
    noise: Param = Param(0.0, low=0.0)
    step: Param = Param(0.0, low=0.0)
    low: Param = Limit(-math.inf, below="high")
    high: Param = Limit(math.inf, above="low")
    dropout: Param = Param(0.0, low=0.0, high=1.0)
    jitter: Param = Param(0.0, unit="s", low=0.0)
    drift, last = State(0.0), State(0.0)
    w, luck = Noise(shape=(3,)), Noise(distribution="uniform")

    @tick
    def measure(self, u, drift, last, w, luck, t, dt, gain, bias, walk, noise, step, low, high, dropout, jitter):
        raw = quantised(gain * u + bias + drift + noise * w[:, 0], step)
        valid = luck >= dropout
        y = torch.where(valid, torch.clamp(raw, low, high), last)
        return dict(y=y, valid=valid, stamp=t + jitter * w[:, 2], last=y, drift=drift + walk * dt**0.5 * w[:, 1])


class ADC(Block):
    """An analogue-to-digital converter: code = floor((u - low) / lsb + 1/2), limited to 0 ... 2^bits - 1.

    lsb = (high - low) / 2^bits; y = low + code lsb is the voltage that stands for the code. The error is uniform within
    lsb / 2, of rms lsb / sqrt 12 (Bennett, Bell System Technical Journal 27 (1948) 446), plus white noise of `noise`
    before the comparison. For an uncertain instant of sampling, put a `JitteredSample` in front.

    >>> from simdl import simulate
    >>> run = simulate(ADC(bits=3, high=8.0, period="1 ms"), 0, inputs={"u": [0.4, 3.6, 9.0]})
    >>> run["code"].at(0).tolist()
    [0, 4, 7]
    """

    u, y, code = Input(unit="V"), Output(unit="V"), Output(dtype="int64")
    bits: Param = Param(12, low=1.0, high=32.0)
    low: Param = Limit(0.0, below="high", unit="V")
    high: Param = Limit(5.0, above="low", unit="V")
    noise: Param = Param(0.0, unit="V", low=0.0)
    w = Noise()

    @tick
    def convert(self, u, w, bits, low, high, noise):
        codes = torch.round(torch.exp2(bits))
        lsb = (high - low) / codes
        code = torch.clamp(torch.floor((u + noise * w - low) / lsb + 0.5), torch.zeros_like(codes), codes - 1.0)
        return dict(y=low + code * lsb, code=code.long())


class JitteredSample(Block):
    """y = u at the times k cycle + jitter w_k of each lane, held in between: sample-and-hold with aperture jitter.

    The times are exact, not on a common grid: nothing is interpolated. w_k is normal, cut at 4 so that samples stay in
    order (jitter below an eighth of the cycle). A sine of frequency f keeps a signal-to-noise ratio of
    -20 log10(2 pi f jitter) dB (Walden, IEEE J. Selected Areas in Communications 17 (1999) 539).

    >>> from simdl import Diagram, Output, simulate
    >>> from simdl.blocks import Ramp
    >>> class Late(Diagram):
    ...     y = Output()
    ...     def __init__(self):
    ...         self.ramp, self.sample = Ramp(), JitteredSample(cycle=0.1, jitter=0.0)
    ...         self.sample.u = self.ramp.y
    ...         self.y = self.sample.y
    >>> [round(x, 9) for x in simulate(Late(), 0.3, every=0.15)["y"].values[0].tolist()]
    [0.0, 0.1, 0.3]
    """

    u, y = Input(), Output()
    cycle: Param = Param(1e-3, unit="s", low=1e-9, dtype="float64")
    jitter: Param = Param(1e-6, unit="s", low=0.0, dtype="float64")
    late = State(0.0, unit="s", dtype="float64")
    w = Noise()

    @hit
    def sample(self, u, late, w, cycle, jitter):
        after = jitter * w.clamp(-4.0, 4.0)
        return dict(y=u, late=after, next=cycle + after - late)
