"""Classes: scores for each of some labels, and the label with the largest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from simdl.declarations import Output
from simdl.errors import NetworkError


@dataclass(frozen=True)
class Classes:
    """What a classifier returns, (lanes, classes), as the outputs predicted, scores and confidence.

    labels: the name of each class, in the module's order; probabilities: the module returns probabilities already;
    without it they are the softmax of what it returns. A module whose results for random samples, when the block is
    made, are negative or do not sum to 1 within 1e-3 is refused. predicted is the first of the largest scores, an
    enumeration that shows its names in results; confidence is its score.
    """

    labels: tuple[str, ...]
    probabilities: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels) if not isinstance(self.labels, str) else self.labels)
        if isinstance(self.labels, str) or len(self.labels) < 2:
            raise NetworkError("Classes", f"labels={self.labels!r}", 'at least two names: labels=("ok", "scratch")')
        Output(labels=self.labels)

    def outputs(self) -> dict[str, Output]:
        return {
            "predicted": Output((), labels=self.labels, doc="the class with the largest score"),
            "scores": Output((len(self.labels),), doc="probabilities of the classes"),
            "confidence": Output((), doc="the largest score"),
        }

    def tensors(self, result: Any, lanes: int, where: str) -> tuple[Tensor, ...]:
        """predicted (lanes,), scores (lanes, classes), confidence (lanes,) of what the module returned."""
        n = len(self.labels)
        if isinstance(result, Sequence) and len(result) == 1:
            result = result[0]
        if not isinstance(result, Tensor) or result.ndim < 2 or result[0].numel() != n:
            found = str(tuple(result.shape)) if isinstance(result, Tensor) else type(result).__name__
            raise NetworkError(where, f"the module returned {found}", f"(lanes, {n}): a score for each of its labels",
                               "labels= names each class, in the module's order")  # fmt: skip
        row = result.reshape(result.shape[0], n)
        scores = row if self.probabilities else torch.softmax(row, -1)
        return scores.argmax(-1), scores, scores.amax(-1)

    def check(self, result: Any, where: str) -> None:
        """Raise NetworkError where probabilities were promised and the module returned something else for samples."""
        if not self.probabilities:
            return
        scores = self.tensors(result, 0, where)[1]
        sums = scores.sum(-1)
        wrong = (scores < 0).any(-1) | ~((sums - 1).abs() <= 1e-3)
        if bool(wrong.any()):
            row = scores[wrong][0].tolist()
            found = ", ".join(f"{value:.3g}" for value in row[:5]) + (", …" if len(row) > 5 else "")
            raise NetworkError(where, f"probabilities=True, and the module returned {found}, which sum to "
                               f"{float(sums[wrong][0]):.4g}", "numbers of zero or more that sum to 1",
                               "probabilities=False, which takes the softmax of them")  # fmt: skip

    def __str__(self) -> str:
        return f"{len(self.labels)} classes, {'its own probabilities' if self.probabilities else 'softmax'}"
