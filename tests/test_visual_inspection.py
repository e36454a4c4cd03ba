"""The line of visual_inspection: every part is counted once, in time or late, and the computers keep their times."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from simdl import Run, simulate
from simdl.computer import schedule_of
from simdl.scenarios.visual_inspection.gate import LENGTH
from simdl.scenarios.visual_inspection.machine import machine
from simdl.scenarios.visual_inspection.outlet import COUNTS, hit
from simdl.scenarios.visual_inspection.scenario import CARD, SCENARIO
from simdl.scenarios.visual_inspection.system import Inspection

RECORD = [*COUNTS, "late", "line.number", "belt.travel"]


@pytest.fixture(scope="module")
def lanes() -> Run:
    loop = machine(0.5).on(Inspection(CARD))
    return simulate(loop, until=6, lanes=4, every=1, seed=3, solver=SCENARIO.solver, record=RECORD)


def test_every_part_is_counted_once(lanes: Run) -> None:
    n = {name: lanes[name].values for name in COUNTS}
    assert torch.equal(n["passed"], n["good"] + n["escaped"] + n["rejected"])
    assert torch.equal(n["defective"], n["escaped"] + n["rejected"] - n["false_rejects"])
    assert int(n["passed"][:, -1].min()) > 5


def test_the_belt_travels_as_its_roller_turns(lanes: Run) -> None:
    """At its set-point from the start: travel = v t + e sin(2 pi v t / turn)."""
    x = 0.5 * torch.as_tensor(lanes["belt.travel"].t, dtype=torch.float64)
    wanted = x + 5e-4 * torch.sin(2 * torch.pi * x / 0.3)
    assert torch.allclose(lanes["belt.travel"].values, wanted.expand(4, -1), rtol=0, atol=1e-9)


def test_a_lane_alone_is_the_lane_in_the_batch(lanes: Run) -> None:
    loop = machine(0.5).on(Inspection(CARD))
    alone = simulate(loop, until=6, ids=[2], every=1, seed=3, solver=SCENARIO.solver, record=RECORD)
    assert all(torch.equal(alone[name].values[0], lanes[name].values[2]) for name in RECORD)


@pytest.mark.parametrize("careful", [0.0, 1.0])
def test_without_verdicts_the_gate_lets_all_pass_or_none(careful: float) -> None:
    loop = machine(0.0, inference=10.0).on(Inspection(CARD), pending=64)
    run = simulate(loop, until=4, every=1, seed=1, solver=SCENARIO.solver, set={"gate.careful": careful}, record=RECORD)
    passed, rejected = (int(run[name].values[0, -1]) for name in ("passed", "rejected"))
    assert passed > 3 and rejected == careful * passed and int(run["late"].values[0, -1]) >= passed


def test_an_inspection_without_load_takes_the_sum_of_its_parts() -> None:
    loop = machine(0.0).on(Inspection(CARD))
    simulate(loop, until=3, every=1, seed=1, solver=SCENARIO.solver)
    found = schedule_of(loop, 0, 1).responses("inspect") / 1e6
    assert len(found) and np.allclose(found, 2 + 0.2 + 10 + 0.5)


def test_the_jet_hits_what_is_in_front_of_it() -> None:
    windows = np.array([[1.0, 1.01], [1.02, 1.2], [-1.0, -1.0]])
    assert hit(windows, 1.0) == pytest.approx([0.01, LENGTH - 0.02, 0.0])
