"""Scopes: traces over time, held signals as steps, units on the axes, many lanes as bands, crossings as marks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simdl.errors import RunError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simdl.result import Trace

# Okabe & Ito (2008): eight hues that people with colour-vision deficiencies can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("|", "1", "2", "x", "+", "3")
MOST = 20  # lanes drawn as lines; more are drawn as bands
ELEMENTS = 8  # of a vector
MARKS = 2000  # crossings drawn
BANDS = ((0.05, 0.95, 0.18), (0.25, 0.75, 0.36))  # from, to, opacity


@dataclass(frozen=True, eq=False)
class Line:
    """One scalar signal: t (time,), values (lanes, time)."""

    label: str
    t: NDArray[Any]
    values: NDArray[Any]
    unit: str
    held: bool
    labels: tuple[str, ...] = ()


def draw(
    traces: Sequence[Trace],
    *,
    lanes: Iterable[int] | None = None,
    bands: bool | None = None,
    axes: Axes | None = None,
    events: Sequence[tuple[int, float, str]] = (),
    failures: Mapping[int, float] = {},
) -> Axes:
    """Draw traces over time, those of one unit together; returns the (first) axes.

    lanes: which; all when not given. bands: median, middle 50 % and middle 90 % of the lanes at each time instead of
    lines; by default for more than 20 lanes. events: (lane, t, path) of crossings; failures: lane -> t.
    Without `axes` a new figure gets one row for each unit. Raises RunError for images and for lanes that are not there.
    """
    import matplotlib.pyplot as plt

    lines = [line for trace in traces for line in elements(trace)]
    if not lines:
        raise RunError("plot", "no scalar signal", "at least one recorded scalar signal")
    count = lines[0].values.shape[0]
    shown = list(range(count)) if lanes is None else [_lane(lane, count) for lane in lanes]
    banded = len(shown) > MOST if bands is None else bands
    units = list(dict.fromkeys(line.unit for line in lines)) if axes is None else [None]
    rows = [axes] if axes is not None else []
    if not rows:
        size = (7.0, 1.2 + 2.0 * len(units))
        _, grid = plt.subplots(len(units), sharex=True, squeeze=False, figsize=size, layout="constrained")
        rows = list(grid[:, 0])
    for row, unit in zip(rows, units, strict=True):
        mine = [line for line in lines if unit is None or line.unit == unit]
        for place, line in enumerate(mine):
            style = {"color": PALETTE[place % len(PALETTE)], "linestyle": DASHES[place % len(DASHES)], "linewidth": 1.2}
            (_bands if banded else _lines)(row, line, shown, style)
        if not banded:
            _failures(row, mine, {lane: t for lane, t in failures.items() if lane in shown})
        _name(row, mine)
        if len(shown) == 1:
            for lane, at, _ in events[:MARKS]:
                if lane == shown[0]:
                    row.axvline(at, color="0.75", linewidth=0.6, zorder=0)
    _events(rows[-1], [event for event in events if event[0] in set(shown)])
    for row in rows:
        row.grid(alpha=0.3)
        for text in row.legend(loc="best", fontsize="small", framealpha=0.8).get_texts():
            text.set_parse_math(False)
    rows[-1].set_xlabel("t [s]")
    first: Axes = rows[0]
    return first


def elements(trace: Trace) -> list[Line]:
    """A scalar trace as one line, a vector as one for each element. Raises RunError for an image or a long vector."""
    shape = tuple(trace.values.shape[2:])
    values = trace.values.detach().cpu().numpy()
    t, held = trace.t.cpu().numpy(), trace.kind == "held"
    if not shape:
        return [Line(trace.path, t, values.astype(float), trace.unit, held, trace.labels)]
    if len(shape) == 1 and shape[0] <= ELEMENTS:
        return [Line(f"{trace.path}[{i}]", t, values[..., i].astype(float), trace.unit, held) for i in range(shape[0])]
    raise RunError(
        f"plot: {trace.path}",
        f"values of shape {shape}",
        f"a scalar signal, or a vector of at most {ELEMENTS} elements",
        f"plot a formula of it, such as run[{trace.path}[0]]",
    )


def _lane(lane: int, count: int) -> int:
    if not 0 <= lane < count:
        raise RunError("plot", f"lane {lane}", f"one of 0 to {count - 1}")
    return lane


def _lines(axes: Axes, line: Line, lanes: Sequence[int], style: Mapping[str, Any]) -> None:
    faint = 1.0 if len(lanes) == 1 else max(0.25, 1.0 / len(lanes) ** 0.5)
    for i, lane in enumerate(lanes):
        axes.plot(
            line.t,
            line.values[lane],
            drawstyle="steps-post" if line.held else "default",
            alpha=faint,
            label=_legend(line.label) if i == 0 else None,
            **style,
        )


def _bands(axes: Axes, line: Line, lanes: Sequence[int], style: Mapping[str, Any]) -> None:
    """Quantiles over the lanes at each time. Lanes without a number there do not count."""
    values = np.where(np.isfinite(line.values[list(lanes)]), line.values[list(lanes)], np.nan)
    known = ~np.isnan(values).all(axis=0)
    levels = [0.5, *(q for low, high, _ in BANDS for q in (low, high))]
    found = np.full((len(levels), values.shape[1]), np.nan)
    if known.any():
        found[:, known] = np.nanquantile(values[:, known], levels, axis=0)
    for k, (low, high, opacity) in enumerate(BANDS):
        axes.fill_between(
            line.t,
            found[1 + 2 * k],
            found[2 + 2 * k],
            step="post" if line.held else None,
            color=style["color"],
            alpha=opacity,
            linewidth=0,
            label=f"{_legend(line.label)}: {round(100 * (high - low))} % of {len(lanes)} lanes",
        )
    drawstyle = "steps-post" if line.held else "default"
    axes.plot(line.t, found[0], drawstyle=drawstyle, label=f"{_legend(line.label)}: median", **style)


def _failures(axes: Axes, lines: Sequence[Line], failures: Mapping[int, float]) -> None:
    """A cross on every line of a lane that failed, at its last good value."""
    points = []
    for line in lines:
        for lane, at in failures.items():
            place = int(np.searchsorted(line.t, at, side="right")) - 1
            if place >= 0 and np.isfinite(line.values[lane, place]):
                points.append((at, line.values[lane, place]))
    if points:
        t, values = zip(*points, strict=True)
        axes.plot(t, values, "X", color=PALETTE[1], markeredgecolor="white", markersize=8, label="failed", zorder=5)


def _events(axes: Axes, events: Sequence[tuple[int, float, str]]) -> None:
    """Marks above the time axis, a kind and a row for each crossing."""
    for place, path in enumerate(dict.fromkeys(path for _, _, path in events)):
        times = [t for _, t, of in events if of == path]
        axes.plot(
            times[:MARKS],
            [0.03 + 0.05 * place] * len(times[:MARKS]),
            linestyle="none",
            marker=MARKERS[place % len(MARKERS)],
            color="0.3",
            markersize=7,
            alpha=min(1.0, max(0.1, 100 / len(times))),  # of many, their density
            transform=axes.get_xaxis_transform(),
            label=f"{_legend(path)} ({len(times)} crossing{'s' if len(times) != 1 else ''})",
        )


def _name(axes: Axes, lines: Sequence[Line]) -> None:
    units = list(dict.fromkeys(line.unit for line in lines))
    name = _legend(lines[0].label) if len(lines) == 1 else ""
    unit = f"[{', '.join(unit or '–' for unit in units)}]" if any(units) or not name else ""
    axes.set_ylabel(f"{name} {unit}".strip(), parse_math=False)
    labels = lines[0].labels
    if labels and all(line.labels == labels for line in lines):
        axes.set_yticks(range(len(labels)), [text.replace("$", r"\$") for text in labels])


def _legend(label: str) -> str:
    return f" {label}" if label.startswith("_") else label  # matplotlib hides labels that begin with an underscore
