"""Writing a data set, shard by shard, so that a kill at any instant loses at most the shard being written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from simdl.data.durable import Journal, Lock, leftovers, make_folder, remove, set_aside, write_file
from simdl.data.jsonl import seal
from simdl.data.manifest import (
    NAME,
    Manifest,
    current_versions,
    header_line,
    read_manifest,
    shard_line,
)
from simdl.data.schema import Schema
from simdl.data.shard import Entry, describe, read_back, store
from simdl.errors import DataError


class ShardWriter:
    """Writes lanes to a folder of immutable shards with a manifest; goes on where a killed writer stopped.

    `done` are the lanes already there, `todo(lanes)` the others, `notes` what was repaired on opening. A call of
    `write` that returns is a promise that its lanes survive. Leaving a `with` block without an error marks the data
    set complete. Raises DataError when the folder holds data of another schema, model or seed, when another process
    writes there, and when what is there is damaged (then `repair=True` sets damaged shards aside, as `*.corrupt`,
    and their lanes are to do again).

    >>> import tempfile, torch
    >>> from simdl.data import Schema, ShardWriter, Signal
    >>> schema = Schema([Signal("voltage", every_ns=10**9, unit="V"), Signal("soc", 10**9, role="target")])
    >>> folder = tempfile.mkdtemp()
    >>> with ShardWriter(folder, schema) as writer:
    ...     entry = writer.write([0, 1], {"voltage": torch.ones(2, 60), "soc": torch.rand(2, 60)})
    >>> with ShardWriter(folder, schema) as writer:
    ...     writer.todo(range(4))
    [2, 3]
    """

    def __init__(self, folder: str | Path, schema: Schema, *, repair: bool = False) -> None:
        self.folder, self.schema = Path(folder), schema
        self.notes: list[str] = []
        make_folder(self.folder)
        self._lock = Lock(self.folder)
        try:
            self._manifest = self._open(repair)
            self._journal = Journal(self.folder / NAME)
            try:
                self._catch_up(repair)
            except BaseException:
                self._journal.close()
                raise
        except BaseException:
            self._lock.release()
            raise

    def _open(self, repair: bool) -> Manifest:
        for path in leftovers(self.folder):
            remove(path)
            self.notes.append(f"removed {path.name}, left by a killed writer")
        if not (self.folder / NAME).exists():
            write_file(self.folder / NAME, header_line(self.schema, current_versions()))
        manifest = read_manifest(self.folder)
        differences = manifest.schema.differences(self.schema)
        if differences:
            raise DataError(
                str(self.folder),
                "the folder holds other data: " + "; ".join(differences),
                "the schema, model and seed that are there",
                "write to a new folder, or go on with the same model and seed",
            )
        damaged = [fault for fault in manifest.faults if not (manifest.torn and fault is manifest.faults[-1])]
        if damaged and not repair:
            fix = "restore the file from a copy, or ShardWriter(folder, schema, repair=True)"
            raise DataError(damaged[0].where, damaged[0].found, damaged[0].expected, fix)
        if damaged:
            self.notes += [f"left out {fault.where}: {fault.found}" for fault in damaged]
            write_file(self.folder / NAME, manifest.lines())
            manifest = read_manifest(self.folder)
        return manifest

    def _catch_up(self, repair: bool) -> None:
        manifest = self._manifest
        if manifest.torn:
            self._journal.cut(manifest.size)
            self.notes.append("cut off an unfinished last line of the manifest")
        if repair:
            self._set_aside_damaged()
        self._done = {lane for entry in manifest.entries for lane in (*entry.lanes, *entry.failed)}
        for path in manifest.orphans(self.folder):
            try:
                entry = read_back(path, self.schema)
                self._refuse_misfit(entry)
            except DataError as fault:
                set_aside(path)
                self.notes.append(f"set aside {path.name}: {fault.found}")
                continue
            self._append(entry)
            self.notes.append(f"took over {path.name}, which had no line in the manifest")
        versions = current_versions()
        if dict(manifest.versions) != versions:
            self._journal.append(seal({"kind": "versions", "versions": versions}))
            manifest.versions, manifest.complete = versions, False

    def _set_aside_damaged(self) -> None:
        whole = []
        for entry in self._manifest.entries:
            try:
                entry.check(self.folder)
                whole.append(entry)
            except DataError as fault:
                set_aside(self.folder / entry.file)
                self.notes.append(f"set aside {entry.file}: {fault.found}")
        if len(whole) < len(self._manifest.entries):
            self._manifest.entries, self._manifest.complete = whole, False
            self._journal.close()
            write_file(self.folder / NAME, self._manifest.lines())
            self._journal = Journal(self.folder / NAME)

    @property
    def done(self) -> frozenset[int]:
        """Lanes that need no more work: written, or failed and noted."""
        return frozenset(self._done)

    @property
    def failed(self) -> dict[int, str]:
        """Lanes without data, with the cause."""
        return self._manifest.failed

    def todo(self, lanes: Iterable[int]) -> list[int]:
        """Those of `lanes` that are not done, in the same order."""
        return [int(lane) for lane in lanes if int(lane) not in self._done]

    def write(
        self,
        lanes: Tensor | Sequence[int],
        signals: Mapping[str, Tensor],
        params: Mapping[str, Tensor] | None = None,
        *,
        seeds: Tensor | Sequence[int] | None = None,
        failed: Mapping[int, str] | None = None,
        drop_nonfinite: bool = False,
    ) -> Entry:
        """Write one batch of lanes as one shard. Returns when it is safe on the disk. Arguments as for `store`."""
        again = sorted(self._done.intersection(torch.as_tensor(lanes).flatten().tolist()))
        if again:
            raise DataError(str(self.folder), f"{describe(again)} already written", "each lane once", "use todo(lanes)")
        entry = store(
            self.folder, self.schema, lanes, signals, params,
            seeds=seeds, failed=failed, drop_nonfinite=drop_nonfinite,
        )  # fmt: skip
        return self.record(entry)

    def record(self, entry: Entry) -> Entry:
        """Acknowledge a shard that `store` wrote, here or in another process. A shard that does not fit is removed."""
        try:
            self._refuse_misfit(entry)
        except DataError:
            if all(entry.file != other.file for other in self._manifest.entries):
                remove(self.folder / entry.file)
            raise
        self._append(entry)
        return entry

    def _refuse_misfit(self, entry: Entry) -> None:
        again = self._done & {*entry.lanes, *entry.failed}
        if again:
            raise DataError(str(self.folder), f"{describe(sorted(again))} already written", "each lane once")
        first = next((other for other in self._manifest.entries if other.lanes), entry)
        if entry.lanes and dict(first.samples) != dict(entry.samples):
            raise DataError(
                str(self.folder), f"samples {dict(entry.samples)} in {describe(entry.lanes)}",
                f"{dict(first.samples)}, as in {first.file}", "one horizon a folder: write to another folder",
            )  # fmt: skip

    def _append(self, entry: Entry) -> None:
        self._journal.append(shard_line(entry))
        self._manifest.entries.append(entry)
        self._manifest.complete = False
        self._done |= {*entry.lanes, *entry.failed}

    def finish(self) -> None:
        """Note that the data set is complete, and close. More lanes may still be added by opening it again."""
        try:
            if not self._manifest.complete:
                self._journal.append(self._manifest.end_line())
                self._manifest.complete = True
        finally:
            self.close()

    def close(self) -> None:
        """Close without calling the data set complete."""
        self._journal.close()
        self._lock.release()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.close()
