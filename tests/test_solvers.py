"""Integration methods: orders, dense output, error control, stiffness, gradients, lanes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.integrate import solve_ivp
from torch import Tensor

from simdl.engine.rosenbrock import jacobian
from simdl.engine.solver import (
    RK4,
    AdaptiveSolver,
    DormandPrince,
    Euler,
    Heun,
    Rosenbrock,
    Solver,
    Tsit5,
    advance,
    error_norm,
    first_step,
    next_step,
)
from simdl.engine.step import Field, Step, add_compensated
from simdl.engine.tableau import DOPRI5, EULER, HEUN, RK4 as RK4_TABLEAU, RODAS5P, TSIT5, Tableau
from simdl.errors import RunError

SOLVERS: list[Solver] = [Euler(), Heun(), RK4(), Tsit5(), DormandPrince(), Rosenbrock()]
ADAPTIVE: list[AdaptiveSolver] = [Tsit5(), DormandPrince(), Rosenbrock()]
EXPLICIT = [EULER, HEUN, RK4_TABLEAU, TSIT5, DOPRI5]


def name(solver: Solver) -> str:
    return type(solver).__name__


def clock(t: float | Tensor) -> Tensor:
    return torch.as_tensor(t, dtype=torch.float64)


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def worst(solver: Solver, f: Field, exact: Callable[[float], Tensor], until: float, steps: int) -> float:
    """The largest error at the ends of equal steps, the slope at each end reused."""
    h, y, slope, error = until / steps, exact(0.0), None, 0.0
    with torch.no_grad():
        for index in range(steps):
            step = advance(solver, f, index * h, y, h, slope)
            y = step.y1
            slope = step.f1 if solver.adaptive else None
            error = max(error, float((y - exact((index + 1) * h)).abs().max()))
    return error


def adaptive(solver: AdaptiveSolver, f: Field, y: Tensor, until: float) -> tuple[Tensor, int]:
    """The state at `until` and the attempts made, every lane with its own steps."""
    lanes = y.shape[1]
    t = torch.zeros(lanes, dtype=torch.float64)
    slope = f(t, y)
    h = first_step(f, t, y, solver.rtol, solver.atol, solver.order, slope)
    before = torch.ones(lanes, dtype=torch.float64)
    for attempt in range(solver.max_steps):
        if not bool((t < until).any()):
            return y, attempt
        last = t + h >= until
        step = advance(solver, f, t, y, torch.where(last, until - t, h), slope)
        norm = error_norm(step, y, solver.rtol, solver.atol)
        good = (norm <= 1) & (t < until)
        h = torch.where(t < until, next_step(step.h, norm, before, solver.order), h)
        before = norm
        y, slope = torch.where(good, step.y1, y), torch.where(good, step.f1, slope)
        t = torch.where(good, torch.where(last, until, t + step.h), t)
    raise AssertionError("too many steps")


# Two problems with closed forms: y' = sin(4 t) / y, and a driven rotation that shrinks.
def root(t: float | Tensor, y: Tensor) -> Tensor:
    return torch.sin(4 * clock(t)) / y


def root_exact(t: float) -> Tensor:
    return column(math.sqrt(1.5 - math.cos(4 * t) / 2))


# The drive exp(-t) is a third state of a linear system, solved by its eigenvectors.
VALUES, VECTORS = np.linalg.eig(np.array([[-0.4, 2.0, 1.0], [-2.0, -0.4, 0.0], [0.0, 0.0, -1.0]]))
PARTS = VECTORS * np.linalg.solve(VECTORS, [1.0, 0.5, 1.0])


def spiral(t: float | Tensor, y: Tensor) -> Tensor:
    t = clock(t)
    a, b = y.unbind(0)
    return torch.stack((-0.4 * a + 2.0 * b + torch.exp(-t), -2.0 * a - 0.4 * b))


def spiral_exact(t: float) -> Tensor:
    return column(*(PARTS @ np.exp(VALUES * t)).real[:2])


PROBLEMS: dict[str, tuple[Field, Callable[[float], Tensor]]] = {
    "root": (root, root_exact),
    "spiral": (spiral, spiral_exact),
}


def slope_of(sizes: list[float], errors: list[float]) -> float:
    """The exponent of the error in the step size: least squares in logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("solver", SOLVERS, ids=name)
