"""The Thevenin battery of PyBaMM: its published example parameters, and its own result after 600 s.

The parameter tables are read from the installed `pybamm` package (`pip install --no-deps pybamm` is enough)."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from simdl import Block, State, Tsit5, derivative, output, simulate

CASES = Path(os.environ.get("SIMDL_CASES", Path(__file__).parents[3] / "shared" / "cases"))
CURRENT, CAPACITY = 100.0, 100.0  # A, A h


def folder() -> Path:
    found = importlib.util.find_spec("pybamm")
    if found is None or found.origin is None:
        pytest.skip("the parameters are in the package pybamm, which is not installed")
    return Path(found.origin).parent / "input" / "parameters" / "ecm" / "data"


class Table:
    """A regular table of any number of axes, interpolated linearly."""

    def __init__(self, path: Path) -> None:
        with path.open() as file:
            rows = np.array([[float(x) for x in row] for row in csv.reader(file) if row[0].lstrip("-")[0].isdigit()])
        self.axes = [torch.tensor(np.unique(rows[:, i])) for i in range(rows.shape[1] - 1)]
        order = np.lexsort(rows[:, -2::-1].T)
        self.values = torch.tensor(rows[order, -1]).reshape([len(axis) for axis in self.axes])

    def __call__(self, *at: Tensor) -> Tensor:
        low, part = [], []
        for axis, x in zip(self.axes, at, strict=True):
            k = torch.searchsorted(axis, x.contiguous()).clamp(1, len(axis) - 1)
            low.append(k - 1)
            part.append((x - axis[k - 1]) / (axis[k] - axis[k - 1]))
        total = torch.zeros_like(at[0])
        for corner in range(2 ** len(at)):
            bits = [(corner >> i) & 1 for i in range(len(at))]
            weight = torch.ones_like(at[0])
            for bit, p in zip(bits, part, strict=True):
                weight = weight * (p if bit else 1 - p)
            total = total + weight * self.values[tuple(k + bit for k, bit in zip(low, bits, strict=True))]
        return total


def thevenin(data: Path) -> Any:
    ocv, r0, r1 = (Table(data / f"ecm_example_{name}.csv") for name in ("ocv", "r0", "r1"))
    c1, entropy = Table(data / "ecm_example_c1.csv"), Table(data / "ecm_example_dudt.csv")

    class Cell(Block):
        """soc' = -I / 3600 C; v' = -(v + I R1) / (R1 C1); heat: I^2 R0 - I v - I T dU/dT, through a jig to the air."""

        soc, v, cell, jig = State(0.5), State(0.0), State(25.0), State(25.0)

        @derivative(soc, v, cell, jig)
        def motion(self, soc, v, cell, jig):
            current = torch.full_like(soc, CURRENT)
            a, b, c = (table(cell, current, soc) for table in (r0, r1, c1))
            heat = current**2 * a - current * v - current * (cell + 273.15) * entropy(ocv(soc), cell)
            into = 10.0 * (cell - jig)
            return (
                -current / (3600.0 * CAPACITY), -(v + current * b) / (b * c), (heat - into) / 1000.0,
                (into - 10.0 * (jig - 25.0)) / 500.0,
            )  # fmt: skip

        @output
        def open_circuit(self, soc):
            return ocv(soc)

        @output
        def voltage(self, soc, v, cell):
            return ocv(soc) + v - CURRENT * r0(cell, torch.full_like(soc, CURRENT), soc)

    return Cell()


def test_the_thevenin_example_ends_where_pybamm_does() -> None:
    if not (CASES / "pybamm_reference.json").is_file():
        pytest.skip(f"no cases at {CASES}")
    expected = json.loads((CASES / "pybamm_reference.json").read_text())["thevenin_default_600s"]
    run = simulate(thevenin(folder()), 600, solver=Tsit5(rtol=1e-8, atol=1e-10), every=600.0)
    for path, name in (("soc", "SoC"), ("voltage", "Voltage [V]"), ("open_circuit", "Open-circuit voltage [V]"),
                       ("cell", "Cell temperature [degC]")):  # fmt: skip
        assert run[path].values[0, -1].item() == pytest.approx(expected[name][1], abs=1e-3)
