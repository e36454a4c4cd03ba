"""Gradients through native runs are those of eager autograd, of finite differences, and the same bits however cut."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from simdl import (
    RK4,
    Block,
    Diagram,
    Euler,
    Heun,
    Input,
    LoweringError,
    Network,
    Noise,
    Output,
    Param,
    Recurrent,
    Run,
    Simulator,
    State,
    Trace,
    Tsit5,
    derivative,
    enabled,
    output,
    prepare,
    repeat,
    resettable,
    rollout,
    simulate,
    tick,
)
from simdl.blocks import (
    PI,
    BouncingBall,
    CartPole,
    FirstOrder,
    Hold,
    Integrator,
    Pulse,
    Sine,
    WhiteNoise,
)
from simdl.engine.native.cache import load
from simdl.simulate import finished

pytestmark = pytest.mark.usefixtures("lightly")
F64 = torch.float64


def ramp(first: float, last: float, lanes: int) -> Tensor:
    return torch.linspace(first, last, lanes, dtype=F64)


# -- models -----------------------------------------------------------------------------------------------------------


class Balance(Diagram):
    """A cart-pole balanced by a network."""

    def __init__(self, latency: str | None = None, module: nn.Module | None = None) -> None:
        torch.manual_seed(3)
        self.plant = CartPole()
        module = (
            module or nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1)).double()
        )
        names = ("x", "v", "theta", "omega")
        more = {} if latency is None else {"latency": latency}
        self.net = Network(module, period="20 ms", inputs=names, outputs=("force",), **more)
        for name in names:
            setattr(self.net, name, getattr(self.plant, name))
        self.plant.force = self.net.force


class Servo(Diagram):
    """A PI at 20 ms that acts 13 ms late, on a sensor at 7 ms, around 1/(s(s+1))."""

    r, y = Input(default=0.5), Output()

    def __init__(self) -> None:
        self.fast, self.slow = FirstOrder(), Integrator()
        self.sensor, self.pi = Hold(period="7 ms"), PI(period="20 ms", latency="13 ms", kp=4.0, ki=1.0)
        self.fast.u = self.pi.u
        self.slow.u = self.fast.y
        self.sensor.u = self.slow.y
        self.pi.e = self.r - self.sensor.y
        self.y = self.slow.y


class Late(Diagram):
    """Values that are under way for three periods."""

    y = Output()

    def __init__(self) -> None:
        self.plant, self.gain = FirstOrder(), Late.Twice(period=0.1, latency=0.33)
        self.gain.u = self.plant.y
        self.plant.u = self.gain.y
        self.y = self.plant.y

    class Twice(Block):
        u, y = Input(), Output(initial=0.3)
        k: Param = Param(-1.5)

        @tick
        def step(self, u, k):  # type: ignore[no-untyped-def]
            return dict(y=k * u)


class Watched(Diagram):
    """An estimate of a noisy signal by a recurrent network."""

    y = Output()

    def __init__(self) -> None:
        torch.manual_seed(4)
        self.wave, self.noise, self.sum = Sine(), WhiteNoise(period=0.1, std=0.3), Integrator()
        self.sum.u = self.wave.y - 0.3 * self.sum.y
        module, head = nn.GRU(1, 4, num_layers=2, batch_first=True).double(), nn.Linear(4, 1).double()
        self.net = Recurrent(module, head=head, period=0.1, inputs=("u",), outputs=("estimate",))
        self.net.u = self.sum.y + self.noise.y
        self.y = self.net.estimate


class Walk(Block):
    """x+ = a x + b w."""

    x, a, b = State(0.5), Param(0.9), Param(0.4)
    w = Noise(shape=(3,))
    y = Output()

    @tick
    def step(self, x, a, b, w):  # type: ignore[no-untyped-def]
        new = a * x + b * (w[:, 0] * w[:, 1] + torch.sin(w[:, 2]))
        return dict(x=new, y=torch.tanh(new))


class Conditional(Diagram):
    """A leak that is integrated, and a counter that runs, only where a level is high; an integral that starts again."""

    y, n, z = Output(), Output(), Output()

    def __init__(self, outputs: str = "hold") -> None:
        self.wave, self.level, self.clock = Sine(frequency=0.5), Hold(period=0.1), Pulse(cycle=0.8, duty=0.3)
        self.level.u = self.wave.y
        self.leak = enabled(FirstOrder(), when=self.level.y > 0.2, outputs=outputs)  # type: ignore[arg-type]
        self.leak.u = self.level.y + 0.4
        self.walk = enabled(Scaled(period=0.2, latency=0.25), when=self.level.y > -0.3)
        self.walk.u = self.leak.y
        self.gate = Hold(period=0.1)
        self.gate.u = self.clock.y
        self.sum = resettable(Integrator(), when=self.gate.y > 0.5)
        self.sum.u = self.walk.y + self.leak.y
        self.y, self.n, self.z = self.leak.y, self.walk.y, self.sum.y


class Scaled(Block):
    u, y, x = Input(), Output(initial=0.2), State(0.1)
    k: Param = Param(0.7)

    @tick
    def step(self, u, x, k):  # type: ignore[no-untyped-def]
        return dict(x=x + k * u, y=k * x + torch.sin(u))


class Coupled(Block):
    """A state of a matrix and one of a vector, and an output of both."""

    m, v, u = State([[0.2, -0.1], [0.4, 0.3]]), State([1.0, -0.5]), Input(default=0.2)
    k = Param([[0.5, 0.1], [-0.2, 0.4]])
    y = Output(shape=(2,))

    @output(y)
    def show(self, m, v):  # type: ignore[no-untyped-def]
        return (m * v.unsqueeze(-2)).sum(-1)

    @derivative(m, v)
    def flow(self, m, v, u, k):  # type: ignore[no-untyped-def]
        push = (k @ v.unsqueeze(-1)).squeeze(-1)
        return -m + v.unsqueeze(-1) * push.unsqueeze(-2), -v * v.abs() + torch.atan2(push, 1 + v**2) + u.unsqueeze(-1)


# -- comparing --------------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """A model, what of it is set, and how it is run; `inputs` may hold functions of a leaf."""

    model: Callable[[], Any]
    set: Mapping[str, Tensor] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    leaves: Mapping[str, Tensor] = field(default_factory=dict)
    inputs: Callable[[Mapping[str, Tensor]], Mapping[str, Any]] = lambda leaves: {}
    until: float = 1.0
    tolerance: float = 1e-12


STEP = RK4(max_step=0.005)
LONG = 40.0  # s: the way back takes many times the tenth of a second after which it is left
CASES = {
    "cart-pole": Case(
        Balance,
        {"plant.theta": ramp(0.1, 0.3, 11), "plant.half": ramp(0.4, 0.6, 11)},
        dict(record=["plant.theta", "plant.x"], every=0.02, solver=STEP),
    ),
    "cart-pole, one lane": Case(
        Balance, {"plant.theta": ramp(0.2, 0.2, 1)}, dict(record=["plant.theta", "net.force"], solver=STEP)
    ),
    "cart-pole, dense": Case(
        lambda: Balance("5 ms"),
        {"plant.theta": ramp(0.1, 0.3, 3), "plant.v": ramp(0, 1, 3)},
        dict(record=["plant.theta", "net.force", "plant.omega"], every=0.0015, solver=STEP),
    ),
    "rates and latency": Case(
        Servo,
        {"pi.kp": ramp(3, 5, 9), "pi.ki": torch.tensor(1.0, dtype=F64), "slow.y": ramp(0, 1, 9)},
        leaves={"r": ramp(0.5, 1.5, 9)},
        inputs=lambda leaves: {"r": leaves["r"]},
    ),
    "values under way": Case(
        Late, {"gain.k": ramp(-2, -1, 4), "plant.y": ramp(0.5, 1, 4)}, dict(every=0.05, solver=STEP)
    ),
    "recurrent": Case(Watched, {"wave.amplitude": ramp(1, 3, 10), "sum.y": ramp(0, 1, 10)}, until=2.0),
    "noise": Case(lambda: Walk(period=0.1), {"a": ramp(0.5, 0.9, 9), "b": torch.tensor(0.4, dtype=F64)}, until=3.0),
    "conditions that hold": Case(
        Conditional,
        {"leak.tau": ramp(0.3, 0.8, 9), "walk.k": ramp(0.5, 1, 9), "sum.y": ramp(0, 1, 9)},
        dict(solver=STEP, every=0.03),
        until=2.5,
    ),
    "conditions back to the start": Case(
        lambda: Conditional("initial"),
        {"leak.tau": ramp(0.3, 0.8, 9), "leak.y": ramp(0, 1, 9)},
        dict(solver=STEP),
        until=2.5,
    ),
    "matrices": Case(
        lambda: Coupled(),
        {
            "k": torch.tensor([[0.5, 0.1], [-0.2, 0.4]], dtype=F64),
            "v": torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=F64),
        },
        dict(record=["v", "m", "y"], every=0.1, solver=STEP),
    ),
    "Heun": Case(
        lambda: Coupled(),
        {"m": torch.ones(2, 2, dtype=F64)},
        dict(record=["v", "m", "y"], every=0.013, solver=Heun(max_step=0.01)),
    ),
    "Euler": Case(
        lambda: Coupled(),
        {"m": torch.ones(2, 2, dtype=F64)},
        dict(record=["v"], every=0.1, solver=Euler(max_step=0.01)),
    ),
    "held input": Case(
        Servo,
        {"pi.kp": ramp(3, 5, 5)},
        leaves={"r": ramp(0, 1, 15).reshape(5, 3)},
        inputs=lambda leaves: {"r": ([0.0, 0.31, 0.5], leaves["r"])},
    ),
    "one held input for all": Case(
        Servo,
        {"pi.kp": ramp(3, 5, 5)},
        leaves={"r": ramp(0, 1, 3)},
        inputs=lambda leaves: {"r": ([0.0, 0.31, 0.5], leaves["r"])},
    ),
    "smooth input": Case(
        Servo,
        {"pi.kp": ramp(3, 5, 5)},
        leaves={"r": ramp(0, 1, 15).reshape(5, 3)},
        inputs=lambda leaves: {"r": Trace("r", torch.tensor([0.0, 0.31, 1.0], dtype=F64), leaves["r"], "smooth")},
    ),
    "float32": Case(
        Balance,
        {"plant.theta": ramp(0.1, 0.3, 11), "plant.half": ramp(0.4, 0.6, 11)},
        dict(record=["plant.theta", "plant.x"], every=0.02, solver=STEP, dtype=torch.float32),
        tolerance=2e-5,
    ),
}


def loss_of(run: Run) -> Tensor:
    """A number that depends on everything recorded and on every final state, each in its own way."""
    total = torch.zeros((), dtype=F64)
    for i, trace in enumerate(run.traces.values()):
        weights = torch.cos(torch.arange(trace.values.numel(), dtype=F64) + i).reshape(trace.values.shape)
        total = total + (weights * trace.values.double().sin()).sum()
    for i, value in enumerate(run.final.values()):
        total = total + (value.double() ** 2).sum() * 0.1 * (i + 1)
    return total


def gradients(case: Case, model: Any, engine: str, **more: Any) -> tuple[Tensor, dict[str, Tensor], Run]:
    """The loss of a run, and its gradients by name."""
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in (*case.set.items(), *case.leaves.items())}
    inputs = case.inputs({name: leaves[name] for name in case.leaves})
    options = {**case.options, **more}
    run = simulate(
        model,
        case.until,
        set={name: leaves[name] for name in case.set},
        inputs=inputs,
        grad=True,
        engine=engine,
        **options,
    )
    weights = {name: p for name, p in model.named_parameters()} if hasattr(model, "named_parameters") else {}
    weights = weights or {str(i): p for i, p in enumerate(model.parameters())}
    wanted = {**leaves, **weights}
    loss = loss_of(run)
    found = torch.autograd.grad(loss, [*wanted.values()], allow_unused=True)
    return (
        loss.detach(),
        {name: torch.zeros_like(wanted[name]) if g is None else g for name, g in zip(wanted, found)},
        run,
    )


def same(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    assert found.keys() == expected.keys()
    size = max(float(g.norm()) for g in expected.values())
    assert size > 0
    for name, g in expected.items():
        assert g.shape == found[name].shape
        scale = max(float(g.norm()), 1e-3 * size)
        assert float((found[name] - g).norm()) <= tolerance * scale, name


@pytest.mark.filterwarnings("ignore:.*half the step")
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_eager_autograd(name: str) -> None:
    case = CASES[name]
    model = case.model()
    loss, expected, _ = gradients(case, model, "torch")
    again, found, run = gradients(case, model, "native")
    assert run.engine == "native"
    torch.testing.assert_close(again, loss, rtol=max(1e-11, case.tolerance), atol=1e-9)
    same(found, expected, case.tolerance)


class Attending(nn.Module):
    """Attention over three scaled copies of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.last = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows = x[:, None, :] * torch.tensor([[1.0], [0.5], [0.2]], dtype=x.dtype)
        found: Tensor = self.last(self.attention(rows, rows, rows)[0].mean(1))
        return found


