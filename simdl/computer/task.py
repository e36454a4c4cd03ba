"""Tasks: what releases their jobs, what the jobs do, and what happens when they are late."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from simdl.clock import Clock, Duration, clock, nanoseconds
from simdl.computer.edge import Edge
from simdl.computer.instructions import Compute, Read, Write
from simdl.computer.processor import Processor
from simdl.computer.raised import raised
from simdl.computer.times import Distribution
from simdl.errors import LaneError, ModelError, SimdlError

if TYPE_CHECKING:
    from simdl.computer.instructions import Answer, Instruction, Time
    from simdl.computer.job import Job

    Body = Callable[[Job], Iterator[Instruction] | Any]

LATE = ("run on", "skip next", "kill", "keep old")


@dataclass(frozen=True)
class Degrade:
    """After a late job, or one over its budget, jobs take this execution time until `recover` in a row were in time.

    instead: path of a block that the task runs -> the cheaper block of the diagram that these jobs run in its place,
    such as {"controller": "small"}. It has the same outputs and inputs of its own, and the outputs of `controller` show
    what it computed. Without it the same block is run, in less time. Of the two only the one that a job runs takes a
    step: the states of the other, and its outputs, stay.
    """

    execution: Any
    recover: int = 1
    instead: Mapping[str, str] = field(default_factory=dict)

    def faults(self, where: str) -> list[SimdlError]:
        """What is wrong with it."""
        found: list[SimdlError] = []
        if not isinstance(self.recover, int) or self.recover < 1:
            found.append(ModelError(f"{where}: recover", f"{self.recover!r}", "a whole number, at least 1"))
        try:
            fixed = not isinstance(self.execution, Distribution) and not callable(self.execution)
            if fixed and nanoseconds(self.execution, f"{where}: execution") < 0:
                found.append(ModelError(f"{where}: execution", f"{self.execution!r}", "at least 0"))
        except SimdlError as fault:
            found.append(fault)
        named = isinstance(self.instead, Mapping)
        if not named or not all(isinstance(one, str) for pair in self.instead.items() for one in pair):
            found.append(ModelError(f"{where}: instead", f"{self.instead!r}", "paths of blocks by the path of another",
                                    'instead={"controller": "small"}'))  # fmt: skip
        return found


@dataclass(frozen=True)
class Task:
    """A task, run on a processor.

    Released by one of: period= or rate= (from offset= on, in the processor's local time); arrivals= (times, or a
    distribution of the gaps between them); trigger= (the name of a task, at the end of its jobs, of a block whose
    message arrives, or of an event raised in a body or from outside; in live mode also an `Edge` of a signal). jitter:
    a distribution or the largest delay of a release. Jobs of a task run one after the other; instances= lets so many
    be under way at once.

    execution: a time, a distribution, or a function of the job. body: a generator function of the job that yields
    instructions; without one a job reads at its start, computes, and writes at its end what it `runs`: blocks or
    diagrams by path. deadline: after arrival; the period by default. budget: of core time.
    late, over: what happens to a job that misses its deadline or uses up its budget:
      "run on"     it ends late and is counted
      "skip next"  as "run on"; jobs that arrive before it has ended are left out
      "kill"       it stops at once and shows nothing
      "keep old"   it ends, and shows nothing after that instant
      Degrade(…)   as "run on"; then a cheaper variant
    priority: the smaller number is the more urgent. affinity: the core or cores it may use; all by default. Cores go to
    jobs by urgency, the last core of a job or the first idle one: a job does not move to make room for a less urgent
    one of fewer cores.
    """

    name: str
    on: Processor
    period: Duration | None = None
    rate: Duration | None = None
    arrivals: Sequence[Duration] | Distribution | None = None
    trigger: str | Edge | None = None
    offset: Duration = 0
    jitter: Duration | Distribution | None = None
    priority: int = 0
    execution: Time | None = None
    body: Body | None = None
    runs: Sequence[str] = ()
    deadline: Duration | None = None
    budget: Duration | None = None
    late: str | Degrade = "run on"
    over: str | Degrade = "run on"
    affinity: int | Sequence[int] | None = None
    instances: int = 1

    @property
    def clock(self) -> Clock | None:
        """The clock of its releases, in local time."""
        made = clock(self.period, self.rate, where=self.name)
        return Clock(made.numerator, made.denominator, nanoseconds(self.offset)) if made else None

    @property
    def deadline_ns(self) -> int | None:
        if self.deadline is not None:
            return nanoseconds(self.deadline, f"{self.name}: deadline")
        made = self.clock
        return int(Fraction(made.numerator, made.denominator)) if made else None

    @property
    def cores(self) -> tuple[int, ...]:
        if self.affinity is None:
            return tuple(range(self.on.cores))
        return (self.affinity,) if isinstance(self.affinity, int) else tuple(self.affinity)

    def run(self, name: str) -> str:
        """What it runs that a name to read means: itself, or the block of an output."""
        return name if name in self.runs else next((one for one in self.runs if name.startswith(f"{one}.")), name)

    @property
    def random(self) -> bool:
        """Whether lanes differ, as far as it can be told without running the body."""
        parts = (self.execution, self.jitter, self.arrivals)
        degraded = [p.execution for p in (self.late, self.over) if isinstance(p, Degrade)]
        return self.body is not None or any(isinstance(p, Distribution) or callable(p) for p in (*parts, *degraded))

    def faults(self) -> list[SimdlError]:
        """Everything wrong with it alone."""
        found: list[SimdlError] = []
        where = f"task {self.name}"

        def say(what: str, text: str, expected: str = "", fix: str = "") -> None:
            found.append(ModelError(f"{where}: {what}", text, expected, fix))

        if not isinstance(self.on, Processor):
            say("on", f"{self.on!r}", "a Processor")
            return found
        if not isinstance(self.name, str) or not self.name:
            say("name", f"{self.name!r}", "a name")
            return found
        if not isinstance(self.priority, Real) or isinstance(self.priority, bool) or self.priority != self.priority:
            say("priority", f"{self.priority!r}", "a number, the smaller the more urgent")
        ways = [n for n in ("period", "rate", "arrivals", "trigger") if getattr(self, n) is not None]
        if len(ways) != 1:
            say("release", f"{' and '.join(ways) or 'nothing'} given", "one of period, rate, arrivals, trigger")
        if (self.execution is None) == (self.body is None) and self.body is None:
            say("execution", "neither execution nor body", "one of them, or both")
        if isinstance(self.trigger, Edge):
            found += self.trigger.faults(f"{where}: trigger")
        elif self.trigger is not None and not isinstance(self.trigger, str):
            say("trigger", f"{self.trigger!r}", "a name, or an Edge")
        if isinstance(self.runs, str):
            say("runs", f"{self.runs!r}", f"a list: [{self.runs!r}]")
        for one in self.runs:
            if not isinstance(one, str):
                say("runs", f"{one!r}", 'the path of a block, as text: ["controller"]')
        if self.over != "run on" and self.budget is None:
            say("over", f"{self.over!r} without a budget", "budget=")
        if self.late != "run on" and self.deadline is None and self.period is None and self.rate is None:
            say("late", f"{self.late!r} without a deadline", "deadline=")
        for what in ("late", "over"):
            policy = getattr(self, what)
            if policy not in LATE and not isinstance(policy, Degrade):
                say(what, f"{policy!r}", f"{', '.join(map(repr, LATE))} or Degrade(...)")
            if isinstance(policy, Degrade):
                wrong = policy.faults(f"{where}: {what}")
                found += wrong
                for one in () if wrong else policy.instead:
                    if self.run(one) not in self.runs and not any(one.startswith(f"{name}.") for name in self.runs):
                        found.append(ModelError(f"{where}: {what}: instead", f"{one!r}, which it does not run",
                                                "what the task runs", names=list(self.runs), wrong=one))  # fmt: skip
        counted = isinstance(self.on.cores, int) and self.on.cores > 0  # otherwise the processor says so
        if counted and (not self.cores or not all(isinstance(c, int) and 0 <= c < self.on.cores for c in self.cores)):
            say("affinity", f"{self.affinity!r}", f"cores 0 to {self.on.cores - 1} of {self.on.name!r}")
        if not isinstance(self.instances, int) or self.instances < 1:
            say("instances", f"{self.instances!r}", "a whole number, at least 1")
        for what, least in (("offset", 0), ("deadline", 1), ("budget", 1), ("execution", 0), ("jitter", 0)):
            value = getattr(self, what)
            if type(value).__module__ == "simdl.space":
                say(what, f"{value!r} draws parameters", "a time, or a distribution of durations",
                    f"simdl.computer.{type(value).__name__}, if there is one")  # fmt: skip
            elif value is not None and not isinstance(value, Distribution) and not callable(value):
                try:
                    if nanoseconds(value, f"{where}: {what}") < least:
                        say(what, f"{value!r}", f"at least {least} ns")
                except SimdlError as fault:
                    found.append(fault)
        try:
            _ = self.clock
            if self.arrivals is not None and not isinstance(self.arrivals, Distribution):
                times = np.array([nanoseconds(t, f"{where}: arrivals") for t in self.arrivals], dtype=np.int64)
                if bool((np.diff(times) < 0).any() or (times < 0).any()):
                    say("arrivals", "times that go back, or are below 0", "times in order")
        except SimdlError as fault:
            found.append(fault)
        return found


def plain(job: Job) -> Iterator[Instruction]:
    """The body of a task that has none: read, compute, write."""
    runs = job.task.runs
    if runs:
        yield Read(*runs)
    yield Compute()
    if runs:
        yield Write(*runs)


def resume(job: Job, answer: Answer) -> Instruction | None:
    """The next instruction of a job, or None at its end."""
    try:
        found: Instruction | None = job.body.send(answer if answer is None or _told(job.body) else None)
    except StopIteration:
        return None
    except SimdlError:
        raise
    except Exception as error:
        raise raised(job.where, "its body", error, f"at {job.now} ns", "catch it in the body") from error
    if found is None:
        raise LaneError(job.where, f"its body yields None, at {job.now} ns", "an instruction, such as Compute()")
    return found


def _told(body: Any) -> bool:
    """Whether a body can be told a value: not where it yields from a tuple or a list."""
    inner = body
    while (further := getattr(inner, "gi_yieldfrom", None)) is not None:
        inner = further
    return hasattr(inner, "send")
