"""The native engine: the numbers that must come out, lanes that are the same whatever runs beside them, and torch's
results at every instant."""

from __future__ import annotations

import math
import os
import signal
import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.integrate import solve_ivp

from simdl import (
    RK4,
    Block,
    Diagram,
    DormandPrince,
    Euler,
    Heun,
    Input,
    Noise,
    Output,
    Param,
    Run,
    Simulator,
    State,
    Trace,
    Tsit5,
    crossing,
    derivative,
    edges,
    enabled,
    hit,
    output,
    simulate,
    tick,
    triggered,
)
from simdl.blocks import PI, BouncingBall
from simdl.engine import choice
from simdl.engine.native.compiler import find_compiler, why_no_compiler
from simdl.errors import LoweringError, RunError
from simdl.random import normal, stream_key, uniform
from simdl.simulate import finished
from tests.test_semantics import Loop, matrix_exponential

pytestmark = pytest.mark.skipif(find_compiler() is None, reason=why_no_compiler())

TIGHT = dict(rtol=1e-12, atol=1e-12)


def native(model: Any, until: Any, **options: Any) -> Run:
    run = simulate(model, until, engine="native", threads=1, **options)
    assert run.engine == "native"
    return run


def assert_equal(one: Run, other: Run, rows: Any = slice(None), of: Any = slice(None)) -> None:
    """Bit for bit: traces, final states and crossings of some lanes."""
    for path, trace in one.traces.items():
        assert torch.equal(trace.t, other.traces[path].t), path
        assert torch.equal(trace.values[rows], other.traces[path].values[of]), path
    for path, value in one.final.items():
        assert torch.equal(value[rows], other.final[path][of]), path


def assert_close(one: Run, other: Run, **tolerance: float) -> None:
    """Traces, final states, and crossings."""
    for path, trace in one.traces.items():
        assert torch.equal(trace.t, other.traces[path].t), path
        torch.testing.assert_close(trace.values, other.traces[path].values, **(tolerance or TIGHT), msg=path)
    for path, value in one.final.items():
        torch.testing.assert_close(value, other.final[path], **(tolerance or TIGHT), msg=path)
    assert [(lane, path) for lane, _, path in one.events] == [(lane, path) for lane, _, path in other.events]
    times = [[t for _, t, _ in run.events] for run in (one, other)]
    np.testing.assert_allclose(*times, rtol=1e-12, atol=1e-12)


class Meter(Block):
    """Counts, draws and weighs: discrete states, a rate of its own, noise."""

    u = Input()
    y, n = Output(initial=-1.0), State(0.0)
    w, v = Noise(), Noise(distribution="uniform")

    @tick
    def step(self, u, n, w, v):  # type: ignore[no-untyped-def]
        return dict(n=n + 1.0, y=u + 0.01 * w + 0.02 * v)


class Swing(Block):
    """A pendulum with a stop that it bounces off and a count of its bounces."""

    torque = Input()
    length: Param = Param(1.0)
    theta, omega = State(0.6), State(0.0)
    bounces = State(0.0)

    @derivative(theta, omega)
    def motion(self, theta, omega, torque, length):  # type: ignore[no-untyped-def]
        return omega, torque - 9.81 / length * torch.sin(theta)

    @crossing
    def stop(self, theta):  # type: ignore[no-untyped-def]
        return theta + 0.1

    @stop.reset
    def bounce(self, omega, bounces):  # type: ignore[no-untyped-def]
        return dict(omega=-0.7 * omega, bounces=bounces + 1.0)


class Rich(Diagram):
    """Two rates, a queue longer than a period, noise, an external input."""

    r, y, seen = Input(default=0.5), Output(), Output()

    def __init__(self, swing: Block | None = None) -> None:
        self.plant = swing if swing is not None else Plain()
        self.meter = Meter(period="10 ms", latency="25 ms")
        self.slow = PI(kp=0.5, ki=0.3, period="30 ms", offset="5 ms")
        self.meter.u = self.plant.theta
        self.slow.e = self.r - self.meter.y
        self.plant.torque = self.slow.u
        self.y, self.seen = self.plant.theta, self.meter.y


