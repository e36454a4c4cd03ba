"""The distance to the nearest rows of the training data."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor

from simdl.errors import NetworkError
from simdl.networks.ood.scorer import Scorer, spread_of

POOL = 20_000  # rows that the bank is chosen from


class KNN(Scorer):
    """The distance to the k-th nearest row of a bank, in standardised features.

    The bank holds all rows of `fit` if they are no more than `bank`; else a greedy coreset of them: the row nearest to
    the mean, then again and again the row farthest from those chosen (k-centre; Sener and Savarese, ICLR 2018). A
    coreset covers the data evenly and forgets its density, so there k = 1 says most. From more than 20 000 rows, so
    many are drawn first, always the same.

    >>> import torch
    >>> rows = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    >>> KNN(k=2).fit(rows).score(torch.tensor([[3.0]], dtype=torch.float64))
    tensor([4.], dtype=torch.float64)
    """

    kind: ClassVar[str] = "knn"
    learnt: ClassVar[tuple[str, ...]] = ("bank", "mean", "deviation")
    bank: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, k: int = 1, bank: int = 256) -> None:
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= bank:
            raise NetworkError("KNN", f"k={k!r} of a bank of {bank!r}", "1 <= k <= bank")
        super().__init__(k=k, bank=bank)
        self.k, self.size = k, bank

    def fit(self, x: Tensor) -> Self:
        rows = self._fitting(x)
        mean, deviation = rows.mean(0), spread_of(rows)
        z = (rows - mean) / deviation
        if len(z) > POOL:
            z = z[torch.randperm(len(z), generator=torch.Generator().manual_seed(0))[:POOL].sort().values]
        bank = z if len(z) <= self.size else z[coreset(z, self.size)]
        if len(bank) < self.k:
            raise NetworkError(f"{self}", f"{len(bank)} rows", f"at least {self.k}")
        return self._learn(bank=bank, mean=mean, deviation=deviation)

    def score(self, x: Tensor) -> Tensor:
        z = (x.to(self.mean.dtype) - self.mean) / self.deviation
        away = z.unsqueeze(1) - self.bank  # (lanes, bank, features)
        squares = (away * away).sum(-1)
        nearest = squares.amin(-1) if self.k == 1 else squares.kthvalue(self.k, -1).values
        return nearest.sqrt().to(x.dtype)


def coreset(z: Tensor, size: int) -> Tensor:
    """The places of `size` rows of z that cover it: each next one is the farthest from those before."""
    chosen = [int((z * z).sum(1).argmin())]
    nearest = ((z - z[chosen[0]]) ** 2).sum(1)
    while len(chosen) < size:
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, ((z - z[chosen[-1]]) ** 2).sum(1))
    return torch.tensor(chosen)
