"""Rows K1 to K4: code in configurations, archives, sizes, and HDF5 that points elsewhere."""

from __future__ import annotations

import base64
import io
import json
import marshal
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.attacks.archives import archive_attacks
from tests.attacks.attack import Attack, damaged, unzipped, zipped

Config = dict[str, Any]


def layer(kind: str, name: str, **config: Any) -> Config:
    return {"module": "keras.layers", "class_name": kind, "config": {"name": name, "dtype": "float32", **config},
            "registered_name": None}  # fmt: skip


def sequential(*layers: Config) -> Config:
    first = layer("InputLayer", "in", batch_shape=[None, 2])
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "net", "layers": [first, *layers]},
            "registered_name": None}  # fmt: skip


def dense(**more: Any) -> Config:
    return layer("Dense", "d", **{"units": 3, "activation": "linear", "use_bias": False, **more})


def weights(change: Callable[[h5py.File], None] | None = None, **options: Any) -> bytes:
    """The HDF5 of one dense layer, changed."""
    out = io.BytesIO()
    with h5py.File(out, "w", **options) as file:
        file["layers/dense/vars/0"] = np.ones((2, 3), dtype="float32")
        if change is not None:
            change(file)
    return out.getvalue()


def keras_file(config: Config | bytes, numbers: bytes | None = None) -> bytes:
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    return zipped([("metadata.json", b'{"keras_version": "3.15.1"}'), ("config.json", text),
                   ("model.weights.h5", weights() if numbers is None else numbers)])  # fmt: skip


@cache
def plain() -> bytes:
    """A good .keras file."""
    return keras_file(sequential(dense()))


def legacy(config: Config | bytes, change: Callable[[h5py.File], None] | None = None) -> bytes:
    """A .h5 file of one dense layer, changed."""
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file.attrs["model_config"] = config if isinstance(config, bytes) else json.dumps(config)
        file.attrs["keras_version"] = "3.15.1"
        group = file.create_group("model_weights/d")
        group.attrs["weight_names"] = [b"kernel"]
        group["kernel"] = np.ones((2, 3), dtype="float32")
        if change is not None:
            change(file)
    return out.getvalue()


def code(mark: Path) -> str:
    """Marshalled code as Keras keeps a lambda."""
    program = compile(f"__import__('os').mkdir({str(mark)!r})", "<lambda>", "eval")
    return base64.b64encode(marshal.dumps(program)).decode()


def lambda_layer(mark: Path) -> Config:
    return layer("Lambda", "code", function={"class_name": "__lambda__", "config": {"code": code(mark)}})


def executed(mark: Path) -> Config:
    return layer("Lambda", "code", function={"module": "builtins", "class_name": "function", "config": "exec"},
                 arguments={"source": f"__import__('os').mkdir({str(mark)!r})"})  # fmt: skip


def of(name: str, config: Callable[[Path], Config], message: str) -> list[Attack]:
    """The same configuration in both formats."""
    return [Attack(f"keras: {name}", "net.keras", lambda mark: keras_file(config(mark)), message),
            Attack(f"h5: {name}", "net.h5", lambda mark: legacy(config(mark)), message)]  # fmt: skip


def nested(depth: int) -> Config:
    found = sequential(dense())
    for _ in range(depth):
        found = sequential(found)
    return found


def circle() -> Config:
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": ["d", 0, 0]}}
    looped = {**dense(), "name": "d", "inbound_nodes": [{"args": [tensor], "kwargs": {}}]}
    start = {**layer("InputLayer", "in", batch_shape=[None, 2]), "name": "in", "inbound_nodes": []}
    return {"module": "keras", "class_name": "Functional", "registered_name": "Functional",
            "config": {"name": "net", "layers": [start, looped], "input_layers": [["in", 0, 0]],
                       "output_layers": [["d", 0, 0]]}}  # fmt: skip