class Plain(Block):
    """A pendulum without a stop."""

    torque = Input()
    length: Param = Param(1.0)
    theta, omega = State(0.6), State(0.0)

    @derivative(theta, omega)
    def motion(self, theta, omega, torque, length):  # type: ignore[no-untyped-def]
        return omega, torque - 9.81 / length * torch.sin(theta)


STEP = RK4(max_step="2 ms")
RICH, BOUNCING = Rich(), Rich(Swing())
BOTH = pytest.mark.parametrize("model", [RICH, BOUNCING], ids=["same schedule", "own ways"])
LENGTHS = torch.linspace(0.5, 1.5, 19, dtype=torch.float64)


class TestNumbers:
    @pytest.mark.parametrize(("latency", "published"), [(0, 1.20066844), (13, 1.22714606), (20, 1.24295970)])
    def test_the_pi_loop(self, latency: int, published: float) -> None:
        loop = Loop(f"{latency} ms" if latency else None)
        y = float(native(loop, 5, inputs={loop.r: 1.0}, record=[loop.y])[loop.y].at(5)[0])
        assert y == pytest.approx(published, abs=1e-8)
        assert y == pytest.approx(matrix_exponential(latency / 1000), abs=1e-8)

    def test_two_thousand_balls(self) -> None:
        """Impacts at t1 (1 + 2 e + … + 2 e^n), and rest after t1 (1 + e) / (1 - e)."""
        e = torch.linspace(0.1, 0.75, 2000, dtype=torch.float64)
        ball = BouncingBall()
        run = native(ball, 4, set={ball.restitution: e}, every=1, solver=RK4(max_step=0.1))
        first = math.sqrt(2 / 9.81)
        times: dict[int, list[float]] = {}
        for lane, t, _ in run.events:
            times.setdefault(lane, []).append(t)
        for lane in range(0, 2000, 7):
            k = float(e[lane])
            expected = [first * (1 + 2 * sum(k**i for i in range(1, n + 1))) for n in range(12)]
            np.testing.assert_allclose(times[lane][:12], expected, rtol=1e-12)
        resting = first * (1 + e) / (1 - e) < 4
        assert torch.equal(run["resting"].at(4) > 0, resting)
        assert len(run.events) > 1 << 12  # more than there was room for at first

    @pytest.mark.parametrize("solver", [Tsit5(rtol=1e-10, atol=1e-12), DormandPrince(rtol=1e-10, atol=1e-12)])
    def test_adaptive_steps_agree_with_scipy(self, solver: Any) -> None:
        mu = torch.tensor([1.0, 5.0, 20.0], dtype=torch.float64)
        model = VanDerPol()
        run = native(model, 10, set={model.mu: mu}, every=0.5, solver=solver)
        for lane, m in enumerate(mu.tolist()):
            reference = solve_ivp(lambda t, y, m=m: [y[1], m * (1 - y[0] ** 2) * y[1] - y[0]], (0, 10), [2.0, 0.0],
                                  "DOP853", rtol=1e-12, atol=1e-13, t_eval=run["x"].t.numpy())  # fmt: skip
            np.testing.assert_allclose(run["x"].values[lane].numpy(), reference.y[0], rtol=2e-7, atol=1e-9)

    @pytest.mark.parametrize(("solver", "order"), [(Euler, 1), (Heun, 2), (RK4, 4)])
    def test_orders_of_convergence(self, solver: Any, order: int) -> None:
        model = VanDerPol()
        exact = native(model, 1, every=1, solver=Tsit5(rtol=1e-13, atol=1e-14))["x"].at(1)
        errors = [float((native(model, 1, every=1, solver=solver(max_step=h))["x"].at(1) - exact).abs())
                  for h in (0.02, 0.01)]  # fmt: skip
        assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)

    def test_float32_counts_coulombs(self) -> None:
        """1 h of 1 A at 1 ms, in float32 with compensated sums: within 1e-4 of the charge (S18)."""
        counter = Charge()
        run = native(Sampled(counter), 3600, every=600, dtype=torch.float32, solver=RK4(max_step="1 ms"))
        assert run["x"].values.dtype == torch.float32
        assert float(run["x"].at(3600)) == pytest.approx(1.0, rel=1e-6)


