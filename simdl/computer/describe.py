"""A computer in words: a line for each task, and each processor."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from simdl.clock import nanoseconds, period_text, rate_text
from simdl.computer.computer import Computer
from simdl.computer.processor import Processor
from simdl.computer.task import Degrade, Task

COLUMNS = ("task", "on", "released", "priority", "takes", "deadline", "runs")


def task_rows(computer: Computer) -> list[tuple[str, ...]]:
    """A row for each task, of the text under `COLUMNS`."""
    return [_row(task) for task in computer.tasks]


def describe(computer: Computer) -> str:
    """Tasks and processors as text.

    >>> from simdl.computer import Uniform
    >>> cpu = Processor("cpu")
    >>> task = Task("control", cpu, period="20 ms", execution=Uniform("1 ms", "3 ms"), runs=["pi"])
    >>> print(describe(Computer([task])))
    task     on   released     priority  takes                            deadline  runs
    control  cpu  every 20 ms  0         Uniform(low='1 ms', high='3 ms')  20 ms     pi
    cpu: 1 core, fixed priority
    """
    rows = [COLUMNS, *task_rows(computer)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, *map(_processor, computer.processors)])


def _row(task: Task) -> tuple[str, ...]:
    deadline = task.deadline_ns
    late = [f"late: {_text(task.late)}"] if task.late != "run on" else []
    budget = [f"budget {task.budget}, over: {_text(task.over)}"] if task.budget is not None else []
    takes = _text(task.execution) if task.execution is not None else ""
    return (
        task.name, task.on.name, _released(task), str(task.priority),
        " in ".join([*([takes] if takes else []), *([_text(task.body)] if task.body is not None else [])]),
        ", ".join([*([period_text(deadline)] if deadline is not None else []), *late, *budget]) or "-",
        ", ".join(task.runs) or "-",
    )  # fmt: skip


def _released(task: Task) -> str:
    if task.clock is not None:
        offset = f" from {period_text(nanoseconds(task.offset))}" if nanoseconds(task.offset) else ""
        jitter = f", up to {task.jitter} late" if task.jitter is not None else ""
        return f"every {rate_text(task.clock)}{offset}{jitter}"
    if task.trigger is not None:
        return f"by {task.trigger}"
    several = isinstance(task.arrivals, list | tuple)
    return f"at {len(task.arrivals)} times" if several else f"gaps: {_text(task.arrivals)}"  # type: ignore[arg-type]


def _processor(processor: Processor) -> str:
    policy = processor.policy
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in type(policy).__name__)
    name = type(policy).__name__ if type(policy).__name__.isupper() else words.strip()
    parts = [f"{processor.cores} core{'s' if processor.cores > 1 else ''}", name]
    parts += [] if policy.preemptive else ["without pre-emption"]
    if nanoseconds(processor.context_switch):
        parts.append(f"context switch {period_text(nanoseconds(processor.context_switch))}")
    if processor.skewed:
        parts.append(f"its clock {1e6 * float(processor.speed - 1):+g} ppm, {processor.offset} ahead")
    return f"{processor.name}: {', '.join(parts)}"


def _text(value: Any) -> str:
    """A time, a distribution or a function, in one line."""
    if isinstance(value, str):
        return value
    if isinstance(value, Degrade):
        others = "".join(f", {other} instead of {path}" for path, other in value.instead.items())
        return f"then {_text(value.execution)}{others}"
    if is_dataclass(value) and not isinstance(value, type) and len(fields(value)) <= 4:
        text = repr(value)
        return text if len(text) <= 48 else f"{type(value).__name__}(…)"
    if callable(value):
        return f"{getattr(value, '__name__', type(value).__name__)}()"
    return f"{value} s" if isinstance(value, int | float) and value else str(value)
