"""ONNX files that torch exports, against the modules they were exported from: values, gradients, loops."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from simdl import Block, Diagram, Input, Output, State, derivative, simulate
from simdl.errors import NetworkError
from simdl.networks import Recurrent, Window
from simdl.networks.onnx import load_onnx
from tests.attacks import onnx_files

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("DeprecationWarning", "UserWarning", "FutureWarning")
]
OPEN = torch.export.Dim.DYNAMIC
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-10}  # files hold the epsilon of a normalisation in float32


def export(module: nn.Module, args: tuple[Tensor, ...], path: Path, axes: Any = ({0: OPEN},), **options: Any) -> Path:
    logging.disable(logging.WARNING)
    try:
        torch.onnx.export(module.eval(), args, path, dynamo=True, dynamic_shapes=axes, verbose=False,
                          **{"external_data": False, **options})  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)
    return path


def assert_same(found: Any, wanted: Any) -> None:
    a, b = (one if isinstance(one, tuple) else (one,) for one in (found, wanted))
    for x, y in zip(a, b, strict=True):
        assert x.shape == y.shape and x.dtype == y.dtype
        assert float((x - y).abs().max()) <= TOLERANCE[y.dtype] * max(1.0, float(y.abs().max()))


class Sequence(nn.Module):
    """A recurrent layer over samples, and a head."""

    def __init__(self, kind: Any, **options: Any) -> None:
        super().__init__()
        self.layer = kind(2, 4, batch_first=True, **options)
        self.head = nn.Linear(4 * (2 if options.get("bidirectional") else 1), 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0])


class Stated(nn.Module):
    """The state is input and output."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, x: Tensor, h0: Tensor, c0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (h, c) = self.layer(x, (h0, c0))
        return self.head(y), h, c


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.norm = nn.MultiheadAttention(8, 2, batch_first=True), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.attention(x, x, x, need_weights=False)[0])


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 1))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (perceptron, (2,)),
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3, padding=2, dilation=2), nn.ELU(), nn.AvgPool1d(2),
                                     nn.Flatten()), (2, 12)),
    "conv2d": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(4), nn.SiLU(),
                                     nn.MaxPool2d(2, ceil_mode=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
               (2, 9, 7)),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1),
                                         nn.GroupNorm(3, 3), nn.InstanceNorm2d(3, affine=True)), (2, 5, 4)),
    "upsampled": (lambda: nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Upsample(scale_factor=3)),
                  (1, 4, 3)),
    "lstm": (lambda: Sequence(nn.LSTM, num_layers=2), (6, 2)),
    "gru": (lambda: Sequence(nn.GRU), (6, 2)),
    "rnn": (lambda: Sequence(nn.RNN), (6, 2)),
    "both ways": (lambda: Sequence(nn.LSTM, bidirectional=True), (6, 2)),
    "attention": (Attending, (5, 8)),
    "transformer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_values_and_gradients_are_those_of_the_exported_module(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(3)
    make, shape = MODELS[name]
    module = make().to(dtype).eval()
    opened = load_onnx(export(module, (torch.randn(2, *shape, dtype=dtype),), tmp_path / "net.onnx"))
    assert opened.check is not None and opened.check.agrees and "worst difference" in str(opened)
    for lanes in (1, 5):
        x = torch.randn(lanes, *shape, dtype=dtype)
        ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
        found, wanted = opened.module(ours), module(theirs)
        assert_same(found, wanted)
        found.square().sum().backward()
        wanted.square().sum().backward()
        assert_same(ours.grad, theirs.grad)