class VanDerPol(Block):
    mu: Param = Param(2.0)
    x, v = State(2.0), State(0.0)

    @derivative(x, v)
    def flow(self, x, v, mu):  # type: ignore[no-untyped-def]
        return v, mu * (1 - x * x) * v - x


class Charge(Block):
    """The share of a cell's charge that 1 A has moved."""

    x = State(0.0)

    @derivative(x)
    def flow(self, x):  # type: ignore[no-untyped-def]
        return 1.0 / 3600.0 + 0.0 * x


class Sampled(Diagram):
    x = Output()

    def __init__(self, block: Block) -> None:
        self.block = block
        self.x = block.x


class TestNothingChangesIt:
    @BOTH
    def test_recording(self, model: Rich) -> None:
        finals = [native(model, 1, every=every, solver=STEP, set={model.plant.length: LENGTHS}).final
                  for every in (None, 0.007, 0.1)]  # fmt: skip
        for other in finals[1:]:
            assert all(torch.equal(value, other[path]) for path, value in finals[0].items())

    @BOTH
    def test_stopping_on_the_way(self, model: Rich) -> None:
        """At instants of the run, as often as one likes, with a rewind between: the bits of a run in one piece."""
        whole = simulator(model)
        whole.run_until(1)
        pieces = simulator(model)
        for ns in (30, 35, 310, 315, 700):
            pieces.run_until(f"{ns} ms")
        kept = pieces.snapshot()
        pieces.run_until("800 ms")
        pieces.restore(kept)
        pieces.run_until(1)
        assert_same_state(whole, pieces, exact=True)

    @BOTH
    def test_going_on_in_the_other_engine(self, model: Rich) -> None:
        """With values under way in the queue, and guards armed."""
        whole = simulator(model)
        whole.run_until(1)
        mixed = simulator(model)
        for i, ns in enumerate((105, 310, 335, 600, 1000)):
            if i % 2:
                mixed.run_until(f"{ns} ms")
            else:
                while mixed.next_instant() <= ns * 1_000_000:
                    mixed.step()
        assert_same_state(whole, mixed, exact=False)

    @BOTH
    def test_every_instant_from_where_torch_is(self, model: Rich) -> None:
        """DESIGN §5: natively restarted from torch's state at each instant, natively arrived at torch's next one."""
        torch_, native_ = simulator(model, "torch"), simulator(model)
        native_.run_until(0)
        torch_.step()
        while torch_.t < 0.5:
            before = torch_.state.copy()
            torch_.step()
            native_.state = before
            native_.run_until(f"{torch_.state.ns} ns")
            assert_same_state(torch_, native_, exact=False)

    @BOTH
    @given(st.data())
    @settings(max_examples=15, deadline=None)
    def test_lanes_beside(self, model: Rich, data: Any) -> None:
        """Any lanes in any order, on any number of threads: each the bits of the lane among all, and of the lane alone,
        which has a program without vectors."""
        every = all_lanes(model)
        some = data.draw(st.lists(st.integers(0, 18), min_size=1, max_size=40))
        run = simulate(model, 1, engine="native", threads=data.draw(st.integers(1, 3)), solver=STEP, every=0.01,
                       set={model.plant.length: LENGTHS[some]}, ids=torch.tensor(some), seed=4)  # fmt: skip
        assert_equal(run, every, of=some)
        for place, lane in enumerate(some):
            mine = [(t, path) for number, t, path in run.events if number == place]
            assert mine == [(t, path) for number, t, path in every.events if number == lane]

    @BOTH
    def test_float32_lanes_beside(self, model: Rich) -> None:
        """Sixteen to a vector, and compensated sums."""
        options: dict[str, Any] = dict(solver=STEP, every=0.01, seed=4, dtype=torch.float32)
        every = native(model, 0.3, set={model.plant.length: LENGTHS}, **options)
        for lane in (0, 17):
            alone = native(model, 0.3, set={model.plant.length: LENGTHS[lane]}, ids=[lane], **options)
            assert_equal(every, alone, rows=[lane])
        expected = simulate(model, 0.3, engine="torch", set={model.plant.length: LENGTHS}, **options)
        assert_close(expected, every, rtol=1e-5, atol=1e-5)

    @BOTH
    def test_torch_does_the_same(self, model: Rich) -> None:
        options: dict[str, Any] = dict(solver=STEP, every=0.01, set={model.plant.length: LENGTHS}, seed=4)
        expected = simulate(model, 1, engine="torch", **options)
        assert_close(expected, all_lanes(model))
        assert model is RICH or len(expected.events) >= 19

    def test_ctrl_c_leaves_nothing_half_done(self, interrupts: None) -> None:
        """Going on from there gives the states and the record of a run that was not interrupted."""
        options: dict[str, Any] = dict(lanes=64, solver=STEP, every=10, record=["y"], engine="native", threads=1)
        stopped = Simulator(RICH, **options)
        stopped.run_until(20)  # compiled before the timer starts
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            stopped.run_until(1e6)
        timer.join()
        assert stopped.t < 1e6
        end = stopped.t + 100
        stopped.run_until(end)
        whole = Simulator(RICH, **options)
        whole.run_until(end)
        assert_same_state(whole, stopped, exact=True)
        assert_equal(finished(whole), finished(stopped))


