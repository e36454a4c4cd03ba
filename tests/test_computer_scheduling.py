"""Processors: schedules equal to an independent one computed nanosecond by nanosecond, and to published task sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from simdl.computer import (
    EDF,
    Compute,
    Computer,
    FixedPriority,
    Keyed,
    Processor,
    RoundRobin,
    Sleep,
    Table,
    Task,
)
from simdl.errors import ModelError


def ns(value: int) -> str:
    return f"{value} ns"


def brute(tasks: list[tuple[int, int, int, int]], policy: str, preemptive: bool, horizon: int) -> dict[Any, int]:
    """Ends of jobs, by looking at every nanosecond. Tasks are (offset, period, execution, deadline)."""
    ends: dict[Any, int] = {}
    queues: list[list[list[int]]] = [[] for _ in tasks]  # each job: index, arrival, left
    running = None
    for now in range(horizon + 1):
        for i, queue in enumerate(queues):  # what has been finished by now
            if queue and queue[0][2] == 0:
                ends[i, queue.pop(0)[0]] = now
                running = None if running == i else running
        for i, (offset, period, execution, _) in enumerate(tasks):
            if now >= offset and (now - offset) % period == 0:
                queues[i].append([(now - offset) // period, now, execution])
        ready = [i for i, queue in enumerate(queues) if queue]
        if ready and (preemptive or running is None):

            def key(i: int, running: Any = running) -> tuple[int, ...]:
                head = queues[i][0]
                first = i // 2 if policy == "FP" else head[1] + tasks[i][3]  # two tasks share each priority
                released = max(head[1], ends.get((i, head[0] - 1), 0))
                return (first, i != running, released, i)

            running = min(ready, key=key)
        if running is not None:
            queues[running][0][2] -= 1
    return ends


task_sets = st.lists(
    st.integers(2, 12).flatmap(
        lambda period: st.tuples(
            st.integers(0, period - 1), st.just(period), st.integers(1, 5), st.integers(1, 2 * period)
        )
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(task_sets, st.sampled_from(["FP", "EDF"]), st.booleans())
def test_schedules_equal_one_made_nanosecond_by_nanosecond(sets, policy, preemptive):
    kind = FixedPriority if policy == "FP" else EDF
    cpu = Processor("cpu", policy=kind(preemptive=preemptive))
    tasks = [
        Task(f"t{i}", cpu, period=ns(p), offset=ns(o), priority=i // 2, execution=ns(c), deadline=ns(d))
        for i, (o, p, c, d) in enumerate(sets)
    ]
    history = Computer(tasks).schedule("60 ns")
    found = {(int(j.task.name[1:]), j.index): j.end for j in history.jobs if j.end is not None}
    assert found == brute(sets, policy, preemptive, 60)
    parts = [part for part in history.cores["cpu"] if part[2] > part[1]]
    assert all(a[2] <= b[1] for a, b in zip(parts, parts[1:]))  # one at a time
    assert all(job.used == sets[int(job.task.name[1:])][2] for job in history.jobs if job.end is not None)


# Period, execution, response by rate-monotonic analysis. Burns & Wellings, Real-Time Systems and Programming Languages,
# the examples of response-time analysis; Joseph & Pandya (1986) give the equation.
BURNS_WELLINGS = [(7, 3, 3), (12, 3, 6), (20, 5, 20)]
BURNS_WELLINGS_FULL = [(20, 5, 5), (40, 10, 15), (80, 40, 80)]


@pytest.mark.parametrize("published", [BURNS_WELLINGS, BURNS_WELLINGS_FULL])
def test_the_critical_instant_gives_published_response_times(published):
    cpu = Processor("cpu")
    tasks = [
        Task(f"t{i}", cpu, period=f"{t} ms", priority=i, execution=f"{c} ms") for i, (t, c, _) in enumerate(published)
    ]
    history = Computer(tasks).schedule("1680 ms")
    assert [history.responses(task.name).max() // 10**6 for task in tasks] == [r for *_, r in published]
    assert all(history.miss_ratio(task.name) == 0 for task in tasks)


def test_edf_meets_all_deadlines_where_rate_monotonic_misses():
    """Liu & Layland (1973): full utilisation is feasible for EDF; 2/5 + 4/7 = 0.971 is above the bound for two."""
    for policy, misses in ((EDF(), 0.0), (FixedPriority(), None)):
        cpu = Processor("cpu", policy=policy)
        tasks = [
            Task("a", cpu, period="5 ms", priority=1, execution="2 ms"),
            Task("b", cpu, period="7 ms", priority=2, execution="4 ms"),
        ]
        ratio = Computer(tasks).schedule("350 ms").miss_ratio("b")
        assert ratio == misses if misses is not None else ratio > 0


def test_a_resumed_job_pays_for_a_context_switch_again():
    cpu = Processor("cpu", context_switch="10 ns")
    tasks = [
        Task("low", cpu, arrivals=["0 ns"], priority=2, execution="100 ns"),
        Task("high", cpu, arrivals=["50 ns"], priority=1, execution="20 ns"),
    ]
    history = Computer(tasks).schedule("1 us")
    assert history.of("high")[0].start == 60 and history.of("high")[0].end == 80
    assert history.of("low")[0].end == 10 + 40 + 10 + 20 + 10 + 60  # switch, run, the other one, switch, run
    assert [part[1:] for part in history.cores["cpu"] if part[0] is None] == [(0, 10), (50, 60), (80, 90)]


def test_round_robin_shares_a_core_in_quanta():
    cpu = Processor("cpu", policy=RoundRobin(quantum="2 ns"))
    tasks = [Task(name, cpu, arrivals=["0 ns"], execution=ns(c)) for name, c in (("a", 5), ("b", 3), ("c", 2))]
    history = Computer(tasks).schedule("20 ns")
    turns = [(job.task.name, begin, end) for job, begin, end in history.cores["cpu"]]
    assert turns == [("a", 0, 2), ("b", 2, 4), ("c", 4, 6), ("a", 6, 8), ("b", 8, 9), ("a", 9, 10)]


def test_a_table_lets_a_task_run_in_its_slots_alone():
    table = Table(slots=[("0 ms", "2 ms", "a"), ("2 ms", "5 ms", "b")], cycle="10 ms")
    cpu = Processor("cpu", policy=table)
    tasks = [
        Task("a", cpu, period="10 ms", execution="3 ms"),
        Task("b", cpu, period="10 ms", offset="1 ms", execution="2 ms"),
    ]
    history = Computer(tasks).schedule("25 ms")
    assert [job.end for job in history.of("b")][:2] == [4_000_000, 14_000_000]
    assert history.of("a")[0].end == 11_000_000  # 2 ms in the first cycle, 1 ms in the second


def test_any_function_of_a_job_is_a_policy():
    cpu = Processor("cpu", policy=Keyed(function=lambda job: -job.task.priority))
    tasks = [Task(f"t{p}", cpu, arrivals=["0 ns"], priority=p, execution="1 ns") for p in range(3)]
    history = Computer(tasks).schedule("10 ns")
    assert [history.of(f"t{p}")[0].end for p in range(3)] == [3, 2, 1]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3), st.lists(st.tuples(st.integers(0, 9), st.integers(1, 6)), min_size=1, max_size=7))
def test_global_cores_run_the_most_urgent_jobs(cores, jobs):
    """At every nanosecond the jobs that run are the `cores` most urgent ones of those there."""
    cpu = Processor("cpu", cores=cores)
    tasks = [Task(f"t{i}", cpu, arrivals=[ns(a)], priority=i, execution=ns(c)) for i, (a, c) in enumerate(jobs)]
    history = Computer(tasks).schedule("100 ns")
    left = dict(enumerate(c for _, c in jobs))
    for now in range(60):
        expected = [i for i, (a, _) in enumerate(jobs) if a <= now and left[i]][:cores]
        running = sorted(j.task.priority for parts in history.cores.values() for j, a, b in parts if a <= now < b)
        assert running == expected
        for i in expected:
            left[i] -= 1


def test_affinity_keeps_tasks_on_their_cores():
    cpu = Processor("cpu", cores=2)
    tasks = [
        Task("a", cpu, arrivals=["0 ns"], priority=1, execution="5 ns", affinity=1),
        Task("b", cpu, arrivals=["0 ns"], priority=2, execution="5 ns", affinity=1),
        Task("c", cpu, arrivals=["0 ns"], priority=3, execution="5 ns"),
    ]
    history = Computer(tasks).schedule("20 ns")
    assert [history.of(name)[0].end for name in "abc"] == [5, 10, 5]
    assert {job.task.name for job, *_ in history.cores["cpu[1]"]} == {"a", "b"}


def test_a_sleeping_job_leaves_its_core():
    def body(job):
        yield Compute("1 ns")
        yield Sleep("5 ns")
        yield Compute("1 ns")

    cpu = Processor("cpu")
    tasks = [
        Task("a", cpu, arrivals=["0 ns"], priority=1, body=body),
        Task("b", cpu, arrivals=["0 ns"], priority=2, execution="10 ns"),
    ]
    history = Computer(tasks).schedule("30 ns")
    assert history.of("a")[0].end == 7 and history.of("b")[0].end == 12


def test_releases_follow_a_clock_that_drifts():
    cpu = Processor("cpu", drift=50e-6, offset="1 ms")
    history = Computer([Task("a", cpu, period="10 ms", execution="1 us", runs=["x"])]).schedule("10 s")
    reads = history.accesses("x")[0]
    k = np.arange(1, len(reads) + 1, dtype=object)
    exact = [-((-(10**7 * int(one) - 10**6) * 20000) // 20001) for one in k]  # (10 ms k - 1 ms) / 1.00005, rounded up
    assert reads.tolist() == exact
    assert all(cpu.local(int(t)) == 10**7 * int(one) for t, one in zip(reads, k))


@given(st.integers(-(10**6), 10**6), st.integers(0, 10**15), st.integers(-10**9, 10**9))
def test_true_is_the_first_time_a_clock_shows(ppb, at, offset):
    from fractions import Fraction

    clock = Processor("cpu", drift=Fraction(ppb, 10**9), offset=Fraction(offset, 10**9))
    shown = clock.local(at)
    first = clock.true(shown)
    assert clock.local(first) >= shown > clock.local(first - 1) and first <= at


def test_all_faults_are_named_at_once():
    cpu = Processor("cpu", policy=EDF(), drift=3.0)
    with pytest.raises(ModelError) as caught:
        Computer([
            Task("a", cpu, period="10 ms", rate=3, execution="1 ms", affinity=4, late="never"),
            Task("b", cpu, period="-1 ms"),
        ])  # fmt: skip
    text = str(caught.value)
    for part in ("task a: release", "task a: affinity", "task a: late", "task b: execution", "period of"):
        assert part in text
    with pytest.raises(ModelError) as caught:
        Computer([
            Task("a", cpu, trigger="b", execution="1 ms", runs=["x"]),
            Task("a", cpu, period="1 ms", execution="1 ms", runs=["x"]),
        ])  # fmt: skip
    for part in ("two tasks named 'a'", "'x' is run by a and a", "drift=3.0", "task a: deadline: none"):
        assert part in str(caught.value)
