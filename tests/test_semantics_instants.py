"""S3 to S9: values, the order of an instant, dependence, loops, rates, delays, start and end."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from simdl import (
    RK4,
    Block,
    Diagram,
    Input,
    LoopError,
    ModelError,
    Output,
    Param,
    Run,
    Simulator,
    State,
    derivative,
    initial,
    output,
    simulate,
    tick,
)
from simdl.blocks import Constant, Gain, Hold, Integrator, Ramp, SampleClock, UnitDelay
from simdl.clock import nanoseconds
from simdl.simulate import finished


class Counter(Block):
    """A state that counts ticks, shown as a port, by its tick, and by an output method."""

    x = State(0.0)
    shown, doubled = Output(initial=-1.0), Output(initial=-2.0)

    @tick
    def count(self, x):  # type: ignore[no-untyped-def]
        return dict(x=x + 1, shown=x + 1)

    @output(doubled)
    def twice(self, x):  # type: ignore[no-untyped-def]
        return 2 * x


class Copy(Block):
    """Shows what it reads, at its ticks."""

    u, y = Input(), Output(initial=-9.0)

    @tick
    def see(self, u):  # type: ignore[no-untyped-def]
        return dict(y=u)


def values(run: Run, name: str) -> list[Any]:
    found: list[Any] = run[name].values[0].tolist()
    return found


class Reader(Diagram):
    """A counter, and a copy of one of its ports at another clock."""

    y = Output()

    def __init__(self, port: str, latency: Any = None, period: Any = 0.1, offset: Any = 0.05, **reader: Any) -> None:
        self.counter = Counter(period=period, offset=offset, latency=latency)
        self.copy = Copy(**(reader or dict(period=0.05)))
        self.copy.u = getattr(self.counter, port)
        self.y = self.copy.y


class TestValues:
    def test_a_discrete_output_is_constant_between_its_ticks_and_initial_before(self) -> None:
        run = simulate(Counter(period=0.2, offset=0.1), 0.6, every=0.1)
        assert values(run, "shown") == [-1, 1, 1, 2, 2, 3, 3]

    def test_a_state_port_shows_the_arrival_value_of_the_last_tick(self) -> None:
        """Ticks at 0.05, 0.15, …: a reader on it sees x-, one between them what was refreshed there."""
        assert values(simulate(Reader("x"), 0.3), "y") == [0, 0, 0, 1, 1, 2, 2]

    def test_an_output_method_of_a_sampled_block_is_evaluated_at_its_ticks_from_the_arrival_state(self) -> None:
        assert values(simulate(Reader("doubled"), 0.3), "y") == [-2, 0, 0, 2, 2, 4, 4]

    def test_a_tick_output_is_seen_at_its_own_instant(self) -> None:
        assert values(simulate(Reader("shown"), 0.3), "y") == [-1, 1, 1, 2, 2, 3, 3]

    def test_a_period_and_a_derivative_are_refused_with_the_class(self) -> None:
        with pytest.raises(ModelError, match="both a period and a @derivative"):

            class Both(Block):
                period = "1 ms"
                x = State(0.0)

                @derivative(x)
                def flow(self, x):  # type: ignore[no-untyped-def]
                    return -x

        with pytest.raises(ModelError, match="split it into a continuous block and a sampled one"):
            Integrator(period="1 ms")

    def test_what_a_tick_leaves_out_is_unchanged(self) -> None:
        class Alternate(Block):
            n, x, a, b = State(0.0), State(5.0), Output(initial=1.0), Output(initial=2.0)

            @tick
            def step(self, n):  # type: ignore[no-untyped-def]
                return dict(n=n + 1, a=n)

        run = simulate(Alternate(period=1), 3, record=["a", "b", "x"])
        assert values(run, "a") == [0, 1, 2, 3] and values(run, "b") == [2] * 4 and values(run, "x") == [5] * 4


class TestOrderOfAnInstant:
    def test_publish_comes_first(self) -> None:
        """A value released at t is what readers at t see."""
        assert values(simulate(Reader("shown", latency=0.05), 0.3), "y") == [-1, -1, 1, 1, 2, 2, 3]

    def test_states_commit_together(self) -> None:
        """Two counters that read each other swap: each sees the other's state before the commit."""

        class Swap(Block):
            other, start = Input(), Param(0.0)
            x = State(0.0)

            @initial
            def begin(self, start):  # type: ignore[no-untyped-def]
                return dict(x=start)

            @tick
            def take(self, other):  # type: ignore[no-untyped-def]
                return dict(x=other)

        class Model(Diagram):
            def __init__(self) -> None:
                self.a, self.b = Swap(start=1.0, period=1), Swap(start=2.0, period=1)
                self.a.other, self.b.other = self.b.x, self.a.x

        run = simulate(Model(), 3, record=["a.x", "b.x"])
        assert values(run, "a.x") == [1, 2, 1, 2] and values(run, "b.x") == [2, 1, 2, 1]

    def test_record_shows_what_readers_saw_not_what_is_committed(self) -> None:
        sim = Simulator(Counter(period=1))
        sim.run_until(2)
        assert float(sim["x"]) == 2 and float(sim["shown"]) == 3 and sim.state.raw["x!"].tolist() == [3]

    def test_until_is_evaluated_recorded_and_committed(self) -> None:
        run = simulate(Counter(period=0.5), 1)
        assert values(run, "shown") == [1, 2, 3] and run.final["x"].tolist() == [3]

    def test_nothing_is_integrated_after_until(self) -> None:
        run = simulate(Integrator(), 1, inputs={"u": 1.0}, solver=RK4(max_step=0.3))
        assert float(run.final["y"]) == pytest.approx(1.0, abs=1e-15)

    def test_until_zero_is_one_instant(self) -> None:
        run = simulate(Counter(period=1), 0)
        assert values(run, "shown") == [1] and run["shown"].t.tolist() == [0]


