"""Response times and schedulability without simulating: fixed priority, EDF, utilisation bounds, CAN.

Times are whole ns. Response times count from arrival, jitter included; None means that no bound exists.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from simdl.clock import nanoseconds
from simdl.computer.bus import CAN, transfer
from simdl.computer.policy import EDF, FixedPriority
from simdl.computer.task import Task
from simdl.computer.times import Distribution
from simdl.errors import ModelError

MOST = 20_000  # jobs of a busy period, and turns of its search


@dataclass(frozen=True)
class Demand:
    """What a task or a message asks for at most: cost in each period, from arrivals that are up to jitter late.

    blocking: how long less urgent tasks hold it up at most, with locks: see `blocked`.
    """

    name: str
    period: int
    cost: int
    deadline: int
    priority: int = 0
    jitter: int = 0
    blocking: int = 0


def demands(tasks: Sequence[Task]) -> list[Demand]:
    """The demands of the periodic tasks of one core; two context switches count for each job. At its first frequency.

    Periods and deadlines are in true time, of a clock that drifts too, and rounded down to whole ns. An execution time
    has to be bounded: a time, or a distribution that has a longest one; a budget with over="kill" bounds it. What a
    body does beside computing for its task's `execution` is not counted: no waiting for accelerators, locks or events.
    Raises ModelError for anything else, a body without `execution` among them.
    """
    found = []
    if len({place for task in tasks for place in _places(task)}) > 1 and all(len(task.cores) == 1 for task in tasks):
        raise ModelError("demands", "tasks of several cores", "those of one", "schedulable() takes them all")
    for task in tasks:
        clock = task.clock
        if clock is None or len(task.cores) != 1 or task.execution is None:
            what = "no period" if clock is None else "several cores" if len(task.cores) != 1 else "a body"
            raise ModelError(f"task {task.name}", what, "a periodic task of one core with an execution time",
                             "execution= says what a body computes at most")  # fmt: skip
        period = int(Fraction(clock.numerator, clock.denominator) / task.on.speed)
        switch = 2 * nanoseconds(task.on.context_switch)
        factor = task.on.frequencies[0].exact if task.on.frequencies else 1
        if task.budget is not None and task.over == "kill":
            limit = nanoseconds(task.budget)
            longest = _longest(task.execution)
            cost = switch + (limit if longest is None else min(limit, -(-longest // factor)))
        else:
            cost = -(-_largest(task, "execution") // factor) + switch
        assert task.deadline_ns is not None
        deadline = int(task.deadline_ns / task.on.speed)
        jitter = 0 if task.jitter is None else _largest(task, "jitter")
        found.append(Demand(task.name, period, cost, deadline, task.priority, jitter))
    return found


def _largest(task: Task, what: str) -> int:
    longest = _longest(getattr(task, what))
    if longest is None:
        raise ModelError(f"task {task.name}: {what}", f"{getattr(task, what)!r} has no known bound",
                         "a time, or a distribution with a longest one")  # fmt: skip
    return longest


def _longest(time: Any) -> int | None:
    if isinstance(time, Distribution):
        return time.longest
    return None if callable(time) or time is None else nanoseconds(time)


def _places(task: Task) -> list[tuple[int, int]]:
    return [(id(task.on), core) for core in task.cores]


def response_times(of: Sequence[Demand], preemptive: bool = True) -> dict[str, int | None]:
    """Worst-case response times under fixed priorities, any deadlines.

    Joseph & Pandya (1986); Audsley et al. (1993) with jitter; Tindell, Burns & Wellings (1994) for the busy period of
    deadlines beyond periods; without pre-emption George, Rivierre & Spuri (1996). Equal priorities interfere.
    """
    return {one.name: _response(one, of, preemptive) for one in of}


def _response(mine: Demand, of: Sequence[Demand], preemptive: bool) -> int | None:
    higher = [one for one in of if one is not mine and one.priority <= mine.priority]
    lower = [one.cost for one in of if one.priority > mine.priority]
    held = 0 if preemptive else max([0, *(cost - 1 for cost in lower)])  # it began 1 ns before
    blocking = max(held, mine.blocking)
    level = [*higher, mine]
    load = Fraction(sum(Fraction(one.cost, one.period) for one in level))
    if load > 1 or (load == 1 and (blocking or any(one.jitter for one in level))):
        return None
    busy = _fixed_point(blocking + mine.cost, lambda t: blocking + sum(_jobs(one, t) * one.cost for one in level))
    if _jobs(mine, busy) > MOST:
        raise _endless(f"more than {MOST} jobs of {mine.name}")
    worst = 0
    for q in range(_jobs(mine, busy)):
        if preemptive:
            begun = _fixed_point(blocking + (q + 1) * mine.cost, lambda t, q=q: blocking + (q + 1) * mine.cost + sum(
                _jobs(one, t) * one.cost for one in higher))  # fmt: skip
            end = begun
        else:
            begun = _fixed_point(blocking + q * mine.cost, lambda t, q=q: blocking + q * mine.cost + sum(
                ((t + one.jitter) // one.period + 1) * one.cost for one in higher))  # fmt: skip
            end = begun + mine.cost
        worst = max(worst, end + mine.jitter - q * mine.period)
    return worst


def blocked(of: Sequence[Demand], sections: Mapping[str, Mapping[str, int]], protocol: str) -> list[Demand]:
    """The demands with what locks add to them; sections: task -> lock -> its longest hold of that lock, ns.

    "ceiling" (immediate priority ceiling): one hold of a less urgent task, of a lock that this task or a more urgent
    one uses. "inheritance" (Sha, Rajkumar & Lehoczky 1990, for holds that are not nested): one for each less urgent
    task. Their other bound, one for each such lock, is of locks that are free until a job that waited runs: here a lock
    is handed over, and whoever has it may hold up a second section of the same job.
    """
    if protocol not in ("ceiling", "inheritance"):
        raise ModelError("blocked", f"protocol={protocol!r}", '"ceiling" or "inheritance"; without one no bound exists')
    unknown = sorted(set(sections) - {one.name for one in of})
    if unknown:
        raise ModelError("blocked", f"sections of {unknown[0]!r}", "a task", names=[one.name for one in of])
    return [replace(mine, blocking=_held_up(mine, of, sections, protocol)) for mine in of]


def _held_up(mine: Demand, of: Sequence[Demand], sections: Mapping[str, Mapping[str, int]], protocol: str) -> int:
    urgent = [one for one in of if one.priority <= mine.priority]
    locks = {lock for one in urgent for lock in sections.get(one.name, {})}
    holds = {(one.name, lock): ns for one in of if one.priority > mine.priority
             for lock, ns in sections.get(one.name, {}).items() if lock in locks}  # fmt: skip
    if protocol == "ceiling":
        return max(holds.values(), default=0)
    tasks = {task for task, _ in holds}
    return sum(max(ns for (task, _), ns in holds.items() if task == one) for one in tasks)


def _jobs(one: Demand, t: int) -> int:
    """The most jobs that arrive in an interval [0, t)."""
    return -(-(t + one.jitter) // one.period)


def _fixed_point(t: int, step: Callable[..., Any]) -> int:
    for _ in range(MOST):
        new = int(step(t))
        if new == t:
            return t
        t = new
    raise _endless(f"{t / 1e9:g} s and more")


def _endless(what: str) -> ModelError:
    return ModelError("analysis", f"a load so close to 1 that a busy period has {what}", "less load", "simulate it")


def edf_feasible(of: Sequence[Demand]) -> bool:
    """Processor demand of pre-emptive EDF (Baruah, Rosier & Howell 1990): demand(t) <= t at every deadline t."""
    load = sum(Fraction(one.cost, one.period) for one in of)
    if load > 1 or not of:
        return not of
    hyper = math.lcm(*(one.period for one in of))
    end = hyper + max(one.deadline for one in of)
    if load < 1:
        slack = sum((one.period + one.jitter - one.deadline) * Fraction(one.cost, one.period) for one in of)
        end = min(end, max(int(slack / (1 - load)) + 1, max(one.deadline for one in of)))
    points = sorted({t for one in of for t in range(one.deadline - one.jitter, end + 1, one.period)})
    return all(sum(_due(one, t) * one.cost for one in of) <= t for t in points)


def _due(one: Demand, t: int) -> int:
    return max(0, (t + one.jitter - one.deadline) // one.period + 1)


def utilisation(of: Sequence[Demand]) -> float:
    """The sum of cost over period."""
    return float(sum(Fraction(one.cost, one.period) for one in of))


def liu_layland(n: int) -> float:
    """n (2^(1/n) - 1): below it n tasks meet their periods under rate-monotonic priorities. Liu & Layland (1973)."""
    if n < 1:
        raise ModelError("liu_layland", f"{n!r} tasks", "at least one")
    return n * (2 ** (1 / n) - 1)


def hyperbolic(of: Sequence[Demand]) -> bool:
    """Bini & Buttazzo (2003): the product of (utilisation + 1) is at most 2, enough for rate-monotonic priorities."""
    return math.prod((Fraction(one.cost, one.period) + 1 for one in of), start=Fraction(1)) <= 2


def schedulable(tasks: Sequence[Task]) -> Mapping[str, bool]:
    """Whether each task meets its deadline, core by core, for pre-emptive EDF and fixed priorities of either kind.

    Raises ModelError for tasks that have no `demands`, those that may use several cores among them.
    """
    groups: dict[tuple[int, int], list[Task]] = {}
    for task in tasks:
        groups.setdefault(_places(task)[0], []).append(task)
    met = {name: fits for group in groups.values() for name, fits in _schedulable(group).items()}
    return {task.name: met[task.name] for task in tasks}


def _schedulable(tasks: Sequence[Task]) -> dict[str, bool]:
    of = demands(tasks)
    policy = tasks[0].on.policy
    if isinstance(policy, EDF) and policy.preemptive:
        fits = edf_feasible(of)
        return {one.name: fits for one in of}
    if not isinstance(policy, FixedPriority):
        raise ModelError(tasks[0].on.name, f"{policy!r}", "FixedPriority, or EDF with pre-emption")
    found = response_times(of, policy.preemptive)
    return {one.name: (worst := found[one.name]) is not None and worst <= one.deadline for one in of}


def can_response_times(bus: CAN, messages: Sequence[Demand]) -> dict[str, int | None]:
    """Worst-case response times of CAN messages; priority: the identifier; cost: the payload in bytes.

    The revised analysis of Davis, Burns, Bril & Lukkien (2007), Controller Area Network (CAN) schedulability analysis:
    refuted, revisited and revised, Real-Time Systems 35: the whole busy period is examined, and a message waits for one
    of lower priority that began before, and for all of higher priority queued before it begins, one bit time looked at.
    """
    bit = transfer(1, bus.rate)
    for m in messages:
        others = [one.name for one in messages if one is not m and one.priority == m.priority]
        if others:
            raise ModelError(f"can_response_times: {m.name}", f"identifier {m.priority}, as {', '.join(others)}",
                             "an identifier for each message", "Demand(..., priority=)")  # fmt: skip
    sized = [Demand(m.name, m.period, transfer(bus.frame(m.cost), bus.rate), m.deadline, m.priority, m.jitter)
             for m in messages]  # fmt: skip
    return {mine.name: _can(mine, sized, bit) for mine in sized}


def _can(mine: Demand, of: Sequence[Demand], bit: int) -> int | None:
    higher = [one for one in of if one.priority < mine.priority]
    level = [*higher, mine]
    blocking = max([0, *(one.cost for one in of if one.priority > mine.priority)])
    if sum(Fraction(one.cost, one.period) for one in level) >= 1:
        return None
    busy = _fixed_point(mine.cost, lambda t: blocking + sum(_jobs(one, t) * one.cost for one in level))
    worst = 0
    for q in range(_jobs(mine, busy)):
        waits = _fixed_point(blocking + q * mine.cost, lambda t, q=q: blocking + q * mine.cost + sum(
            -(-(t + one.jitter + bit) // one.period) * one.cost for one in higher))  # fmt: skip
        worst = max(worst, mine.jitter + waits - q * mine.period + mine.cost)
    return worst
