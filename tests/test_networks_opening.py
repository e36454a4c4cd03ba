"""open_network: every format by one name, told by its bytes, and names that lie are refused with the truth."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from simdl import Diagram, Input, Network, Output, Recurrent, Slot, simulate
from simdl.errors import NetworkError
from simdl.networks import Imported, ModelCard, open_network, save
from simdl.networks.architecture import gru, mlp
from simdl.networks.opening import format_of
from simdl.slots import swap
from simdl.slots.slot import Place
from tests.attacks import keras_files, text_files, torch_files

ARGUMENTS: dict[str, Any] = {"inputs": 2, "hidden": [4]}


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def card_folder(folder: Path) -> Path:
    block = Network(mlp(**ARGUMENTS), period="1 s", inputs=("a", "b"), outputs=("y",))
    save(folder, block.module, ModelCard.of(block, "mlp", ARGUMENTS, scales={"a": (10.0, 2.0)}))
    return folder


def written(folder: Path, name: str) -> Path:
    data = {".pt2": torch_files.program, ".keras": keras_files.plain, ".nnet": lambda: text_files.NNET,
            ".polar": lambda: text_files.POLAR,
            ".h5": lambda: keras_files.legacy(keras_files.sequential(keras_files.dense()))}  # fmt: skip
    path = folder / name
    path.write_bytes(data[path.suffix]())
    return path


FORMATS = [".pt2", ".keras", ".h5", ".nnet", ".polar"]


@pytest.mark.parametrize(("suffix", "kind"), list(zip(FORMATS, ["torch.export", "Keras", "Keras", ".nnet", ".polar"])))
def test_a_file_says_its_format_and_ports(tmp_path: Path, suffix: str, kind: str) -> None:
    found = open_network(written(tmp_path, f"net{suffix}"))
    assert isinstance(found, Imported) and found.format == kind
    (port,) = found.inputs.values()
    assert port.shape == (2,)
    shape = tuple(found.module(torch.zeros(3, 2, dtype=torch.float64 if suffix in (".nnet", ".polar") else None)).shape)
    assert shape[0] == 3 and str(found).startswith(f"{tmp_path}/net{suffix} ({kind}): ")
    block = found.block(period="1 s", inputs=("a", "b"))
    assert list(block.declared())[:2] == ["a", "b"]


class Scalar(Diagram):
    """A network with two inputs, whatever its output is called."""

    out = Output()

    def __init__(self, network: Any, port: str) -> None:
        self.part = network
        self.part.a, self.part.b = 0.25, -0.5
        self.out = getattr(self.part, port)


def test_one_number_a_lane_is_a_scalar_in_every_format(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).eval()
    axes = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(module, (torch.zeros(2, 2),), dynamic_shapes=axes), tmp_path / "net.pt2")
    torch.onnx.export(module, (torch.zeros(2, 2),), tmp_path / "net.onnx", dynamo=False, dynamic_axes={"x": {0: "n"}},
                      input_names=["x"])  # fmt: skip
    recorded = []
    for name in ("net.pt2", "net.onnx"):
        found = open_network(tmp_path / name)
        assert [one.shape for one in found.outputs.values()] == [()]
        (port,) = found.outputs
        loop = Scalar(found.block(period="1 s", inputs=("a", "b")), port)
        recorded.append(simulate(loop, until=2)["out"].values)
    assert recorded[0].shape == recorded[1].shape
    assert float((recorded[0] - recorded[1]).detach().abs().max()) < 1e-6
    for suffix in (".nnet", ".polar", ".keras", ".h5"):
        for one in open_network(written(tmp_path, f"other{suffix}")).outputs.values():
            assert one.shape != (1,)


def test_a_card_brings_its_normalisation_and_rate(tmp_path: Path) -> None:
    folder = card_folder(tmp_path / "card")
    for path in (folder, folder / "card.json", folder / "model.safetensors"):
        found = open_network(path)
        block, same = found.block(), Network.from_card(folder)
        values = torch.tensor([12.0, 3.0]), torch.tensor([0.5, 1.0])
        assert torch.equal(block.step(*values)["y"], same.step(*values)["y"])
        assert not torch.equal(block.step(*values)["y"], found.module(torch.stack(values, 1))[:, 0])
        assert str(block.clock) == str(same.clock) and found.format == "model card"


def test_a_recurrent_card_is_stepped(tmp_path: Path) -> None:
    arguments = {"inputs": 2, "hidden": 3}
    block = Recurrent(gru(**arguments), period="1 s", inputs=("a", "b"), outputs=("y",))
    save(tmp_path / "card", block.module, ModelCard.of(block, "gru", arguments))
    assert isinstance(open_network(tmp_path / "card").block(), Recurrent)


@pytest.mark.parametrize("said", FORMATS)
@pytest.mark.parametrize("is_", FORMATS)
def test_a_name_that_lies_is_refused_with_the_truth(tmp_path: Path, is_: str, said: str) -> None:
    path = written(tmp_path, f"net{is_}")
    lying = path.with_name(f"other{said}")
    shutil.copy(path, lying)
    if said == is_:
        assert open_network(lying).format
        return
    with pytest.raises(NetworkError) as error:
        open_network(lying)
    text = str(error.value)
    assert f"is a {format_of(path)} (the name says {said}:" in text and f"name it *{is_}" in text


@pytest.mark.parametrize(("name", "data", "found", "fix"), [
    ("a.pt", lambda: pickle.dumps({"a": 1}), "is a Python pickle", "a pickle is a program"),
    ("a.pth", lambda: torch_files.saved({"a": torch.ones(1)}, _use_new_zipfile_serialization=False),
     "is a legacy torch file", "it is a pickle"),
    ("a.pt", lambda: torch_files.script(), "is a TorchScript program", r"torch\.export\.save"),
    ("a.bin", lambda: torch_files.saved({"a": torch.ones(1)}), "is a torch archive of weights", "load_state_dict"),
    ("a.dat", lambda: torch_files.program(), "is a torch.export program", r"rename it to \*\.pt2"),
    ("a.txt", lambda: b"hello", "file of unknown kind", ""), ("a.onnx", lambda: b"", "without a byte", ""),
    ("a.tflite", lambda: b"\x1c\x00\x00\x00TFL3", "unknown kind", r"\.onnx, \.keras"),
])  # fmt: skip
def test_what_is_no_network_is_refused_with_what_to_do(
    tmp_path: Path, name: str, data: Any, found: str, fix: str
) -> None:
    (tmp_path / name).write_bytes(data())
    with pytest.raises(NetworkError, match=f"{found}[\\s\\S]*{fix}"):
        open_network(tmp_path / name)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.onnx")
    for path, message in ((tmp_path / "gone.pt2", "no such file"), (tmp_path / "pipe.onnx", "a pipe"),
                          (Path("/dev/zero"), "a device")):  # fmt: skip
        with pytest.raises(NetworkError, match=message):
            open_network(path)


def test_options_are_those_of_the_format(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="no option 'offset' for this format[\\s\\S]*names: normalisation"):
        open_network(written(tmp_path, "net.nnet"), offset=1.0)


class Loop(Diagram):
    out = Output()

    def __init__(self, place: Place) -> None:
        self.part = place
        self.part.a, self.part.b = 0.25, -0.5
        self.out = self.part.y


SLOT = Slot("s", {"a": Input(), "b": Input()}, {"y": Output()}, period="1 s")


@pytest.mark.parametrize("suffix", [".pt2", ".nnet", ".polar"])
def test_every_format_fills_a_slot(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path, f"net{suffix}")
    x = torch.tensor([[0.25, -0.5]], dtype=torch.float64 if suffix != ".pt2" else torch.float32)
    wanted = float(open_network(path).module(x).detach()[0, 0])
    for given in (path, str(path), open_network(path)):
        loop = swap(Loop(SLOT.place(nn.Linear(2, 1))), s=given)
        assert float(simulate(loop, until=2)["out"].at(1.0)) == pytest.approx(wanted, rel=1e-6)


def test_a_network_of_another_width_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "net.polar"
    path.write_text("3\n1\n0\nAffine\n1\n1\n1\n0\n0\n1\n")
    with pytest.raises(NetworkError, match="does not fit"):
        swap(Loop(SLOT.place(nn.Linear(2, 1))), s=path)


def test_inputs_by_name_are_wired_by_name(tmp_path: Path) -> None:
    """A program with its inputs in another order than the slot's."""

    class Net(nn.Module):
        def forward(self, b: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
            return 10 * b + a

    shapes = ({0: torch.export.Dim.DYNAMIC},) * 2
    program = torch.export.export(Net(), (torch.zeros(2, 1), torch.zeros(2, 1)), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "net.pt2")
    loop = swap(Loop(SLOT.place(nn.Linear(2, 1))), s=tmp_path / "net.pt2")
    assert float(simulate(loop, until=1)["out"].at(1.0)) == pytest.approx(10 * -0.5 + 0.25)


@pytest.mark.slow
def test_the_command_line_takes_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sensor that says what it is given, in each format: the same verdicts whatever file it came in."""
    from click.testing import CliRunner

    from simdl.cli.program import program

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent.parent)
    exact = nn.Linear(1, 1)
    exact.load_state_dict({"weight": torch.ones(1, 1), "bias": torch.zeros(1)})
    example, shapes = (torch.zeros(2, 1),), ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(exact.eval(), example, dynamic_shapes=shapes), "net.pt2")
    torch.onnx.export(exact, example, "net.onnx", dynamo=True, dynamic_shapes=shapes, external_data=False,
                      verbose=False)  # fmt: skip
    ones = keras_files.sequential(keras_files.dense(units=1))
    ones["config"]["layers"][0]["config"]["batch_shape"] = [None, 1]
    Path("net.h5").write_bytes(keras_files.legacy(ones, keras_files.one_weight))
    Path("net.nnet").write_text("1,1,1,1\n1,1\n0\n-1e9\n1e9\n0,0\n1,1\n1\n0\n")
    Path("net.polar").write_text("1\n1\n0\nAffine\n1\n0\n0\n1\n")
    found = {}
    for suffix in (".pt2", ".onnx", ".h5", ".nnet", ".polar"):
        result = CliRunner().invoke(program, ["validate", "tests.study:STUDY", "--network", f"sensor=net{suffix}",
                                              "--lanes", "3", "--quick", "--out", f"out{suffix}"])  # fmt: skip
        assert "lanes" in result.output and "error:" not in result.output, result.output
        found[suffix] = result.output.split("requirement ")[1].split("Figures")[0]
    assert len(set(found.values())) == 1
