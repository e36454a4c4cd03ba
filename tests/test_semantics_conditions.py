"""S17: enabled, resettable and triggered subsystems."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from simdl import (
    RK4,
    Block,
    Diagram,
    Input,
    ModelError,
    Output,
    Param,
    Run,
    State,
    Tsit5,
    crossing,
    derivative,
    enabled,
    output,
    resettable,
    simulate,
    tick,
    triggered,
)
from simdl.blocks import Gain, Hold, Integrator, Pulse, SampleClock, Sine, Step

F64 = torch.float64


class Counter(Block):
    """Counts its ticks; `n` is what it holds, `was` what it had."""

    x, n, was = State(0.0), Output(initial=-1.0), Output(initial=-2.0)

    @tick
    def count(self, x):  # type: ignore[no-untyped-def]
        return dict(x=x + 1, n=x + 1)

    @output(was)
    def before(self, x):  # type: ignore[no-untyped-def]
        return x


class Gate(Diagram):
    """A signal that is true in [at, until), sampled every 0.1 s."""

    on = Output()

    def __init__(self, at: float, until: float) -> None:
        self.rise, self.fall = Step(at=at), Step(at=until)
        self.hold = Hold(period=0.1)
        self.hold.u = self.rise.y - self.fall.y
        self.on = self.hold.y


def listed(run: Run, name: str) -> list[float]:
    values: list[float] = run[name].values[0].tolist()
    return values


class Counting(Diagram):
    """A counter every 0.1 s, enabled in [0.3, 0.6)."""

    n, was = Output(), Output()

    def __init__(self, outputs: Any = "hold", at: float = 0.3, until: float = 0.6) -> None:
        self.gate = Gate(at, until)
        self.counter = enabled(Counter(period=0.1), when=self.gate.on > 0.5, outputs=outputs)
        self.n, self.was = self.counter.n, self.counter.was


class TestEnabled:
    def test_ticks_of_disabled_lanes_are_not_committed_and_outputs_hold(self) -> None:
        run = simulate(Counting(), 1)
        assert listed(run, "n") == [-1, -1, -1, 1, 2, 3, 3, 3, 3, 3, 3]
        assert listed(run, "was") == [-2, -2, -2, 0, 1, 2, 2, 2, 2, 2, 2]
        assert run.final["counter.x"].tolist() == [3]

    def test_outputs_initial_show_initial_while_disabled(self) -> None:
        run = simulate(Counting("initial"), 1)
        assert listed(run, "n") == [-1, -1, -1, 1, 2, 3, -1, -1, -1, -1, -1]
        assert listed(run, "was") == [-2, -2, -2, 0, 1, 2, -2, -2, -2, -2, -2]
        assert run.final["counter.x"].tolist() == [3]

    def test_each_lane_has_its_own_condition(self) -> None:
        model = Counting()
        run = simulate(model, 1, set={model.gate.rise.at: torch.tensor([0.3, 0.0, 2.0], dtype=F64),
                                      model.gate.fall.at: torch.tensor([0.6, 9.0, 9.0], dtype=F64)})  # fmt: skip
        assert run.final["counter.x"].tolist() == [3, 11, 0]

    def test_derivatives_are_zero_and_guards_silent_while_disabled(self) -> None:
        class Falling(Block):
            x = State(1.0)

            @derivative(x)
            def flow(self, x):  # type: ignore[no-untyped-def]
                return -torch.ones_like(x)

            @crossing
            def low(self, x):  # type: ignore[no-untyped-def]
                return x - 0.75

        class Model(Diagram):
            def __init__(self) -> None:
                self.gate = Gate(0.3, 0.6)
                self.falling = enabled(Falling(), when=self.gate.on > 0.5)

        run = simulate(Model(), 1, solver=RK4(max_step=0.1))
        assert run.final["falling.x"].tolist() == pytest.approx([0.7])
        assert [t for _, t, _ in run.events] == pytest.approx([0.55])

    @pytest.mark.parametrize(("outputs", "shown"), [("hold", [0, 0, 0, 0.3, 0.4, 0.5, 0.6, 0.6, 0.6]),
                                                    ("initial", [0, 0, 0, 0.3, 0.4, 0.5, 0, 0, 0])])  # fmt: skip
    def test_a_continuous_output_freezes_at_the_instant_of_disabling(self, outputs: Any, shown: list[float]) -> None:
        class Time(Block):
            @output
            def y(self, t):  # type: ignore[no-untyped-def]
                return t

        class Model(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.gate = Gate(0.3, 0.6)
                self.time = enabled(Time(), when=self.gate.on > 0.5, outputs=outputs)
                self.y = self.time.y

        assert listed(simulate(Model(), 0.8, every=0.1), "y") == pytest.approx(shown)

    def test_a_continuous_condition_must_name_a_clock_or_a_crossing(self) -> None:
        class Model(Diagram):
            def __init__(self, **more: Any) -> None:
                self.sine = Sine(frequency=1.0)
                self.counter = enabled(Counter(period=0.1), when=self.sine.y > 0, **more)

        with pytest.raises(ModelError) as error:
            simulate(Model(), 1)
        assert "sine.y" in str(error.value) and 'period="10 ms"' in str(error.value) and "crossing" in str(error.value)
        run = simulate(Model(period=0.05), 1)
        assert run.final["counter.x"].tolist() == [4 + 1]  # 0.1 ... 0.4, and 1.0 or 0.0 by rounding of sin(2 pi)

    def test_nested_conditions_are_joined(self) -> None:
        class Inner(Diagram):
            n = Output()

            def __init__(self) -> None:
                self.gate = Gate(0.5, 0.9)
                self.counter = enabled(Counter(period=0.1), when=self.gate.on > 0.5)
                self.n = self.counter.n

        class Outer(Diagram):
            n = Output()

            def __init__(self) -> None:
                self.gate = Gate(0.2, 0.7)
                self.inner = enabled(Inner(), when=self.gate.on > 0.5)
                self.n = self.inner.n

        assert listed(simulate(Outer(), 1), "n") == [-1, -1, -1, -1, -1, 1, 2, 2, 2, 2, 2]

    def test_a_condition_inside_a_loop_is_found(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.counter = Counter(period=0.1)
                enabled(self.counter, when=self.counter.n < 5)

        from simdl import LoopError

        with pytest.raises(LoopError):
            simulate(Model(), 1)

    def test_latency_queues_of_what_was_computed_run_on(self) -> None:
        class Model(Diagram):
            n = Output()

            def __init__(self) -> None:
                self.gate = Gate(0.3, 0.6)
                self.counter = enabled(Counter(period=0.1, latency=0.25), when=self.gate.on > 0.5)
                self.n = self.counter.n

        run = simulate(Model(), 1, every=0.05)
        n = [-1, *listed(run, "n")]
        times = run["n"].t.tolist()
        changes = [(round(t, 2), now) for t, now, before in zip(times, n[1:], n, strict=False) if now != before]
        assert changes == [(0.55, 1), (0.65, 2), (0.75, 3)]


class Reset(Diagram):
    """An integrator and a counter, reset by a pulse of 0.4 s, high for 0.2 s, read every 0.1 s."""

    def __init__(self, edge: Any = "rising") -> None:
        self.pulse, self.hold = Pulse(cycle=0.4, duty=0.5, at=0.2), Hold(period=0.1)
        self.hold.u = self.pulse.y
        self.integrator = resettable(Integrator(start=5.0), when=self.hold.y > 0.5, edge=edge)
        self.integrator.u = 1.0
        self.counter = resettable(Counter(period=0.1), when=self.hold.y > 0.5, edge=edge)
        self.seen = Hold(period=0.1)
        self.seen.u = self.integrator.y


class TestResettable:
    @pytest.mark.parametrize(
        ("edge", "instants"), [("rising", (2, 6, 10)), ("falling", (4, 8)), ("either", (2, 4, 6, 8, 10))]
    )
    def test_states_inside_start_again_on_the_edge(self, edge: Any, instants: tuple[int, ...]) -> None:
        run = simulate(Reset(edge), 1)
        n, y, wanted_n, wanted_y = 0.0, 5.0, [], []
        for k in range(11):
            if k in instants:
                n, y = 0.0, 5.0
            n += 1
            wanted_n.append(n)
            wanted_y.append(y)
            y += 0.1
        assert listed(run, "counter.n") == wanted_n
        assert listed(run, "seen.y") == pytest.approx(wanted_y)  # a reader outside sees x- already substituted

    def test_held_outputs_are_not_touched(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.pulse = Pulse(cycle=0.4, duty=0.5, at=0.2)
                self.hold = Hold(period=0.1)
                self.hold.u = self.pulse.y
                self.counter = resettable(Counter(period=0.3), when=self.hold.y > 0.5)

        run = simulate(Model(), 0.8, every=0.1)
        assert listed(run, "counter.n") == [1, 1, 1, 1, 1, 1, 1, 1, 1]  # ticks at 0.3 and 0.6 start from 0 again

    def test_each_lane_is_reset_alone(self) -> None:
        model = Reset()
        run = simulate(model, 1, set={model.pulse.at: torch.tensor([0.2, 0.5, 7.0], dtype=F64)})
        assert run.final["integrator.y"].tolist() == pytest.approx([5.0, 5.1, 6.0])


class Strobe(Block):
    """Ticks when told; counts, and shows the time and the time since the last."""

    u, n, at, since, seen = Input(default=0.0), State(0.0), Output(), Output(), Output()

    @tick
    def flash(self, n, t, dt, u):  # type: ignore[no-untyped-def]
        return dict(n=n + 1, at=t, since=dt, seen=u)


class TestTriggered:
    @pytest.mark.parametrize(("edge", "times"), [("rising", (0.2, 0.6, 1.0)), ("falling", (0.4, 0.8)),
                                                 ("either", (0.2, 0.4, 0.6, 0.8, 1.0))])  # fmt: skip
    def test_by_a_held_signal(self, edge: Any, times: tuple[float, ...]) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.pulse, self.hold, self.clock = (
                    Pulse(cycle=0.4, duty=0.5, at=0.2),
                    Hold(period=0.1),
                    SampleClock(period=0.1),
                )
                self.hold.u = self.pulse.y
                self.strobe = triggered(Strobe(), when=self.hold.y > 0.5, edge=edge)
                self.strobe.u = self.clock.time

        run = simulate(Model(), 1, every=0.1)
        assert run.final["strobe.n"].tolist() == [len(times)]
        at, seen = listed(run, "strobe.at"), listed(run, "strobe.seen")
        for k in range(11):
            done = [time for time in times if time <= k / 10 + 1e-9]
            assert at[k] == pytest.approx(done[-1] if done else 0.0) and seen[k] == at[k]
        assert float(run["strobe.since"].at(1)) == pytest.approx(times[-1] - times[-2])

    def test_a_signal_true_from_the_start_rises_there(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.gate = Gate(0.0, 9.0)
                self.strobe = triggered(Strobe(), when=self.gate.on > 0.5)

        assert simulate(Model(), 0.5).final["strobe.n"].tolist() == [1]

    def test_a_diagram_on_a_trigger_runs_in_order_of_dependence(self) -> None:
        class Inner(Diagram):
            total = Output()

            def __init__(self) -> None:
                self.add, self.strobe = Accumulate(), Strobe()
                self.add.u = self.strobe.at * 10.0
                self.total = self.add.total

        class Model(Diagram):
            total = Output()

            def __init__(self) -> None:
                self.pulse, self.hold = Pulse(cycle=0.4, duty=0.5, at=0.2), Hold(period=0.1)
                self.hold.u = self.pulse.y
                self.inner = triggered(Inner(), when=self.hold.y > 0.5)
                self.total = self.inner.total

        assert float(simulate(Model(), 1)["total"].at(1)) == pytest.approx(2 + 6 + 10)

    def test_by_a_crossing_at_its_located_time(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.wave, self.clock = Wave(), SampleClock(period=0.1)
                self.strobe = triggered(Strobe(), when=self.wave.zero)
                self.strobe.u = self.wave.x

        model = Model()
        hertz = torch.tensor([1.0, 2.0, 0.1], dtype=F64)
        run = simulate(model, 2, set={model.wave.hertz: hertz}, solver=Tsit5(rtol=1e-11, atol=1e-13), every=0.1)
        assert run.final["strobe.n"].tolist() == [2, 4, 0]
        at = run["strobe.at"].at(2)
        assert at.tolist() == pytest.approx([1.25, 1.625, 0.0], abs=1e-8)
        assert run["strobe.since"].at(2).tolist() == pytest.approx([1.0, 0.5, 0.0], abs=1e-8)
        assert float(run["strobe.seen"].at(2).abs().max()) < 1e-12

    def test_periods_and_derivatives_inside_are_refused(self) -> None:
        class Model(Diagram):
            def __init__(self, block: Any) -> None:
                self.wave = Wave()
                self.inside = triggered(block, when=self.wave.zero)

        with pytest.raises(ModelError, match="a period in a block that runs on a trigger"):
            simulate(Model(Strobe(period=0.1)), 1)
        with pytest.raises(ModelError, match="a @derivative in a block that runs on a trigger"):
            simulate(Model(Wave()), 1)

    def test_a_wrong_kind_of_condition_is_refused(self) -> None:
        with pytest.raises(ModelError, match="the condition True"):
            enabled(Counter(period=1), when=True)  # type: ignore[arg-type]
        with pytest.raises(ModelError, match="edge='up'"):
            triggered(Strobe(), when=Wave().zero, edge="up")  # type: ignore[arg-type]

        class Model(Diagram):
            def __init__(self) -> None:
                self.wave = Wave()
                self.counter = enabled(Counter(period=1), when=self.wave.zero)

        with pytest.raises(ModelError, match="enabled by a crossing"):
            simulate(Model(), 1)


class Accumulate(Block):
    u, total, x = Input(), Output(), State(0.0)

    @tick
    def add(self, u, x):  # type: ignore[no-untyped-def]
        return dict(x=x + u, total=x + u)


class Wave(Block):
    """x = cos(2 pi hertz t), with a crossing where it falls through zero or rises through it, by turns."""

    hertz: Param = Param(1.0)
    x, v = State(1.0), State(0.0)

    @derivative(x, v)
    def flow(self, x, v, hertz):  # type: ignore[no-untyped-def]
        return 2 * math.pi * hertz * v, -2 * math.pi * hertz * x

    @crossing
    def zero(self, x):  # type: ignore[no-untyped-def]
        return x


def test_gain_inside_an_enabled_diagram_holds_its_output() -> None:
    class Inner(Diagram):
        u, y = Input(), Output()

        def __init__(self) -> None:
            self.gain = Gain(k=2.0)
            self.gain.u = self.u
            self.y = self.gain.y

    class Model(Diagram):
        y = Output()

        def __init__(self) -> None:
            self.clock, self.gate = SampleClock(period=0.1), Gate(0.2, 0.5)
            self.inner = enabled(Inner(), when=self.gate.on > 0.5)
            self.inner.u = self.clock.time
            self.y = self.inner.y

    assert listed(simulate(Model(), 0.8, every=0.1), "y") == pytest.approx([0, 0, 0.4, 0.6, 0.8, 1, 1, 1, 1])
