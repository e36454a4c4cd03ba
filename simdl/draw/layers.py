"""Layers: from a graph with cycles to items in ranks, in an order in which few lines cross.

The method of Sugiyama, Tagawa and Toda (1981): break cycles, assign ranks, cut long edges into chains of dummies,
sweep with barycentres. An edge that runs backwards becomes a chain below the ranks it passes. All edges of one source
pin share their chain. Everything is decided by the order of declaration: the same graph gives the same picture.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from simdl.draw.sketch import Box, Pin, Wire

SWEEPS = 12


@dataclass(eq=False)
class Item:
    """A box in its rank, or a place that a chain passes through. size: across the direction of drawing."""

    rank: int
    size: float
    box: Box | None = None
    back: bool = False  # of a chain that runs backwards
    at: float = 0.0  # its beginning, across

    def offset(self, pin: Pin | None) -> float:
        return self.size / 2 if pin is None or self.box is None else pin.offset


@dataclass(eq=False)
class Link:
    """A piece of a chain between neighbouring ranks. A pin is None at a dummy."""

    left: Item
    right: Item
    source: Pin | None
    target: Pin | None


@dataclass(eq=False)
class Chain:
    """The wires of one source pin: dummies by rank, forwards and backwards."""

    source: Item
    pin: Pin
    ahead: dict[int, Item] = field(default_factory=dict)
    behind: dict[int, Item] = field(default_factory=dict)
    ends: list[tuple[Wire, Item]] = field(default_factory=list)


@dataclass(eq=False)
class Layers:
    ranks: list[list[Item]]
    chains: list[Chain]
    links: list[Link]


def layered(boxes: Sequence[Box], wires: Sequence[Wire]) -> Layers:
    """Boxes in ranks with the chains of their wires. Border boxes are in the first and in the last rank."""
    place = {box: i for i, box in enumerate(boxes)}
    pairs = list(dict.fromkeys((place[w.source.box], place[w.target.box]) for w in wires))
    rank = _ranks(boxes, _acyclic(boxes, pairs))
    items = [Item(rank[i], 0.0, box) for i, box in enumerate(boxes)]
    ranks: list[list[Item]] = [[] for _ in range(max(rank, default=-1) + 1)]
    for item in items:
        ranks[item.rank].append(item)
    chains: dict[Pin, Chain] = {}
    for wire in wires:
        chain = chains.setdefault(wire.source, Chain(items[place[wire.source.box]], wire.source))
        chain.ends.append((wire, items[place[wire.target.box]]))
    links: list[Link] = []
    for chain in chains.values():
        links += _links(chain, ranks)
    order(ranks, links)
    return Layers(ranks, list(chains.values()), links)


def _acyclic(boxes: Sequence[Box], pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The pairs without those that close a cycle in a walk from the inputs, then in order of declaration."""
    after: list[list[int]] = [[] for _ in boxes]
    entered = [0] * len(boxes)
    for a, b in pairs:
        if a != b and boxes[a].kind != "output" and boxes[b].kind != "input":
            after[a].append(b)
            entered[b] += 1
    starts = sorted(range(len(boxes)), key=lambda i: (boxes[i].kind != "input", entered[i] > 0, i))
    state = [0] * len(boxes)  # 1: on the walk, 2: done
    kept: list[tuple[int, int]] = []
    for start in starts:
        if state[start]:
            continue
        state[start] = 1
        stack = [(start, iter(after[start]))]
        while stack:
            node, rest = stack[-1]
            for other in rest:
                if state[other] != 1:
                    kept.append((node, other))
                if not state[other]:
                    state[other] = 1
                    stack.append((other, iter(after[other])))
                    break
            else:
                state[node] = 2
                stack.pop()
    return kept