class Convolving(nn.Module):
    """Convolutions in one and two dimensions, with strides, padding, dilation and groups."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(2, 4, 2, stride=2, padding=1, groups=2)
        self.second = nn.Conv2d(1, 3, (2, 3), padding=(1, 0), dilation=(2, 1))
        self.last = nn.Linear(12, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.first(torch.stack([x, x.flip(1) * 0.5], 1)))  # (lanes, 4, 3)
        found: Tensor = self.last(torch.sin(self.second(y[:, None])).flatten(1))  # (lanes, 3, 4, 1)
        return found


def normalised() -> nn.Module:
    return nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 6)), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 7),
        nn.BatchNorm1d(7), nn.LogSigmoid(), nn.utils.parametrizations.spectral_norm(nn.Linear(7, 1)),
    )  # fmt: skip


MODULES: dict[str, Callable[[], nn.Module]] = {
    "normalised": normalised,
    "attention": Attending,
    "convolutions": Convolving,
    "wide": lambda: nn.Sequential(nn.Linear(4, 40), nn.Tanh(), nn.Linear(40, 33), nn.SiLU(), nn.Linear(33, 1)),
    "gated": lambda: nn.Sequential(
        nn.Linear(4, 8), nn.GLU(), nn.Softmax(-1), nn.Linear(4, 6), nn.PReLU(), nn.Linear(6, 1)
    ),
}


@pytest.mark.parametrize("dtype", [F64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", MODULES)
def test_gradients_of_weights_of_many_layers(name: str, dtype: torch.dtype) -> None:
    """A network may compute in float32 in a run in float64; torch's sums are then as inexact."""
    torch.manual_seed(1)
    loop = Balance(module=MODULES[name]().to(dtype).eval())
    case = Case(
        lambda: loop,
        {"plant.theta": ramp(0.1, 0.3, 9)},
        dict(record=["plant.theta"], every=0.02, solver=STEP),
        until=0.3,
    )
    _, expected, _ = gradients(case, loop, "torch")
    _, found, run = gradients(case, loop, "native")
    assert run.engine == "native"
    same(found, expected, 1e-12 if dtype == F64 else 1e-4)


