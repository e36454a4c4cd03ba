"""Normalisation by stored or own statistics, softmax, quantisation."""

from __future__ import annotations

import torch
from torch import Tensor

from simdl.networks.onnx.arrays import torch_type
from simdl.networks.onnx.operands import Operands, Operator


def _channels(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(1, -1, *(1,) * (x.ndim - 2))


def batch(o: Operands) -> Tensor:
    """By the statistics of the file: (x - mean) / sqrt(variance + epsilon) * scale + bias."""
    if o.attribute("training_mode", 0):
        raise o.wrong("training mode", "inference", "module.eval() before the export")
    x = o.tensor(0)
    scale, bias, mean, variance = (_channels(o.tensor(i), x).to(x.dtype) for i in range(1, 5))
    return (x - mean) * (torch.rsqrt(variance + o.attribute("epsilon", 1e-5)) * scale) + bias


def instance(o: Operands) -> Tensor:
    x = o.tensor(0)
    scaled = _standard(x, list(range(2, x.ndim)), o.attribute("epsilon", 1e-5))
    return scaled * _channels(o.tensor(1), x) + _channels(o.tensor(2), x)


def group(o: Operands) -> Tensor:
    x, groups = o.tensor(0), o.attribute("num_groups")
    parts = x.reshape(x.shape[0], groups, -1)
    scaled = _standard(parts, [2], o.attribute("epsilon", 1e-5)).reshape(x.shape)
    scale, bias = o.tensor(1), o.tensor(2)
    if o.opset < 21:  # one for each group
        scale, bias = (v.repeat_interleave(x.shape[1] // groups) for v in (scale, bias))
    return scaled * _channels(scale, x) + _channels(bias, x)


def layer(o: Operands) -> tuple[Tensor, ...]:
    x = o.tensor(0)
    axes = list(range(o.attribute("axis", -1) % x.ndim, x.ndim))
    mean = x.mean(axes, keepdim=True)
    inverse = torch.rsqrt((x - mean).square().mean(axes, keepdim=True) + o.attribute("epsilon", 1e-5))
    y = (x - mean) * inverse * o.tensor(1)
    return (y + o.tensor(2) if o.has(2) else y, mean, inverse)


def root_mean_square(o: Operands) -> Tensor:
    x = o.tensor(0)
    axes = list(range(o.attribute("axis", -1) % x.ndim, x.ndim))
    return x * torch.rsqrt(x.square().mean(axes, keepdim=True) + o.attribute("epsilon", 1e-5)) * o.tensor(1)


def _standard(x: Tensor, axes: list[int], epsilon: float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + epsilon)


def by_norm(o: Operands) -> Tensor:
    x, axis = o.tensor(0), o.attribute("axis", -1)
    size = x.abs().sum(axis, keepdim=True) if o.attribute("p", 2) == 1 else x.square().sum(axis, keepdim=True).sqrt()
    return torch.where(size == 0, torch.zeros_like(x), x / size)


def mean_variance(o: Operands) -> Tensor:
    x, axes = o.tensor(0), list(o.attribute("axes", (0, 2, 3)))
    centred = x - x.mean(axes, keepdim=True)
    return centred / (centred.square().mean(axes, keepdim=True).sqrt() + 1e-9)


def local_response(o: Operands) -> Tensor:
    x, size = o.tensor(0), o.attribute("size")
    low = (size - 1) // 2
    squares = torch.nn.functional.pad(x.square().movedim(1, -1), (low, size - 1 - low)).movedim(-1, 1)
    total = squares.unfold(1, size, 1).sum(-1)
    scaled = o.attribute("bias", 1.0) + o.attribute("alpha", 1e-4) / size * total
    return x / torch.pow(scaled, o.attribute("beta", 0.75))


def _flattened(o: Operands, x: Tensor) -> tuple[Tensor, int, list[int]]:
    """Before opset 13 softmax is over all axes from `axis` on."""
    axis = o.attribute("axis", -1 if o.opset >= 13 else 1)
    if o.opset >= 13:
        return x, axis, []
    return x.flatten(axis % x.ndim), -1, list(x.shape)


def softmax(o: Operands) -> Tensor:
    x, axis, shape = _flattened(o, o.tensor(0))
    return torch.softmax(x, axis).reshape(shape or x.shape)


def log_softmax(o: Operands) -> Tensor:
    x, axis, shape = _flattened(o, o.tensor(0))
    return torch.log_softmax(x, axis).reshape(shape or x.shape)


def hardmax(o: Operands) -> Tensor:
    x, axis, shape = _flattened(o, o.tensor(0))
    where = torch.argmax(x, axis, keepdim=True)
    return torch.zeros_like(x).scatter(axis, where, torch.ones_like(x)).reshape(shape or x.shape)


def dropout(o: Operands) -> tuple[Tensor, ...]:
    """Nothing is dropped in inference."""
    x = o.tensor(0)
    if o.has(2) and bool(o.host(2).any()):
        raise o.wrong("training mode", "inference", "module.eval() before the export")
    return (x, torch.ones_like(x, dtype=torch.bool)) if o.gives(1) else (x,)


def _along(o: Operands, values: Tensor, x: Tensor) -> Tensor:
    """A scale for all numbers, for each place of an axis, or for blocks along it."""
    axis = o.attribute("axis", 1) % max(1, x.ndim)
    if values.ndim == 0 or values.numel() == 1:
        return values.reshape(())
    if values.ndim == 1:
        return values.reshape([-1 if n == axis else 1 for n in range(x.ndim)])
    size = o.attribute("block_size", 0) or -(-x.shape[axis] // values.shape[axis])
    return values.repeat_interleave(size, axis).narrow(axis, 0, x.shape[axis])


def quantise(o: Operands) -> Tensor:
    x, scale = o.tensor(0), o.tensor(1)
    zero = o.optional(2)
    number = o.attribute("output_dtype", 0)
    dtype = zero.dtype if zero is not None else torch_type(number, o.where) if number else torch.uint8
    limits = torch.iinfo(dtype)
    steps = torch.round(x / _along(o, scale, x))
    shifted = steps if zero is None else steps + _along(o, zero, x).to(x.dtype)
    return torch.clamp(shifted, limits.min, limits.max).to(dtype)


def dequantise(o: Operands) -> Tensor:
    x, scale = o.tensor(0), o.tensor(1)
    value = x.to(scale.dtype)
    if o.has(2):
        value = value - _along(o, o.tensor(2), x).to(scale.dtype)
    return value * _along(o, scale, x)


OPERATORS: dict[str, Operator] = {
    "BatchNormalization": batch, "InstanceNormalization": instance, "GroupNormalization": group,
    "LayerNormalization": layer, "RMSNormalization": root_mean_square, "LpNormalization": by_norm,
    "MeanVarianceNormalization": mean_variance, "LRN": local_response, "Softmax": softmax, "LogSoftmax": log_softmax,
    "Hardmax": hardmax, "Dropout": dropout, "QuantizeLinear": quantise, "DequantizeLinear": dequantise,
}  # fmt: skip
