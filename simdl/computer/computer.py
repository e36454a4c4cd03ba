"""The computer: tasks, the processors, accelerators and buses they use, and the timelines of lanes."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

from simdl.clock import SECOND, Duration, nanoseconds
from simdl.computer.edge import Edge
from simdl.computer.fit import check_rates
from simdl.computer.kernel import Kernel
from simdl.computer.policy import Table
from simdl.computer.processor import Processor
from simdl.computer.schedule import Schedule
from simdl.computer.task import Degrade, Task
from simdl.diagram import Diagram
from simdl.errors import ModelError, SimdlError

Whole = TypeVar("Whole", bound=Diagram)


class Computer:
    """Tasks on processors. Raises ModelError with every fault of the description.

    live: what jobs read tells how they go on, or edges of signals release them, so that it runs beside the loop; see
    `on`. events: the names that bodies raise; where they are given, a task that another name triggers is refused.

    >>> from simdl.computer.policy import FixedPriority
    >>> cpu = Processor("cpu", policy=FixedPriority())
    >>> fast = Task("fast", cpu, period="4 ms", priority=1, execution="1 ms", runs=["controller"])
    >>> slow = Task("slow", cpu, period="12 ms", priority=2, execution="5 ms", runs=["planner"])
    >>> history = Computer([fast, slow]).schedule(until="12 ms")
    >>> history.accesses("planner")[1].tolist(), history.responses("slow").tolist()
    ([7000000], [7000000])
    """

    def __init__(self, tasks: Sequence[Task], live: bool = False, events: Sequence[str] | None = None) -> None:
        self.tasks, self.is_live = tuple(tasks), live
        self.events = None if events is None else tuple(events)
        self.processors: tuple[Processor, ...] = ()
        faults: list[SimdlError] = []
        found = {id(on): on for task in self.tasks if isinstance(on := getattr(task, "on", None), Processor)}
        self.processors = tuple(found.values())
        for task in self.tasks:
            faults.extend(task.faults() if isinstance(task, Task) else [ModelError("computer", f"{task!r}", "a Task")])
        if not self.tasks:
            faults.append(ModelError("computer", "no tasks", "at least one"))
        if not faults:
            faults = self._faults()
        if faults:
            raise ModelError.collect("computer", faults)
        self._random = any(task.random for task in self.tasks)

    def _faults(self) -> list[SimdlError]:
        faults: list[SimdlError] = []
        for what, names in (
            ("tasks", [task.name for task in self.tasks]),
            ("processors", [one.name for one in self.processors]),
            ("blocks", [name for task in self.tasks for name in task.runs]),
        ):
            for name in sorted({name for name in names if names.count(name) > 1}):
                by = [task.name for task in self.tasks for one in task.runs if one == name]
                twice = f"{name!r} is run by {' and '.join(by)}" if what == "blocks" else f"two {what} named {name!r}"
                faults.append(ModelError("computer", twice, "one task" if what == "blocks" else "different names"))
        known = {*(task.name for task in self.tasks), *(name for task in self.tasks for name in task.runs)}
        known |= set(self.events or ())
        silent = all(task.body is None or getattr(task.body, "raises", None) == () for task in self.tasks)
        told = self.events is not None or silent
        for task in self.tasks:
            if told and isinstance(task.trigger, str) and task.trigger not in known:
                faults.append(ModelError(f"task {task.name}: trigger", f"no task, block or event {task.trigger!r}",
                                         "one that happens", "Computer(tasks, events=[...]) names what bodies raise",
                                         names=sorted(known), wrong=task.trigger))  # fmt: skip
        wrong = {processor.name: found for processor in self.processors if (found := processor.faults())}
        faults += [fault for found in wrong.values() for fault in found]
        for task in self.tasks:
            policy = task.on.policy
            if type(policy).__name__ == "EDF" and task.deadline_ns is None:
                faults.append(ModelError(f"task {task.name}: deadline", "none, under EDF", "deadline="))
            if isinstance(policy, Table) and task.on.name not in wrong:
                mine = [core for _, _, name, core in policy.windows() if name == task.name]
                if not mine:
                    faults.append(ModelError(f"task {task.name}", "no slot in the table", "a slot",
                                             names=sorted({slot[2] for slot in policy.slots})))  # fmt: skip
                if set(mine) - set(task.cores):
                    faults.append(ModelError(f"task {task.name}: affinity", f"{task.affinity!r}, and a slot on core "
                                             f"{min(set(mine) - set(task.cores))}", "slots on its cores"))  # fmt: skip
            if (task.late == "kill" or task.late == "keep old") and task.deadline_ns is None:
                faults.append(ModelError(f"task {task.name}: late", f"{task.late!r} without a deadline", "deadline="))
        for processor in self.processors:
            names = [task.name for task in self.tasks if task.on is processor]
            table = processor.policy
            for slot in table.slots if isinstance(table, Table) and processor.name not in wrong else ():
                if slot[2] not in names:
                    faults.append(ModelError(f"{processor.name}: the slot {tuple(slot)}", f"no task {slot[2]!r} on it",
                                             "a task", names=names, wrong=str(slot[2])))  # fmt: skip
        return faults or (self._idle() if told else [])

    def _idle(self) -> list[SimdlError]:
        """Tasks that wait for one another only: none of them is ever released."""
        begun = {task.name for task in self.tasks if not isinstance(task.trigger, str)} | set(self.events or ())
        while True:
            on = {task.name for task in self.tasks if task.trigger in begun} - begun
            blocks = {block for task in self.tasks if task.name in begun for block in task.runs} - begun
            if not on | blocks:
                break
            begun |= on | blocks
        return [ModelError(f"task {task.name}: trigger", f"{task.trigger!r}, which nothing that has a time of its own "
                           "leads to", "period, rate, arrivals or an Edge at the beginning of such a chain")
                for task in self.tasks if task.name not in begun]  # fmt: skip

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The edges of signals that release jobs."""
        return tuple(dict.fromkeys(task.trigger for task in self.tasks if isinstance(task.trigger, Edge)))

    @property
    def deterministic(self) -> bool:
        """Whether all lanes have one schedule, as far as can be told: no distribution, function or body."""
        return not self._random

    def schedule(self, until: Duration, seed: int = 0, lane: int = 0) -> Schedule:
        """The timeline of a lane from 0 to `until`, the instant itself included."""
        end = nanoseconds(until, "until")
        if end <= 0:
            raise ModelError("schedule: until", f"{until!r}", "a positive time")
        if self.edges:
            raise ModelError("computer", f"jobs released by the {self.edges[0]}, which only the loop can tell",
                             "times known before", "Computer(tasks, live=True).on(diagram)")  # fmt: skip
        collecting = gc.isenabled()
        gc.disable()  # all that is made stays: looking through it again and again costs two thirds of the time
        try:
            kernel = Kernel(self, seed, lane)
            kernel.run(end)
            return kernel.schedule(end)
        finally:
            if collecting:
                gc.enable()

    def live(self, seed: int = 0, lane: int = 0, log: Sequence[tuple[Any, ...]] = ()) -> Kernel:
        """A kernel that is told values as it goes; log: of an earlier one, to be brought to where that was."""
        kernel = Kernel(self, seed, lane, live=True)
        kernel.replay(list(log))
        return kernel

    def task(self, name: str) -> str:
        """The name of the task that runs what is named."""
        return next((task.name for task in self.tasks if name in task.runs), "")

    @property
    def instead(self) -> dict[str, dict[int, str]]:
        """A block that tasks run -> the variant of a job -> the block that it runs instead."""
        found: dict[str, dict[int, str]] = {}
        for task in self.tasks:
            for variant, policy in ((1, task.late), (2, task.over)):
                for path, other in policy.instead.items() if isinstance(policy, Degrade) else ():
                    found.setdefault(path, {})[variant] = other
        return found

    def placed(self) -> Mapping[str, tuple[float, float]]:
        """What tasks run -> drift and offset (s) of the clock of its processor."""
        clocks = {id(p): (float(p.speed - 1), nanoseconds(p.offset) / SECOND) for p in self.processors}
        return {name: clocks[id(task.on)] for task in self.tasks for name in task.runs}

    def on(
        self, diagram: Whole, horizon: Duration | None = None, most: int | None = None, pending: int | None = None,
        live: bool | None = None, signals: bool = False,
    ) -> Whole:  # fmt: skip
        """A copy of a diagram whose blocks that tasks run keep the times of their jobs.

        The times are computed to `horizon` before a lane runs, and both engines replay them; see `coupling.place`.
        A live computer instead runs beside every lane, so that bodies get what they read (`value = yield
        Read("detector")`) and may decide by it: early exit, event-triggered control. What a job reads is told to it 1
        ns later, which shifts only what takes no time. Lanes go in lock step, in the torch engine, without a horizon.
        live: otherwise than the computer says. signals: a block `<task>_task` for each task has its state, response
        time and missed deadlines as outputs, for requirements and plots; not in live mode.
        """
        from simdl.compile import compile_model
        from simdl.computer.coupling import place, place_live

        check_rates(self.tasks, compile_model(diagram))
        if self.is_live if live is None else live:
            if signals:
                raise ModelError("Computer.on", "signals=True, and a live computer", "times known before",
                                 "schedule_of(diagram, lane, seed) after a run")  # fmt: skip
            return place_live(diagram, self, pending or 8)
        if horizon is None:
            raise ModelError("Computer.on", "no horizon", "how long the loop can run", 'on(diagram, horizon="10 s")')
        made = place(diagram, InNanoseconds(self), horizon, most, pending, self.instead)
        if signals:
            from simdl.computer.signals import observe

            observe(made, self, nanoseconds(horizon, "horizon"), most)
            compile_model(made)
        return made


@dataclass(frozen=True)
class InNanoseconds:
    """A computer as a diagram's scheduler: `until` is a count of ns."""

    computer: Computer

    @property
    def deterministic(self) -> bool:
        return self.computer.deterministic

    def schedule(self, until: int, seed: int = 0, lane: int = 0) -> Schedule:
        return self.computer.schedule(Fraction(until, SECOND), seed, lane)

    def under_way(self, name: str) -> int:
        """One for a task that reads, computes and writes in turn; more where it has instances, or sends messages."""
        task = next(task for task in self.computer.tasks if name in task.runs)
        return 1 if task.body is None and task.instances == 1 else max(8, task.instances + 1)

    def placed(self) -> Mapping[str, tuple[float, float]]:
        return self.computer.placed()

    def task(self, name: str) -> str:
        return self.computer.task(name)