# -- the same however it is done --------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(
    name=st.sampled_from(["cart-pole, dense", "rates and latency", "conditions that hold", "held input", "recurrent"]),
    checkpoint=st.integers(1, 60),
)
def test_pieces_of_the_tape_do_not_change_a_bit(name: str, checkpoint: int) -> None:
    case = CASES[name]
    model = SHARED.setdefault(name, case.model())
    _, whole, _ = gradients(case, model, "native")
    _, cut, _ = gradients(case, model, "native", checkpoint=checkpoint)
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


SHARED: dict[str, Any] = {}


def test_optimisation_of_the_compiler_does_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is compiled lightly in this file holds for what users run."""
    case = CASES["cart-pole"]
    _, lightly, _ = gradients(case, case.model(), "native")
    for module in ("engine", "adjoint"):
        monkeypatch.setattr(f"simdl.engine.native.{module}.load", load)
    _, fully, _ = gradients(case, case.model(), "native")
    assert all(torch.equal(lightly[key], fully[key]) for key in fully)


def balanced(until: float) -> tuple[Tensor, list[Tensor]]:
    """A loss of a hundred lanes, and what it depends on."""
    model, start = Balance(), ramp(0.1, 0.2, 100).requires_grad_()
    run = simulate(model, until, set={"plant.theta": start}, grad=True, engine="native", threads=1, solver=STEP,
                   record=["plant.theta"], every=0.5)  # fmt: skip
    assert run.engine == "native"
    return run["plant.theta"].values.sin().sum(), [start, *model.net.module.parameters()]


@contextmanager
def signalled() -> Iterator[None]:
    """SIGINT comes a tenth of a second after the beginning."""
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    yield
    timer.join()


def test_ctrl_c_in_a_backward_pass_is_raised_and_the_next_pass_is_whole(interrupts: None) -> None:
    """The signal comes while a pass of seconds runs in C."""
    whole = torch.autograd.grad(*balanced(1.0))
    loss, weights = balanced(LONG)
    with signalled(), pytest.raises(KeyboardInterrupt):
        torch.autograd.grad(loss, weights)
    again = torch.autograd.grad(*balanced(1.0))
    assert all(torch.equal(one, other) for one, other in zip(whole, again, strict=True))


def test_a_handler_that_goes_on_changes_no_bit_of_a_gradient(interrupts: None) -> None:
    """As that of a training, which ends after its batch: the pass that was left is done again."""
    heard: list[int] = []
    loss, weights = balanced(LONG)
    whole = torch.autograd.grad(loss, weights, retain_graph=True)
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    with signalled():
        again = torch.autograd.grad(loss, weights)
    assert heard == [signal.SIGINT]
    assert all(torch.equal(one, other) for one, other in zip(whole, again, strict=True))


def test_threads_do_not_change_a_bit() -> None:
    case = Case(Balance, {"plant.theta": ramp(0.1, 0.3, 300)}, dict(every=0.1, solver=STEP, record=["plant.theta"]))
    model = case.model()
    _, one, _ = gradients(case, model, "native", threads=1)
    _, three, _ = gradients(case, model, "native", threads=3)
    assert all(torch.equal(one[key], three[key]) for key in one)


@pytest.mark.parametrize(
    "name", ["rates and latency", "values under way", "held input", "smooth input", "conditions that hold"]
)
def test_a_run_in_parts(name: str) -> None:
    """Values under way, pieces of inputs and conditions pass from one part to the next."""
    case = CASES[name]
    model, found = case.model(), []
    for engine in ("torch", "native"):
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in (*case.set.items(), *case.leaves.items())}
        sim = Simulator(
            model,
            set={k: leaves[k] for k in case.set},
            grad=True,
            engine=engine,
            inputs=case.inputs({k: leaves[k] for k in case.leaves}),
            **case.options,
        )
        for until in (0.0, 0.123, 0.4, 0.41, 1.0):
            sim.run_until(until)
        found.append(dict(zip(leaves, torch.autograd.grad(loss_of(finished(sim)), [*leaves.values()]))))
    same(found[1], found[0], 1e-12)


def test_a_graph_that_is_kept_gives_the_same_gradient_twice() -> None:
    theta = ramp(0.1, 0.2, 4).requires_grad_()
    run = simulate(
        Balance(), 0.2, set={"plant.theta": theta}, record=["plant.x"], solver=STEP, grad=True, engine="native"
    )
    loss = run["plant.x"].values.square().sum()
    (one,) = torch.autograd.grad(loss, theta, retain_graph=True)
    (two,) = torch.autograd.grad(loss, theta)
    assert torch.equal(one, two) and float(one.norm()) > 0


# -- against differences ----------------------------------------------------------------------------------------------


def test_gradcheck() -> None:
    model = Coupled()

    def values(k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        run = simulate(
            model,
            0.3,
            set={"k": k, "v": v},
            record=["v", "m"],
            every=0.1,
            solver=RK4(max_step=0.05),
            grad=True,
            engine="native",
        )
        return run["v"].values, run["m"].values, run.final["m"]

    k = torch.tensor([[0.5, 0.1], [-0.2, 0.4]], dtype=F64, requires_grad=True)
    v = torch.tensor([[1.0, -0.5], [0.3, 0.8]], dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(values, (k, v))


def test_weights_against_central_differences() -> None:
    loop = Balance("5 ms")
    weight = loop.net.module[2].weight

    def loss(grad: bool = False) -> Tensor:
        run = simulate(
            loop,
            0.5,
            set={"plant.theta": ramp(0.1, 0.3, 5)},
            record=["plant.theta"],
            every=0.01,
            solver=STEP,
            grad=grad,
            engine="native",
        )
        return run["plant.theta"].values.square().mean()

    (found,) = torch.autograd.grad(loss(True), weight)
    with torch.no_grad():
        for i, j in ((0, 0), (3, 5), (7, 7)):
            kept, ends = float(weight[i, j]), []
            for sign in (1, -1):
                weight[i, j] = kept + sign * 1e-5
                ends.append(float(loss()))
            weight[i, j] = kept
            assert float(found[i, j]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-12)


# -- failed lanes -----------------------------------------------------------------------------------------------------


class Explode(Block):
    """x' = a x^2 + b from 1: infinite at about t = 1 / a."""

    a, b, x = Param(0.5), Param(0.1), State(1.0)

    @derivative(x)
    def flow(self, x, a, b):  # type: ignore[no-untyped-def]
        return a * x**2 + b


