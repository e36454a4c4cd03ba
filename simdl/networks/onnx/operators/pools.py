"""Pooling and resizing."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from simdl.networks.onnx.operands import Operands, Operator
from simdl.networks.onnx.operators.products import flat_pads, padding

_MAXIMA = (F.max_pool1d, F.max_pool2d, F.max_pool3d)


def _window(o: Operands, x: Tensor) -> tuple[list[int], list[int], list[int], list[int], list[int], list[int]]:
    """Kernel, strides, dilations, padding before and after, and what a last window reaches beyond that."""
    kernel = list(o.attribute("kernel_shape"))
    count = len(kernel)
    strides, dilations = list(o.attribute("strides", (1,) * count)), list(o.attribute("dilations", (1,) * count))
    before, after = padding(o, x.shape[2:], kernel, strides, dilations)
    beyond = [0] * count
    if o.attribute("ceil_mode", 0):
        for i, n in enumerate(x.shape[2:]):
            reach = (kernel[i] - 1) * dilations[i] + 1
            steps = -(-(n + before[i] + after[i] - reach) // strides[i])
            if steps * strides[i] >= n + before[i]:  # a window that starts in the padding after is left out
                steps -= 1
            beyond[i] = max(0, steps * strides[i] + reach - (n + before[i] + after[i]))
    return kernel, strides, dilations, before, after, beyond


def maximum(o: Operands) -> Tensor:
    x = o.tensor(0)
    if o.gives(1):
        raise o.wrong("positions of the maxima", "the maxima alone")
    kernel, strides, dilations, before, after, beyond = _window(o, x)
    low = -math.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
    wide = F.pad(x, flat_pads(before, [a + b for a, b in zip(after, beyond)]), value=low)
    if not x.is_floating_point():
        return _MAXIMA[len(kernel) - 1](wide.double(), kernel, strides, 0, dilations).to(x.dtype)
    return _MAXIMA[len(kernel) - 1](wide, kernel, strides, 0, dilations)


def average(o: Operands) -> Tensor:
    """Sums over windows, divided by how many numbers (or paddings) each window holds."""
    x = o.tensor(0)
    kernel, strides, dilations, before, after, beyond = _window(o, x)
    ones = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
    counted = 1.0 if o.attribute("count_include_pad", 0) else 0.0
    ones = F.pad(F.pad(ones, flat_pads(before, after), value=counted), flat_pads([0] * len(kernel), beyond))
    wide = F.pad(x, flat_pads(before, [a + b for a, b in zip(after, beyond)]))
    return _sums(wide, kernel, strides, dilations) / _sums(ones, kernel, strides, dilations)


def _sums(x: Tensor, kernel: list[int], strides: list[int], dilations: list[int]) -> Tensor:
    if all(d == 1 for d in dilations):
        pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
        return pool(x, kernel, strides) * math.prod(kernel)
    weight = torch.ones((1, 1, *kernel), dtype=x.dtype, device=x.device)
    run = (F.conv1d, F.conv2d, F.conv3d)[len(kernel) - 1]
    lanes, channels = x.shape[:2]
    found = run(x.reshape(lanes * channels, 1, *x.shape[2:]), weight, None, strides, 0, dilations)
    return found.reshape(lanes, channels, *found.shape[2:])


def global_average(o: Operands) -> Tensor:
    x = o.tensor(0)
    return x.mean(list(range(2, x.ndim)), keepdim=True)


def global_maximum(o: Operands) -> Tensor:
    x = o.tensor(0)
    return x.amax(list(range(2, x.ndim)), keepdim=True)


def resize(o: Operands) -> Tensor:
    """Nearest and linear interpolation along each axis in turn, as tables of rows and weights."""
    x, mode = o.tensor(0), o.attribute("mode", "nearest")
    if mode not in ("nearest", "linear") or o.attribute("antialias", 0):
        raise o.wrong(f"mode {mode!r}, antialias {o.attribute('antialias', 0)}", "nearest or linear")
    if o.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise o.wrong("an aspect ratio to keep", "stretch")
    axes = [a % x.ndim for a in o.attribute("axes", range(x.ndim))]
    coordinates = o.attribute("coordinate_transformation_mode", "half_pixel")
    if coordinates == "tf_crop_and_resize":
        raise o.wrong(coordinates, "half_pixel, pytorch_half_pixel, align_corners, asymmetric or half_pixel_symmetric")
    index = 1 if o.opset < 11 else 2
    scales = o.floats(index) if o.has(index) and o.host(index).size else None
    sizes = o.ints(3) if scales is None else [math.floor(x.shape[a] * s) for a, s in zip(axes, scales)]
    final = list(x.shape)
    for a, n in zip(axes, sizes):
        final[a] = n
    o.room(final)
    for number, (axis, size) in enumerate(zip(axes, sizes)):
        length = x.shape[axis]
        scale = scales[number] if scales is not None else size / length
        if size == length and scale == 1:
            continue
        places = [_place(i, length, size, scale, coordinates) for i in range(size)]
        if mode == "nearest":
            rows = [_nearest(p, o.attribute("nearest_mode", "round_prefer_floor"), length) for p in places]
            x = x.index_select(axis, torch.tensor(rows, device=x.device))
            continue
        places = [min(max(p, 0.0), length - 1.0) for p in places]
        low = [min(math.floor(p), length - 1) for p in places]
        shape = [1] * x.ndim
        shape[axis] = size
        part = torch.tensor([p - n for p, n in zip(places, low)], dtype=x.dtype, device=x.device).reshape(shape)
        first = x.index_select(axis, torch.tensor(low, device=x.device))
        second = x.index_select(axis, torch.tensor([min(n + 1, length - 1) for n in low], device=x.device))
        x = first * (1 - part) + second * part
    return x


def _place(i: int, length: int, size: int, scale: float, mode: str) -> float:
    if mode == "align_corners":
        return i * (length - 1) / (scale * length - 1) if size > 1 else 0.0
    if mode == "asymmetric":
        return i / scale
    if mode == "pytorch_half_pixel":
        return (i + 0.5) / scale - 0.5 if size > 1 else 0.0
    if mode == "half_pixel_symmetric":
        return length / 2 * (1 - size / (scale * length)) + (i + 0.5) / scale - 0.5
    return (i + 0.5) / scale - 0.5


def _nearest(place: float, mode: str, length: int) -> int:
    rounded = {
        "floor": math.floor(place), "ceil": math.ceil(place), "round_prefer_ceil": math.floor(place + 0.5),
    }.get(mode, math.ceil(place - 0.5))  # fmt: skip
    return min(max(rounded, 0), length - 1)


OPERATORS: dict[str, Operator] = {
    "MaxPool": maximum, "AveragePool": average, "GlobalAveragePool": global_average,
    "GlobalMaxPool": global_maximum, "Resize": resize, "Upsample": resize,
}  # fmt: skip
