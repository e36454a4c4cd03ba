"""The instants of a run as arrays: their times, the ticks of each clock, and which program each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simdl.clock import Clock
from simdl.compile.node import ClockId
from simdl.engine.record import Recorder

Array = np.ndarray[Any, np.dtype[Any]]
Kind = tuple[tuple[int, ...], tuple[str, ...], bool]
"""What tells programs of instants apart: the clocks that tick, the keys recorded, and whether it is the first."""


@dataclass(frozen=True)
class Schedule:
    """Instants in order: ns (n,), the kinds, which kind each is (n,), and ticks (n, clocks)."""

    ns: Array
    kinds: tuple[Kind, ...]
    which: Array
    ticks: Array


def ticks_of(clock: Clock, begin: int, end: int) -> tuple[Array, int]:
    """The ticks of a clock in (begin, end], ns, and the number of the first one."""
    first = clock.first(begin + 1)
    last = clock.first(end + 1)
    k = np.arange(first, last, dtype=np.int64)
    if clock.denominator == 1:
        return clock.offset + k * clock.numerator, first
    if last and 2 * last * clock.numerator < 2**62:
        return clock.offset + (2 * k * clock.numerator + clock.denominator) // (2 * clock.denominator), first
    return np.array([clock.at(int(i)) for i in k], dtype=np.int64), first


def schedule(
    clocks: Sequence[Clock], recorder: Recorder, begin: int, end: int, extra: Sequence[Array],
    releases: Sequence[tuple[Array, frozenset[str]]], hits: int,
) -> Schedule:  # fmt: skip
    """The instants in (begin, end]; from the start of time when begin is -1.

    extra: further times (edges of sources); releases: times at which keys appear."""
    times = [ticks_of(clock, begin, end) for clock in clocks]
    parts = [t for t, _ in times] + [np.array([end], dtype=np.int64)] + [t for t, _ in releases] + list(extra)
    if begin < 0:
        parts.append(np.zeros(1, dtype=np.int64))
    ns = np.unique(np.concatenate(parts))
    ns = ns[(ns > begin) & (ns <= end)]
    code = np.zeros(len(ns), dtype=np.int64)
    ticks = np.zeros((len(ns), max(1, len(clocks))), dtype=np.int64)
    for i, (t, first) in enumerate(times):
        at = np.searchsorted(ns, t)
        code[at] |= 1 << i
        ticks[at, i] = first + np.arange(len(t))
    bit = len(clocks)
    for j, (t, _) in enumerate(releases):
        kept = t[(t > begin) & (t <= end)]
        code[np.searchsorted(ns, kept)] |= 1 << (bit + j)
    bit += len(releases)
    if recorder.step is not None:
        code[ns % recorder.step == 0] |= 1 << bit
    if len(ns) and ns[0] == 0:
        code[0] |= 1 << (bit + 1)
    found, which = np.unique(code, return_inverse=True)
    lane_clocks: list[ClockId] = [("hit", i) for i in range(hits)]
    kinds = []
    for one in found.tolist():
        ticking = tuple(i for i in range(len(clocks)) if one >> i & 1)
        released: set[str] = set()
        for j, (_, keys) in enumerate(releases):
            if one >> (len(clocks) + j) & 1:
                released |= keys
        first = bool(one >> (bit + 1) & 1)
        if recorder.step is not None:
            wanted = recorder.keys if one >> bit & 1 else ()
        else:
            wanted = recorder.wanted(0 if first else 1, frozenset([*ticking, *lane_clocks]), frozenset(released))
        kinds.append((ticking, wanted, first))
    return Schedule(ns, tuple(kinds), which.astype(np.int32), ticks)