class Fed(Diagram):
    """The same, pushed by a network that sees it."""

    def __init__(self) -> None:
        torch.manual_seed(5)
        self.bomb = Explode()
        self.net = Network(
            nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)).double(),
            period=0.1,
            inputs=("x",),
            outputs=("u",),
        )
        self.net.x = self.bomb.x
        self.lag = FirstOrder()
        self.lag.u = self.net.u + self.bomb.x


def test_failed_lanes_contribute_exactly_nothing() -> None:
    a = torch.tensor([0.3, 30.0, 0.5, 0.2], dtype=F64)
    healthy = torch.tensor([0, 2, 3])
    model = Fed()

    def run(values: Tensor) -> tuple[Run, Tensor, list[Tensor]]:
        leaf = values.clone().requires_grad_()
        run = simulate(
            model,
            1,
            set={"bomb.a": leaf},
            record=["bomb.x", "lag.y"],
            every=0.05,
            solver=STEP,
            grad=True,
            engine="native",
        )
        total = run["bomb.x"].values.square().sum() + run["lag.y"].values.sum() + run.final["lag.y"].sum()
        found = torch.autograd.grad(total, [leaf, *model.parameters()])
        return run, found[0], list(found[1:])

    all_lanes, slope, weights = run(a)
    assert list(all_lanes.status) == [1]
    _, expected, others = run(a[healthy])
    assert float(slope[1]) == 0.0 and torch.equal(slope[healthy], expected)
    for one, two in zip(weights, others):
        torch.testing.assert_close(one, two, rtol=1e-13, atol=1e-13)


