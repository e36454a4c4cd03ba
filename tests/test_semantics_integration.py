"""S10 and S11: integration between instants, and crossings."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from simdl import (
    RK4,
    Block,
    Diagram,
    DormandPrince,
    Euler,
    Heun,
    Input,
    Output,
    Param,
    Rosenbrock,
    Run,
    State,
    Tsit5,
    crossing,
    derivative,
    output,
    simulate,
    tick,
    triggered,
)
from simdl.blocks import BouncingBall, Constant, Hold, Integrator, Sine, Step

ADAPTIVE = [Tsit5(rtol=1e-9, atol=1e-12), DormandPrince(rtol=1e-9, atol=1e-12), Rosenbrock(rtol=1e-9, atol=1e-12)]
FIXED = [Euler(max_step=0.01), Heun(max_step=0.01), RK4(max_step=0.01)]


def named(solver: Any) -> str:
    return type(solver).__name__


class Oscillator(Block):
    """x'' = force - x."""

    force = Input()
    x, v = State(1.0), State(0.0)

    @derivative(x, v)
    def flow(self, x, v, force):  # type: ignore[no-untyped-def]
        return v, force - x


class Sampled(Diagram):
    """An oscillator driven by its own sampled position: instants cut every step short."""

    x = Output()

    def __init__(self) -> None:
        self.plant, self.hold = Oscillator(), Hold(period=0.25, offset=0.1)
        self.hold.u = -0.3 * self.plant.x
        self.plant.force = self.hold.y
        self.x = self.plant.x


def sampled_exactly(until: float = 2.0) -> float:
    """The closed form of `Sampled`: x oscillates about the held force, before the first tick about -0.3 x(0)."""
    x, v, force, t = 1.0, 0.0, -0.3, 0.0
    ticks = [0.1 + 0.25 * k for k in range(8)]
    for end in [*ticks, until]:
        h = end - t
        x, v = force + (x - force) * math.cos(h) + v * math.sin(h), v * math.cos(h) - (x - force) * math.sin(h)
        t, force = end, -0.3 * x
    return x


class TestMethods:
    @pytest.mark.parametrize("solver", [Euler, Heun, RK4])
    def test_a_whole_loop_converges_with_the_order_of_its_method(self, solver: Any) -> None:
        def error(h: float) -> float:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run = simulate(Sampled(), 2, solver=solver(max_step=h))
            return abs(float(run.final["plant.x"]) - sampled_exactly())

        coarse, fine = error(0.025), error(0.0125)
        assert math.log2(coarse / fine) == pytest.approx(solver().order, abs=0.2)

    @pytest.mark.parametrize("solver", ADAPTIVE, ids=named)
    def test_an_adaptive_method_keeps_its_tolerance(self, solver: Any) -> None:
        assert float(simulate(Sampled(), 2, solver=solver).final["plant.x"]) == pytest.approx(
            sampled_exactly(), abs=1e-7
        )

    @pytest.mark.parametrize("solver", [Tsit5, DormandPrince, Rosenbrock])
    def test_error_falls_with_the_tolerance(self, solver: Any) -> None:
        def error(tolerance: float) -> float:
            run = simulate(
                Oscillator(), 10, inputs={"force": 0.0}, solver=solver(rtol=tolerance, atol=tolerance), every=5
            )
            return abs(float(run.final["x"]) - math.cos(10))

        coarse, fine = error(1e-4), error(1e-8)
        assert fine < 1e-7 and fine < coarse / 1e3

    def test_steps_are_equal_and_no_longer_than_asked(self) -> None:
        """x' = t by Euler gives h (n - 1) n h / 2: the number of steps can be read from the result."""

        class Time(Block):
            x = State(0.0)

            @derivative(x)
            def flow(self, t):  # type: ignore[no-untyped-def]
                return t

        def steps(until: float, max_step: float) -> float:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                x = float(simulate(Time(), until, solver=Euler(max_step=max_step)).final["x"])
            return 1 / (1 - 2 * x / until**2)  # x = until^2 (1 - 1/n) / 2

        assert steps(1.0, 0.3) == pytest.approx(4)
        assert steps(1.0, 0.25) == pytest.approx(4)
        assert steps(0.3, 0.1) == pytest.approx(3)  # 0.3 / 0.1 is 2.9999999999999996 or 3.0000000000000004

    def test_default_step_is_a_quarter_of_the_smallest_period(self) -> None:
        assert torch.equal(
            simulate(Sampled(), 1).final["plant.x"],
            simulate(Sampled(), 1, solver=RK4(max_step=0.0625)).final["plant.x"],
        )

    @pytest.mark.parametrize("solver", [*ADAPTIVE, *FIXED], ids=named)
    def test_no_stage_sees_the_next_piece_of_a_source(self, solver: Any) -> None:
        """x' = a step: with its edge an instant the integral of piecewise constants is exact for every method."""

        class Model(Diagram):
            def __init__(self) -> None:
                self.step, self.plant = Step(at=0.3371, before=1.0, after=-5.0), Integrator()
                self.plant.u = self.step.y

        run = simulate(Model(), 1, solver=solver)
        assert float(run.final["plant.y"]) == pytest.approx(0.3371 - 5 * (1 - 0.3371), abs=1e-12)

    def test_stiff_method_on_a_stiff_loop(self) -> None:
        """x' = -1e6 (x - cos t): explicit methods would need 1e6 steps a second."""

        class Stiff(Block):
            x = State(0.0)

            @derivative(x)
            def flow(self, x, t):  # type: ignore[no-untyped-def]
                return -1e6 * (x - torch.cos(t))

        run = simulate(Stiff(), 10, solver=Rosenbrock(rtol=1e-7, atol=1e-9, max_step=0.1, max_steps=500), every=0.73)
        assert not run.status
        assert float((run["x"].values - torch.cos(run["x"].t))[:, 1:].abs().max()) < 2e-6

    @pytest.mark.parametrize("solver", ADAPTIVE, ids=named)
    def test_adaptive_steps_are_per_lane(self, solver: Any) -> None:
        """A fast lane beside a slow one does not change a bit of the slow one."""

        class Spring(Block):
            k: Param = Param(1.0)
            x, v = State(1.0), State(0.0)

            @derivative(x, v)
            def flow(self, x, v, k):  # type: ignore[no-untyped-def]
                return v, -k * x

        spring = Spring()
        k = torch.tensor([1.0, 400.0], dtype=torch.float64)
        both = simulate(spring, 1, set={spring.k: k}, solver=solver, every=0.5).final
        slow = simulate(spring, 1, set={spring.k: k[:1]}, solver=solver, every=0.5).final
        assert torch.equal(both["x"][:1], slow["x"])
        assert both["x"].tolist() == pytest.approx([math.cos(1), math.cos(20)], abs=1e-6)


