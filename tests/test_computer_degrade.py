"""A degraded job runs another block: what is shown when, by hand, in both engines and beside the loop."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from simdl import Block, Diagram, Input, Network, Output, Simulator, State, derivative, simulate, tick
from simdl.computer import (
    Compute,
    Computer,
    Degrade,
    Measured,
    Processor,
    Read,
    Task,
    Uniform,
    Write,
)
from simdl.computer.describe import describe
from simdl.errors import ModelError

WAYS = [("torch", False), ("native", False), ("torch", True)]
LONG = Measured([0.015, 0.015, 0.002, 0.002], order="cyclic")


class Ramp(Block):
    """x' = 1000: x is the time in ms."""

    x = State(0.0)

    @derivative(x)
    def motion(self, x):
        return 1000 + 0 * x


class Full(Block):
    """y = u + 1000 n, the n-th time it runs."""

    u, y, n = Input(), Output(unit="V"), State(0.0)

    @tick
    def step(self, u, n):
        return {"y": u + 1000 * (n + 1), "n": n + 1}


class Small(Block):
    """y = -u - 1000 n, the n-th time it runs."""

    u, y, n, extra = Input(), Output(), State(0.0), Output()

    @tick
    def step(self, u, n):
        return {"y": -u - 1000 * (n + 1), "n": n + 1, "extra": u}


class Wide(Block):
    u, y = Input(), Output((2,), unit="V")

    @tick
    def step(self, u):
        return {"y": u.unsqueeze(1).expand(-1, 2)}


class Amperes(Block):
    u, y = Input(), Output(unit="A")

    @tick
    def step(self, u):
        return {"y": u}


class Other(Block):
    u, z = Input(), Output(unit="V")

    @tick
    def step(self, u):
        return {"z": u}


class Loop(Diagram):
    y = Output()

    def __init__(self) -> None:
        self.ramp = Ramp()
        self.full, self.small, self.tiny = Full(period="10 ms"), Small(period="10 ms"), Small(period="10 ms")
        self.wide, self.amperes, self.other = Wide(period="10 ms"), Amperes(period="10 ms"), Other(period="10 ms")
        for block in (self.full, self.small, self.tiny, self.wide, self.amperes, self.other):
            block.u = self.ramp.x
        self.y = self.full.y


def computer(**options) -> Computer:
    settings = {"late": Degrade("1 ms", recover=2, instead={"full": "small"}), "runs": ["full"], "execution": LONG}
    return Computer([Task("see", **{"on": Processor("cpu"), "period": "10 ms", **settings, **options})])


STEP = 0.7003  # ms, so that nothing happens as it is recorded


def held(events: list[tuple[float, float]], count: int) -> np.ndarray:
    """What is shown at each recorded time after the first, of (ms, value)."""
    times, values = np.array([0.0, *(at for at, _ in events)]), np.array([0.0, *(value for _, value in events)])
    return values[np.searchsorted(times, np.arange(1, count) * STEP) - 1]


def shows(trace, events, lane=0) -> bool:
    found = trace.values[lane].numpy()[1:].astype(float)
    return np.allclose(found, held(events, len(found) + 1), rtol=0, atol=1e-9)


def run(model, **options):
    return simulate(model, **{"until": 0.06, "every": f"{STEP} ms", **options})


@pytest.mark.parametrize("engine, live", WAYS)
def test_what_a_degraded_job_shows_is_what_the_small_block_computed(engine, live):
    """Jobs: 0 takes 15 of 10 ms; 1 (from 15) and 2 (from 20) are degraded, 1 ms each; 3 takes 2 ms; 4 (from 40) 15 ms;
    5 (from 55) is degraded. Of the two blocks only the one that runs counts."""
    assert [(j.degraded, j.start, j.end) for j in computer().schedule("59 ms").jobs] == [
        (False, 0, 15_000_000), (True, 15_000_000, 16_000_000), (True, 20_000_000, 21_000_000),
        (False, 30_000_000, 32_000_000), (False, 40_000_000, 55_000_000), (True, 55_000_000, 56_000_000),
    ]  # fmt: skip
    model = pickle.loads(pickle.dumps(computer().on(Loop(), horizon="100 ms", live=live)))
    found = run(model, engine=engine, record=["y", "small.y", "small.extra", "full.n", "small.n", "small_age.age"])
    assert shows(found["y"], [(15, 1000), (16, -1015), (21, -2020), (32, 2030), (55, 3040), (56, -3055)])
    assert shows(found["small.y"], [(16, -1015), (21, -2020), (56, -3055)])
    assert shows(found["small.extra"], [(16, 15), (21, 20), (56, 55)])
    assert shows(found["full.n"], [(15, 1), (40, 2), (55, 3)])  # the state with which the latest job began
    assert shows(found["small.n"], [(20, 1), (30, 2)])
    age = found["small_age.age"].values[0, int(54 / STEP)]
    assert float(age) == pytest.approx(int(54 / STEP) * STEP / 1e3 - 0.02, abs=1e-9)


