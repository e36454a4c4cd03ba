"""The benchmarks' protocol: tools in processes of their own run the workloads and agree with the reference."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cases import WORKLOADS, Case, cases
from benchmarks.data import Data
from benchmarks.environment import tools
from benchmarks.measure import Runner
from benchmarks.page import page
from benchmarks.process import Child
from benchmarks.reference import Outcome, disagreement, reference
from benchmarks.results import Results

compiler = pytest.mark.skipif(not (shutil.which("cc") or shutil.which("gcc")), reason="no C compiler")


def outcome(tool: str, case: Case, folder: Path) -> Outcome:
    """The end values of a tool that runs in this environment."""
    data = Data(folder / "data")
    data.prepare(case)
    with Child(tool, pin=False, cache=folder / "cache") as child:
        ready = child.prepare(case.to_json(), data.folder)
        assert "prepare" in ready, ready
        ran = child.run(save=folder / f"{tool}.npz")
        assert ran.get("cpu", -1.0) >= 0.0, ran
    with np.load(folder / f"{tool}.npz") as file:
        return {name: file[name] for name in file.files}


def short(workload: str, model: str) -> Case:
    """The case of one lane, cut to 0.1 s; the ball to its first impacts."""
    found = next(case for case in cases([workload]) if case.model == model)
    return replace(found, until=1.2 if model == "ball" else 0.1)


@compiler
@pytest.mark.parametrize("workload, model", [("W1", "cart_pole"), ("W3", "ball"), ("W3", "van_der_pol")])
def test_c_and_scipy_agree_with_the_reference_and_each_other(workload: str, model: str, tmp_path: Path) -> None:
    case = short(workload, model)
    wanted = reference(case, Data(tmp_path / "data"))
    c, scipy = outcome("c", case, tmp_path), outcome("scipy", case, tmp_path)
    assert wanted is not None
    assert disagreement(c, wanted) <= case.tolerance
    assert disagreement(scipy, wanted) <= case.tolerance
    assert disagreement(c, scipy) <= 2 * case.tolerance


@compiler
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_lanes_in_vectors_equal_lanes_one_by_one(dtype: str, tmp_path: Path) -> None:
    case = next(c for c in cases(["W2"], quick=True) if c.lanes > 1 and c.dtype == dtype)
    case = replace(case, lanes=21)  # no multiple of a vector
    one, many = outcome("c", case, tmp_path), outcome("c_simd", case, tmp_path)
    assert disagreement(many, one) <= (1e-12 if dtype == "float64" else 1e-5)


def test_a_child_survives_what_goes_wrong(tmp_path: Path) -> None:
    case, data = short("W1", "cart_pole"), Data(tmp_path / "data")
    data.prepare(case)
    with Child("scipy", pin=False) as child:
        assert "nothing is prepared" in child.run()["error"]
        assert child.prepare(replace(case, model="juggling").to_json(), data.folder)["skip"]
        assert "prepare" in child.prepare(case.to_json(), data.folder)
        child.process.kill()
        assert "ended" in child.run()["error"]


def test_a_wrong_trajectory_is_not_timed(tmp_path: Path) -> None:
    case = replace(short("W1", "cart_pole"), tolerance=0.0)  # nobody agrees to the last bit of another method
    results = Results(tmp_path / "out")
    runner = Runner(results, rounds=1, pin=False, say=lambda _: None)
    runner.data = Data(tmp_path / "data")
    runner.case(case, [replace(tools()["scipy"], install=())])
    entry = results.get(case, "scipy")
    assert entry["status"] == "disagrees" and "cpu" not in entry


@compiler
def test_finished_measurements_are_kept_and_shown(tmp_path: Path) -> None:
    case = short("W1", "cart_pole")
    results = Results(tmp_path / "out")
    runner = Runner(results, rounds=2, pin=False, say=lambda _: None)
    runner.data = Data(tmp_path / "data")
    runner.case(case, [tools()["c"], tools()["c_simd"]])
    again = Results(tmp_path / "out")
    assert again.finished(case, "c") and len(again.get(case, "c")["cpu"]) == 2
    assert again.get(case, "c_simd")["reason"] == "for many lanes"
    assert not again.finished(replace(case, until=0.2), "c")
    again.data["tools"] = {name: {"title": tool.title} for name, tool in tools().items()}
    assert "| C, scalar |" in page(again, [])


def test_ball_in_closed_form_has_the_bounces_of_its_height() -> None:
    """e = 0.7 from 1 m: impacts at t1 = 0.4515 s, then after 2 t1 e, 2 t1 e², …"""
    t1 = np.sqrt(2 / 9.81)
    data = Data(Path("unused"))
    data.__dict__["lanes"] = {"restitution": np.array([0.7])}
    case = short("W3", "ball")
    for count in range(4):
        end = t1 * (1 + 2 * sum(0.7**k for k in range(1, count))) + 1e-6 if count else 0.99 * t1
        found = reference(replace(case, until=float(end)), data)
        assert found is not None and found["bounces"][0] == count


def test_every_case_has_a_name_of_its_own_and_every_tool_a_file() -> None:
    for quick in (False, True):
        keys = [case.key for case in cases(WORKLOADS, quick=quick)]
        assert len(keys) == len(set(keys))
    models = {case.model for case in cases()}
    assert all(any(tool.has(model) for model in models) for tool in tools().values())
    assert not tools()["scipy"].has("gradient") and tools()["jax_checkpoint"].has("gradient")
