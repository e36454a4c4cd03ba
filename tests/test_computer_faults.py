"""What a user who attacked the computer found: figures by hand."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

import simdl
from simdl.computer import (
    CAN,
    Accelerator,
    Compute,
    Computer,
    Correlated,
    Degrade,
    Measured,
    Mixture,
    Normal,
    Processor,
    Read,
    RoundRobin,
    Run,
    Send,
    SwitchedEthernet,
    Table,
    Task,
    Uniform,
)  # fmt: skip
from simdl.computer.analysis import demands, edf_feasible, liu_layland, response_times, schedulable
from simdl.computer.plot import gantt
from simdl.errors import ModelError, RunError, SimdlError

matplotlib.use("Agg")
MS = 10**6


def ends(history):
    return [(job.task.name, job.end / MS) for job in history.jobs]


@pytest.mark.parametrize(
    "settings, time, use",
    [({}, "1 s", 1.0), ({"streams": 4}, "5 ms", 0.125),
     ({"copy": "1 ms", "copy_back": "1 ms", "overlap": True}, "8 ms", 0.8)],
)  # fmt: skip
def test_use_counts_every_stream_to_the_end_of_the_schedule(settings, time, use):
    npu = Accelerator("npu", **settings)

    def body(job):
        yield Run(npu, time)

    history = Computer([Task("a", Processor("cpu"), arrivals=[0], body=body)]).schedule("10 ms")
    assert history.utilisation("npu") == history.utilisation(npu) == pytest.approx(use)
    assert history.utilisation(Accelerator("idle")) == 0.0


def test_a_processor_is_used_as_its_cores_are_on_average():
    cpu = Processor("cpu", cores=4)
    history = Computer([Task("a", cpu, period="10 ms", execution="2 ms")]).schedule("10 ms")
    assert history.utilisation("cpu[0]") == pytest.approx(0.2) and history.utilisation("cpu") == pytest.approx(0.05)
    for ask in (history.utilisation, history.of, history.responses, history.accesses, history.ages):
        with pytest.raises(RunError, match="cpux"):
            ask("cpux")


def halves(job):
    for _ in range(10):
        yield Compute("0.5 ms")


@pytest.mark.parametrize("how", [{"execution": "5 ms"}, {"body": halves}])
def test_a_quantum_goes_on_from_one_computation_to_the_next(how):
    cpu = Processor("cpu", policy=RoundRobin(quantum="1 ms"))
    tasks = [Task("a", cpu, period="1 s", **how), Task("b", cpu, period="1 s", execution="5 ms")]
    assert ends(Computer(tasks).schedule("50 ms")) == [("a", 9), ("b", 10)]


def test_a_budget_does_not_end_a_quantum():
    cpu = Processor("cpu", policy=RoundRobin(quantum="2 ms"))
    tasks = [Task("a", cpu, period="1 s", execution="4 ms", budget="1 ms"),
             Task("b", cpu, period="1 s", execution="4 ms")]  # fmt: skip
    assert ends(Computer(tasks).schedule("50 ms")) == [("a", 6), ("b", 8)]


def test_the_rest_of_a_context_switch_is_paid_in_the_next_slot():
    """0.3 of 0.6 ms before 1 ms, 0.3 after 4 ms; then 0.7, 1 and 0.3 ms of work in slots that begin at 4, 8, 12 ms."""
    table = Table(slots=[(0, "1 ms", "a")], cycle="4 ms")
    cpu = Processor("cpu", policy=table, context_switch="0.6 ms")
    task = Task("a", cpu, period="40 ms", offset="0.7 ms", execution="2 ms")
    assert ends(Computer([task]).schedule("39 ms")) == [("a", 12.3)]


def test_a_job_over_its_budget_is_followed_by_the_variant_of_budgets():
    task = Task("a", Processor("cpu"), period="10 ms", late=Degrade("1 ms"), over=Degrade("3 ms"), budget="6 ms",
                execution=lambda job: 0.008 if job.index == 1 else 0.005)  # fmt: skip
    used = [job.used / MS for job in Computer([task]).schedule("35 ms").jobs]
    assert used == [5, 8, 3, 5]


def test_bounds_hold_for_clocks_that_drift():
    """At 5/4 of true time periods of 10 and 20 ns take 8 and 16: 5 + ceil(13 / 8) 4 = 13, not 9."""
    cpu = Processor("cpu", drift=0.25)
    tasks = [Task("a", cpu, period="10 ns", execution="4 ns", priority=1),
             Task("b", cpu, period="20 ns", execution="5 ns", priority=2)]  # fmt: skip
    assert response_times(demands(tasks)) == {"a": 4, "b": 13}
    assert Computer(tasks).schedule("160 ns").responses("b").max() == 13
    full = [Task("a", Processor("c", drift=0.01), period="10 ms", execution="9.95 ms")]
    assert schedulable(full) == {"a": False}


def test_every_core_is_analysed_alone():
    cpu = Processor("cpu", cores=2)
    tasks = [Task(name, cpu, period="10 ms", execution="8 ms", affinity=k, priority=k) for k, name in enumerate("ab")]
    assert schedulable(tasks) == {"a": True, "b": True}
    with pytest.raises(ModelError, match="several cores"):
        demands(tasks)


def test_what_bounds_a_time_is_known():
    cpu = Processor("cpu")
    for time, cost in (
        (Normal("1 ms", "1 ms", high="3 ms"), 3), (Measured([0.001, 0.004]), 4),
        (Mixture([Uniform("1 ms", "2 ms"), "5 ms", "9 ms"], [1, 1, 0]), 5),
        (Correlated(Uniform("1 ms", "2 ms"), 0.5), 2),
    ):  # fmt: skip
        assert demands([Task("a", cpu, rate=30, execution=time)])[0].cost == cost * MS
    killed = Task("a", cpu, rate=30, execution=lambda job: 1.0, budget="3 ms", over="kill")
    assert (demands([killed])[0].cost, demands([killed])[0].period) == (3 * MS, 33_333_333)
    assert edf_feasible([])
    with pytest.raises(ModelError, match="at least one"):
        liu_layland(0)


def test_a_correlated_mixture_keeps_its_distribution():
    """A third from 1 to 2 ms, the others from 4 to 6 ms: the mean is 1.5 / 3 + 5 * 2 / 3 = 3.83 ms."""
    mixture = Correlated(Mixture([Uniform("1 ms", "2 ms"), Uniform("4 ms", "6 ms")], [1, 2]), 0.8)
    draws = np.random.default_rng(1).uniform(size=(40_000, 1))
    times = mixture.durations(draws, 0, 0.0)[0] / MS
    assert times.mean() == pytest.approx(3.8333, abs=0.06) and (times < 3).mean() == pytest.approx(1 / 3, abs=0.02)
    assert np.corrcoef(times[:-1], times[1:])[0, 1] > 0.5


def test_ages_are_those_after_a_change_and_before_the_next():
    history = Computer([Task("a", Processor("c"), period="10 ms", execution="2 ms", runs=["x"])]).schedule("25 ms")
    after, before = history.ages("x")
    assert (after / MS).tolist() == [2, 2, 2] and (before / MS).tolist() == [12, 12, 5]


def test_short_bars_are_seen():
    """28 frames of 91 us in 197 ms: a pixel or more of each, in the colour of the task, in both rows."""
    eth = SwitchedEthernet("eth")

    def send(job):
        yield Read("log")
        yield Send(eth, "log", bits=9000, to="cpu")

    history = Computer([Task("log", Processor("ecu"), period="7 ms", body=send, runs=["log"])]).schedule("200 ms")
    axes = gantt(history, "3 ms", "200 ms")
    figure = axes.figure
    figure.canvas.draw()
    image = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    for row in range(2):
        y = image.shape[0] - int(axes.transData.transform((0, row))[1])
        seen = (abs(image[y] - 255).sum(axis=1) > 150)[int(axes.bbox.x0) + 4 : int(axes.bbox.x1) - 4]
        assert np.sum(np.diff(seen.astype(int)) == 1) == 28


def test_what_is_wrong_is_said():
    cpu, can = Processor("cpu"), CAN("can")

    def run(body=None, **settings):
        Computer([Task("a", cpu, period="10 ms", body=body, **settings)]).schedule("5 ms")

    def yields(*steps):
        def body(job):
            yield from steps

        return body

    for match, body, settings in (
        ("Accelerator, not its name", yields(Run("npu", "1 ms")), {}),
        ("Bus, not its name", yields(Read("x"), Send("can", "x")), {}),
        ("at least 0", yields(Read("x"), Send(can, "x", bits=-100)), {}),
        ("one of its ports", yields(Read("x"), Send(SwitchedEthernet("eth", ports=("hub",)), "x", to="hob")), {}),
        ("generator", lambda job: None, {}),
        ("finite", None, {"execution": lambda job: float("nan")}),
        ("without a budget", None, {"execution": "1 ms", "over": "kill"}),
        ("as text", None, {"execution": "1 ms", "runs": [cpu]}),
        ("simdl.computer.Uniform", None, {"execution": simdl.Uniform(0.1, 0.2)}),
    ):
        with pytest.raises(SimdlError, match=match):
            run(body, **settings)
