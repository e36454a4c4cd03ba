"""The box of the training data."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from simdl.errors import NetworkError
from simdl.networks.ood.scorer import Scorer

if TYPE_CHECKING:
    from simdl.networks.card import ModelCard


class InputBox(Scorer):
    """How far a row is from the middle of the box of the training data: max_i |x_i - c_i| / h_i.

    c, h: middle and half width of each feature's range, widened by the fraction `margin`; 1 is the edge of the box, and
    the threshold until `calibrate` sets another one.

    >>> import torch
    >>> box = InputBox(margin=0.5).fit(torch.tensor([[0.0], [2.0]]))
    >>> box.score(torch.tensor([[1.0], [2.5], [4.0]]))
    tensor([0., 1., 2.])
    """

    kind: ClassVar[str] = "box"
    learnt: ClassVar[tuple[str, ...]] = ("centre", "width")
    centre: Tensor
    width: Tensor

    def __init__(self, margin: float = 0.0) -> None:
        if not 0.0 <= margin < float("inf"):
            raise NetworkError("InputBox", f"margin={margin!r}", "a fraction of the box, zero or more")
        super().__init__(margin=margin)
        self.margin = margin

    def fit(self, x: Tensor) -> Self:
        rows = self._fitting(x)
        return self.between(rows.amin(0), rows.amax(0))

    def between(self, low: Tensor, high: Tensor) -> Self:
        """The box from `low` to `high` (features,), instead of that of data."""
        centre = (low + high) / 2
        # A feature that never changed has no width: any other value is outside, and the score stays finite.
        floor = 1e-9 * (1.0 + centre.abs())
        width = torch.maximum((high - low) / 2 * (1.0 + self.margin), floor)
        self._learn(centre=centre, width=width)
        self.threshold = torch.ones_like(self.threshold)
        return self

    @classmethod
    def of(cls, card: ModelCard, margin: float = 0.0) -> Self:
        """The box that a model card states. Raises NetworkError for inputs without low and high."""
        lows, highs = [], []
        for feature in card.inputs:
            if feature.low is None or feature.high is None:
                raise NetworkError(f"{card.name}: {feature.name}", "no low and high in the card", "its box",
                                   "ModelCard.of(..., boxes={name: (low, high)})")  # fmt: skip
            size = torch.Size(feature.shape).numel()
            lows.append(torch.as_tensor(feature.low, dtype=torch.float64).reshape(-1).expand(size))
            highs.append(torch.as_tensor(feature.high, dtype=torch.float64).reshape(-1).expand(size))
        return cls(margin).between(torch.cat(lows), torch.cat(highs))

    def score(self, x: Tensor) -> Tensor:
        return ((x.to(self.centre.dtype) - self.centre).abs() / self.width).amax(-1).to(x.dtype)
