"""What tasks share: priority inversion by hand, bounds of the protocols, deadlock, mailboxes, events, live lanes."""

from __future__ import annotations

import matplotlib
import pytest
import torch
from hypothesis import given, settings, strategies as st

from simdl import RK4, Diagram, Output
from simdl.blocks import Gain
from simdl.computer import (
    EDF,
    Acquire,
    Compute,
    Computer,
    FixedPriority,
    Lock,
    Mailbox,
    Processor,
    Put,
    Raise,
    Read,
    Release,
    RoundRobin,
    Sleep,
    Take,
    Task,
    Wait,
    Write,
)
from simdl.computer.analysis import Demand, blocked, response_times
from simdl.computer.plot import gantt
from simdl.engine.simulator import Simulator
from simdl.errors import ModelError, RunError
from tests.computer_loop import Lag

matplotlib.use("Agg")


def ns(value: int) -> str:
    return f"{value} ns"


def body_of(*steps):
    """Numbers are computed; everything else is yielded as it is."""

    def body(job):
        for step in steps:
            yield Compute(ns(step)) if isinstance(step, int) else step

    return body


def once(name: str, cpu: Processor, at: int, priority: int, *steps, **options) -> Task:
    return Task(name, cpu, arrivals=[ns(at)], priority=priority, body=body_of(*steps), **options)


def ends(history) -> dict[str, int | None]:
    return {job.task.name: job.end for job in history.jobs}


# Sha, Rajkumar & Lehoczky (1990), section I: a task of high priority waits for one of low priority, which one of medium
# priority keeps from running. Times by hand.
INVERSION = {
    "none": ({"high": 11, "medium": 8, "low": 12}, [("high", 3, 10)]),
    "inheritance": ({"high": 6, "medium": 11, "low": 12}, [("high", 3, 5)]),
    "ceiling": ({"high": 6, "medium": 11, "low": 12}, []),
}


def inversion(protocol: str) -> Computer:
    cpu = Processor("cpu")
    lock = Lock("bus", protocol=protocol, ceiling=1 if protocol == "ceiling" else None)
    return Computer([
        once("high", cpu, 2, 1, 1, Acquire(lock), 1, Release(lock)),
        once("medium", cpu, 3, 2, 5),
        once("low", cpu, 0, 3, 1, Acquire(lock), 3, Release(lock), 1),
    ])  # fmt: skip


@pytest.mark.parametrize("protocol", INVERSION)
def test_priority_inversion_is_as_by_hand(protocol):
    history = inversion(protocol).schedule("20 ns")
    wanted, waits = INVERSION[protocol]
    assert ends(history) == wanted
    assert [(job.task.name, a, b) for job, _, a, b in history.waits] == waits
    assert [job.task.name for job, *_ in history.holds] == ["low", "high"]


def test_urgency_goes_through_a_chain_of_locks():
    """High waits for medium, which waits for low: low runs before another one that is more urgent than medium."""
    cpu, a, b = Processor("cpu"), Lock("a"), Lock("b")
    history = Computer([
        once("high", cpu, 4, 1, Acquire(a), 1, Release(a)),
        once("other", cpu, 4, 2, 10),
        once("medium", cpu, 2, 3, Acquire(a), 1, Acquire(b), 1, Release(b), Release(a)),
        once("low", cpu, 0, 4, 1, Acquire(b), 4, Release(b), 1),
    ]).schedule("40 ns")  # fmt: skip
    # low 0-2, medium 2-3 and waits, low 3-6 (from 4 on for high), medium 6-7, high 7-8, other 8-18, low 18-19
    assert ends(history) == {"high": 8, "other": 18, "medium": 7, "low": 19}


def test_deadlines_are_inherited_under_edf():
    cpu, lock = Processor("cpu", policy=EDF()), Lock("lock")
    history = Computer([
        once("soon", cpu, 1, 0, Acquire(lock), 1, Release(lock), deadline="10 ns"),
        once("middle", cpu, 1, 0, 5, deadline="20 ns"),
        once("later", cpu, 0, 0, Acquire(lock), 3, Release(lock), deadline="50 ns"),
    ]).schedule("40 ns")  # fmt: skip
    assert ends(history) == {"later": 3, "soon": 4, "middle": 9}


