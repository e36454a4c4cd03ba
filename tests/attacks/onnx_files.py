"""Hostile ONNX files: lies about sizes, bombs, other people's files, loops, and formats in disguise."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.attacks.attack import Attack, Marker


def model(
    nodes: Sequence[Any], weights: Sequence[Any] = (), sizes: Sequence[Any] = ("batch", 2), domain: str = ""
) -> Any:
    """A model from x to y."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights), opset_imports=opsets)


def plain() -> bytes:
    weight = numpy_helper.from_array(np.eye(2, dtype=np.float32), "w")
    return bytes(model([helper.make_node("MatMul", ["x", "w"], ["y"])], [weight]).SerializeToString())


def _weight(dims: Sequence[int], data: bytes = b"\0" * 8, **more: Any) -> bytes:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=data, **more)
    return bytes(model([helper.make_node("MatMul", ["x", "w"], ["y"])], [weight]).SerializeToString())


def external(location: str, **more: str) -> Callable[[Path], bytes]:
    def make(mark: Path) -> bytes:
        weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 2], data_location=TensorProto.EXTERNAL)
        for key, value in {"location": location.replace("MARK", str(mark)), **more}.items():
            weight.external_data.add(key=key, value=value)
        return bytes(model([helper.make_node("MatMul", ["x", "w"], ["y"])], [weight]).SerializeToString())

    return make


def linked(folder: Path, hard: bool) -> bytes:
    """A model whose data file is a link to a secret."""
    (folder / "secret").write_bytes(b"\1" * 64)
    (os.link if hard else os.symlink)(folder / "secret", folder / "w.bin")
    return external("w.bin")(folder)


def _ints(name: str, *values: int) -> Any:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def _bomb(op: str, *more: Any, inputs: Sequence[str] = (), **attributes: Any) -> bytes:
    """A node that makes a huge value of little, added to x."""
    nodes = [helper.make_node(op, [*inputs], ["big"], **attributes),
             helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
             helper.make_node("Add", ["x", "sum"], ["y"])]  # fmt: skip
    return bytes(model(nodes, more).SerializeToString())


def _doubling(count: int) -> bytes:
    """Each node makes twice as much as the one before."""
    names = ["x", *(f"v{i}" for i in range(count)), "y"]
    nodes = [helper.make_node("Concat", [a, a], [b], axis=1) for a, b in zip(names, names[1:])]
    return bytes(model(nodes).SerializeToString())


def _many(count: int) -> bytes:
    """A model of many nodes, without making each by itself."""
    one = helper.make_node("Relu", ["x"], ["y"]).SerializeToString()
    graph = (b"\x0a" + bytes([len(one)]) + one) * count
    size, length = len(graph), b""
    while size >= 0x80:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return b"\x08\x08\x3a" + length + bytes([size]) + graph


def _nested(depth: int) -> bytes:
    """If in If in If."""
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["r"])], "leaf", [], [])
    data = graph.SerializeToString()

    def wrapped(tag: int, content: bytes) -> bytes:
        size, length = len(content), b""
        while size >= 0x80:
            length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
        return bytes([tag]) + length + bytes([size]) + content

    for _ in range(depth):
        attribute = wrapped(0x0A, b"then_branch") + wrapped(0x32, data)
        data = wrapped(0x0A, wrapped(0x22, b"If") + wrapped(0x2A, attribute))
    return b"\x08\x08" + wrapped(0x3A, data)


def _loop() -> bytes:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["v", "v"], ["w"])], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("go", 9, []),
         helper.make_tensor_value_info("v", 1, None)],
        [helper.make_tensor_value_info("on", 9, []), helper.make_tensor_value_info("w", 1, None)])  # fmt: skip
    node = helper.make_node("Loop", ["n", "", "x"], ["y"], "forever", body=body)
    return bytes(model([node], [_ints("n", 2**62)]).SerializeToString())


def _branch() -> bytes:
    branch = helper.make_graph([helper.make_node("Relu", ["x"], ["r"])], "b", [],
                               [helper.make_tensor_value_info("r", 1, None)])  # fmt: skip
    nodes = [helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0), helper.make_node("Cast", ["s"], ["c"], to=9),
             helper.make_node("If", ["c"], ["y"], "choice", then_branch=branch, else_branch=branch)]  # fmt: skip
    return bytes(model(nodes).SerializeToString())


def _custom() -> bytes:
    node = helper.make_node("Run", ["x"], ["y"], "evil", domain="lib.so", library="/tmp/evil.so")
    return bytes(model([node], domain="lib.so").SerializeToString())


def _function() -> bytes:
    made = onnx.ModelProto.FromString(plain())
    made.functions.append(helper.make_function("own", "F", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])],
                                               [helper.make_opsetid("", 18)]))  # fmt: skip
    return bytes(made.SerializeToString())


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("evil.py", b"1")
    return out.getvalue()


def _lstm(hidden: int) -> bytes:
    """Weights of no size at all: nothing in the file, everything in the hidden state."""
    weights = [TensorProto(name=n, data_type=1, dims=d) for n, d in (("w", [1, 4 * hidden, 0]), ("r", [1, 0, hidden]))]
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=hidden)
    return bytes(model([node], weights, (5, "batch", 2)).SerializeToString())


