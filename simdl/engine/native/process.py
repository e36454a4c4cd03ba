"""Other programs: run by their arguments, without a shell, an input, or more of the environment than they need."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from simdl.engine.native.folder import native_folder, temporary
from simdl.errors import CompileError

ANSWER = 20.0  # s, for a program that has little to do
_FIRST = slice(8)  # lines of a message
_ENVIRONMENT = ("LD_LIBRARY_PATH", "SDKROOT", "DEVELOPER_DIR", "MACOSX_DEPLOYMENT_TARGET", "CONDA_BUILD_SYSROOT")


def search_path() -> str:
    """PATH without relative folders: a program in the folder one happens to be in is not a compiler."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if os.path.isabs(folder))


def run(argv: Sequence[str], folder: Path, limit: float = ANSWER, part: slice = _FIRST) -> str:
    """Run a program in `folder` by its arguments, without a shell; what it said.

    Raises CompileError, with a part of its lines, if it fails or takes more than `limit` s.
    """
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment |= {"PATH": search_path(), "LC_ALL": "C", "TMPDIR": str(folder)}
    # zig keeps its own C library, 47 MB and 5 s to make, which all compilations share
    environment |= {"ZIG_GLOBAL_CACHE_DIR": str(_zig_folder(folder)), "ZIG_LOCAL_CACHE_DIR": str(folder / "zig")}
    try:
        process = subprocess.Popen(
            argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise failure(argv, f"cannot be started: {error}") from error
    try:
        said, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        raise failure(argv, f"did not end within {limit:g} s") from None
    finally:
        if process.returncode is None:  # the group: a compiler starts others, which would go on
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if process.returncode:
        message = "\n".join([line for line in said.splitlines() if line.strip()][part]) or "no message"
        code = process.returncode
        how = f"ended with {code}" if code > 0 else f"was ended by signal {-code}, {signal.strsignal(-code)}"
        raise failure(argv, f"{how}: {message}")
    return said


def failure(argv: Sequence[str], found: str) -> CompileError:
    """The error of a compiler that did not do what it should."""
    return CompileError(
        f"C compiler {argv[0]}",
        found,
        "a shared library",
        "see `simdl doctor`; SIMDL_CC names another compiler, SIMDL_CC=none runs in torch",
    )


def _zig_folder(folder: Path) -> Path:
    native = native_folder()
    return native / "zig" if native in (folder, folder.parent) else temporary() / "zig"
