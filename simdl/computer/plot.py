"""Pictures of a schedule: Gantt chart, response times, ages, misses and utilisation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from simdl.clock import Duration, nanoseconds
from simdl.computer.schedule import Schedule
from simdl.computer.states import STATES, states
from simdl.errors import RunError
from simdl.plot import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PERCENTILES = (50, 95, 99)
ROWS = ("processors", "tasks")
HEIGHTS = {"running": 0.7, "ready": 0.4, "blocked": 0.16}  # of a bar; a row is 1
GREY = "0.45"
SWITCH = "0.25"  # grey of context switches
NARROW = 200  # a bar of less than this part of the width has an edge of its colour, a pixel, so that it is seen


def gantt(
    schedule: Schedule, begin: Duration = 0, end: Duration | None = None, axes: Axes | None = None,
    rows: str = "processors",
) -> Axes:  # fmt: skip
    """Who uses what when; the arrivals of jobs as triangles and missed deadlines as crosses, in the colours of tasks.

    rows:
      "processors"  a row for each core, accelerator, bus and lock; a hatched bar is a job that waits for a lock, a
                    mailbox or an event
      "tasks"       a row for each task, at three levels: high while it runs, middle while it is ready and waits for a
                    core, low and hatched while it is blocked (`simdl.computer.states`)

    Raises RunError for an interval in which nothing happens, and for other rows.
    """
    if rows not in ROWS:
        raise RunError("gantt: rows", f"{rows!r}", "what a row is of", names=ROWS, wrong=str(rows))
    low, high = nanoseconds(begin, "begin"), schedule.until if end is None else nanoseconds(end, "end")
    tasks = list(dict.fromkeys(job.task.name for job in schedule.jobs))
    chart = _Chart(low, high, {task: PALETTE[k % len(PALETTE)] for k, task in enumerate(tasks)})
    if rows == "tasks":
        return _levels(schedule, chart, axes)
    return _uses(schedule, chart, axes)


@dataclass(frozen=True)
class _Chart:
    """What is drawn from when to when, ns; colours: of tasks."""

    low: int
    high: int
    colours: Mapping[str, str]

    @property
    def scale(self) -> float:
        return _unit(self.high - self.low)[0]

    def within(self, parts: Iterable[Any]) -> list[Any]:
        """The parts (…, from, to) that are seen."""
        return [part for part in parts if part[-1] > self.low and part[-2] < self.high and part[-2] < part[-1]]

    def bar(self, axes: Axes, begin: int, end: int, bottom: float, height: float, **style: Any) -> None:
        first, last = max(begin, self.low) / self.scale, min(end, self.high) / self.scale
        axes.broken_barh([(first, last - first)], (bottom, height), **style)

    def solid(self, begin: int, end: int, colour: str) -> dict[str, Any]:
        """The style of a bar: one that is narrow has an edge of its colour, so that it is seen."""
        wide = (min(end, self.high) - max(begin, self.low)) * NARROW > self.high - self.low
        edge, width, order = ("white", 0.4, 1.0) if wide else (colour, 0.8, 1.1)
        return dict(facecolors=colour, edgecolor=edge, linewidth=width, zorder=order)

    def finish(self, axes: Axes, rows: Sequence[str], top: float) -> Axes:
        axes.set_yticks(range(len(rows) - 1, -1, -1), rows)
        axes.set_ylim(-0.6, top)
        axes.set_xlim(self.low / self.scale, self.high / self.scale)
        axes.set_xlabel(f"t [{_unit(self.high - self.low)[1]}]")
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small", frameon=False)
        return axes

    def nothing(self) -> RunError:
        return RunError("gantt", f"nothing runs from {self.low} to {self.high} ns",
                        "an interval in which something does")  # fmt: skip


def _uses(schedule: Schedule, chart: _Chart, axes: Axes | None) -> Axes:
    """A row for each thing that jobs use; arrivals and misses above."""
    rows = [*_cores(schedule), *_devices(schedule), *_shared(schedule)]
    shown = {name: chart.within(parts) for name, parts in rows}
    if not any(shown.values()):
        raise chart.nothing()
    row_of = {name: len(shown) - 1 - k for k, name in enumerate(shown)}
    axes = axes if axes is not None else _axes(1.4 + 0.55 * len(rows))
    used: set[str] = set()
    for name, parts in shown.items():
        for tasks_of, a, b in parts:
            for k, task in enumerate(tasks_of or ("context switch",)):
                height = 0.7 / max(1, len(tasks_of))
                style = chart.solid(a, b, chart.colours.get(task, SWITCH))
                chart.bar(axes, a, b, row_of[name] - 0.35 + k * height, height,
                          label=task if task not in used else None, **style)  # fmt: skip
                used.add(task)
    for job, name, a, b in chart.within(schedule.waits):
        chart.bar(axes, a, b, row_of[name] - 0.45, 0.25, **_hatched(chart.colours[job.task.name]))
    top = len(shown) - 0.4
    _marks(schedule, chart, axes, dict.fromkeys(chart.colours, (top, top + 0.3)))
    return chart.finish(axes, list(shown), top + 0.6)


def _levels(schedule: Schedule, chart: _Chart, axes: Axes | None) -> Axes:
    """A row for each task, at three levels; its arrivals and misses above it."""
    shown = {task: chart.within(parts) for task, parts in states(schedule).items() if task in chart.colours}
    if not any(shown.values()):
        raise chart.nothing()
    axes = axes if axes is not None else _axes(1.4 + 0.7 * len(shown))
    row_of = {task: len(shown) - 1 - k for k, task in enumerate(shown)}
    for task, parts in shown.items():
        colour = chart.colours[task]
        for state, a, b in parts:
            style = chart.solid(a, b, colour)
            if state == "ready":
                style |= dict(alpha=0.4)
            elif state == "blocked":
                style = _hatched(colour)
            chart.bar(axes, a, b, row_of[task] - 0.4, HEIGHTS[state], **style)
    looks: list[dict[str, Any]] = [dict(facecolors=GREY), dict(facecolors=GREY, alpha=0.4), _hatched(GREY)]
    for state, look in zip(STATES, looks):
        axes.broken_barh([], (0, 0), label=state, **look)
    _marks(schedule, chart, axes, {task: (row + 0.42, row + 0.42) for task, row in row_of.items()})
    return chart.finish(axes, list(shown), len(shown) - 0.3)


def _hatched(colour: str) -> dict[str, Any]:
    return dict(facecolors="white", hatch="////", edgecolor=colour, linewidth=0.8)


def _marks(schedule: Schedule, chart: _Chart, axes: Axes, at: Mapping[str, tuple[float, float]]) -> None:
    """Arrivals and missed deadlines of each task, at these heights."""
    low, high, scale = chart.low, chart.high, chart.scale
    for task, colour in chart.colours.items():
        mine = [job.arrival / scale for job in schedule.of(task) if low <= job.arrival < high]
        axes.plot(mine, [at[task][0]] * len(mine), "v", color=colour, markersize=5, clip_on=False)
    missed = [(job.deadline, job.task.name) for job in schedule.jobs
              if job.deadline is not None and low <= job.deadline < high
              and (job.status in ("missed", "killed") or (job.end is None and job.deadline < schedule.until
                                                           and job.status != "skipped"))]  # fmt: skip
    if missed:
        axes.plot([], [], "x", color="black", markersize=6, label="deadline missed")
    for task in dict.fromkeys(name for _, name in missed):
        late = [deadline / scale for deadline, name in missed if name == task]
        axes.plot(late, [at[task][1]] * len(late), "x", color=chart.colours[task], markersize=6)


def _cores(schedule: Schedule) -> list[tuple[str, list[tuple[tuple[str, ...], int, int]]]]:
    return [(name, [((job.task.name,) if job is not None else (), a, b) for job, a, b in parts])
            for name, parts in schedule.cores.items()]  # fmt: skip


def _shared(schedule: Schedule) -> list[tuple[str, list[tuple[tuple[str, ...], int, int]]]]:
    """Locks with who holds them; what is only waited for has an empty row."""
    found: dict[str, list[tuple[tuple[str, ...], int, int]]] = {}
    for job, name, a, b in schedule.holds:
        found.setdefault(name, []).append(((job.task.name,), a, b))
    for _, name, _, _ in schedule.waits:
        found.setdefault(name, [])
    return list(found.items())


def _devices(schedule: Schedule) -> list[tuple[str, list[tuple[tuple[str, ...], int, int]]]]:
    found: dict[str, list[tuple[tuple[str, ...], int, int]]] = {}
    for name, parts in schedule.accelerators.items():
        several = len({part[0] for part in parts}) > 1
        for stream, jobs, _, a, b in parts:
            row = f"{name}: {stream}" if several else name
            found.setdefault(row, []).append((tuple(job.task.name for job in jobs), a, b))
    return sorted(found.items())


def histogram(times: Any, name: str, axes: Axes | None = None, limit: int | None = None) -> Axes:
    """A histogram of times, ns, with percentiles; limit: a deadline, ns, as a line.

    For `schedule.responses(task)`, or an element of `schedule.ages(block)`. Raises RunError when there are none.
    """
    times = np.asarray(times, dtype=np.int64)
    if not len(times):
        raise RunError(f"histogram of {name}", "no times", "at least one job or message that ended")
    scale, unit = _unit(int(times.max()))
    axes = axes if axes is not None else _axes(3.0)
    axes.hist(times / scale, bins=min(60, max(10, int(len(times) ** 0.5))), color=PALETTE[0], alpha=0.75)
    for percent, dash in zip(PERCENTILES, ("-", "--", ":")):
        at = np.percentile(times, percent) / scale
        axes.axvline(at, color=PALETTE[1], linestyle=dash, label=f"{percent} %: {at:.4g} {unit}")
    axes.axvline(times.max() / scale, color="0.4", linewidth=0.8, label=f"largest: {times.max() / scale:.4g} {unit}")
    if limit is not None:
        axes.axvline(limit / scale, color="black", linewidth=1.6, label=f"limit: {limit / scale:.4g} {unit}")
    axes.set_xlabel(f"{name} [{unit}]")
    axes.set_ylabel(f"count of {len(times)}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small", frameon=False)
    return axes


def load(schedule: Schedule, axes: Axes | None = None) -> Axes:
    """Utilisation of cores, accelerators and buses, the miss ratio of tasks with a deadline, and who uses what share of
    the energy, in percent."""
    used = {name: schedule.utilisation(name) for name in [*schedule.cores, *schedule.accelerators]}
    tasks = list(dict.fromkeys(job.task.name for job in schedule.jobs if job.deadline is not None))
    missed = {f"{task}: missed": schedule.miss_ratio(task) for task in tasks}
    joules = schedule.energy("task")
    total = sum(joules.values())
    shares = {f"{name}: energy": one / total for name, one in joules.items() if one > 0}
    names = [*used, *missed, *shares]
    values = [100 * value for value in (*used.values(), *missed.values(), *shares.values())]
    axes = axes if axes is not None else _axes(1.2 + 0.35 * len(names))
    colours = [PALETTE[k] for k, part in enumerate((used, missed, shares)) for _ in part]
    texts = [f"{value:.1f} %" for value in values]
    texts[len(texts) - len(shares) :] = [f"{joules[name.removesuffix(': energy')]:.3g} J" for name in shares]
    bars = axes.barh(names, values, color=colours)
    axes.bar_label(bars, texts, padding=3, fontsize="small")
    axes.invert_yaxis()
    axes.set_xlim(0, max(110, 1.1 * max(values, default=0)))
    axes.set_xlabel("share [%]")
    return axes


def _unit(span: int) -> tuple[float, str]:
    for scale, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if span >= 2 * scale:
            return scale, unit
    return 1.0, "ns"


def _axes(height: float) -> Axes:
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=(8.0, height), layout="constrained")
    return axes
