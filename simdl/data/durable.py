"""Files that are either whole or not there, and lines that stay once they are said to be written.

A file is written beside its final name, flushed to the disk, renamed, and its folder is flushed: after a crash
there is the old file or the new one, never half of one. A call that returns is a promise that the data survive.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from simdl.errors import DataError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_TEMPORARY = ".tmp"
_held: set[Path] = set()  # folders locked by this process: POSIX locks do not exclude their own process


@contextmanager
def _naming(path: Path, action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            str(path),
            f"could not be {action}: {error.strerror or error}",
            fix="free the disk or mend its rights, then run the same command again: what was finished is kept",
        ) from error


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder; without it a renamed file may be gone after a power cut."""
    if sys.platform == "win32":  # folders cannot be opened there; NTFS journals names itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder, with its parents, so that it survives a power cut. An existing one is left as it is."""
    with _naming(folder, "made"):
        missing = [folder, *folder.parents]
        missing = missing[: next(i for i, path in enumerate(missing) if path.is_dir())]
        for path in reversed(missing):
            os.makedirs(path, exist_ok=True)
            sync_folder(path.parent)


def write_file(path: Path, data: bytes) -> None:
    """Write a whole file atomically. Raises DataError; then the old file, if any, is untouched."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
    with _naming(path, "written"):
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                _write_all(handle, data)
                os.fsync(handle)
            finally:
                os.close(handle)
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file that nobody was told about. One that is gone already is no error."""
    with _naming(path, "removed"), suppress(FileNotFoundError):
        os.unlink(path)


def set_aside(path: Path) -> None:
    """Rename a damaged file to `*.corrupt`, for a person to look at."""
    with _naming(path, "set aside"), suppress(FileNotFoundError):
        os.replace(path, path.with_name(path.name + ".corrupt"))


def leftovers(folder: Path) -> list[Path]:
    """Temporary files that a killed writer left in `folder`."""
    return sorted(path for path in folder.glob(f".*{_TEMPORARY}") if path.is_file())


def _write_all(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        written = os.write(handle, rest)
        rest = rest[written:]


class Journal:
    """An existing file to which lines are added. `append` returns when the line is on the disk.

    A failed append is taken back as far as the disk allows and closes the journal: after a failed flush nobody
    knows what the disk holds, so the file must be opened, and checked, again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _naming(path, "opened"):
            self._handle: int | None = os.open(path, os.O_RDWR | os.O_APPEND)

    def append(self, line: bytes) -> None:
        if self._handle is None:
            raise DataError(str(self.path), "is closed, or an earlier write failed", fix="open the folder again")
        with _naming(self.path, "written"):
            end = os.fstat(self._handle).st_size
            try:
                _write_all(self._handle, line)
                os.fsync(self._handle)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._handle, end)
                self.close()
                raise

    def cut(self, size: int) -> None:
        """Drop what follows byte `size`: a line that was never acknowledged."""
        assert self._handle is not None
        with _naming(self.path, "repaired"):
            os.ftruncate(self._handle, size)
            os.fsync(self._handle)

    def close(self) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            with suppress(OSError):
                os.close(handle)


class Lock:
    """One writer for one folder. The operating system lets go of it when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        path = self._folder / ".lock"
        if self._folder in _held:
            raise DataError(
                str(folder), "is already open for writing in this process", fix="close the other writer first"
            )
        with _naming(path, "opened"):
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if sys.platform == "win32":
                msvcrt.locking(self._handle, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = path.read_text(encoding="utf-8", errors="replace").strip() or "unknown"
            os.close(self._handle)
            raise DataError(
                str(folder),
                f"is being written by another process ({owner})",
                "one writer at a time",
                "wait for it, stop it, or write to another folder",
            ) from error
        _held.add(self._folder)
        with suppress(OSError):
            os.ftruncate(self._handle, 0)
            os.write(self._handle, f"pid {os.getpid()} on {socket.gethostname()}\n".encode())

    def release(self) -> None:
        if self._folder in _held:
            _held.discard(self._folder)
            with suppress(OSError):
                os.close(self._handle)
