"""S18: types of runs and ports, and float32 sums that lose nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from simdl import (
    RK4,
    Block,
    Diagram,
    Euler,
    Input,
    ModelError,
    Output,
    Param,
    ProbeError,
    RunError,
    State,
    derivative,
    output,
    simulate,
    tick,
)
from simdl.blocks import Gain, Integrator, SampleClock, Sine, Step


class TestFloatType:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_one_float_type_a_run(self, dtype: torch.dtype) -> None:
        class Model(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.sine, self.gain, self.integrator, self.clock = (
                    Sine(),
                    Gain(k=2.0),
                    Integrator(),
                    SampleClock(rate=5),
                )
                self.gain.u = self.sine.y
                self.integrator.u = self.gain.y + self.clock.time
                self.y = self.integrator.y

        run = simulate(Model(), 1, dtype=dtype)
        assert {k: t.values.dtype for k, t in run.traces.items() if k != "clock.k"} == {
            k: dtype for k in run.traces if k != "clock.k"
        }
        assert run["clock.k"].values.dtype == torch.int64
        assert all(v.dtype == dtype for k, v in run.final.items() if k != "clock.following")

    def test_time_is_float64_in_every_run(self) -> None:
        class Late(Block):
            """How many nanoseconds t is beyond 1e4 s, which float32 cannot tell."""

            y = Output(dtype="int64")

            @tick
            def step(self, t):  # type: ignore[no-untyped-def]
                return dict(y=torch.round((t - 1e4) * 1e9).long())

        run = simulate(Late(period="1 us", offset="1 ns"), "2 us", dtype=torch.float32)
        assert run["y"].values[0, 1:].tolist() == [1 - 10**13, 1001 - 10**13]

    @pytest.mark.parametrize("dtype", [torch.float16, torch.int64, torch.complex64])
    def test_other_types_are_refused(self, dtype: torch.dtype) -> None:
        with pytest.raises(RunError, match="float64 or torch.float32"):
            simulate(Gain(), 0, inputs={"u": 1.0}, dtype=dtype)


class Kinds(Block):
    """Ports of every declared type."""

    u = Input()
    flag, small, count = Output(dtype="bool"), Output(dtype="uint8"), Output(dtype="int64")
    seen = State(False, dtype="bool")

    @tick
    def step(self, u, seen):  # type: ignore[no-untyped-def]
        return dict(flag=u > 1, small=(u * 10).to(torch.uint8), count=torch.round(u).long(), seen=seen | (u > 1))


class TestPortTypes:
    def test_declared_types_are_kept(self) -> None:
        run = simulate(Kinds(period=1), 2, inputs={"u": ([0, 1, 2], [0.4, 1.6, 0.6])})
        assert run["flag"].values.tolist() == [[False, True, False]] and run["flag"].values.dtype == torch.bool
        assert run["small"].values.tolist() == [[4, 16, 6]] and run["small"].values.dtype == torch.uint8
        assert run["count"].values.tolist() == [[0, 2, 1]] and run["count"].values.dtype == torch.int64
        assert run.final["seen"].tolist() == [True]

    def test_comparisons_make_bool_signals(self) -> None:
        class Model(Diagram):
            high = Output()

            def __init__(self) -> None:
                self.step = Step(at=0.5)
                self.high = (self.step.y > 0.5) & ~(self.step.y > 2.0)

        run = simulate(Model(), 1, every=0.25)
        assert run["high"].values.dtype == torch.bool and run["high"].values.tolist() == [
            [False, False, True, True, True]
        ]

    def test_undeclared_narrowing_is_an_error(self) -> None:
        class Narrow(Block):
            y = Output(dtype="int64")

            @tick
            def step(self, t):  # type: ignore[no-untyped-def]
                return dict(y=t * 2)

        with pytest.raises(ProbeError) as error:
            simulate(Narrow(period=1), 1)
        assert "step: y" in str(error.value) and "float64 into a port of int64" in str(error.value)
        assert ".to(torch.int64)" in str(error.value)

    def test_a_float_into_a_bool_state_is_an_error(self) -> None:
        class Narrow(Block):
            on = State(False, dtype="bool")

            @tick
            def step(self, on):  # type: ignore[no-untyped-def]
                return dict(on=on * 1.0)

        with pytest.raises(ProbeError, match=r"float\d\d into a port of bool"):
            simulate(Narrow(period=1), 1)

    def test_widening_is_none(self) -> None:
        class Wide(Block):
            y = Output()

            @tick
            def step(self, t):  # type: ignore[no-untyped-def]
                return dict(y=t > 0.5)

        assert simulate(Wide(period=1), 1)["y"].values.tolist() == [[0.0, 1.0]]

    def test_unknown_type_of_a_port(self) -> None:
        with pytest.raises(ModelError, match="did you mean: float32"):
            Input(dtype="flot32")

    def test_image_ports(self) -> None:
        class Camera(Block):
            image = Output(shape=(2, 4, 4), dtype="uint8", initial=torch.zeros(2, 4, 4, dtype=torch.uint8))

            @tick
            def shoot(self, t):  # type: ignore[no-untyped-def]
                return dict(image=(t.reshape(-1, 1, 1, 1) * torch.ones(2, 4, 4, dtype=t.dtype)).to(torch.uint8))

        camera = Camera(period=1)
        assert "image" not in simulate(camera, 2).traces  # images are recorded only by name
        values = simulate(camera, 2, lanes=3, record=["image"])["image"].values
        assert values.shape == (3, 3, 2, 4, 4) and values[:, :, 0, 0, 0].tolist() == [[0, 1, 2]] * 3

    def test_inputs_of_a_wrong_type_are_refused(self) -> None:
        class Flag(Block):
            on = Input(dtype="bool")

            @output
            def y(self, on):  # type: ignore[no-untyped-def]
                return ~on

        assert simulate(Flag(), 0, inputs={"on": True})["y"].values.tolist() == [[False]]
        with pytest.raises(RunError, match=r"inputs\['on'\]: 0.5"):
            simulate(Flag(), 0, inputs={"on": 0.5})


class Battery(Block):
    """Charge counted in continuous time: soc' = -current / capacity."""

    current: Param = Param(1.0, unit="A")
    capacity: Param = Param(3600.0 * 5, unit="A s")
    soc = State(0.9)

    @derivative(soc)
    def count(self, current, capacity):  # type: ignore[no-untyped-def]
        return -current / capacity


