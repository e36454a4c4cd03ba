"""Rows M1 to M7: pickles, exported programs, TorchScript, safetensors and arrays."""

from __future__ import annotations

import io
import json
import pickle
import struct
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.attacks.archives import archive_attacks
from tests.attacks.attack import Attack, Marker, damaged, unzipped, zipped


@cache
def program() -> bytes:
    """A good .pt2 file."""
    out = io.BytesIO()
    module = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).eval()
    made = torch.export.export(module, (torch.zeros(2, 2),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.export.save(made, out)
    return out.getvalue()


@cache
def script() -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(nn.Linear(2, 1), torch.zeros(1, 2)), out)
    return out.getvalue()


def saved(value: object, **words: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **words)
    return out.getvalue()


def changed(change: Callable[[str, bytes, Path], bytes]) -> Callable[[Path], bytes]:
    """The good program with members changed."""
    return lambda mark: zipped([(name, change(name, data, mark)) for name, data in unzipped(program()).items()])


def model(change: Callable[[dict[str, Any], Path], None]) -> Callable[[Path], bytes]:
    """The good program with its graph changed."""

    def edit(name: str, data: bytes, mark: Path) -> bytes:
        if not name.endswith("models/model.json"):
            return data
        found = json.loads(data)
        change(found, mark)
        return json.dumps(found).encode()

    return changed(edit)


def pickled(folder: str, key: str = "use_pickle") -> Callable[[Path], bytes]:
    """A weight or constant that is a pickle."""

    def make(mark: Path) -> bytes:
        members = unzipped(program())
        root = next(iter(members)).partition("/")[0]
        place = f"{root}/data/{folder}/model_{folder}_config.json"
        config = json.loads(members[place])
        config["config"]["evil"] = {"path_name": "custom_obj_0", "is_param": False, key: True, "tensor_meta": None}
        members[place] = json.dumps(config).encode()
        members[f"{root}/data/{folder}/custom_obj_0"] = pickle.dumps(Marker(mark))
        return zipped(members.items())

    return make


def node(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], bytes]:
    return model(lambda found, mark: change(found["graph_module"]["graph"]["nodes"][0]))


def huge(found: dict[str, Any]) -> None:
    found["target"] = "torch.ops.aten.full.default"
    found["inputs"] = [{"name": "size", "arg": {"as_ints": [2**20, 2**20]}, "kind": 1}]


def header(value: dict[str, Any] | bytes, data: bytes = b"") -> bytes:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack("<Q", len(text)) + text + data


