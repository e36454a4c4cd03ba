"""How the operations of torch's backward passes become operations of the lane program."""

from __future__ import annotations

import torch
from torch import Tensor

from simdl.engine.native.registry import by_parts
from simdl.errors import LoweringError


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
    """What is scattered to element n: the sources whose index it is."""
    size = x.shape[dim]
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
