"""Networks in files of other formats: what an independent reader of the file computes, alone and in the loop."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from simdl import Input, ModelCard, Output
from simdl.cli.program import program
from simdl.errors import NetworkError
from simdl.export import check_in_loop, export
from simdl.export.exported import compare_single, compare_stepwise
from simdl.export.step import Step
from simdl.networks import Network, Recurrent, Window, load_exported, save
from simdl.networks.architecture import mlp
from tests.study import SENSOR, STUDY

SCALES = {"voltage": (3.7, 0.3), "current": (1.0, 5.0), "soc": (0.5, 0.25)}
ENDS = (".onnx", ".pt2", ".c")


def carded(dtype: torch.dtype = torch.float32) -> tuple[nn.Module, Network]:
    """A module, and the block that normalises around it."""
    torch.manual_seed(0)
    arguments: dict[str, Any] = {"inputs": 2, "outputs": 1, "hidden": [8]}
    module = mlp(**arguments).to(dtype)
    ports: dict[str, Any] = {"inputs": {"voltage": Input(unit="V"), "current": Input(unit="A")}, "period": "1 s",
                             "outputs": {"soc": Output(unit="1")}}  # fmt: skip
    card = ModelCard.of(Network(module, **ports), "mlp", arguments, scales=SCALES)
    return module, Network(module, card=card, **ports)


def recurrent(kind: str, layers: int) -> tuple[nn.Module, nn.Module, Recurrent]:
    torch.manual_seed(1)
    module = getattr(nn, kind)(2, 5, num_layers=layers, batch_first=True)
    head = nn.Linear(5, 1)
    block = Recurrent(module, head=head, inputs=("v", "i"), outputs=("soc",), period="1 s", warmup="3 s")
    return module, head, block


def windowed(hop: int, fill: Any) -> Network:
    torch.manual_seed(2)
    return Network(nn.Sequential(nn.Conv1d(6, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 1)), inputs=("v", "i"),
                   outputs=("y",), period="1 s", window=Window(6, hop=hop, fill=fill))  # fmt: skip


KINDS = {
    "gru": lambda: recurrent("GRU", 1)[2], "lstm": lambda: recurrent("LSTM", 2)[2],
    "window": lambda: windowed(3, "not_ready"), "held": lambda: windowed(1, "hold"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ENDS)
def test_networks_with_memory_agree_one_tick_and_step_by_step(tmp_path: Path, end: str, kind: str) -> None:
    made = export(KINDS[kind](), tmp_path / f"net{end}", ticks=100)
    assert made.single is not None and made.single.agrees and made.stepwise is not None and made.stepwise.agrees
    kept = json.loads((tmp_path / f"net{end}.json").read_text())
    assert kept["checks"]["stepwise"]["agrees"] and kept["period"] == "1 s"
    assert [one["name"] for one in kept["states"]] == [one.name for one in made.states]


@pytest.mark.parametrize("end", ENDS)
def test_a_network_without_memory_has_no_states(tmp_path: Path, end: str) -> None:
    made = export(carded()[1], tmp_path / f"net{end}")
    assert made.single is not None and made.single.agrees and made.stepwise is None and not made.states
    assert made.normalised and [one.unit for one in made.inputs] == ["V", "A"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_reference_evaluator_finds_normalisation_in_the_onnx_file(tmp_path: Path, dtype: torch.dtype) -> None:
    module, block = carded(dtype)
    export(block, tmp_path / "net.onnx")
    voltage, current = torch.linspace(2.8, 4.2, 7, dtype=dtype), torch.linspace(-9, 9, 7, dtype=dtype)
    row = torch.stack(((voltage - 3.7) / 0.3, (current - 1.0) / 5.0), -1)
    wanted = module(row)[:, 0].detach() * 0.25 + 0.5
    reader = onnx.reference.ReferenceEvaluator(str(tmp_path / "net.onnx"))
    (found,) = reader.run(["soc"], {"voltage": voltage.numpy(), "current": current.numpy()})
    assert found.dtype == voltage.numpy().dtype
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5 if dtype == torch.float32 else 1e-13)


def test_without_normalisation_the_ports_are_those_of_the_module(tmp_path: Path) -> None:
    module, block = carded()
    made = export(block, tmp_path / "net.onnx", normalise=False)
    assert not made.normalised and [one.unit for one in made.inputs] == ["", ""]
    x = torch.randn(5, 2)
    reader = onnx.reference.ReferenceEvaluator(str(tmp_path / "net.onnx"))
    (found,) = reader.run(["soc"], {"voltage": x[:, 0].numpy(), "current": x[:, 1].numpy()})
    np.testing.assert_allclose(found, module(x)[:, 0].detach().numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind,layers", [("GRU", 2), ("LSTM", 1), ("RNN", 1)])
def test_states_fed_back_through_onnx_give_what_torch_gives_for_the_whole_sequence(
    tmp_path: Path, kind: str, layers: int
) -> None:
    module, head, block = recurrent(kind, layers)
    made = export(block, tmp_path / "net.onnx", ticks=20)
    x = torch.randn(3, 40, 2, generator=torch.Generator().manual_seed(5))
    wanted = head(module(x)[0])[..., 0].detach().numpy()
    reader = onnx.reference.ReferenceEvaluator(str(tmp_path / "net.onnx"))
    names = [one.name for one in made.states]
    states: dict[str, Any] = {}
    for one in made.states:
        assert one.initial is not None and not one.initial.any()
        states[one.name] = np.zeros((3, *one.shape), dtype=one.initial.numpy().dtype)
    ready = []
    for k in range(40):
        given = {"v": x[:, k, 0].numpy(), "i": x[:, k, 1].numpy(), **states}
        y, ok, *after = reader.run(["soc", "ok", *(f"{n}_next" for n in names)], given)
        np.testing.assert_allclose(y, wanted[:, k], atol=2e-6)
        states = dict(zip(names, after))
        ready.append(bool(ok.all()))
    assert ready == [k >= 3 for k in range(40)]


def test_the_c_function_alone_gives_what_the_module_gives(tmp_path: Path) -> None:
    module, head, block = recurrent("GRU", 1)
    export(block, tmp_path / "my net.c", check=False)
    text = (tmp_path / "my net.c").read_text()
    assert "malloc" not in text
    subprocess.run(["gcc", "-std=c99", "-shared", "-fPIC", "-o", tmp_path / "net.so", tmp_path / "my net.c", "-lm"],
                   check=True)  # fmt: skip
    function = ctypes.CDLL(str(tmp_path / "net.so")).my_net
    x = torch.randn(1, 30, 2, generator=torch.Generator().manual_seed(6))
    wanted = head(module(x)[0])[0, :, 0].detach()
    hidden, after, ticks, later = (ctypes.c_float * 5)(), (ctypes.c_float * 5)(), ctypes.c_int64(0), ctypes.c_int64(0)
    for k in range(30):
        y, ok = ctypes.c_float(), ctypes.c_bool()
        v, i = ctypes.c_float(float(x[0, k, 0])), ctypes.c_float(float(x[0, k, 1]))
        function(*map(ctypes.byref, (v, i, hidden, ticks, y, ok, after, later)))
        assert abs(y.value - float(wanted[k])) < 2e-6 and ok.value == (k >= 3)
        hidden, after, ticks = after, hidden, ctypes.c_int64(later.value)


def test_a_program_takes_any_number_of_lanes_and_is_read_without_pickles(tmp_path: Path) -> None:
    module, block = carded()
    export(block, tmp_path / "net.pt2")
    reader: Any = load_exported(tmp_path / "net.pt2")
    assert list(reader.simdl_ports[0]) == ["voltage", "current"] and reader.simdl_lanes is None
    for lanes in (1, 2, 33):
        row = torch.randn(lanes, 2)
        found = reader(row[:, 0] * 0.3 + 3.7, row[:, 1] * 5.0 + 1.0)
        found = found[0] if isinstance(found, tuple) else found
        torch.testing.assert_close(found, module(row)[:, 0] * 0.25 + 0.5, atol=1e-5, rtol=1e-5)


def test_the_comparison_tells_another_network_apart(tmp_path: Path) -> None:
    block, other = recurrent("GRU", 1)[2], recurrent("GRU", 1)[2]
    with torch.no_grad():
        other.module["recurrent"].weight_hh_l0[0, 0] += 0.01  # type: ignore[index]
    file = export(block, tmp_path / "net.onnx", ticks=20).executor()
    assert compare_stepwise(Step(block), file, 50).agrees
    assert not compare_single(Step(other), file).agrees and not compare_stepwise(Step(other), file, 50).agrees


def test_what_a_format_cannot_hold_is_named(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvalsh(x[:, :, None] * x[:, None, :])

    block = Network(Odd(), inputs={"x": Input(shape=(3,))}, outputs={"y": Output(shape=(3,))}, period="1 s")
    with pytest.raises(NetworkError, match=r"(?s)linalg_eig.*export to \.pt2"):
        export(block, tmp_path / "odd.onnx")
    assert export(block, tmp_path / "odd.pt2").single is not None
    with pytest.raises(NetworkError, match=r"'\.tflite'"):
        export(block, tmp_path / "odd.tflite")
    with pytest.raises(NetworkError, match="float32 or float64"):
        export(Network(nn.Linear(2, 1).half(), inputs=("a", "b"), period="1 s"), tmp_path / "half.onnx")


def test_a_module_alone_is_exported_with_the_ports_it_is_given(tmp_path: Path) -> None:
    made = export(nn.Linear(2, 1), tmp_path / "line.onnx", inputs=("a", "b"), outputs=("c",))
    model = onnx.load(tmp_path / "line.onnx")
    assert [one.name for one in model.graph.input] == ["a", "b"] and model.graph.output[0].name == "c"
    assert made.period == "" and [d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim] == ["lanes"]


@pytest.mark.parametrize("end", ENDS)
def test_a_program_that_was_read_is_exported_again(tmp_path: Path, end: str) -> None:
    torch.manual_seed(4)
    module = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 1)).eval()
    free = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(module, (torch.zeros(3, 2),), dynamic_shapes=free), tmp_path / "a.pt2")
    block = Network(load_exported(tmp_path / "a.pt2"), inputs=("v", "i"), outputs=("y",), period="1 s")
    made = export(block, tmp_path / f"b{end}")
    assert made.single is not None and made.single.agrees
    row = torch.randn(1 if end == ".c" else 5, 2)
    found = made.executor()({"v": row[:, 0].numpy(), "i": row[:, 1].numpy()})["y"]
    with torch.no_grad():
        np.testing.assert_allclose(found, module(row)[:, 0].numpy(), rtol=1e-4, atol=1e-6)


def test_exporting_leaves_the_mode_of_a_module_as_it_was(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5), nn.Linear(3, 1)).train()
    block = Network(module, inputs=("a", "b"), period="1 s")
    for end in ENDS:
        made = export(block, tmp_path / f"net{end}")
        assert made.single is not None and made.single.agrees, "dropout is off in the file"
        assert all(part.training for part in module.modules())


class Missing:
    """A finder that hides a package."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] == self.name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


