"""torchode: Tsit5 with steps of its own for each lane of a batch, by masks, eager.

Its authors compile it with TorchScript, which the torch of the constraints no longer does for it.
"""

from __future__ import annotations

from typing import Any

import torch
import torchode

from benchmarks.cases import ATOL, FIRST, MU, RTOL, Case
from benchmarks.data import Data

torch.set_num_threads(1)


def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Van der Pol's equation over (lanes, 2)."""
    x, v = y[:, 0], y[:, 1]
    return torch.stack((v, 5.0 * (1 - x * x) * v - x), dim=1)


def van_der_pol(case: Case, data: Data) -> Any:
    """AutoDiffAdjoint.solve, without gradients."""
    assert MU == 5.0
    x0 = torch.as_tensor(data.lane("x0", case))
    start = torch.stack((x0, torch.zeros_like(x0)), dim=1)
    ends = torch.zeros(case.lanes, dtype=x0.dtype), torch.full((case.lanes,), case.until, dtype=x0.dtype)
    problem, dt0 = torchode.InitialValueProblem(start, *ends), torch.full_like(x0, FIRST)
    term = torchode.ODETerm(field)
    solver = torchode.AutoDiffAdjoint(torchode.Tsit5(term=term), torchode.IntegralController(ATOL, RTOL, term=term))
    solver = solver.double()

    def run() -> Any:
        with torch.no_grad():
            return solver.solve(problem, None, dt0)

    return run, lambda solution: {"state": solution.ys[:, -1].numpy()}
