"""Named signals as the columns of a matrix, on one time grid: what a network reads or predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from simdl.data.normalisation import Normalisation
from simdl.data.schema import Signal
from simdl.data.shards import Shards
from simdl.errors import DataError

Names = Sequence[str] | Mapping[str, str]  # signal names, or feature name -> signal name
Fill = Literal["none", "hold", "zeros"]


@dataclass(frozen=True)
class Grid:
    """Instants shared by several signals: sample k at `start_ns + k * every_ns`."""

    start_ns: int
    every_ns: int
    samples: int

    @classmethod
    def over(cls, shards: Shards, names: Sequence[str], every_ns: int | None) -> Grid:
        """The grid on which all the signals have values. Other rates than one need `every_ns`, so that nobody is
        surprised: slower signals are then held, faster ones read at the grid's instants."""
        signals = [shards.schema.signal(name) for name in dict.fromkeys(names)]
        rates = sorted({s.every_ns for s in signals})
        if every_ns is None and len(rates) > 1:
            raise DataError(
                str(shards.folder),
                "the signals have several rates: "
                + ", ".join(f"{s.name} every {s.every_ns / 1e9:g} s" for s in signals),
                "one rate",
                f"pass every_ns={rates[-1]} (faster signals are read then) or {rates[0]} (slower ones are held)",
            )
        every = rates[0] if every_ns is None else every_ns
        uneven = [s for s in signals if max(every, s.every_ns) % min(every, s.every_ns)]
        if uneven:
            raise DataError(
                str(shards.folder), f"{uneven[0].name} has a sample every {uneven[0].every_ns} ns",
                f"a whole multiple or fraction of every_ns={every}",
            )  # fmt: skip
        start = max(s.start_ns for s in signals)
        end = min(s.start_ns + shards.samples(s.name) * s.every_ns for s in signals)  # a value is held until the next
        return cls(start, every, max(-(-(end - start) // every), 0))

    def index(self, signal: Signal) -> Tensor | None:
        """For every instant the signal's latest sample; None where that is simply each of them in turn."""
        if (signal.start_ns, signal.every_ns) == (self.start_ns, self.every_ns):
            return None
        instants = self.start_ns + torch.arange(self.samples, dtype=torch.int64) * self.every_ns
        return (instants - signal.start_ns) // signal.every_ns


class Columns:
    """Some signals of some lanes as features: (lanes, samples, features), cast, aligned, normalised.

    A scalar signal is one feature, a vector signal one a component (`force[0]`, …). `names` may map feature names to
    signal names. With a normalisation, its entry of the same name is applied.
    """

    def __init__(
        self,
        shards: Shards,
        names: Names,
        grid: Grid,
        dtype: torch.dtype = torch.float32,
        normalise: Normalisation | None = None,
    ) -> None:
        pairs = list(names.items()) if isinstance(names, Mapping) else [(name, name) for name in names]
        if isinstance(names, str) or not pairs:
            raise DataError(str(shards.folder), f"columns {names!r}", "a list of at least one signal name")
        self.shards, self.grid, self.dtype = shards, grid, dtype
        self.signals = tuple(shards.schema.signal(signal) for _, signal in pairs)
        self.features: tuple[str, ...] = ()
        for (name, _), signal in zip(pairs, self.signals):
            if len(signal.shape) > 1:
                raise DataError(
                    str(shards.folder), f"{signal.name} has shape {signal.shape}", "scalars and vectors as columns",
                    'read images with Windows(…, form="dict"), which keeps every shape',
                )  # fmt: skip
            self.features += (name,) if not signal.shape else tuple(f"{name}[{i}]" for i in range(signal.shape[0]))
        self.normalise = None if normalise is None else normalise.pick(self.features)
        self._index = [grid.index(signal) for signal in self.signals]

    @property
    def bytes(self) -> int:
        """Memory that `load` takes."""
        return len(self.shards) * self.grid.samples * len(self.features) * self.dtype.itemsize

    def load(self) -> Tensor:
        """All lanes (lanes, samples, features)."""
        table = torch.empty((len(self.shards), self.grid.samples, len(self.features)), dtype=self.dtype)
        for rows, block in self.shards.blocks([s.name for s in self.signals]):
            table[rows] = self._assemble([block[s.name] for s in self.signals], 1)
        return table

    def rows(self, rows: Sequence[int] | Tensor) -> Tensor:
        """Some lanes (rows, samples, features), read from the files."""
        picked = [int(row) for row in rows]
        table = torch.empty((len(picked), self.grid.samples, len(self.features)), dtype=self.dtype)
        for i, row in enumerate(picked):
            table[i] = self._assemble([self.shards.row(s.name, row) for s in self.signals], 0)
        return table

    def window(self, row: int, first: int, length: int, fill: Fill = "none") -> Tensor:
        """Samples first … first + length - 1 of one lane (length, features). Before the first sample `fill` says."""
        at = torch.arange(first, first + length).clamp_(min=0)
        parts = []
        for signal, index in zip(self.signals, self._index):
            values = self.shards.row(signal.name, row)
            parts.append(values[at if index is None else index[at]] if first < 0 or index is not None
                         else values[first : first + length])  # fmt: skip
        table = torch.cat([_column(part, self.dtype, 0) for part in parts], -1)
        if first < 0 and fill == "zeros":
            table[:-first] = 0
        return table if self.normalise is None else self.normalise.apply(table)

    def _assemble(self, parts: list[Tensor], axis: int) -> Tensor:
        table = torch.cat(
            [
                _column(
                    part.narrow(axis, 0, self.grid.samples) if index is None else part.index_select(axis, index),
                    self.dtype, axis,
                )
                for part, index in zip(parts, self._index)
            ],
            -1,
        )  # fmt: skip
        return table if self.normalise is None else self.normalise.apply(table)


def _column(values: Tensor, dtype: torch.dtype, axis: int) -> Tensor:
    values = values.to(dtype)
    return values.unsqueeze(-1) if values.ndim == axis + 1 else values


def refuse_labels(shards: Shards, inputs: Names, targets: Names, allow: Sequence[str]) -> None:
    """DataError if a network would be fed what it is to predict, or a truth that only a simulation knows."""
    read = set(inputs.values() if isinstance(inputs, Mapping) else inputs)
    aims = set(targets.values() if isinstance(targets, Mapping) else targets)
    for name in sorted(read - set(allow)):
        role = shards.schema.signal(name).role
        if role != "input" or name in aims:
            found = f"the {role if role != 'input' else 'target'} {name!r} is among the inputs"
            raise DataError(
                str(shards.folder), found, "inputs that a deployed network can read",
                f'remove it, or, if the network does get it, pass allow=["{name}"]',
                [s.name for s in shards.schema.signals if s.role == "input"],
            )  # fmt: skip
