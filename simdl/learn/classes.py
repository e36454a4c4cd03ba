"""Targets that are numbers of classes, as torch's cross entropy takes them."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from simdl.errors import RunError
from simdl.learn.loss import Loss


def accuracy(prediction: Tensor, target: Tensor) -> Tensor:
    """The part of the targets whose class has the largest value: prediction (rows, classes, …), target (rows, …).

    For `evaluate(module, data, loss=accuracy)`.

    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]]), torch.tensor([0, 1, 1])).item()
    0.6666666865348816
    """
    return (prediction.argmax(1) == target).float().mean()


def class_weights(targets: Tensor, classes: int | None = None) -> Tensor:
    """n / (classes x count), by class: with these weights in a loss, rare classes count as much as frequent ones.

    Raises RunError for a class that never occurs, which no weight can mend.

    >>> class_weights(torch.tensor([0, 0, 0, 1]))
    tensor([0.6667, 2.0000])
    """
    numbers = torch.as_tensor(targets).flatten()
    if numbers.is_floating_point() or not len(numbers) or int(numbers.min()) < 0:
        raise RunError("class_weights", f"targets of {numbers.dtype}", "numbers of classes, from 0")
    counts = torch.bincount(numbers.long(), minlength=classes or 0)
    if classes is not None and len(counts) > classes:
        raise RunError("class_weights", f"class {len(counts) - 1}", f"numbers below {classes}")
    if bool((counts == 0).any()):
        raise RunError("class_weights", f"class {int((counts == 0).nonzero()[0])} never occurs", "all classes",
                       "leave it out, or collect some of it")  # fmt: skip
    return len(numbers) / (len(counts) * counts.float())


def are_classes(predicted: Tensor, target: Tensor) -> bool:
    """Whether these targets can only be numbers of classes: whole, with one axis less than what is predicted."""
    whole = not target.is_floating_point() and target.dtype != torch.bool
    column = target.ndim == predicted.ndim > 1 and target.shape[-1] == 1 < predicted.shape[-1]
    return whole and (predicted.ndim == target.ndim + 1 or column)


def as_rows(predicted: Tensor, target: Tensor, flat: bool) -> tuple[Tensor, Tensor]:
    """What was predicted and the classes, as torch's losses take them: (rows, classes, …) and (rows, …).

    Classes may stand last, as a head on a sequence (rows, time, classes) has them, or second, as of a convolution.
    flat: classes last in any case, for rows and samples that are still to be chosen.
    """
    if target.ndim == predicted.ndim:  # a column of them
        target = target.squeeze(-1)
    target = target.long()
    last = predicted.shape[:-1] == target.shape
    second = predicted.ndim > 2 and (predicted.shape[0], *predicted.shape[2:]) == tuple(target.shape)
    if not last and not second or (last and second and not flat):
        either = ": classes may stand second or last" if last else ""
        rows = ", ".join(map(str, target.shape))
        raise RunError(
            "fit", f"the module returned {tuple(predicted.shape)} for classes ({rows}){either}",
            f"({rows}, classes) or, of a convolution, (rows, classes, …)",
            "one row a class, (rows, classes): flatten the time axis in the module and in the targets" if last else "",
        )  # fmt: skip
    count = predicted.shape[-1 if last else 1]
    if target.numel() and int(target.max()) >= count:
        raise RunError("fit", f"class {int(target.max())} among the targets, and {count} outputs",
                       f"numbers from 0 to {count - 1}", "a last layer with an output for every class")  # fmt: skip
    return (predicted.movedim(1, -1) if flat and not last else predicted), target


def class_loss(loss: Loss, predicted: Tensor, target: Tensor) -> Tensor:
    """A loss of classes. Raises RunError where it compares values instead, which broadcasting may hide."""
    rows, count = predicted.shape[:2]
    try:
        if rows in (1, count):  # the only numbers of rows at which (rows, classes) and (rows,) broadcast
            other = 2 if count != 2 else 3
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's, of shapes that differ: asked for here
                pick = torch.arange(other, device=predicted.device) % rows
                loss(predicted[pick], target[pick])
        return loss(predicted, target)
    except (RuntimeError, IndexError) as error:
        raise RunError(
            "fit", f"the loss fails on {tuple(predicted.shape)} and numbers of classes {tuple(target.shape)}: "
            f"{str(error).splitlines()[0]}", "a loss of classes, or targets like what the module returns",
            "loss=torch.nn.functional.cross_entropy",
        ) from error  # fmt: skip
