"""Reading a data set: lanes of named signals, mapped from the files, so that it may be larger than memory."""

from __future__ import annotations

import hashlib
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from simdl.data.manifest import read_manifest
from simdl.data.schema import DTYPES, Schema
from simdl.data.shard import Entry, describe, raw_bytes
from simdl.errors import DataError

OPEN = 16  # shards kept open at once: bounds the file handles and the mapped address space


@dataclass(frozen=True)
class Verdict:
    """What `Shards.verify` found. True when every shard is, byte for byte, the one that was written."""

    shards: int
    lanes: int
    complete: bool
    faults: tuple[DataError, ...]

    def __bool__(self) -> bool:
        return not self.faults

    def __str__(self) -> str:
        head = f"{self.shards} shards, {self.lanes} lanes, {'complete' if self.complete else 'NOT complete'}"
        return "\n".join([f"{head}, {len(self.faults) or 'no'} faults", *map(str, self.faults)])


class Shards:
    """The lanes of a data set, in the order of the manifest; a view of some of them after `only`.

    Every shard is checked against its SHA-256 when it is first touched; a damaged one is a DataError that names it
    and its lanes. With `skip_corrupt=True` all are checked at once and damaged ones are left out, with a warning;
    `skipped` has the faults. `complete` says whether the writer finished. Values are mapped from the file, not read:
    treat them as read-only.

    >>> import tempfile, torch
    >>> from simdl.data import Schema, Shards, ShardWriter, Signal
    >>> folder = tempfile.mkdtemp()
    >>> with ShardWriter(folder, Schema([Signal("voltage", every_ns=10**9, unit="V")])) as writer:
    ...     entry = writer.write([0, 1], {"voltage": torch.ones(2, 60)})
    ...     entry = writer.write([2, 3], {"voltage": torch.ones(2, 60)})
    >>> shards = Shards(folder)
    >>> shards
    Shards(4 lanes in 2 shards, complete: voltage V)
    >>> shards.signal("voltage").shape
    torch.Size([4, 60])
    """

    def __init__(self, folder: str | Path, *, skip_corrupt: bool = False) -> None:
        self.folder = Path(folder)
        manifest = read_manifest(self.folder)
        faults = list(manifest.faults)
        if faults and not skip_corrupt:
            fix = faults[0].fix or "restore it from a copy, or read the rest: Shards(folder, skip_corrupt=True)"
            raise DataError(faults[0].where, faults[0].found, faults[0].expected, fix)
        self.schema: Schema = manifest.schema
        self.versions: Mapping[str, str] = manifest.versions
        self._trusted: set[Path] = set()
        entries = []
        for entry in manifest.entries:
            try:
                if skip_corrupt:
                    entry.check(self.folder)
                    self._trusted.add(self.folder / entry.file)
                entries.append(entry)
            except DataError as fault:
                faults.append(fault)
        self.entries: tuple[Entry, ...] = tuple(entries)
        # Where each shard lies and which campaign made it: `Joined` has several.
        self._folders = (self.folder,) * len(entries)
        self._origins = ((self.schema.diagram, self.schema.seed),) * len(entries)
        self.skipped = tuple(faults)
        self.failed = {lane: cause for entry in entries for lane, cause in entry.failed.items()}
        orphans = manifest.orphans(self.folder)
        self.complete = manifest.complete and not faults and not orphans
        if faults or orphans:
            words = [f"{fault.where}: {fault.found}" for fault in faults]
            if orphans:
                words.append(f"{len(orphans)} shards without a line in the manifest, left out: {orphans[0].name} …")
                words.append("opening the folder with ShardWriter takes them over")
            warnings.warn(f"{self.folder} is not whole: {'; '.join(words)}", stacklevel=2)
        counts = [len(entry.lanes) for entry in entries]
        self._shard = np.repeat(np.arange(len(entries)), counts)
        self._row = np.concatenate([np.arange(n) for n in counts]) if counts else np.zeros(0, np.int64)
        self._lane = np.array([lane for entry in entries for lane in entry.lanes], np.int64)
        self._open: OrderedDict[int, Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lane)

    def __repr__(self) -> str:
        names = ", ".join(f"{s.name} {s.unit}".strip() for s in self.schema.signals)
        shards, state = len(np.unique(self._shard)), "complete" if self.complete else "NOT complete"
        failed = f", {len(self.failed)} lanes failed" if self.failed else ""
        return f"Shards({len(self)} lanes in {shards} shards, {state}{failed}: {names})"

    def __getstate__(self) -> dict[str, Any]:  # a worker process maps the files itself
        return {**vars(self), "_open": OrderedDict()}

    @property
    def lanes(self) -> Tensor:
        """The lanes' numbers (lanes,), int64, in the order of the rows that every method returns."""
        return torch.from_numpy(self._lane.copy())

    def lane(self, row: int) -> int:
        """The number of the lane at a row."""
        return int(self._lane[row])

    @property
    def seeds(self) -> Tensor:
        """Each lane's seed (lanes,): its own where lanes have their own, else the campaign's."""
        pairs = zip(self.entries, self._origins)
        every = [seed for entry, (_, campaign) in pairs for seed in (entry.seeds or [campaign] * len(entry.lanes))]
        starts = np.cumsum([0, *(len(e.lanes) for e in self.entries)])
        return torch.tensor(every, dtype=torch.int64)[torch.from_numpy(starts[self._shard] + self._row)]

    @property
    def origins(self) -> list[tuple[str, int, int]]:
        """Each row's model hash, campaign seed and lane: what tells one lane in the world from all others."""
        return [(*self._origins[shard], int(lane)) for shard, lane in zip(self._shard, self._lane)]

    def only(self, lanes: Iterable[int] | Tensor) -> Shards:
        """A view of some lanes, in the given order. DataError for lanes that are not there."""
        wanted = [int(lane) for lane in lanes]
        at = {int(lane): i for i, lane in enumerate(self._lane)}
        missing = [lane for lane in wanted if lane not in at]
        if missing:
            causes = [f"lane {lane} failed: {self.failed[lane]}" for lane in missing[:3] if lane in self.failed]
            raise DataError(
                str(self.folder), f"no {describe(missing)}", describe(self._lane.tolist()), "; ".join(causes)
            )
        return self.at([at[lane] for lane in wanted])

    def at(self, rows: Sequence[int] | np.ndarray[Any, np.dtype[Any]]) -> Shards:
        """A view of the lanes at these rows of this view."""
        pick = np.asarray(rows, np.int64)
        view = object.__new__(Shards)
        view.__dict__.update(vars(self))
        view._shard, view._row, view._lane = self._shard[pick], self._row[pick], self._lane[pick]
        return view

    def samples(self, name: str) -> int:
        """How many samples each lane has of a signal."""
        self.schema.signal(name)
        return next((entry.samples[name] for entry in self.entries if entry.lanes), 0)

    def row(self, name: str, row: int) -> Tensor:
        """One lane's signal (time, *shape), mapped from the file: what is not read costs no memory."""
        return self._tensor(int(self._shard[row]), f"signal/{name}")[int(self._row[row])]

    def signal(self, name: str) -> Tensor:
        """All lanes of a signal (lanes, time, *shape), read into memory."""
        signal = self.schema.signal(name)
        values = torch.empty((len(self), self.samples(name), *signal.shape), dtype=DTYPES[signal.dtype])
        for rows, block in self.blocks([name]):
            values[rows] = block[name]
        return values

    def blocks(self, names: Sequence[str]) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Shard by shard: the rows of this view that it holds, and their signals (rows, time, *shape)."""
        for name in names:
            self.schema.signal(name)
        for shard, rows, inside in self._by_shard():
            yield rows, {name: _pick(self._tensor(shard, f"signal/{name}"), inside) for name in names}

    def param(self, name: str) -> Tensor:
        """A parameter of every lane (lanes, *shape)."""
        known = {p.name: p for p in self.schema.params}
        if name not in known:
            raise DataError(str(self.folder), f"no parameter {name!r}", names=known, wrong=name)
        values = torch.empty((len(self), *known[name].shape), dtype=DTYPES[known[name].dtype])
        for shard, rows, inside in self._by_shard():
            values[rows] = self._tensor(shard, f"param/{name}")[inside]
        return values

    @property
    def params(self) -> dict[str, Tensor]:
        """All parameters by name."""
        return {p.name: self.param(p.name) for p in self.schema.params}

    def _by_shard(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        order = np.argsort(self._shard, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(self._shard[order])) + 1):
            if len(rows):
                yield int(self._shard[rows[0]]), torch.from_numpy(rows), torch.from_numpy(self._row[rows])

    def _tensor(self, shard: int, key: str) -> Tensor:
        file = self._open.get(shard)
        if file is None:
            entry, path = self.entries[shard], self._path(shard)
            if path not in self._trusted:
                entry.check(path.parent)
                self._trusted.add(path)
            try:
                file = safe_open(path, framework="pt")
            except (SafetensorError, OSError) as fault:
                raise DataError(str(path), f"the shard cannot be opened: {fault}") from None
            self._open[shard] = file
            if len(self._open) > OPEN:
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(shard)
        try:
            tensor: Tensor = file.get_tensor(key)
        except SafetensorError:
            raise DataError(str(self._path(shard)), f"no tensor {key!r} in the shard") from None
        return tensor

    def _path(self, shard: int) -> Path:
        return self._folders[shard] / self.entries[shard].file

    def verify(self) -> Verdict:
        """Read and check every shard again. Never raises; the verdict names each damaged file."""
        faults = list(self.skipped)
        for folder, entry in zip(self._folders, self.entries):
            try:
                entry.check(folder)
            except DataError as fault:
                faults.append(fault)
        return Verdict(len(self.entries), len(self), self.complete and not faults, tuple(faults))

    def content_hash(self) -> str:
        """SHA-256 of all lanes in the order of their numbers: equal however the lanes were cut into shards."""
        digest = hashlib.sha256()
        signals, params = [s.name for s in self.schema.signals], [p.name for p in self.schema.params]
        for row in np.argsort(self._lane, kind="stable"):
            shard, inside = int(self._shard[row]), int(self._row[row])
            digest.update(f"{self._lane[row]}\0".encode())
            for key in (*(f"signal/{name}" for name in signals), *(f"param/{name}" for name in params)):
                digest.update(raw_bytes(self._tensor(shard, key)[inside]))
        return digest.hexdigest()


def _pick(values: Tensor, rows: Tensor) -> Tensor:
    first, count = int(rows[0]), len(rows)
    if torch.equal(rows, torch.arange(first, first + count)):  # a view stays mapped; a gather would copy
        return values[first : first + count]
    return values[rows]
