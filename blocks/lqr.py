"""Linear quadratic control and estimation: gains from Riccati equations, solved when the block is made."""

import math

import torch

from simdl import Block, Diagram, Input, LinearModel, ModelError, Output, Param, output
from simdl.blocks.arithmetic import spread
from simdl.blocks.limits import Limit
from simdl.blocks.observer import SampledObserver
from simdl.blocks.vector import apply
from simdl.declarations import as_tensor


class LQR(Block):
    """u = K (r - x), limited to [low, high]: the least sum over all ticks of x' Q x + u' R u, when no limit acts.

    K = (R + B' S B)^-1 B' S A of the Riccati equation of the model, which is one of sampled time: LinearModel.sampled,
    or linearise(..., period=). x is the deviation from the model's point; r, its setpoint, is 0 when not wired. One u
    is a number. `K` is a parameter: (m, n), or (n,) for one u. Anderson & Moore, Optimal Control (1990).

    >>> from simdl import simulate
    >>> from simdl.blocks.continuous import StateSpace
    >>> class Loop(Diagram):
    ...     x = Output()
    ...     def __init__(self):
    ...         mass = LinearModel.of([[0.0, 1.0], [0.0, 0.0]], [[0.0], [1.0]])
    ...         self.plant = StateSpace(A=mass.A, B=mass.B[:, 0], C=mass.C, start=[1.0, 0.0])
    ...         self.lqr = LQR(mass.sampled(0.1), Q=[[1.0, 0.0], [0.0, 0.0]], R=[[1.0]])
    ...         self.lqr.x, self.plant.u = self.plant.y, self.lqr.u
    ...         self.x = self.plant.y
    >>> abs(float(simulate(Loop(), 10)["x"].at(10)[0, 0])) < 1e-2
    True
    """

    x, r = Input(), Input(default=0.0)
    K: Param = Param(0.0)
    low: Param = Limit(-math.inf, below="high")
    high: Param = Limit(math.inf, above="low")

    def __init__(self, model: LinearModel, Q, R, **settings):
        self.K = thin(lqr_gain(model, Q, R), 0)
        super().__init__(period=sampled(model, "LQR").period, **settings)

    @output
    def u(self, x, r, K, low, high):
        u = apply(K, spread(r, x) - x)
        return torch.clamp(u, spread(low, u), spread(high, u))


class SteadyKalmanFilter(SampledObserver):
    """The Kalman filter of a linear model once its covariance has settled: a SampledObserver with the optimal gains.

    x⁺ = A x + B u + w, y = C x + D u + v, covariances Q of w and R of v; D must be 0. With P of the Riccati equation,
    M = P C' (C P C' + R)^-1 and L = A M. `estimate` is the state after the measurement of the tick. One u or y is a
    number.

    >>> from simdl import simulate
    >>> level = LinearModel.of([[1.0]], [[0.0]], period=1)
    >>> run = simulate(SteadyKalmanFilter(level, Q=[[0.5]], R=[[1.0]]), 0, inputs={"y": 1.0})
    >>> round(float(run["estimate"].at(0)), 6)  # M = P / (P + R), P = 1
    0.5
    """

    def __init__(self, model: LinearModel, Q, R, start=0.0, **settings):
        if bool((model.D != 0).any()):
            raise ModelError("SteadyKalmanFilter", "a model with D", "outputs that do not depend on u at once")
        gain = kalman_gain(model, Q, R)
        start = as_tensor(start).double() + torch.zeros(len(model.A), dtype=torch.float64)
        super().__init__(
            A=model.A, B=thin(model.B, 1), C=thin(model.C, 0), L=thin(model.A @ gain, 1), M=thin(gain, 1), start=start,
            period=sampled(model, "SteadyKalmanFilter").period, **settings,
        )  # fmt: skip


class LQG(Diagram):
    """u = K (r - x) from y alone: an `LQR` on the estimate x of a `SteadyKalmanFilter` (separation principle).

    Q and R weigh states and inputs; W and V are the covariances of the model's disturbance and of its measurement.

    >>> from simdl import simulate
    >>> mass = LinearModel.of([[0.0, 1.0], [0.0, 0.0]], [[0.0], [1.0]], [[1.0, 0.0]]).sampled(0.1)
    >>> eye = torch.eye(2)
    >>> controller = LQG(mass, Q=eye, R=[[1.0]], W=1e-3 * eye, V=[[1e-2]])
    >>> float(simulate(controller, 1, inputs={"y": 0.0})["u"].at(1))
    0.0
    """

    y, r, u = Input(), Input(default=0.0), Output()

    def __init__(self, model: LinearModel, Q, R, W, V, low=-math.inf, high=math.inf, start=0.0):
        self.filter = SteadyKalmanFilter(model, W, V, start)
        self.lqr = LQR(model, Q, R, low=low, high=high)
        self.filter.y, self.filter.u = self.y, self.lqr.u
        self.lqr.x, self.lqr.r = self.filter.estimate, self.r
        self.u = self.lqr.u


def sampled(model: LinearModel, where: str) -> LinearModel:
    """The model, which must be one of sampled time."""
    if model.period is None:
        raise ModelError(where, "a model in continuous time", "one of sampled time", "model.sampled(period)")
    return model


def riccati(model: LinearModel, Q, R) -> torch.Tensor:
    """S = A' S A - A' S B (R + B' S B)^-1 B' S A + Q. Raises ModelError where no stabilising solution exists."""
    arrays = [torch.as_tensor(as_tensor(matrix), dtype=torch.float64).numpy() for matrix in (model.A, model.B, Q, R)]
    from scipy import linalg  # at use: importing it takes longer than the rest of the library

    try:
        return torch.from_numpy(linalg.solve_discrete_are(*arrays))
    except (ValueError, linalg.LinAlgError) as error:
        raise ModelError("Riccati equation", str(error), "(A, B) that can be stabilised, Q >= 0, R > 0") from None


def lqr_gain(model: LinearModel, Q, R):
    """(R + B' S B)^-1 B' S A, (m, n)."""
    S, R = riccati(sampled(model, "LQR"), Q, R), as_tensor(R).double()
    return torch.linalg.solve(R + model.B.mT @ S @ model.B, model.B.mT @ S @ model.A)


def kalman_gain(model: LinearModel, Q, R):
    """P C' (C P C' + R)^-1, (n, p): the Riccati equation of the transposed model."""
    dual = LinearModel(model.A.mT, model.C.mT, model.B.mT, model.D.mT, model.period)
    P, R = riccati(dual, Q, R), as_tensor(R).double()
    return torch.linalg.solve(model.C @ P @ model.C.mT + R, model.C @ P).mT


def thin(matrix: torch.Tensor, axis: int) -> torch.Tensor:
    """A matrix of one row (or column) as a vector: one input or output is a number."""
    return matrix.select(axis, 0) if matrix.shape[axis] == 1 else matrix
