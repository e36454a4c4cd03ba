"""Cutting a data set into parts by lane: no lane, and so no window, is in two parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from simdl.data.shards import Shards
from simdl.errors import DataError


def split_by_lane(shards: Shards, fractions: Sequence[float], seed: int = 0) -> tuple[Shards, ...]:
    """Views of `shards`, one a fraction, in which each lane falls by the hash of its number and the seed.

    A lane stays in its part when lanes are added or fail, whatever the order and the machine; therefore a part has
    its fraction only up to chance (± sqrt(f (1 - f) lanes)). Fractions that sum to less than 1 leave lanes out.
    DataError when a part would be empty.

    >>> import tempfile, torch
    >>> from simdl.data import Schema, Shards, ShardWriter, Signal
    >>> folder = tempfile.mkdtemp()
    >>> with ShardWriter(folder, Schema([Signal("y", every_ns=10**9)])) as writer:
    ...     entry = writer.write(range(100), {"y": torch.randn(100, 5)})
    >>> train, test = split_by_lane(Shards(folder), (0.8, 0.2), seed=1)
    >>> set(train.lanes.tolist()) & set(test.lanes.tolist())
    set()
    """
    edges = np.cumsum([0.0, *fractions])
    if not len(fractions) or min(fractions) <= 0 or edges[-1] > 1 + 1e-9:
        raise DataError("split_by_lane", f"fractions {tuple(fractions)}", "positive numbers that sum to at most 1")
    if edges[-1] > 1 - 1e-9:
        edges[-1] = 1.0
    place = _uniform(shards.lanes.numpy(), seed)
    parts = tuple(shards.at(np.flatnonzero((place >= a) & (place < b))) for a, b in zip(edges, edges[1:]))
    for fraction, part in zip(fractions, parts):
        if not len(part):
            raise DataError(
                str(shards.folder), f"the part of {fraction:g} is empty: there are {len(shards)} lanes",
                "at least one lane a part", "simulate more lanes, or take a larger fraction or another seed",
            )  # fmt: skip
    return parts


def _uniform(lanes: Any, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    # SplitMix64 (Steele, Lea & Flood 2014), twice: once for the seed, once for the lane.
    def mix(z: Any) -> Any:
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    with np.errstate(over="ignore"):
        start = mix(np.array([seed % 2**64], np.uint64))
        bits = mix(lanes.astype(np.uint64) ^ start)
    unit: np.ndarray[tuple[int], np.dtype[np.float64]] = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return unit
