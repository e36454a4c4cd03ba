"""Interrupts: jobs released by edges of signals that a process drives, that move in continuous time, that tick."""

from __future__ import annotations

import math
import pickle
import warnings

import pytest
import torch

from simdl import RK4, Block, Diagram, Input, Output, State, Tsit5, crossing, derivative, simulate, tick, triggered
from simdl.blocks import Gain
from simdl.computer import Compute, Computer, Edge, Process, Processor, Read, Task, Write
from simdl.engine.simulator import Simulator
from simdl.errors import ModelError

STEP = RK4(max_step="10 ms")
CYCLE, LIGHT = 12_345_600, 3_000_000  # ns: from part to part, and the time for which one is in the barrier


class Turning(Block):
    """A unit circle at `speed` rad/s."""

    c, s, speed = State(1.0), State(0.0), State(6.0)

    @derivative(c, s)
    def motion(self, c, s, speed):
        return -speed * s, speed * c


def parts(env, ports):
    """Parts that come one by one."""
    while True:
        yield env.timeout(CYCLE / 1e9)
        ports["number"] = ports["number"] + 1
        ports["barrier"] = True
        yield env.timeout(LIGHT / 1e9)
        ports["barrier"] = False


class Camera(Block):
    """Keeps the number of the part it sees."""

    number, picture = Input(), Output()

    @tick
    def take(self, number):
        return {"picture": number}


class Barrier(Block):
    """Fires when light is interrupted."""

    dark = Input()

    @crossing
    def blocked(self, dark):
        return 0.5 - dark.double()


class Line(Diagram):
    shown = Output()

    def __init__(self) -> None:
        self.wheel = Turning()
        outputs = {"barrier": Output((), dtype="bool", initial=False), "number": Output((), dtype="int64")}
        self.line = Process(parts, outputs=outputs)
        self.barrier = Barrier()
        self.barrier.dark = self.line.barrier
        self.camera = triggered(Camera(), when=self.barrier.blocked)
        self.camera.number = self.line.number
        self.network = Gain(k=10.0)
        self.network.u = self.camera.picture
        self.where = Gain(k=1.0)
        self.where.u = self.wheel.s
        self.shown = self.network.y


class Notes:
    """A body that notes when its jobs arrive and what they read."""

    def __init__(self) -> None:
        self.found: list[tuple[int, float]] = []

    def __call__(self, job):
        value = yield Read()
        self.found.append((job.arrival, value))
        yield Compute("1 ms")
        yield Write()


def computer(*edges: Edge, runs: str = "network") -> tuple[Computer, list[Notes]]:
    notes = [Notes() for _ in edges]
    tasks = [Task(f"t{k}", Processor(f"p{k}"), trigger=edge, body=note, runs=[runs] if k == 0 else ["where"])
             for k, (edge, note) in enumerate(zip(edges, notes))]  # fmt: skip
    return Computer(tasks), notes


def test_a_barrier_releases_jobs_at_its_nanosecond_and_they_read_the_new_picture() -> None:
    whole, (seen,) = computer(Edge("line.barrier"))
    run = simulate(whole.on(Line(), live=True), until=0.1, solver=STEP, record=["shown"], every="0.1 ms")
    rises = [CYCLE + k * (CYCLE + LIGHT) for k in range(6)]
    assert seen.found == [(at + 1, 10.0 * (k + 1)) for k, at in enumerate(rises)]
    for k, at in enumerate(rises):  # shown when the job of 1 ms ends
        before, after = (float(run["shown"].at(at / 1e9 + late)) for late in (0.0009, 0.0011))
        assert (before, after) == (10.0 * k, 10.0 * (k + 1))


class Counter(Block):
    """How often it ticks."""

    count, n = Output(), State(0.0)

    @tick
    def step(self, n):
        return {"count": n + 1, "n": n + 1}


