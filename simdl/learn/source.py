"""What `fit` learns from: anything that gives a batch for some row numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from simdl.data.sequences import order
from simdl.data.shard import raw_bytes
from simdl.data.windows import Windows
from simdl.errors import RunError

Batch = tuple[Tensor, ...]


@runtime_checkable
class Source(Protocol):
    """Rows by number: inputs, targets and, if there is one, a mask of the targets that count, stacked."""

    def __len__(self) -> int: ...

    def batch(self, rows: Tensor) -> Batch: ...


Data = Source | Dataset[Any] | tuple[Tensor, ...]


class Tensors:
    """Tensors with rows first."""

    def __init__(self, parts: Sequence[Tensor]) -> None:
        if len({len(part) for part in parts}) != 1 or not 2 <= len(parts) <= 3:
            raise RunError(
                "fit", f"tensors {[tuple(p.shape) for p in parts]}", "inputs, targets (and mask), rows first"
            )
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts[0])

    def batch(self, rows: Tensor) -> Batch:
        return tuple(part.index_select(0, rows.to(part.device)) for part in self.parts)

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for part in self.parts:
            digest.update(f"{tuple(part.shape)} {part.dtype}".encode())
            digest.update(raw_bytes(part))
        return digest.hexdigest()


class _Order(Sampler[list[int]]):
    """Batches of row numbers, set anew for each epoch; so that one pool of workers serves all epochs."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class Loaded:
    """Any torch Dataset with a length, through a DataLoader."""

    def __init__(self, dataset: Dataset[Any], workers: int) -> None:
        self.dataset, self.order = dataset, _Order()
        self.generator = torch.Generator()  # its own: drawing from torch's would change dropout after a resumption
        self.loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_sampler=self.order,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context="spawn" if workers else None,
            generator=self.generator,
        )

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def batches(self, rows: list[Tensor], seed: int, epoch: int) -> Iterator[Batch]:
        self.generator.manual_seed(hash((seed, epoch)) % 2**63)
        self.order.batches = [part.tolist() for part in rows]
        for batch in self.loader:
            if not isinstance(batch, tuple | list) or not all(isinstance(part, Tensor) for part in batch):
                kinds = type(batch).__name__
                if isinstance(batch, tuple | list):
                    kinds += f" of {', '.join(type(part).__name__ for part in batch)}"
                raise RunError("fit", f"a batch of the data set is a {kinds}", "tensors: inputs, targets (and mask)",
                               "let __getitem__ return (input, target)")  # fmt: skip
            if not 2 <= len(batch) <= 3:
                raise RunError("fit", f"a row of the data set has {len(batch)} parts", "inputs, targets (and mask)")
            yield tuple(batch)


class Part:
    """Some rows of a source, by number."""

    def __init__(self, source: Source, rows: Tensor) -> None:
        self.source, self.rows = source, rows

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, rows: Tensor) -> Batch:
        return self.source.batch(self.rows[rows])

    def fingerprint(self) -> str:
        return f"{source_fingerprint(self.source)} {hashlib.sha256(raw_bytes(self.rows)).hexdigest()}"


class _Rows(Dataset[Any]):
    """Some rows of a torch Dataset."""

    def __init__(self, dataset: Dataset[Any], rows: Tensor) -> None:
        self.dataset, self.rows = dataset, rows.tolist()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.rows[index]]

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr(self.rows).encode()).hexdigest()
        return f"{source_fingerprint(self.dataset)} {digest}"


def split(data: Data, fraction: float, seed: int = 0) -> tuple[Data, Data]:
    """The data without a part of its rows, chosen by the seed, and that part: for training and validation.

    Rows of a `Windows` overlap: split its shards with `simdl.data.split_by_lane` instead. RunError for it, and for
    fractions that leave one of the two empty.

    >>> x = torch.arange(10.0).reshape(10, 1)
    >>> train, held = split((x, 2 * x), 0.2, seed=1)
    >>> len(train), len(held)
    (8, 2)
    """
    source = as_source(data)
    inner = source.dataset if isinstance(source, Loaded) else source
    if isinstance(inner, Windows):
        raise RunError("split", "windows, which overlap: of a lane some would be learnt and others judged on",
                       "whole lanes", "train, held = simdl.data.split_by_lane(shards, (0.8, 0.2)); Windows of each",
                       )  # fmt: skip
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0.0 < fraction < 1.0:
        raise RunError("split", f"a fraction {fraction!r}", "a number between 0 and 1")
    count = round(fraction * len(source))
    if not 0 < count < len(source):
        raise RunError("split", f"{fraction:g} of {len(source)} rows", "at least one row in each part")
    rows = order(len(source), True, seed, -1)  # not the order of any epoch
    parts = rows[count:].sort().values, rows[:count].sort().values
    if isinstance(source, Loaded):
        return _Rows(source.dataset, parts[0]), _Rows(source.dataset, parts[1])
    return Part(source, parts[0]), Part(source, parts[1])


def as_source(data: Data, workers: int = 0) -> Source | Loaded:
    """A source of whatever `fit` accepts. RunError for data without a length: its order could not be repeated."""
    if isinstance(data, tuple | list):
        return Tensors([_tensor(part, name) for part, name in zip(data, ("inputs", "targets", *("mask",) * len(data)))])
    if isinstance(data, Tensor | np.ndarray):
        raise RunError("fit", f"one array {tuple(data.shape)}", "a tuple: (inputs, targets) or (inputs, targets, mask)")
    if isinstance(data, DataLoader):
        raise RunError("fit", "a DataLoader", "the data set in it: an interrupted run must see the same order again",
                       f"fit(…, loader.dataset, batch={data.batch_size or 64}, workers={data.num_workers})",
                       )  # fmt: skip
    if isinstance(data, IterableDataset) or not hasattr(data, "__len__"):
        raise RunError(
            "fit", f"data of type {type(data).__name__} without a length",
            "tensors, Sequences, Windows, or a torch Dataset with __len__ and __getitem__",
            "an interrupted run must see the same order again: give the rows numbers",
        )  # fmt: skip
    if workers == 0 and isinstance(data, Source) and getattr(data, "form", "tuple") == "tuple":
        return data
    return Loaded(data, workers)  # type: ignore[arg-type]


def _tensor(part: Any, name: str) -> Tensor:
    try:
        return torch.as_tensor(part)
    except (TypeError, ValueError, RuntimeError) as error:
        fix = "labels that are text: their numbers, as numpy.unique(labels, return_inverse=True)[1] gives them"
        raise RunError("fit", f"{name} that are no tensor: {str(error).splitlines()[0]:.100}", "an array of numbers",
                       fix if "str" in str(error) else "one array: a module of several inputs takes it apart",
                       ) from error  # fmt: skip


def epoch_batches(
    source: Source | Loaded, size: int, shuffle: bool, seed: int, epoch: int, start: int
) -> Iterator[Batch]:
    """The batches of an epoch from number `start` on, in the order that seed and epoch decide."""
    rows = order(len(source), shuffle, seed, epoch)
    parts = [rows[i : i + size] for i in range(start * size, len(rows), size)]
    if isinstance(source, Loaded):
        yield from source.batches(parts, seed, epoch)
    else:
        for part in parts:
            yield source.batch(part)


def source_fingerprint(source: Source | Loaded | Dataset[Any]) -> str:
    """Which data this is, as far as it can tell."""
    inner = source.dataset if isinstance(source, Loaded) else source
    own = getattr(inner, "fingerprint", None)
    return str(own()) if callable(own) else f"{type(inner).__name__} of {len(source)}"  # type: ignore[arg-type]