def test_when_all_lanes_fail_gradients_are_zero() -> None:
    a = torch.tensor([20.0, 30.0], dtype=F64, requires_grad=True)
    run = simulate(Explode(), 1, set={"a": a}, record=["x"], every=0.05, solver=STEP, grad=True, engine="native")
    assert len(run.status) == 2
    (slope,) = torch.autograd.grad(run["x"].values.sum() + run.final["x"].sum(), a)
    assert slope.tolist() == [0.0, 0.0]


# -- training ---------------------------------------------------------------------------------------------------------


def test_steps_of_an_optimiser_are_those_of_the_torch_engine() -> None:
    ends = []
    for engine in ("torch", "native"):
        loop = Balance()
        module = rollout(loop, 0.4, record=["plant.theta"], every=0.02, solver=STEP, engine=engine)
        optimiser = torch.optim.SGD(module.parameters(), lr=0.05)
        losses = []
        for turn in range(4):
            optimiser.zero_grad()
            run = module(set={"plant.theta": ramp(0.1, 0.3, 6) + 0.01 * turn})
            loss = run["plant.theta"].values.square().mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(float(loss.detach()))
        ends.append((losses, [p.detach().clone() for p in module.parameters()]))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-11)
    for one, two in zip(ends[0][1], ends[1][1]):
        torch.testing.assert_close(two, one, rtol=1e-11, atol=1e-13)


