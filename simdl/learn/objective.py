"""What training makes small: the loss of a module over a batch, in pieces of time where it is recurrent."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from simdl.errors import RunError
from simdl.learn.loss import Loss
from simdl.learn.source import Batch, Loaded, Source, epoch_batches


@dataclass(frozen=True)
class Objective:
    """A loss of a module. `truncation` and `warmup` in samples, as `fit` explains them."""

    module: nn.Module
    loss: Loss
    truncation: int | None = None
    warmup: int = 0

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
        device = next((p.device for p in self.module.parameters()), torch.device("cpu"))
        x, y, *masks = (part.to(device) for part in batch)
        mask = masks[0].bool() if masks else None
        if y.ndim < 3 and (self.truncation is not None or self.warmup):
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
        except RuntimeError as error:
            dtype = next((p.dtype for p in self.module.parameters()), x.dtype)
            if dtype == x.dtype:
                raise
            fix = f"Sequences(…, dtype={dtype}) or Windows(…, dtype={dtype})"
            raise RunError("fit", f"inputs of {x.dtype} for a module of {dtype}", f"{dtype}", fix) from error

    def _judged(self, predicted: Tensor, y: Tensor, mask: Tensor | None, skip: int) -> Iterator[tuple[Tensor, int]]:
        if predicted.shape != y.shape:  # broadcasting would quietly compare everything with everything
            raise RunError(
                "fit", f"the module returned {tuple(predicted.shape)}", f"{tuple(y.shape)}, as the targets",
                "give the last layer one output a target, and keep the time axis",
            )  # fmt: skip
        if skip:
            predicted, y, mask = predicted[:, skip:], y[:, skip:], None if mask is None else mask[:, skip:]
        if mask is not None:
            predicted, y = predicted[mask], y[mask]
        if y.numel():
            yield self.loss(predicted, y), y.numel()


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
