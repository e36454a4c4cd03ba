"""Blocks that tasks run: against latency=, whole-lane equality, pipelines, jobs of several blocks, what is refused."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from simdl import (
    RK4,
    Block,
    Diagram,
    Input,
    Noise,
    Output,
    Param,
    State,
    Uniform,
    always,
    monte_carlo,
    output,
    simulate,
    tick,
)
from simdl.blocks import PI, Gain, UnitDelay
from simdl.computer.coupling import mapped_blocks, place
from simdl.computer.replay import Replay
from simdl.engine.simulator import Simulator
from simdl.errors import ModelError, RunError
from simdl.networks import Network
from tests.computer_loop import Lag, Loop

ENGINES = ("torch", "native")
PERIOD = 20_000_000


def regular(name: str, count: int, delay: int) -> Replay:
    """A job every 20 ms whose outputs appear `delay` ns after it reads."""
    reads = [k * PERIOD for k in range(count)]
    return Replay({name: ([f"{t} ns" for t in reads], [f"{t + delay} ns" for t in reads])})


@dataclass
class Spread:
    """Jobs of random duration, another in each lane."""

    name: str
    deterministic: bool = False
    period: int = PERIOD

    def under_way(self, name: str) -> int:
        return 2

    def placed(self):
        return {self.name: (0.0, 0.0)}

    def task(self, name: str) -> str:
        return ""

    def schedule(self, until: int, seed: int = 0, lane: int = 0):
        reads = np.arange(until // self.period + 1) * self.period
        draw = np.random.default_rng((seed, lane)).integers(1, self.period, len(reads))

        class Schedule:
            drawn = True

            def accesses(self, name):
                return reads, reads + draw, np.arange(len(reads))

        return Schedule()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("every", [0.005, 0.0033])
def test_jobs_without_duration_are_bit_equal_to_the_loop_without_a_computer(every: float, engine: str) -> None:
    plain = simulate(Loop(), until=2, every=every, engine=engine)
    mapped = simulate(regular("pi", 200, 0).on(Loop(), horizon=3), until=2, every=every, engine=engine)
    assert torch.equal(plain["y"].values, mapped["y"].values)
    assert torch.equal(plain["u"].values, mapped["u"].values)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("delay", ["7 ms", "20 ms"])
def test_a_constant_duration_is_a_latency(engine: str, delay: str) -> None:
    wanted = simulate(Loop(latency=delay), until=2, every=0.005, engine=engine)
    ns = int(delay.split()[0]) * 10**6
    found = simulate(regular("pi", 200, ns).on(Loop(), horizon=3), until=2, every=0.005, engine=engine)
    assert torch.allclose(found["y"].values, wanted["y"].values, rtol=0, atol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_jobs_that_overlap_are_a_pipeline(engine: str) -> None:
    """Outputs that appear after the next jobs have read: up to three are under way."""
    wanted = simulate(Loop(latency="50 ms"), until=2, every=0.005, engine=engine)
    found = simulate(regular("pi", 200, 50_000_000).on(Loop(), horizon=3), until=2, every=0.005, engine=engine)
    assert torch.allclose(found["y"].values, wanted["y"].values, rtol=0, atol=1e-12)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30_000_000), st.booleans()), min_size=3, max_size=12))
def test_any_timetable_shows_what_its_jobs_read(jobs: list[tuple[int, bool]]) -> None:
    """A block that passes a ramp on: what is shown is the value at the read of the latest write, whatever was lost."""

    class Ramp(Diagram):
        y, captured = Output(), Output()

        def __init__(self) -> None:
            self.plant = Lag()
            self.plant.u = 1.0
            self.sample = UnitDelay(period="20 ms")
            self.keep = Gain(k=1.0)
            self.keep.u = self.plant.y
            self.sample.u = self.keep.y
            self.y, self.captured = self.keep.y, self.keep.y

    reads = [k * PERIOD for k in range(len(jobs))]
    writes = [f"{t + wait} ns" if kept else None for t, (wait, kept) in zip(reads, jobs)]
    log = Replay({"keep": ([f"{t} ns" for t in reads], writes)})
    model = log.on(Ramp(), horizon=1)
    run = simulate(model, until=0.3, record=["keep.y", "keep.captured", "keep_age.age"], every=0.0031)
    ends = sorted((t + wait, k) for k, (t, (wait, kept)) in enumerate(zip(reads, jobs)) if kept)
    for i, t in enumerate(run["keep.y"].t.tolist()):
        if round(t * 1e9) in {end for end, _ in ends}:
            continue  # a hit at a time of the recording grid is shown from the next one on
        done = [k for end, k in ends if end <= round(t * 1e9)]
        start = reads[done[-1]] / 1e9 if done else 0.0
        shown = 1 - np.exp(-start) if done else 0.0
        assert float(run["keep.y"].values[0, i]) == pytest.approx(shown, abs=1e-9)
        assert float(run["keep_age.age"].values[0, i]) == pytest.approx(t - start, abs=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_lane_alone_is_the_lane_in_the_batch_with_times_of_its_own(engine: str) -> None:
    model = place(Loop(), Spread("pi"), horizon=2)
    batch = simulate(model, until=1, every=0.01, lanes=5, seed=4, engine=engine)
    for lane in (0, 3):
        alone = Simulator(model, lanes=1, ids=torch.tensor([lane]), seed=4, engine=engine)
        alone.run_until(1)
        assert torch.equal(alone[model.plant.y], batch["y"].values[lane : lane + 1, -1])
    assert not torch.equal(batch["y"].values[0], batch["y"].values[1])


def test_both_engines_agree() -> None:
    model = place(Loop(), Spread("pi"), horizon=2)
    runs = [simulate(model, until=1, every=0.01, lanes=9, engine=engine)["y"].values for engine in ENGINES]
    assert torch.allclose(*runs, rtol=0, atol=1e-12)


def test_long_tables_are_replayed_natively_bit_for_bit() -> None:
    """1000 s at 1 kHz: a million jobs in each lane, of which the last ones are run."""

    class Fast(Diagram):
        y = Output()

        def __init__(self) -> None:
            self.plant, self.pi = Lag(), PI(period="1 ms")
            self.pi.e = torch.pi - self.plant.y
            self.plant.u = self.pi.u
            self.y = self.plant.y

    model = place(Fast(), Spread("pi", period=1_000_000), horizon=1000)
    begun = {"pi.job_number": 999_000, "pi.write_number": 999_000}  # as if all before had been done
    native, eager = (
        simulate(model, until=0.2, lanes=2, seed=6, set=begun, engine=engine, solver=RK4(max_step="1 ms"))
        for engine in ("native", "torch")
    )
    assert native.engine == "native" and native.final["pi.job_number"].min() > 999_150
    for key, value in native.final.items():
        assert torch.equal(value, eager.final[key]), key
    rows = model.pi.lane_settings(torch.arange(2), 6)
    last = int(native.final["pi.job_number"][1])
    assert rows["waits"].shape == (2, 1_500_017)
    times = rows["begin"][1] + rows["waits"][1, 999_000:999_400].cumsum(0)
    assert last == 999_000 + 1 + int((times <= 200_000_000).sum())


class Noisy(Block):
    """An output that depends on a state, a tick with noise, parameters and the time."""

    u = Input()
    gain: Param = Param(2.0)
    w = Noise()
    x = State(0.5)
    noisy = Output()

    @output
    def shown(self, x, u, gain):
        return gain * x + u

    @tick
    def step(self, x, u, w, t, dt):
        return {"x": 0.9 * x + dt * u + 0.01 * w, "noisy": x + w + 0.1 * torch.sin(t)}


class Chain(Diagram):
    """Two blocks of one job, with a formula and a block without a clock between them."""

    y, shown = Output(), Output()

    def __init__(self) -> None:
        self.plant = Lag()
        self.first = Noisy(period="20 ms")
        self.double = Gain(k=2.0)
        self.second = Noisy(period="20 ms")
        self.first.u = 1.0 - self.plant.y
        self.double.u = self.first.noisy
        self.second.u = self.double.y - 0.5 * self.first.shown
        self.plant.u = 0.1 * self.second.shown
        self.y, self.shown = self.plant.y, self.second.noisy


@pytest.mark.parametrize("engine", ENGINES)
def test_a_job_of_several_blocks_passes_on_what_it_has_just_computed(engine: str) -> None:
    """Run with a delay, the whole chain is late once: as if its last block alone had that latency."""
    late = Chain()
    late.second.latency = "7 ms"
    wanted = simulate(late, until=1, every=0.01, engine=engine)

    class Whole(Diagram):
        y, shown = Output(), Output()

        def __init__(self) -> None:
            self.plant = Lag()
            self.job = Inner()
            self.job.measured = self.plant.y
            self.plant.u = 0.1 * self.job.shown
            self.y, self.shown = self.plant.y, self.job.noisy

    class Inner(Diagram):
        measured, shown, noisy = Input(), Output(), Output()

        def __init__(self) -> None:
            self.first = Noisy(period="20 ms", stream="first")
            self.double = Gain(k=2.0)
            self.second = Noisy(period="20 ms", stream="second")
            self.first.u = 1.0 - self.measured
            self.double.u = self.first.noisy
            self.second.u = self.double.y - 0.5 * self.first.shown
            self.shown, self.noisy = self.second.shown, self.second.noisy

    model = regular("job", 100, 7_000_000).on(Whole(), horizon=1.5)
    assert mapped_blocks(model) == ["job.first", "job.double", "job.second"]
    found = simulate(model, until=1, every=0.01, engine=engine)
    assert torch.allclose(found["y"].values, wanted["y"].values, rtol=0, atol=1e-12)
    assert torch.allclose(found["shown"].values, wanted["shown"].values, rtol=0, atol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_is_mapped_like_any_block(engine: str) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()

    class Driven(Diagram):
        y = Output()

        def __init__(self, latency: str | None = None) -> None:
            self.plant = Lag()
            self.net = Network(net, inputs=("x",), outputs=("u",), period="20 ms", latency=latency)
            self.net.x = self.plant.y
            self.plant.u = self.net.u + 0.3
            self.y = self.plant.y

    wanted = simulate(Driven("5 ms"), until=1, every=0.01, engine=engine)
    model = regular("net", 100, 5_000_000).on(Driven(), horizon=1)
    assert torch.allclose(simulate(model, until=1, every=0.01, engine=engine)["y"].values, wanted["y"].values,
                          rtol=0, atol=1e-12)  # fmt: skip


def test_the_diagram_itself_is_left_as_it_was() -> None:
    loop = Loop()
    before = simulate(loop, until=1)["y"].values
    regular("pi", 100, 5_000_000).on(loop, horizon=1)
    assert torch.equal(simulate(loop, until=1)["y"].values, before)
    assert mapped_blocks(loop) == []


def test_snapshots_hold_jobs_under_way() -> None:
    model = place(Loop(), Spread("pi"), horizon=3)
    sim = Simulator(model, lanes=3)
    sim.run_until("1.005 s")
    snapshot = sim.snapshot()
    sim.run_until(2)
    wanted = sim[model.plant.y].clone()
    sim.restore(snapshot)
    sim.run_until(2)
    assert torch.equal(sim[model.plant.y], wanted)


def test_a_pickled_model_and_a_campaign_of_it_run_alike() -> None:
    model = regular("pi", 100, 5_000_000).on(Loop(), horizon=1)
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(simulate(again, until=1)["y"].values, simulate(model, until=1)["y"].values)
    space = {"pi.kp": Uniform(0.5, 1.5)}
    camps = [monte_carlo(one, space, lanes=4, until=1, every=0.1, record=["y"], seed=2,
                         requirements={"low": always(one.plant.y < 0.2)}) for one in (model, again)]  # fmt: skip
    assert [camp.margins["low"].tolist() for camp in camps][0] == [camp.margins["low"].tolist() for camp in camps][1]


def test_gradients_pass_through_a_timetable() -> None:
    gain = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    model = regular("first", 60, 5_000_000).on(Chain(), horizon=1)
    run = simulate(model, until=0.5, grad=True, set={"first.gain": gain})
    run["y"].values[:, -1].sum().backward()
    step = 1e-6
    ends = [float(simulate(model, until=0.5, set={"first.gain": 0.5 + s})["y"].values[0, -1]) for s in (-step, step)]
    assert float(gain.grad) == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-6)


class TestRefused:
    def test_a_run_beyond_the_horizon(self) -> None:
        model = regular("pi", 100, 5_000_000).on(Loop(), horizon=1)
        with pytest.raises(RunError, match="horizon"):
            simulate(model, until=1.5)

    def test_plants_latency_and_unknown_paths_all_at_once(self) -> None:
        log = Replay({"plant": ([0], [0.1]), "pi": ([0], [0.1]), "pie": ([0], [0.1])})
        with pytest.raises(ModelError) as caught:
            log.on(Loop(latency="5 ms"), horizon=1)
        text = str(caught.value)
        assert "continuous" in text and "latency" in text and "pie" in text

    def test_writes_before_reads(self) -> None:
        with pytest.raises(ModelError, match="before it reads"):
            Replay({"pi": ([0.0, 0.1], [0.05, 0.09])})