class TestAccuracy:
    def test_a_coarse_step_is_reported_and_warned_of(self) -> None:
        class Fast(Block):
            x, v = State(1.0), State(0.0)

            @derivative(x, v)
            def flow(self, x, v):  # type: ignore[no-untyped-def]
                return v, -900 * x

        class Model(Diagram):
            def __init__(self) -> None:
                self.fast, self.tick = Fast(), Hold(period=0.1)
                self.tick.u = self.fast.x

        with pytest.warns(UserWarning, match=r"fast.* half the step changes it by .*RK4\(max_step"):
            run = simulate(Model(), 1)
        assert run.accuracy > 1e-3

    def test_a_fine_one_is_reported_only(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            run = simulate(Sampled(), 1, solver=RK4(max_step=0.01))
        assert 0 < run.accuracy < 1e-6


class Fall(Block):
    """x' = -speed from 1; counts how often the guard x - level fires, and at which time last."""

    speed: Param = Param(1.0)
    level: Param = Param(0.5)
    back: Param = Param(0.0)
    x, hits, last = State(1.0), State(0.0), State(-1.0)

    @derivative(x)
    def flow(self, speed):  # type: ignore[no-untyped-def]
        return -speed

    @crossing
    def reached(self, x, level):  # type: ignore[no-untyped-def]
        return x - level

    @reached.reset
    def mark(self, x, hits, t, back):  # type: ignore[no-untyped-def]
        return dict(hits=hits + 1, last=t, x=x + back)


def times(run: Run, path: str = "") -> list[float]:
    return [t for _, t, p in run.events if path in p]


class TestCrossings:
    @pytest.mark.parametrize("solver", [*ADAPTIVE, *FIXED], ids=named)
    def test_located_to_rounding_where_the_flow_is_linear(self, solver: Any) -> None:
        run = simulate(Fall(level=1 - math.pi / 10), 1, solver=solver, every=0.5)
        assert times(run) == pytest.approx([math.pi / 10], abs=1e-14)
        assert float(run.final["last"]) == pytest.approx(math.pi / 10, abs=1e-14)

    @pytest.mark.parametrize("solver", [RK4(max_step=0.01), *ADAPTIVE], ids=named)
    def test_located_on_the_true_step_map_not_on_the_interpolant(self, solver: Any) -> None:
        """The state at a crossing satisfies the guard to rounding, and the rest of the step goes on from there."""

        class Model(Block):
            x, v, seen = State(1.0), State(0.0), State(9.0)

            @derivative(x, v)
            def flow(self, x, v):  # type: ignore[no-untyped-def]
                return v, -x

            @crossing
            def down(self, x):  # type: ignore[no-untyped-def]
                return x - 0.25

            @down.reset
            def mark(self, x):  # type: ignore[no-untyped-def]
                return dict(seen=x)

        run = simulate(Model(), 6, solver=solver, every=1)
        assert float(run.final["seen"]) == pytest.approx(0.25, abs=1e-15)
        assert times(run) == pytest.approx([math.acos(0.25)], abs=1e-8)
        assert float(run.final["x"]) == pytest.approx(math.cos(6), abs=1e-7)

    def test_each_lane_crosses_alone(self) -> None:
        fall = Fall()
        speed = torch.tensor([0.3, 0.6, 1.0, 5.0], dtype=torch.float64)
        run = simulate(fall, 1, set={fall.speed: speed}, solver=RK4(max_step=0.3))
        assert run.final["hits"].tolist() == [0, 1, 1, 1]
        assert run.final["last"].tolist() == pytest.approx([-1, 0.5 / 0.6, 0.5, 0.1], abs=1e-14)

    def test_a_guard_that_is_not_positive_at_the_start_does_not_fire(self) -> None:
        for level in (1.0, 1.5):
            assert times(simulate(Fall(level=level), 1, solver=RK4(max_step=0.1))) == []

    def test_a_guard_of_zero_that_rises_is_armed(self) -> None:
        """Thrown up from the floor, it comes back."""

        class Throw(Block):
            h, v = State(0.0), State(2.0)

            @derivative(h, v)
            def flow(self, v):  # type: ignore[no-untyped-def]
                return v, torch.full_like(v, -10.0)

            @crossing
            def floor(self, h):  # type: ignore[no-untyped-def]
                return h

        assert times(simulate(Throw(), 1, solver=RK4(max_step=0.05))) == pytest.approx([0.4], abs=1e-14)

    def test_it_fires_once_and_is_armed_again_by_rising(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.sine, self.watch = Sine(frequency=1.0), Watch()
                self.watch.u = self.sine.y

        run = simulate(Model(), 3, solver=RK4(max_step=0.02))
        assert times(run) == pytest.approx([0.5, 1.5, 2.5], abs=1e-9)

    def test_a_crossing_at_an_instant_happens_before_it(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.fall, self.see = Fall(level=0.5), Hold(period=0.5)
                self.see.u = self.fall.hits

        run = simulate(Model(), 1, solver=RK4(max_step=0.125))
        assert run["see.y"].values[0].tolist() == [0, 1, 1]

    def test_resets_apply_at_once_and_the_rest_of_the_step_goes_on(self) -> None:
        run = simulate(Fall(level=0.5, back=0.2), 1, solver=RK4(max_step=1.0))
        assert times(run) == pytest.approx([0.5, 0.7, 0.9], abs=1e-13)
        assert float(run.final["x"]) == pytest.approx(0.6, abs=1e-13)

    def test_what_an_instant_pushes_through_zero_fires_at_once(self) -> None:
        """A held level jumps above x: the crossing is at the instant of the jump, and before any integration."""

        class Model(Diagram):
            def __init__(self) -> None:
                self.sample = Ladder(period=0.25)
                self.under = Under()
                self.under.level = self.sample.y

        run = simulate(Model(), 1, solver=RK4(max_step=0.1))
        assert times(run) == [0.5]

    def test_what_a_reset_pushes_through_zero_fires_at_once(self) -> None:
        class Chain(Block):
            x, y, order = State(1.0), State(1.0), State(0.0)

            @derivative(x)
            def flow(self, x):  # type: ignore[no-untyped-def]
                return -torch.ones_like(x)

            @crossing
            def zfirst(self, x):  # type: ignore[no-untyped-def]
                return x - 0.5

            @zfirst.reset
            def drop(self, y, order):  # type: ignore[no-untyped-def]
                return dict(y=y - 5, order=10 * order + 1)

            @crossing
            def asecond(self, y):  # type: ignore[no-untyped-def]
                return y

            @asecond.reset
            def catch(self, order):  # type: ignore[no-untyped-def]
                return dict(order=10 * order + 2)

        run = simulate(Chain(), 1, solver=RK4(max_step=0.3))
        assert float(run.final["order"]) == 12 and times(run) == pytest.approx([0.5, 0.5], abs=1e-14)

    def test_ties_fire_in_path_order_each_seeing_the_previous_result(self) -> None:
        class Tie(Block):
            x, word = State(1.0), State(0.0)

            @derivative(x)
            def flow(self, x):  # type: ignore[no-untyped-def]
                return -torch.ones_like(x)

            @crossing
            def b(self, x):  # type: ignore[no-untyped-def]
                return 2 * x - 1

            @b.reset
            def second(self, word):  # type: ignore[no-untyped-def]
                return dict(word=10 * word + 2)

            @crossing
            def a(self, x):  # type: ignore[no-untyped-def]
                return x - 0.5

            @a.reset
            def first(self, word):  # type: ignore[no-untyped-def]
                return dict(word=10 * word + 1)

        run = simulate(Tie(), 1, solver=RK4(max_step=0.3))
        assert float(run.final["word"]) == 12
        assert [path for _, _, path in run.events] == ["a", "b"]

    def test_modes_change_only_by_resets(self) -> None:
        """A thermostat: heating is a mode, its switching times a closed form."""
        run = simulate(Thermostat(), 5, solver=RK4(max_step=0.05), every=0.01)
        on, off, outside, power = 19.0, 21.0, 10.0, 20.0
        heat = math.log((power + outside - on) / (power + outside - off))
        cool = math.log((off - outside) / (on - outside))
        first = math.log((power + outside - 15.0) / (power + outside - off))
        wanted = [first]
        while wanted[-1] < 5:
            wanted.append(wanted[-1] + (cool if len(wanted) % 2 else heat))
        assert times(run) == pytest.approx(wanted[:-1], abs=1e-6)
        assert set(run["heating"].values[0].tolist()) == {0.0, 1.0}

    def test_budget_freezes_a_lane_without_a_rest_mode(self) -> None:
        class Zeno(Block):
            e: Param = Param(0.5)
            h, v = State(1.0), State(0.0)

            @derivative(h, v)
            def fall(self, v):  # type: ignore[no-untyped-def]
                return v, torch.full_like(v, -9.81)

            @crossing
            def floor(self, h):  # type: ignore[no-untyped-def]
                return h

            @floor.reset
            def bounce(self, v, e):  # type: ignore[no-untyped-def]
                return dict(v=-e * v)

        ball = Zeno()
        run = simulate(ball, 3, set={ball.e: torch.tensor([0.5, 1.0], dtype=torch.float64)}, solver=RK4(max_step=0.1))
        assert list(run.status) == [0] and "floor fired more than 64 times" in run.status[0][1]
        assert float(run.final["h"][1]) > 0 and len([1 for lane, _, _ in run.events if lane == 1]) == 3

    def test_rest_mode_can_be_left_again(self) -> None:
        """A ball at rest is kicked by a sampled block: the budget is that of a segment."""

        class Kickable(BouncingBall):
            kick = Input()

            @crossing
            def push(self, kick):  # type: ignore[no-untyped-def]
                return 0.5 - kick

            @push.reset
            def up(self, resting, v):  # type: ignore[no-untyped-def]
                return dict(resting=torch.zeros_like(resting), v=torch.full_like(v, 1.0))

        class Model(Diagram):
            def __init__(self) -> None:
                self.ball, self.kick = Kickable(restitution=0.5), Step(at=2.0)
                self.ball.kick = self.kick.y

        run = simulate(Model(), 2.1, solver=RK4(max_step=0.05), every=0.05, record=["ball.h", "ball.resting"])
        assert float(run["ball.resting"].at(1.95)) == 1.0
        assert float(run["ball.h"].at(2.1)) == pytest.approx(0.1 - 9.81 / 2 * 0.01, abs=1e-9)

    def test_a_crossing_in_a_later_step_of_the_segment_keeps_the_grid(self) -> None:
        """Located crossings split a step; the grid points of the segment stay where they are (Euler shows it)."""

        class Grow(Block):
            x, y = State(1.0), State(1.0)

            @derivative(x, y)
            def flow(self, x, y):  # type: ignore[no-untyped-def]
                return -torch.ones_like(x), y

            @crossing
            def at(self, x):  # type: ignore[no-untyped-def]
                return x - 0.65

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = simulate(Grow(), 1, solver=Euler(max_step=0.25))
        assert float(run.final["y"]) == pytest.approx(1.25 * 1.1 * 1.15 * 1.25**2, abs=1e-13)


class Watch(Block):
    u = Input()

    @crossing
    def falls(self, u):  # type: ignore[no-untyped-def]
        return u


class Ladder(Block):
    y, n = Output(), State(0.0)

    @tick
    def up(self, n):  # type: ignore[no-untyped-def]
        return dict(y=0.5 * n, n=n + 1)


class Under(Block):
    level, x = Input(), State(0.75)

    @derivative(x)
    def stay(self, x):  # type: ignore[no-untyped-def]
        return torch.zeros_like(x)

    @crossing
    def covered(self, x, level):  # type: ignore[no-untyped-def]
        return x - level


class Thermostat(Block):
    """T' = outside + power heating - T, switched at 19 and 21."""

    temperature, heating = State(15.0), State(1.0)

    @derivative(temperature)
    def flow(self, temperature, heating):  # type: ignore[no-untyped-def]
        return 10.0 + 20.0 * heating - temperature

    @crossing
    def cold(self, temperature):  # type: ignore[no-untyped-def]
        return temperature - 19.0

    @cold.reset
    def turn_on(self, heating):  # type: ignore[no-untyped-def]
        return dict(heating=torch.ones_like(heating))

    @crossing
    def warm(self, temperature):  # type: ignore[no-untyped-def]
        return 21.0 - temperature

    @warm.reset
    def turn_off(self, heating):  # type: ignore[no-untyped-def]
        return dict(heating=torch.zeros_like(heating))


class Tooth(Block):
    """A shaft turning at its own speed; a tooth passes when the angle reaches one."""

    speed: Param = Param(1.0)
    angle = State(0.0)

    @derivative(angle)
    def turn(self, speed):  # type: ignore[no-untyped-def]
        return speed

    @crossing
    def passes(self, angle):  # type: ignore[no-untyped-def]
        return 1.0 - angle

    @passes.reset
    def back(self, angle):  # type: ignore[no-untyped-def]
        return dict(angle=angle - 1.0)


class Tacho(Block):
    """Measures speed as one over the time since the last tooth."""

    speed, count = Output(), State(0.0)

    @tick
    def measure(self, dt, count, t):  # type: ignore[no-untyped-def]
        return dict(speed=1.0 / dt, count=count + 1)


class TestTriggeredByCrossing:
    class Engine(Diagram):
        speed = Output()

        def __init__(self) -> None:
            self.shaft = Tooth()
            self.tacho = triggered(Tacho(), when=self.shaft.passes)
            self.speed = self.tacho.speed

    @pytest.mark.parametrize("solver", [RK4(max_step=0.3), ADAPTIVE[0]], ids=named)
    def test_a_triggered_block_ticks_at_the_located_time_of_its_lane(self, solver: Any) -> None:
        engine = self.Engine()
        speed = torch.tensor([0.5, 3.0, 7.3], dtype=torch.float64)
        run = simulate(engine, 1.99, set={engine.shaft.speed: speed}, solver=solver, every=0.01)
        assert run.final["tacho.count"].tolist() == [0, 5, 14]
        seen = run["speed"]
        for lane, value in ((1, 3.0), (2, 7.3)):
            first = seen.t > 1 / value + 1e-9
            assert seen.values[lane, first].tolist() == pytest.approx([value] * int(first.sum()), abs=1e-9)
            assert float(seen.values[lane, ~first].abs().max()) == 0

    def test_nodes_downstream_see_it_at_once(self) -> None:
        class Brake(Diagram):
            """The measured speed slows the shaft down: speed is 2 until the first tooth, then 2 - 0.5 * 2."""

            def __init__(self) -> None:
                self.shaft, self.two = Driven(), Constant(value=2.0)
                self.tacho = triggered(Tacho(), when=self.shaft.passes)
                self.shaft.speed = self.two.y - 0.5 * self.tacho.speed

        run = simulate(Brake(), 1.2, solver=RK4(max_step=0.2))
        assert float(run.final["shaft.angle"]) == pytest.approx((1.2 - 0.5) * 1.0, abs=1e-12)


class Driven(Tooth):
    speed = Input()  # type: ignore[assignment]


class TestGuardsOnInputs:
    def test_output_that_a_guard_reads_is_evaluated_in_the_step(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.ring, self.half, self.watch = Oscillator(), Half(), Watch()
                self.ring.force = 0.0
                self.half.u = self.ring.x
                self.watch.u = self.half.y

        run = simulate(Model(), 3, solver=RK4(max_step=0.01))
        assert times(run) == pytest.approx([math.acos(0.5)], abs=1e-9)


class Half(Block):
    u = Input()

    @output
    def y(self, u: Tensor) -> Tensor:
        return u - 0.5
