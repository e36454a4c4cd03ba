"""Sampled random signals. Each draws from its own stream, keyed by its path (or `stream=`), its lane and its tick."""

import math

import torch

from simdl import Block, Noise, Output, Param, State, initial, output, tick
from simdl.blocks.limits import whole_number

ALLAN = 0.664 / (0.437 * math.sqrt(2.0))  # the deviation of a Gauss-Markov bias, in units of its instability


class WhiteNoise(Block):
    """y = mean + std w, with w standard normal, new at every tick.

    >>> from simdl import simulate
    >>> y = simulate(WhiteNoise(std=2.0, period=0.01), 10, lanes=10, seed=1)["y"].values
    >>> 1.9 < float(y.std()) < 2.1
    True
    """

    mean: Param = Param(0.0)
    std: Param = Param(1.0, low=0.0)
    y = Output()
    w = Noise()

    @tick
    def draw(self, w, mean, std):
        return dict(y=mean + std * w)


class RandomWalk(Block):
    """x = x + walk sqrt(T) w after every tick, y = x: its variance grows by walk^2 a second, at any rate.

    >>> from simdl import simulate
    >>> y = simulate(RandomWalk(walk=0.5, period=0.1), 4, lanes=1000, seed=1)["y"]
    >>> 0.95 < float(y.at(4).std()) < 1.05
    True
    """

    walk: Param = Param(1.0, low=0.0)
    start: Param = Param(0.0)
    x = State(0.0)
    w = Noise()

    @initial
    def begin(self, start):
        return dict(x=start)

    @output
    def y(self, x):
        return x

    @tick
    def wander(self, x, w, walk, dt):
        return dict(x=x + walk * torch.sqrt(dt) * w)


class BandLimitedNoise(Block):
    """y = sqrt(power / T) w, new at every tick and held: white up to 1 / (2 T), as Simulink's block of that name.

    `power` is the height of the two-sided power spectral density, in units^2 / Hz: an integral of y has the variance
    power * t at any period. Choose T a hundred times smaller than the shortest time constant that y drives.

    >>> from simdl import simulate
    >>> y = simulate(BandLimitedNoise(power=0.1, period=0.001), 10, seed=1)["y"].values
    >>> 9.8 < float(y.std()) < 10.2  # sqrt(0.1 / 0.001)
    True
    """

    power: Param = Param(0.1, low=0.0)
    y = Output()
    w = Noise()

    @tick
    def draw(self, w, power, dt):
        return dict(y=torch.sqrt(power / dt) * w)


class GaussMarkov(Block):
    """x = a x + std sqrt(1 - a^2) w, a = exp(-T / tau): noise of standard deviation `std` that forgets within tau.

    Its autocorrelation is std^2 exp(-|t| / tau) at any period, from the first tick on. Gelb, Applied Optimal Estimation
    (1974), section 2.2.

    >>> from simdl import simulate
    >>> y = simulate(GaussMarkov(std=2.0, tau=0.1, period=0.01), 10, lanes=50, seed=1)["y"].values
    >>> 1.9 < float(y.std()) < 2.1
    True
    """

    std: Param = Param(1.0, low=0.0)
    tau: Param = Param(1.0, unit="s", low=1e-9)
    y = Output()
    x, started = State(0.0), State(False, dtype="bool")
    w = Noise()

    @tick
    def forget(self, x, started, w, std, tau, dt):
        x = forgetting(x, w, std, tau, dt, started)
        return dict(y=x, x=x, started=torch.ones_like(started))


class ColouredNoise(Block):
    """y_k = std w_k - sum of a_i y_{k-i}: noise whose power spectral density falls as 1 / f^alpha.

    alpha=0 is white, 1 pink (flicker), 2 brown (a random walk). a_0 = 1, a_i = a_{i-1} (i - 1 - alpha / 2) / i, cut off
    after `length` terms: below about 1 / (length T) the density is flat. It is std^2 T / |A(exp(2 pi j f T))|^2, of
    both sides. N. J. Kasdin, Proc. IEEE 83 (1995) 802, section III.

    >>> from simdl import simulate
    >>> y = simulate(ColouredNoise(alpha=0.0, std=3.0, period=1), 500, lanes=10, seed=1)["y"].values
    >>> 2.9 < float(y.std()) < 3.1
    True
    """

    std: Param = Param(1.0, low=0.0)
    weights: Param = Param()
    y = Output()
    past = State(0.0)
    w = Noise()

    def __init__(self, alpha: float = 1.0, length: int = 64, **settings):
        weights = [1.0]
        for i in range(1, whole_number("ColouredNoise.length", length) + 1):
            weights.append(weights[-1] * (i - 1 - alpha / 2) / i)
        super().__init__(**{"weights": weights[1:], **settings})

    @initial
    def rest(self, weights):
        return dict(past=torch.zeros_like(weights))

    @tick
    def filter(self, past, weights, w, std):
        y = std * w - (weights * past).sum(dim=1)
        return dict(y=y, past=torch.cat([y.unsqueeze(1), past[:, :-1]], dim=1))


class AllanNoise(Block):
    """The noise of an inertial sensor, from the three parameters read off its Allan deviation.

    white: N, the random walk of the angle or speed, units / sqrt(Hz); instability: B, the bias instability, units;
    walk: K, the random walk of the rate, units / s sqrt(Hz). The bias is a Gauss-Markov process of correlation time
    tau, as likely at the start as later, driven by q = 0.664 B / (0.437 sqrt(tau)): its Allan deviation peaks at
    0.664 B, 1.89 tau. The variance at s seconds is
    N^2 / s + (q tau)^2 / s (1 - tau / (2 s) (3 - 4 exp(-s / tau) + exp(-2 s / tau))) + K^2 s / 3.
    IEEE Std 952-1997, annex C.

    >>> from simdl import simulate
    >>> y = simulate(AllanNoise(white=0.1, instability=0.0, walk=0.0, period=0.01), 20, seed=1)["y"].values
    >>> 0.95 < float(y.std()) < 1.05  # N / sqrt(T)
    True
    """

    white: Param = Param(1e-2, low=0.0)
    instability: Param = Param(1e-3, low=0.0)
    walk: Param = Param(1e-4, low=0.0)
    tau: Param = Param(100.0, unit="s", low=1e-9)
    y = Output()
    bias, drift, started = State(0.0), State(0.0), State(False, dtype="bool")
    w = Noise(shape=(3,))

    @tick
    def draw(self, bias, drift, started, w, white, instability, walk, tau, dt):
        bias = forgetting(bias, w[:, 1], ALLAN * instability, tau, dt, started)
        y = white / torch.sqrt(dt) * w[:, 0] + bias + drift
        drift = drift + walk * torch.sqrt(dt) * w[:, 2]
        return dict(y=y, bias=bias, drift=drift, started=torch.ones_like(started))


def forgetting(x, w, std, tau, dt, started):
    """A Gauss-Markov process one tick later: a x + std sqrt(1 - a^2) w, a = exp(-T / tau); std w at its first tick."""
    kept = torch.where(started, torch.exp(-dt / tau), 0.0)
    return kept * x + std * torch.sqrt(1.0 - kept**2) * w
