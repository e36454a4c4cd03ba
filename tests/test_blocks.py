"""The block library against closed forms, NumPy and SciPy."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, interpolate, linalg, signal, special, stats
from torch import Tensor

from simdl import RK4, Block, Diagram, ModelError, Output, Run, Tsit5, connect, output, simulate
from simdl.blocks import (
    PI,
    PID,
    BouncingBall,
    CartPole,
    Constant,
    DeadZone,
    DiscreteIntegrator,
    FirstOrder,
    Gain,
    Hold,
    Integrator,
    Lookup1D,
    Lookup2D,
    MovingAverage,
    MultiportSwitch,
    Pendulum,
    Playback,
    Product,
    Pulse,
    Quantiser,
    Ramp,
    RandomWalk,
    RateLimiter,
    Relay,
    SampleClock,
    Saturation,
    SensorChain,
    Sine,
    Solve,
    StateSpace,
    StateSpaceD,
    Step,
    Sum,
    Switch,
    TransportDelay,
    UnitDelay,
    WhiteNoise,
)
from simdl.port import Signal

FINE = Tsit5(rtol=1e-11, atol=1e-13)


class SampleClockY(SampleClock):
    """The sample clock, its number as y."""

    y = Output()

    @output(y)
    def number(self, following):  # type: ignore[no-untyped-def]
        return following.double()


class Chain(Diagram):
    """A source, then blocks, each by its input u."""

    y = Output()

    def __init__(self, *blocks: Any) -> None:
        self.blocks_in_a_row = list(blocks)
        for before, after in zip(blocks, blocks[1:], strict=False):
            connect(first(before), after.u)
        self.y = first(blocks[-1])


def first(block: Any) -> Signal:
    port: Signal = block.y
    return port


def at_once(block: Block, name: str = "y", **inputs: Any) -> Tensor:
    """An output at t = 0 for constant inputs."""
    return simulate(block, 0, inputs=inputs)[name].values[:, 0]


def ticks(block: Block, until: float, name: str = "y", **inputs: Any) -> Tensor:
    """An output at the ticks of lane 0."""
    return simulate(block, until, inputs=inputs)[name].values[0]


def close(found: Any, wanted: Any, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(
        torch.as_tensor(found, dtype=torch.float64), torch.as_tensor(wanted, dtype=torch.float64), rtol=tolerance,
        atol=tolerance,
    )  # fmt: skip


class TestSources:
    def test_constant(self) -> None:
        close(simulate(Constant(value=[1.0, 2.0]), 0)["y"].values, [[[1.0, 2.0]]])

    def test_step_changes_at_its_instant(self) -> None:
        run = simulate(Step(at=0.3, before=-1.0, after=2.0), 0.6, every=0.1)
        close(run["y"].values[0], [-1, -1, -1, 2, 2, 2, 2])

    @pytest.mark.parametrize("at", [0.1, 1 / 3, 0.7, 0.123456789])
    def test_no_step_of_an_integrator_crosses_a_jump_or_a_kink(self, at: float) -> None:
        step = Chain(Step(at=at), Integrator())
        close(simulate(step, 1, solver=RK4(max_step=0.4))["y"].at(1), [1 - at], 1e-9)
        ramp = Chain(Ramp(slope=2.0, at=at), Integrator())
        close(simulate(ramp, 1, solver=RK4(max_step=0.4))["y"].at(1), [(1 - at) ** 2], 1e-9)

    def test_each_lane_has_its_own_edge(self) -> None:
        at = torch.tensor([0.1, 0.33, 0.7, 5.0], dtype=torch.float64)
        chain = Chain(Step(), Integrator())
        run = simulate(chain, 1, set={chain.blocks_in_a_row[0].at: at}, solver=RK4(max_step=1.0))
        close(run["y"].at(1), (1 - at).clamp(min=0))

    def test_at_a_lane_s_own_edge_what_follows_is_recorded(self) -> None:
        at = torch.tensor([0.3, 0.25, 0.0], dtype=torch.float64)
        step = Step()
        run = simulate(step, 0.5, set={step.at: at}, every=0.1)
        close(run["y"].values, [[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
        common = simulate(Step(at=0.3), 0.5, every=0.1)
        assert torch.equal(common["y"].values[0], run["y"].values[0])

    def test_sine(self) -> None:
        chain = Chain(Sine(amplitude=2.0, frequency=0.7, phase=0.3, bias=1.0), Integrator())
        omega = 2 * math.pi * 0.7
        close(
            simulate(chain, 2, solver=FINE)["y"].at(2),
            [2 + 2 / omega * (math.cos(0.3) - math.cos(2 * omega + 0.3))],
            1e-9,
        )

    @pytest.mark.parametrize(
        ("cycle", "duty", "start"), [(0.3, 1 / 3, 0.0), (0.07, 0.5, 0.05), (0.1, 0.7, 0.1), (0.001, 0.25, 0.0)]
    )
    def test_pulse_is_high_for_its_duty(self, cycle: float, duty: float, start: float) -> None:
        until = start + 20 * cycle
        chain = Chain(Pulse(cycle=cycle, duty=duty, at=start), Integrator())
        run = simulate(chain, round(until, 9), solver=RK4(max_step=1.0))
        close(run["y"].at(run.until), [20 * cycle * duty], 1e-8)

    def test_pulse_with_cycles_of_one_third(self) -> None:
        """Edges at rounded nanoseconds of k/3, each seen by the sampled block that ticks there."""
        run = simulate(Pulse(cycle=1 / 3, duty=0.5), 3, every="1 ms")
        for k, t in enumerate(run["y"].t.tolist()):
            phase = Fraction(k, 1000) * 3 % 1
            assert abs(phase - Fraction(1, 2)) < Fraction(1, 10**6) or float(run["y"].values[0, k]) == (
                phase < Fraction(1, 2)
            ), t

    def test_sources_are_computed_in_float64(self) -> None:
        y = simulate(Sine(frequency=50.0), 1000, every=250.001, dtype=torch.float32)["y"]
        assert y.values.dtype == torch.float32
        close(y.values[0], torch.sin(2 * math.pi * 50.0 * y.t), 1e-7)


class TestArithmetic:
    def test_gain_sum_product_of_vectors_and_lanes(self) -> None:
        vector = Chain(Constant(value=[2.0, 3.0]), Gain(k=4.0))
        close(simulate(vector, 0)["y"].at(0), [[8.0, 12.0]])
        chain = Chain(Constant(value=3.0), Gain())
        close(simulate(chain, 0, set={chain.blocks_in_a_row[1].k: torch.tensor([1.0, 2.0])})["y"].at(0), [3.0, 6.0])

    @pytest.mark.parametrize(("block", "wanted"), [(Sum, 9.0), (Product, 24.0)])
    def test_any_number_of_inputs(self, block: Any, wanted: float) -> None:
        class Many(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.many = block()
                self.many.u = [2.0, 3.0, 4.0]
                self.y = self.many.y

        close(simulate(Many(), 0)["y"].at(0), [wanted])


U = torch.linspace(-3, 3, 61, dtype=torch.float64)


class TestNonlinear:
    def test_saturation(self) -> None:
        close(at_once(Saturation(low=-1.0, high=2.0), u=U), U.clamp(-1, 2))

    def test_dead_zone(self) -> None:
        close(at_once(DeadZone(low=-1.0, high=2.0), u=U), torch.where(U > 2, U - 2, torch.where(U < -1, U + 1, 0.0)))

    def test_quantiser(self) -> None:
        close(at_once(Quantiser(step=0.3), u=U), 0.3 * np.round(U.numpy() / 0.3))

    def test_relay_switches_at_the_located_levels(self) -> None:
        chain = Chain(Sine(frequency=1.0), Relay(on=0.25, off=-0.5, low=3.0, high=-2.0))
        run = simulate(chain, 2, every=0.01, solver=RK4(max_step=0.01), record=["y", "blocks_in_a_row.1.closed"])
        rise, fall = math.asin(0.25) / (2 * math.pi), 0.5 + math.asin(0.5) / (2 * math.pi)
        t = run["y"].t
        wanted = ((t > rise) & (t < fall)) | ((t > 1 + rise) & (t < 1 + fall))
        close(run["y"].values[0], torch.where(wanted, -2.0, 3.0))
        assert torch.equal(run["blocks_in_a_row.1.closed"].values[0], wanted)
        close([time for _, time, _ in run.events], [rise, fall, 1 + rise, 1 + fall], 1e-9)

    def test_relay_takes_jumps_across_both_levels_and_levels_that_are_one(self) -> None:
        jumps = Playback([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [0.0, -2.0, 0.0, 2.0, 3.0, -3.0], kind="hold")
        y = simulate(Chain(jumps, Relay(on=1.0, off=-1.0)), 6, every=0.5, solver=RK4(max_step=0.05))["y"]
        close(y.values[0], ((y.t > 3) & (y.t <= 5)).double())  # an event changes what comes after it
        run = simulate(Chain(Sine(frequency=1 / 3), Relay(on=0.9, off=0.9)), 6, every=0.1, solver=RK4(max_step=0.05))
        close(run["y"].values[0], (torch.sin(2 * math.pi / 3 * run["y"].t) > 0.9).double())

    def test_relay_starts_where_its_input_says(self) -> None:
        close(at_once(Relay(on=1.0, off=0.0), u=torch.tensor([0.5, 1.0])), [0.0, 1.0])


class TestTables:
    X = [-1.0, 0.5, 0.7, 3.0]
    Y = [2.0, -1.0, 4.0, 4.5]

    def test_linear_interpolation_clipped_at_the_ends(self) -> None:
        close(at_once(Lookup1D(breaks=self.X, table=self.Y), u=U), np.interp(U.numpy(), self.X, self.Y))

    def test_bilinear_interpolation_clipped_at_the_ends(self) -> None:
        xs, ys = [0.0, 1.0, 4.0], [-1.0, 0.0, 0.5, 2.0]
        table = np.arange(12.0).reshape(3, 4) ** 2
        grid = np.random.default_rng(0).uniform(-2, 5, (200, 2))
        found = at_once(Lookup2D(x_breaks=xs, y_breaks=ys, table=torch.as_tensor(table)), "z",
                        x=torch.as_tensor(grid[:, 0]), y=torch.as_tensor(grid[:, 1]))  # fmt: skip
        reference = interpolate.RegularGridInterpolator((xs, ys), table)
        close(found, reference(np.clip(grid, [0, -1], [4, 2])))

    def test_a_table_for_each_lane(self) -> None:
        tables = torch.tensor([[0.0, 1.0], [0.0, 10.0]], dtype=torch.float64)
        lookup = Lookup1D(breaks=[0.0, 1.0], table=[0.0, 0.0])
        close(simulate(lookup, 0, set={lookup.table: tables}, inputs={"u": 0.5})["y"].at(0), [0.5, 5.0])

    def test_gradient_reaches_the_two_points_around(self) -> None:
        table = torch.tensor(self.Y, dtype=torch.float64, requires_grad=True)
        lookup = Lookup1D(breaks=self.X, table=self.Y)
        run = simulate(lookup, 0, set={lookup.table: table}, inputs={"u": 0.55}, grad=True)
        run["y"].values.sum().backward()  # type: ignore[no-untyped-call]
        close(table.grad, [0, 0.75, 0.25, 0])


class TestRouting:
    def test_switch_takes_lane_by_lane(self) -> None:
        when = torch.tensor([True, False])
        close(at_once(Switch(), when=when, a=torch.tensor([1.0, 2.0]), b=torch.tensor([3.0, 4.0])), [1.0, 4.0])

    def test_multiport_switch_is_limited_to_what_there_is(self) -> None:
        class Gear(Diagram):
            y = Output()

            def __init__(self, index: int) -> None:
                self.switch = MultiportSwitch()
                self.switch.u = [3.6, 2.1, 1.4]
                self.switch.index = index
                self.y = self.switch.y

        for index, wanted in ((-1, 3.6), (0, 3.6), (1, 2.1), (2, 1.4), (7, 1.4)):
            close(simulate(Gear(index), 0)["y"].at(0), [wanted])


class TestContinuous:
    def test_integrator_of_a_vector(self) -> None:
        chain = Chain(Constant(value=[0.5, -0.5]), Integrator(start=[1.0, 2.0]))
        run = simulate(chain, 2, solver=RK4(max_step=1.0))
        close(run["y"].at(2), [[2.0, 1.0]])

    def test_first_order_lag(self) -> None:
        run = simulate(FirstOrder(k=3.0, tau=0.4, start=1.0), 1, inputs={"u": 2.0}, solver=FINE)
        close(run["y"].at(1), [6 - 5 * math.exp(-2.5)], 1e-10)

    def test_state_space_against_the_matrix_exponential(self) -> None:
        rng = np.random.default_rng(1)
        a, b, c = rng.normal(size=(3, 3)), rng.normal(size=(3, 2)), rng.normal(size=(2, 3))
        start, u = rng.normal(size=3), rng.normal(size=2)
        augmented = np.zeros((5, 5))
        augmented[:3, :3], augmented[:3, 3:] = a, b
        wanted = c @ (linalg.expm(augmented * 1.5) @ np.concatenate([start, u]))[:3]
        block = StateSpace(
            A=torch.as_tensor(a), B=torch.as_tensor(b), C=torch.as_tensor(c), start=torch.as_tensor(start)
        )
        run = simulate(Chain(Constant(value=torch.as_tensor(u)), block), 1.5, solver=FINE)
        close(run["y"].at(1.5)[0], wanted, 1e-9)

    def test_scalar_state_space_with_feedthrough_against_scipy(self) -> None:
        a, b, c, d = signal.tf2ss([1.0, 3.0, 3.0], [1.0, 0.6, 2.0])
        block = StateSpaceD(A=torch.as_tensor(a), B=torch.as_tensor(b[:, 0]), C=torch.as_tensor(c[0]), D=float(d[0, 0]),
                            start=[0.0, 0.0])  # fmt: skip
        run = simulate(block, 5, inputs={"u": 1.0}, every=0.5, solver=FINE)
        _, wanted = signal.step((a, b, c, d), T=run["y"].t.numpy())
        close(run["y"].values[0], wanted, 1e-8)

    def test_a_lane_alone_is_the_lane_in_a_batch(self) -> None:
        starts = torch.randn(37, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        a = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
        block = StateSpace(A=a, B=[1.0, 0.0, 2.0], C=[1.0, 1.0, 1.0], start=[0.0, 0.0, 0.0])

        def final(start: Tensor) -> Tensor:
            return simulate(block, 1, set={block.start: start}, inputs={"u": 1.0}, solver=RK4(max_step=0.1)).final["x"]

        assert torch.equal(final(starts[20:21])[0], final(starts)[20])


class TestDiscrete:
    def test_hold_samples_at_its_ticks(self) -> None:
        chain = Chain(Ramp(), Hold(period=0.25, offset=0.1))
        close(simulate(chain, 0.7, every=0.05)["y"].values[0],
              [0, 0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.35, 0.35, 0.35, 0.35, 0.35, 0.6, 0.6, 0.6])  # fmt: skip

    def test_two_unit_delays_are_two_ticks(self) -> None:
        chain = Chain(SampleClockY(period=0.1), UnitDelay(period=0.1, start=-1.0), UnitDelay(period=0.1, start=-2.0))
        close(simulate(chain, 0.5)["y"].values[0], [-2, -1, 0, 1, 2, 3])

    def test_unit_delay_of_a_vector(self) -> None:
        run = simulate(Chain(Constant(value=[1.0, 2.0]), UnitDelay(period=1, start=[0.0, 0.0])), 1)
        close(run["y"].values[0], [[0, 0], [1, 2]])

    def test_discrete_integrator_stops_at_its_limits(self) -> None:
        close(ticks(DiscreteIntegrator(k=2.0, start=-1.0, high=1.5, period=0.5), 2, u=1.0), [-1, 0, 1, 1.5, 1.5])

    def test_rate_limiter(self) -> None:
        u = ([0.0, 1.0], [1.0, -1.0])
        close(ticks(RateLimiter(rise=2.0, fall=4.0, start=0.0, period=0.25), 2, u=u),
              [0.5, 1, 1, 1, 0, -1, -1, -1, -1])  # fmt: skip

    def test_moving_average_against_numpy(self) -> None:
        u = np.random.default_rng(2).normal(size=40)
        found = ticks(MovingAverage(7, period=0.1), 3.9, u=([round(0.1 * k, 1) for k in range(40)], u.tolist()))
        close(found, [u[max(0, k - 6) : k + 1].mean() for k in range(40)])

    def test_sample_clock_of_a_rational_rate(self) -> None:
        run = simulate(SampleClock(rate=30), 1)
        assert run["k"].values[0].tolist() == list(range(31))
        assert run["time"].values[0].tolist() == [round(k * Fraction(10**9, 30)) / 1e9 for k in range(31)]


class TestControl:
    def test_pi_without_limits_is_a_sum(self) -> None:
        e = ([0.0, 0.5, 1.0], [1.0, -2.0, 0.5])
        close(ticks(PI(kp=3.0, ki=2.0, period=0.5), 1, "u", e=e), [3 + 1, -6 + 1 - 2, 1.5 + 1 - 2 + 0.5])

    def test_pi_leaves_its_limit_as_soon_as_the_error_turns(self) -> None:
        e = ([0.0, 10.0], [1.0, -0.1])
        u = ticks(PI(kp=1.0, ki=1.0, low=-2.0, high=2.0, period=0.1), 10.2, "u", e=e)
        assert float(u[:100].max()) == 2.0
        i = 1.0  # the integral has stopped where kp e + i reached the limit
        close(u[100:], [-0.1 + i - 0.01 * k for k in (1, 2, 3)], 1e-9)

    def test_pid_derivative_of_a_ramp_settles_to_its_slope(self) -> None:
        n, tf, period = 5, 0.3, 0.1
        y = ([round(0.1 * k, 1) for k in range(n + 1)], [0.7 * 0.1 * k for k in range(n + 1)])
        d = ticks(PID(kp=0.0, ki=0.0, kd=2.0, tf=tf, period=period), n * period, "u", r=0.0, y=y)
        close(d, [-2 * 0.7 * (1 - (tf / (tf + period)) ** k) for k in range(n + 1)])

    def test_pid_back_calculation_settles_at_its_tracking_time(self) -> None:
        pid = PID(kp=1.0, ki=2.0, high=1.0, tt=0.5, period=0.05)
        run = simulate(pid, 20, inputs={"r": 3.0, "y": 0.0})
        close(run.final["i"], [1.0 + 0.5 * 2.0 * 3.0 - 3.0], 1e-9)  # where ki e + (v - u) / tt = 0
        assert float(run["u"].at(20)) == 1.0


class TestTransportDelay:
    @pytest.mark.parametrize("delay", [0.32, 0.3371, 1.0])
    def test_error_falls_with_the_fourth_power_of_the_sample(self, delay: float) -> None:
        def error(sample: float) -> float:
            chain = Chain(Sine(frequency=0.5), TransportDelay(delay=delay, sample=sample))
            y = simulate(chain, 4, every=0.00983)["y"]
            wanted = torch.where(y.t < delay, 0.0, torch.sin(math.pi * (y.t - delay)))
            return float((y.values[0] - wanted).abs().max())

        coarse, fine = error(0.08), error(0.04)
        assert fine < 1e-5
        assert 12 < coarse / fine < 20

    def test_delay_differential_equation_by_the_method_of_steps(self) -> None:
        """x' = -x(t - 1), x = 1 until t = 0: polynomials on [0, 1], [1, 2] and [2, 3]."""

        class Loop(Diagram):
            x = Output()

            def __init__(self) -> None:
                self.integrator, self.delay = Integrator(start=1.0), TransportDelay(delay=1.0, sample=0.05, start=1.0)
                self.delay.u = self.integrator.y
                self.integrator.u = -self.delay.y
                self.x = self.integrator.y

        run = simulate(Loop(), 3, every=0.5, solver=RK4(max_step=0.05))
        t = run["x"].t
        wanted = 1 - t + (t - 1).clamp(min=0) ** 2 / 2 - (t - 2).clamp(min=0) ** 3 / 6
        close(run["x"].values[0], wanted, 1e-5)

    def test_each_lane_has_its_own_delay(self) -> None:
        delays = torch.tensor([0.3, 0.5, 0.8], dtype=torch.float64)
        chain = Chain(Ramp(), TransportDelay(delay=0.3, sample=0.05, longest=0.8))
        run = simulate(chain, 2, set={chain.blocks_in_a_row[1].delay: delays}, every=0.25)
        close(run["y"].values, (run["y"].t - delays[:, None]).clamp(min=0))

    def test_delay_beyond_the_ring_fails_the_lane_alone(self) -> None:
        chain = Chain(Ramp(), TransportDelay(delay=0.3, sample=0.05), Integrator())
        run = simulate(
            chain, 2, set={chain.blocks_in_a_row[1].delay: torch.tensor([0.3, 1.9])}, solver=RK4(max_step=0.1)
        )
        assert list(run.status) == [1]

    def test_delay_of_less_than_four_samples_is_refused(self) -> None:
        with pytest.raises(ModelError, match="four samples"):
            TransportDelay(delay=0.03, sample=0.01)


