"""Where items stand across the direction of drawing: as straight as the order allows, never overlapping."""

from __future__ import annotations

from collections.abc import Sequence

from simdl.draw.layers import Item, Layers, Link

APART = 22.0  # between boxes
CLOSE = 14.0  # between lines that pass
PORTS = 4.0  # between ports in the border of a frame
ROUNDS = 6


def placed(layers: Layers) -> float:
    """Set `.at` of every item; returns the extent across."""
    left: dict[Item, list[Link]] = {}
    right: dict[Item, list[Link]] = {}
    for link in layers.links:
        right.setdefault(link.left, []).append(link)
        left.setdefault(link.right, []).append(link)
    for items in layers.ranks:
        at = 0.0
        for before, item in zip([None, *items], items, strict=False):
            item.at = at = at + (before.size + _gap(before, item) if before else 0.0)
    for turn in range(2 * ROUNDS + 1):
        forwards = turn % 2 == 0
        for items in layers.ranks if forwards else reversed(layers.ranks):
            _align(items, [_wish(item, left.get(item, []), right.get(item, []), forwards, turn) for item in items])
    for _ in range(ROUNDS):
        _shift(layers)
    begin = min((item.at for items in layers.ranks for item in items), default=0.0)
    bottom = []
    for items in layers.ranks:
        for item in items:
            item.at -= begin
        bottom.append(max((item.at + item.size for item in items), default=0.0))
    chains = [c for c in layers.chains if c.behind]
    for chain in sorted(chains, key=lambda c: (len(c.behind), min(c.behind))):  # short ones nearest to their boxes
        at = max(bottom[rank] for rank in chain.behind) + CLOSE
        for rank, item in chain.behind.items():
            item.at = bottom[rank] = at
    return max(bottom, default=0.0)


def _shift(layers: Layers) -> None:
    """Move whatever straight lines hold together as one, towards what it is otherwise connected to.

    One item at a time cannot: each is kept in its place by the others of its line."""
    lead: dict[Item, Item] = {}

    def first(item: Item) -> Item:
        while item in lead:
            item = lead[item]
        return item

    for link in layers.links:
        a, b = first(link.left), first(link.right)
        if a is not b and abs(_rise(link)) < 0.01:
            lead[b] = a
    groups: dict[Item, list[Item]] = {}
    for items in layers.ranks:
        for item in items:
            groups.setdefault(first(item), []).append(item)
    pulls: dict[Item, list[tuple[Item, Link, float]]] = {}
    for link in layers.links:
        a, b = first(link.left), first(link.right)
        if a is not b:
            pulls.setdefault(a, []).append((b, link, 1.0))
            pulls.setdefault(b, []).append((a, link, -1.0))
    above: dict[Item, Item] = {}
    below: dict[Item, Item] = {}
    for items in layers.ranks:
        for one, other in zip(items, items[1:], strict=False):
            above[other], below[one] = one, other
    for group, members in groups.items():
        if group not in pulls:
            continue
        wish = _median([(sign * _rise(link), _weight(link)) for _, link, sign in pulls[group]])
        for item in members:
            up, down = above.get(item), below.get(item)
            if up is not None and first(up) is not group:
                wish = max(wish, up.at + up.size + _gap(up, item) - item.at)
            if down is not None and first(down) is not group:
                wish = min(wish, down.at - item.size - _gap(item, down) - item.at)
        for item in members:
            item.at += wish


def _rise(link: Link) -> float:
    """How far down a line goes from its left end to its right."""
    return link.right.at + link.right.offset(link.target) - link.left.at - link.left.offset(link.source)


def _gap(a: Item, b: Item) -> float:
    if a.box is None or b.box is None:
        return CLOSE
    return PORTS if a.box.outer is not None and b.box.outer is not None else APART


def _wish(item: Item, left: list[Link], right: list[Link], forwards: bool, turn: int) -> tuple[float, float]:
    """Where an item would have a straight line, and how much it matters: the median over its neighbours."""
    late = turn >= ROUNDS
    near = [(link.left.at + link.left.offset(link.source) - item.offset(link.target), _weight(link))
            for link in left if forwards or late]  # fmt: skip
    near += [(link.right.at + link.right.offset(link.target) - item.offset(link.source), _weight(link))
             for link in right if not forwards or late]  # fmt: skip
    if not near:
        return item.at, 0.1
    return _median(near), sum(weight for _, weight in near)


def _weight(link: Link) -> float:
    return (1.0, 3.0, 9.0)[(link.left.box is None) + (link.right.box is None)]


def _median(values: Sequence[tuple[float, float]]) -> float:
    ordered = sorted(values)
    left = sum(weight for _, weight in ordered) / 2
    for value, weight in ordered:
        left -= weight
        if left <= 0:
            return value
    return ordered[-1][0]


def _align(items: Sequence[Item], wishes: Sequence[tuple[float, float]]) -> None:
    """The places nearest to the wishes (weighted absolute distance) that keep order and distances.

    Pool adjacent violators with medians, so that lines that can be straight are exactly so."""
    groups: list[tuple[list[tuple[float, float]], float]] = []
    shifts = []
    shift = 0.0
    for before, item, (wish, weight) in zip([None, *items], items, wishes, strict=False):
        shift += before.size + _gap(before, item) if before is not None else 0.0
        shifts.append(shift)
        members = [(wish - shift, weight)]
        value = wish - shift
        while groups and groups[-1][1] > value:
            members = groups.pop()[0] + members
            value = _median(members)
        groups.append((members, value))
    places = [value for members, value in groups for _ in members]
    for item, place, shift in zip(items, places, shifts, strict=True):
        item.at = place + shift
