"""Reductions, order and cumulative sums."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from simdl.networks.onnx.operands import Operands, Operator

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def reduced(function: Reduction, since: int = 18) -> Operator:
    """since: the opset from which axes are an input."""

    def apply(o: Operands) -> Tensor:
        x = o.tensor(0)
        axes = o.axes(1, since)
        if not axes:
            if o.attribute("noop_with_empty_axes", 0):
                return function(x.unsqueeze(0), [0], False)
            axes = list(range(x.ndim))
        return function(x, [a % x.ndim for a in axes], bool(o.attribute("keepdims", 1))) if x.ndim else x

    return apply


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep, dtype=x.dtype)


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.mean(axes, keepdim=keep)


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


def _maximum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if any(x.shape[a] == 0 for a in axes):
        shape = [1 if i in axes else n for i, n in enumerate(x.shape) if keep or i not in axes]
        return torch.full(shape, _extreme(x, -1), dtype=x.dtype, device=x.device)
    return x.amax(axes, keepdim=keep)


def _minimum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if any(x.shape[a] == 0 for a in axes):
        shape = [1 if i in axes else n for i, n in enumerate(x.shape) if keep or i not in axes]
        return torch.full(shape, _extreme(x, 1), dtype=x.dtype, device=x.device)
    return x.amin(axes, keepdim=keep)


def _extreme(x: Tensor, sign: int) -> float:
    """The neutral number of a minimum (sign 1) or maximum (-1)."""
    if x.is_floating_point():
        return sign * torch.inf
    if x.dtype == torch.bool:
        return float(sign > 0)
    return torch.iinfo(x.dtype).max if sign > 0 else torch.iinfo(x.dtype).min


def _log_sum_exp(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.logsumexp(x, axes, keepdim=keep)


def _position(o: Operands, function: Callable[..., Tensor]) -> Tensor:
    x, axis, keep = o.tensor(0), o.attribute("axis", 0), bool(o.attribute("keepdims", 1))
    if not o.attribute("select_last_index", 0):
        return function(x, axis, keepdim=keep)
    found: Tensor = x.shape[axis] - 1 - function(x.flip(axis), axis, keepdim=keep)
    return found


def largest(o: Operands) -> tuple[Tensor, ...]:
    x, count, axis = o.tensor(0), o.ints(1)[0], o.attribute("axis", -1)
    if not 0 <= count <= x.shape[axis]:
        raise o.wrong(f"the {count} largest of {x.shape[axis]}", "at most as many as there are")
    # Of equal numbers the first comes first, which topk leaves open.
    values, places = torch.sort(x, dim=axis, descending=bool(o.attribute("largest", 1)), stable=True)
    return values.narrow(axis, 0, count), places.narrow(axis, 0, count)


def cumulative(function: Callable[[Tensor, int], Tensor], neutral: float) -> Operator:
    def apply(o: Operands) -> Tensor:
        x, axis = o.tensor(0), o.ints(1)[0] if o.has(1) else 0
        reverse = bool(o.attribute("reverse", 0))
        x = x.flip(axis) if reverse else x
        if o.attribute("exclusive", 0):
            first = torch.full_like(x.narrow(axis, 0, 1), neutral)
            x = torch.cat((first, x.narrow(axis, 0, x.shape[axis] - 1)), axis)
        found = function(x, axis).to(x.dtype)
        return found.flip(axis) if reverse else found

    return apply


OPERATORS: dict[str, Operator] = {
    "ReduceSum": reduced(_sum, 13), "ReduceMean": reduced(_mean), "ReduceProd": reduced(_product),
    "ReduceMax": reduced(_maximum), "ReduceMin": reduced(_minimum), "ReduceLogSumExp": reduced(_log_sum_exp),
    "ReduceL1": reduced(lambda x, a, k: _sum(x.abs(), a, k)),
    "ReduceL2": reduced(lambda x, a, k: _sum(x.square(), a, k).sqrt()),
    "ReduceSumSquare": reduced(lambda x, a, k: _sum(x.square(), a, k)),
    "ReduceLogSum": reduced(lambda x, a, k: _sum(x, a, k).log()),
    "ArgMax": lambda o: _position(o, torch.argmax), "ArgMin": lambda o: _position(o, torch.argmin),
    "TopK": largest, "CumSum": cumulative(torch.cumsum, 0.0), "CumProd": cumulative(torch.cumprod, 1.0),
}  # fmt: skip
