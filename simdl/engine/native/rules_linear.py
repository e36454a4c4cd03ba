"""Products of matrices, and what is made of them: convolutions and bilinear forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from simdl.engine.native.ir import CONSTANT, TYPES, Value
from simdl.engine.native.registry import by_parts, rule
from simdl.engine.native.tracer import Tracer
from simdl.errors import LoweringError

Place = tuple[int, int, int] | None


def _product(tracer: Tracer, a: Tensor, b: Tensor, out: Tensor) -> None:
    """a (batch, m, k) times b (batch, k, n): the lanes in the batch, in the rows of a, or in the columns of b."""
    left, right = tracer.known(a), tracer.known(b)
    batch, m, k = a.shape
    n = b.shape[2]
    kind, graph = TYPES[out.dtype], tracer.graph
    lane = _lane_of_product(tracer, left.lane, right.lane)
    one, two = left.value, right.value
    if lane is not None and lane[0] == 0:
        one, two = (tracer.aligned(e, tuple(t.shape), lane) for e, t in ((left, a), (right, b)))
        batch //= tracer.lanes
    elif lane is not None and lane[0] == 1:
        m //= tracer.lanes
    elif lane is not None:
        n //= tracer.lanes
    one, two = (graph.expanded(graph.cast(v, kind), s) for v, s in ((one, batch * m * k), (two, batch * k * n)))
    if not batch * m * n * k:
        tracer.record(out, graph.const(0, kind), lane)
    elif one.level == CONSTANT and two.level != CONSTANT:  # weights are on the right
        one, two = _flipped(tracer, one, batch, m, k), _flipped(tracer, two, batch, k, n)
        found = _matmul(tracer, two, one, (batch, n, k, m), kind)
        tracer.record(out, _flipped(tracer, found, batch, n, m), lane)
    else:
        tracer.record(out, _matmul(tracer, one, two, (batch, m, k, n), kind), lane)


def _matmul(tracer: Tracer, one: Value, two: Value, shape: tuple[int, int, int, int], kind: str) -> Value:
    batch, m, k, n = shape
    if two.level == CONSTANT and batch > 1 and two.op == "view":  # the same weights for all of a batch
        rows = two.attr.array.reshape(batch, k * n)
        if (rows == rows[0]).all():
            two = tracer.graph.view(two.args[0], rows[0])
            batch, m = 1, batch * m
    return tracer.graph.make("matmul", (one, two), (batch, m, k, n), kind, batch * m * n)


def _flipped(tracer: Tracer, value: Value, batch: int, m: int, n: int) -> Value:
    """Matrices (m, n) transposed."""
    places = torch.arange(batch * m * n).reshape(batch, m, n).transpose(1, 2)
    return tracer.graph.view(value, places.reshape(-1).numpy())


def _lane_of_product(tracer: Tracer, left: Place, right: Place) -> Place:
    if left is not None and left[0] == 2 or right is not None and right[0] == 1:
        raise LoweringError(tracer.where, "a matrix product that sums over the lanes", "lanes that stay apart")
    if left is not None and left[0] == 0 or right is not None and right[0] == 0:
        found = left if left is not None and left[0] == 0 else right
        other = right if found is left else left
        if other is not None and other != found:
            raise LoweringError(tracer.where, "a matrix product of different lanes", "lanes that stay apart")
        return found
    if left is not None and right is not None:
        raise LoweringError(tracer.where, "a matrix product of all lanes with all lanes", "lanes that stay apart")
    return left if left is not None else right


@rule("mm")
def _mm(tracer: Tracer, func: Any, out: Tensor, a: Tensor, b: Tensor) -> None:
    with tracer:
        left, right = a.unsqueeze(0), b.unsqueeze(0)
    with tracer.paused():
        found = torch.bmm(left, right)
    _product(tracer, left, right, found)
    with tracer:
        flat = found.squeeze(0)
    tracer.same(out, flat)


@rule("bmm")
def _bmm(tracer: Tracer, func: Any, out: Tensor, a: Tensor, b: Tensor) -> None:
    _product(tracer, a, b, out)


@by_parts("mv")
def _mv(a: Tensor, b: Tensor) -> Tensor:
    return torch.mm(a, b[:, None])[:, 0]


@by_parts("dot", "vdot")
def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum()


@by_parts("addmm", "baddbmm")
def _addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    product = (torch.mm if a.ndim == 2 else torch.bmm)(a, b)
    product = product if alpha == 1 else product * alpha
    return product if beta == 0 else product + (bias if beta == 1 else bias * beta)


@by_parts("addmv")
def _addmv(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return _addmm(bias, a, b[:, None], beta=beta, alpha=alpha)[:, 0]


@by_parts("addr")
def _addr(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return x * beta + alpha * a[:, None] * b[None, :]


@by_parts("linalg_cross")
def _cross(a: Tensor, b: Tensor, *, dim: int = -1) -> Tensor:
    return torch.roll(a, -1, dim) * torch.roll(b, -2, dim) - torch.roll(a, -2, dim) * torch.roll(b, -1, dim)


@by_parts("_trilinear")
def _trilinear(a: Tensor, b: Tensor, c: Tensor, first: Sequence[int], second: Sequence[int], third: Sequence[int],
               summed: Sequence[int], unroll_dim: int = 1) -> Tensor:  # fmt: skip
    """The product of three tensors, each expanded along axes, summed over some; bilinear layers as two products."""
    if a.ndim == 2 and [[*x] for x in (first, second, third, summed)] == [[1, 3], [0], [1, 2], [2, 3]]:
        outputs, inputs, others = b.shape
        half = (a @ b.permute(1, 0, 2).reshape(inputs, outputs * others)).reshape(-1, outputs, others)
        return (half @ c.unsqueeze(-1)).squeeze(-1)
    parts = []
    for tensor, axes in ((a, first), (b, second), (c, third)):
        for axis in axes:
            tensor = tensor.unsqueeze(axis)
        parts.append(tensor)
    return (parts[0] * parts[1] * parts[2]).sum(tuple(summed))


@by_parts("_cdist_forward")
def _distances(a: Tensor, b: Tensor, p: float, mode: int | None) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(a.unsqueeze(-2) - b.unsqueeze(-3), p, dim=-1)
    return found


@by_parts("_euclidean_dist")
def _euclidean(a: Tensor, b: Tensor) -> Tensor:
    return _distances(a, b, 2.0, None)


@by_parts("convolution")
def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], transposed: bool, output_padding: Sequence[int], groups: int,
) -> Tensor:  # fmt: skip
    """A convolution as patches times weights; a transposed one as a convolution of the input with zeros in between."""
    if transposed:
        x, weight = _spread(x, weight, stride, padding, dilation, output_padding, groups)
        stride, padding = [1] * len(stride), [0] * len(padding)
    spatial = x.ndim - 2
    pad = [p for size in reversed(padding) for p in (size, size)]
    patches = torch.nn.functional.pad(x, pad) if any(pad) else x
    for i in range(spatial):
        reach = dilation[i] * (weight.shape[2 + i] - 1) + 1
        patches = patches.unfold(2 + i, reach, stride[i])[..., :: dilation[i]]
    # (lanes, channels, *places, *kernel) -> (lanes, places, groups, channels of a group * kernel)
    lanes, shape = x.shape[0], patches.shape[2 : 2 + spatial]
    order = (0, *range(2, 2 + spatial), 1, *range(2 + spatial, 2 + 2 * spatial))
    rows = patches.permute(order).reshape(lanes, -1, groups, weight[0].numel())
    size = weight.shape[0] // groups
    parts = [rows[:, :, g] @ weight[g * size : (g + 1) * size].reshape(size, -1).t() for g in range(groups)]
    out = torch.cat(parts, -1).transpose(1, 2).reshape(lanes, weight.shape[0], *shape)
    return out if bias is None else out + bias.reshape(1, -1, *(1,) * spatial)


def _spread(
    x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int],
    more: Sequence[int], groups: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The input with stride - 1 zeros between elements and its new edges, and the kernel turned round."""
    spatial = x.ndim - 2
    for i in range(spatial):
        axis = 2 + i
        if stride[i] > 1:
            wide = torch.stack([x, *[torch.zeros_like(x)] * (stride[i] - 1)], axis + 1).flatten(axis, axis + 1)
            x = wide.narrow(axis, 0, wide.shape[axis] - stride[i] + 1)
    pad = [
        edge
        for i in reversed(range(spatial))
        for reach in [dilation[i] * (weight.shape[2 + i] - 1) - padding[i]]
        for edge in (reach, reach + more[i])
    ]
    weight = weight.flip(tuple(range(2, 2 + spatial)))
    parts = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:]).transpose(1, 2)
    return torch.nn.functional.pad(x, pad), parts.reshape(-1, *parts.shape[2:])
