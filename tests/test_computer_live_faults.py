"""What a user who attacked live computers and processes found."""

from __future__ import annotations

import math
import random
import re

import numpy as np
import pytest
import torch

from simdl import RK4, Block, Diagram, Input, Output, Simulator, State, derivative, simulate, tick
from simdl.computer import Compute, Computer, Edge, Process, Processor, Read, Task, Uniform, Write, schedule_of
from simdl.errors import RunError

SOLVER = RK4(max_step=0.02)


class Plant(Block):
    u, x = Input(), State(0.3)

    @derivative(x)
    def f(self, u):
        return u


class Control(Block):
    e, u, count, n = Input(), Output(), Output(), State(0.0)

    @tick
    def step(self, e, n):
        return {"u": 0.5 * e, "count": n, "n": n + 1}


class Loop(Diagram):
    x, count = Output(), Output()

    def __init__(self):
        self.plant, self.c = Plant(), Control(period="20 ms")
        self.c.e = 1.0 - self.plant.x
        self.plant.u = self.c.u
        self.x, self.count = self.plant.x, self.c.count


def clocked(cpu):
    return Task("c", cpu, period="20 ms", execution=Uniform("2 ms", "15 ms"), runs=["c"])


def interrupted(cpu):
    return Task("c", cpu, trigger=Edge("plant.x", "either", level=0.301), execution="5 ms", runs=["c"])


def test_a_lane_of_a_live_loop_that_is_reset_begins_again():
    diagram = Computer([clocked(Processor("cpu"))], live=True).on(Loop())
    whole = Simulator(diagram, lanes=3, every=0.05, solver=SOLVER, seed=1)
    whole.run_until(0.485)
    before = float(whole["x"][1]), float(whole["count"][1])
    whole.reset([1])
    whole.run_until(0.52)  # the next instants are 0.50 and 0.52
    whole.run_until(0.985)
    assert float(whole["x"][1]) == pytest.approx(before[0], rel=1e-9)
    assert float(whole["count"][1]) == before[1] > 20
    assert min(whole["count"][[0, 2]].tolist()) >= 47


def test_edges_release_jobs_after_a_reset():
    class Ramp(Diagram):
        def __init__(self):
            self.plant, self.c = Plant(), Control(period="20 ms")
            self.c.e = 1.0 - self.plant.x
            self.plant.u = 0.1 + 0.0 * self.plant.x

    diagram = Computer([interrupted(Processor("cpu"))], live=True).on(Ramp())
    whole = Simulator(diagram, lanes=2, every=0.05, solver=SOLVER)
    whole.run_until(0.1)
    before = float(whole["c.u"][1])
    assert before == pytest.approx(0.5 * (1 - 0.301), rel=1e-6)
    whole.reset([1])
    whole.run_until(0.121)  # it is reset at 0.12
    assert whole["c.u"].tolist() == pytest.approx([before, 0.0], rel=1e-6)
    whole.run_until(0.2)
    assert whole["c.u"].tolist() == pytest.approx([before, before], rel=1e-6)


def test_a_process_begins_again_after_a_reset():
    def machine(env, ports):
        while True:
            yield env.timeout(0.3)
            ports["parts"] = ports["parts"] + 1

    class Line(Diagram):
        parts = Output()

        def __init__(self):
            self.machine = Process(machine, outputs=("parts",))
            self.parts = self.machine.parts

    whole = Simulator(Line(), lanes=2, every=0.5)
    whole.run_until(1.0)
    whole.reset([1])
    whole.run_until(1.2)  # the next instant
    whole.run_until(2.2)
    assert whole["parts"].tolist() == [7.0, 3.0]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("steps", [(Read("ctl"),), (Read("ctrl"), Compute("1 ms"), Write("ctl"))])
def test_a_name_that_the_task_does_not_run_is_refused(live, steps):
    def body(job):
        yield from (step for step in steps)  # told what it reads, as no iterator of a tuple can be

    class Named(Diagram):
        def __init__(self):
            self.ctrl = Control(period="20 ms")
            self.ctrl.e = 1.0

    computer = Computer([Task("task", Processor("cpu"), period="20 ms", body=body, runs=["ctrl"])])
    with pytest.raises(RunError, match=r"(?s)task task: job 0: .*'ctl', which it does not run.*did you mean: ctrl"):
        simulate(computer.on(Named(), live=True) if live else computer.on(Named(), horizon="1 s"), until="0.1 s")


