"""Frequency levels, energy and batteries: closed forms, and schedules that do not depend on how they are written."""

from __future__ import annotations

from fractions import Fraction

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from simdl import Diagram, Output, simulate
from simdl.blocks import Gain, Ramp
from simdl.computer import (
    Acquire,
    Battery,
    Compute,
    Computer,
    Frequency,
    Lock,
    Processor,
    RoundRobin,
    Scale,
    Sleep,
    Task,
)
from simdl.computer.analysis import demands, response_times
from simdl.computer.plot import load
from simdl.errors import ModelError, RunError

matplotlib.use("Agg")
FAST, SLOW = Frequency(1, active=3.0, idle=0.4), Frequency(0.4, active=0.8, idle=0.1)
MS = 1_000_000


def body_of(*steps):
    """Texts are computed; everything else is yielded as it is."""

    def body(job):
        for step in steps:
            yield Compute(step) if isinstance(step, str) else step

    return body


def test_times_are_divided_by_the_factor_and_energy_is_power_times_time():
    """2 ms every 10 ms take 5 ms at 0.4: 0.5 s of each second at work."""
    cpu = Processor("cpu", frequencies=[SLOW, FAST])
    task = Task("control", cpu, period="10 ms", execution="2 ms")
    history = Computer([task]).schedule("1 s")
    assert set(history.responses("control").tolist()) == {5 * MS}
    assert history.energy() == {"cpu": pytest.approx(0.5 * 0.8 + 0.5 * 0.1, abs=1e-12)}
    assert history.energy("task") == {"control": pytest.approx(0.4), "idle": pytest.approx(0.05)}
    assert response_times(demands([task])) == {"control": 5 * MS}


@pytest.mark.parametrize("factor", [1, 0.5, Fraction(1, 3), 0.3])
def test_slower_is_cheaper_where_power_grows_faster_than_frequency(factor):
    """With P = f^3 and no idle power a computation of C takes C / f and the energy C f^2."""
    cpu = Processor("cpu", frequencies=[Frequency(factor, active=float(factor) ** 3)])
    history = Computer([Task("t", cpu, period="1 s", execution="0.2 s")]).schedule("10 s")
    assert history.energy()["cpu"] == pytest.approx(10 * 0.2 * float(factor) ** 2, rel=1e-8)


def test_a_body_changes_the_frequency_of_its_own_rest_and_of_what_it_interrupts():
    """low: 1 ms of 10 at 1, the rest at 0.4 from 1 ms on, but for 2 ms that high works: 1 + 2 / 0.4 + 9 / 0.4."""
    cpu = Processor("cpu", frequencies=[FAST, SLOW])
    history = Computer([
        Task("high", cpu, arrivals=["1 ms"], priority=1, body=body_of(Scale(0.4), "2 ms")),
        Task("low", cpu, arrivals=["0 ms"], priority=2, execution="10 ms"),
    ]).schedule("100 ms")  # fmt: skip
    assert [job.end for job in history.of("high")] == [6 * MS]
    assert [job.end for job in history.of("low")] == [28_500_000]
    found = history.energy("task")
    assert found["high"] == pytest.approx(5e-3 * 0.8)
    assert found["low"] == pytest.approx(1e-3 * 3.0 + 22.5e-3 * 0.8)
    assert found["idle"] == pytest.approx(71.5e-3 * 0.1)
    assert [(at, one.factor) for at, one in history.frequencies["cpu"]] == [(0, 1), (MS, 0.4)]


def test_a_change_reaches_the_other_cores_at_once():
    cpu = Processor("cpu", cores=2, frequencies=[FAST, SLOW])
    history = Computer([
        Task("long", cpu, arrivals=["0 ms"], priority=1, execution="10 ms"),
        Task("saver", cpu, arrivals=["0 ms"], priority=2, body=body_of("4 ms", Scale(0.4), Sleep("5 ms"), Scale(1))),
    ]).schedule("30 ms")  # fmt: skip
    assert [job.end for job in history.of("long")] == [13 * MS]  # 4 at 1, 5 at 0.4, 4 at 1
    assert sum(history.energy().values()) == pytest.approx(1e-3 * (4 * 6.0 + 5 * 0.9 + 4 * 3.4 + 17 * 0.8))