def _ranks(boxes: Sequence[Box], pairs: list[tuple[int, int]]) -> list[int]:
    """Longest paths from the inputs; then whatever has more readers than sources moves towards its readers."""
    before: list[list[int]] = [[] for _ in boxes]
    after: list[list[int]] = [[] for _ in boxes]
    for a, b in pairs:
        before[b].append(a)
        after[a].append(b)
    waiting = [len(b) for b in before]
    ordered = [i for i in range(len(boxes)) if not waiting[i]]
    for node in ordered:
        for other in after[node]:
            waiting[other] -= 1
            if not waiting[other]:
                ordered.append(other)
    first = 1 if any(box.kind == "input" for box in boxes) else 0
    rank = [0 if box.kind == "input" else first for box in boxes]
    for node in ordered:
        for other in after[node]:
            rank[other] = max(rank[other], rank[node] + 1)
    for node in reversed(ordered):
        if after[node] and boxes[node].kind != "input" and len(after[node]) > len(before[node]):
            rank[node] = max(rank[node], min(rank[other] for other in after[node]) - 1)
    inside = [r for r, box in zip(rank, boxes, strict=True) if box.kind != "output"]
    last = max(inside, default=-1) + 1
    rank = [last if box.kind == "output" else r for r, box in zip(rank, boxes, strict=True)]
    used = {r: i for i, r in enumerate(sorted(set(rank)))}
    return [used[r] for r in rank]


def _links(chain: Chain, ranks: list[list[Item]]) -> list[Link]:
    start = chain.source.rank
    far = max(end.rank for _, end in chain.ends)
    near = min(end.rank for _, end in chain.ends)
    found = []
    at, pin = chain.source, chain.pin
    for rank in range(start + 1, far):
        chain.ahead[rank] = Item(rank, 0.0)
        ranks[rank].append(chain.ahead[rank])
        found.append(Link(at, chain.ahead[rank], pin if at.box else None, None))
        at = chain.ahead[rank]
    for wire, end in chain.ends:
        if end.rank > start:
            at = chain.ahead.get(end.rank - 1, chain.source)
            found.append(Link(at, end, chain.pin if at.box else None, wire.target))
    if near <= start:
        for rank in range(near, start + 1):
            chain.behind[rank] = Item(rank, 0.0, back=True)
    return found


def order(ranks: list[list[Item]], links: Sequence[Link]) -> None:
    """Sort each rank in place, so that few links cross: barycentres, forwards and backwards; the best is kept."""
    by_left: dict[Item, list[Link]] = {}
    by_right: dict[Item, list[Link]] = {}
    gaps: list[list[Link]] = [[] for _ in ranks]
    for link in links:
        by_left.setdefault(link.left, []).append(link)
        by_right.setdefault(link.right, []).append(link)
        gaps[link.right.rank].append(link)
    best = [list(items) for items in ranks]
    fewest = _crossings(best, gaps)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        forwards = sweep % 2 == 0
        for rank in range(1, len(ranks)) if forwards else range(len(ranks) - 2, -1, -1):
            other = _fractions(ranks[rank - 1 if forwards else rank + 1], forwards)
            beside = by_right if forwards else by_left
            mean: dict[Item, float] = {}
            for place, item in enumerate(ranks[rank]):
                near = [_key(link, not forwards, other) for link in beside.get(item, ())]
                mean[item] = sum(near) / len(near) if near else float(place)
            ranks[rank].sort(key=lambda item: mean[item])
        crossed = _crossings(ranks, gaps)
        if crossed < fewest:
            best, fewest = [list(items) for items in ranks], crossed
    ranks[:] = best


def _fractions(items: Sequence[Item], out: bool) -> dict[Item, tuple[int, dict[Pin, float]]]:
    found = {}
    for place, item in enumerate(items):
        pins = (item.box.outs if out else item.box.ins) if item.box else []
        found[item] = (place, {pin: (i + 1) / (len(pins) + 1) - 0.5 for i, pin in enumerate(pins)})
    return found


def _key(link: Link, right: bool, places: dict[Item, tuple[int, dict[Pin, float]]]) -> float:
    item, pin = (link.right, link.target) if right else (link.left, link.source)
    place, fractions = places[item]
    return place + (fractions.get(pin, 0.0) if pin is not None else 0.0)


def _crossings(ranks: Sequence[Sequence[Item]], gaps: Sequence[Sequence[Link]]) -> int:
    total = 0
    for rank in range(1, len(ranks)):
        left, right = _fractions(ranks[rank - 1], True), _fractions(ranks[rank], False)
        ends = sorted((_key(link, False, left), _key(link, True, right)) for link in gaps[rank])
        seen: list[float] = []
        for _, end in ends:
            total += len(seen) - bisect_left(seen, end + 1e-9)
            insort(seen, end)
    return total
