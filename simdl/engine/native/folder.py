"""The folder that keeps compiled libraries, and who could write there.

A library from the cache is code that runs with the user's rights. So the folder is used only if nobody but the user
and root could put a file in it, or another folder in its place.
"""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import sys
import tempfile
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path

from simdl.engine.native.work import hold, let_go, sweep
from simdl.errors import CompileError

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_LINKS = 40  # as many as Linux follows
_TEMPORARY = "simdl-native-"


def cache_folder() -> Path:
    """Where simdl keeps what it can make again: `simdl` under XDG_CACHE_HOME, or the system's place for caches."""
    given = os.environ.get("XDG_CACHE_HOME")
    if given and Path(given).is_absolute():
        return Path(given) / "simdl"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "simdl" / "cache"
    base = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return base / "simdl"


def native_folder() -> Path:
    """Where compiled libraries are kept."""
    return cache_folder() / "native"


def distrust(folder: Path) -> str | None:
    """Why another user could write in `folder`, or put another in its place. None if only its owner and root can.

    Links are followed step by step, and every folder on the way counts. What does not exist yet is not distrusted.
    """
    if not hasattr(os, "getuid"):
        return None
    me, links = os.getuid(), 0
    here, rest = Path("/"), list(reversed(folder.absolute().parts[1:]))
    while True:
        try:
            about = here.lstat()
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"{here} cannot be looked at: {error.strerror}"
        if about.st_uid not in ((me, 0) if rest else (me,)):
            return f"{here} belongs to user {about.st_uid}, not to you"
        if stat.S_ISLNK(about.st_mode):
            links += 1
            if links > _LINKS:
                return f"{folder} has too many links"
            target = Path(os.readlink(here))
            rest += reversed(target.parts[1:] if target.is_absolute() else target.parts)
            here = Path("/") if target.is_absolute() else here.parent
            continue
        if not stat.S_ISDIR(about.st_mode):
            return f"{here} is not a folder"
        # In a sticky folder, as /tmp is, only the owner renames a thing; the thing itself is looked at next.
        if about.st_mode & _OTHERS and not (about.st_mode & stat.S_ISVTX and rest):
            return f"{here} can be written by others"
        if not rest:
            return None
        step = rest.pop()
        here = here.parent if step == ".." else here / step


def usable(make: bool = True) -> Path:
    """The folder for libraries, made where needed; else a private one for this process, and a warning why.

    With make=False nothing is made, nothing is said, and a private folder stands in for one that is not there.
    """
    folder = native_folder()
    reason = distrust(folder)
    if reason is None and make:
        try:
            _make_private(folder)
            reason = distrust(folder)
        except OSError as error:
            reason = f"{folder} cannot be made: {error.strerror}"
    if reason is None and folder.is_dir():
        return folder
    if make:
        warn(f"{reason}: compiled models are kept for this process only")
    return temporary()


def temporary() -> Path:
    """A private folder of this process, removed when it ends. Raises CompileError if there is no room for one."""
    try:
        return _temporary(os.getpid())
    except OSError as error:
        raise CompileError(
            "the system's folder for temporary files", str(error), "room for a library", "free the disk or set TMPDIR"
        ) from error


@cache
def warn(text: str) -> None:
    """Say something once in a process."""
    warnings.warn(f"simdl native engine: {text}", RuntimeWarning, stacklevel=3)


@cache
def _temporary(process: int) -> Path:
    sweep(Path(tempfile.gettempdir()), _TEMPORARY)
    folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY))
    handle = hold(folder)

    def remove() -> None:
        if os.getpid() == process:  # a forked child leaves its parent's folder alone
            let_go(handle)
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def _make_private(folder: Path) -> None:
    for path in reversed([folder, *folder.parents]):
        if not path.exists():
            with suppress(FileExistsError):
                path.mkdir(mode=0o700)
