"""Stiff and hard initial value problems of the Bari test set: end states of Mazzia & Magherini, 16 digits.

The equations and the reference values come from `ivp_testset.json` in the folder SIMDL_CASES (default ../shared/cases).
Each row states the tolerance asked of the solver and the largest relative error over the states that it must reach,
down to the 8e-14 of Robertson's second species. (SciPy's Radau needs rtol = 1e-10 and 7 to 70 thousand evaluations.)
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from simdl import Block, DormandPrince, Param, Rosenbrock, State, Tsit5, derivative, initial, simulate
from simdl.engine.solver import AdaptiveSolver

ROOT = Path(__file__).resolve().parents[2]
CASES = Path(os.environ.get("SIMDL_CASES", ROOT.parent / "shared" / "cases"))
if not CASES.is_absolute():
    CASES = ROOT / CASES
FILE = CASES / "ivp_testset.json"

pytestmark = pytest.mark.skipif(not FILE.is_file(), reason=f"no external cases: {FILE} is absent (set SIMDL_CASES)")


def case(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text())[name]
    return found


def vdpol_stiff(y: Tensor) -> Tensor:
    a, b = y.unbind(0)
    return torch.stack((b, 1000.0 * (1 - a * a) * b - a))


def orego(y: Tensor) -> Tensor:
    a, b, c = y.unbind(0)
    return torch.stack((77.27 * (b + a * (1 - 8.375e-6 * a - b)), (c - (1 + a) * b) / 77.27, 0.161 * (a - c)))


def hires(y: Tensor) -> Tensor:
    a, b, c, d, e, f, g, h = y.unbind(0)
    fh = 280 * f * h
    last = fh - 1.81 * g
    return torch.stack(
        (
            -1.71 * a + 0.43 * b + 8.32 * c + 0.0007,
            1.71 * a - 8.75 * b,
            -10.03 * c + 0.43 * d + 0.035 * e,
            8.32 * b + 1.71 * c - 1.12 * d,
            -1.745 * e + 0.43 * f + 0.43 * g,
            -fh + 0.69 * d + 1.71 * e - 0.43 * f + 0.69 * g,
            last,
            -last,
        )
    )


def rober(y: Tensor) -> Tensor:
    """To be run in scaled time: 1000 s of the problem in each second, because 1e11 s is beyond the clock's range."""
    a, b, c = y.unbind(0)
    first, last = 0.04 * a - 1e4 * b * c, 3e7 * b * b
    return torch.stack((-first, first - last, last))


RATES = (
    0.35, 26.6, 12300.0, 8.6e-4, 8.2e-4, 15000.0, 1.3e-4, 24000.0, 16500.0, 9000.0, 0.022, 12000.0, 1.88, 16300.0,
    4.8e6, 3.5e-4, 0.0175, 1e8, 4.44e11, 1240.0, 2.1, 5.78, 0.0474, 1780.0, 3.12,
)  # fmt: skip


def pollution(y: Tensor) -> Tensor:
    y1, y2, y3, y4, y5, y6, y7, _, y9, y10, y11, _, y13, y14, _, y16, y17, _, y19, y20 = y.unbind(0)
    factors = (
        y1, y2 * y4, y5 * y2, y7, y7, y7 * y6, y9, y9 * y6, y11 * y2, y11 * y1, y13, y10 * y2, y14, y1 * y6, y3, y4,
        y4, y16, y16, y17 * y6, y19, y19, y1 * y4, y19 * y1, y20,
    )  # fmt: skip
    r = (torch.zeros_like(y1), *(rate * factor for rate, factor in zip(RATES, factors, strict=True)))
    return torch.stack(
        (
            -r[1] - r[10] - r[14] - r[23] - r[24] + r[2] + r[3] + r[9] + r[11] + r[12] + r[22] + r[25],
            -r[2] - r[3] - r[9] - r[12] + r[1] + r[21],
            -r[15] + r[1] + r[17] + r[19] + r[22],
            -r[2] - r[16] - r[17] - r[23] + r[15],
            -r[3] + 2 * r[4] + r[6] + r[7] + r[13] + r[20],
            -r[6] - r[8] - r[14] - r[20] + r[3] + 2 * r[18],
            -r[4] - r[5] - r[6] + r[13],
            r[4] + r[5] + r[6] + r[7],
            -r[7] - r[8],
            -r[12] + r[7] + r[9],
            -r[9] - r[10] + r[8] + r[11],
            r[9],
            -r[11] + r[10],
            -r[13] + r[12],
            r[14],
            -r[18] - r[19] + r[16],
            -r[20],
            r[20],
            -r[21] - r[22] - r[24] + r[23] + r[25],
            -r[25] + r[24],
        )
    )


def pleiades(y: Tensor) -> Tensor:
    """Seven stars of mass 1 ... 7 in a plane: x, y, x', y'."""
    x, z, u, v = y.unflatten(0, (4, 7)).unbind(0)  # (7, lanes)
    mass = torch.arange(1.0, 8.0, dtype=y.dtype)[None, :, None]
    dx, dz = x[None] - x[:, None], z[None] - z[:, None]
    cube = (dx * dx + dz * dz + torch.eye(7, dtype=y.dtype)[..., None]) ** 1.5
    return torch.cat((u, v, (mass * dx / cube).sum(1), (mass * dz / cube).sum(1)))


class Problem(Block):
    """y' = scale f(y), y(0) = start, where `scale` seconds of the problem pass in each second of the run."""

    start: Param = Param()
    y = State()

    def __init__(self, f: Callable[[Tensor], Tensor], scale: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.f, self.scale = f, scale

    @initial
    def begin(self, start):  # type: ignore[no-untyped-def]
        return dict(y=start)

    @derivative(y)
    def flow(self, y):  # type: ignore[no-untyped-def]
        return self.scale * self.f(y.T).T  # the right-hand sides above are written species first


@dataclass(frozen=True)
class Row:
    """One run: the tolerances asked, and the relative error that must come out."""

    problem: Callable[[Tensor], Tensor]
    solver: AdaptiveSolver
    reached: float
    scale: float = 1.0
    """Seconds of the problem for each second of the run."""


ROWS = [
    Row(vdpol_stiff, Rosenbrock(rtol=1e-8, atol=1e-10), 1e-8),
    Row(orego, Rosenbrock(rtol=1e-8, atol=1e-9), 1e-8),
    Row(hires, Rosenbrock(rtol=1e-8, atol=1e-11), 1e-8),
    Row(rober, Rosenbrock(rtol=1e-8, atol=1e-19), 1e-8, scale=1000.0),
    Row(pollution, Rosenbrock(rtol=1e-8, atol=1e-14), 1e-8),
    Row(pleiades, Rosenbrock(rtol=1e-8, atol=1e-8), 1e-5),
    Row(pleiades, Tsit5(rtol=1e-10, atol=1e-10), 1e-8),
    Row(pleiades, DormandPrince(rtol=1e-10, atol=1e-10), 1e-8),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.problem.__name__}-{type(row.solver).__name__}")
def test_end_state_of_the_bari_test_set(row: Row) -> None:
    found = case(row.problem.__name__)
    start, reference = (torch.tensor(found[key], dtype=torch.float64) for key in ("y0", "ref"))
    until = found["t"] / row.scale
    run = simulate(Problem(row.problem, row.scale, start=start), until, every=until, solver=row.solver)
    error = float(((run.final["y"][0] - reference) / reference).abs().max())
    assert not run.status and error <= row.reached, f"relative error {error:.1e}"
