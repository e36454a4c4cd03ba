"""The unscented Kalman filter."""

import torch

from simdl import Param, tick
from simdl.blocks.kalman import ExtendedKalmanFilter, column
from simdl.linear import cholesky, solve, times


class UnscentedKalmanFilter(ExtendedKalmanFilter):
    """The Kalman filter of x⁺ = f(x, *u) + w, y = h(x, *u) + v from 2 n + 1 points instead of derivatives.

    The points are x and x +- columns of chol((n + lam) P), lam = alpha^2 (n + kappa) - n; their weights lam / (n + lam)
    and 1 / (2 (n + lam)), for covariances 1 - alpha^2 + beta more at the centre. Other arguments as in
    `ExtendedKalmanFilter`. A lane whose P is no longer positive definite fails.
    Julier & Uhlmann, Proc. IEEE 92 (2004); the scaled points of van der Merwe (2004).

    >>> from simdl import Diagram, Output, simulate
    >>> class Root(Diagram):
    ...     x = Output()
    ...     def __init__(self):
    ...         self.ukf = UnscentedKalmanFilter(lambda x, u: x, lambda x, u: x**2, Q=[[1e-9]], R=[[1e-3]],
    ...                                          start=[1.0], doubt=[[1.0]], period=1)
    ...         self.ukf.u, self.ukf.y = [0.0], 4.0
    ...         self.x = self.ukf.x
    >>> round(float(simulate(Root(), 40)["x"].at(40)), 2)
    2.0
    """

    alpha: Param = Param(1.0, low=1e-6)
    beta: Param = Param(2.0)
    kappa: Param = Param(0.0)

    @tick
    def filter(self, u, y, valid, before, cov, Q, R, alpha, beta, kappa):
        n = before.shape[1]
        total = alpha**2 * (n + kappa)  # n + lam
        weight = (1 / (2 * total)).unsqueeze(1)
        centre = torch.cat([(1 - n / total).unsqueeze(1), weight.expand(-1, 2 * n)], 1)
        spread = torch.cat([(1 - n / total + 1 - alpha**2 + beta).unsqueeze(1), weight.expand(-1, 2 * n)], 1)

        points = around(before, cov, total)
        seen, away = moments([self.h(point, *u) for point in points], centre)
        off, weighted = torch.stack(points, 1) - before.unsqueeze(1), spread.unsqueeze(2) * away
        innovation, cov_y = column(y) - seen, away.mT @ weighted + self.covariance(R, before, *u)
        gain = solve(cov_y, weighted.mT @ off).mT * valid.to(seen.dtype)[:, None, None]
        x, P = self.keep(before + times(gain, innovation)), cov - gain @ cov_y @ gain.mT

        ahead, away = moments([self.f(point, *u) for point in around(x, P, total)], centre)
        return dict(x=x, P=P, innovation=innovation, before=ahead, cov=away.mT @ (spread.unsqueeze(2) * away) + Q)


def around(x, P, total):
    """The 2 n + 1 points, (lanes, n) each."""
    steps = cholesky(P * total[:, None, None]).unbind(2)
    return [x, *(x + step for step in steps), *(x - step for step in steps)]


def moments(values, centre):
    """The weighted mean, (lanes, p), and how far each value is from it, (lanes, 2 n + 1, p)."""
    values = torch.stack(values, 1)
    mean = (centre.unsqueeze(2) * values).sum(1)
    return mean, values - mean.unsqueeze(1)
