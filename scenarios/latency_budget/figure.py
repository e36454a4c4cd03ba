"""The figure of the study: what load, delay and jitter do to response times, cost, margin, and lanes that hold."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simdl.plot import PALETTE
from simdl.scenarios.latency_budget.measurement import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES = {"first come, first served": (PALETTE[0], "o-"), "controller first": (PALETTE[1], "s--"),
          "constant delay": (PALETTE[0], "o-"), "delay ± half": (PALETTE[1], "s--")}  # fmt: skip
ROWS = (("load", 1.0, "load of others on the accelerator"), ("sensing", 1e3, "delay before inference [ms]"))
SETTLES = "settles within 6 s"
DEAREST, WORST = 30.0, -0.1  # where the axes of cost and margin (rad) end; what is beyond is drawn there
TITLES = ("response time of the controller [ms]\n99 %, thin: median",
          "control cost, to that without delay\nmedian, quartiles; ▲ half of the lanes fell",
          "margin of settling [rad]\nmedian, quartiles; ▼ half of the lanes fell",
          "lanes in which all requirements hold [%]\nband: 95 % confidence")  # fmt: skip


def draw(points: Sequence[Point], path: Path, margins: Sequence[float] = ()) -> None:
    """A row for load and one for delay; a column for each of response time, cost, margin, and lanes that hold.

    Triangles at the end of an axis: half of the lanes have fallen. margins: of the poles by linear theory, as delays
    before inference, s; where 5 to 95 % of them lie is hatched.
    """
    from matplotlib.figure import Figure

    page = Figure(figsize=(13.5, 6.8), layout="constrained")
    axes = page.subplots(len(ROWS), len(TITLES), sharey="col")
    for row, (what, scale, label) in zip(axes, ROWS):
        for name in STYLES:
            line = [point for point in points if point.series == name]
            if any(point.given.get(what) for point in line):
                _series(row, [scale * point.given.get(what, 0.0) for point in line], line)
        for axis in row:
            axis.set_xlabel(label)
            axis.grid(alpha=0.25)
        if what == "sensing" and len(margins):
            _theory(row, margins)
        row[0].legend(frameon=False)
        row[2].axhline(0, color="0.3", linewidth=0.8)
    for axis, title in zip(axes[0], TITLES):
        axis.set_title(title, fontsize=10)
    for axis, ticks in ((axes[0, 0], (5, 10, 20, 50, 100, 200, 500, 1000)), (axes[0, 1], (1, 2, 3, 5, 10, 20, 30))):
        axis.set_yscale("log")
        axis.set_yticks(ticks, [f"{tick}+" if tick == DEAREST else f"{tick}" for tick in ticks])
        axis.minorticks_off()
    axes[0, 1].set_ylim(0.9, 1.12 * DEAREST)
    axes[0, 2].set_ylim(1.05 * WORST, 0.06)
    axes[0, 3].set_ylim(-4, 104)
    page.savefig(path, dpi=130)


def _theory(row: Sequence["Axes"], margins: Sequence[float]) -> None:
    low, middle, high = (1e3 * one for one in np.percentile(margins, (5, 50, 95)))
    for axis in row:
        first = axis is row[0]
        axis.axvspan(low, high, facecolor="none", edgecolor="0.7", hatch="///", linewidth=0, zorder=0,
                     label="linear delay margin" if first else None)  # fmt: skip
        axis.axvline(middle, color="0.45", linewidth=0.9, linestyle=":", zorder=0)


def _series(axes: Sequence["Axes"], x: Sequence[float], line: Sequence[Point]) -> None:
    colour, style = STYLES[line[0].series]
    axes[0].plot(x, [1e3 * p.responses[1] for p in line], style, color=colour, markersize=5, label=line[0].series)
    axes[0].plot(x, [1e3 * p.responses[0] for p in line], style[1:], color=colour, linewidth=0.8)
    margins = [p.margins[SETTLES] for p in line]
    _banded(axes[1], x, [[min(one, DEAREST) for one in p.cost] for p in line], line)
    _banded(axes[2], x, [[max(one, WORST) for one in margin] for margin in margins], line)
    _banded(axes[3], x, [[100 * part for part in (p.rate[1], p.rate[0], p.rate[2])] for p in line], line)
    fallen = [at for at, p in zip(x, line) if math.isinf(p.cost[1])]
    for axis, end, mark in ((axes[1], DEAREST, "^"), (axes[2], WORST, "v")) if fallen else ():
        axis.plot(fallen, [end] * len(fallen), mark, color=colour, markersize=10, clip_on=False)


def _banded(axis: "Axes", x: Sequence[float], values: Sequence[Sequence[float]], line: Sequence[Point]) -> None:
    """values: (low, middle, high) of each point."""
    colour, style = STYLES[line[0].series]
    low, middle, high = zip(*values)
    look: dict[str, Any] = dict(color=colour, linewidth=0)
    axis.fill_between(x, low, high, alpha=0.18, **look)
    axis.plot(x, middle, style, color=colour, markersize=5)
