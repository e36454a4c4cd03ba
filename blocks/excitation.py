"""Signals that excite a system so that it can be identified: sweeps, sums of sines, binary sequences.

L. Ljung, System Identification (2nd ed., 1999), section 13.3; O. Nelles, Nonlinear System Identification (2001), 17.7.
"""

import math

import torch

from simdl import Block, ModelError, Noise, Output, Param, State, edges, initial, output, tick
from simdl.blocks.sources import whole
from simdl.declarations import as_tensor
from simdl.port import Signal

# Feedback taps of shift registers whose sequence is of maximal length (Xilinx XAPP052, table 3).
TAPS = {
    2: (2, 1), 3: (3, 2), 4: (4, 3), 5: (5, 3), 6: (6, 5), 7: (7, 6), 8: (8, 6, 5, 4), 9: (9, 5), 10: (10, 7),
    11: (11, 9), 12: (12, 6, 4, 1), 13: (13, 4, 3, 1), 14: (14, 5, 3, 1), 15: (15, 14), 16: (16, 15, 13, 4),
    17: (17, 14), 18: (18, 11), 19: (19, 6, 2, 1), 20: (20, 17), 21: (21, 19), 22: (22, 21), 23: (23, 18),
    24: (24, 23, 22, 17), 25: (25, 22), 26: (26, 6, 2, 1), 27: (27, 5, 2, 1), 28: (28, 25), 29: (29, 27),
    30: (30, 6, 4, 1), 31: (31, 28),
}  # fmt: skip


class Chirp(Block):
    """y = bias + amplitude sin(phase + 2 pi integral of f): f goes from f0 to f1 in `duration`, and stays at f1.

    sweep="linear": f = f0 + (f1 - f0) t / duration; "logarithmic": f = f0 (f1 / f0)^(t / duration), an equal time for
    every octave. Raises ModelError for another sweep, and for a logarithmic one from or to 0 Hz.

    >>> from simdl import simulate
    >>> sweep = Chirp(f0=1.0, f1=2.0, duration=2.0)  # 1 + 2^2 / 8 turns of it at t = 1
    >>> round(float(simulate(sweep, 1, every=0.5)["y"].at(1)), 9) == round(math.sin(2 * math.pi * 1.25), 9)
    True
    """

    f0: Param = Param(0.1, unit="Hz", dtype="float64")
    f1: Param = Param(10.0, unit="Hz", dtype="float64")
    duration: Param = Param(10.0, unit="s", low=1e-6, dtype="float64")
    amplitude: Param = Param(1.0, dtype="float64")
    phase: Param = Param(0.0, unit="rad", dtype="float64")
    bias: Param = Param(0.0, dtype="float64")

    def __init__(self, sweep: str = "linear", **settings):
        super().__init__(**settings)
        if sweep not in ("linear", "logarithmic"):
            raise ModelError("Chirp", f"sweep={sweep!r}", "one of", names=("linear", "logarithmic"), wrong=sweep)
        for name in ("f0", "f1") if sweep == "logarithmic" else ():
            end = settings.get(name, 1.0)
            if not isinstance(end, Signal) and bool((as_tensor(end) <= 0).any()):
                raise ModelError(f"Chirp.{name}", f"{end} Hz, in a logarithmic sweep", "more than 0 Hz")
        self.sweep = sweep

    @output
    def y(self, t, f0, f1, duration, amplitude, phase, bias):
        x = (t / duration).clamp(0.0, 1.0)
        if self.sweep == "linear":
            turns = duration * x * (f0 + (f1 - f0) * x / 2.0)
        else:
            octaves = torch.log(f1 / f0)
            flat = octaves.abs() < 1e-9
            grown = torch.expm1(octaves * x) / torch.where(flat, 1.0, octaves)
            turns = duration * f0 * torch.where(flat, x, grown)
        turns = turns + f1 * (t - duration).clamp(min=0.0)
        return bias + amplitude * torch.sin(phase + 2.0 * math.pi * turns)

    @edges
    def end(self, t, duration):
        return torch.where(t < whole(duration), duration, math.inf)


