"""Integrators with limits and resets."""

import math

import torch

from simdl import Block, Input, Param, State, crossing, derivative, initial, output
from simdl.blocks.limits import Limit


class LimitedIntegrator(Block):
    """y' = u, y(0) = start, with low <= y <= high: y waits at a limit until u points back inside.

    There is no wind-up: y leaves the limit at the very time at which u changes sign. Reaching a limit and leaving it
    are located. `at` says where y is held: 1 at high, -1 at low.

    >>> from simdl import RK4, simulate
    >>> u = ([0.0, 3.0], [1.0, -1.0])
    >>> y = simulate(LimitedIntegrator(high=2.0), 4, inputs={"u": u}, every=1, solver=RK4(max_step=0.5))["y"]
    >>> [round(value, 9) for value in y.values[0].tolist()]
    [0.0, 1.0, 2.0, 2.0, 1.0]
    """

    u = Input()
    start: Param = Param(0.0)
    low: Param = Limit(-math.inf, below="high")
    high: Param = Limit(math.inf, above="low")
    y, at = State(0.0), State(0.0)

    @initial
    def begin(self, start, low, high):
        return dict(y=torch.where(start >= high, inside(high, -1), torch.where(start <= low, inside(low, 1), start)))

    @derivative(y)
    def flow(self, at, u):
        return torch.where(at > 0.5, u.clamp(max=0.0), torch.where(at < -0.5, u.clamp(min=0.0), u))

    @crossing
    def rises(self, y, high):
        return high - y

    @rises.reset
    def hold_high(self, high, at):
        return dict(y=high, at=torch.ones_like(at))

    @crossing
    def falls(self, y, low):
        return y - low

    @falls.reset
    def hold_low(self, low, at):
        return dict(y=low, at=-torch.ones_like(at))

    @crossing
    def turns(self, at, u):
        return torch.where(at > 0.5, u, torch.where(at < -0.5, -u, torch.ones_like(u)))

    @turns.reset
    def leave(self, at, low, high):
        return dict(y=torch.where(at > 0.5, inside(high, -1), inside(low, 1)), at=torch.zeros_like(at))


def inside(limit: torch.Tensor, side: int) -> torch.Tensor:
    """A rounding error inside a limit, where its guard is positive: a guard that is zero already never fires."""
    return limit + side * 4 * torch.finfo(limit.dtype).eps * limit.abs().clamp(min=1.0)


class ResettableIntegrator(Block):
    """y' = u; y starts at the input `start`, and goes back to it when the input `reset` rises through 0.5.

    The time of the edge of a continuous `reset` is located. Of a signal: 1 - reset resets at falling edges.

    >>> from simdl import RK4, simulate
    >>> inputs = {"u": 1.0, "start": 5.0, "reset": ([0.0, 2.0], [0.0, 1.0])}
    >>> run = simulate(ResettableIntegrator(), 3, inputs=inputs, every=1, solver=RK4(max_step=0.5))
    >>> run["y"].values
    tensor([[5., 6., 7., 6.]], dtype=torch.float64)
    """

    u, start, reset = Input(), Input(default=0.0), Input(default=0.0)
    y = State(0.0)

    @initial
    def begin(self, start):
        return dict(y=start)

    @derivative(y)
    def flow(self, u):
        return u

    @crossing
    def edge(self, reset):
        return 0.5 - reset

    @edge.reset
    def back(self, start):
        return dict(y=start)


class GatedIntegrator(Block):
    """y' = u while `hold` is below 0.5; y = start while it is above, and where it has just fallen: reset by a level.

    y depends on `hold` and `start` at once; x, the integral since then, does not. `held` is 1 until x has started.

    >>> from simdl import RK4, simulate
    >>> inputs = {"u": 1.0, "start": 5.0, "hold": ([0.0, 1.0, 2.0], [0.0, 1.0, 0.0])}
    >>> run = simulate(GatedIntegrator(), 3, inputs=inputs, every=0.5, solver=RK4(max_step=0.5))
    >>> run["y"].values[0].tolist()
    [5.0, 5.5, 5.0, 5.0, 5.0, 5.5, 6.0]
    """

    u, start, hold = Input(), Input(default=0.0), Input(default=0.0)
    x, held = State(0.0), State(0.0)

    @initial
    def begin(self, start, hold):
        return dict(x=start, held=torch.where(hold > 0.5, 1.0, 0.0))

    @output
    def y(self, x, held, start, hold):
        return torch.where((hold > 0.5) | (held > 0.5), start, x)

    @derivative(x)
    def flow(self, u, held):  # by the mode: at the crossing itself, hold is above or below 0.5 by rounding
        return torch.where(held > 0.5, 0.0, u)

    @crossing
    def rises(self, hold):
        return 0.5 - hold

    @rises.reset
    def stop(self, held):
        return dict(held=torch.ones_like(held))

    @crossing
    def falls(self, hold):
        return hold - 0.5

    @falls.reset
    def go(self, start, held):
        return dict(x=start, held=torch.zeros_like(held))
