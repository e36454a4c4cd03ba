"""Continuous blocks against closed forms, SciPy and python-control."""

from __future__ import annotations

import math
from typing import Any

import control
import numpy as np
import pytest
import torch
from scipy import signal
from torch import Tensor

from simdl import RK4, Diagram, LoopError, ModelError, Output, Tsit5, connect, simulate
from simdl.blocks import (
    Constant,
    GatedIntegrator,
    Integrator,
    LeadLag,
    LimitedIntegrator,
    Notch,
    Ramp,
    ResettableIntegrator,
    SecondOrder,
    Sine,
    TransferFunction,
    TransportDelay,
    VariableDelay,
    ZeroPoleGain,
)

FINE = Tsit5(rtol=1e-11, atol=1e-13)


class Wired(Diagram):
    """A block whose inputs are driven by blocks or numbers."""

    y = Output()

    def __init__(self, block: Any, **sources: Any) -> None:
        self.sources = [source for source in sources.values() if not isinstance(source, float)]
        self.block = block
        for name, source in sources.items():
            connect(source if isinstance(source, float) else source.y, getattr(block, name))
        self.y = block.y


def close(found: Any, wanted: Any, tolerance: float = 1e-12) -> None:
    found, wanted = (v.double() if isinstance(v, Tensor) else torch.as_tensor(np.asarray(v)) for v in (found, wanted))
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


class TestIntegrator:
    def test_limited_integral_of_a_sine_leaves_the_limits_when_the_sine_changes_sign(self) -> None:
        """y = 1 - cos t up to 1.5; it leaves at t = pi, and falls by 1.5 to 0 before 2 pi, where it leaves again."""
        model = Wired(LimitedIntegrator(low=0.0, high=1.5), u=Sine(frequency=1 / (2 * math.pi)))
        run = simulate(model, 12, every=0.01, solver=RK4(max_step=0.02))
        t, wanted = run["y"].t, []
        for time in t.tolist():
            time = math.fmod(time, 2 * math.pi)
            rising, falling = min(1 - math.cos(time), 1.5), max(1.5 - (1 + math.cos(time)), 0.0)
            wanted.append(rising if time < math.pi else falling)
        close(run["y"].values[0], wanted, 1e-8)
        times = [time for _, time, _ in run.events]
        close(times[:3], [math.acos(-0.5), math.pi, 2 * math.pi - math.acos(0.5)], 1e-8)

    def test_limited_integrator_that_starts_on_its_limit_stays_or_leaves_as_its_input_says(self) -> None:
        block = LimitedIntegrator(low=-1.0, high=1.0)
        start = torch.tensor([1.0, 1.0, 3.0, -1.0, -1.0], dtype=torch.float64)
        u = torch.tensor([0.5, -0.5, -0.5, -0.5, 0.25], dtype=torch.float64)
        run = simulate(block, 2, set={block.start: start}, inputs={"u": u}, every=0.5, solver=RK4(max_step=0.1))
        close(run["y"].at(2), [1.0, 0.0, 0.0, -1.0, -0.5])

    def test_limited_integrator_away_from_its_limits_returns_to_them(self) -> None:
        u = ([0.0, 1.0, 2.0, 3.0, 6.0], [-1.0, 1.0, -0.5, 1.0, -1.0])
        run = simulate(LimitedIntegrator(start=2.0, high=2.0), 7, inputs={"u": u}, every=0.5, solver=RK4(max_step=0.3))
        close(run["y"].values[0], [2, 1.5, 1, 1.5, 2, 1.75, 1.5, 2, 2, 2, 2, 2, 2, 1.5, 1])

    def test_at_the_limit_a_pause_of_the_input_does_not_open_the_limit(self) -> None:
        u = ([0.0, 2.0, 3.0, 4.0], [1.0, 0.0, 1.0, -1.0])
        run = simulate(LimitedIntegrator(high=1.0), 5, inputs={"u": u}, every=0.5, solver=RK4(max_step=0.3))
        close(run["y"].values[0], [0, 0.5, 1, 1, 1, 1, 1, 1, 1, 0.5, 0])

    def test_reset_at_the_located_edges_of_a_continuous_signal(self) -> None:
        """sin(2 pi t) rises through 0.5 at t = 1/12 + k: from there the integral of 1 starts at 3."""
        run = simulate(Wired(ResettableIntegrator(), u=1.0, start=3.0, reset=Sine(frequency=1.0)), 2.5, every=0.1,
                       solver=RK4(max_step=0.05))  # fmt: skip
        t = run["y"].t
        wanted = torch.where(t < 1 / 12, 3 + t, 3 + torch.remainder(t - 1 / 12, 1.0))
        close(run["y"].values[0], wanted, 1e-6)
        assert len(run.events) == 3

    def test_reset_takes_the_present_value_of_start(self) -> None:
        model = Wired(ResettableIntegrator(), u=1.0, start=Ramp(slope=10.0), reset=Sine(frequency=1.0))
        close(simulate(model, 2, solver=RK4(max_step=0.05))["y"].at(2), [10 * (13 / 12) + 11 / 12], 1e-6)

    def test_a_level_holds_the_integral_at_start(self) -> None:
        model = Wired(GatedIntegrator(), u=2.0, start=Ramp(), hold=Sine(frequency=1.0))
        run = simulate(model, 2, every=0.01, solver=RK4(max_step=0.05))
        wanted = []
        for t in run["y"].t.tolist():
            phase = t % 1
            last = math.floor(t) + (5 / 12 if phase > 5 / 12 else -7 / 12)  # when the level fell
            free = 2 * t if t < 1 / 12 else last + 2 * (t - last)
            wanted.append(t if 1 / 12 < phase < 5 / 12 else free)
        close(run["y"].values[0], wanted, 1e-5)

    def test_gradient_passes_a_limit(self) -> None:
        """y(2) = high - (2 - t_off) with the limit reached: d/dhigh = 1; without it y depends on the start alone."""
        block = LimitedIntegrator()
        high = torch.tensor([1.0, 9.0], dtype=torch.float64, requires_grad=True)
        start = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        run = simulate(block, 3, set={block.high: high, block.start: start}, grad=True, solver=RK4(max_step=0.1),
                       inputs={"u": ([0.0, 2.0], [1.0, -1.0])})  # fmt: skip
        run["y"].at(3).sum().backward()  # type: ignore[no-untyped-call]
        close(high.grad, [1.0, 0.0])
        close(start.grad, [0.0, 1.0])