def test_order_of_convergence(solver: Solver, problem: str) -> None:
    f, exact = PROBLEMS[problem]
    counts = [80, 160, 320] if problem == "root" or solver.order < 4 else [40, 80, 160]
    errors = [worst(solver, f, exact, 2.0, n) for n in counts]
    order = slope_of([2.0 / n for n in counts], errors)
    # Rodas5P's stability function is right to one order more than the method, which linear problems show in part.
    bonus = 1.0 if problem == "spiral" and isinstance(solver, Rosenbrock) else 0.0
    assert solver.order - 0.2 < order < solver.order + 0.2 + bonus


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("solver", SOLVERS, ids=name)
def test_order_of_the_dense_output_inside_one_step(solver: Solver, problem: str) -> None:
    """Local error of order h**(q + 1): q = 4 for the methods with an interpolant of their own, else cubic Hermite."""
    f, exact = PROBLEMS[problem]
    expected = {1: 2, 2: 3, 4: 4, 5: 5}[solver.order]
    start, sizes, errors = 0.3, [0.08, 0.04, 0.02] if solver.order > 2 else [0.008, 0.004, 0.002], []
    for h in sizes:
        step = advance(solver, f, start, exact(start), h)
        errors.append(
            max(float((step.at(x).detach() - exact(start + x * h)).abs().max()) for x in (0.1, 0.3, 0.5, 0.7, 0.9))
        )
    assert slope_of(sizes, errors) == pytest.approx(expected, abs=0.25)


@pytest.mark.parametrize("solver", SOLVERS, ids=name)
def test_dense_output_meets_both_ends(solver: Solver) -> None:
    step = advance(solver, spiral, 0.3, spiral_exact(0.3), 0.1)
    for theta in (0.0, torch.tensor(0.0)):
        assert torch.equal(step.at(theta), step.y0)
    for theta in (1.0, torch.tensor(1.0), torch.ones(1)):
        torch.testing.assert_close(step.at(theta), step.y1, rtol=0, atol=1e-15)


def test_dense_output_at_several_fractions_at_once() -> None:
    step = advance(Tsit5(), spiral, 0.0, torch.rand(2, 5, dtype=torch.float64), 0.1)
    thetas = torch.tensor([0.2, 0.7, 0.9], dtype=torch.float64)
    together = step.at(thetas[:, None, None])
    assert together.shape == (3, 2, 5)
    for theta, value in zip(thetas, together, strict=True):
        assert torch.equal(value, step.at(theta))
    lanes = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5], dtype=torch.float64)
    assert torch.equal(step.at(lanes)[:, 2], step.at(0.3)[:, 2])


@pytest.mark.parametrize("tableau", EXPLICIT, ids=lambda t: t.name)
def test_order_conditions_of_the_tableaus(tableau: Tableau) -> None:
    """Butcher's conditions through order 5; those of the embedded method and the interpolant through 4."""
    s = len(tableau.nodes)
    a = np.zeros((s + 1, s + 1))
    for i, row in enumerate(tableau.stages, start=1):
        a[i, : len(row)] = row
    a[s, :s] = tableau.weights
    c = a.sum(axis=1)
    np.testing.assert_allclose(c[:s], tableau.nodes, atol=1e-14)
    trees = [  # (order, elementary weight over the stages, 1 / density)
        (1, np.ones(s + 1), 1), (2, c, 1 / 2), (3, c**2, 1 / 3), (3, a @ c, 1 / 6), (4, c**3, 1 / 4),
        (4, c * (a @ c), 1 / 8), (4, a @ c**2, 1 / 12), (4, a @ a @ c, 1 / 24), (5, c**4, 1 / 5),
        (5, c**2 * (a @ c), 1 / 10), (5, c * (a @ c**2), 1 / 15), (5, c * (a @ a @ c), 1 / 30),
        (5, (a @ c) ** 2, 1 / 20), (5, a @ c**3, 1 / 20), (5, a @ (c * (a @ c)), 1 / 40), (5, a @ a @ c**2, 1 / 60),
        (5, a @ a @ a @ c, 1 / 120),
    ]  # fmt: skip
    weights = np.array([*tableau.weights, 0.0])
    for order, phi, value in trees:
        if order <= tableau.order:
            assert weights @ phi == pytest.approx(value, abs=1e-13)
        if tableau.error is not None and order <= 4:
            assert np.array(tableau.error) @ phi == pytest.approx(0, abs=1e-13)
        if tableau.dense is not None and order <= 4:
            for theta in (0.1, 0.5, 0.8):
                b = np.array(tableau.dense) @ theta ** np.arange(1, 5)
                assert b @ phi == pytest.approx(value * theta**order, abs=1e-13)
    if tableau.error is not None:
        assert abs(np.array(tableau.error) @ c**4) > 1e-4, "an estimate of order 5 would be blind"
    if tableau.dense is not None:
        np.testing.assert_allclose(np.sum(tableau.dense, axis=1), weights, atol=1e-14)