def test_a_prepared_run_has_gradients_each_time() -> None:
    loop = Balance()
    again = prepare(
        loop, 0.2, set={"plant.theta": 0.2}, record=["plant.theta"], solver=STEP, grad=True, engine="native"
    )
    found = [torch.autograd.grad(again.run()["plant.theta"].values.sum(), [*loop.parameters()]) for _ in range(2)]
    assert all(torch.equal(one, two) for one, two in zip(*found)) and float(found[0][0].norm()) > 0


def test_frozen_weights_have_no_gradient_and_may_be_set_free() -> None:
    loop = Balance()
    first, last = loop.net.module[0].weight, loop.net.module[4].weight
    first.requires_grad_(False)

    def gradient(engine: str) -> list[Tensor | None]:
        run = simulate(
            loop, 0.2, set={"plant.theta": 0.2}, record=["plant.theta"], solver=STEP, grad=True, engine=engine
        )
        first.grad = last.grad = None
        run["plant.theta"].values.square().sum().backward()  # type: ignore[no-untyped-call]
        return [first.grad, last.grad]

    frozen = gradient("native")
    assert frozen[0] is None and frozen[1] is not None
    first.requires_grad_(True)
    for one, two in zip(gradient("native"), gradient("torch")):
        assert one is not None and two is not None
        torch.testing.assert_close(one, two, rtol=1e-11, atol=1e-14)


