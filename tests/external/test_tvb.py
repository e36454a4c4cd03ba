"""Epileptor and Jansen-Rit column against values of The Virtual Brain.

The numbers come from `tvb_reference.json` in the folder SIMDL_CASES (default ../shared/cases): right-hand sides, and
what trajectories of some seconds do. The Virtual Brain counts in milliseconds, a run in seconds.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from simdl import RK4, Run, simulate
from simdl.blocks import Epileptor, JansenRit

ROOT = Path(__file__).resolve().parents[2]
CASES = Path(os.environ.get("SIMDL_CASES", ROOT.parent / "shared" / "cases"))
if not CASES.is_absolute():
    CASES = ROOT / CASES
FILE = CASES / "tvb_reference.json"

pytestmark = pytest.mark.skipif(not FILE.is_file(), reason=f"no external cases: {FILE} is absent (set SIMDL_CASES)")

STATES = ("x1", "y1", "z", "x2", "y2", "g")
POTENTIALS = ("y0", "y1", "y2", "v_y0", "v_y1", "v_y2")
# names of The Virtual Brain for the parameters of the blocks, where they differ
EPILEPTOR = {"x0": "x0", "i1": "Iext", "i2": "Iext2", "a": "a", "b": "b", "c": "c", "d": "d", "r": "r",
             "slope": "slope", "aa": "aa", "bb": "bb", "tau": "tau"}  # fmt: skip
JANSEN_RIT = {"p": "mu", "A": "A", "B": "B", "a": "a", "b": "b", "v0": "v0", "nu": "nu_max", "r": "r", "J": "J",
              "a1": "a_1", "a2": "a_2", "a3": "a_3", "a4": "a_4"}  # fmt: skip


def case(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text())[name]
    return found


def rates(block: Any, names: tuple[str, ...], at: list[float]) -> list[float]:
    """The derivatives in one millisecond."""
    given = {name: torch.tensor([value], dtype=torch.float64) for name, value in zip(names, at, strict=True)}
    for name in block.flow.__code__.co_varnames[1 : block.flow.__code__.co_argcount]:
        value = block.settings.get(name, 0.0)
        given.setdefault(name, torch.tensor([value], dtype=torch.float64))
    return [float(rate) / 1000.0 for rate in block.flow(**given)]


@pytest.mark.parametrize(
    ("name", "block", "names", "states"),
    [("epileptor", Epileptor, EPILEPTOR, STATES), ("jansen_rit", JansenRit, JANSEN_RIT, POTENTIALS)],
)
def test_defaults_and_right_hand_sides_are_those_of_the_virtual_brain(
    name: str, block: Any, names: dict[str, str], states: tuple[str, ...]
) -> None:
    reference = case(name)
    column = block()
    for own, its in names.items():
        assert column.settings[own] == reference["params"][its][0], own
    for at, wanted in reference["dfun"]:
        assert rates(column, states, at) == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@pytest.fixture(scope="module")
def seizures() -> Run:
    """3000 ms for two values of x0, in two lanes; the reference counts spikes in samples of 1 ms, which miss a few."""
    lanes = torch.tensor([-1.6, -2.2], dtype=torch.float64)
    return simulate(Epileptor(), 3, set={"x0": lanes}, solver=RK4(max_step=1e-4), every=1e-3, record=STATES)


@pytest.mark.slow
@pytest.mark.parametrize(("lane", "name", "spikes"), [(0, "traj_x0=-1.6", 167), (1, "traj_x0=-2.2", 0)])
def test_epileptor_bursts_or_stays_quiet(seizures: Run, lane: int, name: str, spikes: int) -> None:
    reference = case("epileptor")[name]
    x1 = seizures["x1"].values[lane]
    assert int(((x1[1:] > 0) & (x1[:-1] <= 0)).sum()) == reference["upcross_3000"] == spikes
    for key, t in (("y10", 0.01), ("y100", 0.1)):
        found = [float(seizures[state].at(t)[lane]) for state in STATES]
        assert found == pytest.approx(reference[key], rel=1e-4, abs=1e-4)


def test_jansen_rit_finds_its_rhythm() -> None:
    """Mean, range and frequency of the EEG from 2000 to 4000 ms, for four strengths of the input."""
    strengths = ("0.09", "0.12", "0.22", "0.3")
    lanes = torch.tensor([float(p) for p in strengths], dtype=torch.float64)
    run = simulate(JansenRit(), 4, set={"p": lanes}, solver=RK4(max_step=1e-3), every=1e-3)
    settled = run["eeg"].values[:, 2000:-1]
    spectrum = torch.fft.rfft(settled - settled.mean(dim=1, keepdim=True)).abs()
    for lane, strength in enumerate(strengths):
        reference = case("jansen_rit")[f"mu={strength}"]
        swing = float(settled[lane].max() - settled[lane].min())
        assert float(settled[lane].mean()) == pytest.approx(reference["mean"], rel=1e-3)
        assert swing == pytest.approx(reference["p2p"], rel=2e-3, abs=1e-6)
        if reference["peak_hz"] is not None:
            assert float(spectrum[lane].argmax()) / 2.0 == reference["peak_hz"]