def test_rodas5p_is_l_stable_and_its_stability_function_is_right_to_order_6() -> None:
    """On y' = z y one step multiplies by R(z): |R| <= 1 on the left, R -> 0 at infinity, R = exp(z) + O(z**7) at zero.

    The embedded result (without the last stage) agrees through order 4 and not 5. In 60 digits, so that what is left
    is the rounding of the published coefficients.
    """
    mpmath.mp.dps = 60
    gamma = mpmath.mpf(RODAS5P.gamma)

    def amplification(z: mpmath.mpc) -> tuple[mpmath.mpc, mpmath.mpc]:
        us: list[mpmath.mpc] = []
        for i in range(len(RODAS5P.nodes)):
            y = 1 + (sum(a * u for a, u in zip(RODAS5P.stages[i - 1], us, strict=True)) if i else 0)
            coupling = sum(k * u for k, u in zip(RODAS5P.couplings[i - 1], us, strict=True)) if i else 0
            us.append(gamma * (z * y + coupling) / (1 - gamma * z))
        return y + us[-1], y

    for angle in np.linspace(np.pi / 2, np.pi, 20):
        for size in (0.1, 1.0, 5.0, 30.0, 1e3, 1e6):
            assert abs(amplification(size * mpmath.expj(angle))[0]) <= 1 + 1e-12
    assert abs(amplification(mpmath.mpf(-1e9))[0]) < 1e-6
    for part, order in ((0, 6), (1, 4)):
        series = mpmath.taylor(lambda z, part=part: amplification(z)[part], 0, order + 1)
        for k, coefficient in enumerate(series):
            miss = abs(float(coefficient * mpmath.factorial(k) - 1))
            assert miss < 1e-13 if k <= order else miss > 1e-3


@pytest.mark.parametrize("size", [1.0, 1e2, 1e4, 1e6])
def test_rosenbrock_does_not_lose_accuracy_to_stiffness(size: float) -> None:
    """Prothero and Robinson's problem y' = -size (y - sin t) + cos t; an explicit method would need h < 3 / size."""

    def f(t: float | Tensor, y: Tensor) -> Tensor:
        t = clock(t)
        return -size * (y - torch.sin(t)) + torch.cos(t)

    counts = [10, 20, 40]
    errors = [worst(Rosenbrock(), f, lambda t: column(math.sin(t)), 1.0, n) for n in counts]
    assert errors[0] < 2e-7 / max(1.0, size / 1e3)
    assert slope_of([1 / n for n in counts], errors) > 2.8


def test_jacobian_and_time_derivative() -> None:
    y = torch.rand(3, 4, dtype=torch.float64)
    t = torch.linspace(0.1, 0.7, 4, dtype=torch.float64)
    gain = torch.linspace(1, 2, 4, dtype=torch.float64)

    def f(t: float | Tensor, y: Tensor) -> Tensor:
        a, b, c = y.unbind(0)
        return torch.stack((gain * a * b, torch.sin(b) * t**2, c.square() + a))

    value, slopes, drift = jacobian(f, t, y)
    a, b, c = y.unbind(0)
    zero, one = torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    rows = [[gain * b, gain * a, zero], [zero, torch.cos(b) * t**2, zero], [one, zero, 2 * c]]
    torch.testing.assert_close(value, f(t, y))
    torch.testing.assert_close(slopes, torch.stack([torch.stack(row) for row in rows]).permute(2, 0, 1))
    torch.testing.assert_close(drift, torch.stack((zero, torch.sin(b) * 2 * t, zero)))


