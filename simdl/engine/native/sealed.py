"""Files of the cache, each with the hash of all that follows in front: one with a flipped bit is as good as none."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simdl.engine.native.work import work

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_DIGEST = 64


class ForeignFileError(Exception):
    """A file in the cache that belongs to another user."""


@dataclass(frozen=True)
class Record:
    """A file of the cache: what it says about itself, and its contents."""

    about: dict[str, Any]
    body: bytes = b""


def read(path: Path) -> Record | None:
    """A record. None if there is none, or one that is damaged, a link, or writable by others.

    Raises ForeignFileError if the file belongs to another user.
    """
    try:
        about = path.lstat()
        if hasattr(os, "getuid") and about.st_uid != os.getuid():
            raise ForeignFileError(f"{path} belongs to user {about.st_uid}, not to you")
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    opened = os.fstat(handle)
    if not stat.S_ISREG(opened.st_mode) or opened.st_mode & _OTHERS or opened.st_uid != about.st_uid:
        os.close(handle)
        return None
    with open(handle, "rb") as file:
        data = file.read()
        with suppress(OSError):
            os.utime(handle)  # the oldest use goes first when the cache is full
    digest, sealed = data[:_DIGEST], data[_DIGEST:]
    if hashlib.sha256(sealed).hexdigest().encode() != digest:
        return None
    line, _, body = sealed.partition(b"\n")
    return Record(json.loads(line), body)


def write(path: Path, record: Record) -> None:
    """Write a record whole, or not at all. Raises OSError."""
    sealed = json.dumps(record.about, sort_keys=True).encode() + b"\n" + record.body
    with work(path.parent) as folder:
        part = folder / "record"
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "wb") as file:
            file.write(hashlib.sha256(sealed).hexdigest().encode() + sealed)
            file.flush()
            os.fsync(handle)
        os.replace(part, path)
