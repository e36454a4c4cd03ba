"""Ports of a campaign as a data set: simulated shard by shard, written as each is done, resumed after a kill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simdl.campaign.shard import Job
from simdl.clock import nanoseconds
from simdl.compile import Model, compile_model
from simdl.compile.digest import digest
from simdl.data import Parameter, Schema, Shards, ShardWriter, Signal
from simdl.data.schema import Role
from simdl.errors import DataError
from simdl.port import Port
from simdl.progress import progress as progress_bar

Ports = Mapping[str, Any] | list[Any]


def write_dataset(
    job: Job, ids: Tensor, folder: Path, *, inputs: Ports, targets: Ports, labels: Ports, every: Any = None,
    model: Model | None = None, shard: int = 1024, progress: bool | None = None, workers: int = 1,
) -> Shards:  # fmt: skip
    """Simulate the lanes that the folder does not hold yet and write the named ports of each.

    Raises DataError when the folder holds data of another model, schema or seed, and when a name has two roles."""
    model = model or compile_model(job.model)
    grid = every if every is not None else job.every
    if grid is None:
        raise DataError(str(folder), "no sample time", "every=, the grid of the data set", 'every="1 s"')
    named: dict[str, tuple[Role, str]] = {}
    roles: tuple[tuple[Role, Ports], ...] = (("input", inputs), ("target", targets), ("label", labels))
    for role, ports in roles:
        for name, port in _named(ports, model).items():
            if name in named:
                raise DataError(str(folder), f"{name!r} is {named[name][0]} and {role}", "one role for a name")
            named[name] = (role, port)
    step = nanoseconds(grid, "every")
    signals = []
    for name, (role, path) in named.items():
        value = model.values[model.key(path)]
        dtype = str(value.dtype or torch.float32).removeprefix("torch.")
        signals.append(Signal(name, step, role, model.unit(path), dtype, tuple(value.shape or ())))
    sample = job.given(ids[:1])[0]
    params = [Parameter(n, model.unit(n) if n in model.values else "", "float64", tuple(v.shape[1:]))
              for n, v in sample.items()]  # fmt: skip
    schema = Schema(signals, params, digest(model), job.seed, {"until": str(job.until)})
    wanted = replace(job, record=tuple(path for _, path in named.values()), every=grid, requirements={}, keep=True,
                     statistics=False, threads=job.threads or max(1, torch.get_num_threads() // workers))  # fmt: skip
    with ShardWriter(folder, schema) as writer:
        todo = torch.tensor(writer.todo(ids.tolist()), dtype=torch.int64)
        if len(todo):
            wanted = wanted.decided(ids)
        parts = [todo[i : i + shard] for i in range(0, len(todo), shard)]
        with progress_bar(f"data set: {len(todo)} lanes", len(todo), progress, "lanes") as bar:
            for result in _results(wanted, parts, workers):
                values = {name: result.traces[path].values for name, (_, path) in named.items()}
                drawn = {n: v.double() for n, v in result.drawn.items()}
                writer.write(result.ids, values, drawn, failed={i: why for i, (_, why) in result.status.items()},
                             drop_nonfinite=True)  # fmt: skip
                bar.advance(len(result.ids))
    return Shards(folder)


def _results(job: Job, parts: list[Tensor], workers: int) -> Any:
    if workers > 1 and len(parts) > 1:
        from simdl.campaign.workers import spread

        return spread(job, parts, workers)
    return (job.run(part) for part in parts)


def _named(ports: Ports, model: Model) -> dict[str, str]:
    """Name -> path of each port; a list names ports by their paths."""
    pairs = ports.items() if isinstance(ports, Mapping) else [(None, port) for port in ports]
    found = {}
    for name, port in pairs:
        path = next(iter(model.recorded([port]))) if isinstance(port, Port) else str(port)
        model.key(path)
        found[name if name is not None else path] = path
    return found
