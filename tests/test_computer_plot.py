"""Pictures of schedules show what is in them."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from simdl.computer import (
    Accelerator,
    Acquire,
    Compute,
    Computer,
    Exponential,
    Lock,
    Processor,
    Read,
    Release,
    RoundRobin,
    Run,
    Sleep,
    Task,
)
from simdl.computer.bars import FULL, LEAST, MANY, NARROW, Bar, Bars, Style
from simdl.computer.plot import HEIGHTS, gantt, histogram, load
from simdl.computer.states import states
from simdl.errors import RunError

matplotlib.use("Agg")
NPU = Accelerator("npu", batch=2)


def infer(job):
    yield Run(NPU, "4 ms")


@pytest.fixture
def schedule():
    cpu = Processor("cpu")
    return Computer([
        Task("control", cpu, period="5 ms", priority=1, execution="2 ms", deadline="1 ms"),
        Task("see", cpu, period="10 ms", priority=2, body=infer),
    ]).schedule("20 ms")  # fmt: skip


def test_a_gantt_chart_has_a_bar_for_each_use(schedule):
    axes = gantt(schedule, 0, "10 ms")
    extents = [path.get_extents() for bar in axes.collections for path in bar.get_paths()]
    found = sorted((round(e.x0, 6), round(e.x1, 6), round(e.y0 + 0.35)) for e in extents)
    assert found == [(0, 2, 1), (2, 6, 0), (5, 7, 1)]  # npu below cpu
    assert [text.get_text() for text in axes.get_yticklabels()] == ["cpu", "npu"]
    with pytest.raises(RunError, match="nothing runs"):
        gantt(schedule, "8 ms", "9 ms")


def test_a_hundred_tasks_look_different_and_are_as_many_collections():
    cpu = Processor("cpu", cores=4)
    tasks = [Task(f"t{k}", cpu, period="50 ms", offset=f"{k / 2} ms", execution="0.5 ms") for k in range(100)]
    axes = gantt(Computer(tasks).schedule("99 ms"), 0, "90 ms")
    handles, names = axes.get_legend_handles_labels()
    assert names == [f"t{k}" for k in range(100)] and len(axes.collections) == 100
    assert len({(tuple(one.get_facecolor()[0]), one.get_hatch()) for one in handles}) == 100


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10), st.integers(0, 9), st.booleans()), min_size=MANY + 9, max_size=300),
       st.integers(0, 300))  # fmt: skip
def test_a_row_of_many_short_bars_is_as_high_as_its_share_of_the_time(parts, low):
    """Bars of up to 10 ns, one after the other, seen in 2000 ns: against counting every ns of each part of 10."""
    styles, used, at, found = (Style("red"), Style("blue")), np.zeros((2, 6000)), 0, []
    for length, gap, which in parts:
        found.append(Bar(styles[which], at, at + length, 0.0, FULL))
        used[int(which), at : at + length] = 1
        at += length + gap
    high = low + 10 * NARROW
    bars = Bars(low, high, 1.0)
    bars.row(0.0, bars_seen := [bar for bar in found if bar.end > low and bar.begin < high])
    if len(bars_seen) <= MANY:
        assert not bars.shared and sum(map(len, bars.boxes.values())) == len(bars_seen)
        return
    shares = used[:, low:high].reshape(2, NARROW, 10).mean(axis=2)
    total = shares.sum(axis=0)
    raised = np.where(total > 0, np.maximum(total, LEAST) / np.maximum(total, 1e-9), 0.0)
    for share, style in zip(shares * raised, styles):
        drawn = np.zeros(NARROW)
        for first, last, below, above in bars.boxes.get((style, "share"), []):
            assert last - first == pytest.approx(10) and 0 <= below < above <= FULL + 1e-9
            drawn[round((first - low) / 10)] = (above - below) / FULL
        assert np.allclose(drawn, share, rtol=0, atol=1e-9)


def test_what_waits_in_a_crowded_row_of_a_task_is_told_from_what_runs():
    cpu = Processor("cpu")
    tasks = [Task("a", cpu, period="1 ms", priority=1, execution="0.3 ms"),
             Task("b", cpu, period="1 ms", priority=2, execution="0.2 ms")]  # fmt: skip
    axes = gantt(Computer(tasks).schedule("399 ms"), rows="tasks")
    found = set()
    for bar in axes.collections:
        for box in (path.get_extents() for path in bar.get_paths()):
            found.add((round(box.y0 + 0.4), bar.get_alpha(), round(box.height / FULL, 1)))
    assert found == {(1, None, 0.3), (0, None, 0.2), (0, 0.4, 0.3)}  # a above b, which is ready while a runs


def test_a_histogram_counts_every_time(schedule):
    axes = histogram(schedule.responses("control"), "response", limit=10**6)
    assert sum(patch.get_height() for patch in axes.patches) == len(schedule.responses("control")) == 4
    with pytest.raises(RunError, match="no times"):
        histogram(np.array([]), "response")
    with pytest.raises(RunError, match=r"(?s)histogram of response: 'control'.*schedule.responses"):
        histogram("control", "response")
    with pytest.raises(RunError, match="a schedule"):
        gantt(Computer([Task("a", Processor("cpu"), period="5 ms", execution="2 ms")]))


def test_load_shows_use_and_misses(schedule):
    widths = [bar.get_width() for bar in load(schedule).patches]
    assert widths[:2] == pytest.approx([40.0, 40.0])  # 4 x 2 of 20 ms, 2 x 4 of 20 ms
    assert widths[2] == 100.0 and widths[3] == 0.0


def using(lock, before, held):
    def body(job):
        yield Compute(before)
        yield Acquire(lock)
        yield Compute(held)
        yield Release(lock)

    return body


def inversion():
    cpu, bus = Processor("cpu"), Lock("bus", protocol="none")
    return Computer([
        Task("high", cpu, arrivals=["2 ns"], priority=1, body=using(bus, "1 ns", "1 ns"), deadline="4 ns"),
        Task("medium", cpu, arrivals=["3 ns"], priority=2, execution="5 ns"),
        Task("low", cpu, arrivals=["0 ns"], priority=3, body=using(bus, "1 ns", "3 ns")),
    ]).schedule("14 ns")  # fmt: skip


INVERSION = {
    "high": [("running", 2, 3), ("blocked", 3, 10), ("running", 10, 11)],
    "medium": [("running", 3, 8)],
    "low": [("running", 0, 2), ("ready", 2, 8), ("running", 8, 10)],
}


def test_tasks_run_are_ready_or_blocked_as_by_hand():
    """low holds the lock from 1 on; high runs up to it at 3; medium, which needs nothing, keeps low from its core."""
    assert states(inversion()) == INVERSION


def test_a_gantt_chart_of_tasks_has_their_levels():
    axes = gantt(inversion(), rows="tasks")
    assert [text.get_text() for text in axes.get_yticklabels()] == list(INVERSION)
    row = {name: y for name, y in zip(INVERSION, axes.get_yticks())}
    wanted = {(row[name], a, b, HEIGHTS[state], state == "blocked")
              for name, parts in INVERSION.items() for state, a, b in parts}  # fmt: skip
    found = set()
    for bar in axes.collections:
        for path in bar.get_paths():
            box = path.get_extents()
            y, height = round(box.y0 + 0.4), round(box.height, 6)
            found.add((y, round(box.x0), round(box.x1), height, bar.get_hatch() is not None))
    assert found == wanted
    assert len(set(HEIGHTS.values())) == 3
    crosses = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert crosses == [[[6.0, pytest.approx(row["high"] + 0.42)]]]  # its deadline
    with pytest.raises(RunError, match=r"(?s)'task'.*did you mean: tasks"):
        gantt(inversion(), rows="task")


def test_what_is_waited_for_off_the_core_blocks_and_a_switch_does_not():
    """a: 1 on its core, 3 on the accelerator, 1; b: 2, sleeps for 3, 2. A switch takes 1, and leaves its job ready."""
    cpu, npu = Processor("cpu", context_switch="1 ns"), Accelerator("npu")

    def a(job):
        yield Compute("1 ns")
        yield Run(npu, "3 ns")
        yield Compute("1 ns")

    def b(job):
        yield Compute("2 ns")
        yield Sleep("3 ns")
        yield Compute("2 ns")

    made = Computer([Task(name, cpu, arrivals=["0 ns"], priority=k, body=body) for k, (name, body) in
                     enumerate([("a", a), ("b", b)])])  # fmt: skip
    assert states(made.schedule("20 ns")) == {
        "a": [("ready", 0, 1), ("running", 1, 2), ("blocked", 2, 5), ("ready", 5, 6), ("running", 6, 7)],
        "b": [("ready", 0, 3), ("running", 3, 5), ("blocked", 5, 8), ("ready", 8, 9), ("running", 9, 11)],
    }


@pytest.mark.parametrize("policy", [None, RoundRobin("100 us")])
def test_the_states_of_jobs_fill_their_responses(policy):
    """Without anything to wait for, a task is running or ready from each release of a job to its end, and no longer."""
    cpu = Processor("cpu", cores=2, context_switch="10 us", **({} if policy is None else {"policy": policy}))
    tasks = [Task(f"t{k}", cpu, arrivals=Exponential(f"{k + 2} ms"), priority=k, execution=Exponential("1.5 ms"))
             for k in range(4)]  # fmt: skip
    history = Computer(tasks).schedule("150 ms", seed=4, lane=3)
    for name, parts in states(history).items():
        jobs = [job for job in history.of(name) if job.release is not None]
        assert {state for state, _, _ in parts} <= {"running", "ready"}
        total = sum((history.until if job.end is None else job.end) - job.release for job in jobs)
        assert sum(b - a for _, a, b in parts) == total > 0
        assert all(parts[k][2] <= parts[k + 1][1] for k in range(len(parts) - 1))
        used = sum(b - a for core in history.cores.values() for job, a, b in core if job and job.task.name == name)
        assert sum(b - a for state, a, b in parts if state == "running") == used


def test_a_live_lane_is_run_again_by_what_it_was_told():
    npu = Accelerator("npu")

    def early(job):
        seen = yield Read("detector")
        yield Run(npu, "2 ms" if seen < 0.5 else "6 ms")
        yield Compute("1 ms")

    made = Computer([Task("look", Processor("cpu"), period="10 ms", body=early, runs=["detector"])], live=True)
    kernel = made.live()
    while kernel.peek() <= 19_000_000:
        kernel.advance(int(kernel.peek()), {"detector": 0.9 if kernel.peek() < 10_000_000 else 0.1})
    assert [(state, a / 1e6, b / 1e6) for state, a, b in states(kernel.schedule(19_000_000))["look"]] == [
        ("blocked", 0, 6), ("running", 6, 7), ("blocked", 10, 12), ("running", 12, 13)]  # fmt: skip


def test_bodies_with_a_memory_of_their_own_are_refused():
    seen = []

    def body(job):
        seen.append(job)
        yield Compute(f"{len(seen)} ns")

    history = Computer([Task("a", Processor("cpu"), period="50 ns", body=body)]).schedule("120 ns")
    with pytest.raises(RunError, match="states: task a: jobs that end at other times"):
        states(history)
