"""`Simulator`: stepping, rewinding, forking, resetting, breakpoints."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st

from simdl import RK4, Block, Diagram, Output, RunError, Simulator, State, Tsit5, hit, simulate, tick
from simdl.blocks import PI, BouncingBall, Gain, Integrator, Pendulum, SampleClock, WhiteNoise
from simdl.simulate import finished

F64 = torch.float64


class Loop(Diagram):
    """A pendulum under a late sampled controller with noise, and a bouncing ball."""

    y = Output()

    def __init__(self) -> None:
        self.plant, self.noise, self.ball = Pendulum(), WhiteNoise(std=0.1, period="50 ms"), BouncingBall()
        self.pi = PI(kp=3.0, ki=1.0, period="20 ms", latency="70 ms")
        self.hits = Hits()
        self.pi.e = 0.3 - self.plant.theta + self.noise.y
        self.plant.torque = self.pi.u + self.hits.y
        self.y = self.plant.theta


class Hits(Block):
    y, n = Output(), State(0.0)

    @hit(first=0.033)
    def kick(self, n):  # type: ignore[no-untyped-def]
        return dict(n=n + 1, y=0.1 * n, next=0.041)


def simulator(**more: Any) -> Simulator:
    return Simulator(Loop(), lanes=2, seed=3, set={"plant.length": torch.tensor([1.0, 0.7], dtype=F64)}, **more)


def final(sim: Simulator) -> dict[str, list[Any]]:
    return {k: v.tolist() for k, v in finished(sim).final.items()}


UNTIL = 0.6


@pytest.fixture(scope="module")
def reference() -> dict[str, list[Any]]:
    sim = simulator()
    sim.run_until(UNTIL)
    return final(sim)


class TestStepping:
    def test_step_by_step_is_the_run(self, reference: dict[str, list[Any]]) -> None:
        sim = simulator()
        times = []
        while sim.t < UNTIL:
            times.append(sim.step())
        assert times == sorted(set(times)) and sim.t == UNTIL and final(sim) == reference

    @given(st.lists(st.integers(0, 30), max_size=5))
    @settings(max_examples=10)
    def test_any_partition_at_instants_is_bit_equal(self, stops: list[int]) -> None:
        sim = simulator()
        for stop in [*sorted(stops), 30]:
            sim.run_until(f"{20 * stop} ms")
        whole = simulator()
        whole.run_until(UNTIL)
        assert final(sim) == final(whole)

    def test_any_other_partition_is_within_the_solver_s_error(self, reference: dict[str, list[Any]]) -> None:
        sim = simulator()
        for stop in (0.0071, 0.1234567, 0.333, UNTIL):
            sim.run_until(stop)
        assert final(sim)["plant.theta"] == pytest.approx(reference["plant.theta"], abs=1e-7)
        assert final(sim)["hits.n"] == reference["hits.n"]

    def test_values_at_the_last_instant(self) -> None:
        sim = simulator()
        sim.run_until(0.1)
        assert sim.t == 0.1 and sim.lanes == 2
        run = simulate(Loop(), 0.1, lanes=2, seed=3, set={"plant.length": torch.tensor([1.0, 0.7], dtype=F64)})
        for name in ("y", "plant.theta", "pi.u", "noise.y", "ball.h", "plant.energy"):
            assert torch.equal(sim[name], run[name].at(0.1)), name
        assert torch.equal(sim[sim.model.root.y * 2.0], 2 * sim["y"])  # type: ignore[attr-defined]

    def test_breakpoint_on_a_condition(self) -> None:
        sim = simulator()
        root: Any = sim.model.root
        assert sim.run_until(5, when=root.plant.theta > 0.2)
        at = sim.t
        assert bool((sim["plant.theta"] > 0.2).any()) and at < 5
        before = simulator()
        before.run_until(at - 0.02)
        assert not bool((before["plant.theta"] > 0.2).any())

    def test_time_goes_forward(self) -> None:
        sim = simulator()
        sim.run_until(0.1)
        with pytest.raises(RunError, match=r"t is already 0.1 s(.|\n)*restore\(snapshot\)"):
            sim.run_until(0.05)


class TestSnapshots:
    @pytest.mark.parametrize("at", [0.0, 0.05, 0.133, 0.4])
    def test_restore_and_go_on_is_bit_equal(self, at: float) -> None:
        sim = simulator(every=0.01)
        sim.run_until(at)
        snapshot = sim.snapshot()
        sim.run_until(UNTIL)
        first = finished(sim)
        sim.restore(snapshot)
        assert sim.t == at
        sim.run_until(UNTIL)
        again = finished(sim)
        assert {k: v.tolist() for k, v in first.final.items()} == {k: v.tolist() for k, v in again.final.items()}
        assert all(torch.equal(first[k].values, again[k].values) for k in first.traces)
        assert first.events == again.events

    def test_a_snapshot_before_the_first_instant(self, reference: dict[str, list[Any]]) -> None:
        sim = simulator()
        start = sim.snapshot()
        sim.run_until(0.3)
        sim.restore(start)
        sim.run_until(UNTIL)
        assert final(sim) == reference

    def test_inputs_come_back(self) -> None:
        sim = Simulator(Integrator(), inputs={"u": 1.0}, solver=RK4(max_step=0.1))
        sim.run_until(1)
        snapshot = sim.snapshot()
        sim.inputs["u"] = 5.0
        sim.run_until(2)
        assert float(sim["y"]) == pytest.approx(6.0)
        sim.restore(snapshot)
        sim.run_until(2)
        assert float(sim["y"]) == pytest.approx(2.0)

    def test_of_another_simulator_is_refused(self) -> None:
        a, b = simulator(), simulator()
        a.run_until(0.3)
        with pytest.raises(RunError, match="a snapshot of this simulator"):
            b.restore(a.snapshot())

    @pytest.mark.parametrize("solver", [Tsit5(), RK4(max_step=0.01)])
    def test_an_adaptive_method_restarts_at_instants_and_so_at_snapshots(self, solver: Any) -> None:
        sim = simulator(solver=solver)
        sim.run_until(0.2)
        snapshot = sim.snapshot()
        sim.run_until(0.4)
        first = final(sim)
        sim.restore(snapshot)
        sim.run_until(0.4)
        assert final(sim) == first


class TestForks:
    def test_without_a_change_it_is_the_same_run(self, reference: dict[str, list[Any]]) -> None:
        sim = simulator()
        sim.run_until(0.2)
        fork = sim.fork(set={})
        fork.run_until(UNTIL)
        assert final(fork) == reference
        sim.run_until(UNTIL)
        assert final(sim) == reference  # the original is not disturbed

    def test_one_cause_changed_on_the_same_noise(self) -> None:
        sim = simulator()
        sim.run_until(0.2)
        fork = sim.fork(set={"pi.kp": 0.0})
        fork.run_until(0.4)
        sim.run_until(0.4)
        assert torch.equal(fork["noise.y"], sim["noise.y"])
        assert not torch.equal(fork["plant.theta"], sim["plant.theta"])

    def test_a_state_changed(self) -> None:
        sim = simulator()
        sim.run_until(0.2)
        fork = sim.fork(set={"plant.theta": 1.0, "pi.i": 0.5})
        assert fork.state.y[fork.instants.rows["plant.theta"]].tolist() == [[1.0, 1.0]]
        fork.run_until(0.22)
        assert float(fork["plant.theta"][0]) == pytest.approx(1.0, abs=0.05)


class TestResets:
    def test_a_whole_lane_starts_again_and_the_others_go_on(self) -> None:
        sim, plain = simulator(), simulator()
        sim.run_until(0.2)
        sim.reset([1])
        sim.run_until(0.4)
        plain.run_until(0.4)
        for name in ("plant.theta", "pi.u", "ball.h"):
            assert sim[name][0] == plain[name][0] and sim[name][1] != plain[name][1]

    def test_the_next_instant_sees_initial_values_and_empty_queues(self) -> None:
        class Quiet(Diagram):
            def __init__(self) -> None:
                self.plant, self.pi = Pendulum(), PI(kp=3.0, period="20 ms", latency="70 ms")
                self.pi.e = 0.3 - self.plant.theta
                self.plant.torque = self.pi.u

        sim = Simulator(Quiet(), lanes=2)
        sim.run_until(0.18)
        assert float(sim["pi.u"][1]) > 0
        sim.reset([1])
        sim.step()  # 0.19, where the value of the tick at 0.12 is due
        assert sim.t == 0.19 and sim["pi.u"][1] == 0 and sim["plant.theta"][1] == 0 and float(sim["pi.u"][0]) > 0
        sim.run_until(0.26)
        assert sim["pi.u"][1] == 0 and sim["plant.theta"][1] == 0  # nothing of before the reset arrives
        sim.step()
        assert sim.t == 0.27 and float(sim["pi.u"][1]) > 0  # the tick at 0.2

    def test_by_mask_and_by_number(self) -> None:
        for given_lanes in ([0], torch.tensor([0]), torch.tensor([True, False])):
            sim = Simulator(Counter(period=1), lanes=2)
            sim.run_until(3)
            sim.reset(given_lanes)
            sim.run_until(4)
            assert sim["n"].tolist() == [1, 5]


class Counter(Block):
    n, x = Output(), State(0.0)

    @tick
    def count(self, x):  # type: ignore[no-untyped-def]
        return dict(n=x + 1, x=x + 1)


def test_progress_is_told() -> None:
    seen: list[float] = []
    simulate(SampleClock(period=0.25), 1, progress=seen.append, engine="torch")  # the other one tells by the second
    assert seen == [0, 0.25, 0.5, 0.75, 1]


def test_two_simulators_of_one_model_do_not_share() -> None:
    loop = Loop()
    a, b = Simulator(loop, seed=1), Simulator(loop, seed=1)
    a.run_until(0.3)
    b.run_until(0.3)
    assert final(a) == final(b)


def test_a_memoryless_model_runs_at_zero_and_until() -> None:
    run = simulate(Gain(k=2.0), 1, inputs={"u": 3.0}, every=0.5)
    assert run["y"].values.tolist() == [[6, 6, 6]]
