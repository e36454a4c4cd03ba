"""What the tasks of a lane do at each time: run, wait for a core, or wait for something else."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from simdl.computer.kernel import Kernel
from simdl.errors import RunError

if TYPE_CHECKING:
    from simdl.computer.schedule import Schedule

    Span = tuple[int, int]

STATES = ("running", "ready", "blocked")


def states(schedule: Schedule) -> dict[str, list[tuple[str, int, int]]]:
    """Task -> (state, from, to), ns, in order; what is left out is the time in which it has no job.

    "running": a job of it computes. "ready": one could, and waits for a core or for the switch to it. "blocked": all
    its jobs wait for something else: an accelerator, a lock, a mailbox, an event, or the end of a `Sleep`.

    A schedule does not keep who was ready, so that thousands of lanes need not; the lane's computer runs again instead.
    Raises RunError when its jobs then end at other times, as those of bodies with a memory of their own may, and for a
    lane of a live computer, which cannot run again without its loop.

    >>> from simdl.computer import Computer, Processor, Task
    >>> cpu = Processor("cpu")
    >>> fast = Task("fast", cpu, period="4 ns", priority=1, execution="1 ns")
    >>> slow = Task("slow", cpu, arrivals=["3 ns"], priority=2, execution="2 ns")
    >>> states(Computer([fast, slow]).schedule("8 ns"))["slow"]
    [('running', 3, 4), ('ready', 4, 5), ('running', 5, 6)]
    """
    found: dict[str, list[tuple[str, int, int]]] = {task.name: [] for task in schedule.tasks}
    if not schedule.jobs:
        return found
    known, wanted = _watched(schedule), _running(schedule)
    for name in found:
        active, able = known.get(name, ([], []))
        runs = wanted.get(name, [])
        parts = [("running", runs), ("ready", _without(able, runs)), ("blocked", _without(active, [*runs, *able]))]
        found[name] = sorted(((state, *span) for state, spans in parts for span in spans), key=lambda part: part[1])
    return found


def _running(schedule: Schedule) -> dict[str, list[Span]]:
    found: dict[str, list[Span]] = {}
    for parts in schedule.cores.values():
        for job, begin, end in parts:
            if job is not None:
                found.setdefault(job.task.name, []).append((begin, end))
    return {name: _joined(spans) for name, spans in found.items()}


def _watched(schedule: Schedule) -> dict[str, tuple[list[Span], list[Span]]]:
    """Task -> when it has a job under way, and when one is on a core or could be, seen in a second run."""
    before = schedule.jobs[0].kernel
    if before.live and not before.log:
        raise RunError("states", "a computer that ran beside a loop, whose lanes keep no log of what they were told",
                       "a computer whose times are known before", 'gantt(schedule, rows="processors")')  # fmt: skip
    kernel = Kernel(before.computer, before.seed, before.lane, before.live)
    changes: dict[str, list[tuple[int, bool, bool]]] = {name: [] for name in kernel.queues}

    def look() -> None:
        for name, queue in kernel.queues.items():
            now = (bool(queue.under_way), any(job in queue.cores.ready for job in queue.under_way))
            seen = changes[name]
            if now != (seen[-1][1:] if seen else (False, False)):
                seen.append((kernel.now, *now))

    for entry in before.log:
        if entry[1] <= schedule.until:
            kernel.replay([entry])
            look()
    while not kernel.live and (due := kernel.peek()) <= schedule.until:
        kernel.run(int(due))
        look()
    _same(schedule, kernel)
    return {name: (_spans(seen, 1, schedule.until), _spans(seen, 2, schedule.until)) for name, seen in changes.items()}


def _same(schedule: Schedule, again: Kernel) -> None:
    first, second = ([(job.task.name, job.end if job.end is not None and job.end <= schedule.until else None)
                      for job in jobs] for jobs in (schedule.jobs, again.jobs))  # fmt: skip
    if first[: len(second)] != second:
        other = next((b for a, b in zip(first, second) if a != b), second[-1])[0]
        raise RunError(f"states: task {other}", "jobs that end at other times when the computer runs again",
                       "bodies that depend on their job alone", "keep nothing between jobs outside of it")  # fmt: skip


def _spans(seen: list[tuple[int, bool, bool]], which: int, until: int) -> list[Span]:
    """When a flag was up."""
    ends = [change[0] for change in seen[1:]] + [until]
    return _joined([(change[0], end) for change, end in zip(seen, ends) if change[which]])


def _joined(spans: list[Span]) -> list[Span]:
    """Their union, in order."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if begin >= end:
            continue
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def _without(spans: list[Span], taken: list[Span]) -> list[Span]:
    """What of spans lies in none of those taken."""
    found: list[Span] = []
    holes, k = _joined(taken), 0
    for begin, end in spans:
        while k < len(holes) and holes[k][1] <= begin:
            k += 1
        for low, high in islice(holes, k, None):
            if low >= end:
                break
            found.append((begin, low))
            begin = high
        found.append((begin, end))
    return [(begin, end) for begin, end in found if begin < end]
