"""Surrogates: a network in the place of a part of a loop, against closed forms and the loop with the original."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from simdl import RK4, Block, Diagram, Input, Output, Param, State, Uniform, derivative, enabled, output, simulate
from simdl.blocks import APRBS, PI, DCMotor, FirstOrder, Gain
from simdl.errors import ModelError
from simdl.surrogate import Speed, Surrogate, surrogate
from simdl.surrogate.training import train

QUICK: dict[str, Any] = {"engines": (), "engine": "torch", "progress": False}


class Lag(Block):
    """x' = (k u - x) / tau."""

    u, x = Input(), State(0.0)
    tau: Param = Param(0.5)
    k: Param = Param(2.0)

    @derivative(x)
    def flow(self, x, u, tau, k):
        return (k * u - x) / tau


class Loop(Diagram):
    """A lag under a PI controller that samples it every 0.1 s."""

    r, y = Input(), Output()

    def __init__(self) -> None:
        self.plant = Lag()
        self.pi = PI(kp=1.0, ki=1.0, period=0.1)
        self.pi.e = self.r - self.plant.x
        self.plant.u = self.pi.u
        self.y = 3.0 * self.plant.x


def linear(model: Diagram, path: str, **more: Any) -> Surrogate:
    """A surrogate by least squares alone."""
    given: dict[str, Any] = {
        "period": 0.1, "until": 4, "inputs": {"r": 1.0}, "excite": {"r": APRBS(length=7, period=0.3)}, "hidden": (),
        "steps": 0, "lanes": 8, "test": 4, "horizon": 4, "solver": RK4(0.01), **QUICK,
    }  # fmt: skip
    return surrogate(model, path, **{**given, **more})


def test_of_a_linear_plant_with_held_inputs_least_squares_find_the_exact_step() -> None:
    model = Loop()
    before = simulate(model, 2, inputs={"r": 1.0}, every=0.1)["y"].values
    found = linear(model, "plant")
    decay = math.exp(-0.1 / 0.5)
    for x, u in ((0.0, 1.0), (1.0, 0.0), (-3.0, 0.25)):  # x(k+1) = a x + (1 - a) 2 u
        step = found.network.step(x=torch.tensor([x]).double(), u=torch.tensor([u]).double())["x"].detach()
        assert float(step) == pytest.approx(decay * x + (1 - decay) * 2.0 * u, abs=1e-6)
    assert found.worst < 1e-6 and found.free_run.whole
    assert [one.path for one in found.differences] == ["plant.u", "plant.x", "y"]
    assert torch.equal(simulate(model, 2, inputs={"r": 1.0}, every=0.1)["y"].values, before)  # it is left as it was


def test_the_loop_with_the_network_runs_alike_in_both_engines() -> None:
    found = linear(Loop(), "plant", hidden=(6,), steps=25)
    options: dict[str, Any] = {"inputs": {"r": torch.tensor([0.5, 1.0, -2.0])}, "every": 0.1}
    a, b = (simulate(found.diagram, 2, engine=engine, **options) for engine in ("torch", "native"))
    assert (a.engine, b.engine) == ("torch", "native")
    torch.testing.assert_close(a["y"].values, b["y"].values, rtol=1e-11, atol=1e-11)


def test_a_sampled_part_with_feedthrough_is_replaced_at_its_own_period() -> None:
    found = linear(Loop(), "pi")  # i+ = i + ki T e, u = kp e + i+
    assert found.part.through and [one.name for one in found.part.outputs] == ["u"]
    assert found.worst < 1e-6
    i, e = torch.tensor([0.5]).double(), torch.tensor([1.0]).double()
    assert float(found.network.read(i=i, e=e).detach()) == pytest.approx(1.6, abs=1e-6)


class Pair(Diagram):
    """Two lags behind each other, as one part."""

    u, last = Input(), Output()

    def __init__(self) -> None:
        self.lags = [Lag(tau=0.2), Lag(tau=0.4, k=0.5)]
        self.lags[0].u = self.u
        self.lags[1].u = self.lags[0].x
        self.last = self.lags[1].x


class Nested(Diagram):
    """A pair in a list, read through its output, from inside, and in a formula."""

    r, y, z = Input(), Output(), Output()

    def __init__(self) -> None:
        self.parts = [Pair(), Gain(k=-1.0)]
        self.pi = PI(kp=0.8, ki=0.5, period=0.1)
        self.pi.e = self.r - self.parts[0].last
        self.parts[0].u = self.pi.u
        self.parts[1].u = self.parts[0].lags[0].x
        self.y = self.parts[0].last
        self.z = self.parts[1].y + self.parts[0].lags[1].x


