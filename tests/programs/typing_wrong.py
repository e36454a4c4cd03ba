# ruff: noqa
"""Uses that mypy --strict and pyright must refuse: every line marked `refuse`, and no other. Never run, only checked.

Lines marked `refuse by mypy` pass pyright: it takes an assignment to an own attribute as one more declaration of it.
"""

from simdl import RK4, Block, Diagram, Input, Output, Param, Simulator, State, connect, derivative, enabled, simulate, stack
from simdl.blocks import PI, Gain, Pendulum, Step, Sum, TransportDelay


class Loop(Diagram):
    r, y = Input(), Output()

    def __init__(self, kp: float = 4.0) -> None:
        self.plant, self.pi, self.sum = Pendulum(), PI(period="20 ms"), Sum()
        self.pi.e = self.r - self.plant.theta
        self.plant.torque = self.pi.u
        self.plant.torqe = self.pi.u  # refuse: no such input
        self.pi.e = self.plant.thta  # refuse: no such state
        self.sum.u = [self.plant.theta, "x"]  # refuse by mypy: not a signal
        self.plant.torque = None  # refuse: not a signal
        self.y = self.plant.theta
        self.y = self.plant  # refuse by mypy: a block, not a port


loop = Loop()
Loop(kq=4.0)  # refuse: no such argument
Pendulum(mas=1.3)  # refuse: no such parameter
Pendulum(mass="x")  # refuse: not a number
Pendulum(1.3)  # refuse: by position
PI(perid="20 ms")  # refuse: no such field
PI(period=[1])  # refuse: not a time
Gain(k=None)  # refuse: not a number
TransportDelay(delay="x")  # refuse: not a number
Step(at=1.0).y.foo  # refuse: no such attribute
loop.plant.mass = "x"  # refuse: not a number
loop.pi.ee = loop.r  # refuse: no such port
loop.pi.e = "x"  # refuse: not a signal
loop.plant.theta = 1.0  # refuse: a state, which its block computes
simulate(loop, 1.0, evry=0.1)  # refuse: no such argument
simulate("loop", 1.0)  # refuse: not a model
simulate(loop, 1.0, solver="RK4")  # refuse: not a solver
RK4(max_stp=0.1)  # refuse: no such argument
Simulator(loop).run_til(1.0)  # refuse: no such method
connect(loop.r, "pi.e")  # refuse: not a port
enabled(Gain(), when=True)  # refuse: not a signal
enabled(Gain(), when=loop.r, outputs="hidden")  # refuse: not a choice
stack("x", loop.r)  # refuse: not a signal
loop.r + "x"  # refuse: not a number


class Wrong(Block):
    k: Param = Param("x")  # refuse: not a number
    u = Input(unit=3)  # refuse: not text
    x = State(0.0, dtyp="bool")  # refuse: no such argument
    y = Output()

    @derivative(y)  # refuse: not a state
    def flow(self, x):  # type: ignore[no-untyped-def]
        return x
