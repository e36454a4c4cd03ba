"""What `simdl network` says, against torch's own counter, closed forms, and networks made to be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from simdl import Input, ModelCard, Output
from simdl.cli.program import program
from simdl.networks import Network, Recurrent, Window, save
from simdl.networks.analysis import analyse, analyse_network
from simdl.networks.architecture import mlp
from simdl.networks.reach import receptive_field


class Image(nn.Module):
    """A convolution, a pooling, attention over what is left, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.pool = nn.AvgPool2d(3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.pool(torch.relu(self.conv(x))).flatten(2).transpose(1, 2)
        out: torch.Tensor = self.head(self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1))
        return out


def test_products_are_what_torch_counts_and_parameters_what_the_module_has() -> None:
    module = Image().eval()
    block = Network(module, inputs={"x": Input(shape=(3, 20, 20))}, outputs={"y": Output(shape=(5,))}, period="1 s")
    found = analyse_network(block, repeats=3)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(2, 3, 20, 20))
    assert found.macs == counter.get_total_flops() // 2 // 2
    assert found.parameters == sum(p.numel() for p in module.parameters())
    rows = {row.path: row for row in found.layers}
    assert rows["conv"].shape == (8, 9, 9) and rows["conv"].macs == 3 * 3 * 3 * 8 * 81
    assert rows["conv"].bytes == 4 * 8 * 81 and rows["head"].parameters == 8 * 5 + 5
    assert found.weight_bytes == 4 * found.parameters


def test_an_mlp_has_the_products_of_its_widths() -> None:
    block = Network(mlp(3, 2, (7, 5)).double(), inputs=("a", "b", "c"), outputs=("d", "e"), period="10 ms")
    found = analyse_network(block, repeats=3)
    assert found.macs == 3 * 7 + 7 * 5 + 5 * 2 == sum(row.macs for row in found.layers)
    assert found.parameters == found.macs + 7 + 5 + 2 and found.weight_bytes == 8 * found.parameters
    assert found.receptive_ticks == 1 and found.receptive_seconds == 0.0
    assert any("float64" in text for text in found.warnings) and any("no model card" in t for t in found.warnings)


@pytest.mark.parametrize("kind,gates", [("GRU", 3), ("LSTM", 4), ("RNN", 1)])
def test_a_recurrent_layer_counts_its_gates_and_looks_back_without_limit(kind: str, gates: int) -> None:
    module = getattr(nn, kind)(2, 6, num_layers=2, batch_first=True)
    block = Recurrent(module, head=nn.Linear(6, 1), inputs=("v", "i"), outputs=("y",), period="1 s")
    found = analyse_network(block, repeats=3)
    assert found.macs == gates * 6 * (2 + 6) + gates * 6 * (6 + 6) + 6
    assert found.parameters == found.macs + 2 * 2 * gates * 6 + 1
    assert found.kind == "recurrent" and found.receptive_ticks is None and found.receptive_seconds is None


def test_a_window_looks_back_by_its_length_and_a_hop_less_one() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(40, 1))
    for hop, ticks in ((1, 20), (5, 24)):
        block = Network(module, inputs=("v", "i"), outputs=("y",), period="100 ms", window=Window(20, hop=hop))
        found = analyse_network(block, repeats=3)
        assert found.receptive_ticks == ticks and found.receptive_seconds == pytest.approx(0.1 * (ticks - 1))
        assert found.macs == 40


