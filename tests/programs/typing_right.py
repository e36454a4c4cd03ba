"""Uses of the language and the library that mypy --strict and pyright must accept: never run, only checked."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from simdl import (
    RK4,
    Block,
    Diagram,
    DormandPrince,
    Input,
    Inputs,
    Noise,
    Output,
    Param,
    Rosenbrock,
    Run,
    Simulator,
    State,
    Trace,
    Tsit5,
    connect,
    crossing,
    derivative,
    edges,
    enabled,
    hit,
    initial,
    output,
    repeat,
    resettable,
    rollout,
    simulate,
    stack,
    tick,
    triggered,
    where,
)
from simdl.blocks import PI, Constant, Gain, MovingAverage, Pendulum, Step, Sum, TransportDelay, UnitDelay


class Everything(Block):
    """Every kind of declaration and method, annotated."""

    u = Input(shape=(3,), unit="N", dtype="float32", default=0.0)
    many = Inputs()
    y, z = Output(unit="m", initial=[0.0, 1.0]), Output(dtype="uint8")
    k: Param = Param(1.0, low=0.0, high=2.0, unit="1/s")
    table: Param = Param([[1.0, 2.0], [3.0, 4.0]])
    x, mode = State([0.0, 0.0, 0.0]), State(False, dtype="bool")
    w = Noise(shape=(2,), distribution="uniform")

    @initial
    def begin(self, k: Tensor) -> dict[str, Tensor]:
        return dict(x=k)

    @derivative(x)
    def flow(self, x: Tensor, u: Tensor) -> Tensor:
        return u - x

    @output
    def plain(self, x: Tensor) -> Tensor:
        return x

    @output(unit="V", dtype="bool")
    def flag(self, x: Tensor) -> Tensor:
        return x[:, 0] > 0

    @output(y, z)
    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x

    @crossing
    def low(self, x: Tensor) -> Tensor:
        return x[:, 0]

    @low.reset
    def back(self, x: Tensor) -> dict[str, Tensor]:
        return dict(x=-x)

    @crossing(rest=mode)
    def high(self, x: Tensor) -> Tensor:
        return 1.0 - x[:, 0]

    @edges
    def edge(self, t: Tensor) -> Tensor:
        return t + 1.0


class Ticking(Block):
    u, y = Input(), Output()
    x = State(0.0)

    @tick
    def step(self, x: Tensor, u: Tensor, dt: Tensor) -> dict[str, Tensor]:
        return dict(x=repeat(3, lambda z, k: z + u, x), y=x)


class Hitting(Block):
    y = Output()

    @hit(first=0.5)
    def fire(self, t: Tensor) -> Mapping[str, Tensor | float]:
        return dict(y=t, next=0.1)


class Learned(Block):
    """A block may hold a module and plain attributes."""

    u, y = Input(), Output()

    def __init__(self, module: nn.Module, *, period: float) -> None:
        super().__init__(period=period)
        self.module = module


class Loop(Diagram):
    r, y = Input(default=0.0), Output(unit="rad")
    kp: Param = Param(4.0)

    def __init__(self, kp: float = 4.0) -> None:
        self.plant = Pendulum(mass=1.3, damping=torch.tensor(0.1))
        self.pi = PI(period="20 ms", latency=0.01, offset="1 ms", kp=self.kp, low=-1.0)
        self.delays = [UnitDelay(period=1), UnitDelay(rate=30, start=[0.0, 0.0])]
        self.sum, self.mean = Sum(), MovingAverage(5, period="1 ms", stream="mean")
        self.late = TransportDelay(delay=0.5, sample="10 ms", longest=1.0)
        self.pi.e = self.r - self.plant.theta * 2.0
        self.plant.torque = where(self.pi.u > 1.0, 1.0, self.pi.u)
        self.sum.u = [self.plant.theta, 1.0, stack(self.plant.theta, self.plant.omega)[0]]
        self.delays[0].u = self.sum.y
        self.mean.u = abs(self.delays[0].y)
        self.late.u = self.mean.y
        connect(self.late.y, self.delays[1].u)
        self.gate = enabled(Gain(k=2.0), when=(self.pi.u > 0) & ~(self.pi.u > 1), outputs="initial", period="1 ms")
        self.gate.u = 1
        self.again = resettable(Gain(), when=self.pi.u > 0, edge="falling")
        self.flash = triggered(Ticking(), when=self.pi.u > 0)
        self.y = self.plant.theta


loop = Loop(kp=2.0)
run: Run = simulate(
    loop, "10 s", inputs={loop.r: Step(at=1.0), "r": 1.0, loop.r: ([0.0, 1.0], [0.0, 1.0])},
    set={loop.plant.mass: torch.ones(3), "pi.kp": 1.0}, record=[loop.y, "pi.u"], every=0.01,
    solver=RK4(max_step="1 ms"),
)  # fmt: skip
trace: Trace = run[loop.y]
values: Tensor = run["y"].values
last: Tensor = run[loop.y - loop.r].at(2.0)
simulator = Simulator(loop, lanes=4, solver=Tsit5(rtol=1e-6))
simulator.run_until(2.0, when=loop.y > 1.0)
simulator.inputs["r"] = 2.0
now: Tensor = simulator[loop.y]
module: nn.Module = rollout(loop, 2.0, every=0.1)
solvers = [RK4(), Tsit5(), DormandPrince(), Rosenbrock(max_step=0.1)]
constant: Constant = Constant(value=[1.0, 2.0])
constant.value = 3.0
