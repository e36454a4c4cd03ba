"""The results of a campaign: margins, verdicts, the worst lanes and their replays."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.campaign.replay import Replay
from simdl.campaign.shard import Job, Shard
from simdl.campaign.statistics import Statistics
from simdl.compile import Model
from simdl.errors import RunError
from simdl.port import Port, Signal
from simdl.requirements import Verdict
from simdl.result import Run, Trace

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class Campaign:
    """Lanes in the order of their numbers.

    ids (lanes,); drawn: name -> values; margins, verdicts: name of requirement -> (lanes,); decided: the time at which
    each margin is attained; status: lane number -> (t, text) of failed lanes; traces: empty when not kept;
    statistics: path -> mean, spread and extremes over the lanes, where they were asked for.
    """

    model: Model
    job: Job
    ids: Tensor
    drawn: Mapping[str, Tensor]
    margins: Mapping[str, Tensor]
    verdicts: Mapping[str, Tensor]
    decided: Mapping[str, Tensor]
    status: Mapping[int, tuple[float, str]]
    traces: Mapping[str, Trace]
    stored: tuple[Any, ...]
    asked: int
    complete: bool
    statistics: Mapping[str, Statistics] = field(default_factory=dict)

    @classmethod
    def of(
        cls, model: Model, job: Job, wanted: Tensor, shards: list[Shard], complete: bool,
        statistics: Mapping[str, Statistics],
    ) -> Campaign:  # fmt: skip
        """Put finished shards together."""
        ids = torch.cat([s.ids for s in shards]) if shards else torch.zeros(0, dtype=torch.int64)
        order = torch.argsort(ids)

        def joined(field: str) -> dict[str, Tensor]:
            names = getattr(shards[0], field) if shards else {}
            return {n: torch.cat([getattr(s, field)[n] for s in shards])[order] for n in names}

        status: dict[int, tuple[float, str]] = {}
        for shard in shards:
            status.update(shard.status)
        traces = {}
        if shards and all(s.traces for s in shards):
            for path, one in shards[0].traces.items():
                values = torch.cat([s.traces[path].values for s in shards])[order]
                traces[path] = Trace(path, one.t, values, one.kind, one.unit, one.labels)
        return cls(
            model, job, ids[order], joined("drawn"), joined("margins"), joined("verdicts"), joined("decided"),
            dict(sorted(status.items())), traces, tuple(s.stored for s in shards if s.stored is not None), len(wanted),
            complete and len(ids) == len(wanted), statistics,
        )  # fmt: skip

    @property
    def lanes(self) -> int:
        return len(self.ids)

    @property
    def seed(self) -> int:
        return self.job.seed

    @property
    def engine(self) -> str:
        """The engine that ran every lane: "native" or "torch"."""
        return self.job.engine

    @property
    def why(self) -> str:
        """What decided the engine, and what of a native run is called in torch."""
        return self.job.why

    @property
    def run(self) -> Run:
        """The kept traces as a Run. Raises RunError when they were not kept."""
        if not self.traces:
            raise RunError("campaign", "its traces were not kept", "kept traces", "monte_carlo(..., keep=True)")
        rows = {int(lane): row for row, lane in enumerate(self.ids)}
        until = float(next(iter(self.traces.values())).t[-1])
        status = {rows[lane]: why for lane, why in self.status.items()}
        return Run(self.model, self.traces, until, self.lanes, self.seed, self.engine, status, why=self.why)

    def __getitem__(self, port: str | Signal) -> Trace:
        return self.run[port]

    def _named(self, requirement: str) -> str:
        if requirement not in self.margins:
            raise RunError("campaign", f"no requirement {requirement!r}", names=self.margins, wrong=requirement)
        return requirement

    def worst(self, requirement: str, n: int = 5) -> list[int]:
        """The numbers of the lanes with the smallest margins, failed ones first."""
        margins = self.margins[self._named(requirement)].nan_to_num(nan=-torch.inf)
        return [int(lane) for lane in self.ids[torch.argsort(margins, stable=True)[:n]]]

    def count(self, requirement: str, verdict: Verdict | str) -> int:
        """How many lanes have this verdict."""
        wanted = Verdict[verdict.upper()] if isinstance(verdict, str) else verdict
        return int((self.verdicts[self._named(requirement)] == int(wanted)).sum())

    @property
    def passed(self) -> bool:
        """Whether every asked lane ran and no requirement failed or is in error anywhere."""
        bad = (Verdict.FAIL, Verdict.ERROR)
        return self.complete and all(self.count(name, v) == 0 for name in self.margins for v in bad)

    def replay(self, lane: int) -> Replay:
        """One lane alone, on its own draws and noise: `.run`, `.at(t)`."""
        if lane not in self.ids.tolist():
            raise RunError("replay", f"no lane {lane}", f"one of {int(self.ids[0])} to {int(self.ids[-1])}")
        return Replay(self.job, lane)

    def dataset(
        self, folder: str | Path | None = None, *, inputs: Mapping[str, Any] | list[Any],
        targets: Mapping[str, Any] | list[Any], every: Any = None, labels: Mapping[str, Any] | None = None,
        window: int | None = None, hop: int = 1,
    ) -> Any:  # fmt: skip
        """Write ports of these lanes to a folder of shards and return the data set: windows when `window` is given.

        Without a folder they go to a temporary one; lanes already in the folder are not run again.
        inputs, targets: name -> port."""
        from simdl.campaign.dataset import write_dataset
        from simdl.data import Windows

        folder = tempfile.mkdtemp(prefix="simdl-") if folder is None else folder
        shards = write_dataset(self.job, self.ids, Path(folder), inputs=inputs, targets=targets, labels=labels or {},
                               every=every, model=self.model)  # fmt: skip
        if window is None:
            return shards
        names = [list(map(str, ports)) for ports in (inputs, targets)]
        return Windows(shards, *names, length=window, hop=hop)

    def to_pandas(self) -> pandas.DataFrame:
        """One row a lane: number, drawn values, margins, verdicts, cause of failure."""
        import pandas as pd

        table: dict[str, Any] = {"lane": self.ids.numpy()}
        for name, value in self.drawn.items():
            if value.ndim == 1:
                table[name] = value.numpy()
        for name in self.margins:
            table[f"margin {name}"] = self.margins[name].numpy()
            table[f"verdict {name}"] = [Verdict(int(v)).name.lower() for v in self.verdicts[name]]
        table["failed"] = [self.status[int(i)][1] if int(i) in self.status else "" for i in self.ids]
        return pd.DataFrame(table).set_index("lane")

    def report(self, worst: int = 5) -> str:
        """A table of verdicts, margins and worst lanes, as text."""
        state = "" if self.complete else f"   INCOMPLETE: {self.lanes} of {self.asked} lanes"
        about = f"{self.lanes} lanes, seed {self.seed}, {len(self.status)} failed, {self.engine} engine"
        lines = [f"{self.model.name}: {about}{state}"]
        if self.margins:
            width = max(len(name) for name in self.margins)
            lines.append(f"{'requirement':{max(width, 11)}}   pass   fail  untested  error   worst margin  worst lanes")
            for name, margin in self.margins.items():
                counts = [self.count(name, v) for v in (Verdict.PASS, Verdict.FAIL, Verdict.UNTESTED, Verdict.ERROR)]
                finite = margin[~margin.isnan()]
                least = f"{float(finite.min()):13.4g}" if len(finite) else "            -"
                lanes = ", ".join(map(str, self.worst(name, worst)))
                passed, failed, untested, error = counts
                row = f"{name:{max(width, 11)}} {passed:6d} {failed:6d} {untested:9d} {error:6d}  {least}  {lanes}"
                lines.append(row)
        for lane, (t, why) in list(self.status.items())[:worst]:
            lines.append(f"lane {lane} (seed {self.seed}) failed after t = {t:g} s: {why}")
        return "\n".join(lines)

    def save_report(self, path: str | Path, **options: Any) -> Path:
        """Write the campaign's page (HTML, with JSON, Markdown and JUnit beside it) and return its path; options as for
        `simdl.report.campaign_report`."""
        from simdl.report import campaign_report

        return Path(campaign_report(self, **options).save(path))

    def __repr__(self) -> str:
        state = "complete" if self.complete else f"INCOMPLETE, {self.asked} asked"
        names = ", ".join(self.margins) or "none"
        return f"<Campaign of {self.model.name}: {self.lanes} lanes, {state}, seed {self.seed}, requirements: {names}>"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self.report(3))}</pre>"

    def plot(self, requirement: str, parameter: str | Port | None = None) -> Any:
        """Margins: a histogram, or over one drawn parameter; the line at zero parts pass from fail."""
        import matplotlib.pyplot as plt

        from simdl.plot import PALETTE

        margin = self.margins[self._named(requirement)].numpy()
        _, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
        if parameter is None:
            axes.hist(margin[abs(margin) < 1e300], bins=40, color=PALETTE[0])
            axes.axvline(0.0, color=PALETTE[1], linestyle="--", label="fails left of this")
            axes.set(xlabel=f"margin of {requirement}", ylabel="lanes")
        else:
            key = parameter if isinstance(parameter, str) else self.model.key(parameter)
            if key not in self.drawn:
                raise RunError("plot", f"{key!r} was not drawn", names=self.drawn, wrong=key)
            axes.scatter(self.drawn[key].numpy(), margin, s=6, color=PALETTE[0], alpha=0.5)
            axes.axhline(0.0, color=PALETTE[1], linestyle="--", label="fails below this")
            unit = self.model.unit(key)
            axes.set(xlabel=f"{key} [{unit}]" if unit else key, ylabel=f"margin of {requirement}")
        axes.legend(fontsize="small")
        return axes
