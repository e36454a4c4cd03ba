"""How the operations of torch's backward passes become operations of the lane program."""

from __future__ import annotations

import torch
from torch import Tensor

from simdl.engine.native.registry import by_parts


@by_parts("tanh_backward")
def _tanh(grad: Tensor, result: Tensor) -> Tensor:
    return grad * (1 - result * result)


@by_parts("sigmoid_backward")
def _sigmoid(grad: Tensor, result: Tensor) -> Tensor:
    return grad * (result * (1 - result))


@by_parts("threshold_backward")
def _threshold(grad: Tensor, x: Tensor, threshold: float) -> Tensor:
    return torch.where(x <= threshold, 0.0, grad)


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
