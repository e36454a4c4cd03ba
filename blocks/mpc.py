"""Model predictive control with limits on what it does."""

import math

import torch

from simdl import Block, Input, LinearModel, Output, Param, State, box_qp, initial, tick
from simdl.blocks.arithmetic import spread
from simdl.blocks.kalman import column
from simdl.blocks.limits import Limit, whole_number
from simdl.blocks.lqr import riccati, sampled
from simdl.declarations import as_tensor
from simdl.linear import times


class MPC(Block):
    """u = the first of the plan u_0 … u_{N-1} within [low, high] that costs least: of

        sum_{k=0}^{N-1} (x_k - r)' Q (x_k - r) + u_k' R u_k + (x_N - r)' P (x_N - r),  x_{k+1} = A x_k + B u_k.

    The states are eliminated (condensed form), x = G x_0 + F u, which leaves u' H u / 2 + g' u with H = F' Q F + R and
    g = F' Q (G x_0 - r): a `box_qp` in every lane, solved by `iterations` projected Newton steps, from the last plan,
    one tick on; `error` is the largest element of plan - clamp(plan - (H plan + g)), 0 at the solution. P is the
    solution of the Riccati equation when not given: then, where no limit acts, u is that of the LQR, whatever the
    horizon N. One x or u is a number; low and high are numbers, or one for each u.
    Maciejowski, Predictive Control with Constraints (2002), chapter 3.

    >>> from simdl import Diagram, simulate
    >>> from simdl.blocks.continuous import StateSpace
    >>> class Loop(Diagram):
    ...     x, u = Output(), Output()
    ...     def __init__(self):
    ...         mass = LinearModel.of([[0.0, 1.0], [0.0, 0.0]], [[0.0], [1.0]])
    ...         self.plant = StateSpace(A=mass.A, B=mass.B[:, 0], C=mass.C, start=[1.0, 0.0])
    ...         self.mpc = MPC(mass.sampled(0.1), Q=[[1.0, 0.0], [0.0, 0.0]], R=[[0.1]], low=-0.5, high=0.5)
    ...         self.mpc.x, self.plant.u = self.plant.y, self.mpc.u
    ...         self.x, self.u = self.plant.y, self.mpc.u
    >>> run = simulate(Loop(), 8)
    >>> float(run["u"].values.min()), abs(float(run["x"].at(8)[0, 0])) < 1e-2
    (-0.5, True)
    """

    x, r = Input(), Input(default=0.0)
    u, error = Output(), Output()
    hessian: Param = Param(0.0)  # F' Q F + R
    slope: Param = Param(0.0)  # F' Q G
    pull: Param = Param(0.0)  # F' Q 1
    low: Param = Limit(-math.inf, below="high")
    high: Param = Limit(math.inf, above="low")
    plan = State()

    def __init__(self, model: LinearModel, Q, R, P=None, horizon: int = 20, iterations: int = 15, **settings):
        self.horizon = whole_number("MPC.horizon", horizon)
        self.iterations = whole_number("MPC.iterations", iterations, least=0)
        self.hessian, self.slope, self.pull = condensed(model, Q, R, P, horizon)
        self.inputs = model.B.shape[1]
        super().__init__(period=sampled(model, "MPC").period, **settings)

    @initial
    def idle(self, slope):
        return dict(plan=torch.zeros_like(slope[:, :, 0]))

    @tick
    def solve(self, x, r, plan, hessian, slope, pull, low, high):
        x = column(x)
        g = times(slope, x) - times(pull, spread(r, x) + torch.zeros_like(x))
        start = torch.cat([plan[:, self.inputs :], plan[:, -self.inputs :]], 1)
        low, high = self.along(low), self.along(high)
        plan = box_qp(hessian, g, low, high, start=start, iterations=self.iterations)
        error = (plan - torch.clamp(plan - times(hessian, plan) - g, low, high)).abs().amax(1)
        return dict(plan=plan, u=plan[:, 0] if self.inputs == 1 else plan[:, : self.inputs], error=error)

    def along(self, limit):
        """A limit of each u as one of the whole plan."""
        each = limit.reshape(limit.shape[0], 1, -1).expand(-1, self.horizon, self.inputs)
        return each.reshape(limit.shape[0], -1)


def condensed(model: LinearModel, Q, R, P, horizon: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """F' Q F + R, F' Q G and F' Q 1, over x_1 … x_N; the last weighs P."""
    Q, R = as_tensor(Q).double(), as_tensor(R).double()
    P = riccati(model, Q, R) if P is None else as_tensor(P).double()
    (n, m), rows = model.B.shape, range(horizon)
    powers = [torch.linalg.matrix_power(model.A, k) for k in range(horizon + 1)]
    none = torch.zeros(n, m, dtype=torch.float64)
    F = torch.cat([torch.cat([powers[k - j] @ model.B if j <= k else none for j in rows], 1) for k in rows])
    weight = torch.block_diag(*[Q] * (horizon - 1), P)
    G, ones = torch.cat(powers[1:]), torch.eye(n, dtype=torch.float64).repeat(horizon, 1)
    return F.mT @ weight @ F + torch.block_diag(*[R] * horizon), F.mT @ weight @ G, F.mT @ weight @ ones