def _cycle() -> bytes:
    nodes = [helper.make_node("Relu", ["b"], ["a"]), helper.make_node("Relu", ["a"], ["b"]),
             helper.make_node("Add", ["a", "x"], ["y"])]  # fmt: skip
    return bytes(model(nodes).SerializeToString())


def _convolution() -> bytes:
    """Few numbers, some 10 to the 13 multiplications."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[511] * 4),
             helper.make_node("ReduceSum", ["c"], ["y"], keepdims=0)]  # fmt: skip
    weight = TensorProto(name="w", data_type=1, dims=[1, 1, 1024, 1024], raw_data=bytes(4 * 2**20))
    return bytes(model(nodes, [weight], ("batch", 1, 4096, 4096)).SerializeToString())


ATTACKS = [
    Attack("external data", "a.onnx", external("w.bin"), "another file"),
    Attack("external data above", "a.onnx", external("../../etc/hostname"), "another file"),
    Attack("dims of 2^60", "a.onnx", lambda _: _weight([2**60]), "8 bytes"),
    Attack("dims whose product overflows to 2", "a.onnx", lambda _: _weight([2**32, 2**32, 2]), "8 bytes"),
    Attack("negative dims", "a.onnx", lambda _: _weight([-1, -2]), "none negative"),
    Attack("a thousand dims", "a.onnx", lambda _: _weight([1] * 1000), "at most 16"),
    Attack("typed data too short", "a.onnx", lambda _: _weight([4, 4], b"", float_data=[1.0]), "1 numbers"),
    Attack("ConstantOfShape of 10^10", "a.onnx",
           lambda _: _bomb("ConstantOfShape", _ints("n", 10**10), inputs=["n"]), "at most 134217728"),
    Attack("Expand to 10^10", "a.onnx",
           lambda _: _bomb("Expand", _ints("n", 10**5, 10**5, 2), inputs=["x", "n"]), "at most 134217728|fit"),
    Attack("Tile 10^10 times", "a.onnx",
           lambda _: _bomb("Tile", _ints("n", 10**5, 10**5), inputs=["x", "n"]), "at most 134217728"),
    Attack("Range to 2^62", "a.onnx",
           lambda _: _bomb("Range", *(numpy_helper.from_array(np.array(v), n) for n, v in
                                      (("a", 0), ("b", 2**62), ("c", 1))), inputs=["a", "b", "c"]), "at most"),
    Attack("Range without end", "a.onnx",
           lambda _: _bomb("Range", *(numpy_helper.from_array(np.array(v), n) for n, v in
                                      (("a", 0), ("b", 5), ("c", 0))), inputs=["a", "b", "c"]), "not zero"),
    Attack("Pad by 10^10", "a.onnx",
           lambda _: _bomb("Pad", _ints("n", 0, 0, 0, 10**10), inputs=["x", "n"]), "at most 134217728"),
    Attack("Resize by 10^9", "a.onnx",
           lambda _: _bomb("Resize", numpy_helper.from_array(np.array([1e9, 1e9], dtype=np.float32), "s"),
                           inputs=["x", "", "s"]), "at most 134217728"),
    Attack("OneHot of 10^10", "a.onnx",
           lambda _: _bomb("OneHot", _ints("i", 0, 1), _ints("d", 10**10), _ints("v", 0, 1), inputs=["i", "d", "v"]),
           "at most 134217728"),
    Attack("forty doublings", "a.onnx", lambda _: _doubling(40), "at most 134217728"),
    Attack("a million nodes", "a.onnx", lambda _: _many(1_000_000), "more than 20000 nodes"),
    Attack("a thousand If", "a.onnx", lambda _: _nested(1000), "nested deeper"),
    Attack("Loop of 2^62", "a.onnx", lambda _: _loop(), "Loop 'forever'"),
    Attack("If on a value", "a.onnx", lambda _: _branch(), "If 'choice'"),
    Attack("custom domain", "a.onnx", lambda _: _custom(), "lib.so::Run"),
    Attack("functions of its own", "a.onnx", lambda _: _function(), "functions"),
    Attack("hidden state without weights", "a.onnx", lambda _: _lstm(10**9), "."),
    Attack("a cycle", "a.onnx", lambda _: _cycle(), "before it is made"),
    Attack("ten thousand billion products", "a.onnx", lambda _: _convolution(), "multiplications"),
    Attack("pickle behind", "a.onnx", lambda mark: plain() + pickle.dumps(Marker(mark)), "no model has"),
    Attack("zip behind", "a.onnx", lambda _: plain() + _zip(), "no model has"),
    Attack("pickle", "a.onnx", lambda mark: pickle.dumps(Marker(mark), 0), "."),
    Attack("empty", "a.onnx", lambda _: b"", "."),
    Attack("length beyond the end", "a.onnx", lambda _: b"\x08\x08\x3a\xff\xff\xff\xff\x7f", "."),
]  # fmt: skip
