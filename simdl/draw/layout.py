"""Sizes and places of everything in a sketch: frames from the inside out, each layered on its own."""

from __future__ import annotations

from typing import Literal

from simdl.draw.layers import Chain, Item, layered
from simdl.draw.place import placed
from simdl.draw.route import TRACK, Net, tracks
from simdl.draw.sketch import Box, Pin, Point
from simdl.draw.text import width

Direction = Literal["right", "down"]
TITLE, LINE, LABEL, UNIT = 12.0, 10.0, 10.0, 9.0  # sizes of text
ROW = 17.0  # between pins
PAD = 16.0  # between a frame and what is in it
ARROW = 24.0  # room for an arrow and the sign before it


def lay_out(root: Box, direction: Direction) -> None:
    """Set place and size of every box and pin, and the points of every wire, in absolute pixels."""
    for box in reversed(root.all()):
        if box.kind == "frame":
            _arrange(box, direction)
        else:
            measure(box, direction)
    for box in root.all():  # outermost first
        for inside in box.boxes:
            inside.x, inside.y = inside.x + box.x, inside.y + box.y
        for wire in box.wires:
            wire.points = [(x + box.x, y + box.y) for x, y in wire.points]
        for pin in (*box.ins, *box.outs):
            pin.point = _point(box, pin, direction)


def _point(box: Box, pin: Pin, direction: Direction) -> Point:
    if direction == "right":
        return box.x + (box.width if pin.side == "out" else 0.0), box.y + pin.offset
    return box.x + pin.offset, box.y + (box.height if pin.side == "out" else 0.0)


def head(box: Box) -> tuple[float, float]:
    """Width and height of the title and the lines under it."""
    wide = max([width(box.title, TITLE, True), *(width(line, LINE) for line in box.lines)])
    return wide, 16.0 + 13.0 * len(box.lines)


def tail(pin: Pin) -> str:
    """What stands on a wire where it leaves its box: unit and delay."""
    return " ".join(part for part in (pin.unit, pin.delay) if part)


def measure(box: Box, direction: Direction) -> None:
    """The size of a box without boxes inside, and the offsets of its pins."""
    right = direction == "right"
    if box.kind in ("input", "output"):
        text = width(border_label(box), LABEL if box.outer else 11.0)
        box.width, box.height = (text + 10, 16.0) if box.outer else (text + 22, 24.0)
        for pin in (*box.ins, *box.outs):
            pin.offset = (box.height if right else box.width) / 2
        return
    if box.kind == "formula":
        most = max(len(box.ins), len(box.outs), 1)
        box.width, box.height = width(box.title, 11.0) + 20, 26.0
        if right:
            box.height = max(box.height, 12.0 * most + 8)
        else:
            box.width = max(box.width, 12.0 * most + 8)
        across = box.height if right else box.width
        for pins in (box.ins, box.outs):
            for i, pin in enumerate(pins):
                pin.offset = across * (i + 1) / (len(pins) + 1)
        return
    wide, high = head(box)
    rows = max(len(box.ins), len(box.outs))
    if right:
        left = max((_label(pin) for pin in box.ins), default=0.0)
        box.width = max(wide + 20, left + max((_label(pin) for pin in box.outs), default=0.0) + 34, 84.0)
        box.height = high + 8 + rows * ROW + (4 if rows else 0)
        for pins in (box.ins, box.outs):
            for i, pin in enumerate(pins):
                pin.offset = high + 8 + (i + 0.5) * ROW
        return
    sides = [sum(_label(pin) + 14 for pin in pins) for pins in (box.ins, box.outs)]
    box.width, box.height = max(wide + 20, *sides, 84.0), high + 14 + ROW * (bool(box.ins) + bool(box.outs))
    for pins, used in zip((box.ins, box.outs), sides, strict=True):
        at = (box.width - used) / 2
        for pin in pins:
            pin.offset = at + (_label(pin) + 14) / 2
            at += _label(pin) + 14


def border_label(box: Box) -> str:
    """The text of an external port or of a port in the border of a frame."""
    unit = next((pin.unit for pin in (*box.ins, *box.outs)), "")
    return f"{box.title} [{unit}]" if unit else box.title


def _label(pin: Pin) -> float:
    return width(pin.label, LABEL) + (10.0 if pin.mark else 0.0)


