"""Programs as processes of their own that begin with torch imported: to be stopped and killed many times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
_PARENT = """
import importlib, json, os, signal, sys, traceback

for name in sys.argv[1:]:
    importlib.import_module(name)

def begun(asked):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, path in ((1, asked["out"]), (2, asked["err"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = ["-c", *asked["arguments"]]
    try:
        exec(compile(asked["program"], "<program>", "exec"), {"__name__": "__main__"})
        code = 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        begun(json.loads(line))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
Meanwhile = Callable[[int], object]


class Parent:
    """A process that has imported some modules, and has children that begin there, one at a time."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process, self.folder = process, folder

    def run(self, program: str, *arguments: str, meanwhile: Meanwhile | None = None) -> tuple[int, str, str]:
        """Run a program to its end, with what `meanwhile` does to its number; its exit code, output and errors.

        A negative code is the signal that ended it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        out, err = self.folder / "out", self.folder / "err"
        asked = {"program": program, "arguments": arguments, "out": str(out), "err": str(err)}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        child = int(self.process.stdout.readline())
        if meanwhile is not None:
            meanwhile(child)
        code = int(self.process.stdout.readline())
        return code, out.read_text(), err.read_text()


@contextmanager
def parent(folder: Path, *modules: str) -> Iterator[Parent]:
    """A parent of programs; `folder` takes what they print."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PARENT, *modules], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield Parent(process, folder)
    finally:
        process.communicate()
    assert process.returncode == 0