def all_lanes(model: Rich, kept: dict[int, Run] = {}) -> Run:  # noqa: B006
    if id(model) not in kept:
        kept[id(model)] = native(model, 1, solver=STEP, every=0.01, set={model.plant.length: LENGTHS}, seed=4)
    return kept[id(model)]


def simulator(model: Rich, engine: str = "native") -> Simulator:
    lengths = {model.plant.length: LENGTHS}
    return Simulator(model, engine=engine, threads=1, solver=STEP, set=lengths, seed=4, every=0.01)


def assert_same_state(one: Simulator, other: Simulator, exact: bool) -> None:
    assert one.state.ns == other.state.ns
    tolerance = dict(rtol=0.0, atol=0.0) if exact else TIGHT
    torch.testing.assert_close(one.state.y, other.state.y, **tolerance)
    for group in ("raw", "held", "last", "count"):
        for key, value in getattr(one.state, group).items():
            torch.testing.assert_close(value, getattr(other.state, group)[key], **tolerance, msg=f"{group} {key}")
    for path, queue in one.state.queues.items():
        assert [at for at, _, _ in queue] == [at for at, _, _ in other.state.queues[path]]
        for (_, values, _), (_, others, _) in zip(queue, other.state.queues[path], strict=True):
            for key, value in values.items():
                torch.testing.assert_close(value, others[key], **tolerance, msg=f"queue {key}")


class TestNoise:
    def test_integers_and_uniforms_are_bit_equal_and_normals_to_four_ulp(self) -> None:
        """S13."""
        ids = torch.arange(12) + 5
        run = native(Ticking(Draws(period=0.1)), 10, seed=7, ids=ids)
        for k in range(0, 100, 9):
            w = normal(stream_key(7, "block.w"), ids, k, 1)[:, 0]
            v = uniform(stream_key(7, "block.v"), ids, k, 1)[:, 0]
            assert torch.equal(run["block.b"].values[:, k], v)
            ulp = torch.nextafter(w.abs(), torch.full_like(w, torch.inf)) - w.abs()
            assert bool(((run["block.a"].values[:, k] - w).abs() <= 4 * ulp).all())


class Draws(Block):
    a, b = Output(), Output()
    x = State(0.0)
    w, v = Noise(), Noise(distribution="uniform")

    @tick
    def step(self, w, v):  # type: ignore[no-untyped-def]
        return dict(a=w, b=v)


class Fragile(Block):
    """Takes the logarithm of what becomes negative in some lanes."""

    slope: Param = Param(0.0)
    x, z = State(1.0), State(0.0)

    @derivative(x, z)
    def flow(self, x, slope):  # type: ignore[no-untyped-def]
        return -slope, torch.log(x)


