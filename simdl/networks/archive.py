"""Zip archives of strangers: what is in them is decided from their directory, before anything is unpacked.

Refused are other bytes before or after the archive, a directory too large to read, names that repeat, lead outside or
differ between directory and entry, links and devices, entries that overlap or are encrypted, compression other than
deflate, and content much larger than the file.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator

from simdl.errors import NetworkError

TOTAL = 2 * 2**30  # bytes, unpacked
DIRECTORY = 4 * 2**20  # bytes of the archive's directory: some 40 000 members
RATIO = 100  # bytes that one byte of an archive may become
_SMALL = 64 * 2**10  # bytes that may be compressed better than that
_ENDING = 22  # bytes of the record at the end


class Archive:
    """The members of an archive in memory, by name; reading one compares it with its checksum.

    where, wanted: for errors: the file's path, and what it should have been. total: bytes of all members unpacked;
    ratio: of a member, and of the whole; fix: what to do when it is larger.
    Raises NetworkError for archives that are not plain.
    """

    def __init__(
        self, data: bytes, where: str, wanted: str, total: int = TOTAL, ratio: float = RATIO, fix: str = ""
    ) -> None:  # fmt: skip
        self.where, self.wanted, self._fix = where, wanted, fix
        self._data = data
        _check_ending(data, where, wanted)
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            infos = self._zip.infolist()
        except (zipfile.BadZipFile, ValueError, EOFError, struct.error, OverflowError, NotImplementedError) as fault:
            raise NetworkError(where, f"a damaged archive: {fault}", wanted) from None
        self.members = {info.filename: info for info in infos}
        if len(self.members) < len(infos):
            raise self._error("two members of one name")
        for info in infos:
            self._check(info, ratio)
        self._check_places(infos)
        size = sum(info.file_size for info in infos)
        if size > total or size > max(ratio * len(data), 2**20):
            found = f"{len(data)} bytes unpack to {size}"
            raise NetworkError(where, found, f"at most {total}, {ratio:g}:1", fix)

    def __iter__(self) -> Iterator[str]:
        return iter(self.members)

    def read(self, name: str) -> bytes:
        """The content of a member. Raises NetworkError when it is damaged."""
        if name not in self.members:
            raise self._error(f"no {name} in the archive")
        try:
            return self._zip.read(self.members[name])
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, ValueError) as fault:
            raise self._error(f"a damaged archive: {name!r:.100}: {fault}") from None

    def _error(self, found: str, expected: str = "") -> NetworkError:
        return NetworkError(self.where, found, expected or self.wanted)

    def _check(self, info: zipfile.ZipInfo, ratio: float) -> None:
        name, shown = info.filename, f"the member {info.filename!r:.100}"
        if ".." in name.split("/") or name.startswith("/") or "\\" in name or "\0" in name or ":" in name.split("/")[0]:
            raise self._error(shown + " leads outside of the archive", "names inside the archive")
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise self._error(shown + " is a link or a device", "plain files")
        if info.flag_bits & 0x1:
            raise self._error(shown + " is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self._error(f"{shown} is compressed by method {info.compress_type}", "deflate, or none")
        if info.file_size > _SMALL and info.file_size > ratio * max(1, info.compress_size):
            found = f"{shown} unpacks from {info.compress_size} to {info.file_size} bytes"
            raise NetworkError(self.where, found, f"at most {ratio:g} times as many", self._fix)

    def _check_places(self, infos: list[zipfile.ZipInfo]) -> None:
        """Entries must lie one after the other from the first byte on, each under the name that the directory says."""
        end = 0
        for info in sorted(infos, key=lambda one: one.header_offset):
            at = info.header_offset
            if at < end:
                raise self._error("entries of the archive overlap")
            if end == 0 and at != 0:
                raise self._error(f"{at} other bytes before the archive")
            head = self._data[at : at + 30]
            if len(head) < 30 or head[:4] != b"PK\x03\x04":
                raise self._error(f"a damaged archive: no entry where {info.filename!r:.100} should be")
            name, extra = struct.unpack("<HH", head[26:])
            if self._data[at + 30 : at + 30 + name] != info.orig_filename.encode("utf-8" if info.flag_bits & 0x800
                                                                                 else "cp437"):  # fmt: skip
                raise self._error(f"a damaged archive: the entry {info.filename!r:.100} has another name")
            end = at + 30 + name + extra + info.compress_size


def _check_ending(data: bytes, where: str, wanted: str) -> None:
    """The last bytes must be the end of an archive, and its directory of a size that can be read at once."""
    if len(data) < _ENDING or data[:4] != b"PK\x03\x04":
        raise NetworkError(where, "is no archive", wanted)
    ending = data[-_ENDING:]
    if ending[:4] != b"PK\x05\x06" or ending[-2:] != b"\0\0":
        raise NetworkError(where, "the archive is cut off, or other bytes follow it", wanted)
    size = int(struct.unpack("<I", ending[12:16])[0])
    locator = data[-_ENDING - 20 : -_ENDING]
    if locator[:4] == b"PK\x06\x07":
        (at,) = struct.unpack("<Q", locator[8:16])
        record = data[at : at + 56]
        if len(record) == 56 and record[:4] == b"PK\x06\x06":
            size = max(int(struct.unpack("<Q", record[40:48])[0]), 0 if size == 2**32 - 1 else size)
    if size > DIRECTORY:
        raise NetworkError(where, f"a directory of {size} bytes", f"at most {DIRECTORY}: some 40 000 members")
