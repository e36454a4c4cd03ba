"""S12 to S14: lanes that fail, noise, gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from simdl import (
    RK4,
    Block,
    Diagram,
    Input,
    Noise,
    Output,
    Param,
    Rosenbrock,
    RunError,
    Simulator,
    State,
    Tsit5,
    crossing,
    derivative,
    enabled,
    hit,
    output,
    rollout,
    simulate,
    tick,
)
from simdl.blocks import PI, BouncingBall, Constant, Gain, Hold, Step, WhiteNoise
from simdl.random import normal, stream_key, uniform

F64 = torch.float64


class Explode(Block):
    """x' = a x^2 from 1: infinite at t = 1 / a."""

    a: Param = Param(1.0)
    push = Input(default=0.0)
    x = State(1.0)

    @derivative(x)
    def flow(self, x, a, push):  # type: ignore[no-untyped-def]
        return a * x**2 + push


class Root(Block):
    """The square root of what is left of a tank: NaN once it is below zero."""

    level, leak = State(1.0), Param(0.3)
    y = Output()

    @tick
    def step(self, level, leak):  # type: ignore[no-untyped-def]
        return dict(level=torch.sqrt(level) - leak, y=level)


class Mixed(Diagram):
    """A plant that may explode, with a sampled controller, noise and a latency."""

    y = Output()

    def __init__(self) -> None:
        self.plant, self.noise = Explode(), WhiteNoise(std=0.01, period=0.05)
        self.pi = PI(kp=0.1, ki=0.1, period=0.1, latency=0.03)
        self.pi.e = self.noise.y - self.plant.x
        self.plant.push = self.pi.u
        self.y = self.plant.x


A = torch.tensor([0.1, 3.0, 0.2, -0.5, 4.0], dtype=F64)
SOLVERS = [RK4(max_step=0.01), Tsit5(max_steps=2000)]


class TestFailedLanes:
    @pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
    def test_the_others_are_bit_identical(self, solver: Any) -> None:
        model = Mixed()
        keep = [0, 2, 3]
        run = simulate(model, 1.5, set={model.plant.a: A}, every=0.1, seed=3, solver=solver)
        good = simulate(model, 1.5, set={model.plant.a: A[keep]}, every=0.1, seed=3, ids=keep, solver=solver)
        assert sorted(run.status) == [1, 4] and not good.status
        for path, trace in good.traces.items():
            assert torch.equal(run[path].values[keep], trace.values), path
        assert all(torch.equal(run.final[key][keep], good.final[key]) for key in good.final)

    def test_frozen_at_its_last_good_state_with_a_time_and_a_text(self) -> None:
        model = Mixed()
        run = simulate(model, 1.5, set={model.plant.a: A}, every=0.05)
        t, text = run.status[1]
        assert 0.25 <= t <= 0.4 and "plant.x" in text and "finite" in text
        x = run["y"].values[1]
        assert bool(torch.isfinite(x).all())
        assert len(set(x[run["y"].t > t + 0.1].tolist())) == 1  # it stays where it was
        assert run.failed.tolist() == [False, True, False, False, True]

    def test_a_sampled_block_may_fail_too(self) -> None:
        root = Root(period=0.1)
        run = simulate(root, 3, set={root.leak: torch.tensor([0.1, 0.3], dtype=F64)})
        assert list(run.status) == [1] and "level" in run.status[1][1]
        assert bool(torch.isfinite(run["y"].values).all())

    def test_strict_raises_with_lane_seed_and_how_to_replay(self) -> None:
        model = Mixed()
        with pytest.raises(RunError) as error:
            simulate(model, 1.5, set={model.plant.a: A}, strict=True, seed=11, ids=[100, 101, 102, 103, 104])
        text = str(error.value)
        assert "lane 104, seed 11" in text or "lane 101, seed 11" in text
        assert "replay it alone" in text and "ids=[10" in text

    def test_all_lanes_failing_ends_the_run_quietly(self) -> None:
        explode = Explode(a=3.0)
        run = simulate(explode, 2, lanes=2, solver=RK4(max_step=0.01), every=0.2)
        assert sorted(run.status) == [0, 1] and run.until == 2 and len(run["x"].t) == 11

    def test_a_failed_lane_stays_where_it_is(self) -> None:
        sim = Simulator(Mixed(), set={"plant.a": A})
        sim.run_until(1.0)
        assert 1 in sim.state.status
        before, shown = sim.state.y[:, 1].clone(), sim["plant.x"][1].clone()
        sim.run_until(1.2)
        assert torch.equal(sim.state.y[:, 1], before) and bool(torch.isfinite(before).all())
        assert sim["plant.x"][1] == shown and math.isfinite(float(shown))

    def test_selection_by_where_does_not_fail_a_lane(self) -> None:
        class Safe(Block):
            u = Input()
            y = Output()

            @tick
            def step(self, u):  # type: ignore[no-untyped-def]
                return dict(y=torch.where(u > 0, torch.sqrt(u), 0.0))

        run = simulate(Safe(period=1), 2, inputs={"u": torch.tensor([4.0, -4.0])})
        assert not run.status and run["y"].at(2).tolist() == [2.0, 0.0]


