"""How the operations of torch's backward passes become operations of the lane program."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from simdl.engine.native.registry import by_parts
from simdl.errors import LoweringError

SCATTERED = 4096  # elements of a lane of which one may get a gradient


@by_parts("tanh_backward")
def _tanh(grad: Tensor, result: Tensor) -> Tensor:
    return grad * (1 - result * result)


@by_parts("sigmoid_backward")
def _sigmoid(grad: Tensor, result: Tensor) -> Tensor:
    return grad * (result * (1 - result))


@by_parts("threshold_backward")
def _threshold(grad: Tensor, x: Tensor, threshold: float) -> Tensor:
    return torch.where(x <= threshold, 0.0, grad)


@by_parts("log_sigmoid_backward")
def _log_sigmoid(grad: Tensor, x: Tensor, buffer: Tensor) -> Tensor:
    return grad * torch.sigmoid(-x)


@by_parts("select_backward")
def _select(grad: Tensor, sizes: list[int], dim: int, index: int) -> Tensor:
    return torch.select_scatter(grad.new_zeros(sizes), grad, dim, index)


@by_parts("slice_backward")
def _slice(grad: Tensor, sizes: list[int], dim: int, start: int, end: int, step: int) -> Tensor:
    return torch.slice_scatter(grad.new_zeros(sizes), grad, dim, start, end, step)


@by_parts("scatter_add")
def _scatter_add(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """What is scattered to element n: the sources whose index it is. Every element is looked at each time."""
    size = x.shape[dim]
    if size > SCATTERED:
        raise LoweringError("scatter_add", f"{size} elements to add to", f"at most {SCATTERED}")
    cut = tuple(slice(0, n) for n in index.shape)
    given, places = source[cut].movedim(dim, -1), index.movedim(dim, -1)
    here = places.unsqueeze(-1) == torch.arange(size)
    return x + torch.where(here, given.unsqueeze(-1), 0.0).sum(-2).movedim(-1, dim)


def batch_norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, variance: Tensor, saved_mean: Tensor,
    saved_scale: Tensor, train: bool, eps: float, mask: list[bool],
) -> tuple[Tensor, Tensor | None, Tensor | None]:  # fmt: skip
    """Gradients of x, of the weight and of the bias. Raises LoweringError in training mode, which mixes lanes."""
    if train:
        raise LoweringError("batch norm", "statistics of the batch", "evaluation mode")
    shape, others = (1, -1, *(1,) * (x.ndim - 2)), [0, *range(2, x.ndim)]
    scale = torch.rsqrt(variance + eps)
    whole = scale if weight is None else scale * weight
    moved = (x - mean.reshape(shape)) * scale.reshape(shape)
    return (
        grad * whole.reshape(shape),
        (grad * moved).sum(others) if mask[1] else None,
        grad.sum(others) if mask[2] else None,
    )


def convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Sequence[int] | None, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], transposed: bool, output_padding: Sequence[int], groups: int, mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # fmt: skip
    """Gradients of x, of the weight and of the bias, one place of the kernel after another.

    Raises LoweringError for a transposed convolution."""
    if transposed:
        raise LoweringError("convolution", "the gradient of a transposed convolution", "a plain one")
    axes, places = range(x.ndim - 2), grad.shape[2:]
    inside = torch.nn.functional.pad(x, [p for size in reversed(padding) for p in (size, size)])
    outs, ins = weight.shape[0] // groups, weight.shape[1]
    kernel = list(product(*(range(k) for k in weight.shape[2:])))
    back, slopes = [], []
    for g in range(groups):
        part = grad[:, g * outs : (g + 1) * outs]
        rows = part.movedim(1, -1).reshape(-1, outs)
        seen, total, slope = inside[:, g * ins : (g + 1) * ins], None, []
        for at in kernel:
            place: Any = (slice(g * outs, (g + 1) * outs), slice(None), *at)
            reach = [slice(k * d, k * d + s * (n - 1) + 1, s) for k, d, s, n in zip(at, dilation, stride, places)]
            if mask[0]:
                moved = (rows @ weight[place]).reshape(-1, *places, ins)
                one = _spread(moved.movedim(-1, 1), seen, reach)
                total = one if total is None else total + one
            if mask[1]:
                there = seen[(slice(None), slice(None), *reach)].movedim(1, -1).reshape(-1, ins)
                slope.append(part.transpose(0, 1).reshape(outs, -1) @ there)
        if total is not None:
            back.append(total)
        if slope:
            slopes.append(torch.stack(slope, -1).reshape(outs, ins, *weight.shape[2:]))
    crop = (slice(None), slice(None), *(slice(p, p + n) for p, n in zip(padding, x.shape[2:])))
    return (
        torch.cat(back, 1)[crop] if mask[0] else None,
        torch.cat(slopes) if mask[1] else None,
        grad.sum([0, *(a + 2 for a in axes)]) if mask[2] else None,
    )


def _spread(values: Tensor, like: Tensor, reach: Sequence[slice]) -> Tensor:
    """Values put where slices of the last axes are, in zeros."""
    for axis in range(len(reach) - 1, -1, -1):
        shape = list(values.shape)
        shape[2 + axis] = like.shape[2 + axis]
        at = reach[axis]
        values = torch.slice_scatter(values.new_zeros(shape), values, 2 + axis, at.start, at.stop, at.step)
    return values
