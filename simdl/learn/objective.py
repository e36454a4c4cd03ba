"""What training makes small: the loss of a module over a batch, in pieces of time where it is recurrent."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from simdl.errors import RunError
from simdl.learn.classes import are_classes, as_rows, class_loss
from simdl.learn.loss import Loss
from simdl.learn.source import Batch, Loaded, Source, epoch_batches
from simdl.networks.call import kind_of

if TYPE_CHECKING:
    from simdl.networks.layout import Layout


@dataclass(frozen=True)
class Objective:
    """A loss of a module. `truncation` and `warmup` in samples, as `fit` explains them; frozen: parts by path."""

    module: nn.Module
    loss: Loss
    truncation: int | None = None
    warmup: int = 0
    layout: Layout | None = None
    frozen: Mapping[str, nn.Module] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.module, nn.Module):
            block = isinstance(getattr(self.module, "module", None), nn.Module)
            raise RunError("fit", f"a {type(self.module).__name__}", "an nn.Module",
                           "a block of simdl holds one: fit(block.module, …)" if block else "")  # fmt: skip

    def train(self) -> None:
        """Training mode, but for the frozen parts."""
        self.module.train()
        for part in self.frozen.values():
            part.eval()

    def mean(self, source: Source | Loaded, size: int) -> float:
        """Over all elements of the data that count, in evaluation mode, without gradients."""
        self.module.eval()
        total, weight = 0.0, 0
        with torch.no_grad():
            for batch in epoch_batches(source, size, False, 0, 0, 0):
                for loss, count in self.pieces(batch):
                    total += loss.item() * count
                    weight += count
        if not weight:
            raise RunError(
                "fit", "no sample counts: the warm-up or the mask leaves none", "at least one",
                "a shorter warmup=, longer sequences, or another mask",
            )  # fmt: skip
        return total / weight

    def pieces(self, batch: Batch) -> Iterator[tuple[Tensor, int]]:
        """The losses of a batch, each with how many elements it is the mean of.

        One after the other: the caller may change the module's weights between them.
        """
        dtype, device = kind_of(self.module)
        x, y, *masks = (part.to(device or "cpu") for part in batch)
        mask = _mask(masks[0]) if masks else None
        if self.layout is not None:
            self.layout.check(tuple(x.shape[1:]), "fit: inputs")
            x = self.layout.prepared(x.to(dtype or torch.get_default_dtype()), x.dtype == torch.uint8)
        whole = not y.is_floating_point()
        if y.ndim < 3 - whole and (self.truncation is not None or self.warmup):
            raise RunError(
                "fit", f"truncation= or warmup= with targets {tuple(y.shape)}", "sequences (rows, time, features)",
                "leave them out, or use Sequences",
            )  # fmt: skip
        if self.truncation is None:
            result = self._forward(x, x)
            yield from self._judged(result[0] if isinstance(result, tuple) else result, y, mask, self.warmup)
            return
        if not _takes_state(self.module):
            raise self._stateless("forward takes no state")
        state: Any = None
        for first in range(0, y.shape[1], self.truncation):
            part = slice(first, first + self.truncation)
            warm = part.stop <= self.warmup
            with torch.no_grad() if warm else nullcontext():
                result = self._forward(x, x[:, part], state)
            if not isinstance(result, tuple) or len(result) != 2:
                raise self._stateless("forward(x, state) returned no pair")
            predicted, state = result
            if not warm:
                inside = None if mask is None else mask[:, part]
                yield from self._judged(predicted, y[:, part], inside, max(self.warmup - first, 0))
            state = _detached(state)

    def _stateless(self, found: str) -> RunError:
        return RunError(
            "fit", f"truncation={self.truncation}, but {found}", "forward(x, state) -> (y, state)",
            "leave out truncation= for a module without state",
        )  # fmt: skip

    def _forward(self, x: Tensor, *inputs: Any) -> Any:
        try:
            return self.module(*inputs)
        except (RuntimeError, ValueError) as error:
            if "more than 1 value per channel" in str(error):  # batch normalisation says so
                raise RunError("fit", f"a batch of {len(x)} row: it has no variance to normalise by", "several rows",
                               "another batch=, so that no single row is left over, or frozen=") from error  # fmt: skip
            dtype = kind_of(self.module)[0] or x.dtype
            if dtype == x.dtype or isinstance(error, ValueError):
                raise
            fix = f"inputs.to({dtype}), Sequences(…, dtype={dtype}) or Windows(…, dtype={dtype})"
            if x.dtype == torch.uint8:
                fix = 'pictures: layout=Layout("hwc", "chw") scales them to 0 … 1, as the network in the loop does'
            raise RunError("fit", f"inputs of {x.dtype} for a module of {dtype}", f"{dtype}", fix) from error

    def _judged(self, predicted: Tensor, y: Tensor, mask: Tensor | None, skip: int) -> Iterator[tuple[Tensor, int]]:
        classes = are_classes(predicted, y)
        if classes:
            some = bool(skip) or mask is not None or self.truncation is not None
            predicted, y = as_rows(predicted, y, some)
        elif predicted.shape != y.shape:  # broadcasting would quietly compare everything with everything
            raise RunError(
                "fit", f"the module returned {tuple(predicted.shape)}", f"{tuple(y.shape)}, as the targets",
                "give the last layer one output a target, and keep the time axis; numbers of classes are whole (int64)",
            )  # fmt: skip
        elif not y.is_floating_point():  # 0 and 1, counts: losses of values want them as the module's
            y = y.to(predicted.dtype)
        if skip:
            predicted, y, mask = predicted[:, skip:], y[:, skip:], None if mask is None else mask[:, skip:]
        if mask is not None:
            predicted, y = predicted[mask], y[mask]
        if not y.numel():
            return
        if classes and predicted.ndim == y.ndim + 1 > 2 and predicted.shape[:-1] == y.shape:
            predicted, y = predicted.flatten(0, -2), y.flatten()
        loss = class_loss(self.loss, predicted, y) if classes else self.loss(predicted, y)
        if loss.ndim:
            raise RunError("fit", f"the loss returned {tuple(loss.shape)}", "one number", 'reduction="mean"')
        yield loss, y.numel()


def _mask(mask: Tensor) -> Tensor:
    if mask.is_floating_point() and not bool(((mask == 0) | (mask == 1)).all()):
        raise RunError("fit", "a third tensor with numbers other than 0 and 1", "a mask of the targets that count",
                       "weights of classes belong to the loss: CrossEntropyLoss(weight=class_weights(targets))",
                       )  # fmt: skip
    return mask.bool()


def _takes_state(module: nn.Module) -> bool:
    try:
        inspect.signature(module.forward).bind(None, None)
    except TypeError:
        return False
    return True


def _detached(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.detach()
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return type(state)(*map(_detached, state))
    if isinstance(state, tuple | list):
        return type(state)(map(_detached, state))
    if isinstance(state, dict):
        return {name: _detached(part) for name, part in state.items()}
    return state
