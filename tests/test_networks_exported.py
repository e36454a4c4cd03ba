"""Programs of torch.export: read, run in the loop, and never anything run that the file holds."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from simdl.errors import NetworkError
from simdl.networks import Network, load_exported

Model = dict[str, Any]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(2, 8), nn.Linear(8, 1)
        self.register_buffer("scale", torch.tensor([2.0]))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(torch.tanh(self.first(x))) * self.scale
        return result


@cache
def plain() -> bytes:
    """A program of `Net`, exported once."""
    out = io.BytesIO()
    program = torch.export.export(Net().eval(), (torch.randn(4, 2),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.export.save(program, out)
    return out.getvalue()


def exported(path: Path, module: nn.Module, lanes: int = 4, dynamic: bool = True, features: int = 2) -> Path:
    if type(module) is Net and lanes == 4 and dynamic:
        path.write_bytes(plain())
        return path
    shapes = ({0: torch.export.Dim.DYNAMIC},) if dynamic else None
    program = torch.export.export(module, (torch.randn(lanes, features),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None], more: dict[str, bytes] | None = None) -> Path:
    """The archive with members changed (None drops one) and others added."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(members)).partition("/")[0]
    out = path.with_name("changed.pt2")
    with zipfile.ZipFile(out, "w") as made:
        for name, content in members.items():
            new = change(name.partition("/")[2], content)
            if new is not None:
                made.writestr(name, new)
        for name, content in (more or {}).items():
            made.writestr(f"{root}/{name}", content)
    return out


def of_model(change: Callable[[Model], None]) -> Callable[[str, bytes], bytes]:
    def edit(name: str, content: bytes) -> bytes:
        if not name.startswith("models/"):
            return content
        model = json.loads(content)
        change(model)
        return json.dumps(model).encode()

    return edit


def same(name: str, content: bytes) -> bytes:
    return content