CONFIGS: list[Attack] = [
    *of("Lambda of marshalled code", lambda mark: sequential(lambda_layer(mark)), "Python code of the file"),
    *of("Lambda of builtins.exec", lambda mark: sequential(executed(mark)), "Python code of the file"),
    *of("a class of os", lambda mark: sequential({**dense(), "module": "os"}), "a class of 'os'"),
    *of("a class of subprocess", lambda mark: sequential(
        {**layer("Popen", "d", args=["mkdir", str(mark)]), "module": "subprocess"}), "not known"),
    *of("a registered class", lambda mark: sequential({**dense(), "registered_name": "Evil>Dense"}), "registered as"),
    *of("TFSMLayer", lambda mark: sequential(layer("TFSMLayer", "t", filepath="/tmp/evil")), "not known"),
    *of("code as an activation", lambda mark: sequential(dense(activation={
        "class_name": "__lambda__", "config": {"code": code(mark)}})), "activation"),
    *of("an activation of builtins", lambda mark: sequential(dense(activation={
        "module": "builtins", "class_name": "function", "config": "exec", "registered_name": "function"})),
        "activation"),
    *of("a shape of terabytes", lambda mark: sequential(layer("RepeatVector", "r", n=2**24), dense()), "numbers|fit"),
    *of("padding of terabytes", lambda mark: sequential(
        layer("Reshape", "r", target_shape=[1, 2]), layer("ZeroPadding1D", "z", padding=[2**16, 2**16]),
        layer("UpSampling1D", "u", size=2**24)), "numbers"),
    *of("sizes beyond any number", lambda mark: sequential(dense(units=10**400)), "whole number|too large|digits"),
    *of("units that are text", lambda mark: sequential(dense(units="3")), "whole number"),
    *of("units that no weight has", lambda mark: sequential(dense(units=2**20)), "weights of shape"),
    *of("layers in a circle", lambda mark: circle(), "circle"),
    *of("models 100 deep", lambda mark: nested(100), "nested|inside"),
    *of("30 000 layers", lambda mark: sequential(*[layer("ReLU", f"r{n}") for n in range(30_000)]), "at most 10000"),
    *of("no layers", lambda mark: {"class_name": "Sequential", "config": {"layers": []}}, "layers"),
    *of("a model of another class", lambda mark: {**sequential(dense()), "class_name": "Evil"}, "model of class"),
    *of("the type of a string", lambda mark: sequential(dense(dtype="string")), "type"),
    Attack("keras: NaN", "net.keras", lambda mark: keras_file(b'{"class_name": NaN}'), "NaN"),
    Attack("keras: a key twice", "net.keras", lambda mark: keras_file(b'{"a": 1, "a": 2}'), "twice"),
    Attack("keras: a list", "net.keras", lambda mark: keras_file(b"[]"), "is list"),
    Attack("keras: deep JSON", "net.keras", lambda mark: keras_file(b'{"a":' + b"[" * 10**5), "nested|JSON"),
    Attack("keras: 300 MB of blanks", "net.keras",
           lambda mark: zipped([("metadata.json", b"{}"), ("config.json", b" " * 300_000_000),
                                ("model.weights.h5", weights())], zipfile.ZIP_DEFLATED), "unpack"),
    Attack("keras: 20 MB of JSON", "net.keras", lambda mark: keras_file(b" " * 20_000_000), "at most"),
    Attack("keras: another member", "net.keras",
           lambda mark: zipped([*unzipped(plain()).items(), ("evil.py", b"x")]), "the member"),
    Attack("keras: no weights", "net.keras",
           lambda mark: zipped([(n, d) for n, d in unzipped(plain()).items() if "h5" not in n]), "no model.weights.h5"),
]  # fmt: skip


def in_h5(name: str, change: Callable[[h5py.File], None], message: str) -> list[Attack]:
    """The same thing inside the HDF5 of both formats."""
    config = sequential(dense())
    return [Attack(f"keras: {name}", "net.keras", lambda mark: keras_file(config, weights(change)), message),
            Attack(f"h5: {name}", "net.h5", lambda mark: legacy(config, change), message)]  # fmt: skip


def put(name: str, value: Any) -> Callable[[h5py.File], None]:
    return lambda file: file.__setitem__(name, value)