class Circle(Solve):
    """The point of a circle of radius r in the direction (a, 1): two equations."""

    def residual(self, z, radius, a):  # type: ignore[no-untyped-def]
        return torch.stack([z[:, 0] ** 2 + z[:, 1] ** 2 - radius**2, z[:, 0] - a * z[:, 1]], dim=1)


class Diode(Solve):
    """The current of a diode in series with a resistor of 1 ohm."""

    turns = 30

    def residual(self, z, v):  # type: ignore[no-untyped-def]
        return torch.log1p(z.clamp(min=0.0) / 1e-3) * 0.05 + z - v


class Equation(Diagram):
    z, error = Output(), Output()

    def __init__(self, block: Solve, *names: str) -> None:
        self.values = [Constant() for _ in names]
        self.solve = block
        self.solve.u = [value.y for value in self.values]
        self.z, self.error = self.solve.z, self.solve.error


class TestSolve:
    def test_a_scalar_equation_against_scipy(self) -> None:
        from scipy.optimize import brentq

        model = Equation(Diode(guess=0.5), "v")
        volts = torch.tensor([0.3, 1.0, 4.0], dtype=torch.float64)
        run = simulate(model, 0, set={model.values[0].value: volts})
        wanted = [brentq(lambda i, v=v: math.log1p(i / 1e-3) * 0.05 + i - v, 0, 5, xtol=1e-15) for v in volts.tolist()]
        close(run["z"].at(0), wanted)
        assert float(run["error"].at(0).max()) < 1e-12

    def test_gradient_is_that_of_the_implicit_function(self) -> None:
        model = Equation(Circle(guess=[1.0, 1.0]), "radius", "a")
        radius = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
        a = torch.tensor([0.75], dtype=torch.float64, requires_grad=True)
        run = simulate(model, 0, grad=True, set=dict(zip((v.value for v in model.values), (radius, a), strict=True)))
        z = run["z"].at(0)[0]
        close(z.detach(), [1.2, 1.6])
        z[0].backward()  # type: ignore[no-untyped-call]
        close(radius.grad, [0.6])  # x = r a / sqrt(1 + a^2)
        close(a.grad, [2 / (1 + 0.75**2) ** 1.5])


