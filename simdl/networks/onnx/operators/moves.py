"""Operators that move, repeat, select and make numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simdl.networks.onnx.arrays import Array
from simdl.networks.onnx.operands import HOST, Operands, Operator

_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def shape(o: Operands) -> Array:
    sizes = list(o.tensor(0).shape)[o.attribute("start", 0) : o.attribute("end")]
    return np.array(sizes, dtype=np.int64)


def size(o: Operands) -> Array:
    return np.array(o.tensor(0).numel(), dtype=np.int64)


def reshape(o: Operands) -> Tensor:
    x, wanted = o.tensor(0), o.ints(1)
    if not o.attribute("allowzero", 0):
        wanted = [x.shape[i] if n == 0 and i < x.ndim else n for i, n in enumerate(wanted)]
    if o.lanes is not None and wanted and wanted[0] >= 0:  # a batch size of the file where lanes belong
        wanted = [o.lanes, *wanted[1:]]
    return x.reshape(wanted)


def flatten(o: Operands) -> Tensor:
    x, axis = o.tensor(0), o.attribute("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    if axis == 0:
        return x.reshape(1, -1)
    first = x.shape[0] if axis == 1 else math.prod(x.shape[:axis])
    return x.reshape(first, -1) if x.numel() else x.reshape(first, math.prod(x.shape[axis:]))


def transpose(o: Operands) -> Tensor:
    x = o.tensor(0)
    return x.permute(o.attribute("perm", tuple(reversed(range(x.ndim)))))


def squeeze(o: Operands) -> Tensor:
    x, axes = o.tensor(0), o.axes(1, 13)
    if axes is None:
        axes = [i for i, n in enumerate(x.shape) if n == 1]
    return x.squeeze(tuple(axes)) if axes else x


def unsqueeze(o: Operands) -> Tensor:
    x, axes = o.tensor(0), o.axes(1, 13) or []
    for axis in sorted(a % (x.ndim + len(axes)) for a in axes):
        x = x.unsqueeze(axis)
    return x


def expand(o: Operands) -> Tensor:
    x, wanted = o.tensor(0), o.ints(1)
    if o.lanes is not None and wanted:
        wanted = [o.lanes, *wanted[1:]]
    return x.expand(list(o.room(np.broadcast_shapes(tuple(x.shape), tuple(wanted)))))


def tile(o: Operands) -> Tensor:
    x, counts = o.tensor(0), o.ints(1)
    o.room([n * c for n, c in zip(x.shape, counts)])
    return x.repeat(counts)


def concat(o: Operands) -> Tensor:
    return torch.cat(o.tensors(), o.attribute("axis"))


def split(o: Operands) -> tuple[Tensor, ...]:
    x, axis, count = o.tensor(0), o.attribute("axis", 0), len(o.node.outputs)
    sizes = list(o.attribute("split") or ()) if o.opset < 13 else (o.ints(1) if o.has(1) else [])
    if not sizes:
        each = -(-x.shape[axis] // count)
        sizes = [min(each, x.shape[axis] - each * i) for i in range(count)]
    return torch.split(x, sizes, axis)


def slices(o: Operands) -> Tensor:
    x = o.tensor(0)
    if o.opset < 10:
        starts, ends, axes, steps = list(o.attribute("starts")), list(o.attribute("ends")), o.attribute("axes"), None
    else:
        starts, ends = o.ints(1), o.ints(2)
        axes, steps = (o.ints(3) if o.has(3) else None), (o.ints(4) if o.has(4) else None)
    for number, (start, end) in enumerate(zip(starts, ends)):
        axis, step = (axes[number] if axes is not None else number), (steps[number] if steps else 1)
        where = range(x.shape[axis])[start:end:step]
        if step < 0:
            back = range(min(where), max(where) + 1, -step) if where else range(0)
            x = _strided(x, axis, back).flip(axis)
        else:
            x = _strided(x, axis, where)
    return x


def _strided(x: Tensor, axis: int, where: range) -> Tensor:
    index: list[Any] = [slice(None)] * x.ndim
    index[axis] = slice(where.start, where.stop, where.step) if where else slice(0, 0)
    return x[tuple(index)]


def gather(o: Operands) -> Tensor:
    x, axis = o.tensor(0), o.attribute("axis", 0)
    length = x.shape[axis]
    if o.known(1):
        places = o.host(1)
        if places.size and (places.min() < -length or places.max() >= length):
            raise o.wrong("a place outside of what it gathers from", f"-{length} to {length - 1}")
        if places.ndim == 0:
            return x.select(axis, int(places) % length)
    indices = o.tensor(1).long()
    indices = torch.where(indices < 0, indices + length, indices)
    axis %= x.ndim
    found = x.index_select(axis, indices.reshape(-1))
    return found.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _upwards(indices: Tensor, length: int) -> Tensor:
    return torch.where(indices < 0, indices + length, indices)


def gather_elements(o: Operands) -> Tensor:
    x, axis = o.tensor(0), o.attribute("axis", 0)
    return x.gather(axis, _upwards(o.tensor(1).long(), x.shape[axis]))


def gather_nd(o: Operands) -> Tensor:
    x, indices, batch = o.tensor(0), o.tensor(1).long(), o.attribute("batch_dims", 0)
    depth = indices.shape[-1]
    places: list[Tensor] = []
    for axis in range(batch):
        grid = torch.arange(x.shape[axis], device=x.device)
        places.append(grid.reshape([-1 if i == axis else 1 for i in range(indices.ndim - 1)]))
    places += [_upwards(indices[..., i], x.shape[batch + i]) for i in range(depth)]
    return x[tuple(places)]


def scatter_elements(o: Operands) -> Tensor:
    x, axis, values = o.tensor(0), o.attribute("axis", 0), o.tensor(2)
    indices = _upwards(o.tensor(1).long(), x.shape[axis])
    kind = o.attribute("reduction", "none")
    if kind == "none":
        return x.scatter(axis, indices, values)
    return x.scatter_reduce(axis, indices, values, {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}[kind])


def scatter_nd(o: Operands) -> Tensor:
    x, indices, values = o.tensor(0), o.tensor(1).long(), o.tensor(2)
    kind, depth = o.attribute("reduction", "none"), indices.shape[-1]
    if kind not in ("none", "add"):
        raise o.wrong(f"reduction {kind!r}", "none or add")
    places = tuple(_upwards(indices[..., i], x.shape[i]) for i in range(depth))
    return x.index_put(places, values, accumulate=kind == "add")


def pad(o: Operands) -> Tensor:
    x, mode = o.tensor(0), o.attribute("mode", "constant")
    pads = o.ints(1) if o.opset >= 11 else list(o.attribute("pads"))
    axes = [a % x.ndim for a in o.ints(3)] if o.has(3) else list(range(x.ndim))
    both = dict(zip(axes, zip(pads[: len(axes)], pads[len(axes) :])))
    o.room([n + sum(both.get(i, (0, 0))) for i, n in enumerate(x.shape)])
    if mode == "constant":
        value = (o.floats(2)[0] if o.has(2) else 0.0) if o.opset >= 11 else o.attribute("value", 0.0)
        value = value if x.is_floating_point() else int(value)
        return F.pad(x, [n for i in reversed(range(x.ndim)) for n in both.get(i, (0, 0))], value=value)
    for axis, (before, after) in both.items():
        if before < 0 or after < 0:
            x = x.narrow(axis, max(0, -before), x.shape[axis] + min(0, before) + min(0, after))
            before, after = max(0, before), max(0, after)
        if before or after:
            rows = np.pad(np.arange(x.shape[axis]), (before, after), mode=mode).tolist()
            x = x.index_select(axis, torch.tensor(rows, device=x.device))
    return x


def constant_of_shape(o: Operands) -> Tensor | Array:
    from torch._subclasses.fake_tensor import unset_fake_temporarily

    sizes = list(o.room(o.ints(0)))
    given = o.attribute("value")
    if given is None:
        return torch.zeros(sizes, dtype=torch.float32, device=o.like.device)
    with unset_fake_temporarily():  # a number of the file is known where shapes alone are asked for
        value = given.item()
    if not given.is_floating_point() and math.prod(sizes) <= HOST:
        return np.full(sizes, value, dtype=given.numpy().dtype)
    return torch.full(sizes, value, dtype=given.dtype, device=o.like.device)


def ranges(o: Operands) -> Tensor | Array:
    start, limit, step = (o.host(i).reshape(()) for i in range(3))
    if step == 0 or not all(np.isfinite(float(n)) for n in (start, limit, step)):
        raise o.wrong(f"from {start} to {limit} by {step}", "a step that is not zero")
    count = max(0, math.ceil((limit.item() - start.item()) / step.item()))
    o.room([count])
    if start.dtype.kind in "iu" and count <= HOST:
        return np.asarray(start.item() + np.arange(count, dtype=np.int64) * step.item()).astype(start.dtype)
    whole = torch.arange(count, device=o.like.device)
    made: Tensor = (start.item() + whole * step.item()).to(o.tensor(0).dtype)
    return made


def triangle(o: Operands) -> Tensor:
    x, k = o.tensor(0), o.ints(1)[0] if o.has(1) else 0
    k = max(-(2**31), min(2**31, k))
    return torch.triu(x, k) if o.attribute("upper", 1) else torch.tril(x, k)


def one_hot(o: Operands) -> Tensor:
    indices, depth, values = o.tensor(0).long(), o.ints(1)[0], o.tensor(2)
    o.room([*indices.shape, depth])
    axis = o.attribute("axis", -1)
    places = torch.arange(depth, device=indices.device)
    hot = _upwards(indices, depth).unsqueeze(-1) == places
    return torch.where(hot, values[1], values[0]).movedim(-1, axis)


def eye_like(o: Operands) -> Tensor:
    from simdl.networks.onnx.arrays import torch_type

    x, number = o.tensor(0), o.attribute("dtype", 0)
    rows, columns = torch.arange(x.shape[0], device=x.device), torch.arange(x.shape[1], device=x.device)
    hot: Tensor = rows.unsqueeze(1) + o.attribute("k", 0) == columns
    return hot.to(torch_type(number, o.where) if number else x.dtype)


def depth_to_space(o: Operands) -> Tensor:
    x, b = o.tensor(0), o.attribute("blocksize")
    n, c, h, w = x.shape
    if o.attribute("mode", "DCR") == "DCR":
        return x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)
    return x.reshape(n, c // b**2, b, b, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // b**2, h * b, w * b)


def space_to_depth(o: Operands) -> Tensor:
    x, b = o.tensor(0), o.attribute("blocksize")
    n, c, h, w = x.shape
    order = (0, 3, 5, 1, 2, 4) if o.attribute("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return x.reshape(n, c, h // b, b, w // b, b).permute(order).reshape(n, c * b**2, h // b, w // b)


OPERATORS: dict[str, Operator] = {
    "Shape": shape, "Size": size, "Reshape": reshape, "Flatten": flatten, "Transpose": transpose, "Squeeze": squeeze,
    "Unsqueeze": unsqueeze, "Expand": expand, "Tile": tile, "Concat": concat, "Split": split, "Slice": slices,
    "Gather": gather, "GatherElements": gather_elements, "GatherND": gather_nd, "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd, "Pad": pad, "ConstantOfShape": constant_of_shape, "Range": ranges, "Trilu": triangle,
    "OneHot": one_hot, "EyeLike": eye_like, "DepthToSpace": depth_to_space, "SpaceToDepth": space_to_depth,
}  # fmt: skip
