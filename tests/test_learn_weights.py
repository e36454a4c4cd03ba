"""Weights are data: whatever else a file holds is told by its bytes and refused, and nothing in it runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from simdl.errors import NetworkError
from simdl.networks.weights import load_weights, save_weights, weights_about


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.GRU(4, 5))


class Boom:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def saved(value: object, **words: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **words)
    return buffer.getvalue()


def safetensors(header: dict[str, Any] | bytes, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(shape: list[int], first: int, last: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".onnx", ""])
@pytest.mark.parametrize("writer", ["save_weights", "torch.save"])
def test_weights_come_back_whatever_the_name_says(tmp_path: Path, writer: str, suffix: str) -> None:
    path, state = tmp_path / f"weights{suffix}", module().state_dict()
    if writer == "save_weights":
        save_weights(state, path)
    else:
        torch.save(state, path)
    found = load_weights(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) and found[name].dtype == state[name].dtype for name in state)
    module().load_state_dict(found)


def test_equal_weights_give_equal_bytes_and_keep_their_note(tmp_path: Path) -> None:
    hashes = [save_weights(module(), tmp_path / name, about={"rate": "10 Hz", "b": [1]}) for name in "ab"]
    assert hashes[0] == hashes[1] and (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert weights_about(tmp_path / "a") == {"rate": "10 Hz", "b": [1]}


def test_tied_parameters_can_be_saved(tmp_path: Path) -> None:
    a = nn.Linear(3, 3)
    b = nn.Linear(3, 3)
    b.weight = a.weight
    save_weights(nn.ModuleList([a, b]), tmp_path / "w")
    found = load_weights(tmp_path / "w")
    assert torch.equal(found["0.weight"], found["1.weight"])


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "w.pth"])
def test_a_pickle_is_refused_and_does_not_run(tmp_path: Path, protocol: int, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps({"weight": Boom(tmp_path / "mark")}, protocol))
    with pytest.raises(NetworkError) as error:
        load_weights(path)
    text = str(error.value)
    assert f"{name}: is a Python pickle (the name says {path.suffix}): to read it is to run what it holds" in text
    assert "expected: safetensors, or a state_dict saved by torch.save" in text and "fix: save it again with" in text
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_program_inside_an_archive_is_named_and_does_not_run(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(saved({"weight": Boom(tmp_path / "mark")}, pickle_protocol=protocol))
    with pytest.raises(NetworkError, match=r"the file would call (posix\.mkdir|something that it computes)"):
        load_weights(path)
    assert not (tmp_path / "mark").exists()


class Scripted(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def script() -> bytes:
    buffer = io.BytesIO()
    with pytest.warns(DeprecationWarning):
        torch.jit.save(torch.jit.script(Scripted()), buffer)
    return buffer.getvalue()


def exported() -> bytes:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(2, 1), (torch.ones(1, 2),)), buffer)
    return buffer.getvalue()


def archive(change: Callable[[str, bytes], list[tuple[str, bytes]]], value: object = None, **words: Any) -> bytes:
    """A file of torch.save with members changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(module().state_dict() if value is None else value))) as source:
        with zipfile.ZipFile(buffer, "w", **words) as target:
            for info in source.infolist():
                for name, data in change(info.filename, source.read(info)):
                    target.writestr(name, data)
    return buffer.getvalue()


