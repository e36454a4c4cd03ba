"""The same network rebuilt with Keras, layer by layer from what was checked: the file itself never reaches it."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

import torch
from torch import Tensor

from simdl.networks.keras.graph import Graph, Made, Ref


def keras_here() -> Any:
    """The package keras, on torch if nothing else was chosen; None when it is absent or its backend is."""
    if "keras" not in sys.modules and importlib.util.find_spec("keras") is None:
        return None
    chosen = os.environ.get("KERAS_BACKEND")
    if chosen is None:
        os.environ["KERAS_BACKEND"] = "torch"
    try:
        import keras
    except Exception:  # a backend that is not there, or does not work here
        return None
    finally:
        if chosen is None:
            del os.environ["KERAS_BACKEND"]
    return keras


def reference(keras: Any, graph: Graph, inputs: list[Tensor], dtype: str) -> list[Tensor]:
    """What Keras computes for these inputs (samples, *shape), in the order of the outputs."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(dtype)  # to which a model rounds what it is called on
    keras.config.set_dtype_policy(dtype)
    try:
        return _computed(keras, graph, inputs, dtype)
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def _computed(keras: Any, graph: Graph, inputs: list[Tensor], dtype: str) -> list[Tensor]:
    given = [keras.Input(tuple(x.shape[1:]), dtype=str(x.dtype).removeprefix("torch.")) for x in inputs]
    made: list[tuple[Any, list[Any]]] = []
    outputs = _applied(keras, graph, given, dtype, made)
    for layer, arrays in made:
        if arrays:
            layer.set_weights(arrays)
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
    model = keras.Model(given, outputs)
    with torch.no_grad():
        found = model([x.numpy() for x in inputs], training=False)
    return [torch.tensor(keras.ops.convert_to_numpy(one)) for one in (found if isinstance(found, list) else [found])]


def _applied(keras: Any, graph: Graph, given: list[Any], dtype: str, made: list[tuple[Any, list[Any]]]) -> list[Any]:
    values: dict[Ref, Any] = {(port.name, 0, 0): one for port, one in zip(graph.ports, given)}
    built: dict[str, Any] = {}
    for call in graph.calls:
        one = graph.layers[call.layer]
        args = [values[ref] for ref in call.args]
        if isinstance(one, Graph):
            for number, value in enumerate(_applied(keras, one, args, dtype, made)):
                values[call.layer, call.node, number] = value
            continue
        if call.layer not in built:
            built[call.layer] = _layer(keras, one, dtype)
            made.append((built[call.layer], one.arrays))
        layer = built[call.layer]
        if one.kind == "MultiHeadAttention":
            value = layer(*args, use_causal_mask=call.causal)
        elif hasattr(layer, "_merge_function"):
            value = layer(args)
        else:
            value = layer(*args)
        values[call.layer, call.node, 0] = value
    return [values[ref] for ref in graph.outputs]


def _layer(keras: Any, one: Made, dtype: str) -> Any:
    kind = getattr(keras.layers, one.kind)
    if one.kind == "Bidirectional":
        forth, back = (_layer(keras, inner, dtype) for inner in one.inner)
        return kind(forth, backward_layer=back, dtype=dtype, **one.options)
    if one.kind == "TimeDistributed":
        return kind(_layer(keras, one.inner[0], dtype), dtype=dtype)
    if one.kind == "RepeatVector":
        return kind(one.options["n"], dtype=dtype)
    needed: dict[str, tuple[Any, ...]] = {"Dropout": (0.5,), "SpatialDropout1D": (0.5,), "SpatialDropout2D": (0.5,),
                                         "GaussianDropout": (0.5,), "GaussianNoise": (0.5,), "AlphaDropout": (0.5,)}
    return kind(*needed.get(one.kind, ()), dtype=dtype, **one.options)
