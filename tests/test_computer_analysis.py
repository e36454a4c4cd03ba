"""Response-time analysis: published examples, and simulation from the critical instant reaches exactly the bound."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from simdl.computer import CAN, EDF, Compute, Computer, FixedPriority, Processor, Read, Send, Task, Uniform
from simdl.computer.analysis import (
    Demand,
    can_response_times,
    demands,
    edf_feasible,
    hyperbolic,
    liu_layland,
    response_times,
    schedulable,
    utilisation,
)
from simdl.errors import ModelError

MS = 1_000_000

def test_published_response_times_of_fixed_priorities():
    """Burns & Wellings: (7, 3), (12, 3), (20, 5) gives 3, 6, 20; (20, 5), (40, 10), (80, 40) gives 5, 15, 80."""
    for rows, expected in (
        (((7, 3), (12, 3), (20, 5)), [3, 6, 20]),
        (((20, 5), (40, 10), (80, 40)), [5, 15, 80]),
    ):
        found = response_times([Demand(f"t{i}", t, c, t, i) for i, (t, c) in enumerate(rows)])
        assert list(found.values()) == expected


def test_a_later_job_of_a_busy_period_can_be_the_worst():
    """Lehoczky (1990): (70, 26) and (100, 62): responses of the second are 114, 102, 116, 104, 118, 106, 94."""
    found = response_times([Demand("a", 70, 26, 70, 1), Demand("b", 100, 62, 120, 2)])
    assert found == {"a": 26, "b": 118}
    cpu = Processor("cpu")
    history = Computer([
        Task("a", cpu, period="70 ns", priority=1, execution="26 ns"),
        Task("b", cpu, period="100 ns", priority=2, execution="62 ns", deadline="120 ns"),
    ]).schedule("700 ns")  # fmt: skip
    assert history.responses("b").tolist() == [114, 102, 116, 104, 118, 106, 94]


sets = st.lists(st.tuples(st.integers(4, 20), st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=4)


@settings(max_examples=100, deadline=None)
@given(sets, st.booleans())
def test_no_response_in_simulation_is_beyond_the_bound(rows, preemptive):
    cpu = Processor("cpu", policy=FixedPriority(preemptive=preemptive))
    tasks = [
        Task(f"t{i}", cpu, period=f"{t} ns", priority=i, execution=f"{c} ns", jitter=Uniform("0 ns", f"{j} ns"))
        for i, (t, c, j) in enumerate(rows)
    ]
    bounds = response_times(demands(tasks), preemptive)
    history = Computer(tasks).schedule("2000 ns", seed=5)
    for task in tasks:
        bound = bounds[task.name]
        assert bound is None or history.responses(task.name).max(initial=0) <= bound


@settings(max_examples=100, deadline=None)
@given(sets)
def test_without_jitter_the_critical_instant_reaches_the_bound(rows):
    cpu = Processor("cpu")
    tasks = [Task(f"t{i}", cpu, period=f"{t} ns", priority=i, execution=f"{c} ns") for i, (t, c, _) in enumerate(rows)]
    bounds = response_times(demands(tasks))
    history = Computer(tasks).schedule("30 us" if sum(c / t for t, c, _ in rows) > 0.98 else "5 us")
    for task in tasks:
        if bounds[task.name] is not None:
            assert history.responses(task.name).max() == bounds[task.name]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([4, 5, 6, 8, 10, 12]), st.integers(1, 4), st.integers(2, 15)),
                min_size=1, max_size=4))  # fmt: skip
def test_processor_demand_tells_whether_edf_misses(rows):
    """From the synchronous start, with all offsets 0, EDF misses a deadline within two hyperperiods or never."""
    cpu = Processor("cpu", policy=EDF())
    tasks = [
        Task(f"t{i}", cpu, period=f"{t} ns", execution=f"{c} ns", deadline=f"{d} ns")
        for i, (t, c, d) in enumerate(rows)
    ]
    history = Computer(tasks).schedule("400 ns")
    missed = any(
        job.deadline <= 400 and (job.end is None or job.end > job.deadline) for job in history.jobs
    )  # fmt: skip
    assert edf_feasible(demands(tasks)) == (not missed)


def test_a_job_blocked_without_preemption_waits_for_one_that_just_began():
    found = response_times([Demand("a", 10, 2, 10, 1), Demand("b", 20, 5, 20, 2)], preemptive=False)
    assert found["a"] == 4 + 2


def test_can_responses_of_the_refuted_example():
    """Davis et al. (2007), table 2: A, B, C of 125 bits at 125 kbit/s, periods 2.5, 3.5, 3.5 ms: 2, 3 and 3.5 ms.

    The analysis that they refute gives 3.0 ms for C, whose second instance is the worst."""
    bus = CAN("can", rate=125_000)
    rows = [("A", 2.5, 2.5, 1), ("B", 3.5, 3.25, 2), ("C", 3.5, 3.25, 3)]
    messages = [Demand(n, int(t * 1e6), 7, int(d * 1e6), p) for n, t, d, p in rows]  # 7 bytes: 125 bits
    assert bus.frame(7) == 125
    found = can_response_times(bus, messages)
    assert found == {"A": 2_000_000, "B": 3_000_000, "C": 3_500_000}

    def sender(name, identifier):
        def body(job):
            yield Read(name)
            yield Compute("0 ns")
            yield Send(bus, name, bits=56, identifier=identifier)

        return body

    nodes = [Processor(name) for name in "ABC"]
    tasks = [Task(n, cpu, period=f"{t} ms", body=sender(n, p)) for (n, t, _, p), cpu in zip(rows, nodes)]
    history = Computer(tasks).schedule("35 ms")
    seen = {n: max(m.end - m.sent for m in history.messages if m.block == n and m.end) for n in "ABC"}
    assert seen["C"] == 3_500_000 and all(seen[n] <= found[n] for n in "AB")


def test_utilisation_bounds():
    assert liu_layland(1) == 1 and liu_layland(2) == pytest.approx(0.8284271247)
    half = [Demand("a", 10, 5, 10), Demand("b", 30, 10, 30)]
    assert utilisation(half) == pytest.approx(5 / 6) and hyperbolic(half)
    assert not hyperbolic([Demand("a", 10, 5, 10), Demand("b", 10, 4, 10)])


def test_what_has_no_bound_is_refused():
    cpu = Processor("cpu")
    with pytest.raises(ModelError, match="no known bound"):
        demands([Task("a", cpu, period="1 ms", execution=lambda job: 0.001)])
    tasks = [Task("a", cpu, period="5 ms", priority=1, execution="2 ms"),
             Task("b", cpu, period="7 ms", priority=2, execution="4 ms")]  # fmt: skip
    assert schedulable(tasks) == {"a": True, "b": False}


def test_messages_of_one_identifier_are_refused():
    """On a bus they would collide; a bound that ignored each of the others would be unsafe."""
    same = [Demand(name, 5 * MS, 8, 5 * MS) for name in "ab"]
    with pytest.raises(ModelError, match="a: identifier 0, as b"):
        can_response_times(CAN("can"), same)


def test_a_busy_period_without_end_is_named():
    near = [Demand("a", 9_999_997, 4_999_998, 9_999_997), Demand("b", 10_000_003, 5_000_001, 10_000_003, priority=1)]
    assert 0.9999 < utilisation(near) < 1
    with pytest.raises(ModelError, match="a load so close to 1"):
        response_times(near)


def test_a_body_counts_as_its_execution():
    def body(job):
        yield Compute()

    cpu = Processor("cpu", drift=0.1)
    task = Task("a", cpu, period="11 ms", execution=Uniform("1 ms", "2 ms"), body=body)
    (found,) = demands([task])
    assert (found.cost, found.period, found.deadline) == (2 * MS, 10 * MS, 10 * MS)
    assert schedulable([task]) == {"a": True}
    with pytest.raises(ModelError, match="task a: a body"):
        demands([Task("a", cpu, period="11 ms", body=body)])