class Multisine(Block):
    """y = bias + rms sqrt(2 / n) sum of cos(2 pi h_i frequency t + phase_i) over n harmonics h_i of `frequency`.

    The phases are Schroeder's, -pi i (i - 1) / n, which keep the peaks low: about 1.7 rms instead of sqrt(2 n) rms.
    It repeats every 1 / frequency: measure over whole periods. M. R. Schroeder, IEEE Trans. Inf. Theory 16 (1970) 85.

    >>> from simdl import simulate
    >>> y = simulate(Multisine(range(1, 33)), 1, every=0.001)["y"].values[0, 1:]
    >>> round(float(y.square().mean().sqrt()), 9), float(y.abs().max()) < 2.0
    (1.0, True)
    """

    frequency: Param = Param(1.0, unit="Hz", dtype="float64")
    rms: Param = Param(1.0, low=0.0, dtype="float64")
    bias: Param = Param(0.0, dtype="float64")
    harmonics: Param = Param(dtype="float64")
    phases: Param = Param(unit="rad", dtype="float64")

    def __init__(self, harmonics=range(1, 11), **settings):
        count = len(harmonics)
        phases = [-math.pi * i * (i - 1) / count for i in range(1, count + 1)]
        super().__init__(**{"harmonics": [float(h) for h in harmonics], "phases": phases, **settings})

    @output
    def y(self, t, frequency, rms, bias, harmonics, phases):
        angle = 2.0 * math.pi * harmonics * (frequency * t).unsqueeze(1) + phases
        return bias + rms * math.sqrt(2.0 / harmonics.shape[1]) * torch.cos(angle).sum(dim=1)


class PRBS(Block):
    """A pseudo-random binary sequence of maximal length: y = high or low, new at every tick.

    A shift register of `length` bits (2 to 31) with feedback: the sequence repeats after 2^length - 1 ticks, in which
    it is high once more than low, and its autocorrelation is that of white noise but for -1 / (2^length - 1).
    `start`: a whole number that says where in the sequence to begin, one for each lane if set so.

    >>> from simdl import simulate
    >>> simulate(PRBS(3, period=1), 9)["y"].values
    tensor([[-1., -1.,  1., -1.,  1.,  1.,  1., -1., -1.,  1.]], dtype=torch.float64)
    """

    low: Param = Param(-1.0)
    high: Param = Param(1.0)
    start: Param = Param(0, dtype="int64", low=0)
    register = State(1, dtype="int64")

    def __init__(self, length: int = 10, **settings):
        super().__init__(**settings)
        if length not in TAPS:
            raise ModelError("PRBS", f"length={length!r}", "2 to 31 bits")
        self.length = length

    @initial
    def fill(self, start):
        return dict(register=start % (2**self.length - 1) + 1)

    @output
    def y(self, register, low, high):
        return torch.where((register >> (self.length - 1)) & 1 == 1, high, low)

    @tick
    def shift(self, register):
        return dict(register=shifted(register, self.length))


class APRBS(Block):
    """An amplitude-modulated PRBS: at the changes of a PRBS, y jumps to a random level, uniform in [low, high].

    It visits the range of a nonlinear system where a PRBS shows two points of it. A level is held for one tick to
    `length` ticks. Nelles, 17.7.

    >>> from simdl import simulate
    >>> y = simulate(APRBS(length=8, low=2.0, high=5.0, period=0.1), 60, seed=1)["y"].values
    >>> 2.0 < float(y.min()) < 2.2 and 4.8 < float(y.max()) < 5.0
    True
    """

    y = Output()
    low: Param = Param(-1.0)
    high: Param = Param(1.0)
    start: Param = Param(0, dtype="int64", low=0)
    register, level, last = State(1, dtype="int64"), State(0.0), State(-1, dtype="int64")
    w = Noise(distribution="uniform")

    def __init__(self, length: int = 10, **settings):
        super().__init__(**settings)
        if length not in TAPS:
            raise ModelError("APRBS", f"length={length!r}", "2 to 31 bits")
        self.length = length

    @initial
    def fill(self, start):
        return dict(register=start % (2**self.length - 1) + 1)

    @tick
    def shift(self, register, level, last, w, low, high):
        bit = (register >> (self.length - 1)) & 1
        level = torch.where(bit != last, low + (high - low) * w, level)
        return dict(y=level, level=level, last=bit, register=shifted(register, self.length))


def shifted(register: torch.Tensor, length: int) -> torch.Tensor:
    """A shift register of `length` bits one tick later: the parity of its taps comes in at the bottom."""
    bit: torch.Tensor = register & 0
    for tap in TAPS[length]:
        bit = bit ^ (register >> (tap - 1))
    following: torch.Tensor = ((register << 1) & (2**length - 1)) | (bit & 1)
    return following