class Odd(Block):
    """What is called in torch at its ticks and gives NaN in some lanes after a while."""

    u, y = Input(), Output()
    least: Param = Param(0.25)
    total = State(0.0)

    @tick
    def step(self, u, least, total):  # type: ignore[no-untyped-def]
        y = torch.log(torch.special.bessel_j0(u) - least)
        return dict(y=y, total=total + y)


class Calling(Diagram):
    x = Output()

    def __init__(self, plant: Block) -> None:
        self.plant, self.odd, self.meter = plant, Odd(period="10 ms", latency="15 ms"), Meter(period="20 ms")
        self.odd.u = self.meter.u = self.plant.theta
        self.plant.torque = 0.1 * self.odd.y
        self.x = self.plant.theta


class TestFailures:
    @pytest.mark.parametrize("plant", [Plain, Swing])
    def test_in_what_is_called_in_torch(self, plant: Any) -> None:
        model = Calling(plant())
        least = torch.linspace(0.2, 0.9999, 21, dtype=torch.float64)
        options: dict[str, Any] = dict(every=0.007, solver=STEP)
        run = native(model, 0.6, set={model.odd.least: least}, **options)
        expected = simulate(model, 0.6, engine="torch", set={model.odd.least: least}, **options)
        assert "odd.step in torch at its ticks" in run.why
        assert dict(run.status) == dict(expected.status) and 0 < len(run.status) < 21
        assert_close(run, expected)
        good = [lane for lane in range(21) if lane not in run.status]
        assert_equal(run, native(model, 0.6, set={model.odd.least: least[good]}, ids=good, **options), rows=good)

    RATES = torch.tensor([0.1, 0.2, 3.0, 0.3, 1.5, 0.0, 0.4, 0.5, 0.6], dtype=torch.float64)

    def options(self, rows: Any = slice(None)) -> dict[str, Any]:
        return dict(set={"block.slope": self.RATES[rows]}, every=0.05, solver=RK4(max_step="10 ms"))

    def test_failed_lanes_stand_and_the_others_go_on(self) -> None:
        model = Ticking(Fragile())
        run, expected = native(model, 1, **self.options()), simulate(model, 1, engine="torch", **self.options())
        assert dict(run.status) == dict(expected.status)
        assert set(run.status) == {2, 4} and "is not finite" in run.status[2][1]
        assert_close(run, expected)
        good = [0, 1, 3, 5, 6, 7, 8]
        assert_equal(run, native(model, 1, **self.options(good), ids=good), rows=good)

    def test_one_of_1024_fails(self) -> None:
        """The other 1023 are bit-identical to a run in which it does not."""
        model, slopes = Ticking(Fragile()), torch.linspace(0.0, 0.9, 1024, dtype=torch.float64)
        runs = []
        for slope in (3.0, 0.0):
            slopes[511] = slope
            runs.append(native(model, 1, set={"block.slope": slopes}, every=0.05, solver=RK4(max_step="10 ms")))
        others = [lane for lane in range(1024) if lane != 511]
        assert list(runs[0].status) == [511] and not runs[1].status
        assert_equal(*runs, rows=others, of=others)

    def test_strict_runs_raise_for_the_first(self) -> None:
        with pytest.raises(RunError, match="lane 4.*is not finite|lane 2.*is not finite"):
            native(Ticking(Fragile()), 1, strict=True, **self.options())

    @pytest.mark.parametrize("until", [0.5, 2.0])
    def test_a_blow_up_in_adaptive_steps(self, until: float) -> None:
        model = Escape()
        options: dict[str, Any] = dict(set={model.speed: torch.tensor([0.1, 1.0], dtype=torch.float64)}, every=0.25,
                                       solver=Tsit5(rtol=1e-8))  # fmt: skip
        run, expected = native(model, until, **options), simulate(model, until, engine="torch", **options)
        assert dict(run.status) == dict(expected.status)
        assert bool(run.status) == (until > 1)
        assert_close(run, expected, rtol=1e-9, atol=1e-9)


