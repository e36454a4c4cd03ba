"""Mean, spread and extremes of signals over the lanes of a campaign, whatever shards the lanes come in.

Lanes are summed in groups of 64 by their numbers, and groups in order: so neither the size of shards nor the order in
which they finish shows in a single bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from simdl.result import Trace

GROUP = 64  # lanes


@dataclass(frozen=True)
class Statistics:
    """A signal over the lanes that did not fail, at each recorded time: all (time, *shape), float64; t in s.

    std is the sample's, with n - 1; NaN for a single lane."""

    path: str
    t: Tensor
    lanes: int
    mean: Tensor
    std: Tensor
    min: Tensor
    max: Tensor
    unit: str = ""

    def __repr__(self) -> str:
        return f"<Statistics of {self.path}: {self.lanes} lanes, {len(self.t)} times>"


@dataclass(frozen=True)
class Moments:
    """Of one group of lanes: how many, their mean, the squares of deviations from it, and the extremes."""

    count: int
    mean: Tensor
    square: Tensor
    low: Tensor
    high: Tensor

    def __add__(self, other: Moments) -> Moments:
        """Both together (Chan, Golub and LeVeque 1979)."""
        if not self.count or not other.count:
            return self if self.count else other
        count, delta = self.count + other.count, other.mean - self.mean
        mean = self.mean + delta * (other.count / count)
        square = self.square + other.square + delta * delta * (self.count * other.count / count)
        return Moments(count, mean, square, torch.minimum(self.low, other.low), torch.maximum(self.high, other.high))


@dataclass(frozen=True)
class Summary:
    """What a shard tells of one signal: the moments of groups that it holds in full, and the lanes of the others.

    loose: group -> (numbers of lanes (k,), values (k, time, *shape))."""

    t: Tensor
    unit: str
    groups: Mapping[int, Moments]
    loose: Mapping[int, tuple[Tensor, Tensor]]


def summarised(trace: Trace, ids: Tensor, failed: Iterable[int] = ()) -> Summary:
    """A signal of some lanes; failed lanes are left out."""
    rows: dict[int, list[int]] = {}
    left_out = set(failed)
    for row in torch.argsort(ids).tolist():
        rows.setdefault(int(ids[row]) // GROUP, []).append(row)
    good = {group: [row for row in members if int(ids[row]) not in left_out] for group, members in rows.items()}
    full = [group for group, members in good.items() if len(members) == GROUP]
    groups = dict(zip(full, moments(trace.values[torch.tensor([good[group] for group in full])]) if full else []))
    loose: dict[int, tuple[Tensor, Tensor]] = {}
    for group in rows.keys() - groups.keys():
        values = trace.values[good[group]].detach().cpu()
        if len(rows[group]) == GROUP:
            groups[group] = moments(values[None])[0]
        elif len(values):
            loose[group] = ids[good[group]], values
    return Summary(trace.t, trace.unit, groups, loose)


def moments(values: Tensor) -> list[Moments]:
    """Of groups (groups, lanes, time, *shape), lane after lane: no order of summation is left to a library."""
    values = values.detach().cpu().double()
    count = values.shape[1]
    if not count:
        nothing = torch.zeros(values.shape[2:], dtype=torch.float64)
        return [Moments(0, nothing, nothing, nothing, nothing) for _ in values]
    total, square = values[:, 0].clone(), torch.zeros_like(values[:, 0])
    for one in values.unbind(1)[1:]:
        total += one
    mean = total / count
    for one in values.unbind(1):
        off = one - mean
        square += off * off
    low, high = values.amin(dim=1), values.amax(dim=1)
    return [Moments(count, *found) for found in zip(mean, square, low, high, strict=True)]


class Gathered:
    """Summaries of shards as they come, put together in the order of lanes."""

    def __init__(self, wanted: Tensor) -> None:
        self.sizes = Counter((wanted // GROUP).tolist())
        self.groups: dict[str, dict[int, Moments]] = {}
        self.loose: dict[str, dict[int, list[tuple[Tensor, Tensor]]]] = {}
        self.about: dict[str, tuple[Tensor, str]] = {}

    def add(self, summaries: Mapping[str, Summary]) -> None:
        """Take in a shard."""
        for path, summary in summaries.items():
            self.about[path] = summary.t, summary.unit
            done = self.groups.setdefault(path, {})
            done.update(summary.groups)
            waiting = self.loose.setdefault(path, {})
            for group, part in summary.loose.items():
                parts = waiting.setdefault(group, [])
                parts.append(part)
                if sum(len(ids) for ids, _ in parts) == self.sizes[group]:
                    done[group] = _whole(waiting.pop(group))

    def statistics(self) -> dict[str, Statistics]:
        """By path, over all lanes so far."""
        found = {}
        for path, done in self.groups.items():
            every = done | {group: _whole(parts) for group, parts in self.loose[path].items()}
            total = moments(torch.zeros(1, 0))[0]
            for group in sorted(every):
                total = total + every[group]
            t, unit = self.about[path]
            if total.count:
                std = (total.square / (total.count - 1)).sqrt() if total.count > 1 else total.square * torch.nan
                found[path] = Statistics(path, t, total.count, total.mean, std, total.low, total.high, unit)
        return found


def _whole(parts: list[tuple[Tensor, Tensor]]) -> Moments:
    ids, values = (torch.cat(column) for column in zip(*parts, strict=True))
    return moments(values[None, torch.argsort(ids)])[0]