def test_what_needs_values_before_the_loop_runs_says_live():
    def early(job):
        value = yield Read("c")
        yield Compute("1 ms" if abs(value["u"]) < 0.2 else "5 ms")
        yield Write("c")

    def told(job):
        return 0.01 * abs(job.value("c")["u"])

    for settings in ({"body": early}, {"execution": told}):
        computer = Computer([Task("c", Processor("cpu"), period="20 ms", runs=["c"], **settings)])
        with pytest.raises(RunError, match=r"(?s)task c: job 0.*needs live=True"):
            computer.schedule("1 s")
        with pytest.raises(RunError, match=r"(?s)task c: job 0.*needs live=True"):
            computer.on(Loop(), horizon="1 s")
        result = simulate(computer.on(Loop(), live=True), until="0.1 s", solver=SOLVER)
        assert float(result["count"].values[0, -1]) > 2


def jams(job):
    yield Compute("1 ms")
    if job.index == 3:
        raise ValueError("jammed")


def test_what_a_body_raises_names_task_and_job():
    computer = Computer([Task("a", Processor("cpu"), period="10 ms", body=jams), clocked(Processor("other"))])
    with pytest.raises(RunError, match=r"task a: job 3: its body raised ValueError: jammed, at 31000000 ns"):
        computer.schedule("1 s")
    with pytest.raises(RunError, match=r"task a: job 3: its body raised ValueError: jammed, at 31000000 ns"):
        computer.on(Loop(), horizon="1 s")  # in every lane


def test_a_wait_for_inputs_that_cannot_be_seen_is_refused():
    def counts(env, ports):
        while True:
            yield env.timeout(0.37)
            ports["n"] = ports["n"] + 1

    def follows(env, ports):
        while True:
            n = ports["n"]
            yield ports.wait(lambda p, n=n: p["n"] > n)
            ports["seen"] = env.now

    class Pair(Diagram):
        seen = Output()

        def __init__(self, every):
            self.a = Process(counts, outputs=("n",))
            self.b = Process(follows, inputs=("n",), outputs=("seen",), every=every)
            self.b.n = self.a.n
            self.seen = self.b.seen

    with pytest.raises(RunError, match=r"(?s)b: lane 0: ports.wait.*every="):
        simulate(Pair(None), until=1)
    assert float(simulate(Pair("10 ms"), until=1)["seen"].values[0, -1]) == pytest.approx(0.74, abs=0.0101)


def test_a_wait_for_its_own_outputs_needs_no_waking():
    def line(env, ports):
        def machine():
            while True:
                yield env.timeout(0.3)
                ports["parts"] = ports["parts"] + 1

        env.process(machine())
        yield ports.wait(lambda p: p["parts"] >= 2)
        ports["full"] = env.now

    class Line(Diagram):
        full = Output()

        def __init__(self):
            self.line = Process(line, outputs=("parts", "full"))
            self.full = self.line.full

    assert float(simulate(Line(), until=1)["full"].values[0, -1]) == pytest.approx(0.6, rel=1e-6)


