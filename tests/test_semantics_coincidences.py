"""What is recorded at the very time at which something happens to a lane: as it is after all that happens then (S4)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from simdl import (
    RK4,
    Block,
    Diagram,
    Input,
    Output,
    Param,
    Simulator,
    State,
    Tsit5,
    derivative,
    hit,
    requirement,
    simulate,
)
from simdl.computer import Compute, Computer, Process, Processor, Read, Task, Write
from simdl.engine.solver import Solver
from simdl.simulate import finished
from tests.computer_loop import Loop
from tests.reference.compare import simulator
from tests.reference.corners import CORNERS, MS
from tests.reference.interpreter import interpret
from tests.reference.spec import Experiment

ENGINES = ("torch", "native")
STEP = RK4(max_step=0.01)
TASK = Task("control", Processor("cpu"), period="20 ms", execution="5 ms", runs=["pi"])
MAPPED = Computer([TASK]).on(Loop(), horizon=2)
ALONE = {
    "a crossing": (replace(CORNERS["a crossing at the end is before until"], until=500 * MS), 125),
    "a hit at a crossing": (CORNERS["a hit at a crossing"], 125),
    "a hit at a tick": (CORNERS["a tick at a hit is ordered"], 25),
    "a hit that pushes a guard": (CORNERS["a hit pushes a guard"], 5),
}
"""Experiments in which something happens at times of a grid, beside instants and away from them; the grid in ms."""


def grids(experiment: Experiment, every: int) -> dict[str, list[float]]:
    """What the interpreter shows at the end of a run to each time of the grid, by path."""
    found: dict[str, list[float]] = {}
    for until in range(0, experiment.until + 1, every):
        for path, values in interpret(replace(experiment, until=until)).values.items():
            found.setdefault(path, []).append(values[-1])
    return found


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ALONE)
def test_a_time_of_the_grid_shows_what_a_run_to_it_ends_with(name: str, engine: str) -> None:
    experiment, every = ALONE[name]
    made = simulator(experiment, engine, every=f"{every} ms")
    made.run_until(f"{experiment.until} ns")
    run = finished(made)
    for path, wanted in grids(experiment, every * MS).items():
        assert torch.allclose(run.traces[path].values[0], torch.tensor(wanted, dtype=torch.float64), 0, 1e-12), path


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("solver", "error"), [(RK4(max_step=0.005), 1e-12), (Tsit5(rtol=1e-10, atol=1e-12), 1e-9)])
def test_a_job_of_5_ms_is_a_latency_of_5_ms_at_every_sample(solver: Solver, error: float, engine: str) -> None:
    options = dict(until=0.5, every="5 ms", engine=engine, solver=solver)
    found, wanted = simulate(MAPPED, **options), simulate(Loop(latency="5 ms"), **options)
    assert torch.equal(found["u"].t, wanted["u"].t) and found["u"].values[0, 1] != 0
    for path in ("u", "y"):
        assert torch.allclose(found[path].values, wanted[path].values, 0, error)
    soon = requirement("eventually[0:0.005](u > 0.1)")  # the first output is there at 5 ms
    assert float(soon.margin(lambda path: found[path].values, "5 ms", 101).values) > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_pieces_and_restored_snapshots_record_alike(engine: str) -> None:
    whole = Simulator(MAPPED, every="5 ms", engine=engine, solver=STEP)
    whole.run_until(0.1)
    pieces = Simulator(MAPPED, every="5 ms", engine=engine, solver=STEP)
    for until in ("5 ms", "22 ms", "25 ms", "65 ms"):  # publishes at 5, 25 and 65 ms
        pieces.run_until(until)
    kept = pieces.snapshot()
    pieces.run_until(0.1)
    pieces.restore(kept)
    pieces.run_until(0.1)
    one, other = finished(whole), finished(pieces)
    for path in ("pi.u", "y", "pi_age.age"):
        assert torch.equal(one.traces[path].t, other.traces[path].t)
        assert torch.allclose(one.traces[path].values, other.traces[path].values, 0, 1e-9)


@pytest.mark.parametrize("time", ["5 ms", "20 ms"])
def test_a_live_job_is_shown_when_it_writes_at_instants_too(time: str) -> None:
    def body(job):
        yield Read("pi")
        yield Compute(time)
        yield Write("pi")

    live = Computer([Task("control", Processor("cpu"), period="20 ms", body=body, runs=["pi"])]).on(Loop(), live=True)
    found, wanted = (simulate(one, until=0.2, every="5 ms", solver=STEP) for one in (live, Loop(latency=time)))
    for path in ("u", "y"):
        assert torch.allclose(found[path].values, wanted[path].values, 0, 1e-9)
    simulator = Simulator(live, solver=STEP)
    for step in range(1, 9):
        simulator.run_until(f"{5 * step} ms")
        assert float(simulator["u"]) == pytest.approx(float(wanted["u"].values[0, step]), abs=1e-9)


class Beat(Block):
    """Counts its hits, every `wait` seconds."""

    y, n = Output(), State(0.0)
    wait: Param = Param(0.02)

    @hit
    def beat(self, n, wait):
        return dict(y=n, n=n + 1, next=wait)


class Filter(Block):
    """x' = u - x."""

    u, x = Input(), State(0.0)

    @derivative(x)
    def motion(self, x, u):
        return u - x


class Beaten(Diagram):
    x, y = Output(), Output()

    def __init__(self) -> None:
        self.beat, self.filter = Beat(), Filter()
        self.filter.u = self.beat.y
        self.x, self.y = self.filter.x, self.beat.y


@pytest.mark.parametrize("engine", ENGINES)
def test_lanes_with_hits_at_other_times_of_the_grid_are_recorded_as_alone(engine: str) -> None:
    waits = [0.02, 0.03, 0.05, 0.0301]
    options = dict(until=0.3, every=0.01, engine=engine, solver=STEP)
    batch = simulate(Beaten(), set={"beat.wait": waits}, **options)
    for lane, wait in enumerate(waits):
        alone = simulate(Beaten(), set={"beat.wait": [wait]}, **options)
        assert all(torch.equal(batch[path].values[lane], alone[path].values[0]) for path in ("x", "y"))
    shown = [[10 * k * 1_000_000 // round(wait * 1e9) for k in range(31)] for wait in waits]
    assert batch["y"].values.tolist() == shown


def counting(env, ports):
    while True:
        yield env.timeout(0.25)
        ports["n"] = ports["n"] + 1


class Plant(Diagram):
    """A counter of quarters of a second, and twice what it shows."""

    n, twice = Output(), Output()

    def __init__(self) -> None:
        self.count = Process(counting, outputs=("n",))
        self.n, self.twice = self.count.n, 2 * self.count.n


@pytest.mark.parametrize("until", [2, 2.1])
def test_an_event_of_a_process_on_the_grid(until: float) -> None:
    run = simulate(Plant(), until=until, every=0.125)
    wanted = torch.arange(17) // 2
    assert run["n"].values[0].tolist() == wanted.tolist() and run["twice"].values[0].tolist() == (2 * wanted).tolist()
