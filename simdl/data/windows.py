"""Short stretches of lanes, for networks without memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from simdl.data.columns import Columns, Fill, Grid, Names, refuse_labels
from simdl.data.normalisation import Normalisation
from simdl.data.sequences import MEMORY, _checked, _signals, fingerprint
from simdl.data.shards import Shards
from simdl.errors import DataError

Item = tuple[Tensor, Tensor] | dict[str, dict[str, Tensor]]


class Windows(Dataset[Item]):
    """Windows of `length` samples, one every `hop` samples of each lane; those of a lane lie together.

    An item is inputs (length, features) and targets (features): the targets' value `horizon` samples after the
    window's last, or, with `target="all"`, (length, features) of the whole window. `fill` says what stands before a
    lane's first sample: `none` starts with the first whole window, `hold` repeats the first sample, `zeros` puts
    zeros (before normalisation). With `form="dict"` an item is {"inputs": {name: (length, *shape)}, "targets":
    {name: …}}, which keeps shapes and integer dtypes: images.
    """

    def __init__(
        self,
        shards: Shards,
        inputs: Names,
        targets: Names,
        *,
        length: int,
        hop: int = 1,
        fill: Fill = "none",
        horizon: int = 0,
        target: Literal["last", "all"] = "last",
        form: Literal["tuple", "dict"] = "tuple",
        every_ns: int | None = None,
        normalise: Normalisation | None = None,
        dtype: torch.dtype = torch.float32,
        allow: Sequence[str] = (),
        memory: int = MEMORY,
    ) -> None:
        for name, value, least in (("length", length, 1), ("hop", hop, 1), ("horizon", horizon, 0)):
            if type(value) is not int or value < least:
                raise DataError("Windows", f"{name}={value!r}", f"a whole number of samples, at least {least}")
        for name, word, words in (("fill", fill, get_args(Fill)), ("target", target, ("last", "all")),
                                  ("form", form, ("tuple", "dict"))):  # fmt: skip
            if word not in words:
                raise DataError("Windows", f"{name}={word!r}", names=words, wrong=str(word))
        if form == "dict" and normalise is not None:
            raise DataError("Windows", 'normalise with form="dict"', "one of them", "normalise inside the network")
        refuse_labels(shards, inputs, targets, allow)
        self.shards, self.length, self.hop = shards, length, hop
        self.fill: Fill = fill
        self.horizon, self.target, self.form = horizon, target, form
        self.grid = Grid.over(shards, [*_signals(inputs), *_signals(targets)], every_ns)
        self._first = 0 if fill != "none" else length - 1  # the last sample of a lane's first window
        self.per_lane = max((self.grid.samples - horizon - self._first + hop - 1) // hop, 0)
        if not self.per_lane or not len(shards):
            raise DataError(
                str(shards.folder),
                f"no window of {length} samples with horizon {horizon} in {len(shards)} lanes of {self.grid.samples}",
                "at least one", 'shorter windows, longer lanes, or fill="hold"',
            )  # fmt: skip
        self._tables: tuple[Tensor, Tensor] | None = None
        if form == "tuple":
            self.inputs = Columns(shards, inputs, self.grid, dtype, normalise)
            self.targets = Columns(shards, targets, self.grid, dtype, normalise)
            self._fits = self.inputs.bytes + self.targets.bytes <= memory
        else:
            self._named = {"inputs": _pairs(inputs), "targets": _pairs(targets)}

    def __len__(self) -> int:
        return len(self.shards) * self.per_lane

    def __repr__(self) -> str:
        return f"Windows({len(self)} of {self.length} samples every {self.grid.every_ns / 1e9:g} s, hop {self.hop})"

    def __getstate__(self) -> dict[str, Any]:  # a worker process maps the files instead
        return {**vars(self), "_tables": None}

    def lane_of(self, index: int) -> int:
        """The number of the lane that a window comes from."""
        return self.shards.lane(index // self.per_lane)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Some windows, stacked: inputs (windows, length, features), targets (windows, …)."""
        if self.form == "dict":
            raise DataError("Windows.batch", 'form="dict"', 'form="tuple"', "use a torch DataLoader for dicts")
        rows, last = index // self.per_lane, self._first + index % self.per_lane * self.hop
        if self._fits and self._tables is None and get_worker_info() is None:
            self._tables = (self._before(self.inputs), self._before(self.targets))
        if self._tables is None:
            pairs = [self._read(int(row), int(end)) for row, end in zip(rows, last)]
            return torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])
        x, y = self._tables
        ahead = 0 if self.fill == "none" else self.length - 1
        start = rows * (self.grid.samples + ahead) + last + ahead
        back = torch.arange(1 - self.length, 1)
        inside = start[:, None] + back
        aim = start + self.horizon if self.target == "last" else inside + self.horizon
        return x.flatten(0, 1)[inside], y.flatten(0, 1)[aim]

    def _before(self, columns: Columns) -> Tensor:
        """All lanes, with length - 1 samples of filling before each: every window is then a plain stretch."""
        table = columns.load()
        if self.fill == "none" or self.length == 1:
            return table
        head = table[:, :1].expand(-1, self.length - 1, -1)
        if self.fill == "zeros":
            zero = table.new_zeros(1, 1, table.shape[2])
            head = (columns.normalise.apply(zero) if columns.normalise else zero).expand_as(head)
        return torch.cat([head, table], 1)

    def _read(self, row: int, last: int) -> tuple[Tensor, Tensor]:
        first = last - self.length + 1
        x = self.inputs.window(row, first, self.length, self.fill)
        if self.target == "last":
            return x, self.targets.window(row, last + self.horizon, 1)[0]
        return x, self.targets.window(row, first + self.horizon, self.length, self.fill)

    def _read_dict(self, index: int) -> dict[str, dict[str, Tensor]]:
        row, last = index // self.per_lane, self._first + index % self.per_lane * self.hop
        at = torch.arange(last - self.length + 1, last + 1)
        item: dict[str, dict[str, Tensor]] = {"inputs": {}, "targets": {}}
        for kind, pairs in self._named.items():
            ahead = self.horizon if kind == "targets" else 0
            short = kind == "targets" and self.target == "last"
            when = (at[-1:] if short else at) + ahead
            for name, signal in pairs:
                index_of = self.grid.index(self.shards.schema.signal(signal))
                inside = when.clamp(min=0)
                values = self.shards.row(signal, row)[inside if index_of is None else index_of[inside]]
                if self.fill == "zeros":
                    values[when < 0] = 0
                item[kind][name] = values[0] if short else values
        return item

    def __getitem__(self, index: int) -> Item:
        at = _checked(index, len(self))
        if self.form == "dict":
            return self._read_dict(int(at))
        x, y = self.batch(at)
        return x[0], y[0]

    def __getitems__(self, indices: list[int]) -> list[Item]:
        if self.form == "dict":
            return [self[index] for index in indices]
        return list(zip(*self.batch(torch.tensor(indices, dtype=torch.int64))))

    def fingerprint(self) -> str:
        """SHA-256 of which data this is: files, lanes, features, rate, windows, normalisation."""
        shape = f"windows {self.grid} {self.length} {self.hop} {self.fill} {self.horizon} {self.target} {self.form}"
        if self.form == "dict":
            return hashlib.sha256(
                f"{shape} {self._named} {[e.sha256 for e in self.shards.entries]}".encode()
            ).hexdigest()
        return fingerprint(self.shards, self.inputs, self.targets, shape)


def _pairs(names: Names) -> list[tuple[str, str]]:
    return list(names.items()) if not isinstance(names, Sequence) else [(name, name) for name in names]
