"""Training a torch module: a plain loop that can be stopped at any instant and goes on bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from simdl.errors import RunError
from simdl.learn.frozen import Frozen, frozen_parts, held
from simdl.learn.history import History
from simdl.learn.interrupt import requests
from simdl.learn.loss import Loss, mse, named_loss
from simdl.learn.objective import Objective
from simdl.learn.run import Augment, OnEpoch, Run
from simdl.learn.schedule import Schedule, named_schedule
from simdl.learn.source import Data, as_source, split
from simdl.networks.layout import Layout
from simdl.progress import progress as progress_bar

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD,
}  # fmt: skip


def fit(
    module: nn.Module,
    train: Data,
    validate: Data | float | None = None,
    *,
    loss: str | Loss = mse,
    layout: Layout | None = None,
    frozen: Frozen | Sequence[Frozen] = (),
    epochs: int | None = None,
    seconds: float | None = None,
    batch: int = 64,
    rate: float = 1e-3,
    optimizer: str | MakeOptimizer = "adamw",
    schedule: str | Schedule = "cosine",
    patience: int | None = None,
    clip: float | None = None,
    truncation: int | None = None,
    warmup: int = 0,
    augment: Augment | None = None,
    on_epoch: OnEpoch | Sequence[OnEpoch] = (),
    checkpoint: str | Path | None = None,
    save_every: float = 20.0,
    resume: bool = True,
    seed: int = 0,
    workers: int = 0,
    progress: bool | None = None,
) -> History:
    """Train `module` in place and leave the best weights in it: those of the epoch with the smallest validation loss.

    Data: `Sequences`, `Windows`, a tuple of tensors (inputs, targets[, mask]) with rows first, or a torch Dataset with
    a length (through `workers` processes). validate: data, or a part of the rows, chosen by the seed and not trained
    on: 0.2 is `split(train, 0.2, seed)`. Targets are as the module's results or, for losses of classes such as
    torch.nn.functional.cross_entropy, numbers of classes: whole, (rows,) for (rows, classes), (rows, time) for (rows,
    time, classes), (rows, h, w) for (rows, classes, h, w). It ends after `epochs`, after `seconds` of training, or
    after `patience` epochs without a better validation loss; at least one of the first two must be given.

    layout: how inputs are scaled, resized and turned for the module, as that of the Network in the loop does it; uint8
    pictures become 0 … 1. frozen: parts that stay as they are, with the statistics of their batch normalisation: paths
    ("backbone"), parts, or types (nn.BatchNorm2d). They are in evaluation mode and not trained; parameters that ask for
    no gradient are not trained either.

    Recurrent modules: with `truncation`, `forward(x, state) -> (y, state)` is called on pieces of that many samples
    (truncated backpropagation; one optimiser step a piece; the state goes on, its gradient does not). `warmup` samples
    at the start of every sequence, and samples that the mask excludes, run but do not count. A forward that returns a
    tuple is otherwise taken at its first element.

    `loss` is a function of (prediction, target), or "mse", "mae" or "cross_entropy". `schedule` is a function of
    progress in [0, 1] that multiplies the rate. `clip` bounds the gradient's norm. `augment(batch, generator)` changes
    training batches, before `layout`. `on_epoch(row, module)`, called in evaluation mode without gradients, may return
    numbers to log, or True to stop.

    With `checkpoint`, a folder gets log.jsonl, best.safetensors and, at every epoch's end and `save_every` seconds,
    checkpoint.safetensors. The same call after a kill goes on from there; the weights it ends with are then those of an
    undisturbed run bit for bit, on the CPU, with the same number of threads, and unless the clock decides (`seconds`).
    One Ctrl-C finishes the batch, saves, and raises `Interrupted`, a KeyboardInterrupt; a second stops at once.

    RunError: a loss that is not finite (with epoch and batch), shapes that do not match, a checkpoint of another run.

    >>> import torch
    >>> from simdl.learn import fit
    >>> x = torch.randn(256, 2, generator=torch.Generator().manual_seed(0))
    >>> net = torch.nn.Linear(2, 1)
    >>> history = fit(net, (x, x[:, :1] - 2 * x[:, 1:]), epochs=60, rate=0.1, seed=1)
    >>> history.best.train < 1e-2
    True
    """
    for name, value in (("epochs", epochs), ("patience", patience), ("truncation", truncation), ("batch", batch)):
        if value is not None and (type(value) is not int or value < 1):
            raise RunError("fit", f"{name}={value!r}", "a whole number, at least 1")
    if epochs is None and seconds is None:
        raise RunError("fit", "neither epochs nor seconds", "at least one of them", "fit(…, epochs=100)")
    for name, number, lowest in (("seconds", seconds, 0.0), ("rate", rate, 0.0), ("clip", clip, 0.0)):
        if number is not None and not number > lowest:
            raise RunError("fit", f"{name}={number!r}", "a number above 0")
    if type(warmup) is not int or warmup < 0:
        raise RunError("fit", f"warmup={warmup!r}", "a number of samples, at least 0")
    held_out: Data | None
    if isinstance(validate, int | float):
        train, held_out = split(train, validate, seed)
    else:
        held_out = validate
    source = as_source(train, workers)
    if not len(source):
        raise RunError("fit", "no training data", "at least one row")
    objective = Objective(module, named_loss(loss), truncation, warmup, layout)
    objective = replace(objective, frozen=frozen_parts(module, frozen))
    with held(module, objective.frozen):
        run = Run(
            objective, source, None if held_out is None else as_source(held_out, workers),
            _optimizer(optimizer, module, rate), named_schedule(schedule), batch, epochs, seconds, patience, clip,
            augment, tuple(on_epoch) if isinstance(on_epoch, Sequence) else (on_epoch,),
            None if checkpoint is None else Path(checkpoint), save_every, seed,
        )  # fmt: skip
        run.open(resume)
        total = float(epochs) if epochs is not None else float(seconds or 0.0)
        try:
            with torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []):
                with requests() as request, progress_bar("training", total, progress) as bar:
                    return run.go(request, bar)
        finally:
            run.close()


def evaluate(
    module: nn.Module, data: Data, *, loss: str | Loss = mse, layout: Layout | None = None, batch: int = 256,
    truncation: int | None = None, warmup: int = 0,
) -> float:  # fmt: skip
    """The mean loss over all elements that count, in evaluation mode, without gradients. Words as for `fit`."""
    objective = Objective(module, named_loss(loss), truncation, warmup, layout)
    with held(module, {}):
        return objective.mean(as_source(data), batch)


def _optimizer(optimizer: str | MakeOptimizer, module: nn.Module, rate: float) -> torch.optim.Optimizer:
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise RunError("fit", "the module has no parameters to train", "at least one with requires_grad, not frozen")
    if isinstance(optimizer, torch.optim.Optimizer):
        name = type(optimizer).__name__
        raise RunError("fit", f"an {name} of its own parameters", "a name, or a function of the parameters to train",
                       f"optimizer=lambda parameters: torch.optim.{name}(parameters, lr=…)")  # fmt: skip
    if not isinstance(optimizer, str):
        return optimizer(parameters)
    if optimizer not in OPTIMIZERS:
        raise RunError("fit", f"optimizer={optimizer!r}", "a name or a function", names=OPTIMIZERS, wrong=optimizer)
    return OPTIMIZERS[optimizer](parameters, lr=rate)