@pytest.mark.parametrize("engine", ["torch", "native"])
def test_late_jobs_and_those_over_their_budget_may_run_different_blocks(engine):
    """Job 0 is over its budget of 5 ms and in time, job 1 runs tiny; job 2 is late and over, which counts as late."""
    times = Measured([0.006, 0.0, 0.016, 0.0, 0.001, 0.001], order="cyclic")
    made = computer(execution=times, budget="5 ms", late=Degrade("1 ms", instead={"full": "small"}),
                    over=Degrade("2 ms", instead={"full": "tiny"}))  # fmt: skip
    found = run(made.on(Loop(), horizon="100 ms"), engine=engine, record=["y", "tiny.y", "small.y"])
    assert shows(found["y"], [(6, 1000), (12, -1010), (36, 2020), (37, -1036), (41, 3040), (51, 4050)])
    assert shows(found["tiny.y"], [(12, -1010)]) and shows(found["small.y"], [(37, -1036)])


@pytest.mark.parametrize("engine", ["torch", "native"])
def test_in_every_lane_it_is_as_its_schedule_says(engine):
    """Jobs that overlap, of random times: the values from the list of jobs and accesses of each lane."""
    made = computer(execution=Uniform("2 ms", "28 ms"), late=Degrade("3 ms", instead={"full": "small"}),
                    instances=3, on=Processor("cpu", cores=3))  # fmt: skip
    found = run(made.on(Loop(), horizon="0.4 s"), until=0.3, lanes=5, seed=2, engine=engine, record=["y"])
    for lane in range(5):
        history = made.schedule(0.4, seed=2, lane=lane)
        reads, writes, source = history.accesses("full")
        degraded = [job.degraded for job in sorted(history.jobs, key=lambda job: job.reads)[: len(reads)]]
        assert 4 < sum(degraded[:30]) < 26 and (np.diff(source) < 0).any()
        counts = np.array([sum(one == other for other in degraded[: k + 1]) for k, one in enumerate(degraded)])
        values = np.where(degraded, -1, 1) * (reads / 1e6 + 1000 * counts)
        assert shows(found["y"], list(zip(writes / 1e6, values[source])), lane)


class Front(Block):
    u, y = Input(), Output()

    @tick
    def step(self, u):
        return {"y": 2 * u}


class See(Diagram):
    u, y = Input(), Output()

    def __init__(self, inside: bool) -> None:
        self.front, self.net, self.back = (kind(period="10 ms") for kind in (Front, Full, Front))
        self.front.u = self.u
        self.net.u = self.front.y
        if inside:
            self.small = Small(period="10 ms")
            self.small.u = self.front.y
        self.back.u = self.net.y
        self.y = self.back.y


class Seeing(Diagram):
    y = Output()

    def __init__(self, inside: bool) -> None:
        self.ramp, self.see = Ramp(), See(inside)
        self.see.u = self.ramp.x
        if not inside:
            self.small = Small(period="10 ms")
            self.small.u = 2 * self.ramp.x
        self.y = self.see.y


@pytest.mark.parametrize("engine, live", WAYS)
@pytest.mark.parametrize("inside", [True, False])
def test_the_blocks_of_a_job_go_on_with_what_the_small_one_computed(engine, live, inside):
    """Both networks read twice the ramp, and what is shown is twice their output, whether or not the diagram that the
    task runs has the small one in it."""
    other = "see.small" if inside else "small"
    made = computer(runs=["see"], late=Degrade("1 ms", recover=2, instead={"see.net": other}))
    found = run(made.on(Seeing(inside), horizon="100 ms", live=live), engine=engine, record=["y"])
    assert shows(found["y"], [(15, 2000), (16, -2060), (21, -4080), (32, 4120), (55, 6160), (56, -6220)])


