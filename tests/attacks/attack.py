"""What one hostile file is, and the marker that nobody may make."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Marker:
    """A pickle that makes a folder when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, (str(self.path),)


@dataclass(frozen=True)
class Attack:
    """name: of the test; file: what the file is called; make: its bytes, given the path that must never appear;
    message: what the error says."""

    name: str
    file: str
    make: Callable[[Path], bytes]
    message: str = "."


def zipped(members: Iterable[tuple[str | zipfile.ZipInfo, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data, compression)
    return out.getvalue()


def unzipped(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def link(name: str) -> zipfile.ZipInfo:
    """A member that is a symbolic link."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


def damaged(data: bytes, count: int) -> list[tuple[str, bytes]]:
    """Cuts at many lengths, and one byte changed at many places."""
    cuts = [(f"cut at {n}", data[:n]) for n in range(1, len(data) - 1, max(1, len(data) // count))]
    flips = []
    for n in range(3, len(data), max(1, len(data) // count)):
        changed = bytearray(data)
        changed[n] ^= 0xFF
        flips.append((f"byte {n} changed", bytes(changed)))
    return cuts + flips
