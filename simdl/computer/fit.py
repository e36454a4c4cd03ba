"""Whether a computer fits a diagram: the rates of what it runs, and the names that its bodies use."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from simdl.clock import Clock, rate_text
from simdl.computer.task import Degrade, Task
from simdl.errors import ModelError, NetworkError, SimdlError

if TYPE_CHECKING:
    from simdl.block import Block
    from simdl.compile import Model
    from simdl.computer.schedule import Schedule


def check_rates(tasks: tuple[Task, ...], model: Model) -> None:
    """Compare the periods of tasks with those of the blocks that they run.

    A block keeps its own `dt` whatever runs it. Raises NetworkError where a network is then run at another rate than
    its card says; other blocks are only warned about.
    """
    faults: list[SimdlError] = []
    for task in tasks:
        policies = [policy for policy in (task.late, task.over) if isinstance(policy, Degrade)]
        others = [other for policy in policies for other in policy.instead.values()]
        for name in dict.fromkeys([*task.runs, *others]) if task.clock is not None else ():
            for path in (one for one in model.blocks if one == name or one.startswith(f"{name}.")):
                fault = _other_rate(model.blocks[path], task)
                if isinstance(fault, SimdlError):
                    faults.append(fault)
                elif fault:
                    warnings.warn(f"{path}: {fault}", stacklevel=4)
    if faults:
        raise faults[0] if len(faults) == 1 else ModelError.collect("computer", faults)


def _other_rate(block: Block, task: Task) -> SimdlError | str:
    own, given = block.clock, task.clock
    if own is None or given is None or _same(own, given):
        return ""
    text = f"task {task.name} runs it every {rate_text(given)}, its own period is {rate_text(own)}"
    card: Any = getattr(block, "card", None)
    if card is not None and _same(own, card.clock):
        return NetworkError(block.path, f"{text}, as its card says", "the rate it was trained at",
                            "another period of the task; or period= of the network with allow_rate=True")  # fmt: skip
    return f"{text}, which stays its dt: give both the same"


def _same(one: Clock, other: Clock) -> bool:
    return one.numerator * other.denominator == other.numerator * one.denominator


def check_sample(sample: Schedule, model: Model) -> None:
    """Look at the names that bodies used in a sample schedule.

    Raises ModelError for a block of the diagram that is read or written and that no task runs: it would be run as if
    there were no computer. Warns of what a task runs and never reads, or never shows.
    """
    runs = {name: task for task in sample.tasks for name in task.runs}
    faults: list[SimdlError] = []
    for name in dict.fromkeys([*sample.reads, *sample.writes]):
        if name not in runs and any(path == name or path.startswith(f"{name}.") for path in model.blocks):
            faults.append(ModelError("computer", f"a body reads {name!r}, which no task runs", "what its task runs",
                                     f"Task(..., runs=[{name!r}])", names=list(runs), wrong=name))  # fmt: skip
    if faults:
        raise ModelError.collect("computer", faults)
    sent = {message.block for message in sample.messages}
    for name, task in runs.items():
        ended = sum(job.status in ("done", "missed") for job in sample.of(task.name))
        if task.body is None or not ended or name in sample.writes or name in sent:
            continue
        what = "writes or sends" if name in sample.reads else "reads"
        warnings.warn(f"{name}: none of the {ended} jobs of task {task.name} in lane 0 {what} it, so it shows what it "
                      "began with", stacklevel=5)  # fmt: skip


def unfit(block: Block, conditional: bool) -> str:
    """Why no task can run a block; conditional: whether it is under a condition."""
    if block.methods("derivative"):
        return "it is continuous: no task runs a plant"
    if block.methods("hit"):
        return "it has times of its own (@hit)"
    if block.methods("edges"):
        return "it is a source with edges"
    if block.latency_ns:
        return f"it has latency={block.latency!r}, and its task gives it one"
    if conditional:
        return "it is enabled, triggered or reset by a condition"
    return ""
