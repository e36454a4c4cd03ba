"""What `surrogate` made: the loop with the network, and how it compares with the original."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simdl.clock import rate_text
from simdl.diagram import Diagram
from simdl.networks.horizon import FreeRun
from simdl.networks.state_space import NeuralStateSpace
from simdl.plot import PALETTE
from simdl.result import Run
from simdl.surrogate.card import SurrogateCard, save_surrogate
from simdl.surrogate.comparison import Difference, Pair, Speed
from simdl.surrogate.part import Part
from simdl.surrogate.training import Training

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = 4  # signals drawn


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A loop in which a network stands for a part.

    diagram: the copy with the network at `path`; network: the block; original, run: both loops on the unseen lanes
    `ids`; differences: of every signal that crosses the border; free_run: one step and many, open loop; speeds: of both
    engines; card: what is saved.
    """

    path: str
    diagram: Diagram
    network: NeuralStateSpace
    part: Part
    training: Training
    original: Run
    run: Run
    pairs: tuple[Pair, ...]
    differences: tuple[Difference, ...]
    free_run: FreeRun
    speeds: tuple[Speed, ...]
    ids: tuple[int, ...]
    card: SurrogateCard

    def save(self, folder: str | Path) -> SurrogateCard:
        """Write weights and card, for `load_surrogate` and `place`."""
        return save_surrogate(folder, self.network, self.card)

    @property
    def worst(self) -> float:
        """The largest error of any signal, relative to its range."""
        return max(one.relative(one.worst) for one in self.differences)

    def __str__(self) -> str:
        part, learnt, clock = self.part, self.training, self.network.clock
        assert clock is not None
        weights = sum(one.numel() for one in self.network.parameters())
        names = ", ".join(one.name for one in part.states[:6]) + (", …" if len(part.states) > 6 else "")
        rows = [
            f"{self.path}: {len(part.states)} states ({names}), {len(part.inputs)} inputs, every {rate_text(clock)}, "
            f"{weights} weights",
            f"learnt from {learnt.lanes} lanes x {learnt.samples} samples in {learnt.seconds:.1f} s "
            f"({learnt.stopped}): free-run error {learnt.best:.3g} std, {learnt.linear:.3g} when linear",
            "",
            f"{f'closed loop, {len(self.ids)} unseen lanes':32} {'RMS':>10} {'worst':>10} {'RMS/range':>10} "
            f"{'worst/range':>11}",
        ]
        for one in self.differences:
            name = f"{one.path} [{one.unit}]" if one.unit else one.path
            rows.append(f"{name:32} {one.rms:10.4g} {one.worst:10.4g} {one.relative(one.rms):10.2%} "
                        f"{one.relative(one.worst):11.2%}")  # fmt: skip
        rows += ["", str(self.free_run), "", f"{'engine':10} {'original':>12} {'surrogate':>12} {'speed-up':>9}"]
        for speed in self.speeds:
            if speed.why:
                rows.append(f"{speed.engine:10} not run: {speed.why}")
                continue
            slower = "  slower than the original" if speed.gain < 1 else ""
            rows.append(f"{speed.engine:10} {speed.original * 1e3:9.3g} ms {speed.surrogate * 1e3:9.3g} ms "
                        f"{speed.gain:8.3g}x{slower}")  # fmt: skip
        for run, who in ((self.original, "original"), (self.run, "surrogate")):
            if run.status:
                lane, (t, why) = next(iter(run.status.items()))
                rows.append(f"{who}: {len(run.status)} lanes failed and are left out above; lane {self.ids[lane]} at "
                            f"{t:g} s: {why}")  # fmt: skip
        return "\n".join(rows)

    def plot(self, path: str | Path | None = None, *, lanes: int = 3) -> Figure:
        """Both trajectories, the lane with the worst error first, and the open-loop error over the horizon; written to
        `path` if given."""
        from matplotlib.figure import Figure

        shown = list(zip(self.pairs, self.differences))[:ROWS]
        figure = Figure(figsize=(8.0, 1.9 * len(shown) + 2.9), layout="constrained")
        axes = figure.subplots(len(shown) + 1, 1, height_ratios=[1.0] * len(shown) + [1.5])
        first = axes[0]
        for axis, (pair, difference) in zip(axes, shown):
            a, b = pair.values(self.original, self.run)
            t = self.original[pair.original].t
            worst = self.ids.index(difference.lane) if difference.lane in self.ids else 0
            rows = [worst, *(row for row in range(len(self.ids)) if row != worst)][:lanes]
            for number, row in enumerate(rows):
                label = f"lane {self.ids[row]}" + (" (worst)" if number == 0 else "")
                axis.plot(t, a[row].flatten(1)[:, 0] if a.ndim > 2 else a[row], color=PALETTE[number], lw=2.6,
                          alpha=0.35, label=label)  # fmt: skip
                axis.plot(t, b[row].flatten(1)[:, 0] if b.ndim > 2 else b[row], color=PALETTE[number], lw=0.9, ls="--")
            unit = f" [{difference.unit}]" if difference.unit else ""
            axis.set_ylabel(f"{difference.path}{unit}", fontsize=8)
            off = difference.relative(difference.worst)
            axis.set_title(f"worst error {off:.2%} of the range", fontsize=8, loc="right")
            axis.grid(alpha=0.25)
            axis.legend(frameon=False, fontsize=7, ncols=lanes, loc="best")
            if axis is not first:
                axis.sharex(first)
        first.set_title("thick: original, dashed: surrogate", fontsize=9, loc="left")
        axes[len(shown) - 1].set_xlabel("t [s]")
        found, axis = self.free_run, axes[-1]
        for number, (name, error) in enumerate(list(found.error.items())[:8]):
            color, spread = PALETTE[number % len(PALETTE)], found.spread[name]
            axis.plot(found.seconds, error / spread, color=color, label=name)
            axis.axhline(found.one_step[name] / spread, color=color, ls=":", lw=1)
        axis.axhline(found.tolerance, color="#555555", ls="--", lw=1)
        axis.set(xlabel="horizon [s]", ylabel="RMS error / std", yscale="log")
        more = "at least " if found.whole else ""
        title = f"open loop; dotted: one step; stability horizon {more}{found.stable:.3g} s"
        axis.set_title(title, fontsize=9, loc="left")
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, fontsize=7, ncols=4, loc="lower right")
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure
