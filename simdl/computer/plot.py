"""Pictures of a schedule: Gantt chart, response times, ages, misses and utilisation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from simdl.clock import Duration, nanoseconds
from simdl.computer.bars import FULL, Bar, Bars, Style, looks, waiting
from simdl.computer.schedule import Schedule
from simdl.computer.states import STATES, states
from simdl.errors import RunError
from simdl.plot import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simdl.computer.job import Job

PERCENTILES = (50, 95, 99)
ROWS = ("processors", "tasks")
HEIGHTS = {"running": FULL, "ready": 0.4, "blocked": 0.16}  # of a bar; a row is 1
GREY = "0.45"
SWITCH = Style("0.25", label="context switch")
TALL = 30  # names in a column of the legend


def gantt(
    schedule: Schedule, begin: Duration = 0, end: Duration | None = None, axes: Axes | None = None,
    rows: str = "processors",
) -> Axes:  # fmt: skip
    """Who uses what when; the arrivals of jobs as triangles and missed deadlines as crosses, in the colours of tasks.

    Tasks have colours, and beyond eight of them patterns too. Where a row has more than 50 bars of less than 1/200 of
    the width, these are drawn as the share of the time that they take in each 1/200, a height.

    rows:
      "processors"  a row for each core, accelerator, bus and lock; a hatched bar is a job that waits for a lock, a
                    mailbox or an event
      "tasks"       a row for each task, at three levels: high while it runs, middle while it is ready and waits for a
                    core, low and hatched while it is blocked (`simdl.computer.states`)

    Raises RunError for an interval in which nothing happens, and for other rows.
    """
    if not isinstance(schedule, Schedule):
        raise RunError("gantt", f"{schedule!r}", "a schedule", 'computer.schedule("1 s"), or schedule_of(diagram)')
    if rows not in ROWS:
        raise RunError("gantt: rows", f"{rows!r}", "what a row is of", names=ROWS, wrong=str(rows))
    low, high = nanoseconds(begin, "begin"), schedule.until if end is None else nanoseconds(end, "end")
    tasks = list(dict.fromkeys(job.task.name for job in schedule.jobs))
    chart = _Chart(low, high, looks(tasks))
    if rows == "tasks":
        return _levels(schedule, chart, axes)
    return _uses(schedule, chart, axes)


@dataclass(frozen=True)
class _Chart:
    """What is drawn from when to when, ns; styles: of tasks."""

    low: int
    high: int
    styles: Mapping[str, Style]

    @property
    def scale(self) -> float:
        return _unit(self.high - self.low)[0]

    def within(self, parts: Iterable[Any]) -> list[Any]:
        """The parts (…, from, to) that are seen."""
        return [part for part in parts if part[-1] > self.low and part[-2] < self.high and part[-2] < part[-1]]

    def bars(self) -> Bars:
        return Bars(self.low, self.high, self.scale)

    def finish(self, axes: Axes, rows: Sequence[str], top: float) -> Axes:
        axes.set_yticks(range(len(rows) - 1, -1, -1), rows)
        axes.set_ylim(-0.6, top)
        axes.set_xlim(self.low / self.scale, self.high / self.scale)
        axes.set_xlabel(f"t [{_unit(self.high - self.low)[1]}]")
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
        handles, names = axes.get_legend_handles_labels()
        places = {task: k for k, task in enumerate(self.styles)}
        order = sorted(range(len(names)), key=lambda k: places.get(names[k], len(places)))
        axes.legend([handles[k] for k in order], [names[k] for k in order], ncols=1 + len(names) // TALL,
                    loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small", frameon=False)  # fmt: skip
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
    names = min(len(chart.styles), TALL)
    axes = axes if axes is not None else _axes(max(1.4 + 0.55 * len(rows), 0.18 * names), len(chart.styles) // TALL)
    bars = chart.bars()
    for name, parts in shown.items():
        found = []
        for tasks_of, a, b in parts:
            part = 1 / max(1, len(tasks_of))
            styles = [chart.styles[task] for task in tasks_of] or [SWITCH]
            found += [Bar(style, a, b, k * part * FULL, part * FULL, part) for k, style in enumerate(styles)]
        bars.row(row_of[name] - 0.35, found)
    for job, name, a, b in chart.within(schedule.waits):
        bars.add(row_of[name] - 0.45, Bar(waiting(chart.styles[job.task.name].colour), a, b, 0.0, 0.25))
    bars.draw(axes)
    top = len(shown) - 0.4
    _marks(schedule, chart, axes, dict.fromkeys(chart.styles, (top, top + 0.3)))
    return chart.finish(axes, list(shown), top + 0.6)


def _levels(schedule: Schedule, chart: _Chart, axes: Axes | None) -> Axes:
    """A row for each task, at three levels; its arrivals and misses above it."""
    shown = {task: chart.within(parts) for task, parts in states(schedule).items() if task in chart.styles}
    if not any(shown.values()):
        raise chart.nothing()
    axes = axes if axes is not None else _axes(1.4 + 0.7 * len(shown))
    row_of = {task: len(shown) - 1 - k for k, task in enumerate(shown)}
    bars = chart.bars()
    for task, parts in shown.items():
        looks_of = _states(chart.styles[task].colour)
        bars.row(row_of[task] - 0.4, [Bar(looks_of[state], a, b, 0.0, HEIGHTS[state]) for state, a, b in parts])
    bars.draw(axes)
    for state, style in _states(GREY).items():
        face = "white" if style.empty else style.colour
        axes.broken_barh([], (0, 0), facecolors=face, edgecolor=style.colour, hatch=style.hatch or None,
                         alpha=style.alpha, label=state)  # fmt: skip
    _marks(schedule, chart, axes, {task: (row + 0.42, row + 0.42) for task, row in row_of.items()})
    return chart.finish(axes, list(shown), len(shown) - 0.3)


def _states(colour: str) -> dict[str, Style]:
    return dict(zip(STATES, (Style(colour), Style(colour, alpha=0.4), waiting(colour))))


def _marks(schedule: Schedule, chart: _Chart, axes: Axes, at: Mapping[str, tuple[float, float]]) -> None:
    """Arrivals and missed deadlines of each task, at these heights."""
    arrivals: dict[str, list[float]] = {task: [] for task in chart.styles}
    missed: dict[str, list[float]] = {}
    for job in schedule.jobs:
        if chart.low <= job.arrival < chart.high:
            arrivals[job.task.name].append(job.arrival / chart.scale)
        if job.deadline is not None and chart.low <= job.deadline < chart.high and _missed(job, schedule.until):
            missed.setdefault(job.task.name, []).append(job.deadline / chart.scale)
    for task, times in arrivals.items():
        style = chart.styles[task]
        face = "white" if style.hatch else style.colour  # as on its bars, where it has a pattern
        axes.plot(times, [at[task][0]] * len(times), "v", color=style.colour, markerfacecolor=face, markersize=5,
                  clip_on=False)  # fmt: skip
    if missed:
        axes.plot([], [], "x", color="black", markersize=6, label="deadline missed")
    for task, times in missed.items():
        axes.plot(times, [at[task][1]] * len(times), "x", color=chart.styles[task].colour, markersize=6)


def _missed(job: Job, until: int) -> bool:
    late = job.end is None and job.deadline is not None and job.deadline < until and job.status != "skipped"
    return job.status in ("missed", "killed") or late


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
    try:
        times = np.asarray(times, dtype=np.int64)
    except (TypeError, ValueError):
        raise RunError(f"histogram of {name}", f"{times!r}", "times, ns", "schedule.responses(task)") from None
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


def _axes(height: float, columns: int = 0) -> Axes:
    """A picture; columns: of a legend, beyond one."""
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=(8.0 + columns, height), layout="constrained")
    return axes