class TestNoise:
    def test_white_noise_is_normal_and_lanes_are_independent(self) -> None:
        y = simulate(WhiteNoise(mean=1.0, std=2.0, period=0.01), 5, lanes=200, seed=3)["y"].values
        assert stats.kstest((y.flatten().numpy() - 1) / 2, "norm").pvalue > 1e-3
        correlation = torch.corrcoef(y) - torch.eye(200, dtype=y.dtype)
        assert float(correlation.abs().max()) < 6 / math.sqrt(y.shape[1])
        assert float((y[:, 1:] * y[:, :-1]).mean()) == pytest.approx(1.0, abs=0.1)  # mean^2: no memory

    @pytest.mark.parametrize("period", [0.01, 0.1])
    def test_variance_of_a_random_walk_grows_with_time_at_any_rate(self, period: float) -> None:
        y = simulate(RandomWalk(walk=0.5, start=1.0, period=period), 1, lanes=4000, seed=3)["y"]
        assert float(y.at(0).std()) == 0.0
        assert float(y.at(1).var()) == pytest.approx(0.25, rel=0.1)


class TestSensor:
    def test_ideal_sensor_is_a_hold(self) -> None:
        close(ticks(SensorChain(period=0.1), 0.2, u=1.2345), [1.2345] * 3)

    def test_each_error_alone(self) -> None:
        assert at_once(SensorChain(gain=1.1, period=1), u=2.0)[0] == pytest.approx(2.2)
        assert at_once(SensorChain(bias=0.25, period=1), u=2.0)[0] == pytest.approx(2.25)
        assert at_once(SensorChain(step=0.4, period=1), u=2.1)[0] == pytest.approx(2.0)
        assert at_once(SensorChain(low=-1.0, high=1.0, period=1), u=2.0)[0] == 1.0

    def test_noise_and_drift_have_the_stated_sizes(self) -> None:
        quiet = simulate(SensorChain(noise=0.2, period=0.1), 1, lanes=3000, inputs={"u": 1.0}, seed=1)["y"].at(1)
        assert float(quiet.std()) == pytest.approx(0.2, rel=0.05)
        walk = simulate(SensorChain(walk=0.3, period=0.1), 4, lanes=3000, inputs={"u": 0.0}, seed=1)["y"]
        assert float(walk.at(4).std()) == pytest.approx(0.6, rel=0.05)


