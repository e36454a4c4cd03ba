"""What must not be shared by the data a network learns from and the data it is judged on."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simdl.data.columns import Columns
from simdl.data.sequences import Sequences
from simdl.data.shard import describe
from simdl.data.shards import Shards
from simdl.data.windows import Windows
from simdl.errors import DataError

Data = Shards | Windows | Sequences
Words = np.ndarray[Any, np.dtype[np.uint64]]
CHUNK = 4096  # windows hashed at a time


@dataclass(frozen=True)
class LeakReport:
    """What `leak_check` compared and found clean."""

    lanes: tuple[int, int]
    parameters: int
    windows: tuple[int, int]
    sampled: bool

    def __str__(self) -> str:
        some = " (a sample)" if self.sampled else ""
        return (
            f"no leak: {self.lanes[0]} training and {self.lanes[1]} test lanes share no lane and none of "
            f"{self.parameters} parameters' rows; {self.windows[0]} and {self.windows[1]} windows{some} differ"
        )


def leak_check(train: Data, test: Data, *, ignore: Sequence[str] = (), limit: int = 200_000) -> LeakReport:
    """Raise one DataError that lists every leak from `train` into `test`; return what was compared.

    `lanes`: the same lane of the same campaign in both. `params`: lanes with the same parameters (where parameters
    vary). `targets`: an input whose every value equals a target's, under whatever name. `windows`: input windows
    that are bit for bit the same (windows that do not change in time are not counted: a system at rest is one);
    of more than `limit` windows an even sample is compared. `ignore` names checks to leave out.
    """
    checks = ("lanes", "params", "targets", "windows")
    for name in ignore:
        if name not in checks:
            raise DataError("leak_check", f"no check {name!r}", names=checks, wrong=name)
    first, second = (data if isinstance(data, Shards) else data.shards for data in (train, test))
    leaks: list[str] = []
    if "lanes" not in ignore:
        leaks += _lanes(first, second)
    if "params" not in ignore:
        leaks += _params(first, second)
    if "targets" not in ignore:
        for data in (train, test):
            leaks += [leak for leak in _targets(data) if leak not in leaks]
    counts, sampled = (0, 0), False
    if "windows" not in ignore and isinstance(train, Windows | Sequences) and isinstance(test, Windows | Sequences):
        (mine, a), (theirs, b) = _hashes(train, limit), _hashes(test, limit)
        counts, sampled = (len(mine), len(theirs)), a or b
        shared = np.isin(theirs, mine)
        if shared.any():
            leaks.append(f"{int(shared.sum())} of {len(theirs)} test windows are also training windows, bit for bit")
    if leaks:
        raise DataError(
            "leak_check", "test data leak into training:\n    " + "\n    ".join(leaks),
            "training and test data that share nothing",
            'split with split_by_lane, vary the parameters, or leave a check out: ignore=["windows"]',
        )  # fmt: skip
    return LeakReport((len(first), len(second)), len(first.schema.params), counts, sampled)


def _lanes(train: Shards, test: Shards) -> list[str]:
    both = set(train.origins) & set(test.origins)
    lanes = sorted({lane for _, _, lane in both})
    seeds = sorted({seed for _, seed, _ in both})
    return [f"{describe(lanes)} of the same campaign (seed {', '.join(map(str, seeds))}) in both"] if both else []


def _params(train: Shards, test: Shards) -> list[str]:
    names = [p.name for p in train.schema.params if any(p == q for q in test.schema.params)]
    if not names:
        return []
    rows = [np.concatenate([_words(part.param(name)) for name in names], 1) for part in (train, test)]
    mine, theirs = ({row.tobytes(): int(lane) for row, lane in zip(r, p.lanes)} for r, p in zip(rows, (train, test)))
    both = mine.keys() & theirs.keys()
    if not both or len(mine.keys() | theirs.keys()) == 1:  # nothing varies: the lanes differ by their noise alone
        return []
    pairs = ", ".join(f"train lane {mine[row]} = test lane {theirs[row]}" for row in sorted(both)[:3])
    return [f"{len(both)} parameter rows ({', '.join(names[:4])}{' …' if len(names) > 4 else ''}) in both: {pairs}"]


def _targets(data: Data) -> list[str]:
    if isinstance(data, Shards) or (isinstance(data, Windows) and (data.form == "dict" or data.horizon)):
        return []
    return [
        f"the input {x.name!r} equals the target {y.name!r} in every sample"
        for x in data.inputs.signals
        for y in data.targets.signals
        if (x.shape, x.every_ns, x.start_ns) == (y.shape, y.every_ns, y.start_ns)
        and all(torch.equal(b[x.name].double(), b[y.name].double()) for _, b in data.shards.blocks([x.name, y.name]))
    ]


def _hashes(data: Windows | Sequences, limit: int) -> tuple[Words, bool]:
    if isinstance(data, Windows) and data.form == "dict":
        return np.zeros(0, np.uint64), False
    raw = copy.copy(data)  # without normalisation: the parts may have been normalised differently
    raw.inputs, raw._tables = Columns(data.shards, _names(data.inputs), data.grid, data.inputs.dtype), None
    if isinstance(raw, Sequences):
        raw._parts = [raw.inputs]
    step = -(-len(raw) // limit)
    found = []
    every, size = torch.arange(0, len(raw), step), CHUNK if isinstance(raw, Windows) else 64
    for index in (every[i : i + size] for i in range(0, len(every), size)):
        x = raw.batch(index)[0]
        moving = (x != x[:, :1]).flatten(1).any(1)
        words = _words(x[moving])
        weights = np.random.default_rng(0).integers(1, 2**63, words.shape[1], np.uint64) * np.uint64(2) + np.uint64(1)
        with np.errstate(over="ignore"):
            hashed = (words * weights).sum(1, dtype=np.uint64)
        found.append(hashed)
    return np.concatenate(found), step > 1


def _names(columns: Columns) -> dict[str, str]:
    return {f"{i}": signal.name for i, signal in enumerate(columns.signals)}


def _words(values: Tensor) -> Words:
    flat = values.reshape(len(values), -1) if len(values) else values.reshape(0, 1)
    words: Words = flat.to(torch.float64).contiguous().view(torch.int64).numpy().view(np.uint64)
    return words