class Counted(Diagram):
    """Counts what a barrier lets pass: by a crossing, and by its value, at the instants of a clock of 10 ms."""

    exact, seen = Output(), Output()

    def __init__(self, **clock: str) -> None:
        outputs = {"barrier": Output((), dtype="bool", initial=False), "number": Output((), dtype="int64")}
        self.line, self.barrier, self.clock = Process(parts, outputs=outputs), Barrier(), Counter(period="10 ms")
        self.barrier.dark = self.line.barrier
        self.by_crossing = triggered(Counter(), when=self.barrier.blocked)
        self.by_value = triggered(Counter(), when=self.line.barrier, **clock)
        self.exact, self.seen = self.by_crossing.count, self.by_value.count


def test_a_trigger_by_a_value_of_a_process_is_read_at_common_instants_and_a_warning_says_so() -> None:
    with pytest.warns(UserWarning, match=r"by_value: triggered when line.barrier, which changes .* never seen"):
        run = simulate(Counted(), until=0.1, solver=STEP, every=0.01)
    dark = [(CYCLE + k * (CYCLE + LIGHT)) for k in range(6)]
    caught = [at for at in dark if any(at <= ns <= at + LIGHT for ns in range(0, 10**8, 10**7))]
    assert float(run["exact"].values[0, -1]) == len(dark)
    assert 0 < len(caught) < len(dark) and float(run["seen"].values[0, -1]) == len(caught)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        named = simulate(Counted(period="2 ms"), until=0.1, solver=STEP, every=0.01)
    assert float(named["seen"].values[0, -1]) == len(dark)  # every part is in it for 3 ms


@pytest.mark.parametrize(("kind", "starts"), [("falling", (LIGHT,)), ("either", (0, LIGHT))])
def test_falling_and_either(kind: str, starts: tuple[int, ...]) -> None:
    whole, (seen,) = computer(Edge("line.barrier", kind))
    simulate(whole.on(Line(), live=True), until=0.1, solver=STEP)
    rises = [CYCLE + k * (CYCLE + LIGHT) for k in range(6)]
    assert [at for at, _ in seen.found] == [at + late + 1 for at in rises for late in starts]


def test_a_change_of_a_counter_and_the_crossing_of_a_block_are_the_same_edges() -> None:
    whole, (seen, other) = computer(Edge("line.number", "change"), Edge("barrier.blocked"))
    simulate(whole.on(Line(), live=True), until=0.1, solver=STEP)
    assert [at for at, _ in seen.found] == [at for at, _ in other.found]
    assert len(seen.found) == 6


@pytest.mark.parametrize("solver", [STEP, Tsit5(rtol=1e-11, atol=1e-13)], ids=str)
def test_a_continuous_signal_is_caught_at_the_first_whole_nanosecond_after_its_crossing(solver) -> None:
    """sin(6 t) comes to 0.3 from below at asin(0.3)/6 + 2 pi k/6, and from above at (pi - asin(0.3))/6 + 2 pi k/6.

    The barrier that is seen meanwhile fires more than 64 times, and there are no ticks."""
    whole, (seen,) = computer(Edge("wheel.s", "either", level=0.3), runs="where")
    simulate(whole.on(Line(), live=True), until=2, solver=solver)
    angle = math.asin(0.3)
    times = [(first + 2 * math.pi * k) / 6 for k in range(3) for first in (angle, math.pi - angle)]
    within = 2e-6 if solver is STEP else 2e-9
    assert [at / 1e9 for at, _ in seen.found] == pytest.approx([t for t in times if t < 2], abs=within)
    assert [value for _, value in seen.found] == pytest.approx([0.3] * len(seen.found), abs=1e-8)