class Draw(Block):
    a, b = Output(), Output()
    w = Noise(shape=(2,))
    v = Noise(distribution="uniform")

    @tick
    def draw(self, w, v):  # type: ignore[no-untyped-def]
        return dict(a=w[:, 0] + w[:, 1], b=v)


class TestNoise:
    def test_a_draw_is_a_function_of_seed_lane_path_and_tick(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.inner = Pair()

        class Pair(Diagram):
            def __init__(self) -> None:
                self.draw = Draw(period=0.1, offset=0.05)

        run = simulate(Model(), 20, lanes=3, seed=7, engine="torch")  # more ticks than are drawn at once
        lanes = torch.arange(3)
        for k in (0, 1, 63, 64, 65, 199):
            w = normal(stream_key(7, "inner.draw.w"), lanes, k, 2)
            v = uniform(stream_key(7, "inner.draw.v"), lanes, k, 1)[:, 0]
            assert torch.equal(run["inner.draw.a"].values[:, k + 1], w[:, 0] + w[:, 1])
            assert torch.equal(run["inner.draw.b"].values[:, k + 1], v)

    def test_lane_1853_alone_is_lane_1853_of_a_campaign(self) -> None:
        draw = Draw(period=0.1)
        campaign = simulate(draw, 1, lanes=2000, seed=1)["a"].values
        alone = simulate(draw, 1, ids=[1853], seed=1)["a"].values
        assert torch.equal(alone[0], campaign[1853])

    def test_adding_a_block_reshuffles_nobody(self) -> None:
        class Small(Diagram):
            def __init__(self) -> None:
                self.draw = Draw(period=0.1)

        class Large(Diagram):
            def __init__(self) -> None:
                self.before, self.draw, self.zlast = Draw(period=0.1), Draw(period=0.1), Draw(rate=30)

        small, large = simulate(Small(), 1, seed=2), simulate(Large(), 1, seed=2)
        assert torch.equal(small["draw.a"].values, large["draw.a"].values)
        assert not torch.equal(large["before.a"].values, large["draw.a"].values)

    def test_stream_survives_renaming(self) -> None:
        class One(Diagram):
            def __init__(self) -> None:
                self.gyro = Draw(period=0.1, stream="gyro noise")

        class Two(Diagram):
            def __init__(self) -> None:
                self.imu = Draw(period=0.1, stream="gyro noise")

        assert torch.equal(simulate(One(), 1)["gyro.a"].values, simulate(Two(), 1)["imu.a"].values)

    def test_seeds_differ(self) -> None:
        draw = Draw(period=0.1)
        assert not torch.equal(simulate(draw, 1, seed=1)["a"].values, simulate(draw, 1, seed=2)["a"].values)

    def test_counters_run_on_while_disabled(self) -> None:
        class Model(Diagram):
            def __init__(self, gate: float) -> None:
                self.gate = Step(at=gate)
                self.on = Hold(period=0.1)
                self.on.u = self.gate.y
                self.draw = enabled(Draw(period=0.1), when=self.on.y > 0.5)

        always, late = simulate(Model(0.0), 1, seed=4)["draw.a"], simulate(Model(0.5), 1, seed=4)["draw.a"]
        assert float(late.at(0.45)) == 0.0
        assert late.at(0.5).tolist() == always.at(0.5).tolist() and late.at(1).tolist() == always.at(1).tolist()

    def test_hits_count_for_each_lane(self) -> None:
        class Jump(Block):
            wait: Param = Param(0.1)
            y = Output()
            w = Noise()

            @hit
            def jump(self, w, wait):  # type: ignore[no-untyped-def]
                return dict(y=w, next=wait)

        jump = Jump()
        run = simulate(jump, 1, set={jump.wait: torch.tensor([0.3, 0.7], dtype=F64)}, seed=5, every=0.1)
        key = stream_key(5, ".w")  # the root has no path
        for lane, hits in ((0, 3), (1, 1)):
            wanted = normal(key, torch.tensor([lane]), hits, 1)[0, 0]
            assert run["y"].at(1)[lane] == wanted

    def test_float32_runs_draw_in_float32(self) -> None:
        draw = Draw(period=0.1)
        wide, narrow = simulate(draw, 1)["a"].values, simulate(draw, 1, dtype=torch.float32)["a"].values
        assert narrow.dtype == torch.float32
        torch.testing.assert_close(narrow.double(), wide, rtol=1e-6, atol=1e-6)


class Spring(Block):
    """x'' = force - k x - c x'."""

    force = Input()
    k: Param = Param(4.0)
    c: Param = Param(0.3)
    x, v = State(1.0), State(0.0)

    @derivative(x, v)
    def flow(self, x, v, force, k, c):  # type: ignore[no-untyped-def]
        return v, force - k * x - c * v


class Net(Block):
    """A small network that reads a sampled position."""

    x, u = Input(), Output()

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()

    @tick
    def act(self, x):  # type: ignore[no-untyped-def]
        return dict(u=self.module(x.unsqueeze(-1)).squeeze(-1))


class Controlled(Diagram):
    y = Output()

    def __init__(self) -> None:
        self.plant, self.net = Spring(), Net(period=0.1, latency=0.04)
        self.net.x = self.plant.x
        self.plant.force = self.net.u
        self.y = self.plant.x


def difference(f: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-6) -> Tensor:
    """The gradient of sum f by central differences, lane by lane at once."""
    with torch.no_grad():
        return (f(x + step) - f(x - step)) / (2 * step)


class TestGradients:
    @pytest.mark.parametrize(
        "solver",
        [RK4(max_step=0.02), Tsit5(rtol=1e-9, atol=1e-12), Rosenbrock(rtol=1e-7, atol=1e-9)],
        ids=lambda s: type(s).__name__,
    )
    def test_closed_form_of_an_oscillator(self, solver: Any) -> None:
        """d cos(sqrt(k) t) / dk."""
        spring = Spring(c=0.0)
        k = torch.tensor([1.0, 4.0, 9.0], dtype=F64, requires_grad=True)
        run = simulate(spring, 2, set={spring.k: k}, inputs={"force": 0.0}, solver=solver, every=2, grad=True)
        run["x"].at(2).sum().backward()  # type: ignore[no-untyped-call]
        assert k.grad is not None
        root = k.detach().sqrt()
        torch.testing.assert_close(k.grad, -torch.sin(2 * root) / root, rtol=1e-5, atol=1e-5)

    def test_network_in_the_loop_against_differences(self) -> None:
        loop = rollout(Controlled(), 1.0, every=0.05)
        names = [name for name, _ in loop.named_parameters()]
        assert any("net" in name for name in names)

        def loss() -> Tensor:
            return (loop()["y"].values ** 2).mean()

        loss().backward()  # type: ignore[no-untyped-call]
        for parameter in loop.parameters():
            assert parameter.grad is not None
            flat = parameter.data.view(-1)
            for i in (0, len(flat) - 1):
                kept = float(flat[i])
                values = []
                for sign in (1, -1):
                    flat[i] = kept + sign * 1e-6
                    values.append(float(loss().detach()))
                flat[i] = kept
                assert float(parameter.grad.view(-1)[i]) == pytest.approx(
                    (values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-9
                )

    def test_nothing_is_kept_without_grad(self) -> None:
        assert not simulate(Controlled(), 0.5)["y"].values.requires_grad

    @pytest.mark.parametrize("checkpoint", [2, 3, 100])
    def test_checkpointing_gives_the_same_gradient(self, checkpoint: int) -> None:
        def gradients(checkpoint: int) -> list[Tensor]:
            loop = rollout(Controlled(), 1.0, every=0.05, checkpoint=checkpoint)
            (loop()["y"].values ** 2).mean().backward()  # type: ignore[no-untyped-call]
            return [p.grad for p in loop.parameters() if p.grad is not None]

        for plain, again in zip(gradients(0), gradients(checkpoint), strict=True):
            assert torch.equal(plain, again)

    def test_initial_states_and_inputs_have_gradients(self) -> None:
        spring = Spring(c=0.0, k=1.0)
        x0 = torch.tensor([1.0, 2.0], dtype=F64, requires_grad=True)
        force = torch.tensor([0.5, 0.5], dtype=F64, requires_grad=True)
        run = simulate(
            spring, 1, set={spring.x: x0}, inputs={spring.force: force}, solver=RK4(max_step=0.01), grad=True, every=1
        )
        run["x"].at(1).sum().backward()  # type: ignore[no-untyped-call]
        assert x0.grad is not None and force.grad is not None
        assert x0.grad.tolist() == pytest.approx([math.cos(1)] * 2, abs=1e-9)
        assert force.grad.tolist() == pytest.approx([1 - math.cos(1)] * 2, abs=1e-9)

    @pytest.mark.parametrize(
        "solver", [RK4(max_step=0.05), Tsit5(), RK4(max_step=5.0)], ids=["RK4", "Tsit5", "one step"]
    )
    @pytest.mark.parametrize("name", ["restitution", "gravity", "height"])
    def test_through_crossings_against_the_closed_form(self, solver: Any, name: str) -> None:
        """The height 1.2 s after the drop of a ball that has bounced once or twice; and the time of a bounce."""
        start = dict(restitution=[0.6, 0.7, 0.8], gravity=[9.0, 9.81, 11.0], height=[0.8, 1.0, 1.3])
        values = {key: torch.tensor(value, dtype=F64) for key, value in start.items()}

        def exact(**p: Tensor) -> Tensor:
            e, g, height = p["restitution"], p["gravity"], p["height"]
            fall = torch.sqrt(2 * height / g)
            second = fall * (1 + 2 * e)
            late = 1.2 >= second
            origin, speed = torch.where(late, second, fall), g * fall * torch.where(late, e**2, e)
            return speed * (1.2 - origin) - g / 2 * (1.2 - origin) ** 2

        values[name].requires_grad_(True)
        wanted = torch.autograd.grad(exact(**values).sum(), values[name])[0]
        ball = BouncingBall()
        given = {getattr(ball, key): value for key, value in values.items()}
        run = simulate(ball, 1.2, set=given, solver=solver, grad=True, every=1.2)
        found = torch.autograd.grad(run["h"].at(1.2).sum(), values[name])[0]
        assert run["h"].at(1.2).tolist() == pytest.approx(exact(**values).tolist(), abs=1e-12)
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)

    def test_through_a_nonlinear_crossing_against_differences(self) -> None:
        class Stop(Block):
            k: Param = Param(4.0)
            x, v = State(1.0), State(0.0)

            @derivative(x, v)
            def flow(self, x, v, k):  # type: ignore[no-untyped-def]
                return v, -k * torch.sin(x) - 0.1 * v

            @crossing
            def wall(self, x, v, k):  # type: ignore[no-untyped-def]
                return x + 0.2 * k**0.5 + 0.05 * v

            @wall.reset
            def bounce(self, x, v):  # type: ignore[no-untyped-def]
                return dict(v=-0.7 * v, x=x + 0.05 * v * v)

        stop = Stop()

        def final(k: Tensor, grad: bool = False) -> Tensor:
            run = simulate(stop, 3, set={stop.k: k}, solver=RK4(max_step=0.01), grad=grad, every=3)
            assert len(run.events) == 3
            return run["x"].at(3)

        k = torch.tensor([3.0, 5.0], dtype=F64)
        x = k.clone().requires_grad_(True)
        found = torch.autograd.grad(final(x, grad=True).sum(), x)[0]
        torch.testing.assert_close(found, difference(final, k), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
    def test_gradient_with_a_failed_lane_is_that_without_it(self, solver: Any) -> None:
        model = Mixed()
        keep = [0, 2, 3]

        def gradient(a: Tensor, ids: list[int]) -> tuple[Tensor, Tensor]:
            a = a.clone().requires_grad_(True)
            kp = torch.tensor(0.1, dtype=F64, requires_grad=True)
            run = simulate(model, 0.8, set={model.plant.a: a, model.pi.kp: kp}, every=0.1, seed=3, ids=ids, grad=True,
                           solver=solver)  # fmt: skip
            assert len(run.status) == len(ids) - 3
            loss = (run["y"].values ** 2)[~run.failed].sum()
            found = torch.autograd.grad(loss, (a, kp))
            return found[0], found[1]

        a_all, kp_all = gradient(A, list(range(5)))
        a_good, kp_good = gradient(A[keep], keep)
        torch.testing.assert_close(a_all[keep], a_good, rtol=1e-13, atol=0)
        torch.testing.assert_close(kp_all, kp_good, rtol=1e-13, atol=0)
        assert a_all[[1, 4]].tolist() == [0.0, 0.0]

    def test_gradient_of_a_failed_lane_is_zero_and_never_nan(self) -> None:
        explode = Explode()
        a = torch.tensor([0.5, 3.0], dtype=F64, requires_grad=True)
        run = simulate(explode, 1, set={explode.a: a}, grad=True, every=0.1, solver=RK4(max_step=0.05))
        run["x"].values.sum().backward()  # type: ignore[no-untyped-call]
        assert list(run.status) == [1] and a.grad is not None
        assert math.isfinite(float(a.grad[0])) and float(a.grad[1]) == 0.0

    def test_a_constant_gain_of_a_sampled_loop(self) -> None:
        """y_n = k^n: the gradient n k^(n-1) through n ticks."""

        class Power(Diagram):
            def __init__(self) -> None:
                self.memory, self.gain = Memory(period=1), Gain(k=1.0)
                self.gain.u = self.memory.y
                self.memory.u = self.gain.y

        model = Power()
        k = torch.tensor(1.1, dtype=F64, requires_grad=True)
        run = simulate(model, 6, set={model.gain.k: k}, grad=True)
        run["memory.y"].at(6).sum().backward()  # type: ignore[no-untyped-call]
        assert k.grad is not None and float(k.grad) == pytest.approx(6 * 1.1**5)


class Memory(Block):
    u, y, x = Input(), Output(), State(1.0)

    @tick
    def keep(self, u):  # type: ignore[no-untyped-def]
        return dict(x=u)

    @output(y)
    def show(self, x):  # type: ignore[no-untyped-def]
        return x


def test_constant_of_each_lane() -> None:
    constant = Constant()
    assert simulate(constant, 0, set={"value": torch.tensor([1.0, 2.0, 3.0])})["y"].at(0).tolist() == [1, 2, 3]
