"""Execution times measured here, on this machine, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from simdl.computer.times import Measured
from simdl.errors import ModelError


def measure(what: Callable[..., Any], *args: Any, samples: int = 100, warm_up: int = 10, threads: int = 1) -> Measured:
    """Time calls of a network or function, and give the times as a distribution.

    what: called with args `warm_up + samples` times without gradients. threads: of torch meanwhile.
    They are the times of this machine under its load of this moment: for another one, log there and give `Measured`
    the log.

    >>> times = measure(torch.nn.Linear(4, 2), torch.zeros(1, 4), samples=5)
    >>> 0 < times.percentile(50) <= times.percentile(100)
    True
    """
    if samples < 1 or warm_up < 0 or threads < 1:
        raise ModelError("measure", f"samples={samples}, warm_up={warm_up}, threads={threads}", "at least 1, 0, 1")
    before = torch.get_num_threads()
    found: list[float] = []
    try:
        torch.set_num_threads(threads)
        with torch.no_grad():
            for k in range(warm_up + samples):
                begin = time.perf_counter_ns()
                what(*args)
                if k >= warm_up:
                    found.append((time.perf_counter_ns() - begin) * 1e-9)
    finally:
        torch.set_num_threads(before)
    return Measured(_checked(found))


def _checked(times: Sequence[float]) -> Sequence[float]:
    return [max(one, 1e-9) for one in times]  # a clock may not move between two looks