def test_a_more_urgent_job_takes_over_where_a_lock_is_released():
    """At one instant low releases a and would acquire b: high, which is ready, comes between."""
    cpu = Processor("cpu")
    a, b = (Lock(name, protocol="ceiling", ceiling=1) for name in "ab")
    history = Computer([
        once("high", cpu, 1, 1, Acquire(b), 2, Release(b)),
        once("low", cpu, 0, 2, Acquire(a), 3, Release(a), Acquire(b), 4, Release(b)),
    ]).schedule("20 ns")  # fmt: skip
    assert ends(history) == {"high": 5, "low": 9}


def test_a_counting_lock_has_so_many_holders():
    cpu, lock = Processor("cpu", cores=3), Lock("lock", count=2)
    history = Computer([once(f"t{k}", cpu, 0, k, Acquire(lock), 5, Release(lock)) for k in range(3)]).schedule("20 ns")
    assert ends(history) == {"t0": 5, "t1": 5, "t2": 10}


def test_a_job_suspended_with_a_lock_keeps_others_waiting():
    cpu, lock = Processor("cpu"), Lock("lock")
    history = Computer([
        once("high", cpu, 1, 1, Acquire(lock), 1, Release(lock)),
        once("low", cpu, 0, 2, Acquire(lock), Sleep("8 ns"), 1, Release(lock)),
    ]).schedule("20 ns")  # fmt: skip
    assert ends(history) == {"low": 9, "high": 10}


def test_a_killed_job_gives_its_locks_back_and_leaves_its_place():
    cpu, lock = Processor("cpu"), Lock("lock")
    history = Computer([
        once("holder", cpu, 0, 3, Acquire(lock), 100, Release(lock), late="kill", deadline="10 ns"),
        once("waiter", cpu, 1, 1, Acquire(lock), 100, Release(lock), late="kill", deadline="5 ns"),
        once("other", cpu, 2, 2, Acquire(lock), 4, Release(lock)),
    ]).schedule("60 ns")  # fmt: skip
    assert ends(history) == {"waiter": 6, "holder": 10, "other": 14}
    assert [(job.task.name, a, b) for job, _, a, b in history.waits] == [
        ("waiter", 1, 6),
        ("other", 6, 10),
    ]  # until 6 ns holder is as urgent as waiter


def crossed(**options) -> Computer:
    cpu = Processor("cpu")
    a, b = Lock("a", **options), Lock("b", **options)
    return Computer([
        once("high", cpu, 1, 1, Acquire(a), 2, Acquire(b), 1, Release(b), Release(a)),
        once("low", cpu, 0, 2, Acquire(b), 2, Acquire(a), 1, Release(a), Release(b)),
    ])  # fmt: skip


@pytest.mark.parametrize("protocol", ["none", "inheritance"])
def test_locks_in_opposite_order_are_a_deadlock_that_is_named(protocol):
    with pytest.raises(RunError) as caught:
        crossed(protocol=protocol).schedule("20 ns")
    said = str(caught.value)
    assert "job 0 of 'low' holds 'b' and waits for 'a'" in said
    assert "job 0 of 'high' holds 'a' and waits for 'b'" in said
    assert "ceiling" in said and "lane 0, 4 ns" in said


def test_the_ceiling_protocol_prevents_the_deadlock():
    assert ends(crossed(protocol="ceiling", ceiling=1).schedule("20 ns")) == {"low": 3, "high": 6}