def test_a_nested_diagram_in_a_list_is_replaced_for_all_who_read_it() -> None:
    found = linear(Nested(), "parts.0")
    assert [one.name for one in found.part.states] == ["lags_0_x", "lags_1_x"] and not found.part.outputs
    assert found.worst < 1e-6
    assert found.diagram.parts[0] is found.network  # type: ignore[attr-defined]
    assert {one.path for one in found.differences} >= {"z", "parts.0.u"}


class Rod(Block):
    """Ten cells that pass heat on, the first one heated."""

    power = Input(unit="W")
    heat = State([0.0] * 10, unit="K")

    @derivative(heat)
    def flow(self, heat, power):
        left = torch.cat([heat[:, :1], heat[:, :-1]], dim=1)
        right = torch.cat([heat[:, 1:], heat[:, -1:]], dim=1)
        heated = torch.cat([power.unsqueeze(1), torch.zeros_like(heat[:, 1:])], dim=1)
        return 8.0 * (left - 2.0 * heat + right) + heated - 0.1 * heat

    @output(unit="K")
    def tip(self, heat):
        return heat[:, -1]


class Heated(Diagram):
    r, y, all = Input(unit="K"), Output(), Output()

    def __init__(self) -> None:
        self.rod = Rod()
        self.pi = PI(kp=1.0, ki=0.2, low=-2.0, high=8.0, period=0.1)
        self.pi.e = self.r - self.rod.tip
        self.rod.power = self.pi.u
        self.y = self.rod.heat[3] + self.rod.tip
        self.all = self.rod.heat


def test_elements_of_a_vector_state_are_ports_and_a_vector_is_put_together_again() -> None:
    found = linear(Heated(), "rod", space={"r": Uniform(0.5, 2.0)}, inputs={}, solver=RK4(0.01))
    assert len(found.part.states) == 10 and [one.name for one in found.part.outputs] == ["tip"]
    whole = simulate(found.diagram, 2, inputs={"r": 1.0}, every=0.1, engine="torch")
    truth = simulate(Heated(), 2, inputs={"r": 1.0}, every=0.1, solver=RK4(0.01), engine="torch")
    torch.testing.assert_close(whole["all"].values, truth["all"].values, rtol=0, atol=1e-3)
    assert found.worst < 1e-3


class Drive(Diagram):
    """A motor whose current settles in 0.5 ms, sampled every 20 ms, with a fan's load that grows with the square."""

    r, y = Input(unit="rad/s"), Output()

    def __init__(self) -> None:
        self.motor = DCMotor(inductance=5e-4, k=0.5, friction=0.02)
        self.pi = PI(kp=0.2, ki=1.0, period=0.02)
        self.pi.e = self.r - self.motor.omega
        self.motor.voltage = self.pi.u
        self.motor.load = 0.01 * self.motor.omega * abs(self.motor.omega)
        self.y = self.motor.omega


@pytest.fixture(scope="module")
def drive() -> Surrogate:
    return surrogate(
        Drive(), "motor", period=0.02, until=1, excite={"motor.voltage": APRBS(length=8, low=-2, high=2, period=0.1)},
        space={"r": Uniform(2.0, 10.0), "motor.omega": Uniform(0.0, 4.0)}, states=("omega",), solver=RK4(1e-3),
        lanes=16, test=4, steps=100, horizon=16, hidden=(12,), progress=False, engines=("torch",), repeats=1,
    )  # fmt: skip


def test_a_fast_state_can_be_left_out(drive: Surrogate) -> None:
    assert [one.name for one in drive.part.states] == ["omega"]
    assert drive.worst < 0.03 and drive.training.best < drive.training.linear
    assert drive.free_run.one_step["omega"] < float(drive.free_run.error["omega"].max())
    start = drive.original["motor.omega"].values[:, 0]
    assert float(start.std()) > 0.1  # each lane from its own initial state, in both loops
    assert torch.allclose(drive.run["motor.omega"].values[:, 0], start)


