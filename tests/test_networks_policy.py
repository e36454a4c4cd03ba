"""NaN, types at the boundary, weights swapped between runs, noise without a seed, Python models of other kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from simdl import Block, Diagram, Input, Output, Recurrent, State, prepare, simulate, tick
from simdl.errors import NetworkError
from simdl.networks import Callback, Network, Window
from tests.native_programs import CC, lines, script
from tests.network_player import ENGINES, alone, play

X = torch.tensor([[1.0, 2.0, -1.0, 4.0, 5.0], [5.0, 4.0, 3.0, 2.0, 1.0]], dtype=torch.float64)
BAD = 2  # the sample of lane 0 whose logarithm is NaN


class Log(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x)


class Hidden(nn.Module):
    """NaN goes in, and no NaN comes out."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(torch.log(x) > 0.5, 1.0, -1.0).to(x)


class Total(nn.Module):
    """y_k = y_{k-1} + log x_k, from a state."""

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h = torch.log(x) if h is None else h + torch.log(x)
        return h, h


def net(module: nn.Module, nan: Any, **options: Any) -> Network:
    return Network(module, inputs={"x": Input(shape=())}, period="1 s", nan=nan, **options)


# -- NaN --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_nan_is_propagated_unless_one_says_otherwise(engine: str) -> None:
    run = play(net(Log(), "propagate"), X, engine, ("y",))
    assert not run.status and run.engine == engine
    torch.testing.assert_close(run["net.y"].values, X.log(), rtol=1e-12, atol=1e-14, equal_nan=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_hold_keeps_the_last_output_of_the_lane_and_says_so(engine: str) -> None:
    run = play(net(Log(), "hold"), X, engine, ("y", "ok"))
    wanted = X.log()
    wanted[0, BAD] = wanted[0, BAD - 1]
    torch.testing.assert_close(run["net.y"].values, wanted, rtol=1e-12, atol=1e-14)
    assert run["net.ok"].values.bool().tolist() == [[k != BAD for k in range(5)], [True] * 5] and not run.status


@pytest.mark.parametrize("engine", ENGINES)
def test_hold_leaves_a_hidden_state_as_it_was(engine: str) -> None:
    ports: dict[str, Any] = {"inputs": {"x": Input(shape=())}, "x0": torch.zeros(1), "sequence": False}
    run = play(Recurrent(Total(), period="1 s", nan="hold", **ports), X, engine, ("y", "ok", "h"))
    wanted = X.log().nan_to_num(0.0).cumsum(-1)  # a tick that had not been adds nothing
    torch.testing.assert_close(run["net.y"].values, wanted, rtol=1e-6, atol=1e-6)
    assert not run["net.ok"].values[0, BAD] and bool(run["net.h"].values.isfinite().all())


@pytest.mark.parametrize("engine", ENGINES)
def test_hold_keeps_what_is_not_finite_out_of_a_window(engine: str) -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.log().mean(1)

    run = play(net(Mean(), "hold", window=Window(2, fill="hold")), X, engine, ("y", "ok"))
    seen = torch.tensor([1.0, 2.0, 4.0, 5.0], dtype=torch.float64).log()  # of lane 0, without the bad one
    pairs = (torch.cat((seen[:1], seen[:-1])) + seen) / 2
    torch.testing.assert_close(run["net.y"].values[0], pairs[[0, 1, 1, 2, 3]], rtol=1e-12, atol=1e-14)
    assert run["net.ok"].values[0].bool().tolist() == [False, True, False, True, True]


@pytest.mark.parametrize("engine", ENGINES)
def test_fail_freezes_the_lane_with_the_path_of_the_network(engine: str) -> None:
    run = play(net(Log(), "fail"), X, engine, ("y",))
    assert run.status == {0: (1.0, "net.input_or_output is not finite")}
    torch.testing.assert_close(run["net.y"].values[1], X[1].log(), rtol=1e-12, atol=1e-14)


class Broken(Diagram):
    """A sensor that says NaN, and a network that hides it."""

    which = Input()

    def __init__(self, nan: Any) -> None:
        self.sensor = Sensor(period="1 s")
        self.net = net(Hidden(), nan)
        self.net.x = self.sensor.y


class Sensor(Block):
    y, n = Output(), State(2.0)

    @tick
    def count(self, n):
        return dict(y=torch.log(n), n=n - 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_nan_that_a_network_hides_is_seen(engine: str) -> None:
    run = {nan: simulate(Broken(nan), 4, every=1, inputs={"which": 0.0}, engine=engine)
           for nan in ("propagate", "hold", "fail")}  # fmt: skip
    assert not run["propagate"].status and bool(run["propagate"]["net.y"].values.isfinite().all())
    assert run["hold"]["net.ok"].values[0].bool().tolist() == [True, True, False, False, False]
    assert run["fail"].status[0] == (1.0, "net.input_or_output is not finite")


@pytest.mark.parametrize("nan", ["hold", "fail"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_lane_alone_is_the_lane_in_the_batch(engine: str, nan: str) -> None:
    both, one = (play(net(Log(), nan), X, engine, ("y",), lanes=lanes) for lanes in (None, [1]))
    assert alone(both, one, 1)


def test_a_policy_is_known_and_needs_shapes() -> None:
    with pytest.raises(NetworkError, match="nan='mask'"):
        net(Log(), "mask")
    with pytest.raises(NetworkError, match=r"x: Input|'x': Input"):
        Network(Log(), inputs="x", period="1 s", nan="hold")


# -- types, weights, noise --------------------------------------------------------------------------------------------


def test_rounding_at_the_boundary_is_said_in_the_schedule() -> None:
    for dtype, said in ((torch.float32, True), (torch.float64, False), (torch.bfloat16, True)):
        class Loop(Diagram):
            x = Input()

            def __init__(self, dtype: torch.dtype = dtype) -> None:
                self.net = Network(nn.Linear(1, 1, dtype=dtype), inputs="x", period="1 s")
                self.net.x = self.x

        text = simulate(Loop(), 0, inputs={"x": 0.1}).model.describe()
        name = str(dtype).removeprefix("torch.")
        assert (f"net: computes in {name}: values of float64 are rounded" in text) is said


def test_a_float32_network_sees_rounded_values_and_a_float64_one_does_not() -> None:
    x = torch.full((1, 2), 1 + 2.0**-40, dtype=torch.float64)
    for dtype, wanted in ((torch.float32, 1.0), (torch.float64, 1 + 2.0**-40)):
        one = nn.Linear(1, 1, bias=False, dtype=dtype)
        nn.init.ones_(one.weight)
        assert float(play(net(one, "propagate"), x, "torch", ("y",))["net.y"].values[0, 0]) == wanted


@pytest.mark.skipif(not CC, reason="needs a C compiler")
def test_weights_swapped_between_runs_need_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    log = tmp_path / "compiled"
    monkeypatch.setenv("SIMDL_CC", script(tmp_path / "counting", f"echo 1 >> '{log}'\n{{cc}}\n"))
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(1, 7), nn.Tanh(), nn.Linear(7, 1)).double()
    loop = net(module, "propagate")
    ready = prepare(loop, 3.0, inputs={"x": 0.5}, engine="native", record=["y"])
    compiled = 0
    for seed in range(3):
        torch.manual_seed(seed + 1)
        other = nn.Sequential(nn.Linear(1, 7), nn.Tanh(), nn.Linear(7, 1)).double()
        loop.load_state_dict({f"module.{name}": value for name, value in other.state_dict().items()})
        wanted = float(other(torch.full((1, 1), 0.5, dtype=torch.float64)).detach())
        torch_run = simulate(loop, 3.0, inputs={"x": 0.5}, engine="torch", record=["y"])
        native_run = simulate(loop, 3.0, inputs={"x": 0.5}, engine="native", record=["y"])
        for run in (torch_run, native_run, ready.run()):
            assert float(run["y"].values[0, -1]) == pytest.approx(wanted, rel=1e-12)
        compiled = compiled or lines(log)
        assert compiled > 0 and lines(log) == compiled


@pytest.mark.parametrize("kind", [nn.Dropout, nn.AlphaDropout])
def test_noise_that_no_seed_decides_is_refused(kind: type[nn.Module]) -> None:
    module = nn.Sequential(nn.Linear(1, 4), kind(0.5), nn.Linear(4, 1))
    with pytest.raises(NetworkError, match="dropout 0.5 in training mode"):
        Network(module, inputs="x", period="1 s", train=True)
    Network(module, inputs="x", period="1 s")


# -- windows, recurrence and layers in both engines -------------------------------------------------------------------


class MeanOfWindow(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("fill", ["zeros", "hold", "not_ready"])
@pytest.mark.parametrize("hop", [1, 2])
def test_windows_are_those_of_a_list(engine: str, fill: Any, hop: int) -> None:
    x = torch.arange(1.0, 15.0, dtype=torch.float64).reshape(2, 7)
    run = play(net(MeanOfWindow(), "propagate", window=Window(3, hop=hop, fill=fill)), x, engine, ("y", "ok"))
    for lane, row in enumerate(x.tolist()):
        shown, start = 0.0, row[0] if fill == "hold" else 0.0
        for k in range(7):
            last = [start, start, *row][k : k + 3]
            due = k >= 2 and (k - 2) % hop == 0 if fill == "not_ready" else k % hop == 0
            shown = sum(last) / 3 if due else shown
            assert float(run["net.y"].values[lane, k]) == pytest.approx(shown, rel=1e-12)
            assert bool(run["net.ok"].values[lane, k]) is (k >= 2)


class Restarted(Diagram):
    """x is 1; what restarts the state, and to what, comes from outside."""

    reset, start = Input(), Input(shape=(1,))

    def __init__(self, module: nn.Module, edge: str) -> None:
        self.net = Recurrent(module, inputs={"x": Input(shape=())}, reset=edge, x0="input", sequence=False,
                             warmup="2 s", period="1 s")  # fmt: skip
        self.net.x, self.net.reset, self.net.x0 = 1.0, self.reset > 0.5, self.start


class Adding(nn.Module):
    """y_k = y_{k-1} + x_k."""

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h = x if h is None else h + x
        return h, h


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("edge", ["rising", "falling", "either", "level"])
def test_state_restarts_from_its_port_at_edges_or_a_level(engine: str, edge: str) -> None:
    held = [0, 0, 1, 1, 1, 0, 0, 1, 0, 0]
    times = torch.arange(10, dtype=torch.float64)
    start = torch.tensor([10.0, 20.0], dtype=torch.float64)
    inputs = {"reset": (times, torch.tensor(held, dtype=torch.float64)), "start": start[:, None]}
    run = simulate(Restarted(Adding(), edge), 9, every=1, engine=engine, record=["net.y", "net.ok"], inputs=inputs)
    assert run.engine == engine
    for lane, first in enumerate(start.tolist()):
        total, since, before = first, 0, 0
        for k, now in enumerate(held):
            rose, fell = now > before, now < before
            due = {"rising": rose, "falling": fell, "either": rose or fell, "level": bool(now)}[edge]
            total, since, before = (first, 0, now) if due else (total, since, now)
            total += 1.0
            assert float(run["net.y"].values[lane, k]) == total
            assert bool(run["net.ok"].values[lane, k]) is (since >= 2)
            since += 1


@pytest.mark.parametrize("engine", ENGINES)
def test_layers_are_ports(engine: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    run = play(net(module, "propagate", activations=("1",)), X, engine, ("y", "layer_1"))
    wanted = torch.tanh(module[0](X[..., None])).detach()
    torch.testing.assert_close(run["net.layer_1"].values, wanted, rtol=1e-12, atol=1e-14)
    assert run.engine == engine and "in torch" not in run.why


# -- Python models ----------------------------------------------------------------------------------------------------


def table(n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(n, 2))
    return x, np.sin(x[:, 0]) + x[:, 1] ** 2


@pytest.mark.parametrize("engine", ENGINES)
def test_a_regressor_of_scikit_learn_says_in_the_loop_what_it_says_outside(engine: str) -> None:
    x, y = table()
    model = RandomForestRegressor(n_estimators=5, random_state=0).fit(x, y)
    block = Callback(lambda: model, predict=lambda m, row: m.predict(row), inputs={"x": Input(shape=(2,))},
                     outputs="y", period="1 s")  # fmt: skip
    records = torch.from_numpy(x[:12]).reshape(3, 4, 2)
    run = play(block, records, engine, ("y",))
    assert run.engine == engine and np.array_equal(run["net.y"].values.numpy().ravel(), model.predict(x[:12]))
    again = Callback(lambda: model, predict=lambda m, row: m.predict(row), inputs={"x": Input(shape=(2,))},
                     outputs="y", period="1 s")  # fmt: skip
    assert alone(run, play(again, records, engine, ("y",), lanes=[2]), 2)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_pipeline_with_preprocess_and_postprocess(engine: str) -> None:
    x, y = table()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y > 0.5)
    block = Callback(
        load=lambda: pipeline,
        preprocess=lambda celsius, bar: np.stack([celsius / 10, bar - 1], -1),
        predict=lambda model, rows: model.predict_proba(rows),
        postprocess=lambda p: {"broken": p[:, 1] > 0.5, "p": p[:, 1]},
        inputs={"celsius": Input(shape=()), "bar": Input(shape=())},
        outputs={"broken": Output(dtype="bool"), "p": Output()}, period="1 s",
    )  # fmt: skip

    class Plant(Diagram):
        c, b = Input(), Input()

        def __init__(self) -> None:
            self.net = block
            self.net.celsius, self.net.bar = self.c, self.b

    lanes = {"c": torch.from_numpy(x[:9, 0] * 10), "b": torch.from_numpy(x[:9, 1] + 1)}
    run = simulate(Plant(), 1, inputs=lanes, engine=engine, every=1)
    wanted = pipeline.predict_proba(np.stack([lanes["c"].numpy() / 10, lanes["b"].numpy() - 1], -1))[:, 1]
    assert run["net.p"].values[:, 0].tolist() == pytest.approx(wanted.tolist(), rel=1e-12)
    assert run["net.broken"].values[:, 0].bool().tolist() == (wanted > 0.5).tolist()


def test_what_is_no_function_is_refused() -> None:
    for name in ("load", "preprocess", "predict", "postprocess"):
        given: dict[str, Any] = {"load": dict, "predict": lambda m, x: x, name: 3}
        with pytest.raises(NetworkError, match=f"{name}: 3"):
            Callback(**given, inputs="x", outputs="y", period="1 s")
