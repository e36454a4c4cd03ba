"""One after another, and in order: running sums, sorting by counting ranks, search in sorted numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from simdl.engine.native.registry import by_parts
from simdl.errors import LoweringError

SORTED = 128  # elements that are sorted: every one is compared with every other


def _scan(x: Tensor, dim: int, step: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    if x.ndim == 0:
        return x + 0
    total = x.select(dim, 0)
    parts = [total]
    for i in range(1, x.shape[dim]):
        total = step(total, x.select(dim, i))
        parts.append(total)
    return torch.stack(parts, dim)


@by_parts("cumsum")
def _cumsum(x: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    return _scan(_summable(x, dtype), dim, torch.add)


@by_parts("cumprod")
def _cumprod(x: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    return _scan(_summable(x, dtype), dim, torch.mul)


def _summable(x: Tensor, dtype: Any) -> Tensor:
    return x.to(dtype if dtype is not None else x.dtype if x.is_floating_point() else torch.int64)


@by_parts("logcumsumexp")
def _logcumsumexp(x: Tensor, dim: int) -> Tensor:
    return _scan(x, dim, torch.logaddexp)


def _running(x: Tensor, dim: int, better: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    best, place = x.select(dim, 0), torch.zeros_like(x.select(dim, 0), dtype=torch.int64)
    values, places = [best], [place]
    for i in range(1, x.shape[dim]):
        following = x.select(dim, i)
        taken = better(following, best)
        if x.is_floating_point():
            taken = (taken & ~best.isnan()) | following.isnan()
        best, place = torch.where(taken, following, best), torch.where(taken, i, place)
        values.append(best)
        places.append(place)
    return torch.stack(values, dim), torch.stack(places, dim)


@by_parts("cummax")
def _cummax(x: Tensor, dim: int) -> Any:
    return _running(x, dim, torch.ge)


@by_parts("cummin")
def _cummin(x: Tensor, dim: int) -> Any:
    return _running(x, dim, torch.le)


@by_parts("sort", "sort.stable")
def _sorted(x: Tensor, dim: int = -1, descending: bool = False, *, stable: bool | None = None) -> Any:
    """Stable: the place of an element is the number of those before it. NaN is the largest number."""
    n = x.shape[dim] if x.ndim else 1
    if n > SORTED:
        raise LoweringError("", f"{n} elements to sort", f"at most {SORTED}")
    rows = x.movedim(dim, -1) if x.ndim else x[None]
    mine, other = rows.unsqueeze(-1), rows.unsqueeze(-2)
    before = other > mine if descending else other < mine
    same = other == mine
    if x.is_floating_point():
        strange, others = mine.isnan(), other.isnan()
        before = before | (others & ~strange if descending else strange & ~others)
        same = same | (strange & others)
    counts = torch.arange(n)
    rank = (before | (same & (counts < counts[:, None]))).sum(-1)
    places = ((rank.unsqueeze(-2) == counts[:, None]) * counts).sum(-1)
    values = rows.gather(-1, places)
    return (values.movedim(-1, dim), places.movedim(-1, dim)) if x.ndim else (values[0], places[0])


@by_parts("argsort", "argsort.stable")
def _argsort(x: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    return _sorted(x, dim, descending)[1]


@by_parts("topk")
def _topk(x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    values, places = _sorted(x, dim, largest)
    return values.narrow(dim, 0, k), places.narrow(dim, 0, k)


@by_parts("kthvalue")
def _kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    values, places = _sorted(x, dim)
    found = values.narrow(dim, k - 1, 1), places.narrow(dim, k - 1, 1)
    return found if keepdim else tuple(f.squeeze(dim) for f in found)


@by_parts("median.dim")
def _median(x: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """The lower one of two in the middle; NaN where there is any."""
    values, places = _kthvalue(x, (x.shape[dim] + 1) // 2, dim, True)
    if x.is_floating_point():
        last, where = _kthvalue(x, x.shape[dim], dim, True)
        first = x.isnan().to(torch.int64).argmax(dim, keepdim=True)
        values, places = torch.where(last.isnan(), last, values), torch.where(last.isnan(), first, places)
    return (values, places) if keepdim else (values.squeeze(dim), places.squeeze(dim))


@by_parts("searchsorted.Tensor", "searchsorted.Scalar")
def _search(bounds: Tensor, x: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None,
            sorter: Tensor | None = None) -> Tensor:  # fmt: skip
    """How many of the sorted boundaries lie below: a sum of comparisons. NaN lies above all."""
    x = torch.as_tensor(x)
    bounds = bounds if sorter is None else bounds.gather(-1, sorter)
    one, two = (bounds if bounds.ndim == 1 else bounds.unsqueeze(-2)), x.unsqueeze(-1)
    below: Tensor = one <= two if right or side == "right" else one < two
    if x.is_floating_point():
        below = below | two.isnan()
    return below.sum(-1)


@by_parts("bucketize.Tensor", "bucketize.Scalar")
def _bucket(x: Any, bounds: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    return _search(bounds, x, right=right)
