"""Tasks whose times depend on the loop: against latency=, an event-triggered loop by hand, early exit, restoring."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from simdl import RK4, Block, Diagram, Input, Output, State, derivative, simulate
from simdl.blocks import PI, Gain, UnitDelay
from simdl.computer import Compute, Computer, FixedPriority, Processor, Raise, Read, Run, Task, Uniform, Write
from simdl.computer.accelerator import Accelerator
from simdl.engine.simulator import Simulator
from simdl.errors import ModelError, RunError

STEP = RK4(max_step="10 ms")


class Lag(Block):
    """y' = u - y."""

    u, y = Input(), State(1.0)

    @derivative(y)
    def motion(self, y, u):
        return u - y


class Loop(Diagram):
    y, u = Output(), Output()

    def __init__(self, latency: str | None = None) -> None:
        self.plant = Lag()
        self.pi = PI(period="20 ms", latency=latency)
        self.pi.e = 1.5 - self.plant.y
        self.plant.u = self.pi.u
        self.y, self.u = self.plant.y, self.pi.u


def cpu() -> Processor:
    return Processor("cpu", policy=FixedPriority())


def steady(time) -> Computer:
    def body(job):
        yield Read("pi")
        yield Compute(time)
        yield Write("pi")

    return Computer([Task("control", cpu(), period="20 ms", body=body, runs=["pi"])])


def test_jobs_of_constant_length_are_a_latency() -> None:
    found = simulate(steady("7 ms").on(Loop(), live=True), until=1, every=0.011, lanes=2)["y"].values
    wanted = simulate(Loop("7 ms"), until=1, every=0.011, lanes=2)["y"].values
    assert torch.allclose(found, wanted, rtol=0, atol=1e-9)


def test_random_times_are_those_that_are_computed_before() -> None:
    computer = steady(Uniform("1 ms", "15 ms"))
    options = dict(until=1, every=0.011, lanes=3, seed=7)
    live = simulate(computer.on(Loop(), live=True), **options)["y"].values
    replayed = simulate(computer.on(Loop(), horizon=1), **options)["y"].values
    assert torch.allclose(live, replayed, rtol=0, atol=1e-9)


class Triggered(Diagram):
    """A sampled detector and a controller that runs only when the detector says so."""

    y, u = Output(), Output()

    def __init__(self) -> None:
        self.plant = Lag()
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
    model = computer.on(Loop(), live=True)
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


def test_a_job_of_several_blocks_gives_a_vector() -> None:
    class Two(Diagram):
        y = Output()

        def __init__(self) -> None:
            self.plant = Lag()
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
    model = Computer([Task("control", cpu(), period="20 ms", execution="5 ms", runs=["pi"])]).on(Loop(), live=True)
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(simulate(again, until=0.5)["y"].values, simulate(model, until=0.5)["y"].values)


def test_more_jobs_under_way_than_there_is_room_for_are_refused() -> None:
    def body(job):
        yield Read("pi")
        yield Run(Accelerator("npu", streams=8), "90 ms")
        yield Write("pi")

    computer = Computer([Task("control", cpu(), period="20 ms", body=body, runs=["pi"], instances=8)])
    with pytest.raises(RunError, match="pending"):
        simulate(computer.on(Loop(), live=True, pending=2), until=0.5)
    with pytest.raises(ModelError, match="horizon"):
        computer.on(Loop())