class TestPlants:
    def test_period_of_a_pendulum(self) -> None:
        theta0 = 2.0
        run = simulate(
            Pendulum(damping=0.0), 3, set={"theta": theta0}, inputs={"torque": 0.0}, every=0.001, solver=FINE
        )
        theta = run["theta"].values[0]
        k = int((theta < 0).nonzero()[0])
        quarter = float(run["theta"].t[k - 1]) + 0.001 * float(theta[k - 1] / (theta[k - 1] - theta[k]))
        wanted = math.sqrt(1 / 9.81) * special.ellipk(math.sin(theta0 / 2) ** 2)
        assert quarter == pytest.approx(wanted, abs=1e-6)

    def test_pendulum_energy_is_the_work_done_less_what_is_damped(self) -> None:
        free = simulate(Pendulum(damping=0.0, mass=2.0, length=0.7), 5, set={"theta": 1.0}, inputs={"torque": 0.0},
                        every=0.5, solver=FINE)["energy"].values  # fmt: skip
        close(free, free[:, :1].expand_as(free), 1e-8)

    def test_cart_pole_against_lagrange_and_scipy(self) -> None:
        m_cart, m, half, g, force = 1.3, 0.4, 0.6, 9.81, 2.0

        def lagrange(t: float, y: np.ndarray) -> np.ndarray:
            """Mass matrix of a uniform pole of length 2 half (inertia m half^2 / 3) hinged on the cart."""
            _, v, theta, omega = y
            mass = np.array(
                [[m_cart + m, m * half * math.cos(theta)], [m * half * math.cos(theta), m * half**2 * 4 / 3]]
            )
            right = [force + m * half * omega**2 * math.sin(theta), m * g * half * math.sin(theta)]
            a, alpha = np.linalg.solve(mass, right)
            return np.array([v, a, omega, alpha])

        reference = integrate.solve_ivp(lagrange, (0, 2), [0, 0, 0.3, 0], rtol=1e-11, atol=1e-13).y[:, -1]
        pole = CartPole(cart=m_cart, pole=m, half=half)
        run = simulate(pole, 2, set={"theta": 0.3}, inputs={"force": force}, solver=FINE)
        close([float(run.final[name]) for name in ("x", "v", "theta", "omega")], reference, 1e-7)

    def test_ball_bounces_at_the_times_of_the_closed_form(self) -> None:
        run: Run = simulate(BouncingBall(restitution=0.6, height=2.0), 2.5, solver=RK4(max_step=0.05), every=0.5)
        fall = math.sqrt(2 * 2.0 / 9.81)
        wanted = [fall * (1 + 2 * sum(0.6**i for i in range(1, k + 1))) for k in range(len(run.events))]
        close([t for _, t, _ in run.events][:12], wanted[:12])