@pytest.mark.parametrize("package,end,extra", [
    ("onnx", ".onnx", "onnx"), ("onnxscript", ".onnx", "onnx"), ("onnxruntime", ".onnx", "onnx"),
    ("onnx", ".c", "onnx"), ("onnxscript", ".c", "onnx"), ("emx_onnx_cgen", ".c", "c"),
])  # fmt: skip
def test_a_package_that_is_missing_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, end: str, extra: str
) -> None:
    wanted = rf"(?s){package.replace('_', '-')} is not installed.*pip install 'simdl\[{extra}\]'"
    block = carded()[1]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, package, None)
        with pytest.raises(NetworkError, match=wanted):
            export(block, tmp_path / f"net{end}")
        patch.delitem(sys.modules, package)
        patch.setattr(sys, "meta_path", [Missing(package), *sys.meta_path])
        with pytest.raises(NetworkError, match=wanted):
            export(block, tmp_path / f"net{end}")
    assert not list(tmp_path.iterdir())


def sensor(shift: float = -2.5) -> Network:
    """A network for the study's slot: the reading, shifted."""
    line = nn.Linear(1, 1)
    with torch.no_grad():
        line.weight.fill_(1.0)
        line.bias.fill_(shift)
    return Network(line, inputs={"measured": Input((), unit="degC")}, outputs={"estimate": Output((), unit="degC")},
                   period="30 s")  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_a_file_put_back_into_the_loop_changes_no_verdict(tmp_path: Path, end: str) -> None:
    study = STUDY.swap(sensor=sensor())
    made = export(study.networks["sensor"], tmp_path / f"net{end}")
    loop = check_in_loop(study, "sensor", made, 12, progress=False)
    assert loop.agrees and loop.complete and loop.lanes == 12
    assert all(worst <= 1e-4 for worst, _ in loop.signals.values())
    plain = study.campaign(12, engine="torch", progress=False)
    assert loop.margins["warm"][0] == float(plain.margins["warm"].min())


