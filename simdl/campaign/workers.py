"""Shards in several processes. They are spawned: forking after torch has started threads hangs."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

import torch
from torch import Tensor

from simdl.campaign.shard import Job, Shard
from simdl.errors import RunError

_job: Job | None = None


def spread(job: Job, parts: list[Tensor], workers: int) -> Iterator[Shard]:
    """Run shards in `workers` processes, in any order; a shard whose process dies is run once more, alone.

    Raises RunError when the diagram cannot be sent to another process, and when a shard kills its process twice."""
    try:
        payload = pickle.dumps(job)
    except Exception as error:
        raise RunError("workers", f"the diagram cannot be sent to a process: {error}", "blocks defined in modules",
                       "define its classes in a module, or use workers=1") from error  # fmt: skip
    left = list(parts)
    for attempt in range(2):
        again: list[Tensor] = []
        pools = [left] if attempt == 0 else [[part] for part in left]
        for batch in pools:
            yield from _pool(payload, batch, workers, again)
        if not again:
            return
        left = again
    lanes = ", ".join(f"{int(p[0])}..{int(p[-1])}" for p in left)
    raise RunError("workers", f"the lanes {lanes} killed their process twice", "lanes that run",
                   "run them with workers=1 to see why")  # fmt: skip


def _pool(payload: bytes, parts: list[Tensor], workers: int, again: list[Tensor]) -> Iterator[Shard]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(parts)), context, _start, (payload,)) as pool:
        futures = {pool.submit(_one, part): part for part in parts}
        try:
            for future in as_completed(futures):
                try:
                    yield future.result()
                except BrokenProcessPool:
                    again.append(futures[future])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start(payload: bytes) -> None:
    global _job
    torch.set_num_threads(1)
    _job = pickle.loads(payload)


def _one(ids: Tensor) -> Shard:
    assert _job is not None
    return _job.run(ids)
