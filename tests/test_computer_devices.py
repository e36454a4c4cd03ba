"""Queues, accelerators, buses and their faults against closed forms; late jobs; live lanes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simdl.computer import (
    CAN,
    TDMA,
    Accelerator,
    BurstLoss,
    Compute,
    Computer,
    Correlated,
    Degrade,
    Duplicate,
    Exponential,
    Ideal,
    Loss,
    Measured,
    Mixture,
    Normal,
    Processor,
    Read,
    Reorder,
    Run,
    Send,
    SwitchedEthernet,
    Task,
    Uniform,
    Write,
)
from simdl.errors import ModelError, RunError

MS = 10**6


def one(execution, **options):
    return Task("a", Processor("cpu"), execution=execution, runs=["x"], **options)


@pytest.mark.parametrize("service, factor", [(Exponential("0.6 ms"), 1.0), ("0.6 ms", 0.5)])
def test_queues_wait_as_mm1_and_md1_do(service, factor):
    """Mean response s + rho s / (1 - rho), half the wait with constant service (Pollaczek & Khinchine)."""
    rho, s = 0.6, 0.6 * MS
    means = []
    for lane in range(6):
        history = Computer([one(service, arrivals=Exponential("1 ms"))]).schedule("8 s", seed=3, lane=lane)
        means.append(history.responses("a")[200:].mean())
    expected = s + factor * rho * s / (1 - rho)
    assert abs(np.mean(means) - expected) < 4 * np.std(means, ddof=1) / math.sqrt(len(means))
    assert np.std(means, ddof=1) < 0.2 * expected


def test_a_batch_starts_when_full_or_when_its_oldest_request_has_waited():
    npu = Accelerator("npu", batch=2, window="3 ms", time=lambda n: f"{4 + n} ms", copy="1 ms", copy_back="0.5 ms")

    def body(job):
        yield Read(job.task.name)
        yield Run(npu, "1 ms")
        yield Write(job.task.name)

    nodes = [Processor(name) for name in "abc"]
    tasks = [Task(cpu.name, cpu, arrivals=[f"{k} ms"], body=body) for k, cpu in enumerate(nodes)]
    history = Computer(tasks).schedule("60 ms")
    # a at 0 and b at 1 are full at 1: 2 copies, 6 ms, 2 copies back; c has waited long enough when the stream is free
    assert [int(history.accesses(n)[1][0]) for n in "abc"] == [10 * MS, 10 * MS, 10 * MS + 6 * MS + MS // 2]
    alone = Computer(tasks[2:]).schedule("60 ms")
    assert alone.accesses("c")[1].tolist() == [2 * MS + 3 * MS + 6 * MS + MS // 2]


def test_overlapped_copies_leave_the_stream_to_others():
    def finished(overlap):
        npu = Accelerator("npu", copy="2 ms", copy_back="1 ms", overlap=overlap)

        def body(job):
            yield Run(npu, "4 ms")

        tasks = [Task(n, Processor(n), arrivals=["0 ms"], body=body) for n in "abc"]
        return [job.end // MS for job in Computer(tasks).schedule("60 ms").jobs]

    assert finished(False) == [7, 14, 21]
    assert finished(True) == [7, 11, 15]


def test_streams_run_side_by_side_and_priorities_order_the_queue():
    npu = Accelerator("npu", streams=2, order="priority")

    def body(job):
        yield Run(npu, "5 ms")

    tasks = [Task(n, Processor(n), arrivals=["0 ms"], priority=-k, body=body) for k, n in enumerate("abcd")]
    history = Computer(tasks).schedule("60 ms")
    assert [job.end // MS for job in history.jobs] == [10, 10, 5, 5]
    assert history.utilisation("npu") == pytest.approx(20 / 120)


def senders(bus, names, at="0 ms", **options):
    def body(job):
        yield Read(job.task.name)
        yield Send(bus, job.task.name, **options)

    return [Task(n, Processor(n), arrivals=[at], body=body, priority=k) for k, n in enumerate(names)]


def test_can_frames_have_the_published_lengths():
    """11-bit identifiers: 55 + 10 n bits at worst (Davis et al. 2007); a stuffed frame has at most that."""
    bus, exact = CAN("can"), CAN("can", stuffing="exact")
    assert [bus.frame(n) for n in range(9)] == [55 + 10 * n for n in range(9)]
    assert all(47 + 64 <= exact.frame(8, i, bytes([i % 256] * 8)) <= bus.frame(8) for i in range(0, 2048, 31))
    assert exact.frame(0, 0) == 47 + 34 // 5  # 34 zeros, the CRC's included: a stuff bit after each five


def test_can_sends_the_smallest_identifier_first():
    history = Computer(senders(CAN("can", rate=10**6), "abc", bits=64)).schedule("5 ms")
    assert [history.accesses(n)[1][0] for n in "abc"] == [135_000, 270_000, 405_000]


def test_tdma_waits_for_the_slot_of_its_sender():
    bus = TDMA("bus", rate=10**6, slots=("a", "b", "c"), slot="1 ms")
    history = Computer(senders(bus, "abc", at="0.5 ms", bits=600)).schedule("9 ms")
    # 0.6 ms do not fit into what is left of a's slot
    assert [int(history.accesses(n)[1][0]) for n in "abc"] == [3_600_000, 1_600_000, 2_600_000]


def test_ethernet_stores_and_forwards_first_in_first_out():
    bus = SwitchedEthernet("lan", rate=10**8, switch="5 us")
    history = Computer(senders(bus, "abc", bits=8 * 1000, to="hub")).schedule("9 ms")
    frame, gap = 80 * (1000 + 18 + 8), 80 * 12  # ns
    assert [int(history.accesses(n)[1][0]) for n in "abc"] == [
        frame + 5000 + frame + k * (frame + gap) for k in range(3)
    ]
    small = Computer(senders(bus, "a", bits=8, to="hub")).schedule("9 ms")
    assert small.accesses("a")[1].tolist() == [2 * 80 * 72 + 5000]


def periodic_sender(faults, count=20_000, delay="0 ms"):
    bus = Ideal("air", faults, delay)

    def body(job):
        yield Read("x")
        yield Send(bus, "x")

    return Computer([Task("a", Processor("cpu"), period="1 ms", body=body)]).schedule(f"{count} ms", seed=1)


def test_bursts_of_loss_have_gilberts_rate_and_length():
    fault = BurstLoss(to_bad=0.05, to_good=0.25)
    lost = np.array([m.lost for m in periodic_sender((fault,)).messages])
    edges = np.diff(np.concatenate([[0], lost.astype(int), [0]]))
    lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    assert fault.rate == pytest.approx(1 / 6)
    assert abs(lost.mean() - 1 / 6) < 0.02  # the variance of the mean is inflated by the correlation: 4 sigma
    assert abs(lengths.mean() - 4) < 4 * math.sqrt(12 / len(lengths))  # geometric: mean 1/q, variance (1 - q)/q^2


def test_losses_are_independent_and_use_the_bus_all_the_same():
    history = periodic_sender((Loss(0.3),), count=10_000)
    lost = np.array([m.lost for m in history.messages])
    assert abs(lost.mean() - 0.3) < 4 * math.sqrt(0.21 / len(lost))
    assert all(m.end is not None for m in history.messages)
    assert len(history.accesses("x")[1]) == (~lost).sum()


def test_messages_overtake_and_arrive_twice_and_say_what_they_show():
    history = periodic_sender((Reorder(0.5, "2.5 ms"), Duplicate(0.5, "0.2 ms")), count=50)
    reads, writes, source = history.accesses("x")
    assert (np.diff(source) < 0).any() and (np.bincount(source) == 2).any()
    assert set((writes - reads[source]).tolist()) == {0, 200_000, 2_500_000, 2_700_000}


@pytest.mark.parametrize(
    "late, ends, statuses",
    [
        ("run on", [15, 20, 25], ["missed", "done", "done"]),
        ("skip next", [15, None, 25], ["missed", "skipped", "done"]),
        ("kill", [10, 15, 25], ["killed", "done", "done"]),
        ("keep old", [15, 20, 25], ["missed", "done", "done"]),
    ],
)
def test_late_jobs(late, ends, statuses):
    long = Measured([0.015, 0.005, 0.005], order="cyclic")
    history = Computer([one(long, period="10 ms", late=late)]).schedule("29 ms")
    jobs = history.jobs
    taken = [None if job.end is None else job.end // MS for job in jobs]
    assert [job.status for job in jobs] == statuses and taken == ends
    assert len(history.accesses("x")[1]) == (3 if late == "run on" else 2)


def test_after_a_late_job_a_cheaper_variant_runs():
    long = Measured([0.015, 0.015, 0.002, 0.002], order="cyclic")
    history = Computer([one(long, period="10 ms", late=Degrade("1 ms", recover=2))]).schedule("49 ms")
    assert [(j.degraded, j.used // MS) for j in history.jobs] == [
        (False, 15), (True, 1), (True, 1), (False, 2), (False, 9),
    ]  # fmt: skip


def test_a_job_over_its_budget_is_stopped_and_the_core_is_free():
    cpu = Processor("cpu")
    tasks = [
        Task("a", cpu, period="10 ms", priority=1, execution="8 ms", budget="3 ms", over="kill", runs=["x"]),
        Task("b", cpu, period="10 ms", priority=2, execution="1 ms"),
    ]
    history = Computer(tasks).schedule("19 ms")
    assert [(j.end, j.status, j.overrun) for j in history.of("a")] == [
        (3 * MS, "killed", True), (13 * MS, "killed", True),
    ]  # fmt: skip
    assert history.of("b")[0].end == 4 * MS and len(history.accesses("x")[1]) == 0


def test_a_lane_alone_is_that_lane_whatever_else_is_there():
    uniform = Uniform("1 ms", "3 ms")
    alone = Computer([one(uniform, period="10 ms")]).schedule("1 s", seed=4, lane=77)
    other = Task("b", Processor("other"), period="3 ms", execution=Uniform("1 ms", "2 ms"))
    both = Computer([other, one(uniform, period="10 ms")]).schedule("2 s", seed=4, lane=77)
    writes = alone.accesses("x")[1]
    assert np.array_equal(writes, both.accesses("x")[1][: len(writes)])
    assert not np.array_equal(writes, Computer([one(uniform, period="10 ms")]).schedule("1 s", 4, 78).accesses("x")[1])


def test_distributions_have_their_moments():
    rng = np.random.default_rng(1)
    draws = rng.random((40_000, 2))
    normal = Normal("10 ms", "2 ms", low="10 ms")
    times, _ = normal.durations(draws, 0, 0.0)
    assert times.min() >= 10 * MS
    assert times.mean() == pytest.approx(10 * MS + 2 * MS * math.sqrt(2 / math.pi), rel=2e-3)
    mixed, _ = Mixture([Uniform("1 ms", "2 ms"), Uniform("5 ms", "6 ms")], [3, 1]).durations(draws, 0, 0.0)
    assert np.mean(mixed > 3 * MS) == pytest.approx(0.25, abs=0.01)
    chain, carry = Correlated(Uniform("0 ms", "1 ms"), 0.8).durations(draws, 0, 0.0)
    rank = np.corrcoef(chain[1:], chain[:-1])[0, 1]
    assert rank == pytest.approx(6 / math.pi * math.asin(0.8 / 2), abs=0.02)  # Gaussian copula with uniform margins
    first, carry = Correlated(Uniform("0 ms", "1 ms"), 0.8).durations(draws[:300], 0, 0.0)
    second, _ = Correlated(Uniform("0 ms", "1 ms"), 0.8).durations(draws[300:600], 300, carry)
    assert np.array_equal(np.concatenate([first, second]), chain[:600])


def perceive(job):
    count = yield Read("detector")
    yield Compute(0.001 * count)
    yield Write("detector")


def live_computer():
    cpu = Processor("cpu")
    return Computer([
        Task("perception", cpu, period="10 ms", priority=2, body=perceive),
        Task("brake", cpu, trigger="obstacle", priority=1, execution="2 ms", runs=["brake"]),
    ])  # fmt: skip


def go_on(kernel, until, found):
    while kernel.peek() <= until:
        ns = kernel.peek()
        found.extend(kernel.advance(ns, {"detector": 1 + ns // (10 * MS)}))
        if ns == 20 * MS and not any(entry[0] == "raise" for entry in kernel.log):
            kernel.raise_("obstacle", 21 * MS)
    return found


def test_a_live_lane_computes_with_what_it_read_and_is_restored_by_its_log():
    kernel = live_computer().live(seed=1, lane=2)
    found = go_on(kernel, 29 * MS, [])
    writes = [(a.ns // MS, a.captured // MS) for a in found if a.kind == "write" and a.block == "detector"]
    assert writes == [(1, 0), (12, 10), (25, 20)]  # 1, 2 and 3 ms, the last one interrupted for 2
    assert [(a.kind, a.ns // MS) for a in found if a.block == "brake"] == [("read", 21), ("write", 23)]
    again = live_computer().live(seed=1, lane=2, log=kernel.log)
    assert again.peek() == kernel.peek()
    assert go_on(again, 99 * MS, []) == go_on(kernel, 99 * MS, [])


def test_a_live_lane_does_not_pass_over_what_is_due():
    kernel = live_computer().live()
    assert kernel.peek() == 0
    with pytest.raises(RunError, match="advance to peek"):
        kernel.advance(5)
    with pytest.raises(RunError, match="triggers a task"):
        kernel.raise_("nothing")


def test_impossible_descriptions_are_refused():
    for wrong in (lambda: Loss(1.5), lambda: Uniform("2 ms", "1 ms"), lambda: Measured([-1.0]),
                  lambda: Accelerator("npu", batch=0), lambda: Measured([]), lambda: Correlated(Uniform(0, 1), 1.0),
                  lambda: CAN("can", rate=0)):  # fmt: skip
        with pytest.raises(ModelError):
            wrong()
    with pytest.raises(RunError, match="at most 64 bits"):
        Computer(senders(CAN("can"), "a", bits=65)).schedule("1 ms")