class TestTransferFunction:
    @pytest.mark.parametrize(
        ("numerator", "denominator"),
        [([2.0], [0.5, 1.0]), ([1.0, 2.0], [1.0, 0.4, 4.0]), ([1.0, 0.6, 2.0], [2.0, 3.0, 3.0]),
         ([0.0, 0.0, 3.0], [0.0, 1.0, 2.0, 2.0, 0.0]), ([4.0], [2.0])],
    )  # fmt: skip
    def test_step_response_against_python_control(self, numerator: list[float], denominator: list[float]) -> None:
        run = simulate(TransferFunction(numerator, denominator), 5, inputs={"u": 1.0}, every=0.25, solver=FINE)
        wanted = control.step_response(control.tf(numerator, denominator), run["y"].t.numpy()).outputs
        close(run["y"].values[0], wanted, 1e-8)

    def test_frequency_response_is_the_value_at_j_omega(self) -> None:
        """After the transient, sin(w t) comes out as |G| sin(w t + arg G)."""
        numerator, denominator, omega = [1.0, 0.6, 20.0], [1.0, 3.0, 8.0], 3.0
        model = Wired(TransferFunction(numerator, denominator), u=Sine(frequency=omega / (2 * math.pi)))
        y = simulate(model, 30, every=0.01, solver=RK4(max_step=0.01))["y"]
        g = np.polyval(numerator, 1j * omega) / np.polyval(denominator, 1j * omega)
        wanted = abs(g) * np.sin(omega * y.t.numpy() + np.angle(g))
        close(y.values[0, -200:], wanted[-200:], 1e-7)

    def test_no_feedthrough_breaks_a_loop_and_feedthrough_does_not(self) -> None:
        class Loop(Diagram):
            y = Output()

            def __init__(self, system: TransferFunction) -> None:
                self.system = system
                self.system.u = 1.0 - self.system.y
                self.y = self.system.y

        run = simulate(Loop(TransferFunction([1.0], [1.0, 1.0])), 3, solver=FINE)
        close(run["y"].at(3), [0.5 * (1 - math.exp(-6))], 1e-9)
        with pytest.raises(LoopError, match="depends on itself"):
            simulate(Loop(TransferFunction([1.0, 0.0], [1.0, 1.0])), 3, solver=FINE)

    def test_coefficients_of_each_lane(self) -> None:
        system = TransferFunction([1.0], [1.0, 1.0])
        tau = torch.tensor([0.5, 2.0], dtype=torch.float64)
        below = torch.stack([tau, torch.ones_like(tau)], 1)
        run = simulate(system, 1, set={system.denominator: below}, inputs={"u": 1.0}, solver=FINE)
        close(run["y"].at(1), 1 - torch.exp(-1 / tau), 1e-9)

    def test_more_zeros_than_poles_are_refused(self) -> None:
        with pytest.raises(ModelError, match="no more zeros than poles"):
            TransferFunction([1.0, 0.0, 0.0], [1.0, 1.0])
        with pytest.raises(ModelError, match="no more zeros than poles"):
            ZeroPoleGain([1.0], [], 1.0)

    def test_elliptic_filter_of_order_eight_against_scipy(self) -> None:
        zeros, poles, gain = signal.ellip(8, 0.5, 60, 2 * math.pi * 5, analog=True, output="zpk")
        run = simulate(ZeroPoleGain(zeros, poles, gain), 2, inputs={"u": 1.0}, every=0.01, solver=FINE)
        _, wanted = signal.step(signal.ZerosPolesGain(zeros, poles, gain).to_ss(), T=run["y"].t.numpy())
        close(run["y"].values[0], wanted, 1e-6)

    def test_second_order_step_of_an_underdamped_system(self) -> None:
        omega, zeta, k, start = 3.0, 0.2, 2.0, -1.0
        system = SecondOrder(omega=omega, zeta=zeta, k=k, start=start)
        run = simulate(system, 4, inputs={"u": 1.5}, every=0.1, solver=FINE)
        t, damped = run["y"].t, omega * math.sqrt(1 - zeta**2)
        swing = torch.cos(damped * t) + zeta * omega / damped * torch.sin(damped * t)
        close(run["y"].values[0], k * 1.5 + (start - k * 1.5) * torch.exp(-zeta * omega * t) * swing, 1e-9)

    @pytest.mark.parametrize("omega", [5.0, 20.0, 22.0, 60.0])
    def test_notch_attenuates_around_its_frequency(self, omega: float) -> None:
        gain = abs((400 - omega**2 + 2j * 0.1 * 4 * omega) / (400 - omega**2 + 2j * 4 * omega))
        model = Wired(Notch(omega=20.0, width=4.0, depth=0.1), u=Sine(frequency=omega / (2 * math.pi)))
        y = simulate(model, 5, every=0.0017, solver=RK4(max_step=0.1 / omega))["y"]
        late = y.values[0, y.t > 3.5]
        assert float(late.abs().max()) == pytest.approx(gain, rel=4e-3)

    def test_lead_lag_against_its_step_response(self) -> None:
        run = simulate(LeadLag(lead=2.0, lag=0.5, k=3.0), 2, inputs={"u": 1.0}, every=0.1, solver=FINE)
        close(run["y"].values[0], 3 * (1 + (2.0 / 0.5 - 1) * torch.exp(-run["y"].t / 0.5)), 1e-9)


