"""Losses: functions of (prediction, target) that return the mean over all elements."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from simdl.errors import RunError

Loss = Callable[[Tensor, Tensor], Tensor]


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error."""
    return (prediction - target).square().mean()


class QuarticLoss(nn.Module):
    """mean(e² + weight e⁴): with a weight, rare large errors cost more than squares make them.

    For errors in normalised units; with weight 1 the fourth power dominates beyond an error of one.

    >>> import torch
    >>> QuarticLoss(2.0)(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.0])).item()
    1.5
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        squared = (prediction - target).square()
        loss: Tensor = (squared + self.weight * squared.square()).mean()
        return loss

    def extra_repr(self) -> str:
        return f"weight={self.weight:g}"


LOSSES: dict[str, Loss] = {"mse": mse, "mae": nn.functional.l1_loss, "cross_entropy": nn.functional.cross_entropy}


def named_loss(loss: str | Loss) -> Loss:
    """A loss by name, or the given function. RunError for other names, and for a class instead of a loss."""
    if isinstance(loss, type):
        raise RunError("fit", f"loss={loss.__name__}, a class", "a loss", f"loss={loss.__name__}()")
    if not isinstance(loss, str):
        return loss
    if loss not in LOSSES:
        expected = "a name or a function of (prediction, target)"
        raise RunError("fit", f"loss={loss!r}", expected, names=LOSSES, wrong=loss)
    return LOSSES[loss]
