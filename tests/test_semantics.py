"""The numbers that must come out, and what may not change them: recording, lanes beside, the order of declaration."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.linalg import expm
from torch import Tensor

from simdl import (
    RK4,
    Block,
    Diagram,
    DormandPrince,
    Heun,
    Input,
    Noise,
    Output,
    Param,
    State,
    Tsit5,
    crossing,
    derivative,
    simulate,
    tick,
)
from simdl.blocks import PI, BouncingBall, UnitDelay

KP, KI, PERIOD = 4.0, 1.0, 0.02


class Plant(Block):
    """1 / (s (s + 1))."""

    u = Input()
    x, v = State(0.0), State(0.0)

    @derivative(x, v)
    def flow(self, u, v):  # type: ignore[no-untyped-def]
        return v, u - v


class Loop(Diagram):
    r, y = Input(), Output()

    def __init__(self, latency: str | None = None) -> None:
        self.plant = Plant()
        self.pi = PI(kp=KP, ki=KI, period="20 ms", latency=latency)
        self.pi.e = self.r - self.plant.x
        self.plant.u = self.pi.u
        self.y = self.plant.x


def matrix_exponential(latency: float) -> float:
    """y(5) of the loop: the plant exact between ticks, its input changing `latency` after each."""
    a = np.array([[0.0, 1.0, 0.0], [0.0, -1.0, 1.0], [0.0, 0.0, 0.0]])
    wait, rest = expm(a * latency), expm(a * (PERIOD - latency))
    state, i, u = np.zeros(3), 0.0, 0.0
    for _ in range(250):
        e = 1.0 - state[0]
        i = i + KI * PERIOD * e
        state = wait @ np.array([state[0], state[1], u])
        u = KP * e + i
        state = rest @ np.array([state[0], state[1], u])
    return float(state[0])


class TestPILoop:
    @pytest.mark.parametrize(("latency", "published"), [(0, 1.20066844), (13, 1.22714606), (20, 1.24295970)])
    def test_step_response_at_five_seconds(self, latency: int, published: float) -> None:
        loop = Loop(f"{latency} ms" if latency else None)
        y = float(simulate(loop, 5, inputs={loop.r: 1.0}, record=[loop.y])[loop.y].at(5)[0])
        assert y == pytest.approx(published, abs=1e-8)
        assert y == pytest.approx(matrix_exponential(latency / 1000), abs=1e-8)

    @pytest.mark.parametrize(
        "solver", [RK4(max_step="1 ms"), Tsit5(rtol=1e-10, atol=1e-12), DormandPrince(rtol=1e-10, atol=1e-12)]
    )
    def test_the_solver_does_not_matter(self, solver: Any) -> None:
        loop = Loop("13 ms")
        y = float(simulate(loop, 1, inputs={loop.r: 1.0}, record=[loop.y], solver=solver)[loop.y].at(1)[0])
        default = float(simulate(loop, 1, inputs={loop.r: 1.0}, record=[loop.y])[loop.y].at(1)[0])
        assert y == pytest.approx(default, abs=1e-9)


class Noisy(Block):
    """A sampled state pushed by noise."""

    x, y = Input(), Output()
    level = State(0.1)
    w = Noise()

    @tick
    def step(self, x, level, w):  # type: ignore[no-untyped-def]
        level = 0.9 * level + 0.05 * w - 0.1 * x
        return dict(level=level, y=level)


class Swing(Block):
    """A pendulum that bounces off a stop."""

    torque = Input()
    length: Param = Param(1.0)
    theta, omega = State(0.6), State(0.0)

    @derivative(theta, omega)
    def motion(self, theta, omega, torque, length):  # type: ignore[no-untyped-def]
        return omega, torque - 0.1 * omega - 9.81 / length * torch.sin(theta)

    @crossing
    def stop(self, theta):  # type: ignore[no-untyped-def]
        return theta + 0.4

    @stop.reset
    def bounce(self, omega):  # type: ignore[no-untyped-def]
        return dict(omega=-0.8 * omega)


class Everything(Diagram):
    """Two rates, a latency, noise and a crossing."""

    y = Output()

    def __init__(self) -> None:
        self.swing = Swing()
        self.noisy = Noisy(period="30 ms", latency="45 ms")
        self.pi = PI(kp=2.0, ki=0.5, period="20 ms")
        self.noisy.x = self.swing.theta
        self.pi.e = -self.swing.theta
        self.swing.torque = self.pi.u + self.noisy.y
        self.y = self.swing.theta


LENGTHS = torch.linspace(0.5, 2.0, 7, dtype=torch.float64)
SOLVERS = [RK4(max_step="5 ms"), Heun(max_step="5 ms"), Tsit5(), DormandPrince(rtol=1e-4)]


def same(a: Any, b: Any) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


class TestWhatMayNotMatter:
    @pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
    def test_recording_never_changes_a_trajectory(self, solver: Any) -> None:
        finals = []
        for every in (None, 0.007, 0.1):
            model = Everything()
            finals.append(simulate(model, 0.6, set={model.swing.length: LENGTHS}, every=every, solver=solver).final)
        assert same(finals[0], finals[1]) and same(finals[0], finals[2])

    @pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
    def test_a_lane_alone_is_the_lane_in_the_batch(self, solver: Any) -> None:
        model = Everything()
        batch = simulate(model, 0.6, set={model.swing.length: LENGTHS}, seed=5, every=0.05, solver=solver)
        for lane in (0, 3, 6):
            alone = simulate(model, 0.6, set={model.swing.length: LENGTHS[lane:lane + 1]}, seed=5, every=0.05,
                             solver=solver, ids=[lane])  # fmt: skip
            for path, trace in alone.traces.items():
                assert torch.equal(trace.values[0], batch[path].values[lane]), path
            assert [(t, path) for _, t, path in alone.events] == [(t, path) for i, t, path in batch.events if i == lane]

    @given(st.permutations(["swing", "noisy", "pi", "delay"]), st.permutations(range(5)))
    @settings(max_examples=15)
    def test_order_of_declaration(self, blocks: list[str], wires: list[int]) -> None:
        class Shuffled(Diagram):
            def __init__(self) -> None:
                made = dict(swing=Swing(), noisy=Noisy(period="30 ms"), pi=PI(kp=2.0, period="20 ms"),
                            delay=UnitDelay(period="20 ms"))  # fmt: skip
                for name in blocks:
                    setattr(self, name, made[name])
                actions = [
                    lambda: setattr(made["noisy"], "x", made["swing"].theta),
                    lambda: setattr(made["pi"], "e", -made["delay"].y),
                    lambda: setattr(made["delay"], "u", made["noisy"].y),
                    lambda: setattr(made["swing"], "torque", made["pi"].u + made["noisy"].y),
                    lambda: None,
                ]
                for k in wires:
                    actions[k]()

        final = simulate(Shuffled(), 0.2, seed=1).final
        if not hasattr(type(self), "first"):
            type(self).first = final  # type: ignore[attr-defined]
        assert {k: v.tolist() for k, v in final.items()} == {k: v.tolist() for k, v in type(self).first.items()}  # type: ignore[attr-defined]


G = 9.81


def ball_at(t: Tensor, e: Tensor) -> Tensor:
    """The height (lanes, times) of a ball dropped from 1 m, closed form; 0 from the Zeno time on."""
    fall = math.sqrt(2 / G)
    e = e[:, None]
    # The k-th bounce is at fall * (1 + 2 (e + ... + e^k)), so k follows from a geometric sum.
    rest = (1 + e) / (1 - e) - t / fall  # what is left of the sum at time t
    k = torch.floor(torch.log((rest * (1 - e) / (2 * e)).clamp(min=1e-300)) / torch.log(e)).clamp(min=-1)
    for _ in range(2):  # rounding of the logarithm
        start = fall * ((1 + e) / (1 - e) - 2 * e ** (k + 1) / (1 - e))
        k = torch.where((k >= 0) & (start > t), k - 1, k)
        following = fall * ((1 + e) / (1 - e) - 2 * e ** (k + 2) / (1 - e))
        k = torch.where(following <= t, k + 1, k)
    start = fall * ((1 + e) / (1 - e) - 2 * e ** (k + 1) / (1 - e))
    flying = G * fall * e ** (k + 1) * (t - start) - G / 2 * (t - start) ** 2
    return torch.where(t < fall, 1 - G / 2 * t**2, torch.where(rest <= 0, 0.0, flying))


class TestBouncingBalls:
    TIMES = [
        0.451524,
        1.083657,
        1.526150,
        1.835895,
        2.052717,
        2.204492,
        2.310735,
        2.385104,
        2.437163,
        2.473604,
        2.499113,
    ]

    @pytest.mark.parametrize(
        "solver", [RK4(max_step=0.02), Tsit5(), RK4(max_step=3.0)], ids=["RK4", "Tsit5", "one step"]
    )
    def test_bounce_times_and_rest(self, solver: Any) -> None:
        run = simulate(BouncingBall(restitution=0.7), 3, every=0.5, solver=solver)
        assert [t for _, t, _ in run.events][:11] == pytest.approx(self.TIMES, abs=1e-6)
        assert all(t < 2.558634 + 1e-6 for _, t, _ in run.events)
        assert float(run["resting"].at(3)) == 1.0 and abs(float(run["h"].at(3))) < 1e-12
        assert not run.status

    def test_two_thousand_balls_follow_the_closed_form(self) -> None:
        ball, e = BouncingBall(), torch.linspace(0.1, 0.75, 2000, dtype=torch.float64)
        run = simulate(ball, 3.5, set={ball.restitution: e}, every=0.25, solver=RK4(max_step=3.5), record=["h"])
        h, t = run["h"].values, run["h"].t
        assert float((h - ball_at(t, e)).abs().max()) < 1e-12
        rested = t > math.sqrt(2 / G) * (1 + e[:, None]) / (1 - e[:, None])
        assert int(rested.sum()) > 5000 and float(h[rested].abs().max()) < 1e-12
