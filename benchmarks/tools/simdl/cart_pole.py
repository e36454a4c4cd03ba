"""W1, W2 and W6 in simdl."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.cases import KEPT, STATE, TICK, Case
from benchmarks.data import Data
from benchmarks.reference import summary
from benchmarks.tools.simdl import options
from benchmarks.tools.simdl.controller import NAMES, Loop, NoisyLoop, controller
from simdl import RK4, Prepared, Run, compile_model, prepare

SHARD = 10_000  # lanes at once where only a summary is kept


def cart_pole(case: Case, data: Data, engine: str) -> Any:
    """Many lanes in shards, as campaigns run them."""
    dtype = getattr(torch, case.dtype)
    loop = compile_model((NoisyLoop if case.noise else Loop)(controller(data, dtype)))
    pole, half = torch.as_tensor(data.lane("pole", case)), torch.as_tensor(data.lane("half", case))
    drawn, times = data.noise(case), torch.arange(case.ticks, dtype=torch.float64) * TICK
    noise = None if drawn is None else torch.as_tensor(np.ascontiguousarray(drawn.transpose(1, 2, 0))).to(dtype)
    first = {f"plant.{name}": value for name, value in zip(NAMES, STATE)}

    def ready(at: slice) -> Prepared:
        inputs = {} if noise is None else {name: (times, noise[i, at]) for i, name in enumerate(NAMES)}
        return prepare(
            loop, case.until, lanes=len(pole[at]), inputs=inputs, dtype=dtype,
            set={**first, "plant.pole": pole[at], "plant.half": half[at]}, solver=RK4(max_step=case.step),
            record=[f"plant.{name}" for name in NAMES], every=TICK, **options(engine, case.threads),
        )  # fmt: skip

    def kept(run: Run) -> torch.Tensor:
        return torch.stack([run[f"plant.{name}"].values for name in NAMES])[:, :, 1:]  # (4, lanes, ticks)

    if case.lanes <= KEPT:
        return ready(slice(None)).run, lambda run: summary(kept(run).permute(2, 0, 1).numpy())

    def run() -> list[tuple[torch.Tensor, torch.Tensor]]:
        parts = (kept(ready(slice(i, i + SHARD)).run()) for i in range(0, case.lanes, SHARD))
        return [(part[:, :, -1].clone(), part[2].abs().amax(dim=1)) for part in parts]

    def read(result: Any) -> dict[str, np.ndarray]:
        final, largest = (torch.cat(parts, dim=-1).numpy() for parts in zip(*result))
        return {"state": final.T, "largest": largest}

    return run, read
