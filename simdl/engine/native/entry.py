"""What the tracer knows of a tensor: its value for one lane, and where in its shape the lanes are.

Tensors are traced with an odd number of lanes, `LANES`, so that a lane axis shows by its size. To learn what an
operation that only moves elements does (a view, a slice, a concatenation, a padding), it is run once more on tensors of
labels: label = (lane + 1) * stride + 1 + element, without lanes
1 + element, and 0 for what it fills in. Where the lanes went is read off the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from simdl.engine.native.ir import Value
from simdl.errors import LoweringError


@dataclass(frozen=True, eq=False)
class Entry:
    """value: the elements of one lane, in the order of the shape without its lanes; lane: (axis, before, after), the
    axis being before * lanes * after long, or None for a tensor without a lane axis."""

    value: Value
    shape: tuple[int, ...]
    lane: tuple[int, int, int] | None


def labels(entry: Entry, lanes: int, stride: int, start: int) -> Tensor:
    """The tensor of labels of an entry."""
    count = entry.value.size
    if entry.lane is None:
        return torch.arange(start + 1, start + 1 + count).reshape(entry.shape)
    axis, before, after = entry.lane
    rest = (*entry.shape[:axis], before, after, *entry.shape[axis + 1 :])
    inner = torch.arange(start + 1, start + 1 + count).reshape(rest)
    lane = ((torch.arange(lanes) + 1) * stride).reshape(*(1,) * (axis + 1), lanes, *(1,) * (len(rest) - axis - 1))
    return (inner.unsqueeze(axis + 1) + lane).reshape(entry.shape)


def read(found: Tensor, lanes: int, stride: int) -> tuple[Tensor, tuple[int, int, int] | None]:
    """Labels after an operation: the elements of one lane, flat (-1 where filled), and where the lanes are.

    Raises LoweringError when lanes are mixed with elements."""
    lane, element = found // stride, found % stride - 1
    if not bool((lane != 0).any()):
        lane_of_same = repeated(element, lanes)
        if lane_of_same is None:
            return element.reshape(-1), None
        axis, before, after = lane_of_same
        split = element.reshape(*found.shape[:axis], before, lanes, after, *found.shape[axis + 1 :])
        return split.select(axis + 1, 0).reshape(-1), lane_of_same
    if not found.numel():
        return element.reshape(-1), None
    for axis, size in enumerate(found.shape):
        if size % lanes or not size:
            continue
        for before in _divisors(size // lanes):
            after = size // lanes // before
            split = lane.reshape(*found.shape[:axis], before, lanes, after, *found.shape[axis + 1 :])
            gone = split == 0  # filled in, or of a table
            expected = torch.arange(1, lanes + 1).reshape(*(1,) * (axis + 1), lanes, *(1,) * (split.ndim - axis - 2))
            if bool(((split == expected) | gone).all()):
                elements = element.reshape(split.shape)
                if bool((elements != elements.select(axis + 1, 0).unsqueeze(axis + 1)).any()):
                    continue
                return elements.select(axis + 1, 0).reshape(-1), (axis, before, after)
    raise LoweringError("", f"lanes moved among features in the shape {tuple(found.shape)}", "lanes kept apart")


def repeated(numbers: Tensor, lanes: int) -> tuple[int, int, int] | None:
    """Where a tensor without lanes repeats as often as there are lanes: as good as a lane axis."""
    for axis, size in enumerate(numbers.shape):
        if size % lanes or not size:
            continue
        for before in _divisors(size // lanes):
            after = size // lanes // before
            split = numbers.reshape(*numbers.shape[:axis], before, lanes, after, *numbers.shape[axis + 1 :])
            if bool((split == split.select(axis + 1, 0).unsqueeze(axis + 1)).all()):
                return axis, before, after
    return None


def _divisors(n: int) -> list[int]:
    return [1] if n <= 1 else [1, n, *(d for d in range(2, n) if n % d == 0)]
