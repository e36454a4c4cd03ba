"""The energy of a classifier's logits."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor

from simdl.errors import NetworkError
from simdl.networks.ood.scorer import Scorer


class Energy(Scorer):
    """E = -T log sum_i exp(z_i / T) of logits z (lanes, classes): high where no class is favoured.

    Liu et al., Energy-based out-of-distribution detection, NeurIPS 2020 (which says "-E is the score of known data").

    >>> import torch
    >>> round(float(Energy(temperature=2.0).fit(torch.zeros(2, 4)).score(torch.zeros(1, 4))), 4)  # -2 log 4
    -2.7726
    """

    kind: ClassVar[str] = "energy"
    learnt: ClassVar[tuple[str, ...]] = ("classes",)
    classes: Tensor

    def __init__(self, temperature: float = 1.0) -> None:
        if not 0.0 < temperature < float("inf"):
            raise NetworkError("Energy", f"temperature={temperature!r}", "above zero")
        super().__init__(temperature=temperature)
        self.temperature = temperature

    def fit(self, x: Tensor) -> Self:
        """Only the number of classes is learnt."""
        return self._learn(classes=torch.zeros(self._fitting(x).shape[1]))

    def score(self, x: Tensor) -> Tensor:
        return -self.temperature * torch.logsumexp(x / self.temperature, -1)
