"""One step of a method over all lanes: the new state, the estimated error and the dense output.

Shapes: a state is (n, lanes), a time (lanes,) or a scalar, a step size a Python number, a scalar tensor or (lanes,).
Every operation is pointwise and out of place, so gradients pass, and a lane alone steps bit for bit as it does in a
batch: a sum over stages is a chain of additions, because a reduction's order depends on the layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from simdl.engine.tableau import Row, Tableau

Time = float | Tensor
"""A time, a step size, or a fraction of a step."""

Field = Callable[[Time, Tensor], Tensor]
"""The right-hand side f(t, y) -> y', (n, lanes) -> (n, lanes)."""


def axpy(y: Tensor, x: Tensor, h: Time, scale: float) -> Tensor:
    """y + h * scale * x in one operation."""
    if isinstance(h, Tensor):
        return torch.addcmul(y, x, h, value=scale)
    return torch.add(y, x, alpha=h * scale)


def times(x: Tensor, h: Time, scale: float) -> Tensor:
    """h * scale * x."""
    return x * (h * scale)


def weighted(row: Row, ks: Sequence[Tensor]) -> Tensor:
    """The row's sum over stages, still to be multiplied by its scale."""
    total = ks[row.first]
    for index, ratio in row.rest:
        total = torch.add(total, ks[index], alpha=ratio)
    return total


class Step:
    """One accepted or trial step from (t, y0) over h; what is not asked for is not computed.

    What is computed late keeps the gradient mode of the step itself: a guard located under `no_grad` must not leave
    a detached interpolant behind.

    `increment` is y1 - y0 without the rounding of the sum; `error` the estimated local error (n, lanes) or None;
    `f0` and `f1` the slopes at both ends; `at(theta)` the state at t + theta h.
    """

    def __init__(self, f: Field, t: Time, y0: Tensor, h: Time, f0: Tensor) -> None:
        self.f, self.t, self.y0, self.h, self.f0 = f, t, y0, h, f0
        self.grad = torch.is_grad_enabled()

    @cached_property
    def increment(self) -> Tensor:
        """y1 - y0, (n, lanes)."""
        with torch.set_grad_enabled(self.grad):
            return self._increment()

    @cached_property
    def y1(self) -> Tensor:
        """The state at t + h, (n, lanes)."""
        with torch.set_grad_enabled(self.grad):
            return self._end()

    @cached_property
    def f1(self) -> Tensor:
        """The slope at the end, f(t + h, y1): one evaluation, once."""
        with torch.set_grad_enabled(self.grad):
            return self.f(self.t + self.h, self.y1)

    @cached_property
    def error(self) -> Tensor | None:
        """The estimated local error of y1, (n, lanes), or None for a method without an estimate."""
        return None

    @cached_property
    def polynomial(self) -> tuple[Tensor, ...]:
        """d_1 ... d_m of the dense output y0 + d_1 theta + ... + d_m theta**m, each (n, lanes)."""
        with torch.set_grad_enabled(self.grad):
            return self._polynomial()

    def _increment(self) -> Tensor:
        raise NotImplementedError

    def _end(self) -> Tensor:
        return self.y0 + self.increment

    def _polynomial(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def at(self, theta: Time) -> Tensor:
        """The dense output at t + theta h, theta in [0, 1].

        `theta` is a number, or a tensor that broadcasts with (n, lanes): (lanes,), or (k, 1, 1) for k times at once.
        """
        if isinstance(theta, Tensor) and theta.dtype != self.y0.dtype:
            theta = theta.to(self.y0.dtype)
        value = self.polynomial[-1]
        for coefficient in (*self.polynomial[-2::-1], self.y0):
            value = axpy(coefficient, value, theta, 1.0)
        return value


class ExplicitStep(Step):
    """A step of an explicit Runge-Kutta method."""

    def __init__(self, tableau: Tableau, f: Field, t: Time, y: Tensor, h: Time, k1: Tensor | None) -> None:
        self.tableau = tableau
        ks = [f(t, y) if k1 is None else k1]
        super().__init__(f, t, y, h, ks[0])
        node, time = 0.0, t
        step = h.to(y.dtype) if isinstance(h, Tensor) and h.dtype != y.dtype else h
        for c, row in zip(tableau.nodes[1:], tableau.stage_rows, strict=True):
            if c != node:
                node, time = c, t + (h if c == 1.0 else c * h)
            ks.append(f(time, axpy(y, weighted(row, ks), step, row.scale)))
        self.ks, self.step = ks, step
        self._total = weighted(tableau.weight_row, ks)

    def _increment(self) -> Tensor:
        return times(self._total, self.step, self.tableau.weight_row.scale)

    def _end(self) -> Tensor:
        return axpy(self.y0, self._total, self.step, self.tableau.weight_row.scale)

    @cached_property
    def error(self) -> Tensor | None:
        """The estimated local error of y1, (n, lanes), or None for a method without an estimate."""
        row = self.tableau.error_row
        return None if row is None else times(weighted(row, [*self.ks, self.f1]), self.step, row.scale)

    def _polynomial(self) -> tuple[Tensor, ...]:
        start = times(self.f0, self.step, 1.0)
        rows = self.tableau.dense_rows
        if rows is None:  # cubic Hermite
            cubic = torch.sub(start + times(self.f1, self.step, 1.0), self.increment, alpha=2.0)
            return start, self.increment - start - cubic, cubic
        ks = [*self.ks, self.f1]
        higher = [times(weighted(row, ks), self.step, row.scale) for row in rows]
        square = self.increment - start
        for coefficient in higher:
            square = square - coefficient
        return start, square, *higher


def add_compensated(y: Tensor, carry: Tensor, increment: Tensor) -> tuple[Tensor, Tensor]:
    """y + increment by compensated summation: the new state, and what rounding left out of it.

    `carry` starts at zero and is fed back; y + carry is the sum to about twice the precision of the dtype, and y its
    rounded value. The two-sum (Knuth) is exact whichever operand is larger, so a float32 state followed over millions
    of small steps is as good as one rounding.
    """
    total = y + increment
    shifted = total - y
    lost = (y - (total - shifted)) + (increment - shifted) + carry
    rounded = total + lost
    return rounded, lost - (rounded - total)
