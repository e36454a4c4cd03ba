"""What the computer of a lane did: who ran when, how late answers were, and how much of it was used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simdl.clock import SECOND
from simdl.errors import SimdlError
from simdl.report.parts import Figure, Note, Part, Section, Table
from simdl.report.svg import drawing, rendered
from simdl.report.text import number

if TYPE_CHECKING:
    from simdl.campaign import Campaign
    from simdl.computer import Schedule

JOBS = 40  # about so many are seen in the chart
HISTOGRAMS = 3  # tasks that get one


def computer(campaign: Campaign, lane: int) -> Section | None:
    """The section "The computer", of one lane; None for a loop that runs on none."""
    owner = campaign.job.model
    if not any("_placement" in vars(block) for block in owner.leaves()):
        return None
    from simdl.computer.placed import computer_of, schedule_of

    description = computer_of(owner)
    if description is None:
        return Section("The computer", (Note("Blocks run at the times of a log."),))
    parts: list[Part] = [_tasks(description)]
    try:
        schedule = _schedule(campaign, lane, schedule_of)
    except SimdlError as error:
        return Section("The computer", (*parts, Note(f"The schedule of lane {lane} cannot be shown: {error}", "warn")))
    parts += [_responses(schedule, lane), *_charts(schedule, lane), *_histograms(schedule, lane), _used(schedule, lane)]
    return Section("The computer", tuple(part for part in parts if part is not None))


def _schedule(campaign: Campaign, lane: int, schedule_of: Any) -> Schedule:
    """What is computed again for timetables, and remembered of a live run; if it is not, the lane runs again."""
    try:
        found: Schedule = schedule_of(campaign.job.model, lane, campaign.seed)
    except SimdlError:
        _ = campaign.replay(lane).run
        found = schedule_of(campaign.job.model, lane, campaign.seed)
    return found


def _tasks(description: Any) -> Table:
    from simdl.computer.describe import COLUMNS, task_rows

    return Table.of("Tasks", COLUMNS, task_rows(description))


def _responses(schedule: Schedule, lane: int) -> Table:
    rows = []
    for task in schedule.tasks:
        times = schedule.responses(task.name) / 1e6
        some = [float(x) for x in np.percentile(times, (50, 99, 100))] if len(times) else [None] * 3
        jobs = schedule.of(task.name)
        due = any(job.deadline is not None for job in jobs)
        rows.append([task.name, len(jobs), *some, 100 * schedule.miss_ratio(task.name) if due else None])
    columns = ["task", "jobs", "response, median [ms]", "99 % [ms]", "longest [ms]", "missed deadlines [%]"]
    note = "From the arrival of a job to its end; jobs that were killed or have not ended are left out."
    return Table.of(f"Jobs of lane {lane}", columns, rows, note)


def _charts(schedule: Schedule, lane: int) -> list[Figure]:
    """Who runs when around the slowest job: what is used, and what tasks wait for."""
    from simdl.computer.plot import gantt

    begin, end = _window(schedule)
    found = []
    for rows, what in (("processors", "Who uses what"), ("tasks", "What tasks do")):
        try:
            with drawing(1.2 + 0.42 * _rows(schedule, rows)) as (drawn, axes):
                gantt(schedule, begin / SECOND, end / SECOND, axes[0][0], rows=rows)
                svg, png = rendered(drawn)
        except SimdlError:
            continue
        title = f"{what}, lane {lane}, {number(begin / SECOND)} to {number(end / SECOND)} s"
        said = "Bars by task over time; triangles are arrivals, crosses missed deadlines."
        caption = said if rows == "processors" else (
            "High bars: the task runs; middle ones: it is ready and waits for a core; low hatched ones: it waits for "
            "something else.")  # fmt: skip
        found.append(Figure(title, said, svg, png, caption, None))
    return found


def _window(schedule: Schedule) -> tuple[int, int]:
    """A stretch with some forty jobs, the slowest that ended among them."""
    length = min(schedule.until, max(1, schedule.until * JOBS // max(JOBS, len(schedule.jobs))))
    ended = [job for job in schedule.jobs if job.end is not None]
    slowest = max(ended, key=lambda job: (job.end or 0) - job.arrival, default=None)
    middle = slowest.arrival if slowest is not None else 0
    begin = min(max(0, middle - length // 3), schedule.until - length)
    return begin, begin + length


def _rows(schedule: Schedule, rows: str) -> int:
    if rows == "tasks":
        return len(schedule.tasks)
    shared = {name for _, name, *_ in (*schedule.holds, *schedule.waits)}
    return len(schedule.cores) + len(schedule.accelerators) + len(shared)


def _histograms(schedule: Schedule, lane: int) -> list[Figure]:
    """Response times of the tasks that have a deadline or run blocks."""
    from simdl.computer.plot import histogram

    found = []
    for task in [one for one in schedule.tasks if one.runs or one.deadline_ns is not None][:HISTOGRAMS]:
        times = schedule.responses(task.name)
        if not len(times):
            continue
        with drawing(2.2) as (drawn, axes):
            histogram(times, f"response time of {task.name}", axes[0][0], task.deadline_ns)
            svg, png = rendered(drawn)
        low, mid, high = (number(float(np.percentile(times, percent) / 1e6)) for percent in (0, 50, 100))
        said = f"From {low} to {high} ms, median {mid} ms."
        found.append(Figure(f"Response times of {task.name}, lane {lane}", said, svg, png))
    return found


def _used(schedule: Schedule, lane: int) -> Table:
    names = [*schedule.cores, *schedule.accelerators]
    rows = [[name, 100 * schedule.utilisation(name)] for name in names]
    return Table.of(f"Used by lane {lane}", ["core, accelerator or bus", "busy [%]"], rows)
