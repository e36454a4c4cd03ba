"""Pictures of a schedule: Gantt chart, response times, ages, misses and utilisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simdl.clock import Duration, nanoseconds
from simdl.computer.schedule import Schedule
from simdl.errors import RunError
from simdl.plot import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PERCENTILES = (50, 95, 99)
SWITCH = "0.25"  # grey of context switches
NARROW = 200  # a bar of less than this part of the width has an edge of its colour, a pixel, so that it is seen


def gantt(schedule: Schedule, begin: Duration = 0, end: Duration | None = None, axes: Axes | None = None) -> Axes:
    """Who uses which core, accelerator, bus and lock when, a row each; above, in the colours
    of tasks, their arrivals as triangles and the deadlines they missed as crosses.

    A hatched bar is a job that waits for a lock, a mailbox or an event.

    Raises RunError for an interval without any use.
    """
    low, high = nanoseconds(begin, "begin"), schedule.until if end is None else nanoseconds(end, "end")
    rows = [*_cores(schedule), *_devices(schedule), *_shared(schedule)]
    shown = {name: [p for p in parts if p[2] > low and p[1] < high] for name, parts in rows}
    if not any(shown.values()):
        raise RunError("gantt", f"nothing runs from {low} to {high} ns", "an interval in which something does")
    row_of = {name: len(shown) - 1 - k for k, name in enumerate(shown)}
    tasks = list(dict.fromkeys(job.task.name for job in schedule.jobs))
    colours = {task: PALETTE[k % len(PALETTE)] for k, task in enumerate(tasks)}
    scale, unit = _unit(high - low)
    axes = axes if axes is not None else _axes(1.4 + 0.55 * len(rows))
    used: set[str] = set()
    for name, parts in shown.items():
        for tasks_of, a, b in parts:
            for k, task in enumerate(tasks_of or ("context switch",)):
                first, last = max(a, low) / scale, min(b, high) / scale
                height = 0.7 / max(1, len(tasks_of))
                colour, wide = colours.get(task, SWITCH), (last - first) * scale * NARROW > high - low
                axes.broken_barh([(first, last - first)], (row_of[name] - 0.35 + k * height, height),
                                 facecolors=colour, label=task if task not in used else None,
                                 edgecolor="white" if wide else colour, linewidth=0.4 if wide else 0.8,
                                 zorder=1.0 if wide else 1.1)  # fmt: skip
                used.add(task)
    for job, name, a, b in schedule.waits:
        if a < b and b > low and a < high:
            first, last = max(a, low) / scale, min(b, high) / scale
            axes.broken_barh([(first, last - first)], (row_of[name] - 0.45, 0.25), facecolors="white", hatch="////",
                             edgecolor=colours[job.task.name], linewidth=0.8)  # fmt: skip
    top = len(shown) - 0.4
    for task in tasks:
        mine = [job for job in schedule.of(task) if low <= job.arrival < high]
        axes.plot([job.arrival / scale for job in mine], [top] * len(mine), "v", color=colours[task], markersize=5)
    missed = [(job.deadline, job.task.name) for job in schedule.jobs
              if job.deadline is not None and low <= job.deadline < high
              and (job.status in ("missed", "killed") or (job.end is None and job.deadline < schedule.until
                                                           and job.status != "skipped"))]  # fmt: skip
    if missed:
        axes.plot([], [], "x", color="black", markersize=6, label="deadline missed")
    for task in dict.fromkeys(name for _, name in missed):
        late = [at / scale for at, name in missed if name == task]
        axes.plot(late, [top + 0.3] * len(late), "x", color=colours[task], markersize=6)
    axes.set_yticks(list(row_of.values()), list(row_of))
    axes.set_ylim(-0.6, top + 0.6)
    axes.set_xlim(low / scale, high / scale)
    axes.set_xlabel(f"t [{unit}]")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small", frameon=False)
    return axes


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
