"""One shard: the rows of some lanes in one safetensors file that is never changed.

Format, version 1. Tensors: `lane` (lanes,) int64; `seed` (lanes,) int64 if the lanes have seeds of their own;
`signal/<name>` (lanes, time, *shape); `param/<name>` (lanes, *shape). One metadata entry, `simdl`: canonical JSON of
the shard's manifest entry (see `manifest`) without `file`, `sha256` and `bytes`, with the `schema` hash and the
`content` hash added. The manifest has the SHA-256 of the whole file, which covers header and data alike; `content`
(SHA-256 over the tensors' bytes) lets a writer that was killed between file and manifest line adopt the file.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from simdl.data.durable import write_file
from simdl.data.jsonl import dumps, loads
from simdl.data.schema import DTYPES, Schema
from simdl.errors import DataError

FORMAT = "simdl-shard-1"
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Entry:
    """A shard as the manifest knows it. `failed` maps lanes without data to the cause; they have no row."""

    file: str
    sha256: str
    bytes: int
    lanes: tuple[int, ...]
    samples: Mapping[str, int]
    seeds: tuple[int, ...] | None = None
    failed: Mapping[int, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; lanes as half-open runs, in the order of the rows."""
        return {
            "file": self.file, "sha256": self.sha256, "bytes": self.bytes, "count": len(self.lanes),
            "lanes": _runs(self.lanes), "samples": dict(self.samples),
            "seeds": None if self.seeds is None else list(self.seeds),
            "failed": {str(lane): cause for lane, cause in self.failed.items()},
        }  # fmt: skip

    @classmethod
    def from_json(cls, record: Mapping[str, Any], where: str) -> Entry:
        try:
            count, runs = int(record["count"]), [(int(a), int(b)) for a, b in record["lanes"]]
            if sum(max(b - a, 0) for a, b in runs) != count or "/" in record["file"] or "\\" in record["file"]:
                raise ValueError("lanes and count disagree, or the file lies in another folder")
            return cls(
                str(record["file"]), str(record["sha256"]), int(record["bytes"]),
                tuple(lane for a, b in runs for lane in range(a, b)),
                {str(k): int(v) for k, v in record["samples"].items()},
                None if record["seeds"] is None else tuple(map(int, record["seeds"])),
                {int(k): str(v) for k, v in record["failed"].items()},
            )  # fmt: skip
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as fault:
            raise DataError(where, f"the entry cannot be read: {fault!r:.200}") from None

    def check(self, folder: Path) -> None:
        """DataError unless the file is, byte for byte, the one that was written."""
        path = folder / self.file
        lanes = f"it holds {describe(self.lanes)}"
        fix = "restore it from a copy, or read the rest: Shards(folder, skip_corrupt=True)"
        try:
            size = path.stat().st_size
            if size != self.bytes:
                kind = "is truncated" if size < self.bytes else "has grown"
                raise DataError(str(path), f"the shard {kind}: {size} bytes; {lanes}", f"{self.bytes} bytes", fix)
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            raise DataError(str(path), f"the shard is missing; {lanes}", fix=fix) from None
        except OSError as error:
            raise DataError(str(path), f"the shard cannot be read: {error.strerror}; {lanes}", fix=fix) from None
        if found != self.sha256:
            raise DataError(
                str(path), f"the shard is corrupt: SHA-256 {found[:12]}…; {lanes}", f"{self.sha256[:12]}…", fix
            )


def describe(lanes: Sequence[int]) -> str:
    """Lanes in words: `lanes 0-31, 40`."""
    if not lanes:
        return "no lanes"
    runs = _runs(sorted(lanes))
    words = [str(a) if b == a + 1 else f"{a}-{b - 1}" for a, b in runs[:6]]
    more = f" and {len(runs) - 6} more runs" if len(runs) > 6 else ""
    return f"lane{'s' if len(lanes) > 1 else ''} {', '.join(words)}{more}"


