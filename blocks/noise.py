"""Sampled random signals. Each draws from its own stream, keyed by its path (or `stream=`), its lane and its tick."""

from simdl import Block, Noise, Output, Param, State, initial, output, tick


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
    """x = x + sigma sqrt(T) w after every tick, y = x: its variance grows by sigma^2 a second, at any rate.

    >>> from simdl import simulate
    >>> y = simulate(RandomWalk(sigma=0.5, period=0.1), 4, lanes=1000, seed=1)["y"]
    >>> 0.95 < float(y.at(4).std()) < 1.05
    True
    """

    sigma: Param = Param(1.0, low=0.0)
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
    def walk(self, x, w, sigma, dt):
        return dict(x=x + sigma * dt**0.5 * w)
