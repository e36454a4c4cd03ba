"""From a laid out sketch to shapes: what is drawn where, in which role of colour. The renderers know nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from simdl.draw.layout import LABEL, LINE, ROW, TITLE, UNIT, Direction, border_label, head, tail
from simdl.draw.rates import Rates
from simdl.draw.sketch import EXTERNAL, Box, Pin, Point, Wire
from simdl.draw.text import width

MARGIN = 12.0


@dataclass(frozen=True)
class Shape:
    """An outline, a line or a text. stroke and fill are roles: "ink", "soft", "rule", "paper", "c0"…, "tint0"…"""

    kind: str  # "rect", "line", "polygon", "circle" or "text"
    points: tuple[Point, ...]
    stroke: str = ""
    fill: str = ""
    thick: float = 1.2
    dash: tuple[float, ...] = ()
    radius: float = 0.0  # of corners, or of a circle
    text: str = ""
    size: float = LABEL
    bold: bool = False
    anchor: str = "start"
    tip: str = ""

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom."""
        xs, ys = [x for x, _ in self.points], [y for _, y in self.points]
        if self.kind == "text":
            wide = width(self.text, self.size, self.bold)
            left = xs[0] - {"start": 0.0, "middle": wide / 2, "end": wide}[self.anchor]
            return left, ys[0] - 0.8 * self.size, left + wide, ys[0] + 0.25 * self.size
        more = self.radius if self.kind == "circle" else 0.0
        return min(xs) - more, min(ys) - more, max(xs) + more, max(ys) + more


@dataclass
class Scene:
    """Shapes on a canvas; labels are the texts that name ports and boxes."""

    width: float = 0.0
    height: float = 0.0
    shapes: list[Shape] = field(default_factory=list)


def scene(root: Box, direction: Direction, rates: Rates | None) -> Scene:
    """The whole picture: frames, wires, boxes, and a legend of what occurs."""
    shapes = [_text((root.x + 4, root.y + 14), root.title, size=14.0, bold=True)]
    if root.lines:
        shapes.append(_text((root.x + 4, root.y + 29), "; ".join(root.lines), size=LINE, color="soft"))
    boxes = root.all()[1:]
    shapes += [shape for box in boxes if box.kind == "frame" for shape in _frame(box)]
    wires = [wire for box in [root, *boxes] for wire in box.wires]
    for wire in wires:
        shapes.append(_wire(wire))
    shapes += [Shape("circle", (place,), fill=color, radius=2.4) for color, place in _junctions(wires)]
    for wire in wires:
        shapes += _ends(wire, direction)
    shapes += [shape for box in boxes if box.kind != "frame" for shape in _box(box, direction)]
    shapes += [shape for box in boxes for shape in _tails(box, wires, direction)]
    extents = [shape.extent for shape in shapes]
    right = max([root.x + root.width, *(e[2] for e in extents)])
    bottom = max([root.y + root.height, *(e[3] for e in extents)])
    if rates is not None:
        legend = _legend(boxes, wires, rates, min(e[0] for e in extents) + 4, bottom + 10, max(right, 420.0))
        shapes += legend
        extents += [shape.extent for shape in legend]
    left, top = min(e[0] for e in extents) - MARGIN, min(e[1] for e in extents) - MARGIN
    right, bottom = max(right, *(e[2] for e in extents)), max(bottom, *(e[3] for e in extents))
    moved = [_moved(shape, -left, -top) for shape in shapes]
    for box in [root, *boxes]:  # the sketch stays true to the picture
        box.x, box.y = box.x - left, box.y - top
        for pin in (*box.ins, *box.outs):
            pin.point = (pin.point[0] - left, pin.point[1] - top)
        for wire in box.wires:
            wire.points = [(x - left, y - top) for x, y in wire.points]
    return Scene(round(right - left + MARGIN, 2), round(bottom - top + MARGIN, 2), moved)


def single(box: Box) -> Scene:
    """The picture of one block by itself, with stubs at its ports."""
    box.x = box.y = 0.0
    shapes = []
    stub = max([26.0, *(width(pin.unit, UNIT) + 14 for pin in (*box.ins, *box.outs))])
    for pin in (*box.ins, *box.outs):
        x, y = pin.point = (0.0 if pin.side == "in" else box.width, pin.offset)
        begin, end = ((x - stub, y), (x, y)) if pin.side == "in" else ((x, y), (x + stub, y))
        shapes += [Shape("line", (begin, end), stroke="soft", thick=1.4), _arrow(end, "right", "soft")]
        shapes += [_text((begin[0] + 4, y - 4), pin.unit, UNIT, "soft")] if pin.unit else []
    shapes += _box(box, "right")
    extents = [shape.extent for shape in shapes]
    left, top = min(e[0] for e in extents) - 4, min(e[1] for e in extents) - 4
    right, bottom = max(e[2] for e in extents) + 4, max(e[3] for e in extents) + 4
    return Scene(round(right - left, 2), round(bottom - top, 2), [_moved(shape, -left, -top) for shape in shapes])