STATE = {"weight": torch.ones(3)}
ATTACKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is a file without a byte"),
    "text": (lambda: b"weights, honestly", "is a file of unknown kind"),
    "numpy": (lambda: b"\x93NUMPY\x01\x00v\x00", "is a NumPy array"),
    "hdf5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(64), "is a HDF5 file"),
    "legacy": (lambda: saved(STATE, _use_new_zipfile_serialization=False), "is a legacy torch file"),
    "module": (lambda: saved(nn.Linear(2, 2)), "would call torch.nn.modules.linear.Linear"),
    "TorchScript": (script, "is a TorchScript program, not weights"),
    "exported": (exported, "is a torch.export program, not weights"),
    "list": (lambda: saved([torch.ones(2)]), "holds a list\n"),
    "tensor": (lambda: saved(torch.ones(2)), "holds a Tensor\n"),
    "checkpoint": (
        lambda: saved({"epoch": 3, "model": STATE, "loss": 0.5}),
        "'epoch' is a int, not a tensor\n.*\n  fix: save the entry 'model' alone: torch.save",
    ),
    "number for name": (lambda: saved({1: torch.ones(2)}), "holds a dict"),
    "zip bomb": (
        lambda: archive(lambda n, d: [(n, d)], {"a": torch.zeros(20_000_000)}, compression=zipfile.ZIP_DEFLATED),
        "unpacks from .* to 8000.*\n.*at most 100 times as many\n  fix: load_weights",
    ),
    "expanded": (lambda: saved({"a": torch.zeros(1).expand(10**9)}), "'a': more elements than numbers"),
    "zip then pickle": (lambda: saved(STATE) + pickle.dumps({}), "other bytes follow"),
    "zip cut": (lambda: saved(STATE)[:-30], "the archive is cut off"),
    "two pickles": (
        lambda: archive(lambda n, d: [(n, d), ("archive/more.pkl", d)][: 2 if "data.pkl" in n else 1]),
        "2 pickles",
    ),
    "climbing": (lambda: archive(lambda n, d: [(n.replace("archive/data/0", "archive/../../0"), d)]), "outside"),
    "absolute": (lambda: archive(lambda n, d: [(n.replace("archive/data/0", "/etc/0"), d)]), "outside"),
    "no storage": (lambda: archive(lambda n, d: [] if n.endswith("data/0") else [(n, d)]), "cannot be read as weights"),
    "short storage": (
        lambda: archive(lambda n, d: [(n, d[:1]) if n.endswith("data/0") else (n, d)]),
        "cannot be read as weights",
    ),
    "broken pickle": (
        lambda: archive(lambda n, d: [(n, d[:40]) if n.endswith("data.pkl") else (n, d)]),
        "damaged pickle",
    ),
    "plain zip": (lambda: archive(lambda n, d: []), "file of unknown kind|cut off"),
    "header beyond the end": (lambda: struct.pack("<Q", 2**40) + b"{}", "unknown kind"),
    "header 2^63": (lambda: struct.pack("<Q", 2**63) + b"{}", "unknown kind"),
    "header cut": (lambda: safetensors({"a": tensor([1], 0, 4)}, bytes(4))[:20], "truncated: 20 bytes"),
    "tensors cut": (lambda: safetensors({"a": tensor([4], 0, 16)}, bytes(15)), "truncated: .*\n  expected: .* bytes"),
    "safetensors then pickle": (
        lambda: safetensors({"a": tensor([1], 0, 4)}, bytes(4) + pickle.dumps({})),
        "5 bytes after",
    ),
    "overlap": (lambda: safetensors({"a": tensor([2], 0, 8), "b": tensor([2], 4, 12)}, bytes(12)), "overlap"),
    "gap": (lambda: safetensors({"a": tensor([1], 4, 8)}, bytes(8)), "leave a gap at byte 0"),
    "same bytes twice": (lambda: safetensors({"a": tensor([1], 0, 4), "b": tensor([1], 0, 4)}, bytes(4)), "overlap"),
    "twice": (lambda: safetensors(b'{"a":1,"a":2}'), "the key 'a' occurs twice"),
    "overflow": (lambda: safetensors({"a": tensor([2**40, 2**40], 0, 4)}, bytes(4)), "'a': 4 bytes\n"),
    "negative": (lambda: safetensors({"a": tensor([-1], 0, 4)}, bytes(4)), "cannot be read"),
    "unknown type": (lambda: safetensors({"a": tensor([1], 0, 4, "PICKLE")}, bytes(4)), "cannot be read: KeyError"),
    "NaN in the header": (lambda: safetensors(b'{"a":NaN}'), "NaN is not a number"),
    "nested": (lambda: safetensors(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "nested too deeply"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ATTACKS)
def test_what_is_not_weights_is_refused_with_a_reason(tmp_path: Path, name: str) -> None:
    make, message = ATTACKS[name]
    path = tmp_path / "w.bin"
    path.write_bytes(make())
    with pytest.raises(NetworkError, match=message) as error:
        load_weights(path)
    assert str(error.value).startswith(str(path)) and len(str(error.value)) < 900
    assert [p.name for p in tmp_path.iterdir()] == ["w.bin"]


def test_sizes_are_limited_and_the_limit_can_be_raised(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(archive(lambda n, d: [(n, d)], {"a": torch.zeros(1_000_000)}, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(NetworkError, match="unpacks from 3"):
        load_weights(path)
    assert load_weights(path, ratio=1e4)["a"].shape == (1_000_000,)
    save_weights({"a": torch.zeros(1000)}, path)
    with pytest.raises(NetworkError, match="bytes\n  expected: at most 1000\n  fix: load_weights\\(path, limit=…\\)"):
        load_weights(path, limit=1000)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in [
        (tmp_path, "a folder, a pipe"),
        (tmp_path / "pipe", "a pipe"),
        (Path("/dev/zero"), "a device"),
        (tmp_path / "nowhere", "cannot be read: No such file"),
    ]:
        with pytest.raises(NetworkError, match=message):
            load_weights(path)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["safetensors", "archive"]), st.integers(0, 10**6), st.integers(0, 7), st.booleans())
def test_a_flipped_bit_or_a_cut_is_an_error_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, kind: str, at: int, bit: int, cut: bool
) -> None:
    state = {"a": torch.arange(6.0), "b": torch.ones(2, dtype=torch.int64)}
    path = tmp_path_factory.getbasetemp() / f"flip-{kind}"
    if kind == "archive":
        torch.save(state, path)
    else:
        save_weights(state, path)
    data = bytearray(path.read_bytes())
    at %= len(data)
    if cut:
        data = data[:at]
    else:
        data[at] ^= 1 << bit
    path.write_bytes(data)
    try:
        found = load_weights(path)
    except NetworkError:
        return
    assert not cut
    if kind == "archive":  # its entries have checksums; those of safetensors are kept by who names the file
        assert found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)


def test_what_is_not_a_tensor_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="epoch is a int\n  expected: a tensor for every name"):
        save_weights({"epoch": 3}, tmp_path / "w")  # type: ignore[dict-item]
    with pytest.raises(NetworkError, match="could not be written: No such file"):
        save_weights(module(), tmp_path / "nowhere" / "w")