def one_weight(file: h5py.File) -> None:
    """Of a dense layer with one input and one output, the identity."""
    del file["model_weights/d/kernel"]
    file["model_weights/d/kernel"] = np.ones((1, 1), dtype="float32")


def sparse(file: h5py.File) -> None:
    file.create_dataset("more", (2**20, 2**20), dtype="float32", chunks=(1024, 1024))


def packed(file: h5py.File) -> None:
    file.create_dataset("more", data=np.zeros(40_000_000, dtype="float32"), compression="gzip")


def outside(file: h5py.File) -> None:
    file.create_dataset("more", (100,), dtype="uint8", external=[("/etc/passwd", 0, 100)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), dtype="float32")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", (4,))
    file.create_virtual_dataset("more", layout)


def circular(file: h5py.File) -> None:
    inner = file.create_group("a/b")
    inner["back"] = file["a"]


def deep(file: h5py.File) -> None:
    file.create_group("/".join("g" * 100))


def crowd(file: h5py.File) -> None:
    group = file.create_group("many")
    for number in range(20_001):
        group[f"{number}"] = h5py.SoftLink("/a")


HDF5: list[Attack] = [
    *in_h5("an external link", put("more", h5py.ExternalLink("/etc/passwd", "/x")), "another place or another file"),
    *in_h5("a soft link", put("more", h5py.SoftLink("/layers")), "another place or another file"),
    *in_h5("numbers kept in another file", outside, "other files"), *in_h5("a virtual set", virtual, "other files"),
    *in_h5("objects", lambda f: f.create_dataset("more", (1,), dtype=h5py.string_dtype()), "values of type"),
    *in_h5("references", lambda f: f.create_dataset("more", (1,), dtype=h5py.ref_dtype), "values of type"),
    *in_h5("a compound type", lambda f: f.create_dataset("more", (1,), dtype=[("a", "f4")]), "values of type"),
    *in_h5("bytes", lambda f: f.create_dataset("more", (1,), dtype="V100"), "values of type"),
    *in_h5("a terabyte that is not there", sparse, "of which 0 are stored"), *in_h5("packed zeros", packed, "stored"),
    *in_h5("a filter that is a plugin", lambda f: f.create_dataset("more", (10,), dtype="f4", chunks=(10,),
                                                                 compression="lzf"), "plugin"),
    *in_h5("a group inside itself", circular, "two places"), *in_h5("groups 100 deep", deep, "too deeply"),
    *in_h5("20 000 links", crowd, "objects"), *in_h5("a named type", put("more", np.dtype("f4")), "a type"),
    Attack("h5: weights alone", "net.h5", lambda mark: weights(), "without a model"),
    Attack("h5: a configuration of numbers", "net.h5", lambda mark: _numbers_as_config(), "texts"),
    Attack("h5: a million configurations", "net.h5", lambda mark: _many_configs(), "texts|damaged"),
    Attack("h5: names of weights that are not there", "net.h5", lambda mark: legacy(
        sequential(dense()), lambda f: f["model_weights/d"].attrs.__setitem__("weight_names", [b"../../x"])),
        "no weights"),
]  # fmt: skip
SHAPES: list[Attack] = [
    Attack("keras: weights of another shape", "net.keras", lambda mark: keras_file(
        sequential(dense(units=4))), "weights of shape"),
    Attack("h5: weights of another shape", "net.h5", lambda mark: legacy(sequential(dense(units=4))), "of shape"),
]  # fmt: skip


def _numbers_as_config() -> bytes:
    def change(file: h5py.File) -> None:
        file.attrs["model_config"] = np.zeros(10)

    return legacy(b"{}", change)


def _many_configs() -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w", libver="latest") as file:
        file.attrs.create("model_config", np.zeros(1_000_000, dtype="S8"))
    return out.getvalue()


ATTACKS = [*CONFIGS, *HDF5, *SHAPES, *archive_attacks(".keras", plain)]


def damages() -> list[tuple[str, str, bytes]]:
    return [*((f"keras: {name}", "net.keras", data) for name, data in damaged(plain(), 60)),
            *((f"h5: {name}", "net.h5", data) for name, data in damaged(legacy(sequential(dense())), 60))]  # fmt: skip
