"""Folding an operation over sliding windows, vectorised over lanes: O(N log W) work for N samples and windows of W.

A signal is a tuple of tensors (lanes, time). `combine` takes an earlier and a later signal and must be associative.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Signals = tuple[Tensor, ...]
Combine = Callable[[Signals, Signals], Signals]


def slide(xs: Signals, width: int, combine: Combine, overlap: bool = False) -> Signals:
    """At each time k the fold over the samples k … k + width - 1; width - 1 samples shorter.

    `overlap` says that combining a sample twice does no harm, as for a minimum: then two windows of a power of two
    samples cover any width. Without it the width is cut into its powers of two.
    """
    length = xs[0].shape[1] - width + 1
    power, size = xs, 1  # power: the folds over `size` samples
    if overlap:
        while 2 * size <= width:
            power, size = combine(_cut(power, 0, -size), _cut(power, size)), 2 * size
        return combine(_cut(power, 0, length), _cut(power, width - size)) if size < width else power
    result: Signals | None = None
    start = 0  # samples covered by `result`
    while True:
        if width & size:
            part = _cut(power, start, start + length)
            result = part if result is None else combine(result, part)
            start += size
        if 2 * size > width:
            assert result is not None
            return result
        power, size = combine(_cut(power, 0, -size), _cut(power, size)), 2 * size


def suffix(xs: Signals, combine: Combine) -> Signals:
    """At each time k the fold over the samples k … to the end."""
    size, length = 1, xs[0].shape[1]
    while size < length:
        head = combine(_cut(xs, 0, -size), _cut(xs, size))
        xs = tuple(torch.cat([h, x[:, -size:]], dim=1) for h, x in zip(head, xs))
        size *= 2
    return xs


def samples(start: int, stop: int | None, every: int) -> tuple[int, int | None]:
    """The first and last sample k with start <= k·every <= stop, all in nanoseconds."""
    return -(-start // every), None if stop is None else stop // every


def _cut(xs: Signals, start: int, stop: int | None = None) -> Signals:
    return tuple(x[:, start:stop] for x in xs)
