"""Trying a file of a stranger in a child process with limits, before this process opens it.

What the child survives within its limits is then opened here. So a file that takes all memory, never ends, or makes a
parser crash costs a child and is an error here. It is no wall against a file that takes over its reader: such a file
would be opened here next.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from simdl.errors import NetworkError, SimdlError

LARGEST_FILE = 2**20  # bytes that the child may write into a file, its answer among them
PATIENCE = 5  # times the processor seconds that it may take by the clock, and its start
START = 120.0  # s: importing torch on a busy machine
_READERS = ("torch.export", "simdl.networks.described", "simdl.networks.onnx", "onnx", "onnxruntime", "h5py", "keras")
_KEPT = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "LD_LIBRARY_PATH", "KERAS_BACKEND", "PYTHONHASHSEED")
_CHILD = (
    "import json, sys; asked = json.loads(sys.stdin.read()); sys.path[:] = asked.pop('path');"
    "from simdl.networks.sandbox import child; child(**asked)"
)
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000  # of unshare(2)


@dataclass(frozen=True)
class Sandbox:
    """Limits of the child: bytes beyond what it has once torch is imported, and seconds of processor time.

    Memory is address space, and limited where the system has RLIMIT_AS (Linux); on Windows only the clock is.
    """

    memory: int = 2 * 2**30
    seconds: float = 60.0


def rehearse(path: Path, options: Mapping[str, Any], limits: Sandbox) -> str:
    """Open a file in a child with limits; returns the file's SHA-256, so that the same bytes are opened afterwards.

    Raises NetworkError with what the child said of the file, or with how it ended.
    """
    where, before = str(path), _hash(path)
    try:
        asked = json.dumps({"path": [one or os.getcwd() for one in sys.path], "file": str(path.resolve()),
                            "options": dict(options), "limits": asdict(limits)})  # fmt: skip
    except TypeError as error:
        raise NetworkError(where, f"options that cannot be handed on: {error}", "numbers and text") from None
    with tempfile.TemporaryDirectory(prefix="simdl-", ignore_cleanup_errors=True) as folder:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {name: folder for name in ("HOME", "TMPDIR", "KERAS_HOME", "USERPROFILE", "TEMP")}
        environment |= {"OMP_NUM_THREADS": "1", "KERAS_BACKEND": environment.get("KERAS_BACKEND", "torch")}
        answer = Path(folder, "answer.json")
        with answer.open("wb") as out:
            process = subprocess.Popen([sys.executable, "-I", "-c", _CHILD], cwd=folder, env=environment, text=True,
                                       stdin=subprocess.PIPE, stdout=out, stderr=subprocess.DEVNULL,
                                       start_new_session=True)  # fmt: skip
            try:
                process.communicate(asked, timeout=START + PATIENCE * limits.seconds)
            except subprocess.TimeoutExpired:
                raise _ended(where, "took too long by the clock") from None
            finally:
                _kill(process)
        _judge(where, str(path.resolve()), answer.read_bytes()[: LARGEST_FILE + 1], process.returncode, limits)
    return before


def check_same(path: Path, before: str) -> None:
    """Raises NetworkError for a file that is no longer the one that was tried."""
    if _hash(path) != before:
        raise NetworkError(str(path), "changed while it was tried", "a file that stays as it is")


def child(file: str, options: dict[str, Any], limits: dict[str, float]) -> None:
    """In the child: limits, then the file, then what came of it as JSON on standard output."""
    _alone()
    said: dict[str, Any] = {}
    try:
        from simdl.networks.opening import open_network

        for name in _READERS:  # what is imported is not the file's memory
            with contextlib.suppress(ImportError):
                import_module(name)
        _limit(int(limits["memory"]), limits["seconds"])
        open_network(file, **options)
    except SimdlError as error:
        said = {name: str(getattr(error, name))[:4000] for name in ("where", "found", "expected", "fix")}
    except MemoryError:
        said = {"where": file, "found": f"needs more than {limits['memory'] / 2**20:g} MB", "expected": "", "fix": ""}
    except Exception as error:  # whatever a reader of a stranger's file may raise
        said = {"where": file, "found": f"{type(error).__name__}: {error!s:.1000}", "expected": "", "fix": ""}
    os.write(1, json.dumps({"said": said}).encode())
    os._exit(0)  # finalisers of what a file made are not run


def _judge(where: str, resolved: str, answer: bytes, code: int, limits: Sandbox) -> None:
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        why = f"used more than {limits.seconds:g} s of processor time" if name == "SIGXCPU" else f"ended by {name}"
        raise _ended(where, why)
    try:
        said = json.loads(answer)["said"]
        parts = {name: str(said[name]).replace(resolved, where) for name in said}
    except (ValueError, TypeError, KeyError):
        raise _ended(where, f"ended with code {code} and no answer") from None
    if parts:
        raise NetworkError(parts.get("where", where), parts.get("found", "?"), parts.get("expected", ""),
                           parts.get("fix", ""))  # fmt: skip


def _ended(where: str, how: str) -> NetworkError:
    return NetworkError(where, f"a child process that opened it {how}", "a file that is read within the limits",
                        "if the file is to be trusted: open it without sandbox=, or with larger limits")  # fmt: skip


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise NetworkError(str(path), f"cannot be read: {error.strerror or error}", "a file") from None


def _kill(process: subprocess.Popen[str]) -> None:
    """End the child and what it may have started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _alone() -> None:
    """Leave the network, where the system lets a process do so."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NETWORK)


def _limit(memory: int, seconds: float) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    pages = Path("/proc/self/statm")
    if pages.is_file():
        used = int(pages.read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    spent = sum(os.times()[:2])
    whole = int(spent + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