def test_a_lane_whose_body_raises_fails_with_the_line_that_did_and_the_others_go_on():
    def careful(job):
        value = yield Read("c")
        yield Compute(Uniform("2 ms", "9 ms"))
        if value["u"] < 0.2:
            raise ZeroDivisionError("too small")  # the line
        yield Write("c")

    diagram = Computer([Task("c", Processor("cpu"), period="20 ms", body=careful, runs=["c"])], live=True).on(Loop())
    options = dict(until=0.3, every=0.01, solver=SOLVER, seed=2)
    run = simulate(diagram, set={"plant.x": [0.3, 0.58, 0.35]}, **options)
    assert list(run.status) == [1]
    t, why = run.status[1]
    found = re.search(r"lane 1: task c: job (\d+): its body raised ZeroDivisionError: too small, at (\d+) ns", why)
    assert found is not None
    at = int(found[2]) / 1e9
    assert t <= at < t + 0.02 and int(found[1]) * 0.02 < at < int(found[1]) * 0.02 + 0.0091
    assert 'raise ZeroDivisionError("too small")  # the line' in why and __file__ in why
    assert len(set(run["x"].values[1, run["x"].t > at].tolist())) == 1  # it stays where it was
    assert schedule_of(diagram, lane=1, seed=2).of("c")[-1].index == int(found[1])
    alone = simulate(diagram, set={"plant.x": [0.3, 0.35]}, ids=[0, 2], **options)
    for name in ("x", "count"):
        assert torch.equal(run[name].values[[0, 2]], alone[name].values)
    with pytest.raises(RunError, match="lane 1, seed 2: .*too small"):
        simulate(diagram, set={"plant.x": [0.3, 0.58]}, strict=True, **options)


class Line(Diagram):
    y = Output()

    def __init__(self, process):
        self.plant = Plant()
        self.plant.u = 0.1
        self.line = Process(process, inputs=("x",), outputs=("y",))
        self.line.x = self.plant.x
        self.y = self.line.y


@pytest.mark.parametrize("text", ["its process raised KeyError: 'lost'", "output 'y' is set to nan"])
def test_a_lane_whose_process_raises_or_drives_nan_fails_and_the_others_go_on(text):
    def process(env, ports):
        while True:
            yield env.timeout(0.1 + ports.random.uniform(0, 0.1))
            if ports["x"] > 0.6 and "lost" in text:
                raise KeyError("lost")
            ports["y"] = float("nan") if ports["x"] > 0.6 else ports["y"] + 1

    line = Line(process)
    options = dict(until=1.5, every=0.5, solver=SOLVER)
    run = simulate(line, set={"plant.x": [0.3, 0.55, 0.2]}, **options)
    assert list(run.status) == [1]
    assert re.search(rf"line: lane 1: .*{text}.*at t = 0\.[56]", run.status[1][1]) is not None
    assert "in process: " in run.status[1][1]
    alone = simulate(line, set={"plant.x": [0.3, 0.2]}, ids=[0, 2], **options)
    assert torch.equal(run["y"].values[[0, 2]], alone["y"].values)
    assert float(run["y"].values[0, -1]) > 5


def test_what_a_task_runs_and_is_not_finite_is_named_with_its_task():
    class Broken(Block):
        e, u = Input(), Output()

        @tick
        def step(self, e, t):
            return {"u": torch.where(t > 0.09, torch.log(e - 2.0), e)}

    class Short(Diagram):
        def __init__(self):
            self.c = Broken(period="20 ms")
            self.c.e = 1.0

    for live in (False, True):
        computer = Computer([clocked(Processor("cpu"))], live=live)
        diagram = computer.on(Short(), horizon=None if live else "1 s")
        for engine in ("torch",) if live else ("torch", "native"):
            run = simulate(diagram, until="0.2 s", engine=engine)
            t, why = run.status[0]
            assert why == "c.u, which a job of task c has computed, is not finite"
            assert t in (0.08, 0.1)  # the last good state: before the instant at which the job reads, or after it


def test_the_program_of_a_lane_that_has_failed_is_not_run_any_more():
    class Blows(Block):
        x = State(1.0)

        @derivative(x)
        def motion(self, x):
            return x * x

    def process(env, ports):
        while True:
            yield env.timeout(0.01)
            ports["y"] = ports["x"]

    class Pair(Diagram):
        def __init__(self):
            self.plant, self.line = Blows(), Process(process, inputs=("x",), outputs=("y",))
            self.line.x = self.plant.x

    pair = Pair()
    simulator = Simulator(pair, set={"plant.x": [0.1, 4.0]}, solver=SOLVER, every=0.5)  # 1 / (1 / x - t): to 0.25
    simulator.run_until(2)
    assert list(simulator.state.status) == [1]
    history = pair.line._history
    assert history.replayed == 0
    assert len(history.tracks[0, 0].times) > 190 and len(history.tracks[1, 0].times) < 60


