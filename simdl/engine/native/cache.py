"""Compiled libraries, kept between processes: a source is compiled once on a machine, and checked before each use.

A library's name is the hash of all that it depends on: source, flags, compiler, system and processor. Its file has its
own hash in front; one that does not agree is compiled anew. SIMDL_CACHE_MIB bounds what is kept; the oldest use goes
first.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from simdl.engine.native.compiler import (
    INSTALL,
    OPENMP,
    Compiler,
    compile_library,
    find_compiler,
    refreshed,
    timeout,
    why_no_compiler,
)
from simdl.engine.native.cpu import cpu_features
from simdl.engine.native.folder import distrust, native_folder, temporary, usable, warn
from simdl.engine.native.library import open_library
from simdl.engine.native.sealed import ForeignFileError, Record, read, write
from simdl.engine.native.work import WORK, has_room, locked, sweep, sweep_locks
from simdl.errors import CompileError, RunError

_FORMAT = 1  # of what is hashed and kept
_LIMIT = 512.0  # MiB
_LIBRARY, _LOCK = ".library", ".lock"
_HERE_ONLY = "compiled models are kept for this process only"
_loaded: dict[str, tuple[ctypes.CDLL, bool]] = {}  # no library is ever unloaded, so each is opened once

Check = Callable[[ctypes.CDLL], None]


def load(source: str, *, openmp: bool = True, check: Check | None = None, flags: Sequence[str] = ()) -> ctypes.CDLL:
    """The library of a C source: from the cache, or compiled now.

    check is called once in a library's life, before it is kept. If it raises, the library is not kept and the error
    goes on to the caller. flags are added to the compiler's own. Raises CompileError.
    """
    order = _Order(source, openmp, tuple(flags), _present(find_compiler()), check)
    library, checked = _loaded.get(order.key, (None, False))
    if library is not None and (checked or check is None):
        return library
    folder = usable()
    if not order.path(folder).exists():  # starting the compiler is cheap only beside a compilation
        order = _Order(source, openmp, tuple(flags), _present(refreshed(order.compiler)), check)
    try:
        _loaded[order.key] = order.fill(folder)
    except ForeignFileError as error:
        warn(f"{error}: {_HERE_ONLY}")
        _loaded[order.key] = order.fill(temporary())
    return _loaded[order.key][0]


def contents() -> tuple[int, int]:
    """How many libraries are kept, and the bytes of the whole folder."""
    files = _files(native_folder(), "**/*")
    return sum(path.suffix == _LIBRARY for _, _, path in files), sum(size for _, size, _ in files)


def clear_cache() -> None:
    """Remove all that is kept, but for the working folders of running compilations.

    Raises RunError if the folder is not the user's alone.
    """
    _loaded.clear()
    folder = native_folder()
    reason = distrust(folder)
    if reason is not None:
        raise RunError(str(folder), reason, "a folder that only you can write", "look at it, and remove it by hand")
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            if not path.name.startswith(WORK):
                shutil.rmtree(path, ignore_errors=True)
        elif path.suffix != _LOCK:
            path.unlink(missing_ok=True)
    sweep(folder)
    sweep_locks(folder)


def limit() -> int:
    """The most bytes of libraries that are kept."""
    given = os.environ.get("SIMDL_CACHE_MIB", "")
    try:
        mib = float(given) if given else _LIMIT
        return int(max(mib, 0.0) * 2**20)
    except (ValueError, OverflowError):
        warn(f"SIMDL_CACHE_MIB={given!r} is not a number of MiB: {_LIMIT:g} is used")
        return int(_LIMIT * 2**20)


@dataclass(frozen=True)
class _Order:
    """One library wanted."""

    source: str
    openmp: bool
    more: tuple[str, ...]
    compiler: Compiler
    check: Check | None

    @property
    def flags(self) -> tuple[str, ...]:
        return (*(flag for flag in self.compiler.flags if self.openmp or flag != OPENMP), *self.more)

    @cached_property
    def key(self) -> str:
        abi = [sys.platform, platform.machine(), sys.byteorder, ctypes.sizeof(ctypes.c_void_p), platform.libc_ver()]
        parts = [_FORMAT, self.source, self.flags, self.compiler.identity(), abi, cpu_features()]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def path(self, folder: Path) -> Path:
        return folder / f"{self.key}{_LIBRARY}"

    def fill(self, folder: Path) -> tuple[ctypes.CDLL, bool]:
        """The library, and whether it was checked."""
        path = self.path(folder)
        kept = self._kept(path)
        if kept is None:
            with locked(path.with_suffix(_LOCK), timeout()):
                kept = self._kept(path)  # another process may have compiled it meanwhile
                if kept is None:
                    return self._made(path)
        return kept

    def _kept(self, path: Path) -> tuple[ctypes.CDLL, bool] | None:
        record = read(path)
        if record is None or record.about.get("key") != self.key:
            return None
        if self.check is not None and not record.about["checked"]:
            return None
        try:
            return open_library(record.body), record.about["checked"]
        except OSError:
            return None

    def _made(self, path: Path) -> tuple[ctypes.CDLL, bool]:
        body, path = self._compiled(path)
        try:
            library = open_library(body)
        except OSError as error:
            raise CompileError(
                f"C compiler {self.compiler.argv[0]}", f"its library loads alone and not here: {error}", "a library",
                "see `simdl doctor`; SIMDL_CC names another compiler, SIMDL_CC=none runs in torch",
            ) from error  # fmt: skip
        if self.check is not None:
            self.check(library)
        about = {"key": self.key, "checked": self.check is not None, "created": time.time(),
                 "compiler": self.compiler.version, "flags": self.flags}  # fmt: skip
        try:
            write(path, Record(about, body))
        except OSError as error:
            warn(f"{path.parent} takes no library ({error.strerror}): {_HERE_ONLY}")
        else:
            _tidy(path.parent)
        return library, self.check is not None

    def _compiled(self, path: Path) -> tuple[bytes, Path]:
        """The library, and where to keep it: another place where the folder takes no files."""
        folder = path.parent
        try:
            return compile_library(self.compiler, self.source, self.flags, folder), path
        except OSError as error:
            reason = error.strerror
        except CompileError:
            if has_room(folder):
                raise
            reason = "the disk is full"
        warn(f"{folder} cannot be written ({reason}): {_HERE_ONLY}")
        place = temporary()
        try:
            return compile_library(self.compiler, self.source, self.flags, place), self.path(place)
        except OSError as error:
            raise CompileError(
                str(place), f"cannot be written: {error.strerror}", "room for a library", "free the disk or set TMPDIR"
            ) from error


def _present(compiler: Compiler | None) -> Compiler:
    if compiler is None:
        raise CompileError(
            "native engine", why_no_compiler(), "a C compiler that works", f"{INSTALL}; SIMDL_CC=none runs in torch"
        )
    return compiler


def _tidy(folder: Path) -> None:
    """Remove what dead processes left, and the libraries that were not used for longest beyond the limit."""
    sweep(folder)
    sweep_locks(folder)
    files = sorted(_files(folder, f"*{_LIBRARY}"))
    excess = sum(size for _, size, _ in files) - limit()
    for _, size, path in files:
        if excess <= 0:
            return
        with suppress(OSError):
            path.unlink()
            excess -= size


def _files(folder: Path, pattern: str) -> list[tuple[int, int, Path]]:
    """Last use in ns, bytes, and place of the files in a folder; another process may be removing some."""
    found = []
    for path in folder.glob(pattern):
        with suppress(OSError):
            about = path.lstat()
            if not path.is_dir():
                found.append((about.st_mtime_ns, about.st_size, path))
    return found
