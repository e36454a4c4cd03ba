"""Times that fall together, and times that must not drift."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st

from simdl import RK4, Diagram, Output, simulate
from simdl.computer import Computer, Degrade, FixedPriority, Process, Processor, Sleep, Task, Uniform
from simdl.computer.environment import Environment
from tests.computer_loop import Loop

MS = 1_000_000


@pytest.mark.parametrize("over", ["kill", "keep old", "skip next", Degrade("1 ms")])
def test_a_job_that_uses_all_of_its_budget_is_within_it(over: Any) -> None:
    task = Task("a", Processor("cpu"), period="10 ms", execution="2 ms", budget="2 ms", over=over)
    jobs = Computer([task]).schedule("45 ms").jobs
    assert [(job.end, job.status, job.overrun) for job in jobs] == [
        ((10 * k + 2) * MS, "done", False) for k in range(5)
    ]  # fmt: skip


@given(st.integers(1, 4), st.integers(1, 6))
def test_the_budget_counts_where_a_job_was_interrupted_as_it_ran_out(budget: int, need: int) -> None:
    """The low job is interrupted after `budget` ms, all it may use, and goes on after 3 ms unless it is killed."""
    cpu = Processor("cpu", policy=FixedPriority())
    high = Task("high", cpu, arrivals=[f"{budget} ms"], priority=1, execution="3 ms")
    low = Task("low", cpu, arrivals=["0 ms"], priority=2, execution=f"{need} ms", budget=f"{budget} ms", over="kill")
    job = Computer([high, low]).schedule("20 ms").of("low")[0]
    if need <= budget:
        assert (job.status, job.end, job.used) == ("done", need * MS, need * MS)
    else:
        assert job.status == "killed" and job.used == budget * MS and job.end <= (budget + 3) * MS


def test_events_of_a_process_never_leave_their_nanosecond() -> None:
    """1 ms added in floating point is off by a nanosecond from 181 s on."""
    env, count = Environment(), 200_000
    late = []

    def ticking():
        for k in range(1, count):
            yield env.timeout(0.001)
            if env._now != k * MS or env.now != k / 1000:
                late.append(k)

    env.process(ticking())
    while env.due < count * MS:
        env.step()
    assert env._now == (count - 1) * MS and not late


def test_a_timeout_is_a_time() -> None:
    env = Environment()
    with pytest.raises(ValueError, match="not a number"):
        env.timeout(float("nan"))
    env.timeout(float("inf"))
    env.timeout(0.1)
    env.run(until=0.25)
    env.step()  # what ended the run
    assert env.now == 0.25 and env.peek() > 4e9


class Stuck(Diagram):
    made = Output()

    def __init__(self, pause: float) -> None:
        def line(env, ports):
            yield env.timeout(0.1)
            ports["made"] = 1
            while ports.random.uniform() < 0.9:
                yield env.timeout(0.01)
            while True:
                yield env.timeout(pause)

        self.line = Process(line, outputs=["made"])
        self.made = self.line.made


@pytest.mark.parametrize("pause", [0, 1e-12])
def test_a_process_for_which_time_stands_still_fails(pause: float) -> None:
    run = simulate(Stuck(pause), until=0.5, strict=False, lanes=2, solver=RK4(max_step=0.1))
    assert set(run.status) == {0, 1}
    for _, why in run.status.values():
        found = re.search("100000 events at one time, ([0-9]+) ns", why)
        assert found and int(found[1]) >= 100 * MS
    assert not simulate(Stuck(0.1), until=0.5, solver=RK4(max_step=0.1)).status


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_a_job_that_takes_no_time_among_others_is_shown_a_nanosecond_later(seed: int) -> None:
    """Execution times from 0 to 3 ns: every lane runs, and shows the controller's output when its schedule says."""
    task = Task("control", Processor("cpu"), period="20 ms", execution=Uniform(0, "3 ns"), runs=["pi"])
    computer = Computer([task])
    run = simulate(computer.on(Loop(), horizon=0.3), until=0.3, every="1 ms", lanes=4, seed=seed, record=["u"])
    assert not run.status
    plain = simulate(Loop(), until=0.3, every="1 ms", lanes=4, record=["u"])
    between = torch.arange(301) % 20 > 0
    torch.testing.assert_close(run["u"].values[:, between], plain["u"].values[:, between], rtol=0, atol=1e-6)
    spans = {job.end - job.release for lane in range(4) for job in computer.schedule(0.3, seed, lane).jobs
             if job.end is not None}  # fmt: skip
    assert spans <= {0, 1, 2, 3}


def test_sleep_and_deadlines_are_of_the_clock_of_their_processor() -> None:
    """A clock that is 10 % fast: 11 ms of its time are 10 ms."""

    def body(job):
        yield Sleep("5.5 ms")

    task = Task("a", Processor("cpu", drift=0.1), period="11 ms", body=body)
    jobs = Computer([task]).schedule("35 ms").jobs
    assert [(job.arrival, job.end, job.deadline) for job in jobs[:3]] == [
        (10 * k * MS, (10 * k + 5) * MS, 10 * (k + 1) * MS) for k in range(3)
    ]  # fmt: skip
