"""What a training run went through: one row an epoch, kept as JSONL, drawn as curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simdl.errors import RunError
from simdl.learn.checkpoint import read_log

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Epoch:
    """One pass over the data. Losses are means over elements; `metrics` are what callbacks returned.

    `epoch` counts from 1; `validate` is None without validation data; `rate` is the learning rate at its end, `seconds`
    the time since the start, over all runs; `gradient` the mean norm before clipping, if there was any.
    """

    epoch: int
    train: float
    validate: float | None
    rate: float
    seconds: float
    gradient: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """What is to become small."""
        return self.train if self.validate is None else self.validate


@dataclass(frozen=True)
class History:
    """All epochs and why it ended: `epochs`, `seconds`, `patience`, `callback` or `interrupted`."""

    epochs: tuple[Epoch, ...]
    stopped: str

    @property
    def best(self) -> Epoch:
        """The epoch whose weights were kept: the first with the smallest loss."""
        if not self.epochs:
            raise RunError("history", "no epoch was finished", "at least one", "give more time")
        return min(self.epochs, key=lambda row: row.score)

    @classmethod
    def read(cls, path: str | Path) -> History:
        """From a `log.jsonl`, or the folder that holds it."""
        path = Path(path)
        file = path / "log.jsonl" if path.is_dir() else path
        rows, stopped = [], "running"
        for number, record in enumerate(read_log(file), 1):
            try:
                if record.get("kind") == "epoch":
                    rows.append(Epoch(**{key: value for key, value in record.items() if key != "kind"}))
                elif record.get("kind") == "end":
                    stopped = str(record["stopped"])
            except (TypeError, KeyError):
                raise RunError(f"{file} line {number}", f"{record!r:.120}", "a record written by fit") from None
        return cls(tuple(rows), stopped)

    def plot(self, path: str | Path | None = None) -> Figure:
        """Curves of losses and learning rate; written to `path` if given."""
        from simdl.learn.plot import plot_history

        return plot_history(self, path)

    def records(self) -> list[dict[str, Any]]:
        """One JSON record an epoch."""
        return [{"kind": "epoch", **{**vars(row), "metrics": dict(row.metrics)}} for row in self.epochs]

    def __repr__(self) -> str:
        if not self.epochs:
            return f"History(no epoch, stopped: {self.stopped})"
        best = self.best
        time = f"{self.epochs[-1].seconds:.1f} s"
        count = len(self.epochs)
        return f"History({count} epochs in {time}, best {best.score:.6g} at {best.epoch}, stopped: {self.stopped})"
