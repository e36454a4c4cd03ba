"""The bytes of an ONNX file before a parser sees them: what they hold, counted, with an end to counting.

A protobuf parser makes an object of every node, so a file of a million nodes costs gigabytes before anyone can count
them. Here only tags and lengths are read. A field that ModelProto does not have is refused: that is how bytes of
another format, put before or after the model, show themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

from simdl.errors import NetworkError

WANTED = "an ONNX model, as torch.onnx.export writes it"
NODES, TENSORS, PORTS, DEEPEST = 20_000, 20_000, 1_000, 8
_MODEL = {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}  # fields of ModelProto
_GRAPH, _NODE, _INITIALISER, _INPUT, _OUTPUT, _VALUE = 7, 1, 5, 11, 12, 13
_ATTRIBUTE, _ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 5, 6, 11
_METADATA, _FUNCTIONS, _OPSETS = 14, 25, 8


def check_wire(data: bytes, where: str) -> None:
    """Raises NetworkError for bytes that are no ONNX model, or one with too many parts or too deeply nested."""
    view = memoryview(data)
    graphs = 0
    for field, kind, start, end in _fields(view, 0, len(data), where):
        if field not in _MODEL:
            raise NetworkError(where, f"bytes that no model has, at {start}", WANTED,
                               "a file of another kind, or something was put behind the model")  # fmt: skip
        if field == _GRAPH and kind == 2:
            graphs += 1
            _check_graph(view, start, end, where, 1)
    if graphs != 1:
        raise NetworkError(where, f"{graphs} graphs", WANTED)


def _check_graph(view: memoryview, start: int, end: int, where: str, depth: int) -> None:
    if depth > DEEPEST:
        raise NetworkError(where, f"graphs nested deeper than {DEEPEST}", WANTED)
    limits = {_NODE: NODES, _INITIALISER: TENSORS, _INPUT: TENSORS, _OUTPUT: PORTS, _VALUE: NODES * 4}
    names = {_NODE: "nodes", _INITIALISER: "initialisers", _INPUT: "inputs", _OUTPUT: "outputs", _VALUE: "values"}
    counts = dict.fromkeys(limits, 0)
    for field, kind, first, last in _fields(view, start, end, where):
        if field in counts:
            counts[field] += 1
            if counts[field] > limits[field]:
                raise NetworkError(where, f"more than {limits[field]} {names[field]}", f"at most {limits[field]}")
        if field == _NODE and kind == 2:
            _check_node(view, first, last, where, depth)


def _check_node(view: memoryview, start: int, end: int, where: str, depth: int) -> None:
    for field, kind, first, last in _fields(view, start, end, where):
        if field == _ATTRIBUTE and kind == 2:
            for inner, form, a, b in _fields(view, first, last, where):
                if inner in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS) and form == 2:
                    _check_graph(view, a, b, where, depth + 1)


def _fields(view: memoryview, at: int, end: int, where: str) -> Iterator[tuple[int, int, int, int]]:
    """Field number, wire type, and where its content starts and ends."""
    while at < end:
        tag, at = _varint(view, at, end, where)
        field, kind = tag >> 3, tag & 7
        start = at
        if kind == 0:
            _, at = _varint(view, at, end, where)
        elif kind == 1:
            at += 8
        elif kind == 5:
            at += 4
        elif kind == 2:
            size, start = _varint(view, at, end, where)
            at = start + size
        else:
            raise NetworkError(where, f"no field of a model at byte {start}", WANTED)
        if at > end or field == 0:
            raise NetworkError(where, f"the field at byte {start} ends at {at}, its parent at {end}", WANTED,
                               "the file is truncated or of another kind")  # fmt: skip
        yield field, kind, start, at


def _varint(view: memoryview, at: int, end: int, where: str) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise NetworkError(where, f"no number at byte {at}", WANTED, "the file is truncated or of another kind")
