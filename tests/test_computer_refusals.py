"""Descriptions of a computer that nothing can be made of, and how they are refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from simdl.computer import (
    CAN,
    TDMA,
    Accelerator,
    Computer,
    Keyed,
    Loss,
    Measured,
    Mixture,
    Processor,
    RoundRobin,
    SwitchedEthernet,
    Table,
    Task,
)
from simdl.errors import ModelError, RunError


def on(**processor: Any) -> Callable[[], Any]:
    cpu = Processor(**{"name": "cpu", **processor})
    return lambda: Computer([Task("a", cpu, period="10 ms", execution="1 ms")])


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (on(cores="2"), r"cpu: cores: '2' expected: a whole number"),
        (on(cores=2.0), r"cpu: cores: 2\.0"),
        (on(cores=0), r"cpu: cores: 0"),
        (on(name=5), r"name=5"),
        (on(frequencies=["1 GHz"]), r"cpu: frequencies: '1 GHz'"),
        (on(policy=Table(slots=[("0 ms", "1 ms")], cycle="10 ms")), r"the slot \('0 ms', '1 ms'\)"),
        (on(policy=RoundRobin(0)), r"cpu: quantum: 0 expected: a positive time"),
        (on(policy=RoundRobin(preemptive=3)), r"cpu: preemptive: 3"),
        (on(policy=Keyed(5)), r"Keyed\(5\) expected: a function of a job"),
        (lambda: Accelerator("npu", batch=1.5), r"npu: batch: 1\.5"),
        (lambda: Accelerator("npu", streams=0), r"npu: streams: 0"),
        (lambda: Accelerator("npu", time="1 ms"), r"npu: time: '1 ms'"),
        (lambda: CAN("can", faults=Loss(0.1)), r"can: faults: .*in a tuple"),
        (lambda: CAN("can", faults=("loss",)), r"can: faults"),
        (lambda: CAN("can", rate=0), r"can: rate: 0"),
        (lambda: CAN("can", rate=125_000.5), r"can: rate: 125000\.5"),
        (lambda: TDMA("bus", slots="ab"), r"bus: slots='ab'"),
        (lambda: TDMA("bus", rate=math.nan, slots=("a",)), r"bus: rate: nan"),
        (lambda: SwitchedEthernet("net", room=0.5), r"net: room: 0\.5"),
        (lambda: Mixture(["1 ms"], [math.nan]), r"Mixture: 1 parts, 1 weights: \[nan\]"),
        (lambda: Mixture(["1 ms", "2 ms"], [1, math.inf]), r"Mixture"),
        (lambda: Measured(["1 apple"]), r"Measured"),
        (lambda: Measured([None]), r"Measured"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], Any], what: str) -> None:
    with pytest.raises(ModelError) as caught:
        make()
    assert re.search(what, " ".join(str(caught.value).split())), caught.value


def test_rates_may_be_written_with_an_exponent() -> None:
    assert CAN("can", rate=5e5) == CAN("can", rate=500_000) and isinstance(CAN("can", rate=5e5).rate, int)


def test_times_may_be_measured_in_text() -> None:
    assert Measured(["1 ms", "20 us"]).times.tolist() == [1e-3, 20e-6]


@pytest.mark.parametrize(
    ("key", "what"),
    [
        (lambda job: None, "the key None"),
        (lambda job: math.nan, "the key nan"),
        (lambda job: (1, "x"), r"the key \(1, 'x'\)"),
        (lambda job: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_key_is_a_number(key: Callable[[Any], Any], what: str) -> None:
    cpu = Processor("cpu", policy=Keyed(key))
    with pytest.raises(RunError, match=f"task a: job 0: .*{what}"):
        Computer([Task("a", cpu, period="10 ms", execution="1 ms")]).schedule("20 ms")


def test_a_policy_takes_what_makes_it_without_a_name() -> None:
    """Jobs at 0, 1 and 1 ms: 9 goes before 5, and 1 is interrupted by both."""
    cpu = Processor("cpu", policy=Keyed(lambda job: -job.task.priority))
    tasks = [Task(f"p{p}", cpu, arrivals=[when], priority=p, execution=time)
             for p, when, time in ((1, "0 ms", "5 ms"), (9, "1 ms", "1 ms"), (5, "1 ms", "1 ms"))]  # fmt: skip
    ends = {job.task.name: job.end for job in Computer(tasks).schedule("20 ms").jobs}
    assert ends == {"p9": 2_000_000, "p5": 3_000_000, "p1": 7_000_000}

    turns = Processor("cpu", policy=RoundRobin("2 ms"))
    two = [Task(name, turns, arrivals=["0 ms"], execution="4 ms") for name in "ab"]
    used = Computer(two).schedule("20 ms").cores["cpu"]
    assert [(job.task.name, a, b) for job, a, b in used if job] == [
        (name, k * 2_000_000, (k + 1) * 2_000_000) for k, name in enumerate("abab")
    ]
