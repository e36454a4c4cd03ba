"""W4 in simdl."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.cases import STATE, TICK, Case
from benchmarks.data import Data
from benchmarks.reference import directions
from benchmarks.tools.simdl.controller import NAMES, Loop, controller
from simdl import RK4, compile_model, simulate


def gradient(case: Case, data: Data, engine: str) -> Any:
    """Loss on the recorded states, then backward()."""
    module = controller(data)
    loop = compile_model(Loop(module))
    given = {f"plant.{name}": value for name, value in zip(NAMES, STATE)}
    given |= {f"plant.{name}": torch.as_tensor(data.lane(name, case)) for name in ("pole", "half")}

    def run() -> float:
        module.zero_grad()
        run = simulate(
            loop, case.until, set=given, solver=RK4(max_step=case.step), grad=True, every=TICK, engine=engine,
            record=[f"plant.{name}" for name in NAMES],
        )  # fmt: skip
        loss = torch.stack([run[f"plant.{name}"].values[:, 1:] for name in NAMES]).square().mean()
        loss.backward()
        return float(loss.detach())

    def read(loss: float) -> dict[str, np.ndarray]:
        found = {}
        for number, layer in ((1, module[0]), (2, module[2]), (3, module[4])):
            assert isinstance(layer, torch.nn.Linear) and layer.weight.grad is not None and layer.bias.grad is not None
            found |= {f"w{number}": layer.weight.grad.T.numpy(), f"b{number}": layer.bias.grad.numpy()}
        along = [sum(float((found[name] * d[name]).sum()) for name in d) for d in directions()]
        return {"loss": np.array([loss]), "along": np.array(along)}

    return run, read