def test_jacobian_of_right_hand_sides_that_cannot_be_batched_or_are_constant() -> None:
    class Square(torch.autograd.Function):  # without a batching rule
        @staticmethod
        def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)  # type: ignore[attr-defined]
            return torch.from_numpy(x.detach().numpy() ** 2)

        @staticmethod
        def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:  # type: ignore[override]
            (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
            return torch.from_numpy(2 * x.numpy() * grad.numpy())

    y = torch.rand(2, 3, dtype=torch.float64)
    with torch.no_grad():
        _, slopes, drift = jacobian(lambda t, y: Square.apply(y).flip(0), 0.0, y)  # type: ignore[no-untyped-call]
        assert torch.equal(slopes[:, 0, 1], 2 * y[1]) and torch.equal(slopes[:, 1, 0], 2 * y[0])
        assert not slopes[:, 0, 0].any() and not drift.any()
        value, slopes, drift = jacobian(lambda t, y: torch.ones_like(y), 0.0, y)
    assert not value.requires_grad and not slopes.any() and not drift.any()


def van_der_pol(mu: float) -> Field:
    def f(t: float | Tensor, y: Tensor) -> Tensor:
        a, b = y.unbind(0)
        return torch.stack((b, mu * ((1 - a * a) * b) - a))

    return f


@pytest.mark.parametrize(
    "solver", [Tsit5(1e-10, 1e-12), DormandPrince(1e-10, 1e-12), Rosenbrock(1e-9, 1e-11)], ids=name
)
def test_van_der_pol_agrees_with_scipy_dop853(solver: AdaptiveSolver) -> None:
    with torch.no_grad():
        y, _ = adaptive(solver, van_der_pol(5.0), column(2.0, 0.0), 10.0)
    reference = solve_ivp(
        lambda t, y: [y[1], 5 * (1 - y[0] ** 2) * y[1] - y[0]], (0, 10), [2.0, 0.0], "DOP853", rtol=1e-13, atol=1e-13
    )
    np.testing.assert_allclose(y[:, 0].numpy(), reference.y[:, -1], rtol=2e-8)


def test_dormand_prince_is_scipys_rk45_step_for_step() -> None:
    options = {"rtol": 1e-3, "atol": 1e-3, "first_step": 0.3, "dense_output": True}
    reference = solve_ivp(lambda t, y: [y[1], -np.sin(y[0])], (0, 0.3), [1.0, 0.2], "RK45", **options)
    assert len(reference.t) == 2
    step = advance(DormandPrince(), lambda t, y: torch.stack((y[1], -torch.sin(y[0]))), 0.0, column(1.0, 0.2), 0.3)
    np.testing.assert_allclose(step.y1[:, 0].numpy(), reference.y[:, -1], rtol=0, atol=4e-16)
    for theta in (0.2, 0.55, 0.9):
        np.testing.assert_allclose(step.at(theta)[:, 0].numpy(), reference.sol(0.3 * theta), rtol=0, atol=1e-15)


@pytest.mark.parametrize("solver", ADAPTIVE, ids=name)
@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
def test_kepler_ellipse_closes_within_its_tolerance(solver: AdaptiveSolver, rtol: float) -> None:
    def f(t: float | Tensor, y: Tensor) -> Tensor:
        x, z, u, v = y.unbind(0)
        cube = (x * x + z * z) ** 1.5
        return torch.stack((u, v, -x / cube, -z / cube))

    e = 0.5
    start = column(1 - e, 0.0, 0.0, math.sqrt((1 + e) / (1 - e)))
    tight = type(solver)(rtol=rtol, atol=rtol)
    with torch.no_grad():
        y, attempts = adaptive(tight, f, start, 2 * math.pi)
    # Errors of the period add up along the orbit: some hundred tolerances after one turn (SciPy's RK45 as well).
    assert float((y - start).abs().max()) < 300 * rtol
    assert attempts < 40 * rtol ** (-1 / 5)


@pytest.mark.parametrize("solver", ADAPTIVE, ids=name)
def test_lanes_step_on_their_own(solver: AdaptiveSolver) -> None:
    """A lane alone takes bit for bit the steps and reaches the state that it has in a batch."""
    stiffness = torch.tensor([0.5, 1.0, 3.0, 10.0, 30.0], dtype=torch.float64)

    def lanes(mu: Tensor) -> Field:
        def f(t: float | Tensor, y: Tensor) -> Tensor:
            a, b = y.unbind(0)
            return torch.stack((b, mu * (1 - a * a) * b - a + torch.sin(clock(t))))

        return f

    with torch.no_grad():
        batch, _ = adaptive(solver, lanes(stiffness), column(2.0, 0.0).expand(2, 5), 3.0)
        for i in range(5):
            alone, _ = adaptive(solver, lanes(stiffness[i : i + 1]), column(2.0, 0.0), 3.0)
            assert torch.equal(batch[:, i], alone[:, 0])


@pytest.mark.parametrize("solver", SOLVERS, ids=name)
@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.floats(-3, 3), min_size=2, max_size=12), h=st.floats(1e-4, 0.3))
def test_one_step_of_a_lane_does_not_depend_on_the_batch(solver: Solver, values: list[float], h: float) -> None:
    y = torch.tensor([values, values[::-1]], dtype=torch.float64)
    sizes = torch.full((len(values),), h, dtype=torch.float64)
    with torch.no_grad():
        step = advance(solver, spiral, 0.0, y, sizes)
        for i in range(len(values)):
            alone = advance(solver, spiral, 0.0, y[:, i : i + 1], sizes[:1])
            assert torch.equal(step.y1[:, i], alone.y1[:, 0])
            assert torch.equal(step.at(0.37)[:, i], alone.at(0.37)[:, 0])


