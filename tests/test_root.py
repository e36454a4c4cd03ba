"""Roots of guards: closed forms, hard functions, brackets, grazing starts, the polish on a true step map."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.optimize import brentq
from torch import Tensor

from simdl.engine.root import EPS, Guard, first_root, rising_start, two_stage
from simdl.engine.solver import RK4, Euler, Rosenbrock, Solver, Tsit5, advance


class Counted:
    """A guard that counts its evaluations."""

    def __init__(self, g: Guard) -> None:
        self.g, self.calls = g, 0

    def __call__(self, theta: Tensor) -> Tensor:
        self.calls += 1
        return self.g(theta)


def lanes(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def solve(g: Guard, count: int, lo: float = 0.0, hi: float = 1.0) -> tuple[Tensor, int]:
    a, b = torch.full((count,), lo, dtype=torch.float64), torch.full((count,), hi, dtype=torch.float64)
    counted = Counted(g)
    return first_root(counted, a, b, g(a), g(b)), counted.calls


def test_falling_ball_to_the_last_bits() -> None:
    heights = lanes(1.0, 0.5, 0.1, 1e-3)
    theta, calls = solve(lambda t: heights - 0.5 * 9.81 * t * t, 4)
    exact = [math.sqrt(2 * h / 9.81) for h in heights.tolist()]
    assert theta.tolist() == pytest.approx(exact, rel=4e-16, abs=1e-15)
    assert calls <= 14


# Steep, flat, kinked, discontinuous: each falls through zero once in (0, 1).
HARD: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "linear": (lambda t: 0.3 - t, 0.3),
    "cubic with a flat root": (lambda t: (0.4 - t) ** 3, 0.4),
    "ninth power": (lambda t: (0.7 - t) ** 9, 0.7),
    "steep exponential": (lambda t: math.exp(-20 * 0.9) - torch.expm1(t - 0.9) - math.exp(-18.0), 0.9),
    "near the start": (lambda t: 1e-9 - t, 1e-9),
    "near the end": (lambda t: (1 - 1e-12) - t, 1 - 1e-12),
    "cusp": (lambda t: torch.sign(0.25 - t) * (0.25 - t).abs().sqrt(), 0.25),
    "kink": (lambda t: torch.where(t < 0.6, 1e-6 * (0.6 - t), 1e6 * (0.6 - t)), 0.6),
    "jump": (lambda t: torch.where(t < 1 / 3, 1.0, -1.0).to(t.dtype), 1 / 3),
    "uneven jump": (lambda t: torch.where(t < 0.2, 7.0, -3.0 + 2.0 * t).to(t.dtype), 0.2),
    "pole": (lambda t: 1 / (0.2 - t), 0.2),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_functions(name: str) -> None:
    g, root = HARD[name]
    theta, calls = solve(g, 3)
    # Where g is flat, every theta with g = 0 in floating point is a root.
    assert bool((g(theta) == 0).all()) or theta.tolist() == pytest.approx([root] * 3, abs=2 * EPS, rel=4 * EPS)
    assert calls <= 90


def test_smooth_guards_take_few_evaluations() -> None:
    shift = torch.linspace(0.05, 0.95, 200, dtype=torch.float64)
    theta, calls = solve(lambda t: torch.sin(shift - t) + 0.3 * (shift - t) ** 3, 200)
    torch.testing.assert_close(theta, shift, rtol=4 * EPS, atol=2 * EPS)
    assert calls <= 10


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 0.99), st.floats(-3, 3), st.floats(0.05, 5)), min_size=1, max_size=30))
def test_roots_agree_with_brent_and_do_not_depend_on_the_batch(rows: list[tuple[float, float, float]]) -> None:
    where, bend, rate = (torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True))

    def guard(where: Tensor, bend: Tensor, rate: Tensor) -> Guard:
        return lambda t: -torch.expm1(rate * (t - where)) * torch.exp(bend * t)

    batch, _ = solve(guard(where, bend, rate), len(rows))
    for i in range(len(rows)):
        one = guard(where[i : i + 1], bend[i : i + 1], rate[i : i + 1])
        alone, _ = solve(one, 1)
        assert torch.equal(alone[0], batch[i])
        reference = brentq(lambda t, one=one: float(one(lanes(t))), 0.0, 1.0, xtol=4e-16, rtol=1e-15)
        assert float(alone) == pytest.approx(reference, abs=1e-14)


def test_lanes_without_a_crossing_get_the_end_and_are_asked_only_there() -> None:
    asked: list[Tensor] = []

    def g(t: Tensor) -> Tensor:
        asked.append(t)
        return lanes(0.5, 2.0, -0.1, 0.25) - t

    theta, _ = solve(g, 4)
    assert theta.tolist() == pytest.approx([0.5, 1.0, 1.0, 0.25])
    assert all(t[1] == 1.0 and t[2] == 1.0 for t in asked[2:])


def test_an_exact_zero_at_the_end_is_the_root() -> None:
    theta, calls = solve(lambda t: 1.0 - t, 2)
    assert theta.tolist() == [1.0, 1.0] and calls == 0


def test_a_guard_that_is_not_a_number_stops_its_lane_only() -> None:
    theta, calls = solve(lambda t: torch.where((t > 0.4) & (t < 0.6), math.nan, lanes(0.3, 0.3) - t), 2)
    assert bool(torch.isfinite(theta).all()) and calls < 90
    mixed, _ = solve(lambda t: torch.where((t > 0.4) & (t < 0.6) & lanes(1, 0).bool(), math.nan, 0.3 - t), 2)
    assert float(mixed[1]) == pytest.approx(0.3, abs=4 * EPS)


def test_loose_tolerances_end_early() -> None:
    g = Counted(lambda t: 0.5 - torch.exp(-t) * t * 2)
    zero, one = lanes(0.0), lanes(1.0)
    exact = first_root(g, zero, one, g(zero), g(one))
    spent, g.calls = g.calls, 0
    loose = first_root(g, zero, one, g(zero), g(one), ftol=1e-3)
    assert g.calls < spent and float(g(loose).abs()) <= 1e-3 and float(loose - exact) != 0


def test_brackets_need_not_start_at_zero() -> None:
    lo, hi = lanes(0.2, 0.5), lanes(0.4, 0.51)

    def g(t: Tensor) -> Tensor:
        return lanes(0.3, 0.505) - t

    torch.testing.assert_close(first_root(g, lo, hi, g(lo), g(hi)), lanes(0.3, 0.505), rtol=1e-15, atol=0)


def test_float32_guards_end_at_their_own_resolution() -> None:
    zero, one = torch.zeros(2), torch.ones(2)
    aim = torch.tensor([0.3, 0.7])

    def g(t: Tensor) -> Tensor:
        return aim - t

    theta = first_root(g, zero, one, g(zero), g(one))
    assert theta.dtype == torch.float32
    torch.testing.assert_close(theta, aim, rtol=1e-6, atol=0)


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-6, 10.0), st.floats(0.0, 1e-16))
def test_a_ball_leaving_the_floor_is_caught_on_its_way_up(flight: float, dent: float) -> None:
    """g = theta (flight - theta) - dent: zero or a rounding below it at the start, rising, back at `flight`."""
    hi = lanes(1.0)
    guard = Counted(lambda t: t * (flight - t) - dent)
    theta, value, missing = rising_start(guard, hi)
    assert not bool(missing) and float(value) > 0 and 0 < float(theta) < flight
    if flight < 1.0:
        root = first_root(guard, theta, hi, value, guard(hi))
        assert float(root) == pytest.approx((flight + math.sqrt(flight**2 - 4 * dent)) / 2, rel=1e-9)


def test_a_guard_that_never_rises_is_reported() -> None:
    theta, value, missing = rising_start(lambda t: t * lanes(-1.0, 1.0, 0.0), lanes(1.0, 1.0, 1.0), halvings=10)
    assert missing.tolist() == [True, False, True]
    assert theta.tolist() == [2.0**-10, 1.0, 2.0**-10] and float(value[1]) == 1.0


def test_the_first_halving_that_rises_is_taken() -> None:
    guard = Counted(lambda t: t * (lanes(0.3, 0.9, 0.01, 5.0) - t))
    theta, _, _ = rising_start(guard, torch.ones(4, dtype=torch.float64))
    assert theta.tolist() == [0.25, 0.5, 2.0**-7, 1.0] and guard.calls == 8


def pendulum(t: float | Tensor, y: Tensor) -> Tensor:
    return torch.stack((y[1], -9.81 * torch.sin(y[0]) - 0.3 * y[1]))


@pytest.mark.parametrize("solver", [RK4(), Tsit5(), Rosenbrock(), Euler()], ids=lambda s: type(s).__name__)
def test_polish_ends_at_the_root_of_the_true_step_map(solver: Solver) -> None:
    """A pendulum passes -0.1 inside one step; the event must sit on the map that integrates up to it."""
    y = torch.stack((torch.linspace(0.1, 0.4, 30, dtype=torch.float64), torch.full((30,), -3.0, dtype=torch.float64)))
    h = 0.2
    step = advance(solver, pendulum, 0.0, y, h)
    dense = Counted(lambda theta: step.at(theta)[0] + 0.1)
    true = Counted(lambda theta: advance(solver, pendulum, 0.0, y, theta * h, step.f0).y1[0] + 0.1)
    zero, one = torch.zeros(30, dtype=torch.float64), torch.ones(30, dtype=torch.float64)
    g_lo, g_hi = y[0] + 0.1, step.y1[0].detach() + 0.1
    assert bool((g_hi < 0).all())
    theta = two_stage(dense, true, zero, one, g_lo, g_hi)
    assert true.calls <= 6
    assert float(true(theta).detach().abs().max()) < (4e-15 if isinstance(solver, Rosenbrock) else 4e-16)
    if not isinstance(solver, Euler):  # the interpolant alone is not there
        assert float(true(first_root(dense, zero, one, g_lo, g_hi)).detach().abs().max()) > 1e-9


def test_polish_resolves_the_shortest_flights() -> None:
    """A bounce a billionth of a step long, whose interpolant is off by a millionth of it."""
    flight = 10.0 ** torch.arange(-9.0, 0.0, dtype=torch.float64)
    one = torch.ones(9, dtype=torch.float64)
    true = Counted(lambda t: t * (flight - t) * (1 + t))
    start, value, missing = rising_start(true, one)
    assert not bool(missing.any())
    true.calls = 0
    theta = two_stage(lambda t: t * (flight * (1 + 1e-6) - t), true, start, one, value, true(one))
    torch.testing.assert_close(theta, flight, rtol=1e-15, atol=EPS)
    assert true.calls <= 8


def test_polish_survives_an_interpolant_that_misses_the_root() -> None:
    aim = lanes(0.2, 0.5, 0.9)
    true = Counted(lambda t: aim - t)
    zero, one = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    for dense in (lambda t: 0.55 - t, lambda t: (0.5 - t) ** 3, lambda t: torch.where(t < 0.7, 1.0, -1.0).to(t.dtype)):
        true.calls = 0
        theta = two_stage(dense, true, zero, one, true(zero), true(one))
        torch.testing.assert_close(theta, aim, rtol=1e-14, atol=0)
        assert true.calls < 30


def test_polish_of_a_noisy_map_stops_at_its_noise() -> None:
    """Positions near 1e6 m have an ulp of 1e-10 m: no evaluations are spent on chasing it."""
    offset = 1e6
    true = Counted(lambda t: (offset + torch.cos(2 * t)) - (offset + lanes(0.3, 0.1)))
    zero, one = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    theta = two_stage(lambda t: torch.cos(2 * t) - lanes(0.3, 0.1) + 1e-4 * t, true, zero, one, true(zero), true(one))
    assert true.calls <= 9
    assert theta.tolist() == pytest.approx([math.acos(0.3) / 2, math.acos(0.1) / 2], abs=3e-10)


def test_polish_leaves_lanes_without_a_crossing_at_the_end() -> None:
    aim = lanes(0.5, 2.0)
    zero, one = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    theta = two_stage(lambda t: aim - t, lambda t: aim - t, zero, one, aim - zero, aim - one)
    assert theta.tolist() == pytest.approx([0.5, 1.0])


def test_nothing_is_recorded_for_gradients() -> None:
    aim = lanes(0.5).requires_grad_()
    zero, one = lanes(0.0), lanes(1.0)
    for theta in (
        first_root(lambda t: aim - t, zero, one, aim - zero, aim - one),
        two_stage(lambda t: aim - t, lambda t: aim - t * t, zero, one, aim - zero, aim - one),
    ):
        assert not theta.requires_grad


def test_bouncing_ball_meets_its_closed_form() -> None:
    """Eleven bounces from 1 m with restitution 0.7, each flight two calls of `rising_start` and `two_stage`."""
    g, e, h = 9.81, 0.7, 0.01

    def fall(t: float | Tensor, y: Tensor) -> Tensor:
        return torch.stack((y[1], torch.full_like(y[1], -g)))

    y, t, bounces = torch.tensor([[1.0], [0.0]], dtype=torch.float64), 0.0, []
    leaving = False
    with torch.no_grad():
        while len(bounces) < 11:
            step = advance(RK4(), fall, t, y, h)
            one, start, g_start = lanes(1.0), lanes(0.0), y[0]

            def dense(theta: Tensor, step=step) -> Tensor:  # type: ignore[no-untyped-def]
                return step.at(theta)[0]

            if leaving:
                start, g_start, _ = rising_start(dense, one)
            if float(step.y1[0]) > 0:
                y, t, leaving = step.y1, t + h, False
                continue
            theta = two_stage(
                dense,
                lambda theta, step=step: advance(RK4(), fall, step.t, step.y0, theta * h, step.f0).y1[0],
                start, one, g_start, step.y1[0],
            )  # fmt: skip
            landed = advance(RK4(), fall, t, y, theta * h)
            t, y, leaving = t + float(theta) * h, landed.y1 * lanes(1.0, -e)[:, None], True
            bounces.append(t)
    first = math.sqrt(2 / g)
    exact = [first + 2 * first * sum(e**k for k in range(1, n + 1)) for n in range(11)]
    assert bounces == pytest.approx(exact, abs=1e-12)
