"""SimPy processes as blocks: queues against their closed forms, ports, restoring, lanes."""

from __future__ import annotations

import pickle

import pytest
import simpy
import torch

from simdl import RK4, Block, Diagram, Input, Output, State, derivative, simulate, tick
from simdl.computer.process import Process
from simdl.engine.simulator import Simulator
from simdl.errors import ModelError, RunError
from simdl.slots.copying import copied

STEP = RK4(max_step=0.01)


class Rising(Block):
    """y' = 1."""

    y = State(0.0)

    @derivative(y)
    def motion(self, y):
        return torch.ones_like(y)


def single_server(service):
    """A queue with Poisson arrivals at rate 5 and one server of mean time 0.1; it sums the times spent in it."""

    def line(env: simpy.Environment, ports) -> None:
        queue: simpy.Store = simpy.Store(env)

        def arrivals():
            while True:
                yield env.timeout(ports.random.exponential(0.2))
                yield queue.put(env.now)

        def server():
            while True:
                came = yield queue.get()
                yield env.timeout(ports.random.exponential(0.1) if service == "exponential" else 0.1)
                ports["spent"] = ports["spent"] + env.now - came
                ports["served"] = ports["served"] + 1

        env.process(arrivals())
        env.process(server())

    return line


class Queue(Diagram):
    spent, served = Output(unit="s"), Output()

    def __init__(self, service: str) -> None:
        self.line = Process(single_server(service), outputs=("spent", "served"))
        self.spent, self.served = self.line.spent, self.line.served


@pytest.mark.parametrize(("service", "wanted"), [("exponential", 0.2), ("constant", 0.15)])
def test_mean_time_in_a_queue_is_that_of_mm1_and_md1(service: str, wanted: float) -> None:
    """W = 1 / (mu - lambda) = 0.2 s; of M/D/1, 1/mu + rho / (2 mu (1 - rho)) = 0.15 s (Pollaczek-Khinchine)."""
    run = simulate(Queue(service), until=60, lanes=16, every=30, solver=STEP, seed=3)
    mean = run["spent"].values[:, -1] / run["served"].values[:, -1]  # one for each lane
    error = float(mean.std()) / 16**0.5
    assert abs(float(mean.mean()) - wanted) < 3.5 * error
    assert error < 0.25 * wanted


def machine(env, ports):
    while True:
        yield env.timeout(0.3)
        ports["parts"] = ports["parts"] + 1


def gated(env, ports):
    while True:
        yield ports.wait(lambda p: p["level"] > 0.505)
        ports["opened"] = env.now
        yield env.event()


class Gate(Diagram):
    opened = Output(unit="s")

    def __init__(self, every: str | None = "10 ms") -> None:
        self.plant = Rising()
        self.gate = Process(gated, inputs=("level",), outputs=("opened",), every=every)
        self.gate.level = self.plant.y
        self.opened = self.gate.opened


class Counter(Block):
    """Sums what it reads, at its ticks."""

    u, y = Input(), Output()
    total = State(0.0)

    @tick
    def step(self, u, total):
        return {"y": total + u, "total": total + u}


class Line(Diagram):
    parts, total = Output(), Output()

    def __init__(self) -> None:
        self.machine = Process(machine, outputs=("parts",))
        self.counter = Counter(period="100 ms")
        self.counter.u = self.machine.parts
        self.parts, self.total = self.machine.parts, self.counter.y


def test_events_are_at_their_whole_nanoseconds_and_sampled_readers_see_them() -> None:
    run = simulate(Line(), until=1, record=["parts", "total"])
    assert [float(run["parts"].at(t)) for t in (0.2999, 0.3001, 0.5999, 0.6001, 0.9001)] == [0, 1, 1, 2, 3]
    # Parts at the ticks 0, 0.1, ..., 1.0: an event at a tick is seen by it.
    assert float(run["total"].values[0, -1]) == sum(int((k * 100 + 1e-6) // 300) for k in range(11))


def test_a_condition_on_an_input_is_seen_at_the_next_wake() -> None:
    run = simulate(Gate(), until=1, solver=STEP)
    assert float(run["opened"].values[0, -1]) == pytest.approx(0.51)


def test_without_waking_a_condition_of_inputs_is_refused() -> None:
    with pytest.raises(RunError, match=r"(?s)gate: lane 0: ports.wait for a condition of inputs.*every="):
        simulate(Gate(every=None), until=1, solver=STEP)


def test_a_lane_alone_is_the_lane_in_the_batch() -> None:
    queue = Queue("exponential")
    batch = Simulator(queue, lanes=4, seed=5, solver=STEP)
    batch.run_until(20)
    alone = Simulator(queue, lanes=1, ids=torch.tensor([2]), seed=5, solver=STEP)
    alone.run_until(20)
    assert torch.equal(batch[queue.spent][2:3], alone[queue.spent])
    other = Simulator(queue, lanes=1, ids=torch.tensor([2]), seed=6, solver=STEP)
    other.run_until(20)
    assert not torch.equal(other[queue.spent], alone[queue.spent])


def test_a_restored_snapshot_goes_on_as_if_nothing_had_happened() -> None:
    queue = Queue("exponential")
    sim = Simulator(queue, lanes=3, solver=STEP)
    sim.run_until(5)
    snapshot = sim.snapshot()
    sim.run_until(10)
    before = queue.line._history.replayed
    wanted = sim[queue.spent].clone()
    sim.restore(snapshot)
    sim.run_until(10)
    assert torch.equal(sim[queue.spent], wanted)
    assert queue.line._history.replayed > before  # by running it again


def test_two_forks_that_take_turns_do_not_disturb_each_other() -> None:
    queue = Queue("constant")
    one = Simulator(queue, lanes=2, solver=STEP)
    one.run_until(3)
    other = one.fork(set={})
    for t in (4, 5, 6):
        one.run_until(t)
        other.run_until(t)
    assert torch.equal(one[queue.spent], other[queue.spent])


def test_copies_and_pickles_run_alike() -> None:
    line = Line()
    wanted = simulate(line, until=2)["parts"].values
    assert torch.equal(simulate(copied(line), until=2)["parts"].values, wanted)
    assert torch.equal(simulate(pickle.loads(pickle.dumps(line)), until=2)["parts"].values, wanted)


def test_what_a_process_raises_names_the_block_the_lane_and_the_time() -> None:
    def broken(env, ports):
        yield env.timeout(0.5)
        raise ValueError("jammed")

    class Broken(Diagram):
        y = Output()

        def __init__(self) -> None:
            self.line = Process(broken, outputs="y")
            self.y = self.line.y

    with pytest.raises(RunError, match=r"line: lane 0.*\n?.*ValueError: jammed, at t = 0.5 s"):
        simulate(Broken(), until=1, strict=True)


def test_wrong_names_are_refused_with_the_right_ones() -> None:
    def misspelt(env, ports):
        yield env.timeout(0.1)
        ports["cuont"] = 1

    class Wrong(Diagram):
        y = Output()

        def __init__(self) -> None:
            self.line = Process(misspelt, outputs="count")
            self.y = self.line.count

    with pytest.raises(RunError, match="there are count"):
        simulate(Wrong(), until=1, strict=True)
    with pytest.raises(ModelError, match="function"):
        Process(3, outputs="y")
