"""The graph of an ONNX file as plain values: nodes in order, weights by name, inputs and outputs with their sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simdl.errors import NetworkError
from simdl.networks.described import KEY
from simdl.networks.onnx.arrays import LARGEST, Arrays, torch_type
from simdl.networks.onnx.wire import WANTED, check_wire
from simdl.networks.weights import read_file

OPSETS = range(7, 29)
_STANDARD = ("", "ai.onnx")
_FLOAT, _INT, _STRING, _TENSOR, _GRAPH, _FLOATS, _INTS, _STRINGS = range(1, 9)


@dataclass(frozen=True)
class Node:
    """One operation; inputs and outputs are names of values, empty for those left out."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Value:
    """An input or output; sizes: a number, a name for one that is open, or None for an open one without a name."""

    name: str
    dtype: torch.dtype
    sizes: tuple[int | str | None, ...] | None


@dataclass(frozen=True)
class Graph:
    """What a file says, checked; constants: initialisers and the values of Constant nodes; about: the
    description that simdl left in a file that it exported, unread."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Tensor]
    opset: int
    producer: str
    about: str = ""


def read_graph(path: Path, trusted: bool, known: Mapping[str, Any]) -> tuple[Graph, bytes]:
    """The graph of a file and the file's bytes; known: the operators that can be converted, by name.

    Raises NetworkError for whatever is no plain graph of operators, and for all unknown operators at once.
    """
    where = str(path)
    data = read_file(path, LARGEST)
    check_wire(data, where)
    onnx = onnx_here(where)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # google.protobuf's DecodeError, whose module depends on its build
        raise NetworkError(where, f"cannot be parsed: {error!s:.200}", WANTED) from None
    try:
        return graph_of(model, where, path.parent if trusted else None, known), data
    except (TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:  # fields of a wrong kind
        raise NetworkError(where, f"is damaged: {error!s:.200}", WANTED) from None


def onnx_here(where: str) -> Any:
    try:
        import onnx
    except ImportError:
        raise NetworkError(where, "the package onnx is not installed", "it, to parse ONNX files",
                           "pip install 'simdl[onnx]'") from None  # fmt: skip
    return onnx


def graph_of(model: Any, where: str, folder: Path | None, known: Mapping[str, Any]) -> Graph:
    """The graph of a parsed model; folder: of external data, None where it is not allowed."""
    if model.functions:
        raise NetworkError(where, f"{len(model.functions)} functions of its own", "standard operators",
                           "where it was made: onnx.inliner.inline_local_functions(model)")  # fmt: skip
    opset = next((one.version for one in model.opset_import if one.domain in _STANDARD), 0)
    if opset not in OPSETS:
        raise NetworkError(where, f"opset {opset}", f"{OPSETS[0]} to {OPSETS[-1]}",
                           "onnx.version_converter.convert_version(model, 18)")  # fmt: skip
    read = Arrays(where, folder)
    proto = model.graph
    if proto.sparse_initializer:
        raise NetworkError(where, "sparse initialisers", "dense ones")
    constants: dict[str, Tensor] = {}
    for one in proto.initializer:
        _define(constants, one.name, read(one), where)
    nodes: list[Node] = []
    unknown: list[str] = []
    _read_nodes(proto.node, nodes, constants, unknown, read, known, where)
    if unknown:
        some = f" and {len(unknown) - 40} more" if len(unknown) > 40 else ""
        raise NetworkError(where, f"operators that are not converted: {', '.join(unknown[:40])}{some}",
                           "operators of feed-forward, convolutional, recurrent and attention networks",
                           "write them with standard operators where the model is made")  # fmt: skip
    for node in nodes:
        _check_complete(node, opset, where)
    inputs = tuple(_value(one, where) for one in proto.input if one.name not in constants)
    outputs = tuple(_value(one, where) for one in proto.output)
    defined = {*constants, *(one.name for one in inputs), ""}
    for node in nodes:
        missing = [name for name in node.inputs if name not in defined]
        again = [name for name in node.outputs if name in defined and name]
        if missing or again:
            found = f"reads {missing!s:.100} before it is made" if missing else f"makes {again!s:.100} a second time"
            raise NetworkError(f"{where}: {node.op} {node.name!r:.80}", found, "nodes in order")
        defined.update(node.outputs)
    lost = [one.name for one in outputs if one.name not in defined]
    if not inputs or not outputs or lost:
        raise NetworkError(where, f"{len(inputs)} inputs, {len(outputs)} outputs, {lost} not made", "some of each")
    about = next((one.value for one in model.metadata_props if one.key == KEY), "")
    return Graph(inputs, outputs, _used(nodes, outputs), constants, opset, f"{model.producer_name:.40}", about)


def _check_complete(node: Node, opset: int, where: str) -> None:
    """Refuses a node without an input or attribute that the standard of its opset requires."""
    from onnx import defs

    try:
        schema = defs.get_schema(node.op, opset, "")
    except defs.SchemaError:  # newer than its opset
        return
    single = defs.OpSchema.FormalParameterOption.Single
    lacking = [
        f"the input {one.name!r}" for number, one in enumerate(schema.inputs)
        if one.option == single and (number >= len(node.inputs) or not node.inputs[number])
    ]  # fmt: skip
    if not lacking and len(node.inputs) < schema.min_input:
        lacking = [f"{schema.min_input} inputs"]
    lacking += [f"the attribute {name!r}" for name, one in schema.attributes.items()
                if one.required and name not in node.attributes]  # fmt: skip
    if lacking:
        raise NetworkError(f"{where}: {node.op} {node.name!r:.80}", f"has not {' and '.join(lacking)}",
                           f"what the standard requires in opset {opset}",
                           "onnx.checker.check_model(path) where the model is made")  # fmt: skip


def _define(constants: dict[str, Tensor], name: str, value: Tensor, where: str) -> None:
    if name in constants:
        raise NetworkError(where, f"two initialisers {name!r:.80}", "one value for each name")
    constants[name] = value


def _read_nodes(
    protos: Any, nodes: list[Node], constants: dict[str, Tensor], unknown: list[str], read: Arrays,
    known: Mapping[str, Any], where: str,
) -> None:  # fmt: skip
    for proto in protos:
        op = proto.op_type
        if proto.domain not in _STANDARD:
            unknown.append(f"{proto.domain:.60}::{op:.60} {proto.name!r:.60}")
        elif op == "If":
            _read_branch(proto, nodes, constants, unknown, read, known, where)
        elif op == "Constant":
            _define(constants, proto.output[0], _constant(proto, read, where), where)
        elif op not in known:
            why = " (a loop of the file's own)" if op in ("Loop", "Scan") else ""
            unknown.append(f"{op:.60} {proto.name!r:.60}{why}")
        else:
            found = {one.name: _attribute(one, read, f"{where}: {op} {proto.name!r:.60}") for one in proto.attribute}
            nodes.append(Node(op, proto.name, tuple(proto.input), tuple(proto.output), found))


def _read_branch(
    proto: Any, nodes: list[Node], constants: dict[str, Tensor], unknown: list[str], read: Arrays,
    known: Mapping[str, Any], where: str,
) -> None:  # fmt: skip
    """An If whose condition is a constant is the branch that it takes."""
    condition = constants.get(proto.input[0]) if proto.input else None
    if condition is None or condition.numel() != 1:
        unknown.append(f"If {proto.name!r:.60} (its condition is computed)")
        return
    wanted = "then_branch" if bool(condition) else "else_branch"
    graph = next((one.g for one in proto.attribute if one.name == wanted), None)
    if graph is None or len(graph.output) != len(proto.output):
        raise NetworkError(where, f"an If {proto.name!r:.60} without {wanted}", "two branches")
    for one in graph.initializer:
        _define(constants, one.name, read(one), where)
    _read_nodes(graph.node, nodes, constants, unknown, read, known, where)
    for inner, outer in zip(graph.output, proto.output):
        nodes.append(Node("Identity", proto.name, (inner.name,), (outer,), {}))


def _constant(proto: Any, read: Arrays, where: str) -> Tensor:
    for one in proto.attribute:
        found = _attribute(one, read, f"{where}: Constant {proto.name!r:.60}")
        if isinstance(found, Tensor):
            return found
        if one.name in ("value_float", "value_floats"):
            return torch.tensor(found, dtype=torch.float32)
        if one.name in ("value_int", "value_ints"):
            return torch.tensor(found, dtype=torch.int64)
    raise NetworkError(where, f"Constant {proto.name!r:.60} without numbers", "value, value_float, value_int, …")


def _attribute(one: Any, read: Arrays, where: str) -> Any:
    kind = one.type
    if kind == _FLOAT:
        return one.f
    if kind == _INT:
        return one.i
    if kind == _STRING:
        return one.s.decode(errors="replace")
    if kind == _TENSOR:
        return read(one.t)
    if kind in (_FLOATS, _INTS):
        return tuple(one.floats if kind == _FLOATS else one.ints)
    if kind == _STRINGS:
        return tuple(text.decode(errors="replace") for text in one.strings)
    raise NetworkError(where, f"the attribute {one.name!r:.60} of type {kind}", "numbers, text or a tensor")


def _value(proto: Any, where: str) -> Value:
    if proto.type.WhichOneof("value") != "tensor_type":
        raise NetworkError(where, f"{proto.name!r:.80} is no tensor", "tensors in and out")
    tensor = proto.type.tensor_type
    sizes: tuple[int | str | None, ...] | None = None
    if tensor.HasField("shape"):
        sizes = tuple(
            one.dim_value if one.HasField("dim_value") and one.dim_value >= 0 else (one.dim_param or None)
            for one in tensor.shape.dim
        )
    return Value(proto.name, torch_type(tensor.elem_type, f"{where}: {proto.name!r:.80}"), sizes)


def _used(nodes: list[Node], outputs: tuple[Value, ...]) -> tuple[Node, ...]:
    """The nodes that some output needs."""
    needed = {one.name for one in outputs}
    kept = []
    for node in reversed(nodes):
        if needed & {name for name in node.outputs if name}:
            kept.append(node)
            needed.update(node.inputs)
    return tuple(reversed(kept))
