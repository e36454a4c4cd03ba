"""Implicit equations solved by `Solve`: closed forms, SciPy, and gradients against finite differences."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy import optimize
from torch import Tensor

from simdl import RK4, Diagram, LoopError, Output, simulate
from simdl.blocks import Constant, Integrator, Ramp, Solve


class Circle(Solve):
    """The point of a circle of radius r in the direction (a, 1)."""

    def residual(self, z, radius, a):  # type: ignore[no-untyped-def]
        return torch.stack([z[:, 0] ** 2 + z[:, 1] ** 2 - radius**2, z[:, 0] - a * z[:, 1]], dim=1)


class Kepler(Solve):
    """The eccentric anomaly E of the mean anomaly M: E - e sin E = M."""

    def residual(self, z, mean, e):  # type: ignore[no-untyped-def]
        return z - e * torch.sin(z) - mean


class Linear(Solve):
    turns = 1

    def residual(self, z, b):  # type: ignore[no-untyped-def]
        return torch.stack([2 * z[:, 0] + z[:, 1] - b[:, 0], z[:, 0] - 3 * z[:, 1] - b[:, 1]], 1)


class Equation(Diagram):
    z, error = Output(), Output()

    def __init__(self, block: Solve, **values: Any) -> None:
        self.values = {name: Constant(value=value) for name, value in values.items()}
        self.solve = block
        self.solve.u = [constant.y for constant in self.values.values()]
        self.z, self.error = self.solve.z, self.solve.error

    def root(self, grad: bool = False, **values: Tensor) -> Tensor:
        """z at once, for values of each lane."""
        run = simulate(self, 0, grad=grad, set={self.values[name].value: value for name, value in values.items()})
        return run["z"].at(0)


def close(found: Any, wanted: Any, tolerance: float = 1e-12) -> None:
    found, wanted = (torch.as_tensor(value, dtype=torch.float64) for value in (found, wanted))
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def test_kepler_s_equation_against_scipy_in_many_lanes() -> None:
    generator = torch.Generator().manual_seed(1)
    mean = 6.28 * torch.rand(200, dtype=torch.float64, generator=generator)
    e = 0.7 * torch.rand(200, dtype=torch.float64, generator=generator)
    found = Equation(Kepler(guess=math.pi), mean=0.0, e=0.0).root(mean=mean, e=e)
    wanted = [
        optimize.brentq(lambda x, m=m, e=e: x - e * math.sin(x) - m, -1, 8, xtol=1e-15)
        for m, e in zip(mean.tolist(), e.tolist(), strict=True)
    ]
    close(found, wanted)


def test_a_linear_system_takes_one_step() -> None:
    close(Equation(Linear(guess=[0.0, 0.0]), b=[3.0, -2.0]).root(), [[1.0, 1.0]])


def test_error_is_the_largest_residual_before_the_last_step() -> None:
    run = simulate(Equation(Linear(guess=[0.0, 0.0]), b=[3.0, -2.0]), 0)
    close(run["error"].at(0), [3.0])

    class Longer(Linear):
        turns = 2

    assert float(simulate(Equation(Longer(guess=[0.0, 0.0]), b=[3.0, -2.0]), 0)["error"].at(0)) < 1e-15


def test_gradient_against_finite_differences_and_the_closed_form() -> None:
    """x = r a / sqrt(1 + a^2), y = r / sqrt(1 + a^2)."""
    model = Equation(Circle(guess=[1.0, 1.0]), radius=1.0, a=1.0)
    radius = torch.tensor([2.0, 0.7], dtype=torch.float64, requires_grad=True)
    a = torch.tensor([0.75, -0.2], dtype=torch.float64, requires_grad=True)
    z = model.root(True, radius=radius, a=a)
    length = torch.sqrt(1 + a**2)
    close(z.detach(), torch.stack([radius * a / length, radius / length], 1).detach())
    for element, slopes in ((0, (a / length, radius / length**3)), (1, (1 / length, -radius * a / length**3))):
        found = torch.autograd.grad(z[:, element].sum(), (radius, a), retain_graph=True)
        for gradient, slope in zip(found, slopes, strict=True):
            close(gradient, slope.detach())

    def moved(step: float) -> Tensor:
        return model.root(radius=radius.detach(), a=a.detach() + step)

    difference = (moved(1e-5) - moved(-1e-5)) / 2e-5
    close(torch.autograd.grad(z[:, 0].sum(), a)[0], difference[:, 0], 1e-9)


def test_gradient_passes_a_solve_in_a_loop_with_an_integrator() -> None:
    """x' = z where z + z^3 = -p x: against finite differences of the whole run."""

    class Cubic(Solve):
        def residual(self, z, x, p):  # type: ignore[no-untyped-def]
            return z + z**3 + p * x

    class Loop(Diagram):
        x = Output()

        def __init__(self) -> None:
            self.plant, self.p, self.flow = Integrator(start=1.0), Constant(value=1.0), Cubic(guess=0.0)
            self.flow.u = [self.plant.y, self.p.y]
            self.plant.u = self.flow.z
            self.x = self.plant.y

    loop = Loop()

    def final(p: Tensor, grad: bool) -> Tensor:
        return simulate(loop, 1, set={loop.p.value: p}, every=1, solver=RK4(max_step=0.1), grad=grad)["x"].at(1)

    p = torch.tensor([0.5, 3.0], dtype=torch.float64, requires_grad=True)
    found = torch.autograd.grad(final(p, True).sum(), p)[0]
    with torch.no_grad():
        close(found, (final(p + 1e-5, False) - final(p - 1e-5, False)) / 2e-5, 1e-8)


def test_a_singular_lane_fails_alone() -> None:
    class Sloped(Solve):
        def residual(self, z, u):  # type: ignore[no-untyped-def]
            return torch.stack([u * z[:, 0] - 1, z[:, 1] - z[:, 0]], 1)

    class Watched(Diagram):
        total = Output()

        def __init__(self) -> None:
            self.u, self.solve, self.sum = Constant(value=1.0), Sloped(guess=[0.0, 0.0]), Integrator(start=[0.0, 0.0])
            self.solve.u = [self.u.y]
            self.sum.u = self.solve.z
            self.total = self.sum.y

    model = Watched()
    slopes = torch.tensor([2.0, 0.0, 4.0], dtype=torch.float64)
    run = simulate(model, 1, set={model.u.value: slopes}, solver=RK4(max_step=0.5))
    assert list(run.status) == [1]
    close(run["total"].at(1)[[0, 2]], [[0.5, 0.5], [0.25, 0.25]])


def test_an_algebraic_loop_through_solve_is_still_a_loop() -> None:
    class Loop(Diagram):
        def __init__(self) -> None:
            self.ramp, self.solve = Ramp(), Kepler(guess=0.0)
            self.solve.u = [self.ramp.y, self.solve.z]

    with pytest.raises(LoopError, match="depends on itself"):
        simulate(Loop(), 1)
