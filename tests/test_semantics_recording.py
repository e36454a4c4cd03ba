"""S15 and what goes in from outside: recorded times and values, external inputs, results."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from simdl import (
    RK4,
    Block,
    Diagram,
    DormandPrince,
    Input,
    ModelError,
    Output,
    Rosenbrock,
    RunError,
    Simulator,
    State,
    Trace,
    Tsit5,
    crossing,
    derivative,
    simulate,
)
from simdl.blocks import BouncingBall, Gain, Hold, Integrator, SampleClock, Sine, Step

F64 = torch.float64


class Ring(Block):
    """x = cos t."""

    x, v = State(1.0), State(0.0)

    @derivative(x, v)
    def flow(self, x, v):  # type: ignore[no-untyped-def]
        return v, -x


class Loop(Diagram):
    """A ring, its samples every 0.25 s, late by 0.1 s, and twice the samples."""

    r = Input(default=0.0)
    x, late, twice = Output(), Output(), Output()

    def __init__(self) -> None:
        self.ring, self.hold, self.gain = Ring(), Hold(period=0.25, latency=0.1), Gain(k=2.0)
        self.hold.u = self.ring.x + self.r
        self.gain.u = self.hold.y
        self.x, self.late, self.twice = self.ring.x, self.hold.y, self.gain.y


class TestTimes:
    def test_without_a_grid_held_signals_have_their_own_times_and_smooth_ones_the_instants(self) -> None:
        run = simulate(Loop(), 0.7)
        releases = [0.0, 0.1, 0.35, 0.6]
        ticks = [0.0, 0.25, 0.5]
        assert set(run["late"].t.tolist()) >= set(releases)
        assert run["x"].t.tolist() == sorted({*releases, *ticks, 0.7})
        assert run["late"].kind == "held" and run["twice"].kind == "held" and run["x"].kind == "smooth"

    def test_a_model_without_a_clock_is_recorded_a_thousand_times(self) -> None:
        t = simulate(Ring(), 2, solver=RK4(max_step=0.1))["x"].t
        assert t.tolist() == [round(0.002 * k, 3) for k in range(1001)]

    def test_a_grid_is_whole_multiples(self) -> None:
        run = simulate(Loop(), 0.7, every=0.1)
        assert all(trace.t.tolist() == [round(0.1 * k, 1) for k in range(8)] for trace in run.traces.values())

    def test_until_off_the_grid_is_not_on_it(self) -> None:
        assert simulate(Loop(), 0.75, every=0.1)["x"].t.tolist()[-1] == 0.7

    @pytest.mark.parametrize("every", [0.0, -0.1, 1 / 3, "often"])
    def test_a_grid_that_is_none(self, every: Any) -> None:
        with pytest.raises((RunError, ModelError), match="every|time"):
            simulate(Loop(), 1, every=every)


class TestValues:
    @pytest.mark.parametrize(("solver", "error"), [
        (RK4(max_step=0.05), 2e-7), (Tsit5(rtol=1e-8, atol=1e-10), 2e-7), (DormandPrince(rtol=1e-8, atol=1e-10), 2e-7),
        (Rosenbrock(rtol=1e-8, atol=1e-10), 1e-6),
    ], ids=lambda v: type(v).__name__)  # fmt: skip
    def test_dense_output_between_instants(self, solver: Any, error: float) -> None:
        x = simulate(Loop(), 3, every=0.0137, solver=solver)["x"]
        assert float((x.values[0] - torch.cos(x.t)).abs().max()) < error

    def test_held_signals_give_their_held_value(self) -> None:
        run = simulate(Loop(), 1, every=0.05)
        for t, value in zip(run["late"].t.tolist(), run["late"].values[0].tolist(), strict=True):
            k = math.floor((t - 0.1) / 0.25 + 1e-9)
            assert value == pytest.approx(math.cos(0.25 * k) if k >= 0 else 1.0, abs=1e-5)
        assert torch.equal(run["twice"].values, 2 * run["late"].values)

    def test_before_a_latency_release_the_output_method_shows_its_start(self) -> None:
        assert (
            float(simulate(Loop(), 0.05, every=0.05)["late"].at(0)) == 1.0
        )  # Hold has no `initial`: evaluated at start

    def test_recording_between_the_bounces_of_a_ball(self) -> None:
        h = simulate(BouncingBall(), 1, every=0.001, solver=RK4(max_step=0.3))["h"]
        fall = math.sqrt(2 / 9.81)
        speed = 9.81 * fall * 0.7
        wanted = torch.where(h.t < fall, 1 - 4.905 * h.t**2, speed * (h.t - fall) - 4.905 * (h.t - fall) ** 2)
        assert float((h.values[0] - wanted).abs().max()) < 1e-12

    def test_formulas_over_recorded_signals(self) -> None:
        loop = Loop()
        run = simulate(loop, 1, every=0.1)
        both = run[loop.x - loop.late]
        assert torch.equal(both.values, run["x"].values - run["late"].values) and both.kind == "smooth"

    def test_what_was_not_recorded_is_named(self) -> None:
        loop = Loop()
        run = simulate(loop, 1, record=[loop.x])
        with pytest.raises(RunError) as error:
            run[loop.late]
        assert "'late' was not recorded" in str(error.value) and "names: x" in str(error.value)

    def test_ports_of_diagrams_and_their_sources_are_one_signal(self) -> None:
        loop = Loop()
        run = simulate(loop, 1, record=["x", "ring.x"], every=0.5)
        assert torch.equal(run["x"].values, run["ring.x"].values)
        assert torch.equal(run[loop.x].values, run[loop.ring.x].values)

    def test_inputs_and_states_can_be_recorded(self) -> None:
        loop = Loop()
        run = simulate(loop, 1, inputs={"r": 2.0}, record=[loop.r, loop.hold.u, "ring.v"], every=0.5)
        assert run["r"].values.tolist() == [[2, 2, 2]] and len(run["hold.u"].t) == 3 and len(run["ring.v"].t) == 3

    def test_a_misspelt_path_is_told(self) -> None:
        with pytest.raises(ModelError, match="did you mean: ring.x"):
            simulate(Loop(), 1, record=["rign.x"])

    def test_at_holds_or_interpolates_and_refuses_what_is_outside(self) -> None:
        run = simulate(Loop(), 1, every=0.5)
        assert float(run["x"].at(0.25)) == pytest.approx((1 + math.cos(0.5)) / 2, abs=1e-6)
        assert float(run["late"].at(0.49)) == float(run["late"].at(0))
        with pytest.raises(RunError, match="outside the recorded time"):
            run["x"].at(1.5)


class Follow(Diagram):
    """The integral and the samples of an external input."""

    r = Input(unit="V")
    y, held = Output(), Output()

    def __init__(self) -> None:
        self.integrator, self.hold = Integrator(), Hold(period=0.5)
        self.integrator.u = self.r
        self.hold.u = self.r
        self.y, self.held = self.integrator.y, self.hold.y


class TestInputs:
    def test_a_number(self) -> None:
        assert float(simulate(Follow(), 1, inputs={"r": 2.0})["y"].at(1)) == pytest.approx(2.0)

    def test_one_number_for_each_lane(self) -> None:
        run = simulate(Follow(), 1, inputs={"r": torch.tensor([1.0, 2.0], dtype=F64)})
        assert run.lanes == 2 and run["y"].at(1).tolist() == pytest.approx([1.0, 2.0])

    def test_times_and_values_are_held_with_edges(self) -> None:
        """Edges off the grid of steps: the integral is that of the steps, exactly."""
        model = Follow()
        run = simulate(model, 1, inputs={model.r: ([0.0, 0.2371, 0.7], [1.0, -2.0, 5.0])}, solver=RK4(max_step=0.4))
        assert float(run["y"].at(1)) == pytest.approx(0.2371 - 2 * (0.7 - 0.2371) + 5 * 0.3, abs=1e-14)
        assert run["held"].values.tolist() == [[1, -2, 5]]

    def test_times_and_values_of_each_lane(self) -> None:
        values = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=F64)
        run = simulate(Follow(), 1, inputs={"r": ([0.0, 0.5], values)})
        assert run["y"].at(1).tolist() == pytest.approx([1.5, 3.5, 5.5])

    def test_a_smooth_trace_is_interpolated(self) -> None:
        t = torch.linspace(0, 1, 11, dtype=F64)
        trace = Trace("r", t, (t**2).unsqueeze(0), "smooth")
        run = simulate(Follow(), 1, inputs={"r": trace}, solver=RK4(max_step=0.5))
        wanted = sum((a * a + b * b) / 2 * 0.1 for a, b in zip(t[:-1].tolist(), t[1:].tolist(), strict=True))
        assert float(run["y"].at(1)) == pytest.approx(wanted, abs=1e-12)
        assert run["held"].values[0].tolist() == pytest.approx([0, 0.25, 1])

    def test_a_held_trace_of_one_run_drives_the_next(self) -> None:
        first = simulate(SampleClock(period=0.25), 1)["time"]
        run = simulate(Follow(), 1, inputs={"r": first})
        assert float(run["y"].at(1)) == pytest.approx(0.25 * (0 + 0.25 + 0.5 + 0.75))

    def test_a_block(self) -> None:
        model = Follow()
        run = simulate(model, 1, inputs={model.r: Step(at=0.3, after=2.0)})
        assert float(run["y"].at(1)) == pytest.approx(1.4, abs=1e-12)
        again = simulate(model, 1, inputs={"r": Sine(frequency=0.5)}, solver=RK4(max_step=0.01))
        assert float(again["y"].at(1)) == pytest.approx(2 / math.pi, abs=1e-8)
        assert float(simulate(model, 1, inputs={"r": 1.0})["y"].at(1)) == pytest.approx(1.0)  # the diagram is as it was

    def test_inputs_of_a_simulator_hold_from_the_next_instant(self) -> None:
        sim = Simulator(Follow(), inputs={"r": 1.0})
        sim.run_until(0.5)
        sim.inputs["r"] = 3.0
        sim.run_until(1.0)
        assert float(sim["y"]) == pytest.approx(0.5 + 1.5)
        assert float(sim["held"]) == 3.0

    @pytest.mark.parametrize(("given", "text"), [
        (([0.0, 0.5], [1.0]), "2 times and values of shape"), (([0.5, 0.5], [1.0, 2.0]), "times that do not increase"),
        (([0.0, 1.0], [1.0, math.nan]), "not finite"), (([0.0, 1 / 3], [1.0, 2.0]), "rate="), ("fast", "'fast'"),
        (math.nan, "NaN"), (None, "None"), (torch.zeros(2, 3), "shape"),
    ])  # fmt: skip
    def test_values_that_do_not_fit(self, given: Any, text: str) -> None:
        with pytest.raises((RunError, ModelError), match=text):
            simulate(Follow(), 1, inputs={"r": given})

    def test_a_missing_and_a_misspelt_input(self) -> None:
        with pytest.raises(RunError, match=r"r: an input of the model without a value"):
            simulate(Follow(), 1)
        with pytest.raises((RunError, ModelError), match="names: .*r"):
            simulate(Follow(), 1, inputs={"s": 1.0})


class TestSettings:
    def test_parameters_by_port_by_path_and_by_lane(self) -> None:
        loop = Loop()
        for key in (loop.gain.k, "gain.k"):
            run = simulate(loop, 0, set={key: torch.tensor([1.0, 3.0])})
            assert run["twice"].at(0).tolist() == [1, 3]

    def test_states_by_port(self) -> None:
        loop = Loop()
        assert float(simulate(loop, 0, set={loop.ring.x: 0.25})["x"].at(0)) == 0.25

    @pytest.mark.parametrize(("settings", "text"), [
        ({"gain.kk": 1.0}, "did you mean: gain.k"), ({"gain.k": math.nan}, "NaN"), ({"gain.k": "x"}, "'x'"),
        ({"late": 1.0}, "not a parameter or a state"),
        ({"gain.k": torch.zeros(2), "ring.x": torch.zeros(3)}, "different numbers"),
        ({"gain.k": torch.zeros(2, 2)}, "shape"), ({3: 1.0}, "not a port"),
    ])  # fmt: skip
    def test_settings_that_do_not_fit(self, settings: dict[Any, Any], text: str) -> None:
        with pytest.raises((RunError, ModelError), match=text):
            simulate(Loop(), 1, set=settings)

    @pytest.mark.parametrize("lanes", [0, -1, 2.0, True, "many"])
    def test_lanes_that_are_no_number(self, lanes: Any) -> None:
        with pytest.raises(RunError, match="lanes"):
            simulate(Loop(), 1, lanes=lanes)

    def test_lanes_and_sizes_must_agree(self) -> None:
        with pytest.raises(RunError, match="2 values.*\n.*lanes=3"):
            simulate(Loop(), 1, lanes=3, set={"gain.k": torch.zeros(2)})

    def test_limits_of_a_parameter(self) -> None:
        with pytest.raises(ModelError, match="restitution.*\n.*at most 1"):
            simulate(BouncingBall(), 1, set={"restitution": 1.5}, solver=RK4(max_step=0.1))


class TestResults:
    def test_events_have_lane_time_and_path(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.left = Ball()

        model = Model()
        run = simulate(model, 1, set={"left.x": torch.tensor([0.5, 0.25])}, solver=RK4(max_step=0.1))
        assert sorted(run.events) == [(0, pytest.approx(0.5), "left.floor"), (1, pytest.approx(0.25), "left.floor")]

    def test_a_run_says_what_it_is(self) -> None:
        run = simulate(Loop(), 1, lanes=2, seed=9, engine="torch")
        text = repr(run)
        assert "Loop" in text and "2 lanes" in text and run.engine == "torch" and run.seed == 9
        assert "x" in repr(run["x"]) and "<table>" in run._repr_html_()

    def test_results_are_frozen(self) -> None:
        run = simulate(Loop(), 1)
        with pytest.raises(AttributeError):
            run.until = 2.0  # type: ignore[misc]
        with pytest.raises(AttributeError):
            run["x"].path = "y"  # type: ignore[misc]

    def test_tables(self) -> None:
        pytest.importorskip("pandas")
        run = simulate(Loop(), 1, lanes=2, every=0.25)
        table = run.to_pandas()
        assert table.shape[0] == 5 and float(table[("x", 1)].iloc[-1]) == pytest.approx(math.cos(1), abs=1e-5)
        arrays = run.to_xarray()
        assert arrays["x"].dims == ("lane", "t") and arrays["x"].shape == (2, 5)


class Ball(Block):
    x = State(1.0)

    @derivative(x)
    def flow(self, x):  # type: ignore[no-untyped-def]
        return -torch.ones_like(x)

    @crossing
    def floor(self, x):  # type: ignore[no-untyped-def]
        return x
