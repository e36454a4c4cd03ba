"""Working folders and locks that outlive no process: the system lets go of them however a process ends."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

WORK = ".work-"
_YOUNG = 60.0  # s; a thing this new may belong to a process that has not locked it yet
_ROOM = 1 << 20  # bytes; a disk that does not take them is full


@contextmanager
def work(folder: Path) -> Iterator[Path]:
    """A private folder in `folder` for one job, removed afterwards; `sweep` removes it if this process is killed."""
    path = Path(tempfile.mkdtemp(prefix=WORK, dir=folder))
    handle = hold(path)
    try:
        yield path
    finally:
        let_go(handle)
        shutil.rmtree(path, ignore_errors=True)


def sweep(folder: Path, prefix: str = WORK) -> None:
    """Remove working folders that dead processes left: those that nobody holds."""
    for path in folder.glob(prefix + "*"):
        with suppress(OSError):
            about = path.lstat()
            mine = not hasattr(os, "getuid") or about.st_uid == os.getuid()
            if not mine or not stat.S_ISDIR(about.st_mode) or time.time() - about.st_mtime < _YOUNG:
                continue
            handle = hold(path)
            if handle is not None:
                let_go(handle)
                shutil.rmtree(path, ignore_errors=True)


def sweep_locks(folder: Path) -> None:
    """Remove the lock files that dead processes left in a folder of our own."""
    for path in folder.glob("*.lock"):
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > _YOUNG:
                with locked(path, 0):  # removes it, where nobody holds it
                    pass


def has_room(folder: Path) -> bool:
    """Whether a file can be written in `folder` now."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_ROOM))
            file.flush()
        return True
    except OSError:
        return False


@contextmanager
def locked(path: Path, timeout: float) -> Iterator[bool]:
    """Hold a lock file, removed afterwards. Yields whether it is held: not where it cannot be had in `timeout` s.

    The system lets go of it when a process ends, however it ends.
    """
    handle = _locked(path, time.monotonic() + timeout)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            with suppress(OSError):
                path.unlink()
            let_go(handle)


def _locked(path: Path, until: float) -> int | None:
    pause = 0.005
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        while not _lock(handle):
            if time.monotonic() > until:
                os.close(handle)
                return None
            time.sleep(pause)
            pause = min(2 * pause, 0.1)
        try:  # the last holder may have removed the file while we waited for it
            if path.stat().st_ino == os.fstat(handle).st_ino:
                return handle
        except OSError:
            pass
        let_go(handle)


def hold(folder: Path) -> int | None:
    """Lock a folder. None if another process holds it, or if its file system knows no locks."""
    if sys.platform == "win32":
        return None
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    if _lock(handle):
        return handle
    os.close(handle)
    return None


def _lock(handle: int) -> bool:
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def let_go(handle: int | None) -> None:
    if handle is not None and sys.platform != "win32":
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)  # a forked child may still hold the same open file
            os.close(handle)