@pytest.mark.parametrize("solver", SOLVERS, ids=name)
def test_step_size_as_number_scalar_and_per_lane_agree(solver: Solver) -> None:
    y = torch.rand(2, 3, dtype=torch.float64)
    sizes = (0.1, torch.tensor(0.1, dtype=torch.float64), torch.full((3,), 0.1, dtype=torch.float64))
    times = (0.2, torch.tensor(0.2, dtype=torch.float64), torch.full((3,), 0.2, dtype=torch.float64))
    one, *others = (advance(solver, spiral, t, y, h) for t, h in zip(times, sizes, strict=True))
    for other in others:
        torch.testing.assert_close(other.y1, one.y1, rtol=1e-14, atol=1e-15)
        torch.testing.assert_close(other.at(0.4), one.at(0.4), rtol=1e-14, atol=1e-15)
        torch.testing.assert_close(other.y0 + other.increment, other.y1, rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("solver", SOLVERS, ids=name)
def test_first_slope_is_reused_and_lane_that_does_not_move_stays(solver: Solver) -> None:
    calls = []

    def f(t: float | Tensor, y: Tensor) -> Tensor:
        calls.append(t)
        return spiral(t, y)

    y = torch.rand(2, 2, dtype=torch.float64)
    h = torch.tensor([0.1, 0.0], dtype=torch.float64)
    first = advance(solver, f, 0.0, y, h)
    first.y1  # noqa: B018
    spent = len(calls)
    again = advance(solver, f, 0.0, y, h, first.f0)
    assert torch.equal(first.y1, again.y1) and torch.equal(first.y1[:, 1], y[:, 1])
    if not isinstance(solver, Rosenbrock):  # the Jacobian brings f0 along
        assert len(calls) == 2 * spent - 1
    assert torch.equal(first.f1, spiral(h, first.y1))


@pytest.mark.parametrize("solver", SOLVERS, ids=name)
def test_gradients_through_steps_match_finite_differences(solver: Solver) -> None:
    """State, parameter, step size, dense output and end slope, through two steps and a reset between them."""

    def run(y: Tensor, gain: Tensor, h: Tensor, theta: Tensor) -> Tensor:
        def f(t: float | Tensor, y: Tensor) -> Tensor:
            a, b = y.unbind(0)
            return torch.stack((b * gain, -gain * torch.sin(a) - 0.1 * b * b * torch.cos(clock(t))))

        first = advance(solver, f, 0.0, y, h)
        second = advance(solver, f, h, first.y1 * 0.9, h, None)
        return torch.cat((second.at(theta), second.f1, first.increment))

    y = torch.tensor([[0.5, 1.0], [0.3, -0.2]], dtype=torch.float64, requires_grad=True)
    gain = torch.tensor([1.0, 1.5], dtype=torch.float64, requires_grad=True)
    h = torch.tensor([0.1, 0.2], dtype=torch.float64, requires_grad=True)
    theta = torch.tensor([0.3, 0.8], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, (y, gain, h, theta))


@pytest.mark.parametrize("solver", ADAPTIVE, ids=name)
def test_what_is_asked_for_under_no_grad_keeps_its_gradient(solver: Solver) -> None:
    y = torch.rand(2, 2, dtype=torch.float64, requires_grad=True)
    step = advance(solver, spiral, 0.0, y, 0.1)
    with torch.no_grad():
        step.at(0.5)
        error_norm(step, y, 1e-6, 1e-9)
    assert (
        step.at(0.5).requires_grad and step.f1.requires_grad and step.y1.requires_grad and step.increment.requires_grad
    )


@pytest.mark.parametrize("solver", [RK4(), Tsit5(), Rosenbrock()], ids=name)
def test_float32_states_stay_float32_under_float64_times(solver: Solver) -> None:
    y = torch.rand(2, 3)
    h, t = torch.full((3,), 0.1, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)

    def f(t: float | Tensor, y: Tensor) -> Tensor:
        a, b = y.unbind(0)
        return torch.stack((-0.4 * a + 2.0 * b + torch.exp(-clock(t)).to(y.dtype), -2.0 * a - 0.4 * b))

    step = advance(solver, f, t, y, h)
    for value in (step.y1, step.increment, step.f1, step.at(torch.full((3,), 0.5, dtype=torch.float64))):
        assert value.dtype == torch.float32
    exact = advance(solver, spiral, t, y.double(), h)
    torch.testing.assert_close(step.y1, exact.y1.float(), rtol=1e-5, atol=1e-6)


def test_compensated_summation_keeps_an_hour_of_coulomb_counting() -> None:
    """3.6 million steps of 1 ms at 1 A out of 100 Ah: the lost charge is 1 % of the capacity."""
    increment = torch.tensor([-1e-3 / 360_000.0])
    exact = 1.0 + 3_600_000 * float(increment.double())
    soc, carry, plain = torch.ones(1), torch.zeros(1), torch.ones(1)
    for _ in range(36_000):  # 1 % of the hour is enough to tell them apart
        soc, carry = add_compensated(soc, carry, increment)
        plain = plain + increment
    lost, expected = 1.0 - float(soc.double() + carry.double()), (1.0 - exact) / 100
    assert lost == pytest.approx(expected, rel=1e-5)
    assert abs((1.0 - float(plain)) - expected) > 0.3 * expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60))
