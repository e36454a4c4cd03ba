"""Hand-written C with lanes innermost, -O3 -march=native -ffast-math: what the processor can do."""

from __future__ import annotations

import ctypes
import platform
from typing import Any

import numpy as np

from benchmarks.cases import KEPT, STATE, Case
from benchmarks.data import Data
from benchmarks.tools import Skip
from benchmarks.tools.c import Network, address, compile

WIDE = ("-mprefer-vector-width=512",) if platform.machine() in ("x86_64", "AMD64") else ()


def cart_pole(case: Case, data: Data) -> Any:
    """Lanes are padded to whole vectors and cut into blocks of one vector."""
    if case.workload == "W1" or case.workload == "W6":
        raise Skip("for many lanes")
    real, dtype = ("double", np.float64) if case.dtype == "float64" else ("float", np.float32)
    function = compile("cart_pole_simd", f"-DREAL={real}", "-ffast-math", *WIDE)
    net, width = Network(data.weights, case.dtype), 64 // np.dtype(dtype).itemsize
    lanes = -(-case.lanes // width) * width
    blocks, spare = lanes // width, (0, lanes - case.lanes)
    pole, half = (np.pad(data.lane(name, case), spare, mode="edge") for name in ("pole", "half"))
    start, noise = np.array(STATE, dtype), None
    if (drawn := data.noise(case)) is not None:
        padded = np.pad(drawn, ((0, 0), (0, 0), spare), mode="edge").reshape(case.ticks, 4, blocks, width)
        noise = np.ascontiguousarray(padded.transpose(2, 0, 1, 3), dtype=dtype)
    final, largest = np.zeros((blocks, 4, width), dtype), np.zeros(lanes, dtype)
    kept = np.zeros((blocks, case.ticks, 4, width), dtype) if case.lanes <= KEPT else None

    def run() -> None:
        function(ctypes.c_ssize_t(lanes), ctypes.c_ssize_t(case.ticks), case.substeps, ctypes.c_double(case.step),
                 ctypes.byref(net), address(pole), address(half), address(noise), address(start), address(final),
                 address(largest), address(kept), case.threads)  # fmt: skip

    def read(_: None) -> dict[str, np.ndarray]:
        found = {"state": final.transpose(0, 2, 1).reshape(lanes, 4), "largest": largest}
        if kept is not None:
            found["square"] = (kept.astype(float) ** 2).mean(axis=1).transpose(0, 2, 1).reshape(lanes, 4)
        return {name: array[: case.lanes] for name, array in found.items()}

    return run, read