class Escape(Block):
    """x' = speed x^2 from 1: infinite at 1 / speed."""

    speed: Param = Param(1.0)
    x = State(1.0)

    @derivative(x)
    def flow(self, x, speed):  # type: ignore[no-untyped-def]
        return speed * x * x


class Ticking(Diagram):
    """A block, and a clock."""

    x = Output()

    def __init__(self, block: Any) -> None:
        self.block = block
        self.watch = Meter(period="100 ms")
        self.watch.u = block.x
        self.x = block.x


class Follower(Block):
    u = Input()
    x = State(0.0)

    @derivative(x)
    def flow(self, x, u):  # type: ignore[no-untyped-def]
        return u - x


class Pulses(Block):
    """A square wave whose period is the lane's own."""

    period_: Param = Param(0.25)
    y = Output()

    @edges
    def next_edge(self, t, period_):  # type: ignore[no-untyped-def]
        return (torch.floor(t / period_ + 1e-9) + 1) * period_

    @output(y)
    def wave(self, t, period_):  # type: ignore[no-untyped-def]
        return torch.floor(t / period_ + 1e-9) % 2


class Beats(Block):
    """Ticks at intervals of its own, which grow."""

    u = Input()
    wait: Param = Param(0.1)
    y, n = Output(initial=-1.0), State(0.0)

    @hit(first=0.05)
    def beat(self, u, n, wait):  # type: ignore[no-untyped-def]
        return dict(y=u, n=n + 1.0, next=wait * (1 + 0.1 * n))


class Driven(Diagram):
    r, x, y = Input(), Output(), Output()

    def __init__(self) -> None:
        self.plant = Follower()
        self.pulses = Pulses()
        self.beats = Beats()
        self.plant.u = self.r + self.pulses.y + 0.1 * self.beats.y
        self.beats.u = self.plant.x
        self.x, self.y = self.plant.x, self.beats.y


DRIVEN = Driven()
HELD = ([0.0, 0.3, 0.31, 0.8], torch.tensor([[1.0, -1.0, 2.0, 0.5], [0.0, 3.0, 1.0, 1.0]]))


class TestSources:
    @pytest.mark.parametrize(
        "given",
        [0.7, torch.tensor([0.2, 0.9], dtype=torch.float64), ([0.0, 0.3, 0.8], [1.0, -1.0, 0.5]), HELD,
         Trace("r", torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64),
               torch.tensor([[0.0, 2.0, -1.0]], dtype=torch.float64), "smooth", "")],
        ids=["number", "per lane", "held", "held per lane", "smooth"],
    )  # fmt: skip
    @pytest.mark.parametrize("solver", [RK4(max_step="20 ms"), Tsit5(rtol=1e-9, atol=1e-12)], ids=["fixed", "adaptive"])
    @pytest.mark.parametrize("every", [None, 0.05])
    def test_inputs_edges_and_hits_of_each_lane(self, given: Any, solver: Any, every: float | None) -> None:
        options: dict[str, Any] = dict(
            inputs={DRIVEN.r: given}, solver=solver, every=every,
            set={"pulses.period_": torch.tensor([0.25, 0.3], dtype=torch.float64),
                 "beats.wait": torch.tensor([0.1, 0.17], dtype=torch.float64)},
        )  # fmt: skip
        tolerance = {} if not solver.adaptive else dict(rtol=1e-9, atol=1e-9)
        run, expected = native(DRIVEN, 1, **options), simulate(DRIVEN, 1, engine="torch", **options)
        assert_close(run, expected, **tolerance)
        assert float(run.final["beats.n"].min()) > 3


class Noting(Block):
    u = Input()
    y, n = Output(), State(0.0)

    @tick
    def note(self, u, n):  # type: ignore[no-untyped-def]
        return dict(y=u, n=n + 1.0)