class TestDependence:
    def test_an_output_that_reads_only_state_closes_a_loop(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.delay, self.gain = UnitDelay(period=1, start=1.0), Gain(k=2.0)
                self.gain.u = self.delay.y
                self.delay.u = self.gain.y

        assert values(simulate(Model(), 4), "gain.y") == [2, 4, 8, 16, 32]

    def test_feedthrough_is_per_output(self) -> None:
        """Of two outputs of one block, only the one that reads u depends on it."""

        class Two(Block):
            u, x, plain, direct = Input(), State(1.0), Output(), Output()

            @output(plain)
            def first(self, x):  # type: ignore[no-untyped-def]
                return 3 * x

            @output(direct)
            def second(self, u, x):  # type: ignore[no-untyped-def]
                return u + x

        class Model(Diagram):
            def __init__(self) -> None:
                self.two, self.gain = Two(), Gain(k=10.0)
                self.gain.u = self.two.plain
                self.two.u = self.gain.y

        assert values(simulate(Model(), 0), "two.direct") == [31]

    def test_latency_makes_a_tick_output_a_source(self) -> None:
        class Model(Diagram):
            def __init__(self, latency: Any = None) -> None:
                self.copy, self.plus = Copy(period=1, latency=latency), PlusOne()
                self.plus.u = self.copy.y
                self.copy.u = self.plus.y

        with pytest.raises(LoopError):
            simulate(Model(), 3)
        assert values(simulate(Model("1 ns"), 3), "plus.y")[0] == -8
        run = simulate(Model("1 ns"), 3, every=0.5)
        assert values(run, "plus.y") == [-8, -7, -7, -6, -6, -5, -5]


class PlusOne(Block):
    u = Input()

    @output
    def y(self, u):  # type: ignore[no-untyped-def]
        return u + 1


class Ring(Diagram):
    """Two sampled copies that read each other."""

    def __init__(self, first: dict[str, Any], second: dict[str, Any]) -> None:
        self.first, self.second = Copy(**first), Copy(**second)
        self.first.u, self.second.u = self.second.y, self.first.y


class TestLoops:
    def test_error_lists_every_hop_and_three_ways_out(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.a, self.b, self.copy = Gain(), PlusOne(), Copy(period=1)
                self.a.u = self.copy.y
                self.b.u = self.a.y * 2.0
                self.copy.u = self.b.y

        with pytest.raises(LoopError) as error:
            simulate(Model(), 1)
        text = str(error.value)
        for hop in ("a.y reads copy.y", "copy.see reads b.y", "b.y reads"):
            assert hop in text
        for way in ("UnitDelay", "latency=", "reads only state"):
            assert way in text

    @pytest.mark.parametrize(("first", "second"), [
        (dict(period="20 ms"), dict(period="30 ms")),
        (dict(period="20 ms", offset="10 ms"), dict(period="30 ms", offset="20 ms")),
        (dict(rate=30), dict(period="7 ms", offset="1 ms")),
        (dict(rate=30), dict(rate=30)),
    ])  # fmt: skip
    def test_clocks_that_coincide_somewhere_close_a_loop(self, first: dict[str, Any], second: dict[str, Any]) -> None:
        with pytest.raises(LoopError):
            simulate(Ring(first, second), 1)

    @pytest.mark.parametrize(("first", "second"), [
        (dict(period="20 ms"), dict(period="20 ms", offset="10 ms")),
        (dict(period="20 ms"), dict(period="30 ms", offset="5 ms")),
        (dict(period="6 ms", offset="1 ms"), dict(period="4 ms")),
    ])  # fmt: skip
    def test_offsets_that_never_coincide_close_none(self, first: dict[str, Any], second: dict[str, Any]) -> None:
        run = simulate(Ring(first, second), 0.1)
        assert values(run, "first.y")[-1] == -9  # each passes on what the other held

    def test_three_clocks_of_which_only_pairs_coincide(self) -> None:
        """Each pair of clocks meets, the loop needs all three: pairwise meeting of congruences is meeting of all."""

        class Model(Diagram):
            def __init__(self) -> None:
                self.a, self.b, self.c = Copy(period="6 ms"), Copy(period="10 ms"), Copy(period="15 ms")
                self.a.u, self.b.u, self.c.u = self.c.y, self.a.y, self.b.y

        with pytest.raises(LoopError):
            simulate(Model(), 1)

    def test_a_continuous_block_in_the_loop(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.gain = Gain(k=0.5)
                self.gain.u = self.gain.y + 1.0

        with pytest.raises(LoopError, match="gain.y"):
            simulate(Model(), 1)

    def test_an_integrator_is_no_loop(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.integrator = Integrator(start=1.0)
                self.integrator.u = -self.integrator.y

        run = simulate(Model(), 1, solver=RK4(max_step=0.01))
        assert float(run.final["integrator.y"]) == pytest.approx(0.36787944117, abs=1e-9)


class TestRates:
    def test_a_slower_source_is_held(self) -> None:
        assert values(simulate(Reader("shown", period=0.1, offset=None), 0.3), "y") == [1, 1, 2, 2, 3, 3, 4]

    def test_a_faster_source_gives_its_newest(self) -> None:
        assert values(simulate(Slow(), 0.6), "y") == [1, 4, 7]

    def test_a_continuous_source_is_sampled_on_arrival(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.ramp, self.integrator, self.hold = Ramp(), Integrator(), Hold(period=0.5)
                self.integrator.u = self.hold.y + 1.0
                self.hold.u = self.integrator.y

        run = simulate(Model(), 1, solver=RK4(max_step=0.5))
        assert values(run, "hold.y") == pytest.approx([0, 0.5, 1.25])

    def test_same_rate_hold_is_the_identity(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.counter, self.hold = Counter(period=0.1), Hold(period=0.1)
                self.hold.u = self.counter.shown

        run = simulate(Model(), 1)
        assert torch.equal(run["hold.y"].values, run["counter.shown"].values)


class Slow(Diagram):
    y = Output()

    def __init__(self) -> None:
        self.counter, self.copy = Counter(period=0.1), Copy(period=0.3)
        self.copy.u = self.counter.shown
        self.y = self.copy.y


class TestDelay:
    @pytest.mark.parametrize("latency", ["30 ms", "100 ms", "250 ms", "1 ns"])
    def test_latency_releases_what_was_computed_even_beyond_the_period(self, latency: str) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.counter = Counter(period="100 ms", latency=latency)
                self.probe = Copy(period="10 ms")
                self.probe.u = self.counter.shown

        tau = nanoseconds(latency)
        seen = simulate(Model(), 0.6)["probe.y"]
        stamps = [nanoseconds(t) for t in seen.t.tolist()]
        assert seen.values[0].tolist() == [-1.0 if t < tau else 1.0 + (t - tau) // 10**8 for t in stamps]

    def test_state_ports_are_not_delayed_by_latency(self) -> None:
        assert values(simulate(Reader("x", latency="500 ms"), 0.3), "y") == [0, 0, 0, 1, 1, 2, 2]

    def test_a_lane_reset_gives_initial_again_and_clears_the_queue(self) -> None:
        sim = Simulator(Counter(period=0.1, latency=0.25), lanes=2, every=0.05)
        sim.run_until(0.4)
        sim.reset([1])
        sim.run_until(0.8)
        shown = finished(sim)["shown"]
        after = shown.values[:, shown.t >= 0.4].tolist()
        assert after[0] == [2, 3, 3, 4, 4, 5, 5, 6, 6]
        assert after[1] == [2, -1, -1, -1, -1, -1, -1, 1, 1]  # reset at 0.45, ticks at 0.5, seen at 0.75

    def test_equal_releases_keep_their_order(self) -> None:
        class Model(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.clock = SampleClock(period="10 ms", latency="30 ms")
                self.copy = Copy(period="10 ms")
                self.copy.u = self.clock.time
                self.y = self.copy.y

        seen = values(simulate(Model(), 0.1), "y")
        assert seen == pytest.approx([0, 0, 0] + [0.01 * k for k in range(8)])


class TestStart:
    def test_initial_runs_in_the_order_of_what_it_reads(self) -> None:
        class Sum(Block):
            u = Input()
            x, more = State(0.0), Param(1.0)

            @initial
            def begin(self, u, more):  # type: ignore[no-untyped-def]
                return dict(x=u + more)

            @output
            def y(self, x):  # type: ignore[no-untyped-def]
                return x

        class Model(Diagram):
            def __init__(self) -> None:
                self.c, self.b, self.a = Sum(more=3.0), Sum(more=2.0), Sum(more=1.0)
                self.c.u, self.b.u, self.a.u = self.b.y, self.a.y, 10.0

        assert values(simulate(Model(), 0), "c.y") == [16]

    def test_initial_values_that_need_each_other_are_an_error(self) -> None:
        class Echo(Block):
            u, x = Input(), State(0.0)

            @initial
            def begin(self, u):  # type: ignore[no-untyped-def]
                return dict(x=u)

        class Model(Diagram):
            def __init__(self) -> None:
                self.a, self.b = Echo(), Echo()
                self.a.u, self.b.u = self.b.x, self.a.x

        with pytest.raises(LoopError, match="initial value that depends on itself"):
            simulate(Model(), 0)

    def test_an_output_method_holds_its_initial_evaluation_before_the_first_tick(self) -> None:
        class Late(Block):
            x = State(7.0)

            @output
            def y(self, x):  # type: ignore[no-untyped-def]
                return x

            @tick
            def step(self, x):  # type: ignore[no-untyped-def]
                return dict(x=x + 1)

        assert values(simulate(Late(period=1, offset=0.5), 2, every=0.5), "y") == [7, 7, 7, 8, 8]

    def test_set_gives_initial_states(self) -> None:
        counter = Counter(period=1)
        run = simulate(counter, 1, set={counter.x: torch.tensor([10.0, 20.0])})
        assert run["shown"].values.tolist() == [[11, 12], [21, 22]]

    def test_a_lane_reset_does_not_reset_time(self) -> None:
        sim = Simulator(SampleClock(period=0.5), lanes=2)
        sim.run_until(1)
        sim.reset([0])
        sim.run_until(1.5)
        assert sim["time"].tolist() == [1.5, 1.5] and sim["k"].tolist() == [0, 3]

    def test_continuing_does_not_repeat_the_instant(self) -> None:
        sim = Simulator(Counter(period=0.5))
        for until in (0.5, 0.5, 1.0):
            sim.run_until(until)
        assert float(sim["shown"]) == 3

    def test_blocks_with_offset_tick_at_their_offset(self) -> None:
        run = simulate(SampleClock(period=0.4, offset=0.1), 1)
        assert values(run, "time") == [0.0, 0.1, 0.5, 0.9]  # 0.0: the initial value, recorded at t = 0


def test_constant_wired_as_a_number_and_as_a_block_are_the_same() -> None:
    class Number(Diagram):
        y = Output()

        def __init__(self) -> None:
            self.gain = Gain(k=2.0)
            self.gain.u = 3.0
            self.y = self.gain.y

    class Wired(Diagram):
        y = Output()

        def __init__(self) -> None:
            self.gain, self.three = Gain(k=2.0), Constant(value=3.0)
            self.gain.u = self.three.y
            self.y = self.gain.y

    assert torch.equal(simulate(Number(), 0)["y"].values, simulate(Wired(), 0)["y"].values)
