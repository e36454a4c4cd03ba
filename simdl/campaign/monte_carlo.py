"""Running thousands of lanes: drawn, cut into shards, simulated, checked, kept as far as memory allows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simdl.campaign.campaign import Campaign
from simdl.campaign.shard import Job, Shard, signals_of
from simdl.campaign.statistics import Gathered
from simdl.campaign.store import Store, engine_of
from simdl.clock import Duration, nanoseconds, seconds
from simdl.compile import Model, compile_model
from simdl.declared import Declared
from simdl.engine.arguments import grid, horizon, lane_numbers, mapping, several, whole
from simdl.engine.choice import check_engine, check_threads
from simdl.engine.solver import Solver
from simdl.errors import RunError
from simdl.learn.interrupt import requests
from simdl.port import Signal
from simdl.progress import progress as progress_bar
from simdl.requirements import Requirement, requirement

MEMORY = 1 << 30  # bytes
LANES = 2048  # in a shard, at most
FEW = 16  # in a shard, at least, however many workers there are


def monte_carlo(
    model: Declared | Model, space: Mapping[Any, Any], *, lanes: int, until: Duration,
    inputs: Mapping[Any, Any] | None = None, set: Mapping[Any, Any] | None = None, seed: int = 0,
    record: Iterable[str | Signal] | None = None, every: Duration | None = None,
    requirements: Mapping[str, Requirement | str] | None = None, dtype: torch.dtype = torch.float64,
    solver: Solver | None = None, keep: bool | None = None, shard: int | None = None, workers: int = 1,
    first: int = 0, ids: Tensor | Iterable[int] | None = None, out: str | Path | None = None,
    progress: bool | None = None, sink: Any = None, engine: str = "auto", threads: int | None = None,
    memory: int = MEMORY, statistics: bool = False,
) -> Campaign:  # fmt: skip
    """Run a model over lanes drawn from a space of parameters, initial states and inputs, and check requirements.

    space: port or path -> distribution (`Uniform`, `Normal`, `Choice`, …). Lane i draws the same values and noise
    whatever other lanes run, and whatever `shard` (lanes at once), `workers` (processes) and `first` (its first
    number) are. requirements: name -> requirement or its text; they need `every=`. keep: whether to keep traces (by
    default when they fit into `memory`). out: a folder to which shards are written as they finish; a campaign that
    was killed goes on there. Ctrl-C finishes the shards under way and keeps what is done (`campaign.complete` is then
    False).

    engine: as for `simulate`, decided once for all lanes together; `campaign.engine` and `campaign.why` say which.
    In a folder that holds lanes already, "auto" is what they ran on. threads: of the native engine in each process, by
    default the cores shared among the workers. memory: bytes that the traces of all shards under way may take: it sets
    how many lanes run at once unless `shard` does; each of several workers gets two shards at least. statistics: mean,
    standard deviation and extremes of what is recorded, over the lanes at each time, in `campaign.statistics`, whether
    traces are kept or not.

    Raises ModelError, RunError, RequirementError, and for engine="native" LoweringError and CompileError, before
    anything runs; a lane that fails becomes a row of `campaign.status` with its cause.
    """
    for name, given, least in (("lanes", lanes, 1), ("workers", workers, 1), ("first", first, 0), ("seed", seed, 0),
                               ("memory", memory, 1)):  # fmt: skip
        whole(name, given, least)
    check_threads(threads)
    if shard is not None:
        whole("shard", shard, 1)
    inputs, set, space = mapping("inputs", inputs), mapping("set", set), mapping("space", space)
    grid(every)
    compiled = compile_model(model)
    checks = {name: requirement(given) for name, given in mapping("requirements", requirements).items()}
    end = horizon(until)
    if checks and every is None:
        raise RunError("monte_carlo", "requirements without every=", "the grid on which they are checked", "every=0.01")
    units = {path: compiled.unit(path) for path in compiled.ports()}
    for one in checks.values():
        one.check(until, every, units)
    recorded = None if record is None else tuple(dict.fromkeys([*several("record", record), *signals_of(checks)]))
    if record is None and checks:
        recorded = tuple(dict.fromkeys([*compiled.recorded(None), *map(_path(compiled), signals_of(checks))]))
    wanted = torch.arange(first, first + lanes) if ids is None else lane_numbers(ids)
    samples = end // nanoseconds(every) + 1 if every is not None else 1000
    keys = compiled.recorded(recorded).values()
    per_lane = 8 * samples * sum(math.prod(compiled.values[key].shape or ()) for key in keys)
    at_once = memory // max(1, 3 * per_lane * workers)  # three: as recorded, as traces, and while checking
    share = max(FEW, math.ceil(len(wanted) / (2 * workers))) if workers > 1 else LANES  # so that every worker has some
    size = min(shard or max(1, min(LANES, at_once, share)), len(wanted))
    kept = keep if keep is not None else per_lane * len(wanted) <= memory
    names = {compiled.key(k): v for k, v in space.items()}
    job = Job(
        compiled.root, until, names, dict(inputs), dict(set), recorded, every, checks, seed, dtype, solver,
        kept, sink, check_engine(engine), "", threads or max(1, torch.get_num_threads() // workers), statistics,
    )  # fmt: skip
    before = engine_of(Path(out)) if out is not None and engine == "auto" else None
    if before is not None:
        job = replace(job, engine=before, why=f"the lanes in {out} ran on it")
    else:
        job = job.decided(wanted)
    store = Store(Path(out), compiled, job, end) if out is not None else None
    todo = wanted if store is None else torch.tensor(store.todo(wanted.tolist()), dtype=torch.int64)
    if before is not None:
        job = job.decided(todo)
    if store is not None:
        job = replace(job, keep=True)  # a shard brings its traces along, to be written
    parts = [todo[i : i + size] for i in range(0, len(todo), size)]
    done: list[Shard] = store.finished(wanted) if store is not None else []
    gathered = Gathered(wanted)
    if store is not None and statistics:
        for summaries in store.summaries(wanted):
            gathered.add(summaries)
    complete = True
    title = f"{compiled.name}: {len(todo)} lanes, {job.engine}"
    # With one part there is nothing to keep by waiting for it.
    waiting = requests() if len(parts) > 1 else nullcontext(None)
    with progress_bar(title, len(todo), progress, "lanes") as bar, waiting as stop:
        try:
            for count, result in enumerate(_run(job, parts, workers, bar), 1):
                if store is not None:
                    store.write(result)
                gathered.add(result.summaries)
                done.append(replace(result, summaries={}, traces=result.traces if kept else {}))
                if stop and count < len(parts):
                    complete = False
                    break
        except KeyboardInterrupt:
            complete = False
            if not done:
                raise
        finally:
            if store is not None:
                store.close(complete and len(done) > 0)
    return Campaign.of(compiled, job, wanted, done, complete, gathered.statistics())


def _path(model: Model) -> Any:
    return lambda signal: signal if isinstance(signal, str) else next(
        (p for p, k in model.recorded([signal]).items()), str(signal)
    )  # fmt: skip


def _run(job: Job, parts: list[Tensor], workers: int, bar: Any) -> Iterator[Shard]:
    if workers <= 1 or len(parts) <= 1:
        whole = seconds(horizon(job.until))
        done = shown = 0.0

        def tell(t: float) -> None:
            nonlocal shown
            now = done + lanes * t / whole
            bar.advance(now - shown)
            shown = now

        for part in parts:
            lanes = len(part)
            yield job.run(part, tell)
            done += lanes
        return
    from simdl.campaign.workers import spread

    for result in spread(job, parts, workers):
        bar.advance(len(result.ids))
        yield result
