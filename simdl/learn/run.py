"""One training run: all that changes while it runs, which is what a checkpoint holds, and the loop over it."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from simdl.data.durable import Lock, leftovers, make_folder, remove, write_file
from simdl.data.jsonl import dumps
from simdl.errors import RunError
from simdl.learn.checkpoint import clone_state, load_checkpoint, random_state, restore_random_state, save_checkpoint
from simdl.learn.history import Epoch, History
from simdl.learn.identity import named
from simdl.learn.interrupt import Interrupted, Request
from simdl.learn.objective import Objective
from simdl.learn.schedule import Schedule
from simdl.learn.source import Batch, Loaded, Source, epoch_batches, source_fingerprint
from simdl.networks.weights import save_weights
from simdl.progress import Progress

OnEpoch = Callable[[Epoch, nn.Module], "dict[str, float] | bool | None"]
Augment = Callable[[Batch, torch.Generator], Batch]
CHECKPOINT, BEST, LOG = "checkpoint.safetensors", "best.safetensors", "log.jsonl"


@dataclass
class Run:
    """Settings first; then how far it is: epochs finished, batches of this epoch, their loss times elements."""

    objective: Objective
    train: Source | Loaded
    validate: Source | Loaded | None
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    batch: int
    epochs: int | None
    seconds: float | None
    patience: int | None
    clip: float | None
    augment: Augment | None
    callbacks: tuple[OnEpoch, ...]
    folder: Path | None
    save_every: float
    seed: int

    epoch: int = 0
    position: int = 0
    total: float = 0.0
    weight: int = 0
    steps: int = 0
    norms: float = 0.0
    elapsed: float = 0.0
    stopped: str | None = None
    rows: list[Epoch] = field(default_factory=list)
    best: dict[str, Any] | None = None
    random: dict[str, torch.Tensor] | None = None

    def __post_init__(self) -> None:
        self.module = self.objective.module
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.device = self.parameters[0].device
        self.rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.batches = -(-len(self.train) // self.batch)
        self._lock: Lock | None = None
        self.settings = self._settings() if self.folder is not None else {}

    # Starting and going on

    def open(self, resume: bool) -> None:
        """Take up the folder's checkpoint, if it has one and `resume`. The folder is this run's until `close`."""
        if self.folder is None:
            return
        make_folder(self.folder)
        self._lock = Lock(self.folder)
        try:
            self._take_up(self.folder, resume)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock is not None:
            self._lock.release()

    def _take_up(self, folder: Path, resume: bool) -> None:
        for left in leftovers(folder):
            remove(left)
        path = folder / CHECKPOINT
        if not resume:
            remove(path)
        elif path.exists():
            self._load(path)
        # The log anew from what the checkpoint knows: epochs after it were lost, and will be repeated.
        records: list[dict[str, Any]] = [{"kind": "fit", **self.settings}, *History(tuple(self.rows), "").records()]
        write_file(folder / LOG, b"".join(dumps(record) + b"\n" for record in records))

    def _settings(self) -> dict[str, str]:
        """What must be as before for a run to go on."""
        defaults = {name: value for name, value in self.optimizer.defaults.items() if name != "lr"}
        objective = self.objective
        words = {
            "module": {name: f"{tuple(v.shape)} {v.dtype}" for name, v in self.module.state_dict().items()},
            "optimizer": f"{type(self.optimizer).__name__} at {self.rates} {defaults}",
            "loss": named(objective.loss), "schedule": named(self.schedule), "batch": self.batch, "clip": self.clip,
            "truncation": objective.truncation, "warmup": objective.warmup, "augment": named(self.augment),
            "layout": objective.layout, "frozen": ", ".join(objective.frozen) or None,
            "not trained": ", ".join(n for n, p in self.module.named_parameters() if not p.requires_grad) or None,
            "seed": self.seed, "training data": source_fingerprint(self.train),
            "validation data": self.validate and source_fingerprint(self.validate),
        }  # fmt: skip
        return {name: str(value) for name, value in words.items()}

    def _load(self, path: Path) -> None:
        state = load_checkpoint(path)
        was = state["settings"]
        changed = [
            f"{name}: {_short(was.get(name, 'None'))} there, {_short(now)} now"
            for name, now in self.settings.items()
            if was.get(name, "None") != now
        ]
        if changed:
            raise RunError(
                str(path), "the checkpoint is of another training run: " + "; ".join(changed),
                "the same module, data and settings (epochs, seconds and patience may differ)",
                "use another folder, or resume=False to start again in this one",
            )  # fmt: skip
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name in ("epoch", "position", "total", "weight", "steps", "norms", "elapsed", "stopped", "best", "random"):
            setattr(self, name, state[name])
        self.rows = [Epoch(**row) for row in state["rows"]]

    def _save(self) -> None:
        if self.folder is not None:
            own = ("epoch", "position", "total", "weight", "steps", "norms", "elapsed", "stopped", "best", "settings")
            rows = [{**vars(row), "metrics": dict(row.metrics)} for row in self.rows]
            parts = {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict(), "rows": rows}
            tree = {**parts, "random": random_state(self.device), **{name: getattr(self, name) for name in own}}
            save_checkpoint(self.folder / CHECKPOINT, tree)
        self._saved = time.monotonic()

    def _log(self, record: dict[str, Any]) -> None:
        if self.folder is not None:
            with (self.folder / LOG).open("ab") as file:
                file.write(dumps(record) + b"\n")

    # The loop

    def go(self, request: Request, bar: Progress) -> History:
        """Train until it is over; leave the best weights in the module. Raises Interrupted when asked to stop."""
        self._start = time.monotonic() - self.elapsed
        self._saved = time.monotonic()
        self._shown = 0.0
        self._show(bar)
        while self._why() is None:
            if request or not self._train_epoch(request, bar):
                self._save()
                raise self._interrupted(request)
            self._finish_epoch(bar)
        history = History(tuple(self.rows), str(self._why()))
        if self.position == 0:
            self._save()
        if self.best is not None:
            self.module.load_state_dict(self.best)
        self._log({"kind": "end", "stopped": history.stopped, "best": history.best.epoch})
        if self.folder is not None and self.best is not None:
            save_weights(self.best, self.folder / BEST)
        if request:
            raise self._interrupted(request)
        return history

    def _why(self) -> str | None:
        """Why to stop before the next epoch; None to go on."""
        if self.stopped is not None:
            return self.stopped
        if self.epochs is not None and self.epoch >= self.epochs:
            return "epochs"
        if self.seconds is not None and self.rows and self.elapsed >= self.seconds:
            return "seconds"
        if self.patience is not None and self.rows and self.position == 0:
            best = min(range(len(self.rows)), key=lambda i: self.rows[i].score)
            return "patience" if len(self.rows) - 1 - best >= self.patience else None
        return None

    def _progress(self) -> float:
        by_epochs = 0.0 if self.epochs is None else (self.epoch + self.position / self.batches) / self.epochs
        by_time = 0.0 if self.seconds is None else self.elapsed / self.seconds
        return min(max(by_epochs, by_time), 1.0)

    def _show(self, bar: Progress) -> None:
        reached = self.elapsed if self.epochs is None else self.epoch + self.position / self.batches
        bar.advance(reached - self._shown)
        self._shown = reached

    def _train_epoch(self, request: Request, bar: Progress) -> bool:
        """The batches of this epoch that are not done yet. False when asked to stop before its end."""
        self.objective.train()
        if self.position == 0:  # dropout and the like: by seed and epoch, whatever ran before
            torch.manual_seed(_mix(self.seed, self.epoch))
        elif self.random is not None:
            restore_random_state(self.random, self.device)
        self.random = None
        for batch in epoch_batches(self.train, self.batch, True, self.seed, self.epoch, self.position):
            factor = self.schedule(self._progress())
            for group, rate in zip(self.optimizer.param_groups, self.rates):
                group["lr"] = rate * factor
            if self.augment is not None:
                generator = torch.Generator().manual_seed(_mix(self.seed, self.epoch, self.position))
                batch = self.augment(batch, generator)
            self._train_batch(batch)
            self.position += 1
            self.elapsed = time.monotonic() - self._start
            self._show(bar)
            if self.position == self.batches or (self.seconds is not None and self.elapsed >= self.seconds):
                break
            if request:  # asked here and not after the next batch is fetched: that may draw random numbers
                return False
            if self.folder is not None and time.monotonic() - self._saved >= self.save_every:
                self._save()
        return True

    def _train_batch(self, batch: Batch) -> None:
        for loss, count in self.objective.pieces(batch):
            value = loss.item()
            if not math.isfinite(value):
                raise self._diverged(batch, value)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if self.clip is not None:
                self.norms += float(nn.utils.clip_grad_norm_(self.parameters, self.clip))
            self.optimizer.step()
            self.total += value * count
            self.weight += count
            self.steps += 1

    def _finish_epoch(self, bar: Progress) -> None:
        if not self.weight:
            raise RunError(
                "fit", "no training sample counts: the warm-up or the mask leaves none", "at least one",
                "a shorter warmup=, longer sequences, or another mask",
            )  # fmt: skip
        score = None if self.validate is None else self.objective.mean(self.validate, 4 * self.batch)
        if score is not None and not math.isfinite(score):
            raise RunError(
                "fit", f"the validation loss is {score} in epoch {self.epoch + 1}", "a finite number",
                "look for NaN in the validation data, or lower rate=",
            )  # fmt: skip
        self.elapsed = time.monotonic() - self._start
        norm = self.norms / self.steps if self.clip is not None else None
        rate = float(self.optimizer.param_groups[0]["lr"])
        row = self._told(Epoch(self.epoch + 1, self.total / self.weight, score, rate, self.elapsed, norm))
        if not self.rows or row.score < min(other.score for other in self.rows):
            self.best = clone_state(self.module.state_dict())
        self.rows.append(row)
        self.epoch, self.position = self.epoch + 1, 0
        self.total, self.weight, self.steps, self.norms = 0.0, 0, 0, 0.0
        self._log(History((row,), "").records()[0])
        checked = "" if score is None else f", validation {score:.4g}"
        best = min(other.score for other in self.rows)
        bar.note(f"epoch {row.epoch}: training {row.train:.4g}{checked}, best {best:.4g}")
        self._show(bar)
        if time.monotonic() - self._saved >= min(self.save_every, 1.0):  # not after each of many short epochs
            self._save()

    def _told(self, row: Epoch) -> Epoch:
        metrics: dict[str, float] = {}
        for callback in self.callbacks:
            self.module.eval()
            with torch.no_grad():
                said = callback(row, self.module)
            if said is True:
                self.stopped = "callback"
            elif isinstance(said, dict):
                metrics |= {str(name): float(value) for name, value in said.items()}
        return Epoch(**{**vars(row), "metrics": metrics})

    def _interrupted(self, request: Request) -> Interrupted:
        name = request.signal.name if request.signal else "a signal"
        done = "after its end" if self._why() else f"in epoch {self.epoch + 1}, batch {self.position} of {self.batches}"
        saved = (
            f"saved in {self.folder}; the same call goes on from there"
            if self.folder is not None
            else "nothing was saved: pass checkpoint=folder to be able to go on"
        )
        history = History(tuple(self.rows), "interrupted")
        return Interrupted(f"training stopped by {name} {done}; {saved}", history)

    def _diverged(self, batch: Batch, value: float) -> RunError:
        where = f"epoch {self.epoch + 1}, batch {self.position + 1} of {self.batches}"
        for name, part in zip(("inputs", "targets"), batch):
            if part.is_floating_point() and not bool(torch.isfinite(part).all()):
                at = tuple((~torch.isfinite(part)).nonzero()[0].tolist())
                fix = "look for NaN where the data come from; Shards(folder).verify() checks the files"
                return RunError("fit", f"the {name} are not finite at {at} of a batch ({where})", "finite data", fix)
        lost = [name for name, p in self.module.named_parameters() if not bool(torch.isfinite(p).all())]
        more = f"; not finite: {', '.join(lost[:3])}" if lost else ""
        return RunError(
            "fit", f"the loss became {value} ({where}){more}", "a finite loss",
            "a lower rate=, clip=1.0, or normalised data",
        )  # fmt: skip


def _mix(*numbers: int) -> int:
    """One seed of several numbers, of which the first may be any."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:8], "little") >> 1


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"