def test_what_is_wrong_with_locks_is_said():
    cpu, lock, high = Processor("cpu"), Lock("lock"), Lock("high", protocol="ceiling", ceiling=3)

    def run(*steps, on=cpu):
        Computer([once("t", on, 0, 1, *steps)]).schedule("20 ns")

    for steps, said in (
        ([Acquire(lock), 1], "ends and holds 'lock'"),
        ([Release(lock)], "does not hold it"),
        ([Acquire(lock), Acquire(lock)], "holds it already"),
        ([Acquire(high)], "no task more urgent than its ceiling 3"),
        ([Acquire(lock), Release(lock), Acquire(Lock("lock"))], "two locks or mailboxes named 'lock'"),
        ([Acquire("lock")], "a Lock"),
        ([Take(lock)], "a Mailbox"),
    ):
        with pytest.raises((RunError, ModelError), match=said):
            run(*steps)
    with pytest.raises(RunError, match="FixedPriority"):
        run(Acquire(high), on=Processor("turns", policy=RoundRobin()))
    two = [once("a", cpu, 0, 4, Acquire(lock), 1, Release(lock)),
           once("b", Processor("other"), 0, 4, Acquire(lock), 1, Release(lock))]  # fmt: skip
    with pytest.raises(RunError, match="a lock of one processor"):
        Computer(two).schedule("20 ns")
    for wrong in ({"count": 0}, {"protocol": "inherit"}, {"ceiling": 1}, {"protocol": "ceiling"}):
        with pytest.raises(ModelError):
            Lock("x", **wrong)
    for wrong in ({"room": 0}, {"full": "block"}):
        with pytest.raises(ModelError):
            Mailbox("x", **wrong)


# Task sets with critical sections: (offset, period, parts), a part (ns, lock or None); the index is the priority.
parts = st.lists(st.tuples(st.integers(1, 5), st.sampled_from([None, "a", "b", "c"])), min_size=1, max_size=4)
locked_sets = st.lists(st.tuples(st.integers(0, 20), st.integers(20, 60), parts), min_size=2, max_size=4)


def locked(sets, protocol: str) -> tuple[Computer, list[Demand], dict[str, dict[str, int]]]:
    cpu = Processor("cpu")
    users = {lock: min((i for i, (*_, part) in enumerate(sets) if lock in dict(map(reversed, part))), default=0)
             for lock in "abc"}  # fmt: skip
    locks = {name: Lock(name, protocol=protocol, ceiling=users[name] if protocol == "ceiling" else None)
             for name in users}  # fmt: skip
    tasks, demands, sections = [], [], {}
    for i, (offset, period, part) in enumerate(sets):
        steps: list[object] = []
        held: dict[str, int] = {}
        for length, lock in part:
            steps += [length] if lock is None else [Acquire(locks[lock]), length, Release(locks[lock])]
            if lock is not None:
                held[lock] = max(length, held.get(lock, 0))
        tasks.append(Task(f"t{i}", cpu, period=ns(period), offset=ns(offset), priority=i, body=body_of(*steps)))
        demands.append(Demand(f"t{i}", period, sum(length for length, _ in part), period, i))
        sections[f"t{i}"] = held
    return Computer(tasks), demands, sections


@settings(max_examples=150, deadline=None)
@given(locked_sets, st.sampled_from(["ceiling", "inheritance"]))
def test_no_response_is_longer_than_its_bound(sets, protocol):
    computer, demands, sections = locked(sets, protocol)
    history = computer.schedule("400 ns")
    bounds = response_times(blocked(demands, sections, protocol))
    for job in history.jobs:
        bound = bounds[job.task.name]
        if bound is not None and job.arrival + bound <= history.until:
            assert job.end is not None and job.end - job.arrival <= bound
    for name in "abc":
        spans = [(a, b) for _, lock, a, b in history.holds if lock == name]
        assert all(first[1] <= second[0] for first, second in zip(spans, spans[1:]))
    if protocol == "ceiling":
        assert history.waits == []  # on one core nobody starts who would have to wait
    assert all(job.used == demands[job.task.priority].cost for job in history.jobs if job.end is not None)