def test_gradients_of_weights_are_checked_by_differences(tmp_path: Path) -> None:
    opened = load_onnx(export(perceptron().double(), (torch.zeros(2, 2).double(),), tmp_path / "net.onnx"))
    weights = dict(opened.module.named_parameters())
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)

    def call(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(opened.module, dict(zip(weights, values)), (x,))

    assert len(weights) >= 6
    assert torch.autograd.gradcheck(call, (x, *weights.values()))


@pytest.mark.parametrize("name", ["mlp", "conv2d", "lstm"])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_set_free_where_shapes_follow(name: str, batch: int, tmp_path: Path) -> None:
    make, shape = MODELS[name]
    module = make().eval()
    opened = load_onnx(export(module, (torch.randn(batch, *shape),), tmp_path / "net.onnx", None))
    if getattr(opened.module, "simdl_lanes", None) is None:
        assert any(f"a batch of {batch}" in note for note in opened.notes)
        x = torch.randn(7, *shape)
    else:
        assert opened.module.simdl_lanes == batch and f"for {batch} lanes only" in str(opened)
        x = torch.randn(batch, *shape)
    assert_same(opened.module(x), module(x))


def test_lanes_that_look_at_each_other_keep_their_batch(tmp_path: Path) -> None:
    class Centred(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - x.mean(0, keepdim=True)

    opened = load_onnx(export(Centred(), (torch.randn(4, 3),), tmp_path / "net.onnx", None))
    assert opened.module.simdl_lanes == 4


class Cart(Block):
    """A cart with friction."""

    force = Input(unit="N")
    x, v = State(1.0, unit="m"), State(0.0, unit="m/s")

    @derivative(x, v)
    def motion(self, v, force):
        return v, force - 0.5 * v


class Loop(Diagram):
    position = Output(unit="m")

    def __init__(self, net: Any) -> None:
        self.cart, self.net = Cart(), net
        self.net.x, self.net.v = self.cart.x, self.cart.v
        self.cart.force = self.net.force
        self.position = self.cart.x


def position(net: Any, engine: Any) -> Tensor:
    run = simulate(Loop(net), until=1, engine=engine)
    assert run.engine == engine
    return run["position"].values


PORTS: dict[str, Any] = {"inputs": ("x", "v"), "outputs": ("force",), "period": "20 ms"}


@pytest.mark.parametrize("engine", ["torch", "native"])
@pytest.mark.parametrize("kind", ["mlp", "lstm", "gru", "state"])
def test_the_loop_runs_with_the_import_as_with_the_module(kind: str, engine: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    zeros = torch.zeros(1, 2, 4)
    if kind == "mlp":
        module, args, axes = perceptron(), (torch.zeros(2, 2),), ({0: OPEN},)
        original: Any = None
    elif kind == "state":
        module, args, axes = Stated(), (torch.zeros(2, 1, 2), zeros, zeros.clone()), ({0: OPEN}, {1: OPEN}, {1: OPEN})
        original = Sequence(nn.LSTM)
        original.load_state_dict(module.state_dict())
    else:
        module, args, axes = Sequence(nn.LSTM if kind == "lstm" else nn.GRU), (torch.zeros(2, 6, 2),), ({0: OPEN},)
        original = module
    opened = load_onnx(
        export(module, args, tmp_path / "net.onnx", axes), stepped=None if kind in ("mlp", "state") else True
    )
    assert opened.recurrent == (kind != "mlp")
    from simdl import Network

    reference = Network(module, **PORTS) if original is None else Recurrent(original, **PORTS)
    found, wanted = position(opened.block(**PORTS), engine), position(reference, "torch")
    assert float((found - wanted).abs().max()) < 1e-6


def export_by_tracing(module: nn.Module, path: Path) -> Path:
    """As torch.onnx.export(dynamo=False) writes it: initial states are zeros of a shape that the graph computes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        torch.onnx.export(module.eval(), (torch.zeros(2, 6, 2),), path, dynamo=False, input_names=["x"],
                          dynamic_axes={"x": {0: "batch"}})  # fmt: skip
    return path


@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bidirectional": True}], ids=["one", "two", "both ways"])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_initial_states_may_be_made_from_the_number_of_lanes(kind: Any, options: Any, tmp_path: Path) -> None:
    torch.manual_seed(2)
    module = Sequence(kind, **options)
    opened = load_onnx(export_by_tracing(module, tmp_path / "net.onnx"))
    assert opened.check is not None and opened.check.against.startswith("ONNX Runtime") and not opened.recurrent
    for lanes in (1, 5):
        x = torch.randn(lanes, 6, 2)
        assert_same(opened.module(x), module(x).detach())


@pytest.mark.parametrize("engine", ["torch", "native"])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_traced_files_are_stepped_too(kind: Any, engine: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = Sequence(kind)
    opened = load_onnx(export_by_tracing(module, tmp_path / "net.onnx"), stepped=True)
    found, wanted = position(opened.block(**PORTS), engine), position(Recurrent(module, **PORTS), "torch")
    assert float((found - wanted).abs().max()) < 1e-6


def test_the_state_is_a_port(tmp_path: Path) -> None:
    path = export(Stated(), (torch.zeros(2, 1, 2), torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)), tmp_path / "net.onnx",
                  ({0: OPEN}, {1: OPEN}, {1: OPEN}))  # fmt: skip
    block = load_onnx(path).block(period="1 s")
    assert {"h", "c"} <= set(block.declared())
    with pytest.raises(NetworkError, match="did you mean: h0"):
        load_onnx(path, states={"h00": "linear"})


def test_whole_windows(tmp_path: Path) -> None:
    module = Sequence(nn.GRU)
    opened = load_onnx(export(module, (torch.zeros(2, 6, 2),), tmp_path / "net.onnx"))
    assert not opened.recurrent and opened.inputs["x"].shape == (6, 2)
    block = opened.block(inputs=("a", "b"), outputs={"y": Output(shape=(6, 1))}, window=Window(6), period="1 s")
    assert "history" in block.declared()
    with pytest.raises(NetworkError, match=r"2 features for a network that takes windows \(6, 2\)\n.*\n.*Window\(6\)"):
        opened.block(inputs=("a", "b"), period="1 s")
    with pytest.raises(NetworkError, match="reads the last sample first"):
        load_onnx(
            export(Sequence(nn.GRU, bidirectional=True), (torch.zeros(2, 6, 2),), tmp_path / "b.onnx"), stepped=True
        )


def test_onnx_runtime_as_the_executor(tmp_path: Path) -> None:
    module = perceptron()
    path = export(module, (torch.zeros(2, 2),), tmp_path / "net.onnx")
    opened = load_onnx(path, executor="onnxruntime")
    x = torch.randn(5, 2)
    assert_same(opened.module(x), module(x).detach())
    assert "no gradients" in str(opened)
    found = position(opened.block(**PORTS), "torch")
    assert float((found - position(load_onnx(path).block(**PORTS), "torch")).abs().max()) < 1e-6


def test_an_axis_of_lanes_that_is_not_the_first(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    x, y = (helper.make_tensor_value_info(name, 1, ["time", "batch", 3]) for name in "xy")
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 18)])
    onnx.save(model, tmp_path / "net.onnx")
    given = torch.randn(4, 6, 3)  # lanes first
    assert_same(load_onnx(tmp_path / "net.onnx").module(given), given.relu())


def written(path: Path, op: str, inputs: list[str], batch: int | str = "batch", **options: Any) -> Path:
    """A file of one node over x (batch, 3), with an axis of 0 among its constants."""
    from onnx import numpy_helper

    axis = numpy_helper.from_array(torch.zeros((), dtype=torch.int64).numpy(), "axis")
    x, y = (helper.make_tensor_value_info(name, 1, [batch, 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node(op, inputs, ["y"], "n", **options)], "g", [x], [y], [axis])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.mark.parametrize(("op", "inputs", "lacking"), [
    ("CumSum", ["x"], "the input 'axis'"), ("CumSum", ["x", ""], "the input 'axis'"), ("Max", [], "1 inputs"),
    ("Gather", ["x"], "the input 'indices'"), ("Concat", ["x", "x"], "the attribute 'axis'"),
])  # fmt: skip
def test_what_the_standard_requires_is_missed_by_name(op: str, inputs: list[str], lacking: str, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=f"{op} 'n': has not {lacking}"):
        load_onnx(written(tmp_path / "net.onnx", op, inputs))


MIXED: list[tuple[str, list[str], dict[str, int]]] = [
    ("CumSum", ["x", "axis"], {}), ("CumSum", ["x", "axis"], {"reverse": 1}), ("Softmax", ["x"], {"axis": 0}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "inputs", "options"), MIXED)
def test_lanes_are_never_mixed_silently(op: str, inputs: list[str], options: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="'y' of a lane changes with the inputs of another lane"):
        load_onnx(written(tmp_path / "net.onnx", op, inputs, **options))
    fixed = load_onnx(written(tmp_path / "fixed.onnx", op, inputs, 4, **options))
    assert "4 lanes that depend on each other" in str(fixed)
    x = torch.randn(4, 3)
    sums = x.flip(0).cumsum(0).flip(0) if options.get("reverse") else x.cumsum(0)
    assert_same(fixed.module(x), x.softmax(0) if op == "Softmax" else sums)


def test_external_data_only_when_trusted_and_inside(tmp_path: Path) -> None:
    module = nn.Linear(2, 2)
    path = export(module, (torch.zeros(2, 2),), tmp_path / "net.onnx", external_data=True)
    model = onnx.load(path, load_external_data=False)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    assert any(one.data_location == onnx.TensorProto.EXTERNAL for one in model.graph.initializer)
    with pytest.raises(NetworkError, match="trusted=True"):
        load_onnx(path)
    x = torch.randn(3, 2)
    assert_same(load_onnx(path, trusted=True).module(x), module(x))
    os.rename(tmp_path / "w.bin", tmp_path / "elsewhere")
    for link in (os.symlink, os.link):
        link(tmp_path / "elsewhere", tmp_path / "w.bin")
        with pytest.raises(NetworkError, match="link"):
            load_onnx(path, trusted=True)
        os.unlink(tmp_path / "w.bin")


@pytest.mark.parametrize("location", ["../../etc/hostname", "/etc/hostname", "a/../../b", ""])
def test_trusted_data_stays_in_the_folder(location: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_files.external(location)(tmp_path))
    with pytest.raises(NetworkError, match="a file in the model's folder"):
        load_onnx(path, trusted=True)


def test_damaged_files_are_errors_or_still_networks(tmp_path: Path) -> None:
    """Cuts and changed bytes at many places: never another exception."""
    from tests.attacks.attack import damaged

    path, refused = tmp_path / "net.onnx", 0
    for _, data in damaged(onnx_files.plain(), 120):
        path.write_bytes(data)
        try:
            load_onnx(path)
        except NetworkError:
            refused += 1
    assert refused > 50