def test_weights_that_change_before_the_backward_pass_are_an_error() -> None:
    loop = Balance()
    run = simulate(loop, 0.1, record=["plant.theta"], solver=STEP, grad=True, engine="native")
    with torch.no_grad():
        loop.net.module[0].bias.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        run["plant.theta"].values.sum().backward()  # type: ignore[no-untyped-call]


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "solver", "why"),
    [
        (Explode, Tsit5(), "gradients through adaptive steps"),
        (BouncingBall, RK4(max_step=0.01), "gradients through crossings"),
    ],
    ids=["adaptive", "crossings"],
)
def test_what_is_not_differentiated_natively_runs_in_torch_and_says_so(model: Any, solver: Any, why: str) -> None:
    with pytest.raises(LoweringError, match=why):
        simulate(model(), 0.1, every=0.1, solver=solver, grad=True, engine="native")
    run = simulate(model(), 0.1, every=0.1, solver=solver, grad=True)
    assert run.engine == "torch" and why in run.why


class Turning(Block):
    """A loop of many turns at every tick."""

    x, a = State(0.5), Param(0.9)

    @tick
    def step(self, x, a):  # type: ignore[no-untyped-def]
        return dict(x=repeat(self.turns(), lambda y, _: torch.tanh(a * y + 0.1), x))

    def turns(self) -> int:
        return 40


class TurningLonger(Turning):
    def turns(self) -> int:
        return 300


def test_a_loop_is_written_out_up_to_a_limit() -> None:
    case = Case(lambda: Turning(period=0.1), {"a": ramp(0.5, 0.9, 3), "x": ramp(0, 1, 3)}, dict(record=["x"]))
    model = case.model()
    same(gradients(case, model, "native")[1], gradients(case, model, "torch")[1], 1e-12)
    with pytest.raises(LoweringError, match="a gradient through a loop of 300 turns"):
        gradients(case, TurningLonger(period=0.1), "native")


def test_a_long_run_with_gradients_is_native_by_itself() -> None:
    options: dict[str, Any] = dict(solver=RK4(max_step=0.001), grad=True, engine="auto", record=["plant.x"])
    assert Simulator(Balance(), lanes=500, **options).decide(5 * 10**9)[0] == "native"
    engine, why = Simulator(Balance(), lanes=1, **options).decide(10**7)
    assert engine == "torch" and "short run" in why