class Counted(Diagram):
    """The battery beside a clock of a given period, so that instants cut the integration."""

    def __init__(self, period: Any) -> None:
        self.battery, self.clock = Battery(), SampleClock(period=period)


class SampledBattery(Block):
    """Charge counted in a discrete state, whose sum the block makes itself: it asks for float64."""

    current: Param = Param(1.0)
    soc = State(0.9, dtype="float64")

    @tick
    def count(self, soc, current, dt):  # type: ignore[no-untyped-def]
        return dict(soc=soc - current * dt / 18000.0)


class TestCompensatedSums:
    """One hour of Coulomb counting at 1 ms in float32 stays within 1e-4 of float64 (plain sums lose up to 29 %)."""

    CURRENTS = torch.tensor([1.0, 0.37, 4.2], dtype=torch.float64)

    def loss(self, until: float, step: Any, period: Any) -> float:
        model = Counted(period)
        finals = [simulate(model, until, set={"battery.current": self.CURRENTS}, dtype=dtype, record=[],
                           solver=RK4(max_step=step)).final["battery.soc"].double()
                  for dtype in (torch.float32, torch.float64)]  # fmt: skip
        change = 0.9 - finals[1]
        return float(((finals[0] - finals[1]) / change).abs().max())

    def test_some_seconds_at_a_millisecond(self) -> None:
        """Each step changes soc by 1e-9 to 2e-7, below or near the spacing of float32 at 0.9, which is 6e-8."""
        assert self.loss(6, "1 ms", 1) < 1e-3  # the final value's own rounding is 3e-8 of 1.2e-4

    def test_across_many_instants(self) -> None:
        assert self.loss(10, "5 ms", "10 ms") < 1e-3

    @pytest.mark.slow
    def test_three_minutes_at_a_millisecond(self) -> None:
        """A twentieth of the hour that must stay within 1e-4, and a twentieth of the error allowed."""
        wide = 0.9 - self.CURRENTS / 18000 * 180
        narrow = simulate(Counted(10), 180, set={"battery.current": self.CURRENTS}, dtype=torch.float32, record=[],
                          solver=Euler(max_step="1 ms")).final["battery.soc"].double()  # fmt: skip
        assert float((narrow - wide).abs().max()) < 1e-4 / 20

    def test_a_discrete_state_may_be_float64_in_a_float32_run(self) -> None:
        run = simulate(SampledBattery(period="1 ms"), 2, dtype=torch.float32, record=[])
        assert run.final["soc"].dtype == torch.float64
        assert float(run.final["soc"]) == pytest.approx(0.9 - 2.001 / 18000, abs=1e-10)


def test_a_float32_loop_follows_the_float64_one() -> None:
    class Model(Diagram):
        y = Output()

        def __init__(self) -> None:
            self.ring = Ring()
            self.y = self.ring.x

    y = [simulate(Model(), 5, dtype=d, every=0.5, solver=RK4(max_step=0.01))["y"].values.double()
         for d in (torch.float64, torch.float32)]  # fmt: skip
    assert float((y[0] - y[1]).abs().max()) < 1e-6
    assert float(y[0][0, -1]) == pytest.approx(math.cos(5), abs=1e-8)


class Ring(Block):
    x, v = State(1.0), State(0.0)

    @derivative(x, v)
    def flow(self, x, v):  # type: ignore[no-untyped-def]
        return v, -x
