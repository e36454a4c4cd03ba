"""Operators on sizes: numpy computes what a graph computes from shapes, so that the number of lanes stays open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from simdl.networks.onnx.arrays import TYPES, Array
from simdl.networks.onnx.operands import HOST, Operands

Rule = Callable[[Operands, list[Array]], Any]


def _plain(function: Callable[..., Any]) -> Rule:
    return lambda o, values: function(*values)


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f" or b.dtype.kind == "f":
        return np.asarray(np.divide(a, b))
    return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)))


def _cast(o: Operands, values: list[Array]) -> Array:
    name = TYPES.get(o.attribute("to", 1), ("",))[0]
    if name == "bool":
        return np.asarray(values[0] != 0)
    return values[0].astype("float32" if name == "bfloat16" else name)


def _axes(o: Operands, values: list[Array], since: int) -> tuple[int, ...] | None:
    if o.opset >= since:
        return tuple(int(n) for n in values[1].reshape(-1)) if len(values) > 1 else None
    found = o.attribute("axes")
    return None if found is None else tuple(found)


def _squeeze(o: Operands, values: list[Array]) -> Array:
    return np.squeeze(values[0], _axes(o, values, 13))


def _unsqueeze(o: Operands, values: list[Array]) -> Array:
    return np.expand_dims(values[0], _axes(o, values, 13) or ())


def _reshape(o: Operands, values: list[Array]) -> Array:
    x, wanted = values[0], [int(n) for n in values[1].reshape(-1)]
    return x.reshape([x.shape[i] if n == 0 and i < x.ndim else n for i, n in enumerate(wanted)])


def _gather(o: Operands, values: list[Array]) -> Array:
    return np.asarray(np.take(values[0], values[1].astype(np.int64), o.attribute("axis", 0)))


def _concat(o: Operands, values: list[Array]) -> Array:
    return np.concatenate(values, o.attribute("axis"))


def _slice(o: Operands, values: list[Array]) -> Array:
    if o.opset < 10:
        starts, ends = list(o.attribute("starts")), list(o.attribute("ends"))
        axes, steps = list(o.attribute("axes") or range(len(starts))), [1] * len(starts)
    else:
        starts, ends = ([int(n) for n in v] for v in values[1:3])
        axes = [int(n) for n in values[3]] if len(values) > 3 else list(range(len(starts)))
        steps = [int(n) for n in values[4]] if len(values) > 4 else [1] * len(starts)
    index: list[Any] = [slice(None)] * values[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps):
        index[axis] = slice(start, end, step)
        if step < 0 and end < -values[0].shape[axis]:
            index[axis] = slice(start, None, step)
    return np.asarray(values[0][tuple(index)])


def _reduce(function: Callable[..., Any], since: int) -> Rule:
    def apply(o: Operands, values: list[Array]) -> Array:
        return np.asarray(function(values[0], axis=_axes(o, values, since), keepdims=bool(o.attribute("keepdims", 1))))

    return apply


def _fold(function: Callable[..., Any]) -> Rule:
    def apply(o: Operands, values: list[Array]) -> Array:
        found = values[0]
        for one in values[1:]:
            found = function(found, one)
        return np.asarray(found)

    return apply


def _expand(o: Operands, values: list[Array]) -> Array:
    x, wanted = values[0], [int(n) for n in values[1]]
    return np.broadcast_to(x, o.room(np.broadcast_shapes(x.shape, wanted)))


RULES: dict[str, Rule] = {
    "Add": _plain(np.add), "Sub": _plain(np.subtract), "Mul": _plain(np.multiply), "Div": _plain(_divide),
    "Mod": _plain(np.mod), "Neg": _plain(np.negative), "Abs": _plain(np.abs), "Floor": _plain(np.floor),
    "Ceil": _plain(np.ceil), "Round": _plain(np.round), "Sqrt": _plain(np.sqrt), "Equal": _plain(np.equal),
    "Greater": _plain(np.greater), "Less": _plain(np.less), "GreaterOrEqual": _plain(np.greater_equal),
    "LessOrEqual": _plain(np.less_equal), "And": _plain(np.logical_and), "Or": _plain(np.logical_or),
    "Not": _plain(np.logical_not), "Where": _plain(np.where), "Identity": _plain(np.asarray), "Cast": _cast,
    "Max": _fold(np.maximum), "Min": _fold(np.minimum), "Squeeze": _squeeze, "Unsqueeze": _unsqueeze,
    "Reshape": _reshape, "Gather": _gather, "Concat": _concat, "Slice": _slice, "Expand": _expand,
    "ReduceProd": _reduce(np.prod, 18), "ReduceSum": _reduce(np.sum, 13), "ReduceMax": _reduce(np.max, 18),
    "ReduceMin": _reduce(np.min, 18),
}  # fmt: skip


def on_host(o: Operands, computed: bool) -> Array | None:
    """The result of a node whose inputs are all sizes; None for one that belongs to torch.

    computed: whether some input was computed from shapes, or is a whole number of the file.
    """
    rule = RULES.get(o.node.op)
    if rule is None or not computed or not all(o.known(i) for i in range(len(o)) if o.has(i)):
        return None
    values = [o.host(i) for i in range(len(o)) if o.has(i)]
    if len(values) != len(o) or any(value.size > HOST for value in values):
        return None
    try:
        found = np.asarray(rule(o, values))
    except (ValueError, IndexError, ZeroDivisionError, TypeError, OverflowError) as error:
        raise o.wrong(f"its sizes do not fit: {error}") from None
    return found if found.size <= HOST else None