def _runs(lanes: Iterable[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for lane in lanes:
        if runs and runs[-1][1] == lane:
            runs[-1][1] += 1
        else:
            runs.append([lane, lane + 1])
    return runs


def store(
    folder: Path,
    schema: Schema,
    lanes: Tensor | Sequence[int],
    signals: Mapping[str, Tensor],
    params: Mapping[str, Tensor] | None = None,
    *,
    seeds: Tensor | Sequence[int] | None = None,
    failed: Mapping[int, str] | None = None,
    drop_nonfinite: bool = False,
) -> Entry:
    """Write one shard and return its entry, for `ShardWriter.record`. Safe to call from several processes.

    `signals[name]` is (lanes, time, *shape), `params[name]` (lanes, *shape); floats are cast to the schema's dtype.
    Lanes in `failed` keep no row. NaN or infinity in another lane is a DataError that names lane, seed, signal and
    sample, unless `drop_nonfinite`, which counts such lanes as failed.
    """
    identity = torch.as_tensor(lanes).detach().cpu()
    if identity.ndim != 1 or identity.dtype not in (torch.int64, torch.int32) or not len(identity):
        raise DataError(
            str(folder), f"lanes of shape {tuple(identity.shape)}, {identity.dtype}", "whole numbers (lanes,)"
        )
    ids = identity.tolist()
    own = None if seeds is None else torch.as_tensor(seeds).detach().cpu().to(torch.int64)
    tensors = {
        f"signal/{s.name}": _cast(folder, s.name, signals, s.dtype, s.shape, len(ids), 2) for s in schema.signals
    }
    tensors |= {
        f"param/{p.name}": _cast(folder, p.name, params or {}, p.dtype, p.shape, len(ids), 1) for p in schema.params
    }
    known = [s.name for s in schema.signals] + [p.name for p in schema.params]
    extra = sorted((set(signals) | set(params or {})) - set(known))
    if extra:
        raise DataError(str(folder), f"{', '.join(extra)} is not in the schema", names=known, wrong=extra[0])
    if min(ids) < 0 or len(set(ids)) < len(ids) or (own is not None and own.shape != identity.shape):
        raise DataError(
            str(folder), f"lanes {ids[:8]}… and seeds do not match, repeat or are negative", "ids once, ≥ 0"
        )

    causes = {int(lane): str(cause) for lane, cause in (failed or {}).items()}
    stray = sorted(set(causes) - set(ids))
    if stray:
        raise DataError(str(folder), f"failed {describe(stray)} not among the lanes", f"some of {describe(ids)}")
    bad = _nonfinite(schema, ids, own, tensors, causes)
    if bad and not drop_nonfinite:
        raise DataError(
            str(folder),
            f"{len(bad)} of {len(ids)} lanes are not finite: {'; '.join(list(bad.values())[:4])}",
            "finite values in every lane",
            "pass drop_nonfinite=True to leave these lanes out and note them as failed, or mend the model",
        )
    causes |= bad
    keep = torch.tensor([i for i, lane in enumerate(ids) if lane not in causes], dtype=torch.int64)
    tensors["lane"] = identity.to(torch.int64)
    if own is not None:
        tensors["seed"] = own
    tensors = {name: value[keep] if causes else value for name, value in tensors.items()}
    seen: set[int] = set()
    for name, value in tensors.items():  # the format refuses views of one storage: two names for one signal
        storage = value.untyped_storage().data_ptr()
        tensors[name] = value.clone(memory_format=torch.contiguous_format) if storage in seen else value.contiguous()
        seen.add(storage)

    samples = {s.name: tensors[f"signal/{s.name}"].shape[1] for s in schema.signals}
    kept = tuple(tensors["lane"].tolist())
    entry = Entry("", "", 0, kept, samples, None if own is None else tuple(tensors["seed"].tolist()), causes)
    about = {**entry.to_json(), "format": FORMAT, "schema": schema_hash(schema), "content": content_hash(tensors)}
    for key in ("file", "sha256", "bytes"):
        del about[key]
    data = save(tensors, metadata={"simdl": dumps(about).decode()})  # one entry: the library orders several at random
    digest = hashlib.sha256(data).hexdigest()
    file = f"lanes-{min(ids):09d}-{max(ids):09d}-{digest[:12]}{SUFFIX}"  # named by content: writing twice is harmless
    write_file(folder / file, data)
    return Entry(file, digest, len(data), kept, samples, entry.seeds, causes)


def _cast(
    folder: Path, name: str, given: Mapping[str, Tensor], dtype: str, shape: tuple[int, ...], lanes: int, axes: int
) -> Tensor:
    if name not in given:
        raise DataError(
            str(folder), f"{name} is not given", "every name of the schema", names=sorted(given), wrong=name
        )
    value, wanted = given[name].detach().cpu(), DTYPES[dtype]
    if value.ndim != axes + len(shape) or value.shape[0] != lanes or tuple(value.shape[axes:]) != shape:
        words = ", ".join([str(lanes), *(["time"] if axes == 2 else []), *map(str, shape)])
        raise DataError(f"{folder} {name}", f"shape {tuple(value.shape)}", f"({words})")
    if value.dtype != wanted and not (wanted.is_floating_point and not value.dtype.is_complex):
        raise DataError(
            f"{folder} {name}", f"{value.dtype}", f"{wanted}, as the schema says", "cast it, or change the schema"
        )
    return value.to(wanted)


def _nonfinite(
    schema: Schema, ids: list[int], seeds: Tensor | None, tensors: Mapping[str, Tensor], failed: Mapping[int, str]
) -> dict[int, str]:
    found: dict[int, str] = {}
    for name, value in tensors.items():
        if not value.dtype.is_floating_point or not value.numel():
            continue
        wrong = ~torch.isfinite(value).reshape(len(ids), value.shape[1] if name.startswith("signal/") else 1, -1).all(2)
        for row in wrong.any(1).nonzero()[:, 0].tolist():
            if ids[row] in failed or ids[row] in found:
                continue
            at = int(wrong[row].to(torch.uint8).argmax())
            kind, label = name.split("/", 1)
            where = f"{label} at sample {at}" if kind == "signal" else f"parameter {label}"
            seed = schema.seed if seeds is None else int(seeds[row])
            found[ids[row]] = f"lane {ids[row]} (seed {seed}): {where} is not finite"
    return found


def schema_hash(schema: Schema) -> str:
    """SHA-256 of a schema, hexadecimal."""
    return hashlib.sha256(dumps(schema.to_json())).hexdigest()


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and little-endian bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(raw_bytes(value))
    return digest.hexdigest()


def raw_bytes(value: Tensor) -> memoryview:
    """The bytes of a tensor (bytes,), little-endian, without a copy where it is contiguous."""
    if sys.byteorder != "little":  # pragma: no cover - no such machine has torch wheels
        raise DataError("shards", "this machine is big-endian", "little-endian")
    return value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def read_back(path: Path, schema: Schema) -> Entry:
    """The entry of a shard that no manifest names, after checking its content. DataError if it is not whole."""
    try:
        with safe_open(path, framework="pt") as file:
            about = loads((file.metadata() or {}).get("simdl", "").encode(), str(path))
            content = content_hash({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError) as fault:
        raise DataError(str(path), f"not a whole shard: {fault}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT or about.get("content") != content:
        raise DataError(str(path), "the shard's content is not what was written")
    if about.get("schema") != schema_hash(schema):
        raise DataError(str(path), "the shard belongs to another data set")
    data = path.read_bytes()
    own = {"file": path.name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    return Entry.from_json({**about, **own}, str(path))
