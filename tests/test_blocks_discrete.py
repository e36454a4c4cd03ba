"""Sampled blocks, filters and subsystems against NumPy, SciPy and loops in Python."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from scipy import signal
from torch import Tensor

from simdl import RK4, Diagram, Input, ModelError, Output, Tsit5, enabled, simulate, stack, triggered
from simdl.blocks import (
    FIR,
    IIR,
    Biquads,
    Constant,
    Counter,
    Decimate,
    Delay,
    DiscreteDerivative,
    DiscreteIntegrator,
    DiscreteStateSpace,
    DiscreteStateSpaceD,
    DiscreteTransferFunction,
    FirstOrder,
    ForEach,
    Gain,
    Hold,
    Integrator,
    Pulse,
    RateTransition,
    SampleClock,
    Sum,
    UnitDelay,
    Variant,
    Window,
)

F64 = torch.float64
U = np.random.default_rng(3).normal(size=60)


def close(found: Any, wanted: Any, tolerance: float = 1e-12) -> None:
    found, wanted = torch.as_tensor(found, dtype=F64), torch.as_tensor(wanted, dtype=F64)
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def filtered(block: Any, u: Any = U) -> Tensor:
    """What a block of 0.1 s makes of a sequence."""
    times = [round(0.1 * k, 1) for k in range(len(u))]
    values: Tensor = simulate(block, times[-1], inputs={"u": (times, torch.as_tensor(u))})["y"].values[0]
    return values


class TestWindow:
    @pytest.mark.parametrize("length", [1, 2, 7])
    def test_delay_shifts(self, length: int) -> None:
        close(filtered(Delay(length, start=-1.0, period=0.1)), [-1.0] * length + U[:-length].tolist())

    def test_delay_of_a_vector_breaks_a_loop(self) -> None:
        class Loop(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.delay = Delay(2, start=[1.0, 2.0], period=1)
                self.delay.u = 2.0 * self.delay.y
                self.y = self.delay.y

        close(simulate(Loop(), 4)["y"].values[0], [[1, 2], [1, 2], [2, 4], [2, 4], [4, 8]])

    def test_window_holds_the_last_samples(self) -> None:
        found = filtered(Window(4, start=9.0, period=0.1))
        padded = np.concatenate([[9.0] * 3, U])
        close(found, np.lib.stride_tricks.sliding_window_view(padded, 4).copy())

    def test_window_of_a_vector(self) -> None:
        class Model(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.clock, self.window = SampleClock(period=1), Window(2, start=[0.0, 0.0], period=1)
                self.window.u = stack(self.clock.time, -self.clock.time)
                self.y = self.window.y

        close(simulate(Model(), 2, record="y")["y"].at(2), [[[1, -1], [2, -2]]])

    @pytest.mark.parametrize("factor", [1, 2, 5])
    def test_decimate_is_the_mean_of_whole_groups(self, factor: int) -> None:
        means = U[: len(U) // factor * factor].reshape(-1, factor).mean(1)
        wanted = np.concatenate([[7.0] * (factor - 1), np.repeat(means, factor)])[: len(U)]
        close(filtered(Decimate(factor, start=7.0, period=0.1)), wanted)


class TestDiscrete:
    def test_rate_transition_is_one_slow_period_late(self) -> None:
        class Rates(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.fast, self.transition = Hold(period=0.1), RateTransition(period=0.4, start=-1.0)
                self.clock = SampleClock(period=0.4)
                self.transition.u = self.clock.time
                self.fast.u = self.transition.y
                self.y = self.fast.y

        close(simulate(Rates(), 1.2, record="y")["y"].values[0], [-1] * 4 + [0] * 4 + [0.4] * 4 + [0.8])

    def test_derivative(self) -> None:
        close(filtered(DiscreteDerivative(k=2.0, period=0.1)), np.concatenate([[0], 20 * np.diff(U)]), 1e-10)

    def test_state_space_against_scipy(self) -> None:
        system = signal.dlti([0.3, 0.1, -0.2], [1.0, -1.1, 0.4], dt=0.1).to_ss()
        _, wanted, _ = signal.dlsim(system, U)
        settings = dict(A=system.A, B=system.B[:, 0], C=system.C[0], start=[0.0, 0.0], period=0.1)
        close(filtered(DiscreteStateSpaceD(D=float(system.D[0, 0]), **settings)), wanted[:, 0], 1e-10)
        _, wanted, _ = signal.dlsim(signal.dlti(system.A, system.B, system.C, 0.0, dt=0.1), U)
        close(filtered(DiscreteStateSpace(**settings)), wanted[:, 0], 1e-10)

    def test_state_space_without_feedthrough_breaks_a_loop(self) -> None:
        class Loop(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.system = DiscreteStateSpace(A=[[1.0]], B=[1.0], C=[1.0], start=[1.0], period=1)
                self.system.u = -0.5 * self.system.y
                self.y = self.system.y

        close(simulate(Loop(), 3)["y"].values[0], [1, 0.5, 0.25, 0.125])


class TestFilters:
    def test_fir_and_iir_against_scipy(self) -> None:
        b, a = [0.2, -0.1, 0.5, 0.3], [2.0, -0.6, 0.4, 0.1]
        close(filtered(FIR(b=b, period=0.1)), signal.lfilter(b, [1.0], U))
        close(filtered(IIR(b=b, a=a, period=0.1)), signal.lfilter(b, a, U))

    @pytest.mark.parametrize(
        ("num", "den"), [([1.0], [1.0, -0.5]), ([2.0, 1.0], [1.0, -0.2, 0.3]), ([1.0, 0.0], [1.0, 0.4])]
    )
    def test_transfer_function_in_z_against_scipy(self, num: list[float], den: list[float]) -> None:
        _, wanted = signal.dlsim(signal.dlti(num, den, dt=0.1), U)
        close(filtered(DiscreteTransferFunction(num, den, period=0.1)), wanted[:, 0], 1e-10)

    def test_improper_transfer_functions_are_refused(self) -> None:
        with pytest.raises(ModelError, match="no more zeros than poles"):
            DiscreteTransferFunction([1.0, 0.0, 0.0], [1.0, 0.5], period=0.1)

    @pytest.mark.parametrize(("kind", "cutoff"), [("lowpass", 1.0), ("highpass", 2.0), ("bandpass", [0.5, 2.0])])
    def test_butterworth_against_scipy(self, kind: str, cutoff: Any) -> None:
        sos = signal.butter(4, cutoff, kind, output="sos", fs=10.0)
        close(filtered(Biquads.butterworth(4, cutoff, 0.1, kind)), signal.sosfilt(sos, U))

    def test_other_designs_against_scipy(self) -> None:
        sos = signal.ellip(5, 0.5, 40.0, 2.0, output="sos", fs=10.0)
        close(filtered(Biquads.designed("ellip", 5, 2.0, 0.1, ripple=0.5, stop=40.0)), signal.sosfilt(sos, U))

    def test_gain_at_the_cutoff_is_three_decibels_down(self) -> None:
        t = np.arange(4000) * 0.1
        y = filtered(Biquads.butterworth(3, 0.5, 0.1), np.sin(2 * np.pi * 0.5 * t)[:2000])
        close(y[1000:].square().mean().sqrt(), 0.5, 1e-6)  # the rms of a sine of amplitude 1 / sqrt(2)

    def test_a_cutoff_above_half_the_rate_is_refused(self) -> None:
        with pytest.raises(ModelError, match="half the sample rate, 5 Hz"):
            Biquads.butterworth(2, 6.0, 0.1)

    def test_coefficients_may_differ_by_lane(self) -> None:
        block = FIR(b=[1.0, 0.0], period=0.1)
        taps = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=F64)
        y = simulate(block, 0.2, set={block.b: taps}, inputs={"u": ([0.0, 0.1, 0.2], [4.0, 2.0, 0.0])})["y"].values
        close(y, [[4, 2, 0], [2, 3, 1]])


class Filter(Diagram):
    """A unit that is a diagram itself."""

    u, y = Input(), Output()

    def __init__(self, k: float = 1.0) -> None:
        self.gain, self.delay = Gain(k=k), UnitDelay(period=0.1)
        self.gain.u = self.u
        self.delay.u = self.gain.y
        self.y = self.delay.y


class Many(Diagram):
    y = Output()

    def __init__(self, kind: Any, count: int, **settings: Any) -> None:
        self.source = Constant(value=[float(k + 1) for k in range(count)])
        self.units = ForEach(kind, count, **settings)
        self.units.u = self.source.y
        self.y = self.units.y


class TestForEach:
    def test_every_element_has_states_and_parameters_of_its_own(self) -> None:
        model = Many(DiscreteIntegrator, 3, period=0.5)
        run = simulate(model, 2, set={model.units.each[2].k: 10.0})
        close(run["y"].at(2), [[2, 4, 60]])
        close(run["units.each.1.y"].at(2), [4.0])

    def test_continuous_blocks_and_diagrams(self) -> None:
        close(simulate(Many(Integrator, 2), 2, solver=RK4(max_step=1.0))["y"].at(2), [[2, 4]])
        close(simulate(Many(Filter, 2, k=3.0), 0.2)["y"].values[0], [[0, 0], [3, 6], [3, 6]])

    def test_elements_with_vectors(self) -> None:
        class Pair(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.source = Constant(value=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
                self.units = ForEach(UnitDelay, 3, start=[0.0, 0.0], period=1)
                self.units.u = self.source.y
                self.y = self.units.y

        close(simulate(Pair(), 1, record="y")["y"].at(1), [[[1, 2], [3, 4], [5, 6]]])

    def test_inputs_with_a_default_may_be_left_or_wired(self) -> None:
        class Counters(Diagram):
            y = Output()

            def __init__(self, reset: bool) -> None:
                self.go, self.units = Constant(value=[1.0, 0.0]), ForEach(Counter, 2, period=1)
                self.units.count = self.go.y > 0.5
                if reset:
                    self.units.reset = self.go.y > 0.5
                self.y = self.units.y

        assert simulate(Counters(False), 3, record="y")["y"].at(3).tolist() == [[4, 0]]
        assert simulate(Counters(True), 3, record="y")["y"].at(3).tolist() == [[1, 0]]

    def test_it_can_be_pickled(self) -> None:
        model = pickle.loads(pickle.dumps(Many(DiscreteIntegrator, 3, period=0.5)))
        close(simulate(model, 2)["y"].at(2), [[2, 4, 6]])

    def test_what_is_no_class_of_blocks_is_refused(self) -> None:
        with pytest.raises(ModelError, match="a class of blocks or diagrams"):
            ForEach(Gain(k=1.0), 3)  # type: ignore[arg-type]
        with pytest.raises(ModelError, match="a list of inputs"):
            ForEach(Sum, 3)


class Actuator(Variant):
    u, y = Input(), Output()
    choices = {"ideal": Gain, "slow": lambda: FirstOrder(tau=0.5), "wrong": SampleClock}


class Plant(Diagram):
    y = Output()

    def __init__(self, choice: str) -> None:
        self.actuator = Actuator(choice=choice)
        self.actuator.u = 2.0
        self.y = self.actuator.y


class TestVariant:
    def test_the_chosen_block_is_behind_the_same_ports(self) -> None:
        close(simulate(Plant("ideal"), 1)["y"].at(1), [2.0])
        close(simulate(Plant("slow"), 1, solver=Tsit5(rtol=1e-10, atol=1e-12))["y"].at(1), [2 * (1 - np.exp(-2))], 1e-8)

    def test_a_name_that_is_no_choice_lists_those_that_are(self) -> None:
        with pytest.raises(ModelError, match=r"no variant 'idael'[\s\S]*did you mean: ideal[\s\S]*ideal, slow, wrong"):
            Plant("idael")

    def test_a_choice_with_other_ports_is_refused(self) -> None:
        with pytest.raises(ModelError, match=r"Actuator\('wrong'\): SampleClock has no input 'u'"):
            Plant("wrong")


class TestConditions:
    def test_a_triggered_counter_counts_rises(self) -> None:
        class Model(Diagram):
            n = Output()

            def __init__(self) -> None:
                self.pulse = Pulse(cycle=0.4, duty=0.5)
                self.counter = triggered(Counter(), when=self.pulse.y > 0.5, period=0.1)
                self.counter.count = True
                self.n = self.counter.y

        assert simulate(Model(), 1, record="n")["n"].at(1).tolist() == [3]

    def test_an_enabled_filter_keeps_its_state_while_it_is_off(self) -> None:
        class Model(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.pulse = Pulse(cycle=0.4, duty=0.5)
                self.filter = enabled(DiscreteIntegrator(period=0.1), when=self.pulse.y > 0.5, period=0.1)
                self.filter.u = 10.0
                self.y = self.filter.y

        close(simulate(Model(), 0.7, record="y")["y"].values[0], [0, 1, 1, 1, 2, 3, 3, 3])
