"""Exported networks opened again: the same ports, states, units, rate and values as what was exported."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from simdl import Diagram, Input, Network, Output, Recurrent, State, scenario, simulate
from simdl.cli.program import program
from simdl.errors import NetworkError, SimdlError
from simdl.export import export
from simdl.export.loop import in_slot
from simdl.networks import ModelCard, Stepped, Window, open_network
from simdl.networks.described import KEY, read_description

ENDS = (".onnx", ".pt2")
PORTS: dict[str, Any] = {"inputs": {"v": Input(shape=(), unit="V"), "i": Input(shape=(), unit="A")},
                         "outputs": {"soc": Output(shape=(), unit="%")}}  # fmt: skip


def recurrent(**more: Any) -> Recurrent:
    torch.manual_seed(7)
    gru, head = nn.GRU(2, 5, batch_first=True), nn.Linear(5, 1)
    return Recurrent(gru, head=head, period="100 ms", warmup="300 ms", **PORTS, **more)


def windowed() -> Network:
    torch.manual_seed(8)
    module = nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 1))
    return Network(module, window=Window(4, hop=2, fill="hold"), period="100 ms", **PORTS)


class Driven(Diagram):
    """A network under test, driven from outside."""

    soc, ok = Output(), Output(dtype="bool")
    v, i = Input(), Input()
    reset = Input(dtype="bool", default=0)

    def __init__(self, network: Any) -> None:
        self.network = network
        network.v, network.i = self.v, self.i
        if "reset" in network.declared():
            network.reset = self.reset
        self.soc, self.ok = network.soc, network.ok


def played(network: Any, engine: str = "torch") -> Any:
    times = torch.arange(0, 3.05, 0.1, dtype=torch.float64)
    inputs = {"v": (times, torch.sin(3 * times)), "i": (times, torch.cos(5 * times)), "reset": (times, times > 1.45)}
    return simulate(Driven(network), until=3, inputs=inputs, engine=engine)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with net.onnx and net.pt2 of `recurrent()`."""
    folder = tmp_path_factory.mktemp("exported")
    for end in ENDS:
        export(recurrent(), folder / f"net{end}", check=False)
    return folder


@pytest.mark.parametrize(("make", "end"), [(recurrent, ".onnx"), (recurrent, ".pt2"), (windowed, ".pt2")])
def test_an_exported_network_opened_again_says_the_same_at_every_tick(
    files: Path, tmp_path: Path, end: str, make: Any
) -> None:
    if make is windowed:
        export(make(), tmp_path / f"net{end}", check=False)
    block = open_network((files if make is recurrent else tmp_path) / f"net{end}").block()
    assert isinstance(block, Stepped) and str(block.clock) == str(make().clock)
    one, other = played(make()), played(block)
    assert float((one["soc"].values - other["soc"].values).abs().max()) < 1e-6
    assert torch.equal(one["ok"].values, other["ok"].values) and not bool(one["ok"].values.all())
    inner = {name for name in block.declared() if name not in ("v", "i", "soc", "ok")}
    assert inner == {name for name in make().declared() if name not in ("v", "i", "soc", "ok")}


@pytest.mark.parametrize("end", ENDS)
def test_states_of_a_file_are_restored_reset_and_lowered(files: Path, end: str) -> None:
    found = open_network(files / f"net{end}")
    wanted = played(recurrent(reset="rising"))["soc"].values
    assert float((played(found.block(reset="rising"))["soc"].values - wanted).abs().max()) < 1e-6
    assert float((played(found.block())["soc"].values - wanted).abs().max()) > 1e-3
    native = played(found.block(reset="rising"), "native")
    assert float((native["soc"].values - wanted).abs().max()) < 1e-5


def test_units_names_and_rate_are_those_of_the_file(files: Path) -> None:
    found = open_network(files / "net.pt2")
    assert [one.unit for one in found.inputs.values()] == ["V", "A"] and found.outputs["soc"].unit == "%"
    with pytest.raises(NetworkError, match=r"every 200 ms, exported every 100 ms"):
        found.block(period="200 ms")
    assert str(found.block(period="200 ms", allow_rate=True).clock) == "200 ms"
    assert "states: h, ticks" in str(found)


def test_what_was_opened_is_exported_and_opened_again(files: Path, tmp_path: Path) -> None:
    made = export(files / "net.pt2", tmp_path / "b.pt2", ticks=20)
    assert made.period == "100 ms" and made.stepwise is not None and made.stepwise.agrees
    again = played(open_network(tmp_path / "b.pt2").block())
    assert float((again["soc"].values - played(recurrent())["soc"].values).abs().max()) < 1e-6


def test_onnx_runtime_runs_a_file_with_states_too(files: Path) -> None:
    block = open_network(files / "net.onnx", executor="onnxruntime").block(mode="fast")
    assert float((played(block)["soc"].values - played(recurrent())["soc"].values).abs().max()) < 1e-6


