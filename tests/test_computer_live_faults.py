"""What a user who attacked live computers and processes found."""

from __future__ import annotations

import pytest

from simdl import RK4, Block, Diagram, Input, Output, Simulator, State, derivative, simulate, tick
from simdl.computer import Compute, Computer, Edge, Process, Processor, Read, Task, Uniform, Write
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


def test_what_a_body_raises_names_task_and_job():
    def jams(job):
        yield Compute("1 ms")
        if job.index == 3:
            raise ValueError("jammed")

    computer = Computer([Task("a", Processor("cpu"), period="10 ms", body=jams)])
    with pytest.raises(RunError, match=r"task a: job 3: its body raised ValueError: jammed, at 31000000 ns"):
        computer.schedule("1 s")


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
