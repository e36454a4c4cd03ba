"""A tool's own process: `python -m benchmarks.child TOOL` answers one JSON object a line with one JSON object a line.

    {"do": "prepare", "case": {…}, "data": folder, "imports": package} -> {"import": s, "import_cpu": s, "prepare": s}
                                                     or {"skip": reason}
    {"do": "run", "repeat": n, "save": path or null} -> {"cpu": s, "wall": s, "before": bytes, "peak": bytes, "age": s}
    {"do": "quit"}

Anything that goes wrong is {"error": text}; the process lives on. cpu is `time.process_time` of all threads, cpu and
wall are per repetition; `save` is an .npz of the end values, written after the clock has stopped. peak is the largest
resident memory during the run, before what was resident when it began, age the processor time of the process so far,
compilers that it started included. `imports` is loaded first and timed apart: the tool itself, without our part of it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATUS, REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(field: str) -> int:
    """VmRSS or VmHWM of this process in bytes; 0 where the system does not tell."""
    if not STATUS.exists():
        return 0
    line = next((one for one in STATUS.read_text().splitlines() if one.startswith(field)), "x 0")
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    """Let VmHWM start again from what is resident now."""
    if REFS.exists():
        REFS.write_text("5")


class Server:
    """What a child keeps between requests: the prepared run and how its result is read."""

    def __init__(self, tool: str) -> None:
        self.tool = tool
        self.run: Callable[[], Any] | None = None
        self.read: Callable[[Any], dict[str, Any]] | None = None

    def prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        from benchmarks.cases import Case
        from benchmarks.data import Data
        from benchmarks.tools import Skip

        case = Case(**request["case"])
        start, cpu = time.perf_counter(), time.process_time()
        if request.get("imports"):
            importlib.import_module(request["imports"])
        loaded, cpu = time.perf_counter(), time.process_time() - cpu
        make = getattr(importlib.import_module(f"benchmarks.tools.{self.tool}"), case.model, None)
        if make is None:
            return {"skip": "not written for this tool"}
        try:
            self.run, self.read = make(case, Data(request["data"]))
        except Skip as reason:
            return {"skip": str(reason)}
        return {"import": loaded - start, "import_cpu": cpu, "prepare": time.perf_counter() - loaded}

    def measure(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.run is None or self.read is None:
            raise RuntimeError("nothing is prepared")
        repeat = int(request.get("repeat", 1))
        gc.collect()
        forget_peak()
        before = resident("VmRSS")
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(repeat):
            result = self.run()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        peak, times = resident("VmHWM"), os.times()
        if request.get("save"):
            import numpy as np

            np.savez(request["save"], **self.read(result))
        age = times.user + times.system + times.children_user + times.children_system
        return {"cpu": cpu / repeat, "wall": wall / repeat, "before": before, "peak": peak, "age": age}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.prepare(request) if request["do"] == "prepare" else self.measure(request)
        except Exception as problem:
            last = traceback.extract_tb(problem.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            traceback.print_exc()
            return {"error": f"{type(problem).__name__} at {where}: {' '.join(str(problem).split())[:300]}"}


def serve(tool: str) -> None:
    """Answer until told to quit or the parent is gone; what tools print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = Server(tool)
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "quit":
            break
        answers.write(json.dumps(server.answer(request)) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
