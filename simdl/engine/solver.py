"""One step of any method over all lanes, and the control of adaptive steps.

Shapes: a state is (n, lanes), a time (lanes,) or a scalar, a step size a Python number, a scalar tensor or (lanes,).
Every operation is pointwise and out of place, so gradients pass and a lane alone steps bit for bit as it does in a
batch: sums over stages are chains of `add` (a reduction's order depends on the layout), error norms are maxima, and
powers go through `exp` and `log` (`pow` rounds differently in the tail of a vector).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from simdl.engine import tableau as methods
from simdl.engine.tableau import Row, Tableau
from simdl.errors import RunError

Time = float | Tensor
Field = Callable[[Time, Tensor], Tensor]
"""The right-hand side f(t, y) -> y', (n, lanes) -> (n, lanes)."""


@dataclass(frozen=True)
class FixedSolver:
    """Equal steps no longer than `max_step` (seconds, or text such as "1 ms")."""

    max_step: float | str | None = None
    adaptive: ClassVar[bool] = False
    tableau: ClassVar[Tableau]

    def __post_init__(self) -> None:
        _check_positive(type(self).__name__, max_step=self.max_step)

    @property
    def order(self) -> int:
        """The order of convergence."""
        return self.tableau.order


@dataclass(frozen=True)
class Euler(FixedSolver):
    """Explicit Euler, order 1: y1 = y + h f(t, y)."""

    tableau: ClassVar[Tableau] = methods.EULER


@dataclass(frozen=True)
class Heun(FixedSolver):
    """Heun's method (the explicit trapezium), order 2."""

    tableau: ClassVar[Tableau] = methods.HEUN


@dataclass(frozen=True)
class RK4(FixedSolver):
    """The classical Runge-Kutta method, order 4: the default."""

    tableau: ClassVar[Tableau] = methods.RK4


@dataclass(frozen=True)
class AdaptiveSolver:
    """Steps chosen for each lane so that the estimated error stays below `atol + rtol * |y|` in every state.

    `first_step` and `max_step` are seconds or text such as "1 ms"; `max_steps` bounds the attempts of one lane
    between two instants.
    """

    rtol: float = 1e-6
    atol: float = 1e-9
    first_step: float | str | None = None
    max_step: float | str | None = None
    max_steps: int = 100_000
    adaptive: ClassVar[bool] = True
    order: ClassVar[int] = 5

    def __post_init__(self) -> None:
        _check_positive(
            type(self).__name__,
            atol=self.atol,
            first_step=self.first_step,
            max_step=self.max_step,
            max_steps=self.max_steps,
        )
        if not 0.0 <= self.rtol < 1.0:
            raise RunError(type(self).__name__, f"rtol={self.rtol!r}", "a number in [0, 1)", "rtol=1e-6")


@dataclass(frozen=True)
class Tsit5(AdaptiveSolver):
    """Tsitouras 5(4), order 5: the adaptive method to try first."""

    tableau: ClassVar[Tableau] = methods.TSIT5


@dataclass(frozen=True)
class DormandPrince(AdaptiveSolver):
    """Dormand-Prince 5(4), order 5: the method of MATLAB's ode45 and SciPy's RK45."""

    tableau: ClassVar[Tableau] = methods.DOPRI5


Solver = Euler | Heun | RK4 | Tsit5 | DormandPrince


def _check_positive(where: str, **values: object) -> None:
    for name, value in values.items():
        if isinstance(value, (int, float)) and not (math.isfinite(value) and value > 0):
            raise RunError(where, f"{name}={value!r}", "a positive finite number", f"give {name} a value above zero")


def _axpy(y: Tensor, x: Tensor, h: Time, scale: float) -> Tensor:
    """y + h * scale * x in one operation."""
    if isinstance(h, Tensor):
        return torch.addcmul(y, x, h, value=scale)
    return torch.add(y, x, alpha=h * scale)


def _times(x: Tensor, h: Time, scale: float) -> Tensor:
    """h * scale * x."""
    return x * (h * scale)


def _sum(row: Row, ks: Sequence[Tensor]) -> Tensor:
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
            value = _axpy(coefficient, value, theta, 1.0)
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
            ks.append(f(time, _axpy(y, _sum(row, ks), step, row.scale)))
        self.ks, self.step = ks, step
        self._total = _sum(tableau.weight_row, ks)

    def _increment(self) -> Tensor:
        return _times(self._total, self.step, self.tableau.weight_row.scale)

    def _end(self) -> Tensor:
        return _axpy(self.y0, self._total, self.step, self.tableau.weight_row.scale)

    @cached_property
    def error(self) -> Tensor | None:
        """The estimated local error of y1, (n, lanes), or None for a method without an estimate."""
        row = self.tableau.error_row
        return None if row is None else _times(_sum(row, [*self.ks, self.f1]), self.step, row.scale)

    def _polynomial(self) -> tuple[Tensor, ...]:
        start = _times(self.f0, self.step, 1.0)
        rows = self.tableau.dense_rows
        if rows is None:  # cubic Hermite
            cubic = torch.sub(start + _times(self.f1, self.step, 1.0), self.increment, alpha=2.0)
            return start, self.increment - start - cubic, cubic
        ks = [*self.ks, self.f1]
        higher = [_times(_sum(row, ks), self.step, row.scale) for row in rows]
        square = self.increment - start
        for coefficient in higher:
            square = square - coefficient
        return start, square, *higher


