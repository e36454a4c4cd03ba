"""Hand-written scalar C, -O3 -march=native: the measure of all others."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import ATOL, FIRST, GRAVITY, IMPACT, KEPT, LONGEST, MU, RTOL, STATE, Case
from benchmarks.data import Data
from benchmarks.tools import Skip

FOLDER = Path(__file__).resolve().parents[1] / "c"
FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fopenmp")
POINTER = ctypes.c_void_p


class Network(ctypes.Structure):
    """The struct of the C files; keeps its arrays alive."""

    _fields_ = [(name, POINTER) for name in ("w1", "b1", "w2", "b2", "w3", "b3")]

    def __init__(self, weights: dict[str, np.ndarray], dtype: str) -> None:
        self.arrays = {name: np.ascontiguousarray(array, dtype=dtype) for name, array in weights.items()}
        super().__init__(**{name: array.ctypes.data for name, array in self.arrays.items()})


def compile(name: str, *flags: str) -> Any:
    """The function `run` of a file in `benchmarks/c/`; the library is kept by the hash of sources and flags."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise Skip("no C compiler")
    source = FOLDER / f"{name}.c"
    words = [compiler, *FLAGS, *flags]
    known = hashlib.sha256(repr(words).encode() + b"".join(p.read_bytes() for p in sorted(FOLDER.glob("*.[ch]"))))
    cache = Path(os.environ.get("BENCHMARKS_C_CACHE", FOLDER.parents[1] / "build/benchmarks/c"))
    library = cache / f"{name}-{known.hexdigest()[:16]}.so"
    if not library.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = library.with_suffix(f".{os.getpid()}.so")
        subprocess.run([*words, "-shared", "-fPIC", str(source), "-o", str(part), "-lm"], check=True)
        part.replace(library)
    function = ctypes.CDLL(str(library)).run
    function.restype = None
    return function


def address(array: np.ndarray | None) -> Any:
    """A pointer to an array, or NULL."""
    return POINTER(None if array is None else array.ctypes.data)


def cart_pole(case: Case, data: Data) -> Any:
    """Noise and kept states lie lane by lane."""
    real = "double" if case.dtype == "float64" else "float"
    function = compile("cart_pole", f"-DREAL={real}")
    net, dtype = Network(data.weights, case.dtype), case.dtype
    pole, half, drawn = data.lane("pole", case), data.lane("half", case), data.noise(case)
    noise = None if drawn is None else np.ascontiguousarray(drawn.transpose(2, 0, 1), dtype=dtype)
    start = np.array(STATE, dtype=dtype)
    final, largest = np.zeros((case.lanes, 4), dtype), np.zeros(case.lanes, dtype)
    kept = np.zeros((case.lanes, case.ticks, 4), dtype) if case.lanes <= KEPT else None

    def run() -> None:
        function(ctypes.c_ssize_t(case.lanes), ctypes.c_ssize_t(case.ticks), case.substeps, ctypes.c_double(case.step),
                 ctypes.byref(net), address(pole), address(half), address(noise), address(start), address(final),
                 address(largest), address(kept), case.threads)  # fmt: skip

    def read(_: None) -> dict[str, np.ndarray]:
        square = {} if kept is None else {"square": (kept.astype(float) ** 2).mean(axis=1)}
        return {"state": final, "largest": largest, **square}

    return run, read


def van_der_pol(case: Case, data: Data) -> Any:
    """Each lane with its own steps."""
    function = compile("van_der_pol")
    x0, final = data.lane("x0", case), np.zeros((case.lanes, 2))
    numbers = [ctypes.c_double(one) for one in (case.until, MU, RTOL, ATOL, FIRST)]
    return (lambda: function(ctypes.c_ssize_t(case.lanes), *numbers, address(x0), address(final)),
            lambda _: {"state": final})  # fmt: skip


def ball(case: Case, data: Data) -> Any:
    """Impacts by bisection on the step's interpolant."""
    function = compile("ball")
    restitution, final, bounces = data.lane("restitution", case), np.zeros((case.lanes, 2)), np.zeros(case.lanes)
    numbers = [ctypes.c_double(one) for one in (case.until, GRAVITY, RTOL, ATOL, FIRST, LONGEST, IMPACT)]
    return (lambda: function(ctypes.c_ssize_t(case.lanes), *numbers, address(restitution), address(final),
                             address(bounces)),
            lambda _: {"state": final, "bounces": bounces})  # fmt: skip


