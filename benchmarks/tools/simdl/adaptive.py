"""W3 in simdl."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.cases import ATOL, FIRST, LONGEST, MU, RTOL, Case
from benchmarks.data import Data
from benchmarks.tools.simdl import options
from simdl import Block, Param, State, Tsit5, compile_model, derivative, prepare
from simdl.blocks import BouncingBall


class VanDerPol(Block):
    """x'' = mu (1 - x^2) x' - x."""

    mu: Param = Param(MU)
    x, v = State(2.0), State(0.0)

    @derivative(x, v)
    def motion(self, x, v, mu):
        return v, mu * (1 - x**2) * v - x


def van_der_pol(case: Case, data: Data, engine: str) -> Any:
    """Only the end is recorded."""
    block, x0 = compile_model(VanDerPol()), torch.as_tensor(data.lane("x0", case))
    solver = Tsit5(rtol=RTOL, atol=ATOL, first_step=FIRST)

    ready = prepare(block, case.until, set={"x": x0}, solver=solver, every=case.until,
                    **options(engine, case.threads))  # fmt: skip
    return ready.run, lambda run: {
        "state": torch.stack([run["x"].values[:, -1], run["v"].values[:, -1]], dim=1).numpy()
    }  # fmt: skip


def ball(case: Case, data: Data, engine: str) -> Any:
    """Impacts are the block's crossing."""
    block, restitution = compile_model(BouncingBall()), torch.as_tensor(data.lane("restitution", case))
    solver = Tsit5(rtol=RTOL, atol=ATOL, first_step=FIRST, max_step=LONGEST)

    ready = prepare(block, case.until, set={"restitution": restitution}, solver=solver, every=case.until,
                    **options(engine, case.threads))  # fmt: skip

    def read(run: Any) -> Any:
        bounces = torch.bincount(torch.tensor([lane for lane, _, _ in run.events]), minlength=case.lanes)
        state = torch.stack([run["h"].values[:, -1], run["v"].values[:, -1]], dim=1)
        return {"state": state.numpy(), "bounces": bounces.double().numpy()}

    return ready.run, read