class TestVariableDelay:
    def test_a_constant_delay_is_the_transport_delay(self) -> None:
        fixed = Wired(TransportDelay(delay=0.34, sample=0.02), u=Sine(frequency=0.5))
        moved = Wired(VariableDelay(longest=1.0, sample=0.02), u=Sine(frequency=0.5), delay=0.34)
        kwargs: dict[str, Any] = dict(until=3, every=0.0173)
        close(simulate(moved, **kwargs)["y"].values, simulate(fixed, **kwargs)["y"].values, 1e-13)

    def test_error_falls_with_the_fourth_power_of_the_sample(self) -> None:
        """A pipe whose delay swings: y(t) = sin(pi (t - d(t)))."""

        def error(sample: float) -> float:
            swing = Sine(amplitude=0.3, frequency=0.25, bias=0.8)
            model = Wired(VariableDelay(longest=1.2, sample=sample), u=Sine(frequency=0.5), delay=swing)
            y = simulate(model, 6, every=0.00983)["y"]
            ago = y.t - 0.8 - 0.3 * torch.sin(0.5 * math.pi * y.t)
            return float((y.values[0] - torch.where(ago < 0, 0.0, torch.sin(math.pi * ago))).abs().max())

        coarse, fine = error(0.08), error(0.04)
        assert fine < 1e-5
        assert 12 < coarse / fine < 20

    def test_delay_is_limited_to_what_the_ring_holds(self) -> None:
        for asked, given in ((0.0, 0.2), (9.0, 1.0), (-1.0, 0.2)):
            run = simulate(Wired(VariableDelay(longest=1.0, sample=0.05), u=Ramp(), delay=asked), 2)
            close(run["y"].at(2), [2 - given])
            assert not run.status

    def test_shorter_than_four_samples_is_refused(self) -> None:
        with pytest.raises(ModelError, match="four samples"):
            VariableDelay(longest=0.03, sample=0.01)

    def test_loop_through_the_delay(self) -> None:
        """x' = -x(t - 1), x = 1 until 0, by the method of steps."""

        class Loop(Diagram):
            x = Output()

            def __init__(self) -> None:
                self.integrator, self.delay = Integrator(start=1.0), VariableDelay(longest=1.5, sample=0.05, start=1.0)
                self.one = Constant(value=1.0)
                self.delay.u, self.delay.delay = self.integrator.y, self.one.y
                self.integrator.u = -self.delay.y
                self.x = self.integrator.y

        run = simulate(Loop(), 3, every=0.5, solver=RK4(max_step=0.05))
        t = run["x"].t
        close(run["x"].values[0], 1 - t + (t - 1).clamp(min=0) ** 2 / 2 - (t - 2).clamp(min=0) ** 3 / 6, 1e-5)