@pytest.mark.parametrize("engine", ["torch", "native"])
def test_a_lane_without_a_schedule_fails_at_the_start_and_the_others_go_on(engine):
    def body(job):
        yield Read("c")
        yield Compute(Uniform("2 ms", "15 ms"))
        if job.kernel.lane in (0, 2) and job.index == 4:
            raise ValueError("jammed")
        yield Write("c")

    computer = Computer([Task("c", Processor("cpu"), period="20 ms", body=body, runs=["c"])])
    diagram = computer.on(Loop(), horizon="1 s")
    options = dict(until=0.5, every=0.05, solver=SOLVER, engine=engine, seed=3)
    run = simulate(diagram, lanes=4, **options)
    assert {lane: t for lane, (t, _) in run.status.items()} == {0: 0.0, 2: 0.0}
    assert "lane 2: task c: job 4: its body raised ValueError: jammed, at " in run.status[2][1]
    assert run["x"].values[[0, 2]].unique().numel() == 1
    alone = simulate(diagram, ids=[1, 3], **options)
    assert not alone.status and torch.equal(run["x"].values[[1, 3]], alone["x"].values)
    assert not torch.equal(alone["x"].values[0], alone["x"].values[1])
    every = simulate(diagram, ids=[0, 2], **options)  # none can begin
    assert len(every.status) == 2 and every["x"].values.shape == (2, 11)


def test_a_value_that_is_not_told_refuses_every_use_and_nothing_else():
    seen = []

    def body(job):
        both = yield Read("c", "c.u")
        first, second = both
        seen.append((first is None, isinstance(second, float), repr(first)))
        yield from (Compute("1 ms"), Read("c"), Write("c"))  # a tuple can be told nothing

    computer = Computer([Task("c", Processor("cpu"), period="20 ms", body=body, runs=["c"])])
    computer.schedule("30 ms")
    assert seen == [(False, False, "<what c gives, told with live=True>")] * 2
    uses = [bool, float, abs, len, list, hash, str, lambda v: v > 1, lambda v: v == 1, lambda v: 1 + v,
            lambda v: v["u"], lambda v: v.mean(), lambda v: np.maximum(v, 1), lambda v: math.sin(v), lambda v: -v,
            lambda v: f"{v:.3f}", lambda v: np.asarray(v)]  # fmt: skip
    for use in uses:

        def using(job, use=use):
            use((yield Read("c")))
            yield Compute("1 ms")

        computer = Computer([Task("c", Processor("cpu"), period="20 ms", body=using, runs=["c"])])
        with pytest.raises(RunError, match=r"(?s)task c: job 0: uses what a Read of 'c' gives.*needs live=True"):
            computer.schedule("1 s")


def test_bodies_that_draw_nothing_have_one_schedule_that_is_computed_for_two_lanes():
    began = []

    def body(job):
        began.append(job.index)
        yield Read("c")
        yield Compute("3 ms" if job.index % 3 else "7 ms")
        yield Write("c")

    def impure(job):
        yield Read("c")
        yield Compute(f"{random.randrange(1, 10**6)} ns")
        yield Write("c")

    def rows(function, lanes, seed):
        computer = Computer([Task("c", Processor("cpu"), period="20 ms", body=function, runs=["c"])])
        diagram = computer.on(Loop(), horizon="0.1 s")
        began.clear()
        found = diagram.c.lane_settings(torch.arange(lanes), seed)
        return computer, {name: table.tolist() for name, table in found.items()}

    computer, tables = rows(body, 6, 5)
    assert began == [0, 1, 2, 3, 4, 5] * 2
    for lane in range(6):
        reads, writes, _ = computer.schedule("0.1 s", seed=5, lane=lane).accesses("c")
        assert tables["waits"][lane][: len(reads) - 1] == np.diff(reads).tolist()
        assert tables["write_waits"][lane][: len(writes) - 1] == np.diff(writes).tolist()
        assert tables["write_begin"][lane] == writes[0]
    _, tables = rows(impure, 6, 5)
    assert len({tuple(row) for row in tables["write_waits"]}) == 6
