"""What blocks refuse, and what they do with vectors: every wrong argument is an error that names it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from simdl import RK4, Diagram, LinearModel, Output, SimdlError, connect, simulate, stack
from simdl.blocks import (
    ADC,
    FIR,
    IIR,
    LQR,
    MPC,
    PI,
    PID,
    AllanNoise,
    Biquads,
    Chirp,
    ColouredNoise,
    Constant,
    Decimate,
    Delay,
    DiscreteIntegrator,
    DiscreteStateSpace,
    DiscreteTransferFunction,
    Equal,
    FirstOrder,
    ForEach,
    Friction,
    Gain,
    HeatExchanger,
    LimitedIntegrator,
    Lookup1D,
    Lookup2D,
    LookupND,
    MovingAverage,
    MultiportSwitch,
    Norm,
    Observer,
    Product,
    RateLimiter,
    Relay,
    Saturation,
    SensorChain,
    Staircase,
    StateMachine,
    StateSpace,
    StatisticalDetector,
    StickSlip,
    Sum,
    Switch,
    Window,
    Within,
    ZeroPoleGain,
    transition,
)
from simdl.blocks.vector import direction

ONE = LinearModel.of([[1.0]], [[1.0]], period=0.1)


class Driven(Diagram):
    """A block whose input u, or list of inputs, has constants."""

    y = Output()

    def __init__(self, block: Any, *values: Any) -> None:
        self.sources, self.block = [Constant(value=value) for value in values], block
        wires = [source.y for source in self.sources]
        if isinstance(block, LookupND | Sum):
            block.u = wires
        else:
            for name, wire in zip(("targets",) if isinstance(block, StatisticalDetector) else "uy", wires):
                connect(wire, getattr(block, name))
        shown = {"StatisticalDetector": "count", "Observer": "x"}.get(type(block).__name__, "y")
        self.y = getattr(block, shown)


def ran(block: Any, *values: Any) -> Callable[[], Any]:
    return lambda: simulate(Driven(block(), *values), 0.2, solver=RK4(max_step=0.1))


MATRICES: dict[str, Any] = dict(A=[[0.0, 1.0], [0.0, 0.0]], start=[0.0, 0.0])
WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: Saturation(low=2.0), r"Saturation.high: 1.0\n.*at least low = 2.0"),
    (lambda: Saturation(high=-2.0), r"at most high|at least low"),
    (lambda: Saturation(low=[0.0, 2.0], high=[1.0, 1.0]), "Saturation.high"),
    (lambda: Within(low=2.0), "Within.high"),
    (lambda: PI(low=1.0, high=-1.0), "PI.high"),
    (lambda: PID(low=1.0, high=-1.0), "PID.high"),
    (lambda: DiscreteIntegrator(high=-1.0, low=0.0), "DiscreteIntegrator.low"),
    (lambda: LimitedIntegrator(low=1.0, high=-1.0), "LimitedIntegrator.high"),
    (lambda: SensorChain(low=1.0, high=-1.0), "SensorChain.high"),
    (lambda: ADC(low=5.0, high=0.0), "ADC.high"),
    (lambda: Relay(on=-1.0), "Relay.off"),
    (lambda: Friction(coulomb=2.0), "Friction.static"),
    (lambda: StickSlip(static=0.5), "StickSlip.coulomb"),
    (lambda: LQR(ONE, [[1.0]], [[1.0]], low=1.0, high=0.0), "LQR.high"),
    (lambda: MPC(ONE, [[1.0]], [[1.0]], low=1.0, high=0.0), "MPC.high"),
    (lambda: MPC(ONE, [[1.0]], [[1.0]], horizon=0), r"MPC.horizon: 0\n.*a whole number, 1 or more"),
    (lambda: MovingAverage(0), "MovingAverage.length: 0"),
    (lambda: Delay(1.5), "Delay.length: 1.5"),  # type: ignore[arg-type]
    (lambda: Window(-1), "Window.length: -1"),
    (lambda: Decimate(0), "Decimate.factor: 0"),
    (lambda: Decimate(True), "Decimate.factor: True"),
    (lambda: ColouredNoise(length=0), "ColouredNoise.length"),
    (lambda: HeatExchanger(cells=0), "HeatExchanger.cells"),
    (lambda: StatisticalDetector(maximum=0), "StatisticalDetector.maximum"),
    (lambda: ForEach(FirstOrder, 0), "ForEach.count: 0"),
    (lambda: Staircase(steps=-1), "Staircase.steps"),
    (lambda: Chirp("logarithmic", f0=0.0), r"Chirp.f0: 0.0 Hz"),
    (lambda: Lookup1D(breaks=[0.0, 1.0, 2.0], table=[0.0, 1.0]), r"Lookup1D.table: the shape \(2,\)\n.*\(3,\)"),
    (lambda: Lookup1D(breaks=[0.0, 1.0], table=[0.0, 1.0, 2.0]), "Lookup1D.table"),
    (lambda: Lookup2D(x_breaks=[0.0, 1.0], y_breaks=[0.0, 1.0, 2.0], table=[[0.0, 1.0]] * 3), r"\(2, 3\), as the"),
    (ran(lambda: LookupND([[0.0, 1.0]] * 2, [[0.0, 1.0]] * 2), 0.5), r"1 signals\n.*2, one for each direction"),
    (ran(lambda: StateSpace(B=[1.0], C=[1.0, 0.0], **MATRICES), 1.0), r"terms of \(2,\) and \(1,\)"),
    (ran(lambda: StateSpace(B=[0.0, 1.0], C=[1.0], **MATRICES), 1.0), r"a matrix \(1,\) and a vector \(2,\)"),
    (ran(lambda: DiscreteStateSpace(B=[1.0], C=[1.0, 0.0], period=0.1, **MATRICES), 1.0), "terms of"),
    (ran(lambda: Observer(B=[1.0, 0.0], C=[1.0, 0.0], L=[1.0], **MATRICES), 1.0, 1.0), "terms of"),
    (ran(lambda: IIR(b=[1.0], a=[1.0, 0.5], period=0.1), 1.0), "1 of b, 2 of a"),
    (ran(lambda: Biquads(sections=[1.0] * 6, period=0.1), 1.0), r"the shape \(6,\)\n.*\(n, 6\)"),
    (lambda: Biquads.butterworth(4, 5.0, "10 ms", kind="lopass"), "'lopass'"),
    (lambda: Biquads.butterworth(0, 5.0, "10 ms"), "order: 0"),
    (lambda: Biquads.designed("bttr", 4, 5.0, "10 ms"), "'bttr'"),
    (lambda: DiscreteTransferFunction([1.0], [0.0, 0.5]), "no more zeros than poles"),
    (lambda: ZeroPoleGain([], [-1 + 1j]), "complex zeros and poles in pairs"),
    (ran(lambda: StatisticalDetector(period=0.1), 1.0), r"targets: the shape \(\)\n.*\(n, 2\)"),
    (ran(Norm, 1.0), "a vector, as of stack"),
    (ran(lambda: FIR(b=[1.0], period=0.1), [1.0, 2.0]), "filter"),
]


@pytest.mark.parametrize(
    ("make", "message"), WRONG, ids=[f"{k}-{m.split(':')[0][:24]}" for k, (_, m) in enumerate(WRONG)]
)
def test_what_is_wrong_is_an_error_that_names_it(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(SimdlError, match=message):
        make()


def test_limits_in_order_are_taken_in_any_order_and_as_formulas() -> None:
    class Mask(Diagram):
        def __init__(self) -> None:
            self.limits = (
                Saturation(high=-2.0, low=-3.0),
                Saturation(low=-3.0, high=-2.0),
                Saturation(low=1.0, high=1.0),
            )

    assert [block.settings["low"] for block in Mask().limits] == [-3.0, -3.0, 1.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda zero: DiscreteIntegrator(k=2.0, high=0.6, start=zero, period=0.1),
        lambda zero: RateLimiter(rise=3.0, fall=2.0, start=zero, period=0.1),
        lambda zero: Within(low=-0.5, high=0.8),
    ],
)
@pytest.mark.parametrize("lanes", [1, 3])
def test_a_vector_is_treated_element_by_element(make: Callable[[Any], Any], lanes: int) -> None:
    values = [1.0, -2.0, 0.5]
    together = simulate(Driven(make([0.0] * 3), values), 0.5, lanes=lanes)["y"].values
    for k, value in enumerate(values):
        alone = simulate(Driven(make(0.0), value), 0.5, lanes=lanes)["y"].values
        assert torch.equal(together[..., k], alone)


class Mixed(Diagram):
    """Blocks of a vector and a number."""

    sums, products, scaled, switched, chosen = Output(), Output(), Output(), Output(), Output()

    def __init__(self) -> None:
        self.v, self.n = Constant(value=[1.0, -2.0, 0.5]), Constant(value=4.0)
        self.sum, self.product, self.gain = Sum(), Product(), Gain(k=[1.0, 2.0, 3.0])
        self.switch, self.port = Switch(), MultiportSwitch()
        self.sum.u, self.product.u, self.gain.u = [self.v.y, self.n.y, 1.0], [self.n.y, self.v.y], self.n.y
        self.switch.when, self.switch.a, self.switch.b = self.n.y > 5.0, self.n.y, self.v.y
        self.port.u, self.port.index = [self.v.y, self.n.y], 1
        self.sums, self.products, self.scaled = self.sum.y, self.product.y, self.gain.y
        self.switched, self.chosen = self.switch.y, self.port.y


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_number_goes_with_every_element_of_a_vector(lanes: int) -> None:
    run = simulate(Mixed(), 0, lanes=lanes, set={"n.value": torch.arange(4.0, 4.0 + lanes).double()})
    v, n = torch.tensor([1.0, -2.0, 0.5]).double(), torch.arange(4.0, 4.0 + lanes).double().unsqueeze(1)
    for name, wanted in (
        ("sums", v + n + 1.0), ("products", v * n), ("scaled", n * torch.tensor([1.0, 2.0, 3.0])),
        ("switched", torch.where(n > 5.0, n, v)), ("chosen", n.expand(-1, 3)),
    ):  # fmt: skip
        assert torch.equal(run[name].at(0), wanted), name


def test_equal_compares_vectors() -> None:
    class Both(Diagram):
        y = Output(dtype="bool")

        def __init__(self) -> None:
            self.a, self.b, self.equal = Constant(value=[1.0, 2.0]), Constant(value=1.5), Equal(tolerance=0.5)
            self.equal.a, self.equal.b = self.a.y, stack(self.b.y, self.b.y * 2)
            self.y = self.equal.y

    assert simulate(Both(), 0, lanes=3)["y"].at(0).tolist() == [[True, False]] * 3


def test_one_state_is_a_number_for_the_mpc_as_for_the_lqr() -> None:
    class Loop(Diagram):
        u, v = Output(), Output()

        def __init__(self) -> None:
            self.x, self.mpc, self.lqr = Constant(value=0.3), MPC(ONE, [[1.0]], [[2.0]]), LQR(ONE, [[1.0]], [[2.0]])
            self.mpc.x = self.lqr.x = self.x.y
            self.u, self.v = self.mpc.u, self.lqr.u

    run = simulate(Loop(), 0)
    assert float(run["u"].at(0)) == pytest.approx(float(run["v"].at(0)), abs=1e-12)


def test_the_bias_of_allan_noise_is_as_likely_at_the_start_as_later() -> None:
    block = AllanNoise(white=0.0, instability=2.0, walk=0.0, tau=5.0, period=1.0)
    y = simulate(block, 10, lanes=20000, seed=3)["y"].values
    wanted = 0.664 * 2.0 / (0.437 * math.sqrt(2.0))
    assert [float(y[:, k].std()) for k in (0, 1, 10)] == pytest.approx([wanted] * 3, rel=0.02)


def test_direction_is_atan2_to_the_last_bits_of_float64() -> None:
    x, y = (torch.randn(1000, generator=torch.Generator().manual_seed(k), dtype=torch.float64) for k in (1, 2))
    x[:3], y[3:6] = 0.0, 0.0
    assert float((direction(x, y) - torch.atan2(y, x)).abs().max()) < 1e-11  # near x = 0 it is that of 1e-12


class TestStateMachine:
    def test_times_may_be_text(self) -> None:
        class Timer(StateMachine):
            states = "off", "on"
            go = transition("off", "on", after="2 s")

        assert simulate(Timer(period=1), 4)["active"].values.tolist() == [[0, 0, 1, 1, 1]]

    def test_a_condition_that_is_no_condition_is_an_error(self) -> None:
        class Timer(StateMachine):
            states = "off", "on"

            @transition("off", "on")
            def go(self, elapsed: Any) -> Any:
                return elapsed

        with pytest.raises(SimdlError, match=r"go: a condition of type float64\n.*true or false"):
            simulate(Timer(period=1), 1)

    def test_what_a_rule_cannot_read_is_an_error_of_that_rule(self) -> None:
        with pytest.raises(SimdlError, match=r"Wrong.go: reads 'temprature'"):

            class Wrong(StateMachine):
                states = "off", "on"

                @transition("off", "on")
                def go(self, temprature: Any) -> Any:
                    return temprature > 1

    @pytest.mark.parametrize("names", ["off", ("off", "off")])
    def test_states_are_names_each_once(self, names: Any) -> None:
        with pytest.raises(SimdlError, match=r"(?s)states: .*each once"):
            type("Wrong", (StateMachine,), {"states": names})
