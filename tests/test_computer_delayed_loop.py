"""The exact cost of linear loops with random delays, against hand calculation and finely divided loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.linalg import expm, solve_continuous_lyapunov, solve_discrete_lyapunov

from simdl.computer import DelayedLoop
from simdl.errors import ModelError
from simdl.linear import LinearModel
from tests import test_computer_jitter as jittery

INTEGRATOR = LinearModel.of([[0.0]], [[1.0]])


@given(st.floats(0.2, 1.7))
def test_an_integrator_without_delay_is_as_by_hand(gain_times_period: float) -> None:
    h = 0.1
    k = gain_times_period / h
    loop = DelayedLoop(INTEGRATOR, [[-k]], period=h, weights=np.diag([1.0, 0.0]), noise=[[1.0]])
    at_samples = h / (1 - (1 - k * h) ** 2)
    assert loop.cost([0.0]) == pytest.approx(at_samples * (1 - k * h + (k * h) ** 2 / 3) + h / 2, rel=1e-9)


def test_an_integrator_is_stable_up_to_a_delay_of_one_over_its_gain() -> None:
    """z^2 - (1 - k (h - d)) z + k d has its roots inside the unit circle for k d < 1 (and k h < 2 + 2 k d)."""
    loop = DelayedLoop(INTEGRATOR, [[-15.0]], period="100 ms", weights=np.eye(2), noise=[[1.0]])
    assert loop.radius([0.999 / 15]) < 1 < loop.radius([1.001 / 15])
    assert np.isfinite(loop.cost([0.999 / 15])) and loop.cost([1.001 / 15]) == np.inf
    assert loop.radius([0.08]) == pytest.approx(1.2)  # complex roots: |z|^2 = k d


def test_without_control_the_cost_is_that_of_the_plant() -> None:
    A, noise = np.array([[0.0, 1.0], [-4.0, -0.6]]), np.array([[0.2, 0.1], [0.1, 0.5]])
    weights = np.diag([2.0, 0.3, 7.0])
    loop = DelayedLoop(LinearModel.of(A, [[0.0], [1.0]]), np.zeros((1, 2)), period=0.3, weights=weights, noise=noise)
    wanted = np.sum(weights[:2, :2] * solve_continuous_lyapunov(A, -noise))
    assert loop.cost([0.0, 0.1, 0.3]) == pytest.approx(wanted, rel=1e-9)


def divided(loop: DelayedLoop, delay: float, parts: int) -> float:
    """The cost for one delay, with the period in equal parts, u changed between two of them, and the trapezoid rule."""
    A, B, n, c = loop.A, loop.B, len(loop.A), len(loop.F)
    step, m, h = loop.period / parts, loop.B.shape[1], loop.period
    flow = np.eye(n + c + 2 * m)  # x, controller, u computed, u that acts
    held = expm(np.block([[A, B], [np.zeros((m, n + m))]]) * step)
    flow[:n, :n], flow[:n, n + c + m :] = held[:n, :n], held[:n, n:]
    fine = np.linspace(0, step, 201)
    pushes = np.array([expm(A * s) @ loop.noise @ expm(A * s).T for s in fine])
    spread = np.zeros_like(flow)
    spread[:n, :n] = np.trapezoid(pushes, fine, axis=0)
    sample = np.eye(n + c + 2 * m)
    sees = np.hstack([loop.C, np.zeros((len(loop.C), c + m)), loop.D])
    sample[n : n + c] = loop.G @ sees
    sample[n : n + c, n : n + c] += loop.F
    sample[n + c : n + c + m] = loop.K @ sees
    sample[n + c : n + c + m, n : n + c] += loop.H
    heard = np.vstack([np.zeros((n, len(loop.C))), loop.G, loop.K, np.zeros((m, len(loop.C)))])
    switch = np.eye(n + c + 2 * m)
    switch[n + c + m :, n + c : n + c + m], switch[n + c + m :, n + c + m :] = np.eye(m), 0
    at = round(delay / step)
    total, pushed = np.eye(len(flow)), np.zeros_like(flow)

    def through(move, add):
        nonlocal total, pushed
        total, pushed = move @ total, move @ pushed @ move.T + add

    def whole():
        nonlocal total, pushed
        total, pushed = np.eye(len(flow)), np.zeros_like(flow)
        through(sample, heard @ loop.sensor @ heard.T)
        seen = []
        for k in range(parts + 1):
            if k == at:
                seen.append((total.copy(), pushed.copy(), k))
                through(switch, np.zeros_like(flow))
            seen.append((total.copy(), pushed.copy(), k))
            if k < parts:
                through(flow, spread)
        return seen

    seen = whole()
    settled = solve_discrete_lyapunov(total, pushed)
    acting = [*range(n), *range(n + c + m, n + c + 2 * m)]
    prices = [np.sum(loop.weights * (a @ settled @ a.T + s)[np.ix_(acting, acting)]) for a, s, _ in seen]
    times = [k * step for *_, k in seen]
    return float(np.trapezoid(prices, times) / h)


@pytest.mark.parametrize("delay", [0.0, 0.06, 0.15, 0.2])
def test_a_loop_with_a_controller_with_states_is_as_when_finely_divided(delay: float) -> None:
    plant = LinearModel.of([[0.0, 1.0], [1.0, -0.4]], [[0.0], [1.0]], [[1.0, 0.2]], [[0.05]])
    lead = LinearModel.of([[0.4]], [[1.0]], [[2.0]], [[-5.0]], period=0.2)
    loop = DelayedLoop(plant, lead, weights=np.diag([3.0, 1.0, 0.2]), noise=[[0.1, 0.02], [0.02, 0.4]], sensor=[[0.03]])
    assert loop.radius([delay]) < 1
    assert loop.cost([delay]) == pytest.approx(divided(loop, delay, 400), rel=2e-4)


def test_moments_are_those_written_out_for_the_loop_that_is_simulated() -> None:
    """The recursion that test_computer_jitter holds against 3000 simulated lanes; there the noise is on u."""
    K = jittery.GAIN
    noise = jittery.SIGMA**2 * (K.T @ K) / (K @ K.T).item() ** 2
    loop = DelayedLoop(LinearModel.of(jittery.A, jittery.B), -K, period=jittery.H, weights=np.eye(3), sensor=noise)
    found = loop.moments([1.0, 0.0], jittery.STEPS, jittery.DELAYS, jittery.CHANCES)
    np.testing.assert_allclose(found, jittery.moments(), rtol=1e-9, atol=1e-15)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_measured_delays_are_their_histogram(tenths: list[int]) -> None:
    loop = DelayedLoop(INTEGRATOR, [[-4.0]], period=0.4, weights=np.eye(2), noise=[[1.0]])
    values = sorted(set(tenths))
    chances = [tenths.count(v) for v in values]
    cost = loop.cost([v / 20 for v in tenths])
    assert cost == pytest.approx(loop.cost([v / 20 for v in values], chances), rel=1e-9)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (dict(period=None), "DelayedLoop: period"),
        (dict(period=0), "DelayedLoop: period"),
        (dict(controller=[[1.0, 2.0]]), "2 inputs and 1 outputs"),
        (dict(controller=LinearModel.of([[0.1]], [[1.0]])), "a model in continuous time"),
        (dict(plant=LinearModel.of([[0.0]], [[1.0]], period=0.1)), "DelayedLoop: plant"),
        (dict(weights=np.diag([1.0, -1.0])), "positive semidefinite"),
        (dict(weights=[[1.0, 2.0], [0.0, 1.0]]), "symmetric"),
        (dict(weights=[[1.0]]), r"\(2, 2\)"),
        (dict(noise=[[float("nan")]]), "DelayedLoop: noise"),
    ],
)
def test_what_is_not_such_a_loop_is_refused(change, what) -> None:
    good = dict(plant=INTEGRATOR, controller=[[-1.0]], period=0.1, weights=np.eye(2))
    with pytest.raises(ModelError, match=what):
        DelayedLoop(**{**good, **change})


@pytest.mark.parametrize("delays", [[], [-0.01], [0.11], [float("nan")]])
def test_delays_are_within_a_period(delays) -> None:
    with pytest.raises(ModelError, match="DelayedLoop: delays"):
        DelayedLoop(INTEGRATOR, [[-1.0]], period=0.1, weights=np.eye(2)).cost(delays)


def test_chances_are_shares() -> None:
    loop = DelayedLoop(INTEGRATOR, [[-1.0]], period=0.1, weights=np.eye(2))
    for chances in ([1.0], [0.5, -0.5], [0.0, 0.0]):
        with pytest.raises(ModelError, match="DelayedLoop: chances"):
            loop.cost([0.0, 0.1], chances)