@pytest.mark.parametrize("kernels,strides,dilations", [((3, 3), (1, 1), (1, 2)), ((5, 2, 3), (2, 2, 1), (1, 1, 3))])
def test_the_receptive_field_is_where_the_gradient_is_not_zero(
    kernels: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> None:
    chain = nn.Sequential(*(nn.Conv1d(1, 1, k, s, dilation=d) for k, s, d in zip(kernels, strides, dilations)))
    with torch.no_grad():
        for p in chain.parameters():
            p.fill_(1.0)
    x = torch.zeros(1, 1, 100, requires_grad=True)
    chain(x)[0, 0, 0].backward()
    assert x.grad is not None
    reached = torch.nonzero(x.grad[0, 0]).flatten()
    assert int(reached.max() - reached.min()) + 1 == receptive_field(chain)


def carded(folder: Path, module: nn.Module, arguments: dict[str, Any], box: tuple[float, float], **scales: Any) -> None:
    block = Network(module, inputs={"measured": Input((), unit="K")}, outputs={"y": Output(())}, period="1 s")
    save(folder, module, ModelCard.of(block, "mlp", arguments, boxes={"measured": box}, scales=scales))


def test_dead_and_saturated_units_are_counted_over_the_card_s_box(tmp_path: Path) -> None:
    arguments = {"inputs": 1, "hidden": [4], "activation": "relu"}
    module = mlp(**arguments)  # type: ignore[arg-type]
    with torch.no_grad():  # over 0 … 1: x, x - 0.5, x - 2 (dead), -x - 1 (dead)
        module[0].weight.copy_(torch.tensor([[1.0], [1.0], [1.0], [-1.0]]))  # type: ignore[operator]
        module[0].bias.copy_(torch.tensor([0.0, -0.5, -2.0, -1.0]))  # type: ignore[operator]
    carded(tmp_path / "relu", module, arguments, (0.0, 1.0))
    assert "1: 2 of 4 ReLUs are zero over the card's box" in analyse(tmp_path / "relu", repeats=3).warnings
    arguments = {"inputs": 1, "hidden": [3], "activation": "tanh"}
    module = mlp(**arguments)  # type: ignore[arg-type]
    with torch.no_grad():  # tanh(5) is above 0.99, tanh(0 … 1) is not
        module[0].weight.fill_(1.0)  # type: ignore[operator, union-attr]
        module[0].bias.copy_(torch.tensor([0.0, 5.0, -6.0]))  # type: ignore[operator]
    carded(tmp_path / "tanh", module, arguments, (0.0, 1.0))
    assert "1: 2 of 3 units are saturated over the card's box" in analyse(tmp_path / "tanh", repeats=3).warnings


def test_unscaled_inputs_and_another_rate_are_warned_of_and_scaled_ones_are_not(tmp_path: Path) -> None:
    arguments = {"inputs": 1, "hidden": [4]}
    torch.manual_seed(0)
    module = mlp(**arguments)  # type: ignore[arg-type]
    carded(tmp_path / "bare", module, arguments, (273.0, 320.0))
    carded(tmp_path / "scaled", module, arguments, (273.0, 320.0), measured=(296.0, 12.0))
    bare, scaled = analyse(tmp_path / "bare", period="500 ms", repeats=3), analyse(tmp_path / "scaled", repeats=3)
    assert any(text.startswith("measured is not normalised, and lies between 273 and 320") for text in bare.warnings)
    assert any("every 1 s, and to be run every 500 ms" in text for text in bare.warnings)
    assert scaled.warnings == ()


def test_analysing_changes_nothing(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.Linear(4, 1)).train()
    block = Network(module, inputs=("a", "b"), outputs=("y",), period="1 s")
    before = block.step(torch.ones(3), torch.ones(3))["y"]
    analyse_network(block, repeats=3)
    assert module.training and block._call.mode == "exact" and not module[0]._forward_hooks
    assert torch.equal(block.step(torch.ones(3), torch.ones(3))["y"], before)


def test_the_command_prints_it_and_its_json_holds_the_same(tmp_path: Path) -> None:
    arguments = {"inputs": 1, "hidden": [4]}
    carded(tmp_path / "card", mlp(**arguments), arguments, (273.0, 320.0))  # type: ignore[arg-type]
    text = CliRunner().invoke(program, ["network", str(tmp_path / "card")])
    assert text.exit_code == 0 and "parameters 13, 8 multiply-accumulates" in text.output
    assert "warning: measured is not normalised" in text.output
    found = json.loads(CliRunner().invoke(program, ["network", str(tmp_path / "card"), "--json"]).stdout)
    assert found["parameters"] == 13 and [one["lanes"] for one in found["latency"]] == [1, 1000]
    assert all(0 < one["median"] <= one["p99"] for one in found["latency"])
    axes = ({0: torch.export.Dim.DYNAMIC},)
    exported = torch.export.export(mlp(1).eval(), (torch.zeros(2, 1),), dynamic_shapes=axes)
    torch.export.save(exported, tmp_path / "net.pt2")
    found = json.loads(CliRunner().invoke(program, ["network", str(tmp_path / "net.pt2"), "--json"]).stdout)
    assert found["macs"] == 64 + 64 * 64 + 64 and found["format"] == "torch.export"
    assert any("no model card" in text for text in found["warnings"])


class Sequence(nn.Module):
    """Two recurrent layers along a window, and a head of the last sample."""

    def __init__(self, kind: str, bias: bool = True) -> None:
        super().__init__()
        self.cells = getattr(nn, kind)(3, 8, num_layers=2, batch_first=True, bias=bias)
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.cells(x)[0][:, -1])
        return out


def written(module: nn.Module, path: Path, shape: tuple[int, ...], lanes: int | None = None) -> Path:
    """A module in a file, for any number of lanes or for one number."""
    example = (torch.zeros(lanes or 2, *shape),)
    axes: Any = None if lanes else ({0: torch.export.Dim.DYNAMIC},)
    if path.suffix == ".onnx":
        torch.onnx.export(module.eval(), example, path, dynamo=True, verbose=False, external_data=False,
                          dynamic_shapes=axes)  # fmt: skip
    else:
        torch.export.save(torch.export.export(module.eval(), example, dynamic_shapes=axes), path)
    return path


