"""Tasks whose times depend on the loop: against latency=, an event-triggered loop by hand, early exit, restoring."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from simdl import RK4, Block, Diagram, Input, Output, simulate, tick
from simdl.blocks import Gain, UnitDelay
from simdl.computer import (
    Compute,
    Computer,
    Exponential,
    FixedPriority,
    Processor,
    Raise,
    Read,
    Run,
    Task,
    Uniform,
    Write,
    schedule_of,
)
from simdl.computer.accelerator import Accelerator
from simdl.engine.simulator import Simulator
from simdl.errors import LoweringError, ModelError, RunError
from tests.computer_loop import Lag, Loop

STEP = RK4(max_step="10 ms")


def loop(latency: str | None = None) -> Loop:
    return Loop(latency, start=1.0, wanted=1.5)


def cpu() -> Processor:
    return Processor("cpu", policy=FixedPriority())


def steady(time) -> Computer:
    def body(job):
        yield Read("pi")
        yield Compute(time)
        yield Write("pi")

    return Computer([Task("control", cpu(), period="20 ms", body=body, runs=["pi"])])


def test_jobs_of_constant_length_are_a_latency() -> None:
    found = simulate(steady("7 ms").on(loop(), live=True), until=1, every=0.011, lanes=2)["y"].values
    wanted = simulate(loop("7 ms"), until=1, every=0.011, lanes=2)["y"].values
    assert torch.allclose(found, wanted, rtol=0, atol=1e-9)


def test_random_times_are_those_that_are_computed_before() -> None:
    computer = steady(Uniform("1 ms", "15 ms"))
    options = dict(until=1, every=0.011, lanes=3, seed=7)
    live = simulate(computer.on(loop(), live=True), **options)["y"].values
    replayed = simulate(computer.on(loop(), horizon=1), **options)["y"].values
    assert torch.allclose(live, replayed, rtol=0, atol=1e-9)


class Triggered(Diagram):
    """A sampled detector and a controller that runs only when the detector says so."""

    y, u = Output(), Output()

    def __init__(self) -> None:
        self.plant = Lag(start=1.0)
        self.detector = Gain(k=1.0)
        self.detector.u = self.plant.y
        self.controller = Gain(k=-2.0)
        self.controller.u = self.detector.y
        self.plant.u = self.controller.y
        self.y, self.u = self.plant.y, self.controller.y


def event_triggered(threshold: float) -> Computer:
    def watch(job):
        seen = yield Read("detector")
        yield Compute("1 ms")
        yield Write("detector")
        if abs(seen) > threshold:
            yield Raise("far")

    def control(job):
        yield Read("controller")
        yield Compute("2 ms")
        yield Write("controller")

    return Computer([
        Task("watch", cpu(), period="50 ms", body=watch, runs=["detector"]),
        Task("control", Processor("other"), trigger="far", body=control, runs=["controller"]),
    ])  # fmt: skip


def test_event_triggered_control_is_the_loop_computed_by_hand() -> None:
    """Exponentials between the instants at which the detector reads, publishes, and the controller publishes."""
    threshold, steps = 0.3, 30
    model = event_triggered(threshold).on(Triggered(), live=True)
    found = simulate(model, until=1.5, record=["y", "u"], every=0.05, solver=STEP)

    def flow(y: float, u: float, t: float) -> float:
        return u + (y - u) * np.exp(-t)

    y, u, wanted, counts = 1.0, 0.0, [], 0
    for _ in range(steps):
        wanted.append(y)
        seen = y
        if abs(seen) > threshold:
            counts += 1
            y = flow(y, u, 0.003)
            u = -2.0 * seen
            y = flow(y, u, 0.047)
        else:
            y = flow(y, u, 0.05)
    assert 2 < counts < steps  # it is triggered, and not always
    assert np.allclose(found["y"].values[0, :steps].numpy(), wanted, rtol=0, atol=1e-7)


def test_an_early_exit_takes_less_time_when_the_value_is_easy() -> None:
    npu = Accelerator("npu")

    def body(job):
        value = yield Read("pi")
        yield Run(npu, "2 ms" if abs(value) < 0.8 else "12 ms")
        yield Write("pi")

    computer = Computer([Task("control", cpu(), period="20 ms", body=body, runs=["pi"])])
    model = computer.on(loop(), live=True)
    run = simulate(model, until=2, record=["pi.u", "pi.captured", "pi_age.age"], every="1 ms")
    t, captured, u = run["pi.u"].t.numpy(), run["pi.captured"].values[0].numpy(), run["pi.u"].values[0].numpy()
    assert np.allclose(run["pi_age.age"].values[0].numpy(), t - captured, rtol=0, atol=1e-9)
    changes = np.flatnonzero(np.diff(captured) > 0) + 1
    easy = np.abs(u[changes]) < 0.8
    assert easy.any() and not easy.all()
    late = t[changes] - captured[changes] - np.where(easy, 0.002, 0.012)
    assert np.all(late > -1e-9) and np.all(late < 0.001 + 1e-6)  # the grid shows it within 1 ms


def test_lanes_go_their_own_way_and_alone_as_in_the_batch() -> None:
    model = event_triggered(0.3).on(Triggered(), live=True)
    start = torch.tensor([1.0, 0.2, -0.7, 0.31])
    batch = Simulator(model, set={"plant.y": start}, solver=STEP)
    batch.run_until(1)
    for lane in (1, 2):
        alone = Simulator(model, set={"plant.y": start[lane : lane + 1]}, ids=torch.tensor([lane]), solver=STEP)
        alone.run_until(1)
        assert torch.equal(alone[model.plant.y], batch[model.plant.y][lane : lane + 1])


@pytest.mark.parametrize("at", ["0.4 s", "0.4513 s"])
def test_a_restored_snapshot_brings_the_jobs_under_way_back(at: str) -> None:
    model = event_triggered(0.2).on(Triggered(), live=True)
    sim = Simulator(model, set={"plant.y": torch.tensor([1.0, -0.6])}, solver=STEP)
    sim.run_until(at)
    snapshot = sim.snapshot()
    sim.run_until(1)
    wanted = sim[model.plant.y].clone()
    sim.restore(snapshot)
    sim.run_until(1)
    assert torch.equal(sim[model.plant.y], wanted)


def test_a_job_that_reads_several_blocks_is_told_of_each() -> None:
    class Two(Diagram):
        y = Output()

        def __init__(self) -> None:
            self.plant = Lag(start=1.0)
            self.a, self.b = UnitDelay(period="20 ms"), Gain(k=3.0)
            self.a.u = self.plant.y
            self.b.u = self.plant.y
            self.plant.u = self.a.y - self.b.y
            self.y = self.plant.y

    seen = []

    def body(job):
        a, b = yield Read("a", "b")
        seen.append((a, b))
        yield Compute("1 ms")
        yield Write("a", "b")

    simulate(Computer([Task("t", cpu(), period="20 ms", body=body, runs=["a", "b"])]).on(Two(), live=True), until=0.1)
    assert seen[0] == (0.0, 3.0)  # the delay's first value, and three times y(0) = 1


def test_a_pickled_model_runs_alike() -> None:
    model = Computer([Task("control", cpu(), period="20 ms", execution="5 ms", runs=["pi"])]).on(loop(), live=True)
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(simulate(again, until=0.5)["y"].values, simulate(model, until=0.5)["y"].values)


def test_more_jobs_under_way_than_there_is_room_for_are_refused() -> None:
    npu = Accelerator("npu", streams=8)

    def body(job):
        yield Read("pi")
        yield Run(npu, "90 ms")
        yield Write("pi")

    computer = Computer([Task("control", cpu(), period="20 ms", body=body, runs=["pi"], instances=8)])
    with pytest.raises(RunError, match="pending"):
        simulate(computer.on(loop(), live=True, pending=2), until=0.5, strict=True)
    with pytest.raises(ModelError, match="horizon"):
        computer.on(loop())


class Shape(Block):
    """A block of several outputs: a number, an array, a whole number, an image."""

    u = Input()
    level, ladder = Output(), Output((3,))
    count, image = Output((), dtype="int64"), Output((4, 4), dtype="uint8")

    @tick
    def look(self, u, t):
        return dict(
            level=2 * u,
            ladder=torch.stack([u, u + 1, u + 2], -1),
            count=torch.full_like(u, 7).to(torch.int64),
            image=torch.full((len(u), 4, 4), 200, dtype=torch.uint8),
        )


class Eye(Diagram):
    u, level = Input(), Output()

    def __init__(self) -> None:
        self.shape = Shape(period="20 ms")
        self.shape.u = self.u
        self.level = self.shape.level


class Sight(Diagram):
    y = Output()

    def __init__(self) -> None:
        self.plant, self.eye, self.alone = Lag(start=1.0), Eye(), Shape(period="20 ms")
        self.plant.u, self.eye.u, self.alone.u = 0.0, self.plant.y, self.plant.y
        self.y = self.plant.y


def read(*names: str, runs: str = "alone"):
    """What the first job is told that reads these names."""
    seen: list = []

    def body(job):
        seen.append((yield Read(*names)))
        yield Write()

    computer = Computer([Task("t", cpu(), period="20 ms", body=body, runs=[runs])], live=True)
    simulate(computer.on(Sight()), until=0.03, solver=STEP)
    return seen[0]


def test_a_job_is_told_numbers_by_the_names_of_outputs_and_arrays_by_their_path() -> None:
    values, ladder, image = read("alone", "alone.ladder", "alone.image")
    assert values == {"level": 2.0, "count": 7} and isinstance(values["count"], int)
    assert ladder.tolist() == [1.0, 2.0, 3.0]
    assert image.dtype == np.uint8 and image.shape == (4, 4) and bool((image == 200).all())
    assert read("alone.count") == 7
    with pytest.raises(KeyError, match=r'Read\("alone.image"\)'):
        values["image"]
    with pytest.raises(KeyError, match="level, count, ladder, image"):
        values["levl"]


def test_a_diagram_gives_its_own_outputs_and_those_inside_by_path() -> None:
    assert read("eye", runs="eye") == 2.0
    assert read("eye.level", "eye.shape.count", runs="eye") == (2.0, 7)
    with pytest.raises(RunError, match="did you mean: eye.level"):
        read("eye.levl", runs="eye")


def loaded() -> Computer:
    """A controller whose accelerator others use at random, far more often."""
    npu = Accelerator("npu")

    def control(job):
        yield Read()
        yield Run(npu, "2 ms")
        yield Write()

    def other(job):
        yield Run(npu, Uniform("0.1 ms", "1 ms"))

    return Computer([
        Task("control", cpu(), period="20 ms", body=control, runs=["pi"]),
        Task("others", Processor("more"), arrivals=Exponential("1 ms"), body=other, instances=32),
    ])  # fmt: skip


def test_the_loop_is_not_woken_for_what_it_cannot_see() -> None:
    options = dict(until=0.4, every=0.011, lanes=2, seed=3)
    model = loaded().on(loop(), live=True)
    live = simulate(model, **options)["y"].values
    replayed = simulate(loaded().on(loop(), horizon=1), **options)["y"].values
    assert torch.allclose(live, replayed, rtol=0, atol=1e-9)
    schedule, known = schedule_of(model, lane=1, seed=3), loaded().schedule(until=0.4, seed=3, lane=1)
    late = [job.end for job in known.of("control")][:-1]
    assert [job.end for job in schedule.of("control")][: len(late)] == pytest.approx(late, abs=1)
    entries = len(type(model.computers)._live.history.tracks[1, 3].times)
    assert entries < 0.5 * sum(len(known.of(name)) for name in ("control", "others"))


def test_a_task_that_reads_what_another_one_runs_is_refused() -> None:
    def spy(job):
        yield Compute("0.3 ms")
        yield Read("pi")

    tasks = [*loaded().tasks, Task("spy", Processor("s"), arrivals=["30 ms"], body=spy)]
    with pytest.raises(RunError, match="a task that does not run it"):
        simulate(Computer(tasks, live=True).on(loop()), until=0.1)
    with pytest.raises(ModelError, match="a diagram on a computer"):
        schedule_of(loop())
    with pytest.raises(ModelError, match="lane 0, seed 0"):
        schedule_of(loaded().on(loop(), live=True))  # nothing has run yet


def test_histories_are_kept_as_long_as_the_simulators_of_their_lanes() -> None:
    model = steady("7 ms").on(loop(), live=True)
    history = type(model.computers)._live.history
    first = Simulator(model, lanes=2, seed=1)
    first.run_until(0.1)
    snapshot = first.snapshot()
    simulate(model, until=0.1, lanes=3, seed=2)
    simulate(model, until=0.1, lanes=1, seed=3)
    assert sorted(history.tracks) == [(0, 1), (0, 3), (1, 1)]
    first.restore(snapshot)
    first.run_until(0.2)
    del first, snapshot
    simulate(model, until=0.1, lanes=1, seed=4)
    assert sorted(history.tracks) == [(0, 4)]


def test_the_native_engine_says_why_it_does_not_run_a_live_computer() -> None:
    with pytest.raises(LoweringError, match="programs of their own in Python"):
        simulate(loaded().on(loop(), live=True), until=0.1, engine="native")
    assert "programs of their own" in simulate(loaded().on(loop(), live=True), until=0.1, engine="auto").why
