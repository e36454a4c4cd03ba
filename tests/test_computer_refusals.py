"""Descriptions of a computer that nothing can be made of, and how they are refused."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from simdl import Diagram, Output, simulate
from simdl.computer import (
    CAN,
    TDMA,
    Accelerator,
    Compute,
    Computer,
    Degrade,
    Keyed,
    Link,
    Loss,
    Measured,
    Mixture,
    Process,
    Processor,
    Raise,
    Read,
    Replay,
    RoundRobin,
    Sleep,
    SwitchedEthernet,
    Table,
    Task,
    Traffic,
    Uniform,
    Wait,
    Write,
)
from simdl.errors import ModelError, NetworkError, RunError
from simdl.networks import Feature, ModelCard, Network
from tests.computer_loop import Lag, Loop


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


def alone(**task: Any) -> Callable[[], Any]:
    task = {"name": "a", "period": "10 ms", "execution": "1 ms", **task}
    return lambda: Computer([Task(on=Processor("cpu"), **task)])


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (alone(name=5), "name: 5"),
        (alone(priority="high"), "priority: 'high'"),
        (alone(priority=math.nan), "priority: nan"),
        (alone(priority=None), "priority: None"),
        (alone(instances=1.5), "instances: 1.5"),
        (alone(over="keep old"), "over: 'keep old' without a budget"),
        (alone(over=Degrade("1 ms")), "over: .* without a budget"),
        (alone(period=None, arrivals=["1 ms"], late="skip next"), "late: 'skip next' without a deadline"),
        (alone(late=Degrade("-1 ms")), "late: execution: '-1 ms'"),
        (alone(late=Degrade("1 ms", recover=-3)), "late: recover: -3"),
        (alone(late=Degrade(None)), "late: execution"),
        (alone(late=Degrade("kill")), "late: execution: 'kill'"),
    ],
)
def test_a_task_that_cannot_be_is_refused(make: Callable[[], Any], what: str) -> None:
    with pytest.raises(ModelError) as caught:
        make()
    assert re.search(what, " ".join(str(caught.value).split())), caught.value


def yielding(*steps: Any, forever: bool = False) -> Callable[[Any], Any]:
    def body(job: Any) -> Any:
        yield from steps
        while forever:
            yield from steps

    return body


@pytest.mark.parametrize(
    "task",
    [
        {"body": yielding(Compute(0), forever=True)},
        {"body": yielding(Sleep(0), forever=True)},
        {"body": yielding(Raise("x"), forever=True)},
        {"period": None, "arrivals": Measured([0.0]), "execution": 0},
        {"period": None, "arrivals": Uniform(0, 0), "execution": "1 ms"},
    ],
)
def test_time_that_stands_still_is_an_error(task: dict[str, Any]) -> None:
    made = alone(**({"execution": None} if "body" in task else {}), **task)()
    with pytest.raises(RunError, match="100000 steps at one time, 0 ns"):
        made.schedule("50 ms")


def test_two_tasks_that_release_each_other_in_no_time_are_an_error() -> None:
    cpu = Processor("cpu")
    first = Task("first", cpu, arrivals=["3 ms"], body=yielding(Raise("go")))
    again = Task("again", cpu, trigger="go", body=yielding(Raise("go")))
    with pytest.raises(RunError, match="task again.*steps at one time, 3000000 ns"):
        Computer([first, again]).schedule("50 ms")


def test_a_live_job_that_only_reads_fails() -> None:
    live = Computer([Task("c", Processor("cpu"), period="20 ms", runs=["pi"], body=yielding(Read("pi"), forever=True))],
                    live=True)  # fmt: skip
    run = simulate(live.on(Loop()), until=0.1, strict=False, record=["y"])
    assert "task c: job 0" in run.status[0][1] and "reads in a row" in run.status[0][1]


def test_what_nothing_releases_is_refused() -> None:
    cpu = Processor("cpu")

    def tasks(*of: Any, **options: Any) -> Computer:
        return Computer([Task(name, cpu, execution="1 ms", **how) for name, how in of], **options)

    with pytest.raises(ModelError, match="task a: trigger: 'b', which nothing"):
        tasks(("a", {"trigger": "b"}), ("b", {"trigger": "a"}))
    with pytest.raises(ModelError, match="task b: trigger: 'go', which nothing") as caught:
        tasks(("a", {"period": 1, "runs": ["x"]}), ("b", {"trigger": "go", "runs": ["go"]}), ("c", {"trigger": "x"}))
    assert "task c" not in str(caught.value)
    tasks(("b", {"trigger": "go"}), ("c", {"trigger": "b"}), events=["go"])
    with pytest.raises(ModelError, match="no task, block or event 'motor.sped'"):
        Traffic([Link("motor.speed", CAN("can"), period="10 ms"), Link("motor.u", CAN("can"), trigger="motor.sped")])


@pytest.mark.parametrize("step", [Raise("goo"), Wait("goo")])
def test_events_are_those_that_were_declared(step: Any) -> None:
    cpu = Processor("cpu")
    tasks = [Task("a", cpu, arrivals=[0], body=yielding(step)), Task("b", cpu, trigger="go", execution=0)]
    with pytest.raises(RunError, match="task a: job 0.*goo.*\n.*an event of events=\n.*did you mean: go"):
        Computer(tasks, events=["go"]).schedule(1)
    Computer(tasks).schedule(1)


def test_a_bare_yield_is_no_instruction() -> None:
    with pytest.raises(RunError, match="task a: job 0.*its body yields None"):
        alone(execution=None, body=yielding(Compute("1 ms"), None, Compute("1 ms")))().schedule(1)


def test_tables_hold_tasks_of_their_processor_on_cores_they_may_use() -> None:
    cpu = Processor("cpu", cores=2, policy=Table([("0 ms", "1 ms", "a"), ("2 ms", "3 ms", "aa", 1)], cycle="10 ms"))
    with pytest.raises(ModelError, match="no task 'aa' on it"):
        Computer([Task("a", cpu, period="10 ms", execution="1 ms")])
    cpu = Processor("cpu", cores=2, policy=Table([("0 ms", "5 ms", "a", 1)], cycle="10 ms"))
    with pytest.raises(ModelError, match="task a: affinity: 0, and a slot on core 1"):
        Computer([Task("a", cpu, period="10 ms", execution="1 ms", affinity=0)])


def test_two_tasks_that_run_one_block_are_named() -> None:
    cpu = Processor("cpu")
    with pytest.raises(ModelError, match="'pi' is run by a and b"):
        Computer([Task(name, cpu, period=1, execution=0, runs=["pi"]) for name in "ab"])


def test_logs_begin_at_zero() -> None:
    with pytest.raises(ModelError, match="a read at -1 s"):
        Replay({"pi": ([-1.0], [0.0])})


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


def running(body: Any = None, **task: Any) -> Computer:
    task = {"period": "20 ms", "execution": "1 ms", "runs": ["pi"], **task}
    return Computer([Task("control", Processor("cpu"), body=body, **task)])


def test_a_block_that_a_body_reads_is_run_by_a_task() -> None:
    """Else the diagram would run it as if there were no computer."""
    computer = running(yielding(Read("pi"), Compute("1 ms"), Write("pi")), runs=[])
    with pytest.raises(ModelError, match=r"a body reads 'pi', which no task runs"):
        computer.on(Loop(), horizon=1)


@pytest.mark.parametrize(
    ("body", "what"), [((Compute("1 ms"),), "reads"), ((Read("pi"), Compute("1 ms")), "writes or sends")]
)
def test_what_is_never_shown_is_warned_about(body: tuple[Any, ...], what: str) -> None:
    with pytest.warns(UserWarning, match=f"pi: none of the 50 jobs of task control in lane 0 {what} it"):
        running(yielding(*body)).on(Loop(), horizon="990 ms")


def test_another_rate_than_the_block_has_is_warned_about() -> None:
    with pytest.warns(UserWarning, match="pi: task control runs it every 200 ms, its own period is 20 ms"):
        running(period="200 ms").on(Loop(), horizon=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        running(period=None, rate=50).on(Loop(), horizon=1)
        running(period=None, arrivals=[0, 0.3]).on(Loop(), horizon=1)


def test_a_network_is_not_run_at_another_rate_than_its_card_says() -> None:
    class Learnt(Diagram):
        y = Output()

        def __init__(self, **options: Any) -> None:
            self.plant = Lag()
            card = ModelCard(name="net", factory="mlp", inputs=(Feature(name="x"),), outputs=(Feature(name="y"),),
                             sample_time_ns=20_000_000)  # fmt: skip
            self.net = Network(torch.nn.Linear(1, 1), card=card, **options)
            self.net.x = self.plant.y
            self.plant.u = self.net.y
            self.y = self.plant.y

    slow = running(period="40 ms", runs=["net"])
    with pytest.raises(NetworkError, match=r"net: task control runs it every 40 ms, its own period is 20 ms"):
        slow.on(Learnt(), horizon=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        slow.on(Learnt(period="40 ms", allow_rate=True), horizon=1)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"inputs": ["t"]}, "port 't': the block's own"),
        ({"inputs": ["due"]}, "port 'due': the block's own"),
        ({"inputs": ["n"], "outputs": ["n"]}, "port 'n': an input and an output"),
        ({"outputs": ["n"], "every": 0}, "every=0"),
    ],
)
def test_ports_of_a_process_have_names_of_their_own(given: dict[str, Any], what: str) -> None:
    with pytest.raises(ModelError, match=what):
        Process(lambda env, ports: None, **given)
