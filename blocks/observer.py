"""Observers: a copy of a linear system, corrected by what is measured."""

from simdl import Block, Input, Param, State, derivative, initial, output, tick
from simdl.blocks.vector import apply, combined


class Observer(Block):
    """x' = A x + B u + L (y - C x), x(0) = start: a Luenberger observer in continuous time; x is the estimate.

    A (n, n), B (n, m) or (n,) for a scalar u, C (p, n) or (n,) for a scalar y, L (n, p) or (n,). The error decays as
    exp((A - L C) t); scipy.signal.place_poles(A.T, C.T, poles).gain_matrix.T is the L that puts its poles where one
    wants them. Luenberger, IEEE Trans. Military Electronics 8 (1964).

    >>> from simdl import RK4, simulate
    >>> clock = Observer(A=[[0.0, 1.0], [0.0, 0.0]], B=[0.0, 1.0], C=[1.0, 0.0], L=[2.0, 1.0], start=[0.0, 0.0])
    >>> run = simulate(clock, 20, inputs={"y": 5.0}, solver=RK4(max_step=0.1))
    >>> round(float(run["x"].at(20)[0, 0]), 6)
    5.0
    """

    u, y = Input(default=0.0), Input()
    A: Param = Param()
    B: Param = Param()
    C: Param = Param()
    L: Param = Param()
    start: Param = Param()
    x = State()

    @initial
    def begin(self, start):
        return dict(x=start)

    @derivative(x)
    def flow(self, x, u, y, A, B, C, L):
        return combined((A, x), (B, u), (L, y - apply(C, x)))


class SampledObserver(Block):
    """x⁺ = A x + B u + L (y - C x) at every tick, x = start at the first: a Luenberger observer of a sampled system.

    Shapes as in `Observer`; A and B are those of one period (LinearModel.sampled). `x` is the estimate before the
    measurement of the tick, `estimate` the one after it, x + M (y - C x), with M (n, p) or (n,); L = A M is usual.

    >>> from simdl import simulate
    >>> count = SampledObserver(A=[[1.0]], B=[0.0], C=[1.0], L=[0.5], M=[0.5], start=[0.0], period=1)
    >>> simulate(count, 2, inputs={"y": 8.0})["estimate"].values[0, :, 0]
    tensor([4., 6., 7.], dtype=torch.float64)
    """

    u, y = Input(default=0.0), Input()
    A: Param = Param()
    B: Param = Param()
    C: Param = Param()
    L: Param = Param()
    M: Param = Param()
    start: Param = Param()
    x = State()

    @initial
    def begin(self, start):
        return dict(x=start)

    @output
    def estimate(self, x, y, C, M):
        return x + apply(M, y - apply(C, x))

    @tick
    def step(self, x, u, y, A, B, C, L):
        return dict(x=combined((A, x), (B, u), (L, y - apply(C, x))))
