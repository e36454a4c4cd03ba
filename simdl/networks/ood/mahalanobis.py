"""The distance from the mean of the training data in its own covariance."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor

from simdl.errors import NetworkError
from simdl.networks.ood.scorer import Scorer, spread_of


class Mahalanobis(Scorer):
    """The squared distance min_c (x - m_c)' C^-1 (x - m_c), chi-square with `features` degrees for Gaussian data.

    C is the covariance of standardised features, shrunk towards a multiple of the identity: by the fraction
    `shrinkage`, or as much as Ledoit and Wolf say (J. Multivariate Analysis 88 (2004) 365). With labels at `fit`, each
    class has its own mean m_c and all share C (Lee et al., NeurIPS 2018).

    >>> import torch
    >>> rows = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, -2.0], [0.0, 2.0]], dtype=torch.float64)
    >>> round(float(Mahalanobis(shrinkage=0.0).fit(rows).score(torch.tensor([[1.0, 2.0]]))), 6)
    4.0
    """

    kind: ClassVar[str] = "mahalanobis"
    learnt: ClassVar[tuple[str, ...]] = ("means", "whiten")
    means: Tensor
    whiten: Tensor

    def __init__(self, shrinkage: float | None = None) -> None:
        if shrinkage is not None and not 0.0 <= shrinkage <= 1.0:
            raise NetworkError("Mahalanobis", f"shrinkage={shrinkage!r}", "from 0 to 1, or None for Ledoit and Wolf's")
        super().__init__(shrinkage=shrinkage)
        self.shrinkage = shrinkage

    def fit(self, x: Tensor, labels: Tensor | None = None) -> Self:
        """labels: (samples,) integers, the class of each row. Raises NetworkError for a singular covariance."""
        rows = self._fitting(x)
        groups = torch.zeros(len(rows), dtype=torch.int64) if labels is None else labels.reshape(-1).to(torch.int64)
        if len(groups) != len(rows):
            raise NetworkError(f"{self}", f"{len(groups)} labels for {len(rows)} rows", "a label for each row")
        index = torch.unique(groups, return_inverse=True)[1]
        classes = int(index.max()) + 1
        sums = torch.zeros(classes, rows.shape[1], dtype=rows.dtype).index_add_(0, index, rows)
        means = sums / index.bincount(minlength=classes).unsqueeze(1)
        centred = rows - means[index]
        deviation = spread_of(centred)
        z = centred / deviation
        covariance = z.T @ z / len(z)
        part = ledoit_wolf(z) if self.shrinkage is None else self.shrinkage
        size = covariance.shape[0]
        eye = torch.eye(size, dtype=rows.dtype)
        shrunk = (1.0 - part) * covariance + part * covariance.trace() / size * eye
        factor, failed = torch.linalg.cholesky_ex(shrunk)
        if int(failed) or float(factor.diagonal().min()) < 1e-7:
            raise NetworkError(f"{self}", "a singular covariance: features that depend on each other, or too few rows",
                               "an invertible one", "leave such features out, or give shrinkage=0.1")  # fmt: skip
        whiten = torch.linalg.solve_triangular(factor, eye, upper=False) / deviation
        return self._learn(means=means, whiten=whiten)

    def score(self, x: Tensor) -> Tensor:
        away = x.to(self.means.dtype).unsqueeze(1) - self.means  # (lanes, classes, features)
        white = (away.unsqueeze(2) * self.whiten).sum(-1)
        return (white * white).sum(-1).amin(-1).to(x.dtype)


def ledoit_wolf(z: Tensor) -> float:
    """The fraction by which the covariance of centred rows z (samples, features) is best shrunk."""
    n, p = z.shape
    squares = z * z
    covariance = z.T @ z / n
    mu = covariance.trace() / p
    delta = (covariance * covariance).sum() / p - mu * mu
    beta = ((squares.sum(1) ** 2).sum() / n - (covariance * covariance).sum()) / (p * n)
    return float(torch.clamp(beta / delta, 0.0, 1.0)) if float(delta) > 0 else 0.0