def test_an_edge_at_a_tick_releases_a_job_after_it() -> None:
    class Sampled(Diagram):
        y = Output()

        def __init__(self) -> None:
            self.wheel = Turning()
            self.sample = Gain(k=1.0, period="100 ms")
            self.sample.u = self.wheel.s
            self.network = Gain(k=1.0)
            self.network.u = self.sample.y
            self.y = self.network.y

    whole, (seen,) = computer(Edge("sample.y", level=0.0, kind="falling"))
    simulate(whole.on(Sampled(), live=True), until=1.2, solver=STEP)
    [(at, value)] = seen.found  # sin(6 t) is positive to 0.5236 s: the tick at 0.6 s is the first to see it negative
    assert at == 600_000_001
    assert value == pytest.approx(math.sin(3.6), abs=1e-6)


def test_lanes_have_edges_of_their_own_and_alone_as_in_the_batch() -> None:
    whole, _ = computer(Edge("line.barrier"), Edge("wheel.s", "either", level=0.3))
    model = whole.on(Line(), live=True)
    speeds = torch.tensor([3.0, 6.0, 17.0], dtype=torch.float64)
    keys = [model.network.captured, model.where.captured, model.where.y]
    batch = Simulator(model, set={"wheel.speed": speeds}, solver=STEP)
    batch.run_until(1)
    assert len(set(batch[model.where.captured].tolist())) == 3
    for lane in range(3):
        alone = Simulator(model, set={"wheel.speed": speeds[lane]}, ids=torch.tensor([lane]), solver=STEP)
        alone.run_until(1)
        assert all(torch.equal(alone[key], batch[key][lane : lane + 1]) for key in keys)


@pytest.mark.parametrize("at", [f"{CYCLE} ns", "0.0131 s", "0.2 s"])  # at an edge, with a job under way, in between
def test_a_snapshot_brings_edges_and_jobs_back(at: str) -> None:
    whole, _ = computer(Edge("line.barrier"), Edge("wheel.s", "either", level=0.3))
    model = whole.on(Line(), live=True)
    keys = [model.network.captured, model.network.y, model.where.captured, model.where.y]
    sim = Simulator(model, lanes=2, solver=STEP)
    sim.run_until(at)
    snapshot = sim.snapshot()
    sim.run_until(0.3)
    wanted = [sim[key].clone() for key in keys]
    sim.restore(snapshot)
    sim.run_until(0.3)
    assert all(torch.equal(sim[key], value) for key, value in zip(keys, wanted))
    straight = Simulator(model, lanes=2, solver=STEP)
    straight.run_until(0.3)
    assert [float(straight[key][0]) for key in keys] == pytest.approx([float(v[0]) for v in wanted], abs=1e-6)


def test_a_pickled_model_has_its_edges() -> None:
    model = Computer([Task("t", Processor("p"), trigger=Edge("line.barrier"), execution="1 ms", runs=["network"])])
    loop = model.on(Line(), live=True)
    again = pickle.loads(pickle.dumps(loop))
    assert float(simulate(again, until=0.1, solver=STEP, record=["shown"])["shown"].at(0.1)) == 60.0


def test_wrong_edges_are_refused_with_what_there_is() -> None:
    def on(edge: Edge, **options):
        task = Task("t", Processor("p"), trigger=edge, execution="1 ms", runs=["network"])
        return Computer([task]).on(Line(), **{"live": True, **options})

    with pytest.raises(ModelError, match="live=True"):
        on(Edge("line.barrier"), live=False, horizon=1)
    with pytest.raises(ModelError, match="live=True"):
        computer(Edge("line.barrier"))[0].schedule(until=1)
    with pytest.raises(ModelError, match=r"line.barier.*\n?.*line.barrier"):
        on(Edge("line.barier"))
    with pytest.raises(ModelError, match="continuous time"):
        on(Edge("wheel.s", "change"))
    with pytest.raises(ModelError, match="fires one way"):
        on(Edge("barrier.blocked", "falling"))
    with pytest.raises(ModelError, match="rising.*falling"):
        on(Edge("line.barrier", "up"))
    with pytest.raises(ModelError, match="a number"):
        on(Edge("line.barrier", level=math.nan))
    with pytest.raises(ModelError, match="a name, or an Edge"):
        Computer([Task("t", Processor("p"), trigger=3, execution="1 ms")])
