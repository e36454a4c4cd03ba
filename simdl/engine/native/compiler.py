"""The C compiler: finding one that works, and what it is asked for.

SIMDL_CC names the compiler: a path or a name, nothing else; "" or "none" switches the native engine off. Without it
the first that works of cc, gcc, clang and the `ziglang` wheel is taken. "Works" means that a small library was built
and run. SIMDL_CC_TIMEOUT is the most a compilation may take, in seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from simdl.engine.native.cpu import cpu_features, cpu_name
from simdl.engine.native.folder import native_folder, temporary, usable
from simdl.engine.native.sealed import ForeignFileError, Record, read, write
from simdl.engine.native.work import locked, work
from simdl.errors import CompileError

OPENMP = "-fopenmp"
FLAGS = (
    "-O3", "-march=native", "-mprefer-vector-width=512", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
    "-fwrapv", OPENMP, "-shared", "-fPIC", "-std=gnu11",
)  # fmt: skip
INSTALL = "apt install gcc, xcode-select --install, or pip install 'simdl[native]'"
_OPTIONAL = ("-march=native", "-mprefer-vector-width=512", "-fno-trapping-math", OPENMP)  # a compiler may lack them
_NAMES = ("cc", "gcc", "clang")
_ANSWER, _TRY = 20.0, 120.0  # s, for --version and for a small library
_KEPT = 7 * 86400.0  # s; after that a compiler is tried again: what it lacked may have been installed
_LINES = 8  # of a compiler's message
_ENVIRONMENT = ("LD_LIBRARY_PATH", "SDKROOT", "DEVELOPER_DIR", "MACOSX_DEPLOYMENT_TARGET", "CONDA_BUILD_SYSROOT")
_TRIAL = """
#include <math.h>
#ifdef _OPENMP
#include <omp.h>
#endif
double simdl_trial(double x) {
    double sum = exp(x - x);
#pragma omp parallel for reduction(+ : sum)
    for (int i = 0; i < 64; i++) sum += fma(x, i, 1.0);
    return sum;
}
"""
_TRIAL_RUN = """
import ctypes, sys
trial = ctypes.CDLL(sys.argv[1]).simdl_trial
trial.restype, trial.argtypes = ctypes.c_double, [ctypes.c_double]
print(trial(0.5))
"""
_TRIAL_RESULT = "1073.0"  # exp(0) + 64 + 0.5 (0 + ... + 63)


@dataclass(frozen=True)
class Compiler:
    """A C compiler that was tried. flags: those of FLAGS that it knows and that work; target: for which machine."""

    name: str
    argv: tuple[str, ...]
    version: str
    target: str
    flags: tuple[str, ...] = FLAGS

    @property
    def lacks(self) -> tuple[str, ...]:
        """The flags that it does not know, or that do not work here; without OpenMP a run has one thread."""
        return tuple(flag for flag in FLAGS if flag not in self.flags)

    def identity(self) -> str:
        """What changes when the compiler does."""
        program = Path(self.argv[0]).resolve()
        try:
            about = program.stat()
            file = [str(program), about.st_mtime_ns, about.st_size]
        except OSError:
            file = [str(program)]
        return json.dumps([self.argv, file, self.version, self.target])


def find_compiler(remember: bool = True) -> Compiler | None:
    """The compiler to use, tried once in a process; the cache remembers it for others. None: see `why_no_compiler`.

    remember=False looks only, and leaves no trace on the disk.
    """
    return _found(os.environ.get("SIMDL_CC"), _search_path(), remember)[0]


def why_no_compiler(remember: bool = True) -> str:
    """Why the native engine has no compiler, in words. Empty if it has one."""
    compiler, reasons = _found(os.environ.get("SIMDL_CC"), _search_path(), remember)
    return "" if compiler else "; ".join(reasons)


def refreshed(compiler: Compiler) -> Compiler | None:
    """The compiler as it is now: one behind a wrapper may have been replaced since it was tried."""
    with suppress(CompileError):
        if _first_line(_run([*compiler.argv, "--version"], usable(), _ANSWER)) == compiler.version:
            return compiler
    with suppress(OSError):
        (native_folder() / _memory(compiler.argv)).unlink()
    _found.cache_clear()
    return find_compiler()


def compile_library(
    compiler: Compiler, source: str, flags: Sequence[str], folder: Path, limit: float | None = None
) -> bytes:
    """Compile C source to a shared library; `folder` takes the working files. Raises CompileError and OSError."""
    with work(folder) as place:
        (place / "source.c").write_text(source, encoding="utf-8")
        _run([*compiler.argv, *flags, "-o", "library.so", "source.c", "-lm"], place, limit or timeout())
        try:
            return (place / "library.so").read_bytes()
        except FileNotFoundError:
            raise _failure(compiler.argv, "reported success and wrote no library") from None


def timeout() -> float:
    """The most a compilation may take, in s."""
    try:
        return max(0.1, float(os.environ.get("SIMDL_CC_TIMEOUT", "")))
    except ValueError:
        return 600.0


@cache
def _found(choice: str | None, path: str, remember: bool) -> tuple[Compiler | None, tuple[str, ...]]:
    if sys.platform == "win32":
        return None, ("the native engine is for Linux and macOS",)
    if choice is not None and choice.strip() in ("", "none"):
        return None, (f"switched off by SIMDL_CC={choice!r}",)
    seen: set[str] = set()
    reasons: list[str] = []
    for name, argv in _candidates(choice, path):
        real = os.path.realpath(argv[0])
        if real in seen:  # cc is often gcc
            continue
        seen.add(real)
        try:
            return _tried(name, argv, remember), ()
        except (CompileError, OSError) as error:
            reasons.append(f"{name}: {error.found if isinstance(error, CompileError) else error}")
    if choice is not None and not reasons:
        return None, (f"SIMDL_CC={choice!r} is not a program: give one path or name, without arguments",)
    return None, tuple(reasons) or (f"none of {', '.join(_NAMES)} is on the PATH and ziglang is not installed",)


def _candidates(choice: str | None, path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A choice is kept or refused, never replaced by another compiler."""
    for name in _NAMES if choice is None else (choice,):
        where = shutil.which(name, path=path)
        if where is not None:
            yield name, (os.path.abspath(where),)
    spec = find_spec("ziglang") if choice is None else None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program = os.path.abspath(os.path.join(folder, "zig"))  # `python -m ziglang cc` without starting Python
        if os.access(program, os.X_OK):
            yield "ziglang", (program, "cc")


