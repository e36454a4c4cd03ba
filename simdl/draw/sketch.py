"""What a picture holds: boxes with pins, the wires between them, and frames around parts of a diagram.

Positions are filled in by the layout; everything before it is only about what is there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["block", "network", "closed", "formula", "input", "output", "frame"]
Mark = Literal["", "condition", "crossing"]
Point = tuple[float, float]


@dataclass(frozen=True)
class Rate:
    """How often a signal may change: its text, and the colour and the dashes that go with it."""

    text: str
    color: str = "soft"
    dash: tuple[float, ...] = ()
    sampled: bool = False  # by a clock, hits or a trigger


EXTERNAL = Rate("from outside")
SEVERAL = Rate("several rates", dash=(4, 2, 1, 2))
CONSTANT = Rate("constant", dash=(1, 3))


@dataclass(eq=False)
class Pin:
    """A port of a box. offset: from the box's beginning, across the direction of drawing."""

    box: Box
    key: str
    label: str
    side: Literal["in", "out"]
    unit: str = ""
    mark: Mark = ""
    tip: str = ""
    delay: str = ""
    inner: Box | None = None  # of a frame's pin: the border box inside that goes with it
    offset: float = 0.0
    point: Point = (0.0, 0.0)


@dataclass(eq=False)
class Box:
    """A block, a formula, an external port, or a frame around other boxes. title and lines are what it shows."""

    kind: Kind
    path: str
    title: str
    lines: tuple[str, ...] = ()
    tip: str = ""
    rate: Rate = SEVERAL
    parent: Box | None = None
    outer: Pin | None = None  # of a border box: the frame's pin that goes with it
    ins: list[Pin] = field(default_factory=list)
    outs: list[Pin] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0

    def pin(self, side: Literal["in", "out"], key: str) -> Pin | None:
        """The pin of a side with this key."""
        return next((p for p in (self.ins if side == "in" else self.outs) if p.key == key), None)

    def add(self, side: Literal["in", "out"], key: str, label: str, unit: str = "", mark: Mark = "") -> Pin:
        pin = Pin(self, key, label, side, unit, mark)
        (self.ins if side == "in" else self.outs).append(pin)
        return pin

    def chain(self) -> list[Box]:
        """The frames around it, from the outermost to itself."""
        found: list[Box] = []
        box: Box | None = self
        while box is not None:
            found.append(box)
            box = box.parent
        return found[::-1]

    def all(self) -> list[Box]:
        """The box and every box inside, outermost first."""
        found, stack = [], [self]
        while stack:
            box = stack.pop()
            found.append(box)
            stack.extend(reversed(box.boxes))
        return found


@dataclass(eq=False)
class Wire:
    """A connection inside one frame. change: "sampled" or "held" where the reader has another rate."""

    source: Pin
    target: Pin
    rate: Rate = SEVERAL
    change: Literal["", "sampled", "held"] = ""
    points: list[Point] = field(default_factory=list)
