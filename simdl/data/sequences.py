"""Whole lanes as sequences, for recurrent networks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from simdl.data.columns import Columns, Grid, Names, refuse_labels
from simdl.data.normalisation import Normalisation
from simdl.data.shard import raw_bytes
from simdl.data.shards import Shards
from simdl.errors import DataError

MEMORY = 2**30  # bytes of features kept in memory; more is read from the files as it is needed


class Sequences(Dataset[tuple[Tensor, ...]]):
    """Item i is lane i: inputs (time, features), targets (time, features) and, with `mask`, (time,) bool.

    Signals of several rates need `every_ns` (see `Grid`). `normalise` holds the named features of inputs and of
    targets. What fits into `memory` bytes is kept there, so that a batch costs one gather.
    """

    def __init__(
        self,
        shards: Shards,
        inputs: Names,
        targets: Names,
        *,
        every_ns: int | None = None,
        normalise: Normalisation | None = None,
        mask: str | None = None,
        dtype: torch.dtype = torch.float32,
        allow: Sequence[str] = (),
        memory: int = MEMORY,
    ) -> None:
        refuse_labels(shards, inputs, targets, allow)
        names = [*_signals(inputs), *_signals(targets), *([mask] if mask else [])]
        self.shards, self.grid = shards, Grid.over(shards, names, every_ns)
        self.inputs = Columns(shards, inputs, self.grid, dtype, normalise)
        self.targets = Columns(shards, targets, self.grid, dtype, normalise)
        self._parts = [self.inputs, self.targets]
        if mask:
            self._parts.append(Columns(shards, [mask], self.grid, torch.bool))
        self._fits = sum(part.bytes for part in self._parts) <= memory
        self._tables: list[Tensor] | None = None
        if not len(shards) or not self.grid.samples:
            raise DataError(str(shards.folder), f"{len(shards)} lanes of {self.grid.samples} samples", "at least one")

    def __len__(self) -> int:
        return len(self.shards)

    def __repr__(self) -> str:
        shape = f"{len(self)} lanes × {self.grid.samples} samples every {self.grid.every_ns / 1e9:g} s"
        return f"Sequences({shape}: {', '.join(self.inputs.features)} → {', '.join(self.targets.features)})"

    def __getstate__(self) -> dict[str, Any]:  # a worker process maps the files instead
        return {**vars(self), "_tables": None}

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        """The items of some rows, stacked: (rows, time, features) …"""
        if self._fits and self._tables is None and get_worker_info() is None:
            self._tables = [part.load() for part in self._parts]
        if self._tables is not None:
            found = [table.index_select(0, rows) for table in self._tables]
        else:
            found = [part.rows(rows) for part in self._parts]
        return (*found[:2], *(mask[..., 0] for mask in found[2:]))

    def __getitem__(self, row: int) -> tuple[Tensor, ...]:
        return tuple(part[0] for part in self.batch(_checked(row, len(self))))

    def __getitems__(self, rows: list[int]) -> list[tuple[Tensor, ...]]:
        return list(zip(*self.batch(torch.tensor(rows, dtype=torch.int64))))

    def batches(
        self, size: int, *, shuffle: bool = False, seed: int = 0, epoch: int = 0
    ) -> Iterator[tuple[Tensor, ...]]:
        """Batches of `size` lanes (the last may be smaller), in an order that (seed, epoch) alone decides."""
        rows = order(len(self), shuffle, seed, epoch)
        for first in range(0, len(rows), size):
            yield self.batch(rows[first : first + size])

    def fingerprint(self) -> str:
        """SHA-256 of which data this is: files, lanes, features, rate, normalisation."""
        return fingerprint(self.shards, self.inputs, self.targets, f"sequences {self.grid}")


def order(count: int, shuffle: bool, seed: int, epoch: int) -> Tensor:
    """0 … count - 1, shuffled by (seed, epoch): the same in every process, so that a resumed run repeats it."""
    if not shuffle:
        return torch.arange(count)
    key = hashlib.sha256(f"{seed} {epoch}".encode()).digest()
    return torch.randperm(count, generator=torch.Generator().manual_seed(int.from_bytes(key[:8], "little") >> 1))


def fingerprint(shards: Shards, inputs: Columns, targets: Columns, shape: str) -> str:
    digest = hashlib.sha256(shape.encode())
    for entry in shards.entries:
        digest.update(entry.sha256.encode())
    digest.update(raw_bytes(shards.lanes))
    for part in (inputs, targets):
        digest.update(f"{part.features} {[s.name for s in part.signals]} {part.dtype}".encode())
        digest.update(repr(part.normalise and part.normalise.to_json()).encode())
    return digest.hexdigest()


def _signals(names: Names) -> list[str]:
    if isinstance(names, str):
        raise DataError("columns", f"the text {names!r:.80}", "a list of signal names")
    return list(names.values()) if isinstance(names, Mapping) else list(names)


def _checked(index: int, length: int) -> Tensor:
    if not -length <= index < length:
        raise IndexError(f"index {index} of {length} items")
    return torch.tensor([index % length])