def test_the_estimator_of_battery_soc_runs_the_same_from_its_exported_file(tmp_path: Path) -> None:
    study = replace(scenario("battery_soc").quickly(), until="4 min")  # its ONNX file: docs/howto/export.md
    export(in_slot(study, "sensor"), tmp_path / "soc.pt2", check=False)
    before = study.run(lane=3, engine="torch")["estimate"].values
    after = study.swap(sensor=str(tmp_path / "soc.pt2")).run(lane=3, engine="torch")["estimate"].values
    assert float(before.max() - before.min()) > 1e-4 and torch.equal(before, after)


def test_the_command_line_looks_into_a_file_with_states(files: Path) -> None:
    done = CliRunner().invoke(program, ["network", str(files / "net.onnx")])
    assert done.exit_code == 0, done.output
    assert "recurrent" in done.output and "looks back: without limit" in done.output


GOOD: dict[str, Any] = {
    "inputs": [{"name": "x", "shape": [], "dtype": "float32"}],
    "outputs": [{"name": "y", "shape": [], "dtype": "float32"}],
    "states": [{"name": "h", "shape": [2], "dtype": "float32", "initial": [0, 1]}], "clock": [1000, 1],
}  # fmt: skip


def test_a_description_is_read_as_it_was_written() -> None:
    found = read_description(json.dumps(GOOD), "net")
    state = found.declared_states("net")["h"]
    assert torch.equal(torch.as_tensor(state.initial), torch.tensor([0.0, 1.0])) and found.timing() == {
        "period": Fraction(1, 10**6)
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inputs": []}, "at least 1 item"),
        ({"more": 1}, "Extra inputs"),
        ({"clock": [0, 1]}, "clock"),
        ({"inputs": [{"name": "x", "shape": [-1], "dtype": "float32"}]}, "shape"),
        ({"inputs": [{"name": "x", "shape": [2**40], "dtype": "float32"}]}, "shape"),
        ({"inputs": [{"name": "x", "shape": [], "dtype": "object"}]}, "dtype"),
        ({"inputs": [{"name": "x", "shape": [], "dtype": "float32", "low": 1}]}, "low without high"),
        ({"states": [{"name": "h", "shape": [2], "dtype": "float32", "initial": [1, 2, 3]}]}, "initial value"),
        ({"states": [{"name": "h", "shape": [2], "dtype": "float32", "initial": "import os"}]}, "initial value"),
        ({"states": [{"name": "h", "shape": [2], "dtype": "float32", "initial": {"a": 1}}]}, "initial value"),
        ({"format": "other"}, "format"),
    ],
)  # fmt: skip
def test_a_description_that_is_none_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(NetworkError, match=said):
        read_description(json.dumps({**GOOD, **change}), "net").declared_states("net")


@pytest.mark.parametrize("text", ["{", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 100_000, "", "null", " " * (17 * 2**20)])
def test_text_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(SimdlError, match="its description by simdl"):
        read_description(text, "net")


def test_a_description_of_another_network_is_refused(files: Path, tmp_path: Path) -> None:
    model = onnx.load(files / "net.onnx")
    onnx.helper.set_model_props(model, {KEY: json.dumps(GOOD)})
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(NetworkError, match=r"(?s)its description by simdl says the inputs.*a description of this"):
        open_network(tmp_path / "other.onnx")
    with zipfile.ZipFile(files / "net.pt2") as one, zipfile.ZipFile(tmp_path / "other.pt2", "w") as other:
        for name in one.namelist():
            other.writestr(name, json.dumps(GOOD) if name.endswith(f"extra/{KEY}.json") else one.read(name))
    with pytest.raises(NetworkError, match=r"its description by simdl says the inputs"):
        open_network(tmp_path / "other.pt2")


class Sum(nn.Module):
    def forward(self, x: torch.Tensor, total: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return 2 * total + x, total + x


def test_a_module_that_is_given_its_states_is_a_block() -> None:
    ports: dict[str, Any] = {"inputs": {"x": Input(shape=())}, "outputs": {"y": Output(shape=())}}
    block = Stepped(Sum(), states={"total": State(3.0, shape=())}, period="1 s", **ports)

    class One(Diagram):
        y = Output()

        def __init__(self) -> None:
            self.net = block
            block.x = 1.0
            self.y = block.y

    run = simulate(One(), until=3)
    assert run["y"].values.flatten().tolist() == [7.0, 9.0, 11.0, 13.0]  # 2 (3 + k) + 1
    for states, said in (
        ({}, "no states"),
        ({"total": State(3.0)}, "open shape"),
        ({"total": State(0.0, shape=(2,))}, "the module returned"),
        ({"a": State(0.0, shape=()), "b": State(0.0, shape=())}, "the module fails"),
    ):
        with pytest.raises(NetworkError, match=said):
            Stepped(Sum(), states=states, period="1 s", **ports)
    with pytest.raises(NetworkError, match="given its states"):
        ModelCard.of(block, "tests:Sum")
