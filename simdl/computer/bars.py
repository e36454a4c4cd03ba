"""The bars of a Gantt chart, and how tasks are told apart in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from simdl.plot import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

MARKS = ("....", "xxxx", "++++", "oooo", "\\\\\\\\", "----", "||||", "****", "OOOO")
PATTERNS = ("", *MARKS, *("".join(pair) for pair in combinations(MARKS, 2)))
"""On the bars of the first tasks, as many as there are colours, of the next ones, and so on."""
NARROW = 200
"""A bar of less than this part of the width has an edge of its colour, a pixel, so that it is seen."""
MANY = 50
"""More narrow bars than this in a row would look like a solid one: their share of the time is drawn instead."""
LEAST = 0.03  # of a row, that a share is seen
FULL = 0.7  # of a row


@dataclass(frozen=True)
class Style:
    """How bars look that are told by one entry of the legend."""

    colour: str
    hatch: str = ""
    alpha: float = 1.0
    empty: bool = False  # white, hatched in its colour
    label: str = ""


class Bar(NamedTuple):
    """A bar from one time to another, ns; bottom: above that of its row; part: of what the row stands for."""

    style: Style
    begin: int
    end: int
    bottom: float
    height: float
    part: float = 1.0


Box = tuple[float, float, float, float]


def looks(tasks: Sequence[str]) -> dict[str, Style]:
    """A style of its own for each of some hundred tasks: a colour, and a pattern."""
    ways = [(colour, pattern) for pattern in PATTERNS for colour in PALETTE]
    return {task: Style(*ways[k % len(ways)], label=task) for k, task in enumerate(tasks)}


def waiting(colour: str) -> Style:
    """Of a bar of a job that waits."""
    return Style(colour, "////", empty=True)


class Bars:
    """The bars seen from low to high, ns. All of one style and width are one collection."""

    def __init__(self, low: int, high: int, scale: float) -> None:
        self.low, self.high, self.scale = low, high, scale
        self.boxes: dict[tuple[Style, str], list[Box]] = {}
        self.shared = False  # whether a row shows shares

    def add(self, bottom: float, bar: Bar) -> None:
        """A bar of a row."""
        kind = "empty" if bar.style.empty else "narrow" if self._narrow(bar) else "wide"
        first, last = max(bar.begin, self.low) / self.scale, min(bar.end, self.high) / self.scale
        below = bottom + bar.bottom
        self.boxes.setdefault((bar.style, kind), []).append((first, last, below, below + bar.height))

    def row(self, bottom: float, bars: Sequence[Bar]) -> None:
        """The bars of a row; where too many are narrow, the share of the time that they take, as a height."""
        narrow = [bar for bar in bars if self._narrow(bar)]
        many = len(narrow) > MANY
        for bar in bars:
            if not (many and self._narrow(bar)):
                self.add(bottom, bar)
        if many:
            self._shares(bottom, narrow)

    def _narrow(self, bar: Bar) -> bool:
        return (min(bar.end, self.high) - max(bar.begin, self.low)) * NARROW <= self.high - self.low

    def _shares(self, bottom: float, bars: Sequence[Bar]) -> None:
        """Styles on top of each other in each part of the width, as high as the share of the time they have in it."""
        self.shared = True
        edges = np.linspace(self.low, self.high, NARROW + 1)
        styles = list(dict.fromkeys(bar.style for bar in bars))
        shares = np.stack([self._share([bar for bar in bars if bar.style == style]) for style in styles])
        total = shares.sum(axis=0)
        shares *= np.where(total > 0, np.maximum(total, LEAST) / np.where(total > 0, total, 1.0), 0.0)
        tops = bottom + FULL * np.cumsum(shares, axis=0)
        for k, style in enumerate(styles):
            boxes = self.boxes.setdefault((style, "share"), [])
            for i in np.flatnonzero(shares[k]):
                top = float(tops[k, i])
                boxes.append((edges[i] / self.scale, edges[i + 1] / self.scale, top - FULL * float(shares[k, i]), top))

    def _share(self, bars: Sequence[Bar]) -> NDArray[np.float64]:
        """Of each of the parts of the width, how much narrow bars cover."""
        step = (self.high - self.low) / NARROW
        begin = np.array([max(bar.begin, self.low) for bar in bars]) - float(self.low)
        end = np.array([min(bar.end, self.high) for bar in bars]) - float(self.low)
        part = np.array([bar.part for bar in bars])
        first = np.minimum(begin // step, NARROW - 1).astype(np.int64)
        before = np.minimum(end, (first + 1) * step) - begin
        found = np.bincount(first, part * before, NARROW + 1)
        found += np.bincount(first + 1, part * (end - begin - before), NARROW + 1)
        return np.asarray(found[:NARROW] / step)

    def draw(self, axes: Axes) -> None:
        """Put them into a picture."""
        from matplotlib.collections import PolyCollection

        named: set[str] = set()
        for (style, kind), boxes in self.boxes.items():
            x0, x1, y0, y1 = np.array(boxes).T
            corners = np.stack([np.stack([x0, x0, x1, x1], 1), np.stack([y0, y1, y1, y0], 1)], 2)
            white = "white" if kind == "wide" or style.hatch and kind == "share" else style.colour
            edge = style.colour if style.empty else white
            width = {"wide": 0.4, "narrow": 0.8, "empty": 0.8, "share": 0.0}[kind]
            axes.add_collection(PolyCollection(
                list(corners), facecolors="white" if style.empty else style.colour, edgecolors=edge, linewidths=width,
                hatch=style.hatch or None, alpha=style.alpha if style.alpha < 1 else None,
                zorder=1.1 if kind == "narrow" else 1.0, label=style.label if style.label not in named else "",
            ), autolim=False)  # fmt: skip
            named.add(style.label)
        if self.shared:
            axes.plot([], [], "s", color="0.8", label="height: share of the time")