def test_the_bound_is_reached():
    """The longest hold of a less urgent task begins as the job arrives; without locks nothing is added."""
    cpu, lock = Processor("cpu"), Lock("lock", protocol="ceiling", ceiling=0)
    history = Computer([
        once("t0", cpu, 0, 0, Acquire(lock), 2, Release(lock)),
        once("t1", cpu, 0, 1, Acquire(lock), 7, Release(lock)),
    ])  # fmt: skip
    assert ends(history.schedule("20 ns")) == {"t0": 2, "t1": 9}
    of = [Demand("t0", 20, 2, 20, 0), Demand("t1", 20, 7, 20, 1), Demand("t2", 20, 1, 20, 2)]
    held = {"t0": {"lock": 2}, "t1": {"lock": 7, "mine": 9}, "t2": {"lock": 1}}
    assert [one.blocking for one in blocked(of, held, "ceiling")] == [7, 1, 0]
    assert [one.blocking for one in blocked(of, held, "inheritance")] == [8, 1, 0]
    assert response_times(blocked(of, held, "ceiling")) == {"t0": 9, "t1": 10, "t2": 10}
    with pytest.raises(ModelError, match="protocol"):
        blocked(of, held, "none")
    with pytest.raises(ModelError, match="t9"):
        blocked(of, {"t9": {}}, "ceiling")


def test_a_lock_that_is_handed_over_holds_up_a_second_section():
    """t0 waits for t2, which has the lock, and again for t1, to which it is handed as t0 leaves its first section."""
    cpu, lock = Processor("cpu"), Lock("lock", protocol="inheritance")
    twice = (Acquire(lock), 1, Release(lock), Acquire(lock), 1, Release(lock))
    history = Computer([
        once("t0", cpu, 2, 0, *twice), once("t1", cpu, 1, 1, Acquire(lock), 3, Release(lock)),
        once("t2", cpu, 0, 2, Acquire(lock), 3, Release(lock)),
    ]).schedule("20 ns")  # fmt: skip
    assert history.responses("t0").tolist() == [1 + 1 + 3 + 1]
    of = [Demand("t0", 20, 2, 20, 0), Demand("t1", 20, 3, 20, 1), Demand("t2", 20, 3, 20, 2)]
    held = {"t0": {"lock": 1}, "t1": {"lock": 3}, "t2": {"lock": 3}}
    assert response_times(blocked(of, held, "inheritance"))["t0"] == 8


def test_mail_comes_in_order_with_the_time_at_which_it_was_put():
    cpu, box, got = Processor("cpu"), Mailbox("box", room=None), []

    def put(job):
        yield Compute("2 ns")
        assert (yield Put(box, job.index))

    def take(job):
        while True:
            mail = yield Take(box)
            got.append((mail.value, mail.put, job.now))
            yield Compute("5 ns")

    history = Computer([
        Task("put", cpu, period="10 ns", priority=1, body=put),
        Task("take", cpu, arrivals=["0 ns"], priority=2, body=take),
    ]).schedule("33 ns")  # fmt: skip
    assert got == [(0, 2, 2), (1, 12, 12), (2, 22, 22), (3, 32, 32)]
    assert [(a, b) for *_, a, b in history.waits] == [(7, 12), (17, 22), (27, 32)]


@pytest.mark.parametrize(
    ("full", "taken", "answers", "end"),
    [("wait", [0, 1, 2, 3], [True] * 4, 20), ("drop", [0, 1], [True, True, False, False], 4),
     ("replace", [2, 3], [True] * 4, 4)],
)  # fmt: skip
def test_a_full_box_waits_drops_or_replaces(full, taken, answers, end):
    """Four values at 1, 2, 3 and 4 ns into a box for two, from which somebody takes at 10, 20, 30 and 40 ns."""
    cpu, box, got, said = Processor("cpu", cores=2), Mailbox("box", room=2, full=full), [], []

    def put(job):
        for k in range(4):
            yield Compute("1 ns")
            said.append((yield Put(box, k)))

    def take(job):
        mail = yield Take(box, wait=False)
        got.extend([mail.value] if mail is not None else [])

    history = Computer([
        Task("put", cpu, arrivals=["0 ns"], body=put),
        Task("take", cpu, period="10 ns", offset="10 ns", body=take),
    ]).schedule("45 ns")  # fmt: skip
    assert (got, said, history.of("put")[0].end) == (taken, answers, end)


