"""Our side of a tool's process."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS")
PATIENCE = 900.0  # seconds that one answer may take


class Child:
    """A process in which a tool prepares a case and runs it; use as a context manager.

    pin: keep it on as many processors as it has threads, where the system can.
    """

    def __init__(
        self, tool: str, python: str | Path = sys.executable, *, threads: int = 1, pin: bool = True,
        cache: str | Path | None = None, log: Path | None = None,
    ) -> None:  # fmt: skip
        environment = {**os.environ, **dict.fromkeys(THREADS, str(threads)), **_caches(cache)}
        eigen = "true" if threads > 1 else "false"
        environment["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={threads}"
        environment |= {"JAX_PLATFORMS": "cpu", "MPLBACKEND": "Agg", "PYTHONUNBUFFERED": "1"}
        command = [*_pinned(threads if pin else 0), str(python), "-m", "benchmarks.child", tool]
        self.tool, self.started = tool, time.perf_counter()
        self.errors = open(log, "ab") if log else None  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors or subprocess.DEVNULL,
            cwd=ROOT, env=environment, text=False, start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def ask(self, patience: float = PATIENCE, **request: Any) -> dict[str, Any]:
        """The answer to a request; {"error": …} when the process died or took too long."""
        pipe_in, pipe_out = self.process.stdin, self.process.stdout
        assert pipe_in is not None and pipe_out is not None
        try:
            pipe_in.write(json.dumps(request).encode() + b"\n")
            pipe_in.flush()
        except (BrokenPipeError, ValueError):
            return {"error": f"the process ended with {self.process.poll()}"}
        if not self.selector.select(patience):
            self.process.kill()
            return {"error": f"no answer within {patience:g} s"}
        line = pipe_out.readline()
        if not line:
            return {"error": f"the process ended with {self.process.wait()}"}
        found: dict[str, Any] = json.loads(line)
        return found

    def prepare(self, case: Mapping[str, Any], data: Path, imports: str = "") -> dict[str, Any]:
        """Prepare a case, given as `Case.to_json()`; imports: the package whose import is timed apart."""
        return self.ask(do="prepare", case=dict(case), data=str(data), imports=imports)

    def run(self, repeat: int = 1, save: Path | None = None) -> dict[str, Any]:
        """Run what is prepared."""
        return self.ask(do="run", repeat=repeat, save=None if save is None else str(save))

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait(timeout=5)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.selector.close()
        if self.errors:
            self.errors.close()


def _pinned(threads: int) -> list[str]:
    if not threads or not hasattr(os, "sched_getaffinity") or shutil.which("taskset") is None:
        return []
    allowed = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", ",".join(map(str, allowed[-threads:]))]


def _caches(folder: str | Path | None) -> dict[str, str]:
    """Where tools keep what they have compiled."""
    if folder is None:
        return {}
    return {
        "NUMBA_CACHE_DIR": f"{folder}/numba", "XDG_CACHE_HOME": f"{folder}/xdg",
        "JAX_COMPILATION_CACHE_DIR": f"{folder}/jax",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "BENCHMARKS_C_CACHE": f"{folder}/c",
    }  # fmt: skip
