"""The integration methods a user names, and the control of adaptive steps.

Shapes are those of `step`. Step sizes are chosen per lane and detached from the graph, and a lane alone chooses bit for
bit what it chooses in a batch: error norms are maxima, whose value does not depend on the order of the states in
memory, and powers go through `exp` and `log`, because `pow` rounds differently in the tail of a vector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from simdl.clock import nanoseconds
from simdl.engine import tableau as methods
from simdl.engine.rosenbrock import RosenbrockStep
from simdl.engine.step import ExplicitStep, Field, Step, Time
from simdl.engine.tableau import RosenbrockTableau, Tableau
from simdl.errors import RunError


@dataclass(frozen=True)
class FixedSolver:
    """Equal steps no longer than `max_step` (seconds, or text such as "1 ms")."""

    max_step: float | str | None = None
    adaptive: ClassVar[bool] = False
    tableau: ClassVar[Tableau]

    def __post_init__(self) -> None:
        _check_time(type(self).__name__, max_step=self.max_step)

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
        name = type(self).__name__
        _check_positive(name, atol=self.atol)
        _check_time(name, first_step=self.first_step, max_step=self.max_step)
        if isinstance(self.max_steps, bool) or not isinstance(self.max_steps, int) or self.max_steps < 1:
            raise RunError(name, f"max_steps={self.max_steps!r}", "a whole number of at least 1")
        if isinstance(self.rtol, bool) or not isinstance(self.rtol, int | float) or not 0.0 <= self.rtol < 1.0:
            raise RunError(name, f"rtol={self.rtol!r}", "a number in [0, 1)", "rtol=1e-6")


@dataclass(frozen=True)
class Tsit5(AdaptiveSolver):
    """Tsitouras 5(4), order 5: the adaptive method to try first."""

    tableau: ClassVar[Tableau] = methods.TSIT5


@dataclass(frozen=True)
class DormandPrince(AdaptiveSolver):
    """Dormand-Prince 5(4), order 5: the method of MATLAB's ode45 and SciPy's RK45."""

    tableau: ClassVar[Tableau] = methods.DOPRI5


@dataclass(frozen=True)
class Rosenbrock(AdaptiveSolver):
    """Rodas5P, order 5, for stiff systems: linearly implicit, stiffly accurate, L-stable; Jacobian by autograd."""

    tableau: ClassVar[RosenbrockTableau] = methods.RODAS5P


Solver = Euler | Heun | RK4 | Tsit5 | DormandPrince | Rosenbrock


def _check_positive(where: str, **values: object) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
            raise RunError(where, f"{name}={value!r}", "a positive finite number", f"give {name} a value above zero")


def _check_time(where: str, **values: object) -> None:
    """The same for a time, which may be text, or None."""
    for name, value in values.items():
        if isinstance(value, str):
            if nanoseconds(value, f"{where}: {name}") <= 0:
                raise RunError(where, f"{name}={value!r}", "a time above zero", f'{name}="1 ms"')
        elif value is not None:
            _check_positive(where, **{name: value})


def advance(solver: Solver, f: Field, t: Time, y: Tensor, h: Time, k1: Tensor | None = None) -> Step:
    """One step of `solver` from (t, y) over h, all lanes at once.

    `k1` is f(t, y) where it is already known: the `f1` of the step before, when nothing happened in between.
    """
    if isinstance(solver, Rosenbrock):
        return RosenbrockStep(solver.tableau, f, t, y, h, k1)
    return ExplicitStep(solver.tableau, f, t, y, h, k1)


def error_norm(step: Step, y0: Tensor, rtol: float | Tensor, atol: float | Tensor) -> Tensor:
    """The largest estimated error over the states, in units of what is allowed; a step is good at <= 1. (lanes,)

    `rtol` and `atol` are numbers or (n, 1). The maximum, not the mean square: one bad state among many good ones
    counts. Detached.
    """
    with torch.no_grad():
        error = step.error
        if error is None:
            found = f"{type(step).__name__} without an error estimate"
            raise RunError("error_norm", found, "an adaptive method", "Tsit5()")
        scale = torch.maximum(y0.abs(), step.y1.abs()) * rtol + atol
        return (error.abs() / scale).amax(dim=0)


SAFETY, SHRINK, GROW, MEMORY = 0.9, 0.2, 10.0, 0.04
LEAST = math.log(1e-4)  # of what is remembered of a norm


def next_step(h: Tensor, norm: Tensor, previous_norm: Tensor | float, order: int) -> Tensor:
    """The size of the next attempt after one of size `h` with error norm `norm`. (lanes,)

    The PI controller of Hairer, Norsett & Wanner (Solving ODEs I, II.4, beta = 0.04): `previous_norm` is the norm of
    the attempt before, 1 at the start. A step grows by at most 10, shrinks by at most 5, and does not grow after a
    rejection (a norm that is not <= 1). A norm that is not a number shrinks as far as allowed. `order` is the method's.
    """
    with torch.no_grad():
        previous = torch.as_tensor(previous_norm, dtype=norm.dtype, device=norm.device)
        return grown(h, magnitude(norm), magnitude(previous), order)


def magnitude(norm: Tensor) -> Tensor:
    """The logarithm of an error norm, of what is not a number that of a very large one. (lanes,)"""
    return torch.nan_to_num(norm, nan=1e30, posinf=1e30).clamp(min=1e-30).log()


def grown(h: Tensor, now: Tensor, before: Tensor, order: int) -> Tensor:
    """`next_step` from the logarithms of both norms."""
    gain = torch.exp(MEMORY * before.clamp(LEAST, 0.0) - (1.0 / order - 0.75 * MEMORY) * now) * SAFETY
    most = torch.where((before <= 0.0) & (now <= 0.0), GROW, 1.0)
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