class Marker:
    """A pickle that makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_an_exported_program_is_a_network(tmp_path: Path) -> None:
    module = Net().eval()
    net = Network(load_exported(exported(tmp_path / "a.pt2", module)), inputs=("a", "b"), outputs=("y",), period="1 s")
    x = torch.randn(50, 2, dtype=torch.float64)
    found = net.step(*x.unbind(1))["y"]
    assert torch.allclose(found, module(x.float())[:, 0].double(), atol=1e-6)
    assert torch.equal(net.step(*x[41:42].unbind(1))["y"][0], found[41])


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_program_for_a_fixed_batch_is_called_with_that_many_lanes(tmp_path: Path, lanes: int) -> None:
    module = Net().eval()
    loaded = load_exported(exported(tmp_path / "a.pt2", module, lanes=lanes, dynamic=False))
    assert loaded.simdl_lanes == lanes
    net = Network(loaded, inputs=("a", "b"), outputs=("y",), period="1 s", mode="fast")
    x = torch.randn(7, 2, dtype=torch.float64)
    assert torch.allclose(net.step(*x.unbind(1))["y"], module(x.float())[:, 0].double(), atol=1e-6)


def test_weights_of_a_program_can_be_trained(tmp_path: Path) -> None:
    loaded = load_exported(exported(tmp_path / "a.pt2", Net().eval()))
    net = Network(loaded, inputs=("a", "b"), outputs=("y",), period="1 s")
    net.step(torch.ones(2), torch.ones(2))["y"].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in loaded.parameters())


def test_a_program_exported_in_training_mode_is_refused(tmp_path: Path) -> None:
    for module in (nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5)), nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))):
        with pytest.raises(NetworkError, match=r"training mode[\s\S]*module\.eval\(\)"):
            load_exported(exported(tmp_path / "a.pt2", module.train()))


def test_convolutions_recurrent_layers_and_sizes_are_plain_operators(tmp_path: Path) -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.look, self.rnn = nn.Conv1d(1, 4, 3, padding=1), nn.GRU(4, 3, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            y = self.look(x[:, None])
            return self.rnn(y.transpose(1, 2))[0].reshape(x.shape[0], -1)[:, : x.shape[1] // 2]

    module = Mixed().eval()
    loaded = load_exported(exported(tmp_path / "a.pt2", module, features=6))
    x = torch.randn(5, 6)
    assert torch.allclose(loaded(x), module(x), atol=1e-6)


# -- attacks ----------------------------------------------------------------------------------------------------------


def test_pickles_of_sample_inputs_are_left_out(tmp_path: Path) -> None:
    """torch unpickles them with full rights when it cannot read them as tensors."""
    path, marker = exported(tmp_path / "a.pt2", Net().eval()), tmp_path / "made"
    out = io.BytesIO()
    torch.save(((Marker(marker),), {}), out)
    hostile = rewritten(path, lambda n, c: out.getvalue() if n.startswith("data/sample_inputs/") else c)
    pickle.loads(pickle.dumps(Marker(marker)))
    assert marker.exists()  # the pickle would do what it says
    marker.unlink()
    assert isinstance(load_exported(hostile), nn.Module)
    assert not marker.exists()


def test_guards_are_left_out(tmp_path: Path) -> None:
    """torch executes them as Python source when the program becomes a module."""
    path, marker = exported(tmp_path / "a.pt2", Net().eval()), tmp_path / "made"
    code = f"__import__('pathlib').Path({str(marker)!r}).touch() is None"
    hostile = rewritten(path, of_model(lambda model: model.update(guards_code=[code])))
    module = load_exported(hostile)
    module(torch.zeros(4, 2))
    assert not marker.exists()


@pytest.mark.parametrize("folder", ["weights", "constants"])
def test_weights_and_constants_stored_as_pickles_are_refused(tmp_path: Path, folder: str) -> None:
    path, marker = exported(tmp_path / "a.pt2", Net().eval()), tmp_path / "made"

    def edit(name: str, content: bytes) -> bytes:
        if not name.endswith(f"model_{folder}_config.json"):
            return content
        config = json.loads(content)
        config["config"]["evil"] = {
            "path_name": "custom_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None,
        }  # fmt: skip
        return json.dumps(config).encode()

    hostile = rewritten(path, edit, {f"data/{folder}/custom_obj_0": pickle.dumps(Marker(marker))})
    with pytest.raises(NetworkError, match="evil is stored as a pickle"):
        load_exported(hostile)
    assert not marker.exists()


def target(name: str) -> Callable[[Model], None]:
    def change(model: Model) -> None:
        model["graph_module"]["graph"]["nodes"][0]["target"] = name

    return change


def shape(text: str) -> Callable[[Model], None]:
    def change(model: Model) -> None:
        values = model["graph_module"]["graph"]["tensor_values"]
        next(iter(values.values()))["sizes"][0] = {"as_expr": {"expr_str": text, "hint": {"as_int": 4}}}

    return change


def named(name: str) -> Callable[[Model], None]:
    def change(model: Model) -> None:
        model["graph_module"]["graph"]["inputs"][-1]["as_tensor"]["name"] = name

    return change


def arguments(name: str) -> Callable[[Model], None]:
    def change(model: Model) -> None:
        model["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"] = [name]

    return change


def layout(text: str) -> Callable[[Model], None]:
    def change(model: Model) -> None:
        model["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = text

    return change


def deep(model: Model) -> None:
    value: Any = {}
    for _ in range(100):
        value = {"a": value}
    model["graph_module"]["metadata"]["deep"] = value
    model["more"] = value


HOSTILE: list[tuple[str, Callable[[Model], None], str]] = [
    ("system", target("torch.serialization.os.system"), "operator"),
    ("hub", target("torch.hub.load"), "operator"),
    ("methodcaller", target("_operator.methodcaller"), "operator"),
    ("from_file", target("torch.ops.aten.from_file.default"), "operator"),
    ("extension", target("#evil:op"), "operator"),
    ("other library", target("torch.ops.evil.run.default"), "operator"),
    ("expression that calls", shape("__import__('os').system('true')"), "shape"),
    ("expression of another word", shape("eval"), "shape"),
    ("expression that grows", shape("9**9**9**9"), "shape"),
    ("attribute", shape("Symbol('s0').func"), "shape"),
    ("source text as a name", named("x\nimport os\nx"), "identifier"),
    ("source text as an argument", arguments("x=print('a')"), "identifier"),
    ("a class in the layout", layout('{"__enum__": true, "fqn": "os:name", "name": "a"}'), "layout"),
    ("nested too deep", deep, "nested deeper"),
]


@pytest.mark.parametrize(("change", "message"), [h[1:] for h in HOSTILE], ids=[h[0] for h in HOSTILE])
def test_hostile_programs_are_refused(tmp_path: Path, change: Callable[[Model], None], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        load_exported(rewritten(exported(tmp_path / "a.pt2", Net().eval()), of_model(change)))


def test_native_code_foreign_members_and_bombs_are_refused(tmp_path: Path) -> None:
    path = exported(tmp_path / "a.pt2", Net().eval())
    with pytest.raises(NetworkError, match="native code"):
        load_exported(rewritten(path, same, {"data/aotinductor/model/a.so": b"\x7fELF"}))
    with pytest.raises(NetworkError, match="names inside the archive"):
        load_exported(rewritten(path, same, {"../../escaped": b"x"}))
    with pytest.raises(NetworkError, match="2 programs"):
        load_exported(rewritten(path, same, {"models/other.json": b"{}"}))
    with pytest.raises(NetworkError, match="0 programs"):
        load_exported(rewritten(path, lambda n, c: None if n.startswith("models/") else c))
    with zipfile.ZipFile(tmp_path / "bomb.pt2", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("a/models/model.json", b" " * 50_000_000)
    with pytest.raises(NetworkError, match="at most 100 times"):
        load_exported(tmp_path / "bomb.pt2")
    with zipfile.ZipFile(tmp_path / "two.pt2", "w") as two:
        two.writestr("a/models/model.json", b"{}")
        two.writestr("b/models/model.json", b"{}")
    with pytest.raises(NetworkError, match="several folders"):
        load_exported(tmp_path / "two.pt2")


def test_every_truncation_is_a_network_error(tmp_path: Path) -> None:
    data = exported(tmp_path / "a.pt2", Net().eval()).read_bytes()
    short = tmp_path / "short.pt2"
    for length in range(0, len(data), max(1, len(data) // 40)):
        short.write_bytes(data[:length])
        with pytest.raises(NetworkError):
            load_exported(short)


def test_other_files_are_refused(tmp_path: Path) -> None:
    for name, content in (("a.pt2", b""), ("b.pt2", pickle.dumps(1)), ("c.pt2", b"\x08\x07" * 100)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(NetworkError, match=r"no archive[\s\S]*torch\.export\.save"):
            load_exported(tmp_path / name)
    with pytest.raises(NetworkError, match="no such file"):
        load_exported(tmp_path / "none.pt2")