FACTORS = [Fraction(1), Fraction(1, 3), Fraction(2, 7), Fraction(5, 2)]
levels = st.lists(st.sampled_from(FACTORS), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(levels, st.integers(1, 3), st.booleans())
def test_work_is_done_exactly_however_often_the_frequency_changes(factors, quantum, shared):
    """A job of W ns of work ends within 1 ns of the time at which the factors have summed up to W."""
    policy = {"policy": RoundRobin(quantum=f"{quantum} us")} if shared else {}
    every = [Frequency(f, active=1.0) for f in FACTORS]
    cpu = Processor("cpu", cores=2, frequencies=every, **policy)
    steps = [step for factor in factors for step in (Scale(factor), Sleep("1001 ns"))]
    history = Computer([
        Task("work", cpu, arrivals=["0 ns"], priority=1, execution="50 us", affinity=0),
        Task("scale", cpu, arrivals=["0 ns"], priority=2, body=body_of(*steps), affinity=1),
    ]).schedule("1 ms")  # fmt: skip
    done, at = Fraction(0), 0
    for factor in factors:
        if done + factor * 1001 >= 50_000:
            break
        done, at = done + factor * 1001, at + 1001
    else:
        factor = factors[-1]
    exact = at + (50_000 - done) / factor
    (end,) = [job.end for job in history.of("work")]
    assert exact <= end < exact + 1


def test_the_energy_by_core_is_the_energy_by_task():
    cpu = Processor("cpu", cores=2, context_switch="20 us", frequencies=[FAST, SLOW])
    history = Computer([
        Task("a", cpu, period="3 ms", priority=1, body=body_of(Scale(1), "1 ms", Scale(0.4))),
        Task("b", cpu, period="7 ms", priority=2, execution="3 ms"),
        Task("c", Processor("other"), period="7 ms", priority=2, execution="3 ms"),
    ]).schedule("0.1 s")  # fmt: skip
    by_core, by_task = history.energy(), history.energy("task")
    assert sum(by_core.values()) == pytest.approx(sum(by_task.values()), rel=1e-12)
    assert by_task["context switch"] > 0 and by_core["other"] == by_task["c"] == 0


class Sampled(Diagram):
    y = Output()

    def __init__(self) -> None:
        self.ramp, self.gain = Ramp(), Gain(k=1.0, period="10 ms")
        self.gain.u = self.ramp.y
        self.y = self.gain.y


@pytest.mark.parametrize("live", [False, True])
def test_an_empty_battery_stops_the_processor_and_the_loop_holds(live):
    """A job of 4 ms every 10 ms at 3 W, 0.4 W else: 14.4 mJ a period; 50 mJ last 3 of them and 2.2667 ms of work."""
    cpu = Processor("cpu", frequencies=[FAST], battery=Battery(0.050))
    computer = Computer([Task("control", cpu, period="10 ms", execution="4 ms", runs=["gain"])])
    model = computer.on(Sampled(), live=True) if live else computer.on(Sampled(), horizon=1)
    found = simulate(model, until=0.1, every="10 ms")["y"].values[0].numpy()
    assert np.allclose(found, [0, 0, 0.01, *[0.02] * 8], rtol=0, atol=1e-9)
    history = computer.schedule("0.1 s")
    assert history.counts("control") == {"done": 3, "killed": 1, "skipped": 7}
    end = history.of("control")[3].end
    assert 0 <= end - (30 * MS + (0.050 - 3 * 0.0144) / 3.0 * 1e9) < 2
    assert history.energy()["cpu"] == pytest.approx(0.050, abs=1e-8)


def test_processors_share_a_battery_and_jobs_that_wait_are_over():
    battery = Battery(0.02)
    one, two = (Processor(name, frequencies=[Frequency(1, active=1.0)], battery=battery) for name in ("one", "two"))
    lock = Lock("lock")
    history = Computer([
        Task("a", one, arrivals=["0 ms"], body=body_of(Acquire(lock), "50 ms")),
        Task("waits", one, arrivals=["0 ms"], priority=1, body=body_of(Acquire(lock), "50 ms")),
        Task("b", two, period="1 ms", execution="50 ms"),
    ]).schedule("40 ms")  # fmt: skip
    assert {job.end for job in history.jobs if job.status == "killed"} == {10 * MS}  # 2 W of 20 mJ
    assert history.counts("a") == history.counts("waits") == {"killed": 1}
    assert history.counts("b") == {"killed": 11, "skipped": 30}
    assert sum(history.energy().values()) == pytest.approx(0.02, abs=1e-8)


def test_the_load_plot_shows_who_uses_the_energy():
    cpu = Processor("cpu", frequencies=[SLOW])
    axes = load(Computer([Task("control", cpu, period="10 ms", execution="2 ms")]).schedule("1 s"))
    names = [text.get_text() for text in axes.get_yticklabels()]
    widths = dict(zip(names, (bar.get_width() for bar in axes.patches)))
    assert widths["control: energy"] == pytest.approx(100 * 0.4 / 0.45)
    assert "0.4 J" in [text.get_text() for text in axes.texts]


def test_what_is_wrong_with_levels_is_said():
    for options, said in (
        ({"frequencies": [Frequency(0)]}, "above 0"),
        ({"frequencies": [Frequency(1, active=-1.0)]}, "above 0"),
        ({"frequencies": [Frequency(float("nan"))]}, "above 0"),
        ({"frequencies": [Frequency(1), Frequency(1, idle=2.0)]}, "two with one factor"),
        ({"battery": Battery(1.0)}, "nothing uses it"),
    ):
        with pytest.raises(ModelError, match=said):
            Computer([Task("t", Processor("cpu", **options), period="1 ms", execution="1 us")])
    with pytest.raises(ModelError, match="above 0 J"):
        Battery(0.0)
    cpu = Processor("cpu", frequencies=[FAST, SLOW])
    history = Computer([Task("t", cpu, period="1 ms", body=body_of(Scale(0.7)))])
    with pytest.raises(RunError, match=r"Scale\(0.7\)"):
        history.schedule("1 ms")
    with pytest.raises(ModelError, match="by="):
        Computer([Task("t", cpu, period="1 ms", execution="1 us")]).schedule("1 ms").energy("job")
