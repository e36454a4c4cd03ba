"""Training curves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from simdl.errors import RunError
from simdl.learn.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"  # Okabe & Ito 2008: told apart by everyone


def plot_history(history: History | str | Path, path: str | Path | None = None) -> Figure:
    """Losses above, learning rate and gradient below, over epochs; the kept epoch is marked.

    `history` may be a log.jsonl or its folder. Written to `path` (png, svg, pdf) if given. RunError for an empty one.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if not isinstance(history, History):
        history = History.read(history)
    if not history.epochs:
        raise RunError("plot_history", "no epoch was finished", "at least one")
    rows, best = history.epochs, history.best
    spent = max(row.seconds for row in rows)
    figure = Figure(figsize=(7.0, 5.2), layout="constrained")
    losses, rates = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    number = [row.epoch for row in rows]
    marks = "o" if len(rows) < 25 else None
    losses.plot(number, [row.train for row in rows], color=BLUE, ls="--", marker=marks, ms=3, label="training")
    if all(row.validate is not None for row in rows):
        values = [row.score for row in rows]
        losses.plot(number, values, color=ORANGE, marker=marks, ms=3, label="validation")
    losses.plot([best.epoch], [best.score], "D", color="black", mfc="none", ms=8, ls="none",
                label=f"kept: {best.score:.4g} at epoch {best.epoch}")  # fmt: skip
    _logarithmic(losses, [v for row in rows for v in (row.train, row.validate) if v is not None])
    losses.set_ylabel("loss")
    losses.set_title(f"{len(rows)} epochs in {spent:.3g} s, stopped by: {history.stopped}", fontsize=10)
    losses.legend(frameon=False)

    rates.plot(number, [row.rate for row in rows], color=GREEN, label="learning rate")
    _logarithmic(rates, [row.rate for row in rows], 20.0)
    rates.set_ylabel("learning rate", color=GREEN)
    rates.set_xlabel("epoch")
    rates.xaxis.set_major_locator(MaxNLocator(integer=True))
    norms = [row.gradient for row in rows if row.gradient is not None]
    if len(norms) == len(rows):
        other = rates.twinx()
        other.plot(number, norms, color=GREY, ls=":", label="gradient norm")
        _logarithmic(other, norms, 20.0)  # less than a decade has no room for its ticks here
        other.set_ylabel("gradient norm (dotted)", color=GREY)
        other.spines.top.set_visible(False)
    for axes in (losses, rates):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    if path is not None:
        figure.savefig(path, dpi=130)
    return figure


def _logarithmic(axes: Axes, values: list[float], least: float = 5.0) -> None:
    if min(values) > 0 and max(values) > least * min(values):
        axes.set_yscale("log")