def _arrange(frame: Box, direction: Direction) -> None:
    """Lay out what is in a frame, relative to its corner, and set its size."""
    right = direction == "right"
    nested = frame.parent is not None
    layers = layered(frame.boxes, frame.wires)
    for item in (item for items in layers.ranks for item in items):
        if item.box is not None:
            item.size = item.box.height if right else item.box.width
    across = placed(layers)
    wide, high = head(frame)
    conditions = [pin for pin in frame.ins if pin.mark == "condition"]
    high += ROW * len(conditions)
    # Across, the content begins behind the title; along, the ports of a nested frame stand in its border.
    before, after = (high + 12, PAD) if right else (wide + 24, PAD)
    first = bool(layers.ranks) and layers.ranks[0][0].box is not None and layers.ranks[0][0].box.kind == "input"
    last = bool(layers.ranks) and any(i.box is not None and i.box.kind == "output" for i in layers.ranks[-1])
    along = 2.0 if nested and first else PAD
    if not right and not nested:
        before, along = PAD, high + 12
    nets = _nets(layers.chains, len(layers.ranks))
    spans: list[tuple[float, float]] = []  # of the ranks, along
    places: list[float] = []  # of the first track of each gap
    for rank, items in enumerate([*layers.ranks, []]):
        here = list(nets[rank].values())
        count = tracks(here)
        labels = 0.0
        if rank:
            sources = [chain.pin for chain in layers.chains if chain.source.rank == rank - 1]
            texts = [width(tail(pin), UNIT) + 8 if right else 14.0 for pin in sources if _tailed(pin)]
            labels = max(texts, default=0.0)
        if rank and rank < len(layers.ranks):
            along += 6 + labels
            places.append(along + TRACK / 2)
            along += max(TRACK * count + 4 + ARROW, 34.0 - labels)
        elif count:  # turns before the first or behind the last rank
            along += labels
            places.append(along + TRACK / 2)
            along += TRACK * count + (ARROW if not rank else 4)
        else:
            places.append(along)
        length = max((_length(item, right) for item in items), default=0.0)
        if rank < len(layers.ranks):
            spans.append((along, along + length))
            along += length
    along += 2.0 if nested and last else PAD
    total = max(across + before + after, high + 8 if right else wide + 20)
    if right:
        frame.width, frame.height = max(along, wide + 24), total
    else:
        frame.width, frame.height = total, max(along, high + 16)
    stretch = (frame.width if right else frame.height) - along
    spans, places = [(a + stretch / 2, b + stretch / 2) for a, b in spans], [p + stretch / 2 for p in places]
    if spans and stretch and nested:  # ports stay in the border
        if first:
            spans[0] = (spans[0][0] - stretch / 2, spans[0][1] - stretch / 2)
        if last:
            spans[-1] = (spans[-1][0] + stretch / 2, spans[-1][1] + stretch / 2)
    for rank, items in enumerate(layers.ranks):
        for item in items:
            if item.box is not None:
                _stand(item.box, item.at + before, spans[rank], right, nested)
    for chain in layers.chains:
        _draw(chain, nets, places, right, before)
    for place, pin in enumerate(conditions):
        pin.offset = high - ROW * (len(conditions) - place - 0.5) if right else 16.0 + 60.0 * place
    for box in frame.boxes:
        if box.outer is not None:
            box.outer.offset = (box.y + box.height / 2) if right else (box.x + box.width / 2)


def _tailed(pin: Pin) -> bool:
    return bool(tail(pin)) and pin.box.kind not in ("input", "output")


def _length(item: Item, right: bool) -> float:
    return 0.0 if item.box is None else item.box.width if right else item.box.height


def _stand(box: Box, at: float, span: tuple[float, float], right: bool, nested: bool) -> None:
    length = box.width if right else box.height
    begin = (span[0] + span[1] - length) / 2
    if box.kind == "input":
        begin = span[0] if nested else span[1] - length
    elif box.kind == "output":
        begin = span[1] - length if nested else span[0]
    box.x, box.y = (begin, at) if right else (at, begin)


def _nets(chains: list[Chain], ranks: int) -> list[dict[Chain, Net]]:
    """What each chain needs in each gap; gap i is before rank i. Places across, before the frame's title is added."""
    found: list[dict[Chain, Net]] = [{} for _ in range(ranks + 1)]
    for chain in chains:
        start = chain.source.rank
        origin = _at(chain.source, chain.pin)
        for wire, end in chain.ends:
            target = _at(end, wire.target)
            if end.rank > start:
                steps = [origin, *(_at(chain.ahead[r]) for r in range(start + 1, end.rank)), target]
                for rank, (a, b) in enumerate(zip(steps, steps[1:], strict=False), start + 1):
                    net = found[rank].setdefault(chain, Net())
                    net.left.add(a)
                    net.right.add(b)
            else:
                below = _at(chain.behind[start])
                found[start + 1].setdefault(chain, Net()).left.update((origin, below))
                for rank in range(end.rank + 1, start + 1):
                    net = found[rank].setdefault(chain, Net())
                    net.left.add(below)
                    net.right.add(below)
                found[end.rank].setdefault(chain, Net()).right.update((below, target))
    return found


def _at(item: Item, pin: Pin | None = None) -> float:
    return round(item.at + item.offset(pin), 2)


def _draw(chain: Chain, nets: list[dict[Chain, Net]], places: list[float], right: bool, before: float) -> None:
    """The points of the wires of a chain, when all boxes stand."""

    def turn(rank: int, a: float, b: float, from_left: bool = True, to_left: bool = False) -> list[Point]:
        turns = nets[rank][chain].turns(a, b, from_left, to_left)
        return [(places[rank] + TRACK * track, at) for track, at in turns]

    start = chain.source.rank
    origin = _at(chain.source, chain.pin)
    for wire, end in chain.ends:
        target = _at(end, wire.target)
        points: list[Point] = []
        if end.rank > start:
            across = origin
            for rank in range(start + 1, end.rank + 1):
                to = target if rank == end.rank else _at(chain.ahead[rank])
                points += turn(rank, across, to)
                across = to
        else:
            below = _at(chain.behind[start])
            points += turn(start + 1, origin, below, True, True) + turn(end.rank, below, target, False, False)
        source_box, target_box = wire.source.box, wire.target.box
        begin = source_box.x + source_box.width if right else source_box.y + source_box.height
        finish = target_box.x if right else target_box.y
        points = [(begin, origin), *points, (finish, target)]
        wire.points = [(a, c + before) if right else (c + before, a) for a, c in points]