def _moved(shape: Shape, dx: float, dy: float) -> Shape:
    points = tuple((round(x + dx, 2), round(y + dy, 2)) for x, y in shape.points)
    return Shape(**{**vars(shape), "points": points})


def _text(place: Point, text: str, size: float = LABEL, color: str = "ink", anchor: str = "start", bold: bool = False,
          tip: str = "") -> Shape:  # fmt: skip
    return Shape("text", (place,), fill=color, text=text, size=size, bold=bold, anchor=anchor, tip=tip)


def _rect(box: Box, **more: object) -> Shape:
    corners = ((box.x, box.y), (box.x + box.width, box.y + box.height))
    return Shape("rect", corners, **more)  # type: ignore[arg-type]


def _tint(color: str) -> str:
    return f"tint{color[1:]}" if color.startswith("c") else "raised"


def _frame(box: Box) -> Iterator[Shape]:
    conditional = any(pin.mark == "condition" for pin in box.ins)
    yield _rect(box, stroke="soft", fill="frame", radius=8.0, dash=(5, 3) if conditional else (), tip=box.tip)
    yield from _heading(box)
    for pin in box.ins:
        if pin.mark:
            yield _diamond((pin.point[0], pin.point[1]), "ink", "paper")
            if pin.offset and pin.point[0] == box.x:
                yield _text((box.x + 9, pin.point[1] + 3.5), pin.label)


def _heading(box: Box, lower: float = 0.0) -> Iterator[Shape]:
    middle, top = box.x + box.width / 2, box.y + lower
    nested = box.kind == "frame"
    x, anchor = (box.x + 10, "start") if nested else (middle, "middle")
    yield _text((x, top + 15), box.title, TITLE, "ink", anchor, bold=True, tip=box.tip)
    for place, line in enumerate(box.lines):
        yield _text((x, top + 28 + 13 * place), line, LINE, "soft", anchor)


def _box(box: Box, direction: Direction) -> Iterator[Shape]:
    color = box.rate.color
    if box.kind in ("input", "output"):
        middle = box.x + box.width / 2, box.y + box.height / 2 + 3.5
        if box.outer is None:
            yield _rect(box, stroke="ink", fill="paper", radius=box.height / 2, tip=box.tip)
            yield _text(middle, border_label(box), 11.0, anchor="middle")
        else:
            yield _text(middle, border_label(box), LABEL, "ink", "middle", tip=box.tip)
        return
    if box.kind == "formula":
        yield _rect(box, stroke=color, fill="paper", radius=min(box.height, 26.0) / 2, dash=box.rate.dash, tip=box.tip)
        yield _text((box.x + box.width / 2, box.y + box.height / 2 + 4), box.title, 11.0, anchor="middle")
        return
    yield _rect(box, stroke=color, fill=_tint(color), radius=6.0, thick=1.8, dash=box.rate.dash, tip=box.tip)
    if box.kind in ("network", "closed"):  # a second outline
        inner = ((box.x + 3, box.y + 3), (box.x + box.width - 3, box.y + box.height - 3))
        yield Shape("rect", inner, stroke=color, radius=4.0, thick=0.9, dash=(3, 2) if box.kind == "closed" else ())
    yield from _heading(box, ROW if direction == "down" and box.ins else 0.0)
    for pin in (*box.ins, *box.outs):
        yield from _pin(box, pin, direction)


def _pin(box: Box, pin: Pin, direction: Direction) -> Iterator[Shape]:
    x, y = pin.point
    inwards = 1 if pin.side == "in" else -1
    if pin.mark:
        yield _diamond((x, y), "ink", "paper")
    if direction == "right":
        shift = (7 + (4 if pin.mark else 0)) * inwards
        yield _text((x + shift, y + 3.5), pin.label, LABEL, "ink", "start" if inwards > 0 else "end", tip=pin.tip)
    else:
        yield _text((x, y + (14 if inwards > 0 else -7)), pin.label, LABEL, "ink", "middle", tip=pin.tip)


def _wire(wire: Wire) -> Shape:
    thick = 1.5 if wire.rate != EXTERNAL else 1.2
    return Shape("line", tuple(wire.points), stroke=wire.rate.color, thick=thick, dash=wire.rate.dash, radius=5.0,
                 tip=f"{_named(wire.source)} → {_named(wire.target)}")  # fmt: skip


def _named(pin: Pin) -> str:
    box = pin.box
    if box.kind in ("input", "output", "formula"):
        return box.tip or box.title
    return f"{box.path}.{pin.key}" if box.path else pin.key


def _ends(wire: Wire, direction: Direction) -> Iterator[Shape]:
    """The arrow at a wire's end, and before it the sign of a change of rate. Borders of frames get no arrow."""
    x, y = wire.points[-1]
    color = wire.rate.color
    if wire.target.box.outer is None or wire.target.side == "out":
        yield _arrow((x, y), direction, color)
    if wire.change:
        place = (x - 14, y) if direction == "right" else (x, y - 14)
        if wire.change == "sampled":
            yield Shape("circle", (place,), stroke=color, fill="paper", radius=3.4, thick=1.4)
        else:
            corners = ((place[0] - 3.2, place[1] - 3.2), (place[0] + 3.2, place[1] + 3.2))
            yield Shape("rect", corners, stroke=color, fill="paper", thick=1.4)


