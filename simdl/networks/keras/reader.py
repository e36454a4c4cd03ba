"""From a configuration, which is data, to a model: layers of an allow-list, all that is not known named at once."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import torch

from simdl.errors import NetworkError
from simdl.networks.keras import attention, convolution, layers, normalisation, recurrence
from simdl.networks.keras.document import Document
from simdl.networks.keras.graph import Call, Graph, Made, Port, Ref, ordered
from simdl.networks.keras.hdf5 import Array
from simdl.networks.keras.options import Options
from simdl.networks.keras.wires import CALLS, arguments, listed, reference

MOST, DEEPEST = 10_000, 8
LAYERS: dict[str, layers.Maker] = {
    name: make for module in (layers, normalisation, convolution, recurrence, attention)
    for name, make in module.LAYERS.items()
}  # fmt: skip
MODELS = ("Functional", "Model", "Sequential")
WRAPPERS = ("Bidirectional", "TimeDistributed")
_MODULES = re.compile(r"(keras|keras\.src|tensorflow\.keras|tf_keras|tensorflow\.python\.keras)"
                      r"(\.(layers|models|engine|legacy|src)(\.\w+)*)?")  # fmt: skip
_TYPES = {"float32": torch.float32, "float64": torch.float64}
_BUILD = "save it after it was built: model.build(...), or keras.Input first"


def read_graph(document: Document, where: str) -> Graph:
    """The model of a document. Raises one NetworkError for all layers that are not known or do not fit."""
    reader = _Reader(document, where)
    try:
        graph = reader.model(document.config, "", 0)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:  # values that Keras never writes
        raise NetworkError(where, f"a configuration that cannot be read: {error!r:.100}", "one that Keras writes",
                           ) from None  # fmt: skip
    if len(reader.types) > 1:
        reader.faults.append(f"layers of several float types: {', '.join(sorted(reader.types))}")
    if reader.faults:
        listed = [*reader.faults[:40], *(["…"] if len(reader.faults) > 40 else [])]
        raise NetworkError(where, "cannot be read as data alone:\n    " + "\n    ".join(listed),
                           f"layers of: {', '.join(sorted({*LAYERS, *WRAPPERS}))}",
                           "export it to ONNX, or wrap the model in Callback where it is trusted")  # fmt: skip
    graph.dtypes.update(reader.types)
    return graph


class _Reader:
    def __init__(self, document: Document, where: str) -> None:
        self.document, self.where = document, where
        self.faults: list[str] = []
        self.types: set[str] = set()
        self.count = 0

    def error(self, found: str, expected: str = "") -> NetworkError:
        return NetworkError(self.where, found, expected)

    def model(self, entry: Any, path: str, depth: int) -> Graph:
        kind, config, name = self._entry(entry)
        if kind not in MODELS:
            raise self.error(f"a model of class {kind!r:.60}", "Sequential or Functional")
        if depth > DEEPEST:
            raise self.error("models nested too deeply", f"at most {DEEPEST} levels")
        if kind == "Sequential":
            return self._sequential(config, name, path, depth)
        return self._functional(config, name, path, depth)

    def _entry(self, entry: Any) -> tuple[str, Any, str]:
        """Class, configuration and name of a layer or model."""
        if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str):
            raise self.error(f"{entry!r:.80}", "a layer's configuration")
        kind, config = entry["class_name"], entry.get("config")
        config = {"layers": config} if kind == "Sequential" and isinstance(config, list) else config
        if not isinstance(config, dict):
            raise self.error(f"{kind!r:.60} without a configuration")
        name = entry.get("name") or config.get("name") or kind.lower()
        if not isinstance(name, str) or len(name) > 200:
            raise self.error(f"the name {name!r:.80}", "a text")
        return kind, config, name

    def _layers(self, config: dict[str, Any]) -> list[Any]:
        found = config.get("layers")
        self.count += len(found) if isinstance(found, list) else 0
        if not isinstance(found, list) or not found or self.count > MOST:
            raise self.error(f"{self.count or 'no'} layers", f"a list of at most {MOST}")
        return found

    def _sequential(self, config: dict[str, Any], name: str, path: str, depth: int) -> Graph:
        entries, port = self._layers(config), None
        numbers: dict[str, int] = defaultdict(int)
        made: dict[str, Made | Graph] = {}
        calls: list[Call] = []
        for place, entry in enumerate(entries):
            kind, inner, own = self._entry(entry)
            if place == 0:
                port = self._port(kind, inner, config, entry)
            if kind == "InputLayer":
                continue
            if own in made:
                raise self.error(f"two layers named {own!r:.80}")
            one = self._layer(entry, _path(path, kind, numbers), depth)
            last: Ref = (calls[-1].layer, 0, 0) if calls else (port.name if port else "", 0, 0)
            if one is not None:
                made[own] = one
                calls.append(Call(own, 0, (last,)))
        if port is None:
            raise self.error(f"{name}: the shape of the input is not in the file", _BUILD)
        outputs: list[Ref] = [(calls[-1].layer, 0, 0) if calls else (port.name, 0, 0)]
        return Graph(name, [port], made, calls, outputs)

    def _port(self, kind: str, inner: dict[str, Any], config: dict[str, Any], entry: dict[str, Any]) -> Port | None:
        """The input of a chain, as its first layer or the model says."""
        built = entry.get("build_config")
        shapes = [inner.get("batch_shape"), inner.get("batch_input_shape"), config.get("build_input_shape"),
                  built.get("input_shape") if isinstance(built, dict) else None]  # fmt: skip
        if kind in MODELS and not any(isinstance(shape, list) for shape in shapes):
            return self._first_port(entry)
        shape = next((shape for shape in shapes if isinstance(shape, list)), None)
        return None if shape is None else self._checked_port("input" if kind != "InputLayer" else
                                                             str(inner.get("name", "input")), shape, inner)  # fmt: skip

    def _first_port(self, entry: dict[str, Any]) -> Port | None:
        """That of a model which comes first in a chain."""
        while True:
            kind, config, _ = self._entry(entry)
            if kind in MODELS:
                inside = config.get("layers")
                if not isinstance(inside, list) or not inside or not isinstance(inside[0], dict):
                    return None
                entry = inside[0]
                continue
            return self._port(kind, config, {}, entry)

    def _checked_port(self, name: str, shape: Any, config: dict[str, Any]) -> Port:
        sizes = shape[1:] if isinstance(shape, list) else [0]
        dtype = config.get("dtype")
        dtype = dtype if isinstance(dtype, str) else "float32"
        if len(sizes) > 6 or not all(n is None or (type(n) is int and 1 <= n <= 2**24) for n in sizes):
            raise self.error(f"an input of shape {shape!r:.80}", "its sizes, lanes first")
        return Port(name, tuple(sizes), dtype)

    def _functional(self, config: dict[str, Any], name: str, path: str, depth: int) -> Graph:
        numbers: dict[str, int] = defaultdict(int)
        ports: dict[str, Port] = {}
        made: dict[str, Made | Graph] = {}
        calls: list[Call] = []
        for entry in self._layers(config):
            kind, inner, own = self._entry(entry)
            if own in made or own in ports:
                raise self.error(f"two layers named {own!r:.80}")
            place = _path(path, kind, numbers)
            if kind == "InputLayer":
                shape = inner.get("batch_shape", inner.get("batch_input_shape"))
                ports[own] = self._checked_port(own, shape, inner)
                continue
            one = self._layer(entry, place, depth)
            nodes = entry.get("inbound_nodes")
            if one is None or not isinstance(nodes, list):
                continue
            made[own] = one
            for number, node in enumerate(nodes):
                args, causal = arguments(node, own, self.where)
                calls.append(Call(own, number, args, causal))
                if causal and isinstance(one, Made) and isinstance(one.module, attention.Attention):
                    one.module.causal = True
            if len(calls) > CALLS:
                raise self.error(f"more than {CALLS} calls of layers")
        inputs = [reference(one, self.where)[0] for one in listed(config.get("input_layers"))]
        outputs = [reference(one, self.where) for one in listed(config.get("output_layers"))]
        if self.faults:
            return Graph(name, list(ports.values()), made, [], outputs)
        unknown = [one for one in inputs if one not in ports]
        if unknown or not inputs or not outputs:
            raise self.error(f"the inputs {inputs!r:.80}", "names of input layers")
        in_order = ordered(calls, inputs, made, outputs)
        if in_order is None:
            raise self.error("layers called in a circle, or on what does not exist", "a graph from inputs to outputs")
        return Graph(name, [ports[one] for one in inputs], made, in_order, outputs)

    def _layer(self, entry: dict[str, Any], path: str, depth: int) -> Made | Graph | None:
        """A layer or a model inside; None, and a fault, for what is not known."""
        kind, config, name = self._entry(entry)
        try:
            self._check_origin(entry, kind)
            if kind in MODELS:
                if self.document.legacy:
                    raise self.error("a model inside a model, in a .h5 file", "model.save('net.keras')")
                return self.model(entry, path, depth + 1)
            arrays = self.document.weights.of(path, name, layers.parts_of(kind))
            if kind == "Bidirectional":
                return self._both_ways(config, name, arrays)
            if kind == "TimeDistributed":
                return self._distributed(config, name, arrays)
            return self._make(kind, config, name, arrays)
        except NetworkError as fault:
            expected = f"; expected {fault.expected}" if fault.expected else ""
            self.faults.append(f"{name:.80} ({kind:.60}): {fault.found}{expected}")
            return None

    def _check_origin(self, entry: dict[str, Any], kind: str) -> None:
        module, registered = entry.get("module"), entry.get("registered_name")
        if kind not in LAYERS and kind not in (*MODELS, *WRAPPERS, "InputLayer"):
            raise self.error("Python code of the file" if kind == "Lambda" else "a layer that is not known")
        if module is not None and (not isinstance(module, str) or not _MODULES.fullmatch(module)):
            raise self.error(f"a class of {module!r:.60}, not of Keras")
        if registered not in (None, kind, "Functional"):
            raise self.error(f"a class of its own, registered as {registered!r:.60}")

    def _make(self, kind: str, config: dict[str, Any], name: str, arrays: list[Array]) -> Made:
        if kind not in LAYERS:
            raise self.error(f"{kind!r:.60}, a layer that is not known")
        dtype = self._dtype(config.get("dtype"))
        marked = {**config, "_keras": "2"} if self.document.version.startswith("2") else config
        options = Options(name, marked, arrays, dtype)
        try:
            module = LAYERS[kind](options)
        except NetworkError:
            raise
        except Exception as error:  # torch refuses sizes that do not fit each other in many ways
            raise self.error(f"{str(error):.200}") from None
        options.used["_keras"] = None
        options.finish()
        del options.used["_keras"]
        return Made(name, kind, module.eval(), options.used, arrays)

    def _dtype(self, given: Any) -> torch.dtype:
        if isinstance(given, dict):
            inner = given.get("config")
            given = inner.get("name") if given.get("class_name") in ("DTypePolicy", "Policy") and isinstance(
                inner, dict) else given  # fmt: skip
        given = "float32" if given is None else given
        if not isinstance(given, str) or given not in _TYPES:
            raise self.error(f"the type {given!r:.60}", "float32 or float64")
        self.types.add(given)
        return _TYPES[given]

    def _inner(self, entry: Any, arrays: list[Array]) -> Made:
        kind, config, name = self._entry(entry)
        self._check_origin(entry, kind)
        return self._make(kind, config, name, arrays)

    def _both_ways(self, config: dict[str, Any], name: str, arrays: list[Array]) -> Made:
        mode, half = config.get("merge_mode", "concat"), len(arrays) // 2
        if mode not in ("concat", "sum", "mul", "ave"):
            raise self.error(f"merge_mode={mode!r:.60}", "concat, sum, mul or ave")
        forth = self._inner(config.get("layer"), arrays[:half])
        entry = config.get("backward_layer")
        if not isinstance(entry, dict):
            entry = {**config["layer"], "config": {**config["layer"]["config"], "go_backwards": True}}
        back = self._inner(entry, arrays[half:])
        a, b = forth.module, back.module
        if (
            not isinstance(a, recurrence.Rolled) or not isinstance(b, recurrence.Rolled)
            or a.backwards or not b.backwards or a.sequences != b.sequences
        ):  # fmt: skip
            raise self.error("layers that are not one forward and one backward", "two recurrent layers of one kind")
        module = recurrence.BothWays(a, b, mode)
        return Made(name, "Bidirectional", module, {"merge_mode": mode}, arrays, (forth, back))

    def _distributed(self, config: dict[str, Any], name: str, arrays: list[Array]) -> Made:
        inner = self._inner(config.get("layer"), arrays)
        if isinstance(inner.module, recurrence.Rolled):
            raise self.error("a recurrent layer applied to each sample", "a layer without memory")
        return Made(name, "TimeDistributed", layers.Distributed(inner.module), {}, arrays, (inner,))


def snake(kind: str) -> str:
    """The name that Keras gives to layers of a class.

    >>> snake("Conv1D"), snake("MultiHeadAttention")
    ('conv1d', 'multi_head_attention')
    """
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))).lower()


def _path(path: str, kind: str, numbers: dict[str, int]) -> str:
    """Where Keras keeps the weights of the next layer of a class: dense, dense_1, …"""
    name = snake(kind)
    number = numbers[name]
    numbers[name] += 1
    own = f"{name}_{number}" if number else name
    return f"{path}/{own}" if path else own