def test_an_event_wakes_everybody_who_waits_and_is_not_kept():
    cpu = Processor("cpu")

    def waiter(job):
        yield Wait("go")

    history = Computer([
        *(Task(f"w{k}", cpu, arrivals=[ns(at)], priority=k, body=waiter) for k, at in enumerate((0, 3, 8))),
        Task("gate", cpu, arrivals=["5 ns", "20 ns"], body=body_of(1, Raise("go"))),
        Task("after", cpu, arrivals=["1 ns"], body=body_of(Wait("gate"))),
    ]).schedule("30 ns")  # fmt: skip
    assert ends(history) == {"w0": 6, "w1": 6, "w2": 21, "gate": 21, "after": 6}


class Two(Diagram):
    """A detector and a controller whose tasks share what the detector has seen."""

    y = Output()

    def __init__(self) -> None:
        self.plant = Lag(start=1.0)
        self.detector, self.controller = Gain(k=1.0), Gain(k=-2.0)
        self.detector.u = self.plant.y
        self.controller.u = self.plant.y
        self.plant.u = self.controller.y
        self.y = self.plant.y


def sharing() -> Computer:
    cpu, lock, box = Processor("cpu", policy=FixedPriority()), Lock("lock"), Mailbox("box", full="replace")

    def watch(job):
        seen = yield Read("detector")
        yield Acquire(lock)
        yield Compute("9 ms")
        yield Release(lock)
        yield Write("detector")
        yield Put(box, seen)

    def control(job):
        yield Acquire(lock)
        mail = yield Take(box, wait=False)
        yield Read("controller")
        yield Compute("2 ms" if mail is None or abs(mail.value) < 0.5 else "6 ms")
        yield Release(lock)
        yield Write("controller")

    return Computer([
        Task("watch", cpu, period="50 ms", priority=2, body=watch, runs=["detector"]),
        Task("control", cpu, period="20 ms", offset="4 ms", priority=1, body=control, runs=["controller"]),
    ])  # fmt: skip


def test_live_jobs_share_and_a_snapshot_brings_their_locks_and_mail_back():
    model = sharing().on(Two(), live=True)
    sim = Simulator(model, set={"plant.y": torch.tensor([1.0, 0.2])}, solver=RK4(max_step="10 ms"))
    sim.run_until("0.0545 s")  # watch holds the lock, control waits for it
    snapshot = sim.snapshot()
    sim.run_until("0.3 s")
    wanted = sim[model.plant.y].clone()
    sim.restore(snapshot)
    sim.run_until("0.3 s")
    assert torch.equal(sim[model.plant.y], wanted)


def test_a_live_lane_takes_as_long_as_its_mail_says():
    """What was seen is put as watch ends, at 9 ms, and is there when control has the lock, at 9 ms too."""
    for seen, length in ((0.2, 2), (0.9, 6)):
        kernel = sharing().live()
        while kernel.peek() <= 45_000_000:
            kernel.advance(int(kernel.peek()), {"detector": seen, "controller": 0.0})
        history = kernel.schedule(45_000_000)
        first, second = history.of("control")[:2]
        assert (first.start, first.end) == (4_000_000, (9 + length) * 1_000_000)
        assert (second.start, second.end) == (24_000_000, 26_000_000)  # no mail since


def test_a_gantt_chart_shows_who_holds_and_who_waits():
    axes = gantt(inversion("none").schedule("20 ns"))
    assert [text.get_text() for text in axes.get_yticklabels()] == ["cpu", "bus"]
    found = [(bar.get_hatch(), *(round(x) for x in path.get_extents().intervalx))
             for bar in axes.collections for path in bar.get_paths() if path.get_extents().y1 < 0.5]  # fmt: skip
    assert sorted(found, key=str) == [("////", 3, 10), (None, 1, 10), (None, 10, 11)]
