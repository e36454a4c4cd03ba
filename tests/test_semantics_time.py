"""S1 and S2: exact time, clocks, instants, and time events of single lanes."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st

from simdl import (
    RK4,
    Block,
    ClockError,
    Diagram,
    Input,
    Output,
    Param,
    RunError,
    SimdlError,
    Simulator,
    State,
    Tsit5,
    crossing,
    derivative,
    hit,
    output,
    simulate,
    tick,
)
from simdl.blocks import Constant, Hold, Integrator, SampleClock, Sine, Step
from simdl.clock import clock, nanoseconds


class TestConversion:
    @pytest.mark.parametrize(("time", "ns"), [
        ("20 ms", 20_000_000), (0.1 + 0.2, 300_000_000), (0.1 * 3, 300_000_000), (Fraction(1, 8), 125_000_000),
        ("0.5 us", 500), (1e9 + 0.125, 10**18 + 125_000_000), (7, 7 * 10**9), ("1.5 h", 5400 * 10**9),
    ])  # fmt: skip
    def test_times_are_whole_nanoseconds(self, time: Any, ns: int) -> None:
        assert nanoseconds(time) == ns

    @given(st.integers(0, 8 * 10**15))  # beyond, floats of seconds are coarser than nanoseconds
    def test_the_float_nearest_to_a_count_is_that_count(self, ns: int) -> None:
        assert nanoseconds(ns / 10**9) == ns

    @pytest.mark.parametrize("period", [1 / 30, 1 / 3, 1e-10, math.pi])
    def test_a_period_that_is_no_whole_nanosecond_suggests_a_rate(self, period: float) -> None:
        with pytest.raises(ClockError) as error:
            simulate(Hold(period=period), 1, inputs={"u": 0.0})
        text = str(error.value)
        assert "Hold: period" in text and "a whole number of nanoseconds" in text and "rate=30" in text

    @pytest.mark.parametrize("until", [9.3e9, "2600000 h", -1.0, math.inf, math.nan, "soon", None])
    def test_until_beyond_the_range_is_refused(self, until: Any) -> None:
        with pytest.raises(SimdlError, match="until"):
            simulate(Constant(), until)

    def test_until_at_the_end_of_the_range(self) -> None:
        assert simulate(SampleClock(period=2e9), 9.2e9)["time"].values.tolist() == [[0.0, 2e9, 4e9, 6e9, 8e9]]

    @pytest.mark.parametrize(("fields", "text"), [
        (dict(period=1, rate=1), "both period"), (dict(offset=0.1), "without a period"),
        (dict(period=0), "at least 1 ns"), (dict(rate=0), "positive"),
        (dict(period=1, offset=1), "below the period"), (dict(period=1, offset=-0.1), "at least 0"),
        (dict(period=True), "not a time"), (dict(period="20"), "a decimal number and a unit"),
        (dict(rate="fast"), "30 Hz"),
    ])  # fmt: skip
    def test_clocks_that_are_none(self, fields: dict[str, Any], text: str) -> None:
        with pytest.raises(ClockError, match=text):
            Hold(**fields)


class TestWhatReadersSee:
    def test_t_is_the_literal_one_writes(self) -> None:
        times = simulate(SampleClock(period=0.1), 100)["time"].values[0].tolist()
        assert times == [round(0.1 * k, 1) for k in range(1001)]

    @pytest.mark.parametrize("rate", [30, 3, 7, Fraction(30000, 1001), "44.1 kHz"])
    def test_ticks_of_a_rational_clock_never_drift(self, rate: Any) -> None:
        c = clock(rate=rate)
        hertz = Fraction(c.denominator * 10**9, c.numerator) if c else Fraction(0)
        assert c is not None and all(
            abs(c.at(k) - k * 10**9 / hertz) <= Fraction(1, 2) for k in (0, 1, 2, 10**6, 10**9 + 7)
        )
        assert c.index(c.at(123457)) == 123457

    def test_nominal_period_of_a_rational_clock(self) -> None:
        class Period(Block):
            y = Output()

            @tick
            def step(self, dt):  # type: ignore[no-untyped-def]
                return dict(y=dt)

        assert set(simulate(Period(rate=30), 1)["y"].values[0].tolist()) == {1 / 30}


class TestInstants:
    def test_an_hour_at_a_kilohertz_is_not_a_list(self) -> None:
        """Instants are produced as they come: setting up costs nothing."""
        sim = Simulator(Hold(period="1 ms"), inputs={"u": 0.0})
        sim.run_until(0.003)
        assert sim.next_instant() == 4_000_000

    def test_union_of_ticks_releases_edges_zero_and_until(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.fast = SampleClock(period="30 ms", offset="10 ms")
                self.late = SampleClock(period="50 ms", latency="5 ms")
                self.step = Step(at=0.042)
                self.plant = Integrator()
                self.plant.u = self.step.y

        sim = Simulator(Model())
        times = []
        while sim.t < 0.1:
            sim.run_until(min(0.1, sim.next_instant() / 1e9))
            times.append(round(sim.t * 1e9))
        assert times == [
            0,
            5_000_000,
            10_000_000,
            40_000_000,
            42_000_000,
            50_000_000,
            55_000_000,
            70_000_000,
            100_000_000,
        ]

    def test_recording_is_not_an_instant(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.source, self.hold = Sine(), Hold(period=0.5)
                self.hold.u = self.source.y

        sim = Simulator(Model(), every=0.01)
        assert sim.next_instant() == 0
        sim.step()
        assert sim.next_instant() == 500_000_000


class Hits(Block):
    """Counts its hits, each `wait` seconds after the one before."""

    wait: Param = Param(0.1)
    count, times, total = State(0.0), Output(), Output()

    @hit(first=0.05)
    def fire(self, count, wait, t):  # type: ignore[no-untyped-def]
        return dict(count=count + 1, times=t, total=count + 1, next=wait)


class Kicked(Diagram):
    """An oscillator that a hit kicks."""

    x = Output()

    def __init__(self) -> None:
        self.hits, self.ring = Hits(), Ring()
        self.ring.force = self.hits.total
        self.x = self.ring.x


class Ring(Block):
    force = Input()
    x, v = State(1.0), State(0.0)

    @derivative(x, v)
    def flow(self, x, v, force):  # type: ignore[no-untyped-def]
        return v, force - x


class TestHits:
    def test_each_lane_has_its_own_times(self) -> None:
        hits = Hits()
        wait = torch.tensor([0.1, 0.25, math.inf], dtype=torch.float64)
        run = simulate(hits, 1, set={hits.wait: wait}, solver=RK4(max_step=1.0), every=0.5)
        assert run.final["count"].tolist() == [10.0, 4.0, 1.0]  # 0.05 + k wait < 1

    def test_time_at_a_hit_is_exact(self) -> None:
        hits = Hits()
        run = simulate(hits, 1, set={hits.wait: torch.tensor([0.1, 1 / 3], dtype=torch.float64)}, every=0.5)
        assert run["times"].at(1).tolist() == pytest.approx([0.95, 0.05 + 2 * 0.333333333], abs=1e-15)

    @pytest.mark.parametrize("solver", [RK4(max_step=0.4), Tsit5(rtol=1e-11, atol=1e-13)])
    def test_a_hit_splits_its_lane_exactly_and_the_others_go_through(self, solver: Any) -> None:
        model = Kicked()
        waits = torch.tensor([0.3, math.inf], dtype=torch.float64)
        run = simulate(model, 1, set={model.hits.wait: waits}, solver=solver, every=0.25)
        alone = simulate(model, 1, set={model.hits.wait: waits[1:]}, solver=solver, every=0.25, ids=[1])
        assert torch.equal(run["x"].values[1], alone["x"].values[0])
        kicks = [0.05, 0.35, 0.65, 0.95]
        wanted = math.cos(1.0) + sum(1 - math.cos(1 - kick) for kick in kicks)
        assert float(run["x"].at(1)[0]) == pytest.approx(wanted, abs=1e-4 if isinstance(solver, RK4) else 1e-10)

    def test_a_hit_on_an_instant_is_part_of_it(self) -> None:
        class Model(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.hits, self.hold = Hits(wait=0.1), Hold(period=0.05)
                self.hold.u = self.hits.times
                self.y = self.hold.y

        y = simulate(Model(), 0.3)["y"]
        assert y.values[0].tolist() == pytest.approx([0, 0.05, 0.05, 0.15, 0.15, 0.25, 0.25])

    def test_a_wait_below_a_nanosecond_is_one(self) -> None:
        hits = Hits(wait=0.0)
        sim = Simulator(hits)
        sim.run_until("0.05 s")
        sim.run_until(0.05 + 5e-9)
        assert sim.state.raw["count!"].tolist() == [6.0]


class Guarded(Block):
    """A crossing at x = 0.5 on the way down, and one due exactly at an instant."""

    x = State(1.0)
    seen = State(0.0)

    @derivative(x)
    def fall(self, x):  # type: ignore[no-untyped-def]
        return -torch.ones_like(x)

    @crossing
    def half(self, x):  # type: ignore[no-untyped-def]
        return x - 0.5

    @half.reset
    def mark(self, seen):  # type: ignore[no-untyped-def]
        return dict(seen=seen + 1)


@given(st.lists(st.integers(1, 999), max_size=4, unique=True))
@settings(max_examples=25)
def test_any_partition_of_until_ticks_as_often(stops: list[int]) -> None:
    class Model(Diagram):
        def __init__(self) -> None:
            self.plant, self.clock, self.hits = Guarded(), SampleClock(period="130 ms", offset="20 ms"), Hits(wait=0.1)

    sim = Simulator(Model(), solver=RK4(max_step=0.05))
    for stop in sorted(stops):
        sim.run_until(Fraction(stop, 1000))
    sim.run_until(1)
    assert sim.state.raw["clock.following!"].tolist() == [8]
    assert sim.state.raw["hits.count!"].tolist() == [10.0]
    assert sim.state.raw["plant.seen"].tolist() == [1.0]
    assert float(sim["plant.x"]) == pytest.approx(0.0, abs=1e-12)


def test_a_step_size_is_needed_without_a_clock() -> None:
    with pytest.raises(RunError, match=r"solver=RK4\(max_step=0.01\), or solver=Tsit5"):
        simulate(Guarded(), 1)


def test_output_that_reads_time_is_smooth() -> None:
    class Clock(Block):
        @output
        def y(self, t):  # type: ignore[no-untyped-def]
            return t

    y = simulate(Clock(), 1, every=0.125)["y"]
    assert y.kind == "smooth" and torch.equal(y.values[0], y.t)
