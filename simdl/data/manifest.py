"""The manifest of a data set: `manifest.jsonl`, one sealed line per record (see `jsonl`), only ever appended to.

    {"kind": "header", "format": "simdl-shards", "version": 1, "schema": {…}, "versions": {…}}
    {"kind": "shard", "file": …, "sha256": …, "bytes": …, "count": …, "lanes": [[0, 32]], "samples": {…},
     "seeds": null | […], "failed": {"17": "…"}}
    {"kind": "versions", "versions": {…}}           other versions went on writing
    {"kind": "end", "shards": …, "lanes": …, "failed": …}   all lanes asked for are there

`lanes` are half-open runs in the order of the shard's rows. A data set is complete when its last line is an `end`.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch

import simdl
from simdl.data.jsonl import seal, unseal
from simdl.data.schema import Schema
from simdl.data.shard import SUFFIX, Entry, describe
from simdl.errors import DataError

NAME = "manifest.jsonl"
FORMAT, VERSION = "simdl-shards", 1


@dataclass
class Manifest:
    """What a manifest says. `faults` are the lines that cannot be trusted; `size` the bytes of whole lines."""

    schema: Schema
    versions: Mapping[str, str]
    entries: list[Entry] = field(default_factory=list)
    complete: bool = False
    faults: list[DataError] = field(default_factory=list)
    size: int = 0
    torn: bool = False

    @property
    def failed(self) -> dict[int, str]:
        """Lanes without data, with the cause."""
        return {lane: cause for entry in self.entries for lane, cause in entry.failed.items()}

    def lines(self) -> bytes:
        """The manifest written anew."""
        text = header_line(self.schema, self.versions) + b"".join(shard_line(entry) for entry in self.entries)
        return text + (self.end_line() if self.complete else b"")

    def end_line(self) -> bytes:
        lanes = sum(len(entry.lanes) for entry in self.entries)
        return seal({"kind": "end", "shards": len(self.entries), "lanes": lanes, "failed": len(self.failed)})

    def orphans(self, folder: Path) -> list[Path]:
        """Shard files that no line names: a writer was killed just before the line, or lines were lost."""
        named = {entry.file for entry in self.entries}
        return sorted(path for path in folder.glob(f"lanes-*{SUFFIX}") if path.name not in named)


def header_line(schema: Schema, versions: Mapping[str, str]) -> bytes:
    return seal(
        {"kind": "header", "format": FORMAT, "version": VERSION, "schema": schema.to_json(), "versions": dict(versions)}
    )


def shard_line(entry: Entry) -> bytes:
    return seal({"kind": "shard", **entry.to_json()})


def current_versions() -> dict[str, str]:
    """Of what decides the numbers and the bytes."""
    return {
        "python": platform.python_version(),
        "simdl": simdl.__version__,
        "torch": str(torch.__version__),
        "safetensors": safetensors.__version__,
    }


def read_manifest(folder: Path) -> Manifest:
    """Read a manifest, collecting the lines that cannot be trusted in `faults`.

    DataError if there is none, or the header itself is not readable: without it nothing is.
    """
    path = folder / NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        shards = len(list(folder.glob(f"lanes-*{SUFFIX}"))) if folder.is_dir() else 0
        raise DataError(
            str(folder),
            f"no {NAME}, {shards} shard files" if folder.is_dir() else "no such folder",
            "a folder written by ShardWriter",
            "to rebuild a lost manifest, open the folder with ShardWriter and the same schema" if shards else "",
        ) from None
    except OSError as error:
        raise DataError(str(path), f"cannot be read: {error.strerror}") from None
    *whole, rest = data.split(b"\n")
    lines = [line + b"\n" for line in whole] + ([rest] if rest else [])
    manifest: Manifest | None = None
    seen: dict[int, str] = {}
    offset = 0
    for number, line in enumerate(lines, 1):
        where = f"{path} line {number}"
        if number == 1:
            manifest = _header(line, where)
        else:
            assert manifest is not None
            _body(manifest, line, where, seen, last=number == len(lines))
        offset += len(line)
        if manifest is not None and not manifest.torn:
            manifest.size = offset
    if manifest is None:
        raise DataError(str(path), "the manifest is empty", "a header line", _REBUILD)
    return manifest


_REBUILD = f"delete {NAME} and open the folder with ShardWriter and the same schema: whole shards are taken over"


def _header(line: bytes, where: str) -> Manifest:
    try:
        record = unseal(line, where)
    except DataError as fault:
        raise DataError(where, f"the header is corrupt ({fault.found})", fix=_REBUILD) from None
    if record.get("kind") != "header" or record.get("format") != FORMAT:
        raise DataError(where, f"not the header of a data set: {str(record.get('format'))[:40]!r}", repr(FORMAT))
    if record.get("version") != VERSION:
        raise DataError(
            where, f"format version {record.get('version')!r:.20}", f"version {VERSION}", "read it with a newer simdl"
        )
    return Manifest(Schema.from_json(record.get("schema"), where), record.get("versions", {}))


def _body(manifest: Manifest, line: bytes, where: str, seen: dict[int, str], last: bool) -> None:
    try:
        record: dict[str, Any] = unseal(line, where)
        kind = record.pop("kind", None)
        if kind == "shard":
            entry = Entry.from_json(record, where)
            again = [lane for lane in (*entry.lanes, *entry.failed) if lane in seen]
            if again:
                raise DataError(where, f"{entry.file} repeats {describe(again)} of {seen[again[0]]}", "each lane once")
            seen.update(dict.fromkeys((*entry.lanes, *entry.failed), entry.file))
            manifest.entries.append(entry)
            manifest.complete = False
        elif kind == "end":
            have = (len(manifest.entries), sum(len(e.lanes) for e in manifest.entries))
            said = (record.get("shards"), record.get("lanes"))
            if have != said:
                raise DataError(where, f"{have[0]} shards, {have[1]} lanes before the end", f"{said[0]} and {said[1]}")
            manifest.complete = True
        elif kind == "versions":
            manifest.versions = record.get("versions", {})
        else:
            raise DataError(where, f"a record of kind {kind!r:.40}", "shard, versions or end")
    except DataError as found:
        manifest.complete = False
        fault = found
        if last and not line.endswith(b"\n"):
            manifest.torn = True
            fault = DataError(
                where,
                "the last line is cut off: its writer was killed, or the file was truncated",
                fix="open the folder with ShardWriter and go on, or read the rest: Shards(folder, skip_corrupt=True)",
            )
        manifest.faults.append(fault)
