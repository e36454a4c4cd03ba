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
from simdl.engine.native.library import OPEN_ALONE
from simdl.engine.native.process import failure, run, search_path
from simdl.engine.native.sealed import ForeignFileError, Record, read, write
from simdl.engine.native.work import has_room, locked, work
from simdl.errors import CompileError

OPENMP = "-fopenmp"
FLAGS = (
    "-O3", "-march=native", "-mprefer-vector-width=512", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
    "-fwrapv", OPENMP, "-shared", "-fPIC", "-std=gnu11",
)  # fmt: skip
INSTALL = "apt install gcc, xcode-select --install, or pip install 'simdl[native]'"
_OPTIONAL = ("-march=native", "-mprefer-vector-width=512", "-fno-trapping-math", OPENMP)  # a compiler may lack them
_NAMES = ("cc", "gcc", "clang")
_TRY = 120.0  # s, for a small library
_KEPT = 7 * 86400.0  # s; after that a compiler is tried again: what it lacked may have been installed
_LAST = slice(-1, None)  # lines of a message
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
library.simdl_trial.restype, library.simdl_trial.argtypes = ctypes.c_double, [ctypes.c_double]
print(library.simdl_trial(0.5))
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
    return _found(os.environ.get("SIMDL_CC"), search_path(), remember)[0]


def why_no_compiler(remember: bool = True) -> str:
    """Why the native engine has no compiler, in words. Empty if it has one."""
    compiler, reasons = _found(os.environ.get("SIMDL_CC"), search_path(), remember)
    return "" if compiler else "; ".join(reasons)


def refreshed(compiler: Compiler) -> Compiler | None:
    """The compiler as it is now: one behind a wrapper may have been replaced since it was tried."""
    with suppress(CompileError):
        if _first_line(run([*compiler.argv, "--version"], usable())) == compiler.version:
            return compiler
    with suppress(OSError):
        (native_folder() / _memory(compiler.argv)).unlink()
    _found.cache_clear()
    return find_compiler()


def compile_library(compiler: Compiler, source: str, flags: Sequence[str], folder: Path) -> bytes:
    """Compile C source to a shared library; `folder` takes the working files. Raises CompileError and OSError."""
    return _built(compiler, source, flags, folder, timeout(), "")[0]


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
    if not has_room(folder):  # flags that fail on a full disk are not flags that the compiler lacks
        folder = temporary()
    said = run([*argv, "--version"], folder)
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
    """The flags, if a library built with them runs."""
    _, found = _built(compiler, _TRIAL, flags, folder, min(_TRY, timeout()), _TRIAL_RUN)
    if found.split()[-1:] != [_TRIAL_RESULT]:
        raise failure(compiler.argv, f"its library gave {found.strip()[:80]!r} for {_TRIAL_RESULT}")
    return flags


def _built(
    compiler: Compiler, source: str, flags: Sequence[str], folder: Path, limit: float, program: str
) -> tuple[bytes, str]:
    """A library that was loaded once in a process of its own, and what that printed when it ran `program`."""
    with work(folder) as place:
        (place / "source.c").write_text(source, encoding="utf-8")
        run([*compiler.argv, *flags, "-o", "library.so", "source.c", "-lm"], place, limit)
        library = place / "library.so"
        try:
            data = library.read_bytes()
        except FileNotFoundError:
            raise failure(compiler.argv, "reported success and wrote no library") from None
        alone = [sys.executable, "-I", "-S", "-c", OPEN_ALONE + program, str(library)]
        try:
            found = run(alone, place, part=_LAST)
        except CompileError as error:
            raise failure(compiler.argv, f"wrote what cannot be loaded or run: {error.found}") from error
    return data, found


def _target(argv: tuple[str, ...], version: str, folder: Path) -> str:
    for line in version.splitlines():
        if line.startswith("Target: "):
            return line.removeprefix("Target: ").strip()
    try:
        return _first_line(run([*argv, "-dumpmachine"], folder))
    except CompileError:
        return platform.machine()


def _memory(argv: tuple[str, ...]) -> str:
    """The name of the file that remembers how a compiler was found."""
    text = json.dumps([Compiler("", argv, "", "").identity(), FLAGS, _TRIAL, cpu_features(), sys.executable])
    return f"{hashlib.sha256(text.encode()).hexdigest()}.compiler"


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "unknown")
