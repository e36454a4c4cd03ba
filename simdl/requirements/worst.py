"""Which comparison at which sample decides the exact margin of each lane.

Every min and max hands up the value of one child at one sample, so a walk down from the root at time 0 ends, in each
lane, at one comparison. Of several that are equal the first counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from simdl.requirements.evaluation import ATOMS, Values, span
from simdl.requirements.tree import Node, Requirement, Term, walk


@dataclass(frozen=True)
class Place:
    """A comparison, the lanes that it decides (n,), the sample in each (n,), and the sign with which it counts (n,)."""

    atom: Requirement
    lanes: Tensor
    at: Tensor
    sign: Tensor


def places(root: Requirement, margins: Values, lanes: Tensor, every: int) -> list[Place]:
    """Where the margin at time 0 comes from, for the given lanes (their margins are numbers)."""
    start = torch.zeros_like(lanes)
    waiting = {id(root): [Arrival(lanes, start, start + 1)]} if len(lanes) else {}
    found = []
    for node in reversed([node for node in walk(root) if not isinstance(node, Term)]):
        if id(node) not in waiting:
            continue
        here = Arrival.merge(waiting.pop(id(node)))
        if node.op in ATOMS:
            assert isinstance(node, Requirement)
            found.append(Place(node, here.lanes, here.at, here.sign))
            continue
        for child, arrival in _down(node, margins, here, every):
            if len(arrival.lanes):
                waiting.setdefault(id(child), []).append(arrival)
    return found


@dataclass(frozen=True)
class Arrival:
    """Lanes whose way down reaches a node, each at a sample and with a sign."""

    lanes: Tensor
    at: Tensor
    sign: Tensor

    @staticmethod
    def merge(parts: list[Arrival]) -> Arrival:
        return Arrival(*(torch.cat(column) for column in zip(*((p.lanes, p.at, p.sign) for p in parts))))

    def pick(self, mask: Tensor, at: Tensor | None = None, sign: int = 1) -> Arrival:
        return Arrival(self.lanes[mask], (self.at if at is None else at)[mask], sign * self.sign[mask])


def _down(node: Node, margins: Values, here: Arrival, every: int) -> list[tuple[Node, Arrival]]:
    everyone = torch.ones_like(here.lanes, dtype=torch.bool)
    first = node.args[0]
    match node.op:
        case "not":
            return [(first, here.pick(everyone, sign=-1))]
        case "previous":
            return [(first, here.pick(everyone, (here.at - 1).clamp(min=0)))]
        case "and" | "or" | "implies":
            signs = [-1 if node.op == "implies" and i == 0 else 1 for i in range(len(node.args))]
            values = torch.stack([s * _at(margins[id(a)], here.lanes, here.at) for s, a in zip(signs, node.args)])
            chosen = values.argmin(0) if node.op == "and" else values.argmax(0)
            return [(a, here.pick(chosen == i, sign=s)) for i, (s, a) in enumerate(zip(signs, node.args))]
        case "always" | "eventually":
            beyond = math.inf if node.op == "always" else -math.inf
            window, at = _window(margins[id(first)], here, *span(node, every), beyond)
            offset = window.argmin(1) if node.op == "always" else window.argmax(1)
            return [(first, here.pick(everyone, at + offset))]
    return _until(node, margins, here, every)


def _until(node: Node, margins: Values, here: Arrival, every: int) -> list[tuple[Node, Arrival]]:
    (left, right), (first, last) = node.args, span(node, every)
    so_far, _ = _window(margins[id(left)], here, 0, last, math.inf)
    until_then = torch.cat([torch.full_like(so_far[:, :1], math.inf), so_far.cummin(1)[0][:, :-1]], dim=1)
    release, _ = _window(margins[id(right)], here, 0, last, -math.inf)
    width = min(release.shape[1], until_then.shape[1])
    value = torch.minimum(release[:, first:width], until_then[:, first:width])
    best = first + value.argmax(1, keepdim=True)
    by_right = (release.gather(1, best) <= until_then.gather(1, best)).squeeze(1)
    before = torch.arange(so_far.shape[1], device=best.device) < best
    worst = torch.where(before, so_far, math.inf).argmin(1)
    return [(right, here.pick(by_right, here.at + best.squeeze(1))), (left, here.pick(~by_right, here.at + worst))]


def _at(x: Tensor, lanes: Tensor, at: Tensor) -> Tensor:
    return x[lanes if x.shape[0] > 1 else torch.zeros_like(lanes), at]


def _window(x: Tensor, here: Arrival, first: int, last: int | None, beyond: float) -> tuple[Tensor, Tensor]:
    """The samples at + first … at + last of each lane (n, width), `beyond` after the end; and their start."""
    start = here.at + first
    width = x.shape[1] - int(start.min()) if last is None else last - first + 1
    index = start[:, None] + torch.arange(width, device=start.device)
    lanes = here.lanes[:, None] if x.shape[0] > 1 else torch.zeros_like(start)[:, None]
    values = x[lanes, index.clamp(max=x.shape[1] - 1)]
    return torch.where(index < x.shape[1], values, beyond), start
