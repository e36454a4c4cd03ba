"""The figures of reports: each from arrays of any length to a picture of bounded size, with its numbers as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simdl.plot import DASHES, PALETTE
from simdl.report.parts import Figure, Table
from simdl.report.svg import INK, PAPER, SOFT, drawing, rendered
from simdl.report.text import clean, number, quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[Any]
SERIES = tuple(color for color in PALETTE if color not in ("#000000", "#F0E442")) + (INK,)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
POINTS = 1200  # of a line: twice the pixels of its picture; minima and maxima are kept
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class Line:
    """A signal over time for a figure. held: drawn as steps."""

    label: str
    t: Array
    values: Array
    unit: str = ""
    held: bool = False


def margins(requirement: str, series: Mapping[str, Array], unit: str = "") -> Figure:
    """Histograms of margins, one outline for each entry of `series` (such as before and after)."""
    finite = {name: v[np.isfinite(v)] for name, v in series.items()}
    everything = np.concatenate([*finite.values(), np.zeros(1)])
    low, high = float(everything.min()), float(everything.max())
    pad = 0.02 * (high - low) or 1.0
    edges = np.linspace(low - pad, high + pad, 41)
    counts = {name: np.histogram(v, edges)[0] for name, v in finite.items()}
    with drawing(2.7) as (drawn, [[axes]]):
        axes.axvspan(edges[0], 0.0, color=PALETTE[1], alpha=0.13, linewidth=0)
        axes.axvline(0.0, color=PALETTE[1], linestyle="--", linewidth=1.2)
        for place, (name, count) in enumerate(counts.items()):
            color = SERIES[(0, 2, 3, 4, 5)[place % 5]]
            axes.stairs(count, edges, color=color, fill=len(counts) == 1, alpha=0.75 if len(counts) == 1 else 1.0,
                        linewidth=1.8, linestyle=("-", "--", ":")[place % 3], label=_short(name))  # fmt: skip
        axes.set_xlim(float(edges[0]), float(edges[-1]) + pad / 2)
        top = max((int(c.max()) for c in counts.values()), default=1)
        if top > 50:  # the few lanes that fail must be seen beside the thousands that do not
            axes.set_yscale("symlog", linthresh=10)
            axes.set_yticks([0, *(10**k for k in range(1, int(np.log10(top)) + 1))])
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
            axes.yaxis.set_minor_locator(_no_ticks())
        axes.set_ylim(0, top * 1.6 if top > 50 else top * 1.15 + 0.5)
        many = "lanes (logarithmic above 10)" if top > 50 else "lanes"
        axes.set(xlabel=quantity(f"margin of {_short(requirement)}", unit), ylabel=many)
        for text, side, shift in (("← fails", "right", -5), ("holds →", "left", 5)):
            axes.annotate(text, (0.0, 1.0), (shift, 3), xycoords=axes.get_xaxis_transform(),
                          textcoords="offset points", ha=side, fontsize=8)  # fmt: skip
        if len(counts) > 1:
            _legend(axes)
        svg, png = rendered(drawn)
    rows = [[_rank(q), *(float(np.quantile(v, q)) if len(v) else None for v in finite.values())] for q in QUANTILES]
    rows += [["lanes below 0", *(int((v < 0).sum()) for v in series.values())]]
    rows += [["lanes without a finite margin", *(int(len(series[n]) - len(v)) for n, v in finite.items())]]
    table = Table.of(f"Margins of {requirement}", ["quantile", *(quantity(n, unit) for n in series)], rows)
    said = [f"{n}: smallest {_least(v)}, {int((v < 0).sum())} of {len(v)} lanes below 0" for n, v in finite.items()]
    alt = f"Histogram of the margin of {requirement}. {'; '.join(said)}."
    caption = "Each lane counts once; left of the dashed line the requirement fails."
    return Figure(f"Margins of {requirement}", alt, svg, png, caption, table)


def signals(
    title: str, panels: Sequence[Sequence[Line]], names: Sequence[str] = (), marks: Mapping[str, float] = {}
) -> Figure:
    """Signals over time: a column for each entry of `panels`, a row for each unit; one scale for a row.

    marks: label -> time, drawn as a vertical line.
    """
    units = list(dict.fromkeys(line.unit for lines in panels for line in lines))
    height = 1.0 + 1.55 * len(units)
    with drawing(height, len(units), len(panels), sharex="col", sharey="row") as (drawn, grid):
        for column, lines in enumerate(panels):
            for row, unit in enumerate(units):
                axes = grid[row][column]
                for place, line in enumerate(one for one in lines if one.unit == unit):
                    t, values = thinned(line.t, line.values, line.held)
                    axes.plot(t, values, color=SERIES[place % len(SERIES)], linestyle=DASHES[place % 4],
                              drawstyle="steps-post" if line.held else "default", label=_short(line.label))  # fmt: skip
                if column == 0:
                    axes.set_ylabel(f"[{clean(unit)}]" if unit else "[–]")
                _legend(axes)
                for at in marks.values():
                    axes.axvline(at, color=SOFT, linewidth=0.8, linestyle=":")
            grid[0][column].set_title(clean(names[column]) if column < len(names) else "")
            grid[-1][column].set_xlabel("t [s]")
        first = grid[0][0]
        for label, at in marks.items():
            left = at < sum(first.get_xlim()) / 2  # on the side where there is more room
            first.annotate(_short(label), (at, 0.0), (4 if left else -4, 4), xycoords=first.get_xaxis_transform(),
                           textcoords="offset points", fontsize=8, ha="left" if left else "right",
                           bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.0, "alpha": 0.85})  # fmt: skip
        svg, png = rendered(drawn)
    rows = []
    for column, lines in enumerate(panels):
        where = names[column] if column < len(names) else ""
        for line in lines:
            known = line.values[np.isfinite(line.values)]
            few = [float(v) for v in (known[0], known[-1], known.min(), known.max())] if len(known) else [None] * 4
            rows.append([f"{where}: {line.label}" if where else line.label, line.unit, *few])
    table = Table.of(title, ["signal", "unit", "first", "last", "smallest", "largest"], rows)
    said = [f"{r[0]} runs from {number(r[4])} to {number(r[5])} {r[1]}".rstrip() for r in rows if r[4] is not None]
    more = f"; and {len(said) - 6} more" if len(said) > 6 else ""
    end = max((float(line.t[-1]) for lines in panels for line in lines if len(line.t)), default=0.0)
    return Figure(title, f"{title}, over {number(end)} s. {'; '.join(said[:6])}{more}.", svg, png, table=table)


def spread(
    title: str, parameter: str, values: Array, figures: Array, merit: str, units: tuple[str, str] = ("", ""),
    limit: float | None = None,
) -> Figure:  # fmt: skip
    """A figure of merit over a drawn parameter, for any number of lanes: median, the middle 90 % and the extremes.

    limit: a value to draw as a line, such as 0 for margins.
    """
    known = np.isfinite(values) & np.isfinite(figures)
    values, figures = values[known], figures[known]
    edges = np.unique(values)
    if len(edges) > 12:
        edges = np.unique(np.quantile(values, np.linspace(0, 1, 13)))[:-1]
    index = np.searchsorted(edges, values, side="right") - 1
    rows: list[list[Any]] = []
    for place in range(len(edges)):
        here = figures[index == place]
        if len(here):
            at = float(np.median(values[index == place]))
            rows.append([at, len(here), *(float(np.quantile(here, q)) for q in (0.0, 0.05, 0.5, 0.95, 1.0))])
    shown = np.array(rows, dtype=float).reshape(-1, 7)
    with drawing(2.7) as (drawn, [[axes]]):
        axes.fill_between(shown[:, 0], shown[:, 3], shown[:, 5], color=PALETTE[0], alpha=0.25, linewidth=0,
                          label="5 % to 95 % of lanes")  # fmt: skip
        axes.plot(shown[:, 0], shown[:, 4], color=PALETTE[0], marker="o", markersize=3.5, label="median")
        for column, label in ((2, "extremes"), (6, None)):
            axes.plot(shown[:, 0], shown[:, column], color=PALETTE[1], linestyle="none", marker="x", markersize=5,
                      label=label)  # fmt: skip
        if limit is not None:
            axes.axhline(limit, color=PALETTE[1], linestyle="--", linewidth=1.2)
        axes.set(xlabel=quantity(_short(parameter), units[0]), ylabel=quantity(_short(merit), units[1]))
        drawn.legend(loc="outside upper left", ncols=3, frameon=False)
        svg, png = rendered(drawn)
    columns = [quantity(parameter, units[0]), "lanes", "smallest", "5 %", "median", "95 %", "largest"]
    alt = f"{merit} over {parameter}, {len(values)} lanes in {len(rows)} groups"
    if rows:
        alt += f"; medians from {number(min(r[4] for r in rows))} to {number(max(r[4] for r in rows))}"
    return Figure(title, f"{alt}.", svg, png, table=Table.of(title, columns, rows))


def compared(
    title: str, rows: Mapping[str, Mapping[str, float]], label: str, unit: str = "", logarithmic: bool = False
) -> Figure:
    """Dots: one row for each entry (an estimator), one kind of dot for each of its figures (or of its groups)."""
    kinds = list(dict.fromkeys(kind for row in rows.values() for kind in row))
    with drawing(0.9 + 0.33 * len(rows) + 0.18 * ((len(kinds) + 2) // 3)) as (drawn, [[axes]]):
        for place, kind in enumerate(kinds):
            x = [row.get(kind, np.nan) for row in rows.values()]
            axes.plot(x, range(len(rows)), linestyle="none", marker=MARKERS[place % len(MARKERS)], markersize=6.5,
                      color=SERIES[place % len(SERIES)], markeredgecolor=PAPER, markeredgewidth=0.6,
                      label=_short(kind))  # fmt: skip
        axes.set_yticks(range(len(rows)), [_short(name) for name in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        known = [v for row in rows.values() for v in row.values() if np.isfinite(v)]
        if logarithmic and known and min(known) > 0:
            axes.set_xscale("log")
            _plain_decades(axes.xaxis)
        elif known and min(known) >= 0:
            axes.set_xlim(0, None)
        axes.set_xlabel(quantity(_short(label), unit))
        drawn.legend(loc="outside upper left", ncols=min(len(kinds), 4), frameon=False)
        svg, png = rendered(drawn)
    table = Table.of(title, ["", *(quantity(kind, unit) for kind in kinds)],
                     [[name, *(row.get(kind) for kind in kinds)] for name, row in rows.items()])  # fmt: skip
    said = [f"{name}: {', '.join(f'{kind} {number(v)}' for kind, v in row.items())}" for name, row in rows.items()]
    return Figure(title, f"{label}{f' in {unit}' if unit else ''}. {'; '.join(said[:8])}.", svg, png, table=table)


def grouped(
    title: str, groups: Sequence[str], series: Mapping[str, Sequence[float]], label: str, unit: str = "",
    across: str = "",
) -> Figure:  # fmt: skip
    """Lines with markers over groups in order (temperatures, ages): one for each entry of `series`."""
    with drawing(3.0) as (drawn, [[axes]]):
        for place, (name, values) in enumerate(series.items()):
            axes.plot(range(len(groups)), np.array(values, dtype=float), marker=MARKERS[place % len(MARKERS)],
                      color=SERIES[place % len(SERIES)], linestyle=DASHES[place % 4], markersize=5.5,
                      label=_short(name))  # fmt: skip
        axes.set_xticks(range(len(groups)), [_short(group, 22) for group in groups])
        axes.set_xlim(-0.35, len(groups) - 0.65)
        known = [v for values in series.values() for v in values if np.isfinite(v)]
        if known and 0 < 8 * min(known) < max(known):  # else one bad series hides how the others differ
            axes.set_yscale("log")
            _plain_decades(axes.yaxis)
        elif known and min(known) >= 0:
            axes.set_ylim(0, max(known) * 1.06 or 1.0)
        axes.set(ylabel=quantity(_short(label), unit), xlabel=clean(across))
        drawn.legend(loc="outside upper left", ncols=min(max(len(series), 1), 4), frameon=False)
        svg, png = rendered(drawn)
    rows = [[name, *values] for name, values in series.items()]
    head = f"{quantity(label, unit)}, by {across}" if across else quantity(label, unit)
    table = Table.of(title, [head, *groups], rows)
    ends = [f"{name}: {', '.join(number(float(v)) for v in values)}" for name, values in series.items()]
    return Figure(title, f"{label} by {across} ({', '.join(groups)}). {'; '.join(ends[:8])}.", svg, png, table=table)


def curves(title: str, lines: Sequence[Line], across: str, label: str, logarithmic: bool = True) -> Figure:
    """Curves over something that counts up, such as the loss over epochs."""
    with drawing(2.6) as (drawn, [[axes]]):
        for place, line in enumerate(lines):
            x, y = thinned(line.t, line.values, False)
            axes.plot(x, y, color=SERIES[place % len(SERIES)], linestyle=DASHES[place % 4], label=_short(line.label),
                      marker="o" if len(x) < 12 else "", markersize=3)  # fmt: skip
        values = [v for line in lines for v in line.values[np.isfinite(line.values)]]
        if logarithmic and values and min(values) > 0:
            axes.set_yscale("log")
        axes.set(xlabel=across, ylabel=label)
        _legend(axes)
        svg, png = rendered(drawn)
    rows = []
    for line in lines:
        known = line.values[np.isfinite(line.values)]
        few = [float(v) for v in (known[0], known[-1], known.min())] if len(known) else [None] * 3
        rows.append([line.label, len(line.values), *few])
    table = Table.of(title, ["curve", "points", "first", "last", "smallest"], rows)
    said = [f"{r[0]} falls from {number(r[2])} to {number(r[3])}" for r in rows if r[2] is not None]
    return Figure(title, f"{label} over {across}. {'; '.join(said)}.", svg, png, table=table)


def thinned(t: Array, values: Array, held: bool, points: int = POINTS) -> tuple[Array, Array]:
    """A line with at most about `points` points that keeps every extreme: the first, least, greatest and last of each
    stretch."""
    if len(t) <= points:
        return t, values
    stretch = -(-len(t) * 4 // points)
    keep: list[Array] = []
    for start in range(0, len(t), stretch):
        part = values[start : start + stretch]
        known = np.where(np.isfinite(part), part, np.nan)
        inner = [0, len(part) - 1]
        if not np.isnan(known).all():
            inner += [int(np.nanargmin(known)), int(np.nanargmax(known))]
        keep.append(np.unique(inner) + start)
    chosen = np.concatenate(keep)
    return t[chosen], values[chosen]


def _plain_decades(axis: Any) -> None:
    """Plain numbers at 1, 2 and 5 of each decade of a logarithmic axis."""
    axis.set_tick_params(which="both", length=3.5, pad=3.5)
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="best", frameon=True, framealpha=0.85, facecolor=PAPER, edgecolor="none", borderpad=0.2)


def _short(text: str, most: int = 44) -> str:
    text = " ".join(clean(text).split())
    text = text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-(most // 2) :]}"
    return f" {text}" if text.startswith("_") else text  # matplotlib hides labels that begin with an underscore


def _least(values: Array) -> str:
    return number(float(values.min())) if len(values) else "none"


def _rank(q: float) -> str:
    return {0.0: "smallest", 0.5: "median", 1.0: "largest"}.get(q, f"{100 * q:g} %")


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()
