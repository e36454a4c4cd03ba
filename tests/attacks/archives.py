"""Attacks on the archive itself, for every format that is one: the same members, packed wrongly."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from tests.attacks.attack import Attack, link, unzipped, zipped


def _repeated(data: bytes) -> bytes:
    members = list(unzipped(data).items())
    return zipped([*members, members[0]])


def _bomb(data: bytes) -> bytes:
    root = next(iter(unzipped(data))).partition("/")[0]
    name = f"{root}/zeros" if root + "/" in "".join(unzipped(data)) else "assets/zeros"
    return zipped([*unzipped(data).items(), (name, bytes(300_000_000))], zipfile.ZIP_DEFLATED)


def _overlapping(data: bytes) -> bytes:
    """A second entry in the directory for the bytes of the first: many of them are the bomb of David Fifield."""
    end = data.rindex(b"PK\x05\x06")
    count, total, size, start = struct.unpack("<HHII", data[end + 8 : end + 20])
    directory = data[start : start + size]
    name, extra, note = struct.unpack("<HHH", directory[28:34])
    first = bytearray(directory[: 46 + name + extra + note])
    first[46 : 46 + name] = b"z" * name
    record = struct.pack("<HHII", count + 1, total + 1, size + len(first), start)
    return data[:start] + directory + bytes(first) + data[end : end + 8] + record + b"\0\0"


def _other_name(data: bytes) -> bytes:
    """An entry whose own name is not the directory's."""
    changed = bytearray(data)
    (length,) = struct.unpack("<H", data[26:28])
    changed[30 : 30 + length] = b"x" * length
    return bytes(changed)


def _encrypted(data: bytes) -> bytes:
    at = data.rindex(b"PK\x01\x02") + 8
    return data[:at] + bytes([data[at] | 1]) + data[at + 1 :]


def _method(data: bytes) -> bytes:
    at = data.rindex(b"PK\x01\x02") + 10
    return data[:at] + struct.pack("<H", 98) + data[at + 2 :]


def _crowd(data: bytes) -> bytes:
    """A directory of a million entries, none of which is there: made by hand, as zipfile would take minutes."""
    entry = struct.pack("<4s4xHHHHIIIHHHHHII", b"PK\x01\x02", 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * 1_000_000
    body = data[: data.rindex(b"PK\x01\x02")]
    return body + directory + struct.pack("<4s4xHHIIH", b"PK\x05\x06", 65535, 65535, len(directory), len(body), 0)


def _lying(data: bytes) -> bytes:
    """A member whose size in the directory is less than what comes out."""
    members = unzipped(data)
    name = next(iter(members))
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packed.compress(bytes(200_000_000)) + packed.flush()
    made = bytearray(zipped([(name, bytes(50))], zipfile.ZIP_DEFLATED))
    head = 30 + len(name.encode())
    start = made.index(b"PK\x01\x02")
    directory, end = bytes(made[start:]), made.index(b"PK\x05\x06") - start
    changed = bytearray(directory)
    changed[20:24] = struct.pack("<I", len(body))
    changed[end + 16 : end + 20] = struct.pack("<I", head + len(body))
    return bytes(made[:head]) + body + bytes(changed)


def archive_attacks(suffix: str, plain: Callable[[], bytes]) -> list[Attack]:
    """The same attacks on a file of a format whose good bytes `plain` makes."""

    def of(change: Callable[[bytes], bytes]) -> Callable[[Path], bytes]:
        return lambda mark: change(plain())

    def more(name: str, data: bytes = b"x") -> Callable[[bytes], bytes]:
        return lambda good: zipped([*unzipped(good).items(), (name, data)])

    rows: list[tuple[str, Callable[[bytes], bytes], str]] = [
        ("climbing", more("../../escaped"), "outside"), ("absolute", more("/tmp/escaped"), "outside"),
        ("backslashes", more("..\\..\\escaped"), "outside"), ("drive", more("C:/escaped"), "outside"),
        ("climbing inside", more("a/../../escaped"), "outside"),
        ("link", lambda good: zipped([*unzipped(good).items(), (link("a/link"), b"/etc/passwd")]), "link or a device"),
        ("repeated", _repeated, "two members of one name"), ("bomb", _bomb, "unpack"),
        ("overlapping", _overlapping, "overlap"), ("other name", _other_name, "another name|no archive"),
        ("encrypted", _encrypted, "encrypted"), ("method", _method, "compressed by method"),
        ("crowd", _crowd, "directory of"), ("lying size", _lying, "."),
        ("bytes before", lambda good: b"#!/bin/sh\n" + good, "."),
        ("bytes after", lambda good: good + b"\x80\x04K\x01.", "other bytes follow"),
        ("comment", lambda good: good[:-2] + b"\x05\x00hello", "other bytes follow"),
        ("empty archive", lambda good: b"PK\x05\x06" + bytes(18), "."),
    ]  # fmt: skip
    return [Attack(f"{suffix[1:]}: {name}", f"net{suffix}", of(change), message) for name, change, message in rows]