def advance(solver: Solver, f: Field, t: Time, y: Tensor, h: Time, k1: Tensor | None = None) -> Step:
    """One step of `solver` from (t, y) over h, all lanes at once.

    `k1` is f(t, y) where it is already known: the `f1` of the step before, when nothing happened in between.
    """
    return ExplicitStep(solver.tableau, f, t, y, h, k1)


def add_compensated(y: Tensor, carry: Tensor, increment: Tensor) -> tuple[Tensor, Tensor]:
    """y + increment by compensated summation: the new state, and what rounding left out of it.

    `carry` starts at zero and is fed back. The two-sum (Knuth) is exact whichever of the two is larger, so a
    float32 state followed over millions of small steps is as good as one rounding.
    """
    small = increment + carry
    total = y + small
    shifted = total - y
    return total, (y - (total - shifted)) + (small - shifted)


def error_norm(step: Step, y0: Tensor, rtol: float | Tensor, atol: float | Tensor) -> Tensor:
    """The largest estimated error over the states, in units of what is allowed; a step is good at <= 1. (lanes,)

    `rtol` and `atol` are numbers or (n, 1). The maximum, not the mean square: its value does not depend on the order
    of the states in memory, and one bad state among many good ones still counts. Detached.
    """
    with torch.no_grad():
        error = step.error
        if error is None:
            found = f"{type(step).__name__} without an error estimate"
            raise RunError("error_norm", found, "an adaptive method", "Tsit5()")
        scale = torch.maximum(y0.abs(), step.y1.abs()) * rtol + atol
        return (error.abs() / scale).amax(dim=0)


SAFETY, SHRINK, GROW, MEMORY = 0.9, 0.2, 10.0, 0.04


def next_step(h: Tensor, norm: Tensor, previous_norm: Tensor | float, order: int) -> Tensor:
    """The size of the next attempt after one of size `h` with error norm `norm`. (lanes,)

    The PI controller of Hairer, Norsett & Wanner (Solving ODEs I, II.4, beta = 0.04): `previous_norm` is the norm of
    the attempt before, 1 at the start. A step grows by at most 10, shrinks by at most 5, and does not grow after a
    rejection (previous_norm > 1). A norm that is not a number shrinks as far as allowed. `order` is the method's.
    """
    with torch.no_grad():
        previous = torch.as_tensor(previous_norm, dtype=norm.dtype, device=norm.device)
        now = torch.nan_to_num(norm, nan=1e300, posinf=1e300).clamp(min=1e-30).log()
        before = torch.nan_to_num(previous, nan=2.0).clamp(min=1e-4, max=1.0).log()
        gain = torch.exp(MEMORY * before - (1.0 / order - 0.75 * MEMORY) * now) * SAFETY
        most = torch.where((previous > 1.0) | (norm > 1.0), 1.0, GROW)
        return h * torch.minimum(gain.clamp(min=SHRINK), most)


def first_step(
    f: Field, t: Time, y: Tensor, rtol: float | Tensor, atol: float | Tensor, order: int, f0: Tensor | None = None
) -> Tensor:
    """A first step size for each lane (Hairer, Norsett & Wanner, Solving ODEs I, II.4), (lanes,).

    Costs one evaluation of f, two without `f0` = f(t, y). Detached.
    """
    with torch.no_grad():
        slope = f(t, y) if f0 is None else f0
        scale = y.abs() * rtol + atol
        size, speed = (y / scale).abs().amax(dim=0), (slope / scale).abs().amax(dim=0)
        flat = (size < 1e-5) | (speed < 1e-5)
        trial = torch.where(flat, 1e-6, 0.01 * size / torch.where(flat, 1.0, speed))
        curve = ((f(t + trial, y + trial * slope) - slope) / scale).abs().amax(dim=0) / trial
        bend = torch.maximum(speed, curve)
        step = torch.exp(torch.log(0.01 / bend.clamp(min=1e-15)) / (order + 1))
        step = torch.where(bend <= 1e-15, (trial * 1e-3).clamp(min=1e-6), step)
        # A trial that leaves the domain of f tells nothing: start small and let the controller grow.
        return torch.where(torch.isfinite(step), torch.minimum(100 * trial, step), trial * 1e-3)