def one(shape: list[int], first: int, last: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


def npy(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def storage_bomb() -> bytes:
    import zipfile

    return zipped(unzipped(saved({"a": torch.zeros(64 * 2**20)})).items(), zipfile.ZIP_DEFLATED)


STATE = {"weight": torch.ones(3)}
PT2: list[Attack] = [
    Attack("pt2: weights as a pickle", "net.pt2", pickled("weights"), "stored as a pickle"),
    Attack("pt2: constant as a pickle", "net.pt2", pickled("constants"), "stored as a pickle"),
    Attack("pt2: operator of the system", "net.pt2", node(lambda n: n.update(target="os.system")), "operator"),
    Attack("pt2: operator through torch", "net.pt2",
           node(lambda n: n.update(target="torch.serialization.os.system")), "operator"),
    Attack("pt2: operator that opens files", "net.pt2",
           node(lambda n: n.update(target="torch.ops.aten.from_file.default")), "operator"),
    Attack("pt2: custom operator", "net.pt2", node(lambda n: n.update(target="torch.ops.evil.run.default")),
           "operator"),
    Attack("pt2: a value of 2^40 elements", "net.pt2", node(huge), "elements"),
    Attack("pt2: native code", "net.pt2", lambda mark: zipped(
        [*unzipped(program()).items(), ("archive/data/aotinductor/model/a.so", b"\x7fELF")]), "native code"),
    Attack("pt2: two programs", "net.pt2", lambda mark: zipped(
        [*unzipped(program()).items(), ("archive/models/other.json", b"{}")]), "2 programs"),
    Attack("pt2: no JSON", "net.pt2", changed(lambda n, d, m: b"\xff" if n.endswith("model.json") else d), "JSON"),
    Attack("pt2: deep JSON", "net.pt2",
           changed(lambda n, d, m: b'{"a":' + b"[" * 10**6 if n.endswith("model.json") else d), "JSON|unpack"),
]  # fmt: skip
# These are read, and what is hostile in them is left out.
HARMLESS: list[Attack] = [
    Attack("pt2: sample inputs that are a pickle", "net.pt2",
           changed(lambda n, d, mark: saved(((Marker(mark),), {})) if "sample_inputs" in n else d)),
    Attack("pt2: a pickle among extra files", "net.pt2", lambda mark: zipped(
        [*unzipped(program()).items(), ("archive/extra/a.pkl", pickle.dumps(Marker(mark)))])),
    Attack("pt2: guards that are source text", "net.pt2", model(lambda found, mark: found.update(
        guards_code=[f"__import__('os').mkdir({str(mark)!r}) is None"]))),
]  # fmt: skip
NAMED: list[Attack] = [
    *(Attack(f"a pickle of protocol {p} named net{suffix}", f"net{suffix}",
             lambda mark, p=p: pickle.dumps({"a": Marker(mark)}, p), "is a |no model card")
      for p, suffix in ((0, ".pt"), (2, ".onnx"), (4, ".keras"), (5, ".pt2"), (2, ".h5"), (4, ".nnet"), (0, ".polar"),
                        (4, ".safetensors"))),
    Attack("pt: a pickle in an archive", "net.pt", lambda mark: saved({"a": Marker(mark)}), "torch archive of weights"),
    Attack("pt: legacy", "net.pt", lambda mark: saved(STATE, _use_new_zipfile_serialization=False),
           "legacy torch file"),
    Attack("pt: TorchScript", "net.pt", lambda mark: script(), "TorchScript program"),
    Attack("pt2: TorchScript", "net.pt2", lambda mark: script(), "is a TorchScript program .the name says .pt2"),
    Attack("pt: bare weights", "net.pt", lambda mark: saved(STATE), "weights alone are no network"),
    Attack("onnx: is a program of torch", "net.onnx", lambda mark: program(), "is a torch.export program"),
    Attack("keras: is a program of torch", "net.keras", lambda mark: program(), "is a torch.export program"),
    Attack("h5: is text", "net.h5", lambda mark: b"// a comment\n1,1,1,1\n", "is a .nnet text"),
    Attack("onnx: is HDF5", "net.onnx", lambda mark: b"\x89HDF\r\n\x1a\n" + bytes(100), "is a HDF5 file"),
    Attack("nnet: is a program", "net.nnet", lambda mark: b"\x7fELF" + bytes(100), "is a program"),
    Attack("polar: is nothing", "net.polar", lambda mark: b"", "without a byte"),
    Attack("npy: 8 TB", "net.npy", lambda mark: npy("{'descr': '<f8', 'fortran_order': False, 'shape': (10**12,)}"),
           "NumPy array"),
    Attack("npy: objects", "net.npy", lambda mark: npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"),
           "NumPy array"),
]  # fmt: skip
WEIGHTS: list[Attack] = [
    Attack("weights: __reduce__", "w.pt", lambda mark: saved({"a": Marker(mark)}), "the file would call"),
    Attack("weights: storage bomb", "w.pt", lambda mark: storage_bomb(), "unpacks from"),
    Attack("weights: a stride of zero", "w.pt", lambda mark: saved({"a": torch.zeros(1).expand(2**40)}),
           "more elements"),
    Attack("weights: TorchScript", "w.pt", lambda mark: script(), "TorchScript"),
    Attack("weights: legacy", "w.pt", lambda mark: saved(STATE, _use_new_zipfile_serialization=False), "legacy"),
    Attack("weights: header of 2^63 bytes", "w.safetensors", lambda mark: struct.pack("<Q", 2**63) + b"{}", "unknown"),
    Attack("weights: header beyond the file", "w.safetensors", lambda mark: struct.pack("<Q", 2**26) + b"{}",
           "truncated"),
    Attack("weights: overlap", "w.safetensors",
           lambda mark: header({"a": one([2], 0, 8), "b": one([2], 4, 12)}, bytes(12)), "overlap"),
    Attack("weights: a key twice", "w.safetensors", lambda mark: header(b'{"a":1,"a":2}'), "occurs twice"),
    Attack("weights: shapes that overflow", "w.safetensors",
           lambda mark: header({"a": one([2**32, 2**32], 0, 4)}, bytes(4)), "4 bytes"),
    Attack("weights: then a pickle", "w.safetensors",
           lambda mark: header({"a": one([1], 0, 4)}, bytes(4) + pickle.dumps(Marker(mark))), "after the last tensor"),
    Attack("weights: then an archive", "w.safetensors",
           lambda mark: header({"a": one([1], 0, 4)}, bytes(4)) + saved(STATE), "after the last tensor"),
    Attack("weights: deep header", "w.safetensors",
           lambda mark: header(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "nested"),
]  # fmt: skip
ATTACKS = [*PT2, *NAMED, *archive_attacks(".pt2", program)]


def damages() -> list[tuple[str, bytes]]:
    return damaged(program(), 40)