def _arrow(tip: Point, direction: Direction, color: str) -> Shape:
    x, y = tip
    points = ((x, y), (x - 7, y - 3.5), (x - 7, y + 3.5))
    if direction == "down":
        points = ((x, y), (x - 3.5, y - 7), (x + 3.5, y - 7))
    return Shape("polygon", points, fill=color)


def _diamond(place: Point, stroke: str, fill: str) -> Shape:
    x, y = place
    return Shape("polygon", ((x - 5, y), (x, y - 5), (x + 5, y), (x, y + 5)), stroke=stroke, fill=fill)


def _tails(box: Box, wires: list[Wire], direction: Direction) -> Iterator[Shape]:
    if box.kind in ("input", "output"):
        return
    wired = {wire.source for wire in wires}
    for pin in box.outs:
        if pin in wired and tail(pin):
            x, y = pin.point
            place = (x + 4, y - 4) if direction == "right" else (x + 4, y + 11)
            yield _text(place, tail(pin), UNIT, "soft")


def _junctions(wires: list[Wire]) -> list[tuple[str, Point]]:
    """Where the wires of one source part: each point at which two of them go on differently."""
    found: dict[Point, str] = {}
    by_source: dict[Pin, list[Wire]] = {}
    for wire in wires:
        by_source.setdefault(wire.source, []).append(wire)
    for group in by_source.values():
        trails: dict[Point, set[Point]] = {}
        stops = {point for wire in group for point in wire.points}
        for wire in group:
            for a, b in zip(wire.points, wire.points[1:], strict=False):
                cut = sorted({a, b, *(p for p in stops if _between(a, p, b))}, reverse=a > b)
                for one, other in zip(cut, cut[1:], strict=False):
                    trails.setdefault(one, set()).add(other)
                    trails.setdefault(other, set()).add(one)
        for point, beside in trails.items():
            if len(beside) > 2:
                found[point] = group[0].rate.color
    return [(color, point) for point, color in found.items()]


def _between(a: Point, p: Point, b: Point) -> bool:
    if a[1] == b[1] == p[1]:
        return min(a[0], b[0]) < p[0] < max(a[0], b[0])
    return a[0] == b[0] == p[0] and min(a[1], b[1]) < p[1] < max(a[1], b[1])


def _legend(boxes: list[Box], wires: list[Wire], rates: Rates, left: float, top: float, right: float) -> list[Shape]:
    """One entry for each rate and sign that occurs, in rows."""
    used = {box.rate for box in boxes} | {wire.rate for wire in wires}
    shapes: list[Shape] = []
    x, y = left, top + 8

    def room(text: str) -> tuple[float, float]:
        nonlocal x, y
        wide = 38 + width(text, LABEL) + 18
        if x + wide > right and x > left:
            x, y = left, y + 18
        place = x, y
        x += wide
        shapes.append(_text((place[0] + 34, place[1] + 3.5), text, LABEL, "soft"))
        return place

    for rate in [*rates.legend, *sorted(used - set(rates.legend), key=lambda r: r.text)]:
        if rate in used and (rate in rates.legend or any(wire.rate == rate for wire in wires)):
            a, b = room(rate.text)
            shapes.append(Shape("line", ((a, b), (a + 28, b)), stroke=rate.color, thick=2.0, dash=rate.dash))
    for change, text in (("sampled", "sampled here"), ("held", "held between its ticks")):
        if any(wire.change == change for wire in wires):
            a, b = room(text)
            if change == "sampled":
                shapes.append(Shape("circle", ((a + 14, b),), stroke="ink", fill="paper", radius=3.4, thick=1.4))
            else:
                shapes.append(Shape("rect", ((a + 10.8, b - 3.2), (a + 17.2, b + 3.2)), stroke="ink", fill="paper"))
    if any(box.kind == "network" for box in boxes):
        a, b = room("network")
        for shift, thick in ((0.0, 1.8), (3.0, 0.9)):
            corners = ((a + 4 + shift, b - 7 + shift), (a + 26 - shift, b + 7 - shift))
            shapes.append(Shape("rect", corners, stroke="ink", thick=thick, radius=3.0))
    if any(box.kind == "closed" for box in boxes):
        a, b = room("diagram, not opened")
        shapes.append(Shape("rect", ((a + 4, b - 7), (a + 26, b + 7)), stroke="ink", thick=1.8, radius=3.0))
        inner = ((a + 7, b - 4), (a + 23, b + 4))
        shapes.append(Shape("rect", inner, stroke="ink", thick=0.9, dash=(3, 2), radius=2.0))
    if any(pin.mark for box in boxes for pin in (*box.ins, *box.outs)) or any("◇" in t for b in boxes for t in b.lines):
        a, b = room("condition or crossing")
        shapes.append(_diamond((a + 14, b), "ink", "paper"))
    return shapes


__all__ = ["Scene", "Shape", "head", "scene", "single"]