class Networks(Diagram):
    y = Output()

    def __init__(self) -> None:
        torch.manual_seed(3)
        self.ramp = Ramp()
        for name, inside in (("full", nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 1))),
                             ("small", nn.Linear(1, 1))):  # fmt: skip
            block = Network(inside.double(), period="10 ms", inputs=("u",), outputs=("y",))
            setattr(self, name, block)
            block.u = self.ramp.x
        self.y = self.full.y


@pytest.mark.parametrize("engine, live", WAYS)
def test_a_degraded_job_shows_what_the_small_network_says_of_its_inputs(engine, live):
    model = Networks()
    full, small = model.full.module, model.small.module
    found = run(computer().on(model, horizon="100 ms", live=live), engine=engine, record=["y"], dtype=torch.float64)
    jobs = [(15, full, 0), (16, small, 15), (21, small, 20), (32, full, 30), (55, full, 40), (56, small, 55)]
    with torch.no_grad():
        assert shows(found["y"], [(at, float(net(torch.tensor([u]).double()))) for at, net, u in jobs])


@pytest.mark.parametrize("live", [False, True])
def test_a_snapshot_holds_which_of_the_two_a_job_ran(live):
    model = computer().on(Loop(), horizon="100 ms", live=live)
    sim = Simulator(model, lanes=2)
    sim.run_until("15.5 ms")  # a degraded job is under way
    snapshot, shown = sim.snapshot(), []
    for _ in range(2):
        for until in ("16.5 ms", "57 ms"):
            sim.run_until(until)
            shown.append(sim[model.full.y].tolist())
        sim.restore(snapshot)
    assert shown[:2] == shown[2:] == [[-1015.0] * 2, [-3055.0] * 2]


def test_a_live_body_reads_what_its_own_job_computed():
    told = []

    def body(job):
        told.append((job.degraded, round((yield Read("full")))))
        yield Compute("2 ms" if job.degraded else "15 ms")
        yield Write("full")

    made = computer(execution=None, body=body, late=Degrade("2 ms", instead={"full": "small"}))
    run(made.on(Loop(), live=True), until=0.045)
    assert told == [(False, 1000), (True, -1015), (False, 2020), (True, -2035), (False, 3040)]


def test_without_another_block_only_the_time_changes():
    found = run(computer(late=Degrade("1 ms", recover=2)).on(Loop(), horizon="100 ms"), record=["y"])
    assert shows(found["y"], [(15, 1000), (16, 2015), (21, 3020), (32, 4030), (55, 5040), (56, 6055)])
    assert "then 1 ms, small instead of full" in describe(computer())


@pytest.mark.parametrize(
    "options, said",
    [
        (dict(late=Degrade("1 ms", instead="small")), "late: instead: 'small'"),
        (dict(late=Degrade("1 ms", instead={"full": Small})), "late: instead"),
        (dict(late=Degrade("1 ms", instead={"fulll": "small"})), "'fulll', which it does not run.*full"),
        (dict(late=Degrade("1 ms", instead={"full": "smal"})), "'smal' instead of 'full': no such block.*small"),
        (dict(late=Degrade("1 ms", instead={"full": "ramp"})), "continuous"),
        (dict(late=Degrade("1 ms", instead={"full": "full"})), "a job runs it anyway"),
        (dict(late=Degrade("1 ms", instead={"full": "wide"})), r"'wide' instead of 'full': y: shape \(2,\)"),
        (dict(late=Degrade("1 ms", instead={"full": "amperes"})), "y: unit A"),
        (dict(late=Degrade("1 ms", instead={"full": "other"})), "no output 'y'"),
        (dict(late=Degrade("1 ms", instead={"full.y": "small"})), "'full.y': no such block, or a diagram"),
        (dict(over=Degrade("1 ms", instead={"other": "small"}), budget="3 ms", runs=["full", "other"]), "another job"),
    ],
)
def test_what_cannot_stand_in_is_said(options, said):
    with pytest.raises(ModelError, match=f"(?s){said}"):
        computer(**options).on(Loop(), horizon=1)
    if "instead of" in said:
        with pytest.raises(ModelError, match=f"(?s){said}"):
            computer(**options).on(Loop(), live=True)


def test_a_block_of_another_task_cannot_stand_in():
    cpu, late = Processor("cpu"), Degrade("1 ms", instead={"full": "small"})
    tasks = [
        Task("a", cpu, period="10 ms", execution="1 ms", runs=["full"], late=late),
        Task("b", cpu, period="10 ms", execution="1 ms", runs=["small"]),
    ]
    with pytest.raises(ModelError, match="'small' instead of 'full': a job runs it anyway"):
        Computer(tasks).on(Loop(), horizon=1)
