"""The cost of a linear loop whose delay is drawn anew in each period: exact, by the covariance of a jump-linear system.

What a simulation on a computer estimates from many lanes, for plants and controllers that are linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simdl.clock import SECOND, Duration, nanoseconds
from simdl.errors import ModelError
from simdl.linear import LinearModel

Matrix = NDArray[np.float64]


class Flow(NamedTuple):
    """v = (x, u) over a time with u held: v -> move v + noise of covariance spread; and the integral of v' W v, which
    is v0' price v0 + base in the mean."""

    move: Matrix
    spread: Matrix
    price: Matrix
    base: float


class DelayedLoop:
    """x' = A x + B u + w between samples, y = C x + D u + e at each; the controller's u appears a delay later.

    plant: in continuous time; controller: a LinearModel with a period, or the matrix of u = K y (negative for negative
    feedback) and period=. At every k h it takes y and computes u, which takes the place of the u before at k h + d,
    with 0 <= d <= h drawn anew and independently. weights: W (n + m, n + m) of the price (x, u)' W (x, u); noise:
    intensity of w (n, n), per second; sensor: covariance of e (p, p). Raises ModelError for shapes that misfit,
    matrices that are not symmetric and positive semidefinite, and delays beyond a period.

    The method is that of Jitterbug (Lincoln & Cervin, CDC 2002): E[z z'] of z = (x, state of the controller, u) goes
    through each period's linear map, one for each delay; the loop is stable in the mean square if the mean of their
    Kronecker squares has a spectral radius below 1. Integrals are matrix exponentials (Van Loan, 1978).

    >>> plant = LinearModel.of([[0.0]], [[1.0]])
    >>> loop = DelayedLoop(plant, [[-5.0]], period="100 ms", weights=np.diag([1.0, 0.0]), noise=[[1.0]])
    >>> round(loop.cost([0.0]), 4), round(loop.cost([0.1]), 4)
    (0.1278, 0.23)
    >>> loop.cost([0.0, 0.1], [0.5, 0.5]) < loop.cost([0.1])
    True
    """

    def __init__(
        self, plant: LinearModel, controller: LinearModel | Any, *, weights: Any, noise: Any = None,
        sensor: Any = None, period: Duration | None = None,
    ) -> None:  # fmt: skip
        if plant.period is not None:
            raise ModelError("DelayedLoop: plant", f"a model of period {plant.period:g} s", "one in continuous time")
        self.A, self.B, self.C, self.D = (np.asarray(m, dtype=float) for m in (plant.A, plant.B, plant.C, plant.D))
        n, m, p = len(self.A), self.B.shape[1], len(self.C)
        if isinstance(controller, LinearModel):
            if controller.period is None or period is not None:
                raise ModelError("DelayedLoop: controller", "a model in continuous time" if controller.period is None
                                 else "a model and period= both", "a model with a period, which is the loop's",
                                 "LinearModel.sampled")  # fmt: skip
            self.period = controller.period
            parts = (controller.A, controller.B, controller.C, controller.D)
            self.F, self.G, self.H, self.K = (np.asarray(one, dtype=float) for one in parts)
        else:
            if period is None or nanoseconds(period, "DelayedLoop: period") <= 0:
                raise ModelError("DelayedLoop: period", f"{period!r}", "a positive time, with a matrix as controller")
            self.period = nanoseconds(period) / SECOND
            self.K = np.atleast_2d(np.asarray(controller, dtype=float))
            self.F, self.G, self.H = np.zeros((0, 0)), np.zeros((0, p)), np.zeros((m, 0))
        if self.K.shape != (m, p):
            raise ModelError("DelayedLoop: controller", f"{self.K.shape[1]} inputs and {self.K.shape[0]} outputs",
                             f"the plant's {p} outputs and {m} inputs")  # fmt: skip
        self.weights = _semidefinite(weights, n + m, "weights")
        self.noise = _semidefinite(noise, n, "noise")
        self.sensor = _semidefinite(sensor, p, "sensor")

    def cost(self, delays: Sequence[float], chances: Sequence[float] | None = None) -> float:
        """The mean price per second in the long run; inf where the loop is not stable in the mean square.

        delays: s, each of the chance given, or all of the same: measured response times are a histogram as they are.
        """
        times, odds = self._drawn(delays, chances)
        if self.radius(times, odds) >= 1:
            return float("inf")
        maps = [self._period(d) for d in times]
        size = len(maps[0][0])
        squares = sum(p * np.kron(move, move) for p, (move, *_) in zip(odds, maps))
        pushed = sum(p * spread for p, (_, spread, *_) in zip(odds, maps))
        settled = np.linalg.solve(np.eye(size**2) - squares, np.reshape(pushed, -1)).reshape(size, size)
        return float(sum(p * (np.sum(price * settled) + base) for p, (_, _, price, base) in zip(odds, maps))
                     / self.period)  # fmt: skip

    def radius(self, delays: Sequence[float], chances: Sequence[float] | None = None) -> float:
        """By which factor E[z z'] grows or shrinks in a period, in the long run and without noise."""
        times, odds = self._drawn(delays, chances)
        moves = [self._period(d)[0] for d in times]
        if len(moves) == 1:
            return float(np.abs(np.linalg.eigvals(moves[0])).max() ** 2)
        squares = sum(p * np.kron(move, move) for p, move in zip(odds, moves))
        return float(np.abs(np.linalg.eigvals(squares)).max())

    def moments(
        self, start: Any, steps: int, delays: Sequence[float], chances: Sequence[float] | None = None
    ) -> Matrix:
        """E[x x'] at the samples 0, h, … from x = start, all else zero: (steps, n, n)."""
        times, odds = self._drawn(delays, chances)
        maps = [self._period(d) for d in times]
        x = np.asarray(start, dtype=float)
        if x.shape != (len(self.A),):
            raise ModelError("DelayedLoop: start", f"a shape of {x.shape}", f"({len(self.A)},)")
        z = np.zeros(len(maps[0][0]))
        z[: len(x)] = x
        second, found = np.outer(z, z), []
        for _ in range(steps):
            found.append(second[: len(x), : len(x)])
            second = np.asarray(sum(p * (a @ second @ a.T + s) for p, (a, s, *_) in zip(odds, maps)))
        return np.array(found)

    def _drawn(self, delays: Sequence[float], chances: Sequence[float] | None) -> tuple[list[float], list[float]]:
        times = np.asarray(delays, dtype=float).reshape(-1)
        if not len(times) or not np.all((times >= 0) & (times <= self.period * (1 + 1e-12))):
            raise ModelError("DelayedLoop: delays", f"{list(delays)[:8]}", f"s, from 0 to the period {self.period:g}",
                             "a longer delay is more than this model holds: simulate it")  # fmt: skip
        odds = np.full(len(times), 1.0) if chances is None else np.asarray(chances, dtype=float)
        if odds.shape != times.shape or not np.all(odds >= 0) or not odds.sum() > 0:
            raise ModelError("DelayedLoop: chances", f"{chances}", f"{len(times)} numbers of at least 0, not all 0")
        values, which = np.unique(np.minimum(times, self.period), return_inverse=True)
        shares = np.bincount(which, weights=odds / odds.sum())
        return values.tolist(), shares.tolist()

    def _period(self, delay: float) -> tuple[Matrix, Matrix, Matrix, float]:
        """From one sample to the next, of z: the map, the covariance that is added, and the price z' P z + base."""
        n, c, m = len(self.A), len(self.F), self.B.shape[1]
        first, second = self._flow(delay), self._flow(self.period - delay)
        plant = [*range(n), *range(n + c, n + c + m)]  # (x, u) within z
        before, after = np.eye(n + c + m), np.eye(n + c + m)
        before[np.ix_(plant, plant)], after[np.ix_(plant, plant)] = first.move, second.move
        # What the controller does from y = C x + D u + e at the sample; its new u waits for the switch.
        sees = np.hstack([self.C, np.zeros((len(self.C), c)), self.D])
        state = np.hstack([np.zeros((c, n)), self.F, np.zeros((c, m))]) + self.G @ sees
        given = np.hstack([np.zeros((m, n)), self.H, np.zeros((m, m))]) + self.K @ sees
        at_switch = np.vstack([before[:n], state, given])
        heard = np.vstack([np.zeros((n, len(self.C))), self.G, self.K])
        widen = np.zeros((n + c + m, n + m))
        widen[plant, range(n + m)] = 1.0
        early = np.zeros((n + c + m, n + c + m))
        early[:n, :n] = first.spread[:n, :n]
        at_switch_spread = early + heard @ self.sensor @ heard.T
        price_late = widen @ second.price @ widen.T
        price = widen @ first.price @ widen.T + at_switch.T @ price_late @ at_switch
        base = first.base + second.base + float(np.sum(price_late * at_switch_spread))
        spread = after @ at_switch_spread @ after.T + widen @ second.spread @ widen.T
        return after @ at_switch, spread, price, base

    def _flow(self, time: float) -> Flow:
        """Over a time with u held, by the exponential of [[-V', I, 0], [0, -V', W], [0, 0, V]]."""
        from scipy.linalg import expm

        n, m = len(self.A), self.B.shape[1]
        size = n + m
        v, w = np.zeros((size, size)), np.zeros((size, size))
        v[:n, :n], v[:n, n:] = self.A, self.B
        w[:n, :n] = self.noise
        zero, one = np.zeros((size, size)), np.eye(size)
        whole = expm(np.block([[-v.T, one, zero], [zero, -v.T, self.weights], [zero, zero, v]]) * time)
        move = whole[2 * size :, 2 * size :]
        price = move.T @ whole[size : 2 * size, 2 * size :]
        twice = move.T @ whole[:size, 2 * size :]  # the integral of price over the time
        noisy = expm(np.block([[-v, w], [zero, v.T]]) * time)
        spread = noisy[size:, size:].T @ noisy[:size, size:]
        return Flow(move, (spread + spread.T) / 2, (price + price.T) / 2, float(np.sum(w * twice)))


def _semidefinite(given: Any, size: int, name: str) -> Matrix:
    found = np.zeros((size, size)) if given is None else np.asarray(given, dtype=float)
    if found.shape != (size, size):
        raise ModelError(f"DelayedLoop: {name}", f"a shape of {found.shape}", f"({size}, {size})")
    scale = np.abs(found).max(initial=0.0)
    if not np.all(np.isfinite(found)) or not np.allclose(found, found.T, atol=1e-12 * scale) or (
        size and np.linalg.eigvalsh(found).min() < -1e-9 * scale
    ):  # fmt: skip
        raise ModelError(f"DelayedLoop: {name}", f"{found.tolist()}", "symmetric and positive semidefinite")
    return found