def test_compensated_sum_is_the_exact_sum_rounded(values: list[float]) -> None:
    total, carry = torch.zeros(1), torch.zeros(1)
    for value in values:
        total, carry = add_compensated(total, carry, torch.tensor([value]))
    size = math.fsum(abs(value) for value in values)
    assert abs(float(total) + float(carry) - math.fsum(values)) <= 2**-40 * size
    assert abs(float(total) - math.fsum(values)) <= 2**-23 * abs(math.fsum(values)) + 2**-40 * size


def test_compensation_leaves_the_gradient_of_a_sum() -> None:
    y, x = torch.tensor([1.0], requires_grad=True), torch.tensor([1e-9], requires_grad=True)
    total, carry = add_compensated(y, torch.zeros(1), x)
    dy, dx = torch.autograd.grad(total + carry, (y, x))
    assert float(dy) == 1.0 and float(dx) == 1.0


def test_error_norm_is_the_worst_state_in_units_of_the_tolerance() -> None:
    y = torch.rand(2, 3, dtype=torch.float64)
    step = advance(Tsit5(), spiral, 0.0, y, 0.5)
    assert step.error is not None
    scale = 1e-3 + 1e-2 * torch.maximum(y.abs(), step.y1.abs())
    torch.testing.assert_close(error_norm(step, y, 1e-2, 1e-3), (step.error.abs() / scale).max(dim=0).values)
    with pytest.raises(RunError, match="without an error estimate"):
        error_norm(advance(RK4(), spiral, 0.0, y, 0.5), y, 1e-3, 1e-3)


