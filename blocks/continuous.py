"""Linear systems in continuous time."""

from simdl import Block, Input, Param, State, derivative, initial, output
from simdl.blocks.arithmetic import spread
from simdl.blocks.vector import apply, combined


class Integrator(Block):
    """y' = u, y(0) = start. A vector is integrated element by element; give its start as a vector.

    >>> from simdl import RK4, simulate
    >>> run = simulate(Integrator(start=1.0), 2, inputs={"u": 3.0}, solver=RK4(max_step=0.5))
    >>> float(run["y"].at(2))
    7.0
    """

    u = Input()
    start: Param = Param(0.0)
    y = State(0.0)

    @initial
    def begin(self, start):
        return dict(y=start)

    @derivative(y)
    def flow(self, u):
        return u


class FirstOrder(Block):
    """tau y' = k u - y, y(0) = start: a lag, 1 / (1 + tau s).

    >>> from simdl import RK4, simulate
    >>> run = simulate(FirstOrder(tau=0.5), 1, inputs={"u": 1.0}, solver=RK4(max_step=0.01))
    >>> round(float(run["y"].at(1)), 6)  # 1 - exp(-2)
    0.864665
    """

    u = Input()
    k: Param = Param(1.0)
    tau: Param = Param(1.0, unit="s", low=1e-12)
    start: Param = Param(0.0)
    y = State(0.0)

    @initial
    def begin(self, start):
        return dict(y=start)

    @derivative(y)
    def lag(self, y, u, k, tau):
        return (spread(k, u) * u - y) / spread(tau, y)


class StateSpace(Block):
    """x' = A x + B u, y = C x, x(0) = start: a linear system without feedthrough.

    A is (n, n) and start (n,). B is (n,) for a scalar u, (n, m) for a vector; C is (n,) for a scalar y, (p, n) for a
    vector.

    >>> from simdl import RK4, simulate
    >>> mass = StateSpace(A=[[0.0, 1.0], [0.0, 0.0]], B=[0.0, 1.0], C=[1.0, 0.0], start=[0.0, 0.0])
    >>> run = simulate(mass, 2, inputs={"u": 1.0}, solver=RK4(max_step=0.5))
    >>> float(run["y"].at(2))  # u t^2 / 2
    2.0
    """

    u = Input()
    A: Param = Param()
    B: Param = Param()
    C: Param = Param()
    start: Param = Param()
    x = State()

    @initial
    def begin(self, start):
        return dict(x=start)

    @derivative(x)
    def flow(self, x, u, A, B):
        return combined((A, x), (B, u))

    @output
    def y(self, x, C):
        return apply(C, x)


class StateSpaceD(StateSpace):
    """x' = A x + B u, y = C x + D u, x(0) = start: a linear system whose output depends on u at once.

    D is a number for scalars, (m,), (p,) or (p, m) as C and B are.

    >>> from simdl import Tsit5, simulate
    >>> lead = StateSpaceD(A=[[-1.0]], B=[1.0], C=[1.0], D=2.0, start=[0.0])
    >>> float(simulate(lead, 0, inputs={"u": 1.0}, solver=Tsit5())["y"].at(0))
    2.0
    """

    D: Param = Param(0.0)

    @output
    def y(self, x, u, C, D):
        return combined((C, x), (D, u))