@pytest.mark.parametrize("end", [".pt2", ".onnx"])
@pytest.mark.parametrize("kind,gates", [("GRU", 3), ("LSTM", 4), ("RNN", 1)])
def test_recurrent_calls_in_a_file_count_every_sample_of_the_window(
    tmp_path: Path, kind: str, gates: int, end: str
) -> None:
    module = Sequence(kind)
    found = analyse(written(module, tmp_path / f"net{end}", (7, 3)), period="2 s", repeats=3)
    layers = [gates * 8 * (3 + 8), gates * 8 * (8 + 8)]
    assert found.macs == 7 * sum(layers) + 8 * 2 == sum(row.macs or 0 for row in found.layers)
    assert sum(row.parameters for row in found.layers) == found.parameters
    assert found.layers[-1].macs == 16 and found.layers[-1].shape == (2,) and found.not_counted == ()
    if end == ".pt2":
        assert [(row.path, row.macs) for row in found.layers] == [("cells", 7 * sum(layers)), ("head", 16)]
        assert found.parameters == sum(p.numel() for p in module.parameters())
        assert [row.shape for row in found.layers] == [(7, 8), (2,)]
    if (kind, end) != ("RNN", ".onnx"):  # torch writes that one as products sample by sample
        assert found.kind == "window" and found.receptive_ticks == 7 and found.receptive_seconds == 6 * 2.0


def test_a_recurrent_call_without_biases_has_the_same_products(tmp_path: Path) -> None:
    found = analyse(written(Sequence("LSTM", bias=False), tmp_path / "net.pt2", (5, 3)), repeats=3)
    assert found.macs == 5 * 32 * (3 + 8 + 8 + 8) + 16 and found.layers[0].parameters == 32 * (3 + 8 + 8 + 8)


@pytest.mark.parametrize("end", [".pt2", ".onnx"])
def test_a_file_has_the_rows_of_the_module_it_was_written_from(tmp_path: Path, end: str) -> None:
    module = nn.Sequential(nn.Conv1d(6, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7, 5), nn.Linear(5, 1))
    for lanes in (None, 3):
        found = analyse(written(module, tmp_path / f"net{lanes}{end}", (6, 15), lanes), repeats=3)
        rows = [row for row in found.layers if row.macs]
        assert [row.macs for row in rows] == [4 * 6 * 3 * 7, 4 * 7 * 5, 5] and found.macs == 504 + 140 + 5
        assert [row.shape for row in rows] == [(4, 7), (5,), (1,)] and [r.bytes for r in rows] == [4 * 28, 20, 4]
        assert sum(row.parameters for row in found.layers) == sum(p.numel() for p in module.parameters())
        if end == ".pt2":
            assert [row.path for row in rows] == ["0", "3", "4"] and found.receptive_ticks == 15


def test_weights_that_are_used_twice_are_parameters_once_and_products_twice(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line, self.vector = nn.Linear(4, 4), nn.Parameter(torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.line(self.line(x)) @ self.vector

    module = Twice()
    found = analyse(written(module, tmp_path / "net.pt2", (4,)), repeats=3)
    assert [(row.parameters, row.macs) for row in found.layers] == [(20, 16), (0, 16), (4, 4)] and found.macs == 36
    block = Network(module, inputs={"x": Input(shape=(4,))}, period="1 s")
    assert analyse_network(block, repeats=3).macs == 36


def test_what_is_not_counted_is_named_in_place_of_a_number(tmp_path: Path) -> None:
    class Spectrum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(5, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.line(torch.fft.rfft(x).abs())
            return out

    path = written(Spectrum(), tmp_path / "net.pt2", (8,))
    found = analyse(path, repeats=3)
    assert found.macs is None and found.not_counted == ("aten._fft_r2c",)
    assert [row.macs for row in found.layers] == [None, 5]
    text = CliRunner().invoke(program, ["network", str(path)]).output
    assert "parameters 6, not counted: aten._fft_r2c" in text and "multiply-accumulates" not in text
    block = Network(Spectrum(), inputs={"x": Input(shape=(8,))}, outputs={"y": Output(shape=(1,))}, period="1 s")
    assert analyse_network(block, repeats=3).not_counted == ("aten._fft_r2c",)
    line = written(nn.Linear(2, 1), tmp_path / "line.onnx", (2,))
    assert analyse(line, executor="onnxruntime", repeats=3).macs is None and analyse(line, repeats=3).macs == 2
