"""Moving a run between torch tensors and the memory of a native program."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from simdl.engine.native.constants import evaluated
from simdl.engine.native.layout import ALIGNED, Layout

Array = np.ndarray[Any, np.dtype[Any]]


def aligned(count: int, dtype: Any) -> Array:
    """Zeroed memory for `count` items that begins at a multiple of 64 bytes."""
    dtype = np.dtype(dtype)
    raw = np.zeros(count * dtype.itemsize + ALIGNED, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNED
    return raw[start : start + count * dtype.itemsize].view(dtype)


class Blocks:
    """The lanes of a run in blocks of `width`; the last block is filled up with copies of the last lane."""

    def __init__(self, layout: Layout, lanes: int, width: int) -> None:
        self.layout, self.lanes, self.width = layout, lanes, width
        self.number = -(-lanes // width)
        self.data = aligned(self.number, layout.dtype(width))
        self.bytes = self.data.view(np.uint8)  # numpy copies structures member by member, bytes at once

    def put(self, name: str, tensor: Tensor) -> None:
        """Give a slot its values, (lanes, *shape)."""
        slot = self.layout.slots[name]
        flat = tensor.detach().cpu().reshape(self.lanes, -1).numpy()
        self._place(slot.label, flat)

    def put_rows(self, name: str, tensor: Tensor) -> None:
        """Give a slot its values, (n, lanes)."""
        self._place(self.layout.slots[name].label, tensor.detach().cpu().numpy().T)

    def _place(self, label: str, flat: Array) -> None:
        place = self.data[label]  # (blocks, size, width)
        whole = self.lanes // self.width
        if whole:
            part = flat[: whole * self.width].reshape(whole, self.width, -1)
            place[:whole] = part.transpose(0, 2, 1)
        if whole < self.number:
            rest = flat[whole * self.width :]
            place[whole, :, : len(rest)] = rest.T
            place[whole, :, len(rest) :] = rest[-1:].T

    def get(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """The values of a slot, (lanes, *shape)."""
        slot = self.layout.slots[name]
        flat = self.data[slot.label].transpose(0, 2, 1).reshape(-1, slot.size)[: self.lanes]
        return torch.from_numpy(np.ascontiguousarray(flat)).reshape(self.lanes, *shape).to(dtype)

    def get_rows(self, name: str) -> Tensor:
        """The values of a slot, (n, lanes)."""
        slot = self.layout.slots[name]
        flat = self.data[slot.label].transpose(1, 0, 2).reshape(slot.size, -1)[:, : self.lanes]
        return torch.from_numpy(np.ascontiguousarray(flat))


__all__ = ["Array", "Blocks", "aligned", "evaluated"]