def test_its_table_says_so_where_it_is_slower_and_where_an_engine_did_not_run(drive: Surrogate) -> None:
    text = str(replace(drive, speeds=(Speed("torch", 1.0, 2.0), Speed("native", math.nan, math.nan, "no compiler"))))
    assert "0.5x  slower than the original" in text and "native     not run: no compiler" in text
    assert "stability horizon" in text and "worst/range" in text
    (speed,) = drive.speeds
    assert speed.engine == "torch" and speed.original > 0 and speed.gain == speed.original / speed.surrogate


def test_it_draws_both_loops_and_the_error_over_the_horizon(drive: Surrogate, tmp_path: Path) -> None:
    figure = drive.plot(tmp_path / "surrogate.png")
    assert (tmp_path / "surrogate.png").read_bytes().startswith(b"\x89PNG")
    assert len(figure.axes) == len(drive.pairs[:4]) + 1 and figure.axes[-1].get_yscale() == "log"
    assert [len(axis.lines) for axis in figure.axes[:-1]] == [6] * (len(figure.axes) - 1)  # three lanes, both loops


def data(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x(k+1) = 0.9 x + 0.1 tanh(2 u): lanes of random inputs."""
    u = torch.randn(8, 60, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = [torch.zeros(8, 1, dtype=torch.float64)]
    for k in range(59):
        x.append(0.9 * x[-1] + 0.1 * torch.tanh(2.0 * u[:, k]))
    return torch.stack(x, 1), u, torch.zeros(8, 60, 0, dtype=torch.float64)


OPTIONS: dict[str, Any] = {
    "hidden": (8,), "through": False, "horizon": 8, "batch": 32, "learning_rate": 1e-2, "validate": 0.25, "seed": 3,
    "shown": False,
}  # fmt: skip


def test_training_repeats_and_does_not_touch_the_random_numbers_of_its_caller() -> None:
    torch.manual_seed(0)
    wanted = torch.rand(1)
    torch.manual_seed(0)
    f, _, one = train(*data(), steps=300, seconds=None, **OPTIONS)
    assert torch.equal(torch.rand(1), wanted)
    g, _, two = train(*data(), steps=300, seconds=None, **OPTIONS)
    assert all(torch.equal(a, b) for a, b in zip(f.parameters(), g.parameters()))
    assert one.rows == two.rows and one.best < 0.7 * one.linear
    assert one.best == min(one.linear, *(row[2] for row in one.rows))


def test_ctrl_c_ends_training_and_keeps_the_best_so_far() -> None:
    before = signal.getsignal(signal.SIGINT)

    def press() -> None:
        while signal.getsignal(signal.SIGINT) is before:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    f, _, found = train(*data(), steps=10**6, seconds=None, **OPTIONS)
    assert found.stopped == "interrupted" and found.rows[-1][0] < 10**6
    assert found.best <= found.linear and bool(torch.isfinite(f(torch.zeros(1, 2, dtype=torch.float64))).all())
    assert signal.getsignal(signal.SIGINT) is before
    assert train(*data(), steps=10**6, seconds=0.0, **OPTIONS)[2].stopped == "seconds"


class Switched(Loop):
    def __init__(self) -> None:
        super().__init__()
        enabled(self.plant, self.r > 0.5, period=0.1)


class Static(Diagram):
    r, y = Input(), Output()

    def __init__(self) -> None:
        self.gain = Gain(k=2.0)
        self.gain.u = self.r
        self.lag = FirstOrder()
        self.lag.u = self.gain.y
        self.y = self.lag.y


@pytest.mark.parametrize(("model", "path", "more", "message"), [
    (Loop, "plnt", {}, "no block 'plnt'[\\s\\S]*plant"),
    (Loop, "pi", {"period": 0.2}, "ticks every"),
    (Loop, "plant", {"states": ("v",)}, "no state 'v'[\\s\\S]*x"),
    (Loop, "plant", {"space": {"plant.tau": Uniform(0.4, 0.6)}}, "plant.tau, a parameter of it"),
    (Loop, "plant", {"excite": {"plant.w": APRBS(period=0.1)}}, "not an input"),
    (Loop, "plant", {"excite": {"r": 1.0}}, "a block with an output"),
    (Switched, "plant", {}, "runs on a condition"),
    (Static, "gain", {}, "it has no state"),
    (Loop, "plant", {"lanes": 1}, "1 lanes|two lanes"),
], ids=["path", "period", "state", "parameter", "port", "excitation", "condition", "static", "lanes"])  # fmt: skip
def test_what_a_network_cannot_stand_for_is_refused(model: Any, path: str, more: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        linear(model(), path, **more)
