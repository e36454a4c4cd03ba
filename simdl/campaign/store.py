"""A campaign on disk: its shards as a data set of traces, drawn values, margins and verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from simdl.campaign.shard import Job, Shard
from simdl.campaign.statistics import Summary, summarised
from simdl.clock import nanoseconds
from simdl.compile import Model
from simdl.compile.digest import digest
from simdl.data import Parameter, Schema, Shards, ShardWriter, Signal
from simdl.data.manifest import NAME, read_manifest
from simdl.errors import RunError
from simdl.requirements import Verdict
from simdl.result import Trace

HUGE = 1e300  # stands for an infinite margin, which a shard does not hold


class Store:
    """Writes shards as they finish, and reads those of an earlier attempt."""

    def __init__(self, folder: Path, model: Model, job: Job, end: int) -> None:
        if job.every is None:
            raise RunError("monte_carlo", "out= without every=", "a recording grid", "every=0.1")
        self.folder, self.model, self.job = folder, model, job
        self.paths = model.recorded(job.record)
        every = nanoseconds(job.every)
        signals = []
        for path, key in self.paths.items():
            value = model.values[key]
            kind = value.dtype or job.dtype
            signals.append(Signal(path, every, "label", model.unit(path), str(kind).removeprefix("torch."),
                                  tuple(value.shape or ())))  # fmt: skip
        sample = job.given(torch.zeros(1, dtype=torch.int64))[0]
        params = [Parameter(n, "", "float64", tuple(v.shape[1:])) for n, v in sample.items()]
        for name in job.requirements:
            params += [
                Parameter(f"margin:{name}"),
                Parameter(f"verdict:{name}", dtype="int64"),
                Parameter(f"at:{name}"),
            ]
        about = {"until": str(job.until), **{f"requirement:{n}": str(r) for n, r in job.requirements.items()}}
        if job.engine == "native":
            about["engine"] = "native"
        self.writer = ShardWriter(folder, Schema(signals, params, digest(model), job.seed, about))

    def todo(self, lanes: list[int]) -> list[int]:
        return self.writer.todo(lanes)

    def write(self, shard: Shard) -> None:
        """Write one shard; when this returns, its lanes survive a kill."""
        params = {name: value.double() for name, value in shard.drawn.items()}
        for name, margin in shard.margins.items():
            params[f"margin:{name}"] = margin.double().nan_to_num(nan=-HUGE, posinf=HUGE, neginf=-HUGE)
            params[f"verdict:{name}"] = shard.verdicts[name].long()
            params[f"at:{name}"] = shard.decided[name].nan_to_num(nan=-1.0)
        failed = {lane: f"{t:.17g}\n{why}" for lane, (t, why) in shard.status.items()}
        self.writer.write(shard.ids, {p: shard.traces[p].values.detach() for p in self.paths}, params, failed=failed)

    def finished(self, wanted: Tensor) -> list[Shard]:
        """What an earlier attempt has done of these lanes, as one shard."""
        done = self.writer.done & set(wanted.tolist())
        if not done:
            return []
        shards = Shards(self.folder)
        shards = shards.only([lane for lane in shards.lanes.tolist() if lane in done])
        failed = {lane: text for lane, text in shards.failed.items() if lane in done}
        traces = {}
        if self.job.keep:
            traces = {path: self._trace(path, _with(shards.signal(path), len(failed))) for path in self.paths}
        names = self.job.requirements
        status = {lane: (float(text.split("\n")[0]), text.split("\n", 1)[1]) for lane, text in failed.items()}
        ids = torch.cat([shards.lanes, torch.tensor(list(failed), dtype=torch.int64)])
        return [Shard(
            ids, self.job.given(ids)[0],
            {n: _margin(shards.param(f"margin:{n}"), len(failed)) for n in names},
            {n: _with(shards.param(f"verdict:{n}"), len(failed), int(Verdict.ERROR)) for n in names},
            {n: _with(shards.param(f"at:{n}"), len(failed)) for n in names}, status, traces,
        )]  # fmt: skip

    def summaries(self, wanted: Tensor) -> Iterator[dict[str, Summary]]:
        """What an earlier attempt has done of these lanes, shard by shard, for statistics."""
        if not self.writer.done:
            return
        shards = Shards(self.folder)
        asked = set(wanted.tolist())
        shards = shards.only([lane for lane in shards.lanes.tolist() if lane in asked])
        for rows, block in shards.blocks(list(self.paths)):
            yield {path: summarised(self._trace(path, block[path]), shards.lanes[rows]) for path in self.paths}

    def _trace(self, path: str, values: Tensor) -> Trace:
        t = (torch.arange(values.shape[1]) * nanoseconds(self.job.every)).double() / 1e9
        return Trace(path, t, values, self.model.trace_kind(self.paths[path]), self.model.unit(path),
                     self.model.labels(path))  # fmt: skip

    def close(self, complete: bool) -> None:
        if complete:
            self.writer.finish()
        else:
            self.writer.close()


def engine_of(folder: Path) -> str | None:
    """The engine of the lanes that a folder holds, None where it holds none."""
    if not (folder / NAME).exists():
        return None
    return read_manifest(folder).schema.about.get("engine", "torch")


def _with(values: Tensor, more: int, fill: float = float("nan")) -> Tensor:
    """Rows for failed lanes, of which a shard keeps no values."""
    if not more:
        return values
    fill = fill if values.is_floating_point() or fill == fill else 0
    return torch.cat([values, values.new_full((more, *values.shape[1:]), fill)])


def _margin(values: Tensor, more: int) -> Tensor:
    infinite = torch.where(values.abs() >= HUGE, values.sign() * torch.inf, values)
    return _with(infinite, more)