class Conditional(Diagram):
    y, z = Output(), Output()

    def __init__(self) -> None:
        self.swing = Swing()
        self.swing.torque = 0.0
        self.noted = Noting()
        self.gated = Meter(period="20 ms")
        self.noted.u = self.swing.omega
        self.gated.u = self.swing.theta
        triggered(self.noted, self.swing.stop)
        enabled(self.gated, self.swing.theta > 0.1, period="10 ms")
        self.y, self.z = self.noted.y, self.gated.y


def test_conditions_and_the_order_of_crossings() -> None:
    model = Conditional()
    options: dict[str, Any] = dict(set={model.swing.length: LENGTHS}, every=0.02, solver=STEP)
    run, expected = native(model, 2, **options), simulate(model, 2, engine="torch", **options)
    assert_close(run, expected)
    assert float(run.final["noted.n"].min()) >= 1
    assert [t for _, t, _ in run.events] == sorted(t for _, t, _ in run.events)


class Fold(Block):
    """An operation that has no rule: in continuous time, where it cannot be left to torch."""

    x = State(1.0)

    @derivative(x)
    def flow(self, x):  # type: ignore[no-untyped-def]
        return torch.special.bessel_j0(x)


class Order(Block):
    """The same at ticks."""

    u = Input(default=0.3)
    y = Output()

    @tick
    def step(self, u):  # type: ignore[no-untyped-def]
        return dict(y=torch.special.bessel_j0(u))


class TestChoice:
    def test_a_short_run_is_not_compiled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(choice, "WORTH", 2.0)  # `pytest --engine native` sets it to nothing
        run = simulate(Loop(), 0.1, inputs={"r": 1.0})
        assert run.engine == "torch" and "does not pay" in run.why

    def test_a_long_one_is(self) -> None:
        run = simulate(Loop(), 300, inputs={"r": 1.0}, every=1)
        assert run.engine == "native" and "one C loop" in run.why

    def test_gradients_devices_and_operations_have_reasons(self) -> None:
        with pytest.raises(LoweringError, match=r"flow.*bessel_j0"):
            simulate(Ticking(Fold()), 0.1, engine="native")
        run = simulate(Ticking(Fold()), 300, every=1)
        assert run.engine == "torch" and "bessel_j0" in run.why
        with pytest.raises(RunError, match="one of"):
            simulate(Loop(), 1, inputs={"r": 1.0}, engine="fast")

    def test_what_does_not_lower_is_called_at_its_ticks(self) -> None:
        model = Order(period="10 ms")
        run = native(model, 0.1, lanes=3)
        assert "bessel_j0" in run.why and "in torch at its ticks" in run.why
        assert_close(run, simulate(model, 0.1, lanes=3, engine="torch"))

    def test_without_a_compiler_torch_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = Loop()
        monkeypatch.setattr(choice, "WORTH", 0.0)  # else a run of which this is said takes ten seconds
        monkeypatch.setenv("SIMDL_CC", "none")
        run = simulate(loop, 1, inputs={"r": 1.0}, every=0.5)
        assert run.engine == "torch" and "SIMDL_CC" in run.why


def test_lanes_that_were_reset_receive_nothing_of_before() -> None:
    """A reset of lanes is done by torch; values that were under way in its queues are then not every lane's."""
    runs = []
    for engine in ("native", "torch"):
        sim = Simulator(RICH, lanes=9, solver=STEP, engine=engine)
        sim.run_until("200 ms")
        sim.reset([1, 4])
        sim.step()
        sim.run_until("300 ms")
        runs.append(sim)
    assert runs[0].engine == "native"
    assert_same_state(*runs, exact=False)


def test_values_that_torch_has_sent_arrive_in_a_stretch_without_ticks() -> None:
    """The library of a stretch in which a delayed node does not tick, again with values that torch sent."""
    ends = []
    for engine in ("native", "torch"):
        sim = Simulator(Calling(Plain()), solver=STEP, engine=engine, lanes=3)
        sim.run_until("1 ms")
        sim.run_until("2 ms")
        while sim.t < 0.02:
            sim.step()
        sim.run_until("21 ms")
        sim.run_until("22 ms")
        sim.run_until("36 ms")
        ends.append(sim)
    assert_same_state(*ends, exact=False)
