"""Voltage, current and temperature measurement with the errors of an automotive front end."""

import torch

from simdl import Block, Input, Noise, Output, Param, State, tick


class Channel(Block):
    """One measured quantity: gain and offset error, drift, white noise, quantisation and, from `fault_at` on, a fault.

    y = quantise(gain x + bias + drift + noise w); drift is a random walk of `wander` per square root of an hour.
    A fault adds `fault_jump` and, if `stuck`, freezes the reading instead.
    """

    value = Input()
    reading = Output()
    gain: Param = Param(1.0)
    bias: Param = Param(0.0)
    wander: Param = Param(0.0)
    noise: Param = Param(0.0)
    step: Param = Param(0.001)
    fault_at: Param = Param(1e9, unit="s")
    fault_jump: Param = Param(0.0)
    stuck: Param = Param(0.0)
    drift, last = State(0.0), State(0.0)
    w = Noise(shape=(2,))

    @tick
    def measure(self, value, drift, last, w, t, dt, gain, bias, wander, noise, step, fault_at, fault_jump, stuck):
        faulty = t >= fault_at
        raw = gain * value + bias + drift + noise * w[:, 0] + torch.where(faulty, fault_jump, 0.0)
        reading = torch.where(faulty & (stuck > 0), last, torch.round(raw / step) * step)
        return dict(reading=reading, last=reading, drift=drift + wander * (dt / 3600) ** 0.5 * w[:, 1])
