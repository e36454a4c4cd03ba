"""Kalman filters: linear and extended, sampled. Predict between two ticks, correct at each."""

import torch

from simdl import Block, Input, Inputs, ModelError, Output, Param, State, initial, jacobian, tick
from simdl.blocks.arithmetic import spread
from simdl.linear import solve, times


class KalmanFilter(Block):
    """The filter of x⁺ = A x + B u + w, y = C x + v with covariances Q of w and R of v; `x` is its estimate.

    At a tick the measurement corrects: K = P C' (C P C' + R)^-1, x = x + K (y - C x) and, in Joseph's form, which stays
    symmetric and positive whatever the rounding, P = (I - K C) P (I - K C)' + K R K'. Then A x + B u and A P A' + Q are
    predicted for the next tick. `start` and `doubt` are x and P before the first measurement. A (n, n), B (n, m),
    C (p, n); u (m,) and y (p,), or numbers for one. Without B there is no u. While `valid` is false nothing corrects.
    Kalman, J. Basic Eng. 82 (1960); Bucy & Joseph, Filtering for Stochastic Processes (1968).

    >>> from simdl import simulate
    >>> mean = KalmanFilter(A=[[1.0]], C=[[1.0]], Q=[[0.0]], R=[[1.0]], start=[0.0], doubt=[[1e9]], period=1)
    >>> x = simulate(mean, 2, inputs={"y": ([0.0, 1.0, 2.0], [4.0, 6.0, 5.0])})["x"].values
    >>> [round(value, 6) for value in x.flatten().tolist()]
    [4.0, 5.0, 5.0]
    """

    u, y, valid = Input(default=0.0), Input(), Input(dtype="bool", default=True)
    A: Param = Param()
    B: Param = Param(0.0)
    C: Param = Param()
    Q: Param = Param()
    R: Param = Param()
    start: Param = Param()
    doubt: Param = Param()
    before, cov = State(), State()
    x, P, innovation = Output(), Output(), Output()

    @initial
    def begin(self, start, doubt):
        return dict(before=start, cov=doubt)

    @tick
    def filter(self, u, y, valid, before, cov, A, B, C, Q, R):
        innovation = column(y) - times(C, before)
        x, P = correct(before, cov, innovation, C, R, valid)
        ahead = times(A, x) + times(B, column(u)) if B.ndim == 3 else times(A, x)
        return dict(x=x, P=P, innovation=innovation, before=ahead, cov=A @ P @ A.mT + Q)


class ExtendedKalmanFilter(Block):
    """The Kalman filter of x⁺ = f(x, *u) + w, y = h(x, *u) + v: linear around each estimate, by automatic derivatives.

    f and h take and give (lanes, n) and (lanes, p): plain functions of torch, such as a step of the plant's equations.
    `u` is a list of at least one signal: controls, parameters, temperatures. R is a matrix, or a function R(x, *u) that
    gives (lanes, p, p); `keep`, a function of x, puts an estimate back where states can be (an angle, a charge).
    `guess` is added to `start`, where the beginning is a signal. All else is as in `KalmanFilter`.
    Smith, Schmidt & McGee, NASA TR R-135 (1962).

    >>> from simdl import Diagram, Output, simulate
    >>> class Root(Diagram):
    ...     x = Output()
    ...     def __init__(self):
    ...         self.ekf = ExtendedKalmanFilter(lambda x, u: x, lambda x, u: x**2, Q=[[1e-3]], R=[[1e-3]],
    ...                                         start=[1.0], doubt=[[1.0]], period=1)
    ...         self.ekf.u, self.ekf.y = [0.0], 4.0
    ...         self.x = self.ekf.x
    >>> round(float(simulate(Root(), 40)["x"].at(40)), 2)
    2.0
    """

    u, y, valid, guess = Inputs(), Input(), Input(dtype="bool", default=True), Input(default=0.0)
    Q: Param = Param()
    R: Param = Param(0.0)
    start: Param = Param()
    doubt: Param = Param()
    before, cov = State(), State()
    x, P, innovation = Output(), Output(), Output()

    def __init__(self, f, h, keep=None, **settings):
        self.f, self.h, self.keep = f, h, keep or (lambda x: x)
        self.noise = settings.pop("R", None)
        if self.noise is None:
            raise ModelError(f"{type(self).__name__}.R", "no value", "a covariance (p, p), or a function R(x, *u)")
        super().__init__(**settings, **({} if callable(self.noise) else {"R": self.noise}))

    @initial
    def begin(self, start, doubt, guess):
        return dict(before=start + spread(guess, start), cov=doubt)

    def covariance(self, R, x, *u):
        """R, or its function at x."""
        return self.noise(x, *u) if callable(self.noise) else R

    @tick
    def filter(self, u, y, valid, before, cov, Q, R):
        seen, C = jacobian(lambda x: self.h(x, *u), before)
        innovation = column(y) - seen
        x, P = correct(before, cov, innovation, C, self.covariance(R, before, *u), valid)
        x = self.keep(x)
        ahead, A = jacobian(lambda x: self.f(x, *u), x)
        return dict(x=x, P=P, innovation=innovation, before=ahead, cov=A @ P @ A.mT + Q)


def column(signal: torch.Tensor) -> torch.Tensor:
    """A signal as (lanes, p): a number is a vector of one."""
    return signal.unsqueeze(1) if signal.ndim == 1 else signal


def correct(x, P, innovation, C, R, valid):
    """The estimate and its covariance after a measurement; unchanged in lanes where it is not valid."""
    gain = solve(C @ P @ C.mT + R, C @ P).mT  # P and C P C' + R are symmetric
    gain = gain * valid.to(x.dtype)[:, None, None]
    keep = torch.eye(x.shape[1], dtype=x.dtype, device=x.device) - gain @ C
    return x + times(gain, innovation), keep @ P @ keep.mT + gain @ R @ gain.mT
