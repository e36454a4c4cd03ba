"""What the tests of the native engine's compiler and cache share: a source, compilers that are scripts, processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CC = shutil.which("cc") or ""
SOURCE = "double answer(double x) { return 2.0 * x + 40.0; }\n"
EVIL = "double answer(double x) { return 666.0; }\n"

# What a process of its own does: load, call, and say what was warned of.
LOAD = """
import ctypes, sys, warnings
from simdl.engine.native.cache import load
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    answer = load(sys.argv[1]).answer
    load(sys.argv[1])
answer.restype, answer.argtypes = ctypes.c_double, [ctypes.c_double]
print(answer(1.0), *(str(one.message) for one in said), sep="\\n")
"""


def script(path: Path, body: str) -> str:
    """A program in sh; a compiler if it ends in {cc}. $WANTED is 1 when it is asked for a library with `answer`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wanted = 'WANTED=0; case "$*" in *source.c*) grep -q answer source.c && WANTED=1;; esac\n'
    path.write_text("#!/bin/sh\n" + wanted + body.replace("{cc}", f'exec {CC} "$@"'))
    path.chmod(0o755)
    return str(path)


def counting(folder: Path) -> tuple[str, Path]:
    """A compiler that writes a line for each compilation that is not a trial, and where."""
    log = folder / "compiled"
    log.touch()
    return script(folder / "counting", f"[ $WANTED = 1 ] && echo 1 >> '{log}'\n{{cc}}\n"), log


def lines(log: Path) -> int:
    return len(log.read_text().splitlines())


def started(program: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def said(process: subprocess.Popen[str]) -> list[str]:
    """The lines a process prints; it must end well."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.splitlines()


def loaded(source: str = SOURCE, **environment: str) -> list[str]:
    """What `answer(1.0)` is in a new process, and its warnings."""
    return said(started(LOAD, source, **environment))