def test_a_file_that_computes_something_else_is_found_in_the_loop(tmp_path: Path) -> None:
    wrong = export(sensor(0.0), tmp_path / "wrong.onnx")
    loop = check_in_loop(STUDY.swap(sensor=sensor()), "sensor", wrong, 12, progress=False)
    before = STUDY.swap(sensor=sensor()).campaign(12, engine="torch", progress=False)
    after = STUDY.swap(sensor=sensor(0.0)).campaign(12, engine="torch", progress=False)
    wanted = {(name, lane) for name in before.verdicts for lane in range(12)
              if before.verdicts[name][lane] != after.verdicts[name][lane]}  # fmt: skip
    assert wanted and {(name, lane) for name, lane, _, _ in loop.changed} == wanted
    assert loop.signals["estimate"][0] > 0.5 and not loop.agrees


def test_the_command_exports_a_slot_checks_it_and_ends_with_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = {"inputs": 1, "outputs": 1, "hidden": [4]}
    torch.manual_seed(0)
    module = mlp(**arguments)  # type: ignore[arg-type]
    block = Network(module, inputs={"measured": Input((), unit="degC")}, outputs=dict(SENSOR.outputs), period="30 s")
    save("card", module, ModelCard.of(block, "mlp", arguments, scales={"measured": (18.0, 4.0), "estimate": (18, 4)}))
    asked = ["export", "tests.study:STUDY", "sensor", "--network", "sensor=card", "--to", "net.c", "--check", "6",
             "--json", "-q"]  # fmt: skip
    done = CliRunner().invoke(program, asked)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["loop"]["agrees"] and said["checks"]["single"]["agrees"] and said["normalised"]
    alone = CliRunner().invoke(program, ["export", "card", "--to", "net.pt2"])
    assert alone.exit_code == 0 and "measured [degC] -> estimate [degC] every 30 s" in alone.output
    assert CliRunner().invoke(program, ["export", "card", "--to", "other.pt2", "--check", "3"]).exit_code == 2
    raw = CliRunner().invoke(program, ["export", "tests.study:STUDY", "sensor", "--to", "raw.c"])
    assert raw.exit_code == 2 and "0 networks in it" in raw.output