def _tried(name: str, argv: tuple[str, ...], remember: bool) -> Compiler:
    folder = usable(make=remember)
    memory = folder / _memory(argv)
    with suppress(ForeignFileError):
        known = _remembered(name, argv, memory)
        if known is not None or not remember:
            return known or _examined(name, argv, folder)
        with locked(memory.with_suffix(".lock"), _TRY):
            compiler = _remembered(name, argv, memory)
            if compiler is None:
                compiler = _examined(name, argv, folder)
                with suppress(OSError):
                    write(memory, Record({"compiler": asdict(compiler), "created": time.time()}))
        return compiler
    return _examined(name, argv, folder)


def _remembered(name: str, argv: tuple[str, ...], memory: Path) -> Compiler | None:
    known = read(memory)
    if known is None or not 0 <= time.time() - known.about["created"] < _KEPT:
        return None
    fields = known.about["compiler"]
    return Compiler(name, argv, fields["version"], fields["target"], tuple(fields["flags"]))


def _examined(name: str, argv: tuple[str, ...], folder: Path) -> Compiler:
    said = _run([*argv, "--version"], folder, _ANSWER)
    compiler = Compiler(name, argv, _first_line(said), f"{_target(argv, said, folder)}, {cpu_name()}")
    return replace(compiler, flags=_working_flags(compiler, folder))


def _working_flags(compiler: Compiler, folder: Path) -> tuple[str, ...]:
    """FLAGS less those that this compiler lacks. Raises CompileError if it builds nothing that runs."""
    least = tuple(flag for flag in FLAGS if flag not in _OPTIONAL)
    with suppress(CompileError):
        return _try(compiler, FLAGS, folder)
    _try(compiler, least, folder)
    known: list[str] = []
    for flag in _OPTIONAL:
        with suppress(CompileError):
            _try(compiler, (*least, *known, flag), folder)
            known.append(flag)
    return tuple(flag for flag in FLAGS if flag in (*least, *known))


def _try(compiler: Compiler, flags: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """The flags, if a library built with them runs: in a process of its own, which a wrong instruction may kill."""
    library = compile_library(compiler, _TRIAL, flags, folder, min(_TRY, timeout()))
    with work(folder) as place:
        (place / "trial.so").write_bytes(library)
        found = _run([sys.executable, "-I", "-S", "-c", _TRIAL_RUN, str(place / "trial.so")], place, _ANSWER)
    if found.split()[-1:] != [_TRIAL_RESULT]:
        raise _failure(compiler.argv, f"its library gave {found.strip()[:80]!r} for {_TRIAL_RESULT}")
    return flags


def _target(argv: tuple[str, ...], version: str, folder: Path) -> str:
    for line in version.splitlines():
        if line.startswith("Target: "):
            return line.removeprefix("Target: ").strip()
    try:
        return _first_line(_run([*argv, "-dumpmachine"], folder, _ANSWER))
    except CompileError:
        return platform.machine()


def _memory(argv: tuple[str, ...]) -> str:
    """The name of the file that remembers how a compiler was found."""
    text = json.dumps([Compiler("", argv, "", "").identity(), FLAGS, _TRIAL, cpu_features(), sys.executable])
    return f"{hashlib.sha256(text.encode()).hexdigest()}.compiler"


def _search_path() -> str:
    """PATH without relative folders: a program in the folder one happens to be in is not a compiler."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if os.path.isabs(folder))


def _run(argv: Sequence[str], folder: Path, limit: float) -> str:
    """Run a program in a folder, by its arguments, without a shell; what it said. Raises CompileError."""
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment |= {"PATH": _search_path(), "LC_ALL": "C", "TMPDIR": str(folder)}
    # zig keeps its own C library, 47 MB and 5 s to make, which all compilations share
    environment |= {"ZIG_GLOBAL_CACHE_DIR": str(_zig_folder(folder)), "ZIG_LOCAL_CACHE_DIR": str(folder / "zig")}
    try:
        process = subprocess.Popen(
            argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise _failure(argv, f"cannot be started: {error}") from error
    try:
        said, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        raise _failure(argv, f"did not end within {limit:g} s") from None
    finally:
        if process.returncode is None:  # the group: a compiler starts others, which would go on
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if process.returncode:
        message = "\n".join(line for line in said.splitlines() if line.strip()) or "no message"
        code = process.returncode
        how = f"ended with {code}" if code > 0 else f"was ended by signal {-code}, {signal.strsignal(-code)}"
        raise _failure(argv, f"{how}: " + "\n".join(message.splitlines()[:_LINES]))
    return said


def _failure(argv: Sequence[str], found: str) -> CompileError:
    return CompileError(
        f"C compiler {argv[0]}",
        found,
        "a shared library",
        "see `simdl doctor`; SIMDL_CC names another compiler, SIMDL_CC=none runs in torch",
    )


def _zig_folder(folder: Path) -> Path:
    native = native_folder()
    return native / "zig" if native in (folder, folder.parent) else temporary() / "zig"


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "unknown")
