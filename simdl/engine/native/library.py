"""Loading a shared library from bytes that were checked, so that what is checked is what runs."""

from __future__ import annotations

import ctypes
import os
import sys
from collections import Counter
from pathlib import Path

from simdl.engine.native.folder import temporary
from simdl.engine.native.work import work

# The same in a process of its own, for a library that nobody has loaded yet: a broken one ends the process.
OPEN_ALONE = """
import ctypes, os, sys
try:
    handle = os.memfd_create("simdl")
    os.write(handle, open(sys.argv[1], "rb").read())
    library = ctypes.CDLL(f"/proc/self/fd/{handle}")
except (AttributeError, OSError):
    library = ctypes.CDLL(sys.argv[1])
"""

_opened: Counter[int] = Counter()


def open_library(data: bytes) -> ctypes.CDLL:
    """The library in `data`, from memory; where that cannot be, from a private copy. Raises OSError."""
    if sys.platform == "linux":
        try:
            return _from_memory(data)
        except OSError:  # a kernel may forbid programs in memory; a file gives the better message
            pass
    return _from_file(data, temporary())


def _from_memory(data: bytes) -> ctypes.CDLL:
    assert sys.platform == "linux"
    handle = os.memfd_create("simdl", os.MFD_CLOEXEC)
    with open(handle, "wb") as file:
        file.write(data)
        file.flush()
        # dlopen knows libraries by name: a second one under a number that was used before would be the first one.
        # So the same file gets a new spelling each time, in binary: "/." and "/" mean nothing in a path.
        uses = _opened[handle]
        _opened[handle] += 1
        spelling = "".join("/." if bit == "1" else "/" for bit in f"{uses:b}")
        return ctypes.CDLL(f"/proc/self/fd{spelling}/{handle}")


def _from_file(data: bytes, folder: Path) -> ctypes.CDLL:
    with work(folder) as place:
        path = place / f"{place.name[-8:]}.so"
        path.write_bytes(data)
        return ctypes.CDLL(str(path))