def test_next_step_grows_shrinks_and_survives_nonsense() -> None:
    h = torch.ones(7, dtype=torch.float64)
    norm = torch.tensor([1.0, 1e-20, 0.0, 1e9, math.nan, math.inf, 0.5], dtype=torch.float64)
    got = next_step(h, norm, torch.ones(7, dtype=torch.float64), 5)
    assert got[0] == pytest.approx(0.9) and got[1] == 10 and got[2] == 10
    assert got[3] == got[4] == got[5] == pytest.approx(0.2)
    assert 0.9 < got[6] < 1.1
    for rejected in (2.0, math.inf, math.nan):
        assert float(next_step(h[:1], norm[1:2], torch.tensor([rejected], dtype=torch.float64), 5)) == 1.0


@pytest.mark.parametrize("solver", ADAPTIVE, ids=name)
def test_float32_states_are_controlled_too(solver: AdaptiveSolver) -> None:
    coarse = type(solver)(rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        y, _ = adaptive(coarse, van_der_pol(2.0), torch.tensor([[2.0, 1.0], [0.0, 0.5]]), 2.0)
        exact, _ = adaptive(solver, van_der_pol(2.0), torch.tensor([[2.0, 1.0], [0.0, 0.5]], dtype=torch.float64), 2.0)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y.double(), exact, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("rate", [1e-6, 1.0, 1e6])
def test_first_step_scales_with_the_problem(rate: float) -> None:
    def f(t: float | Tensor, y: Tensor) -> Tensor:
        return -rate * y

    h = first_step(f, 0.0, torch.ones(1, 3, dtype=torch.float64), 1e-6, 1e-9, 5)
    assert h.shape == (3,) and bool((h == h[0]).all())
    assert 1e-7 / rate <= float(h[0]) <= 2 / rate
    still = first_step(lambda t, y: torch.zeros_like(y), 0.0, torch.ones(1, 1, dtype=torch.float64), 1e-6, 1e-9, 5)
    assert 0 < float(still) < math.inf
    wall = first_step(lambda t, y: torch.log(1e-3 - y), 0.0, torch.zeros(1, 1, dtype=torch.float64), 1e-6, 1e-9, 5)
    assert 0 < float(wall) < math.inf


def test_solvers_are_frozen_values() -> None:
    assert Tsit5() == Tsit5(rtol=1e-6, atol=1e-9) != Tsit5(rtol=1e-7)
    assert RK4("1 ms").max_step == "1 ms" and hash(RK4(0.1)) == hash(RK4(0.1))
    assert [s.order for s in SOLVERS] == [1, 2, 4, 5, 5, 5]
    assert [s.adaptive for s in SOLVERS] == [False, False, False, True, True, True]
    with pytest.raises(FrozenInstanceError):
        Tsit5().rtol = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    "make",
    [lambda: RK4(0.0), lambda: Euler(-1.0), lambda: Tsit5(rtol=-1.0), lambda: Tsit5(atol=0.0), lambda: Heun(math.nan)],
)
def test_meaningless_settings_are_refused(make: Callable[[], Solver]) -> None:
    with pytest.raises(RunError, match="expected"):
        make()


def test_a_step_computes_only_what_is_asked() -> None:
    calls = []

    def f(t: float | Tensor, y: Tensor) -> Tensor:
        calls.append(float(t))
        return -y

    step: Step = advance(RK4(), f, 0.0, torch.ones(1, 1), 0.5)
    assert step.y1.shape == (1, 1) and calls == [0.0, 0.25, 0.25, 0.5]
    step.at(0.5)
    step.at(0.25)
    assert calls == [0.0, 0.25, 0.25, 0.5, 0.5]
