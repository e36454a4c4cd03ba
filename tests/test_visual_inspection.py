"""The line of visual_inspection: every part is counted once, in time or late, and the computers keep their times."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from simdl import Diagram, Run, simulate
from simdl.computer import schedule_of
from simdl.errors import ModelError
from simdl.networks import load
from simdl.scenarios.visual_inspection.camera import STRETCH
from simdl.scenarios.visual_inspection.gate import BAD, LENGTH, RING, UNKNOWN
from simdl.scenarios.visual_inspection.line import NEAR
from simdl.scenarios.visual_inspection.look import PLACE
from simdl.scenarios.visual_inspection.machine import machine
from simdl.scenarios.visual_inspection.network import inspector
from simdl.scenarios.visual_inspection.oracle import oracle
from simdl.scenarios.visual_inspection.outlet import COUNTS, GRIP, hit
from simdl.scenarios.visual_inspection.parts import OK, draw
from simdl.scenarios.visual_inspection.scenario import CARD, SCENARIO
from simdl.scenarios.visual_inspection.system import FARTHEST, Inspection, Ticket

RECORD = [*COUNTS, "late", "line.number", "belt.travel"]
TRACES = [*RECORD, "outlet.decided", "line.fronts", "line.kinds", "gate.windows", "jet"]


@pytest.fixture(scope="module")
def lanes() -> Run:
    loop = machine(0.5).on(Inspection(CARD))
    return simulate(loop, until=3, lanes=4, every=1, seed=3, solver=SCENARIO.solver, record=RECORD)


def test_every_part_is_counted_once(lanes: Run) -> None:
    n = {name: lanes[name].values for name in COUNTS}
    assert torch.equal(n["passed"], n["good"] + n["escaped"] + n["rejected"])
    assert torch.equal(n["defective"], n["escaped"] + n["rejected"] - n["false_rejects"])
    assert int(n["passed"][:, -1].min()) > 2


def test_the_belt_travels_as_its_roller_turns(lanes: Run) -> None:
    """At its set-point from the start: travel = v t + e sin(2 pi v t / turn)."""
    x = 0.5 * torch.as_tensor(lanes["belt.travel"].t, dtype=torch.float64)
    wanted = x + 5e-4 * torch.sin(2 * torch.pi * x / 0.3)
    assert torch.allclose(lanes["belt.travel"].values, wanted.expand(4, -1), rtol=0, atol=1e-9)


def test_a_lane_alone_is_the_lane_in_the_batch(lanes: Run) -> None:
    loop = machine(0.5).on(Inspection(CARD))
    alone = simulate(loop, until=3, ids=[2], every=1, seed=3, solver=SCENARIO.solver, record=RECORD)
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


@cache
def known(load: float, inference: float) -> Diagram:
    """The line with an inspector that errs never."""
    return machine(load, inference=inference).on(Inspection(oracle()), pending=64)


def traced(loop: Diagram, until: float, seed: int, **columns: list[float]) -> Run:
    names = {"flow": "supply.flow", "speed": "belt.target", "fraction": "supply.fraction", "careful": "gate.careful"}
    set_to = {names[name]: torch.tensor(values, dtype=torch.float64) for name, values in columns.items()}
    return simulate(loop, until=until, every=0.02, seed=seed, solver=SCENARIO.solver, set=set_to, record=TRACES)


def came(run: Run, lane: int) -> list[tuple[float, int]]:
    """Every part that came to the camera: the travel at which its front is at the nozzle, and its defect."""
    number, fronts, kinds = (run[f"line.{name}"].values[lane] for name in ("number", "fronts", "kinds"))
    first = [int((number >= k).nonzero()[0]) for k in range(1, int(number[-1]) + 1)]
    return [(float(fronts[at, k % RING]), int(kinds[at, k % RING])) for k, at in enumerate(first, 1)]


def opened(run: Run, lane: int) -> np.ndarray:
    """The windows of travel in which the jet was to blow."""
    windows = np.unique(run["gate.windows"].values[lane].flatten(0, 1).numpy(), axis=0)
    return windows[windows[:, 1] > 0]


@pytest.fixture(scope="module")
def perfect() -> Run:
    """In time, at other rates and speeds of the belt."""
    return traced(
        known(0.0, 0.01), 3, 5, flow=[2.0, 5.0, 20.0, 20.0, 6.0], speed=[0.3, 0.5, 0.3, 0.5, 0.8], fraction=[0.5] * 5
    )


def test_with_a_perfect_inspector_in_time_nothing_escapes_and_nothing_good_is_lost(perfect: Run) -> None:
    last = {name: perfect[name].values[:, -1] for name in (*COUNTS, "late")}
    assert int(last["late"].sum()) == int(last["escaped"].sum()) == int(last["false_rejects"].sum()) == 0
    assert torch.equal(last["rejected"], last["defective"]) and int(last["defective"].min()) > 1
    assert torch.equal(last["good"], last["passed"] - last["defective"]) and int(last["good"].min()) > 1


def test_the_jet_blows_at_all_of_a_bad_part_and_at_no_neighbour(perfect: Run) -> None:
    for lane in range(5):
        windows, travel = opened(perfect, lane), float(perfect["belt.travel"].values[lane, -1])
        parts = [(front, kind) for front, kind in came(perfect, lane) if front + LENGTH < travel]
        assert len(windows) >= sum(kind != OK for _, kind in parts)
        for front, kind in parts:
            most = float(hit(windows, front).max(initial=0.0))
            assert most == pytest.approx(LENGTH) if kind != OK else most < GRIP


def test_the_jet_blows_within_its_windows_alone(perfect: Run) -> None:
    for lane in range(5):
        windows, at = opened(perfect, lane), perfect["belt.travel"].values[lane].numpy()
        inside = ((at[:, None] >= windows[:, 0]) & (at[:, None] < windows[:, 1])).any(1)
        assert np.array_equal(perfect["jet"].values[lane].numpy() > 0, inside)


LANE = st.tuples(st.floats(0.5, 20.0), st.floats(0.2, 0.8), st.floats(0.0, 1.0), st.sampled_from([0.0, 1.0]))


@settings(max_examples=2, deadline=None)
@given(rows=st.lists(LANE, min_size=4, max_size=4), seed=st.integers(0, 99))
def test_no_part_is_lost_at_any_rate_and_speed_and_counts_are_those_of_the_traces(rows, seed: int) -> None:
    """In = passed + still on the belt, and what becomes of each part follows from its place and the jet's windows;
    here verdicts are often late."""
    columns = dict(zip(("flow", "speed", "fraction", "careful"), map(list, zip(*rows))))
    run = traced(known(0.5, 0.05), 1.6, seed, **columns)
    for lane, (*_, careful) in enumerate(rows):
        travel, windows = float(run["belt.travel"].values[lane, -1]), opened(run, lane)
        parts = came(run, lane)
        passed = [(front, kind) for front, kind in parts if front + LENGTH <= travel + NEAR]
        blown = [bool((hit(windows, front) >= GRIP).any()) for front, _ in passed]
        last = {name: int(run[name].values[lane, -1]) for name in (*COUNTS, "late", "line.number")}
        assert last["line.number"] == len(parts) == last["passed"] + len(parts) - len(passed)
        assert last["passed"] == last["good"] + last["rejected"] + last["escaped"]
        assert last["defective"] == sum(kind != OK for _, kind in passed)
        assert last["escaped"] == sum(kind != OK and not b for (_, kind), b in zip(passed, blown))
        assert last["false_rejects"] == sum(kind == OK and b for (_, kind), b in zip(passed, blown))
        decided = run["outlet.decided"].values[lane, -1]
        assert int(decided.sum()) == len(passed) and int(decided[UNKNOWN].sum()) <= last["late"]
        assert last["rejected"] == int(decided[BAD].sum() + careful * decided[UNKNOWN].sum())


def test_the_oracle_comes_into_the_slot_by_its_name() -> None:
    filled = SCENARIO.swap(inspector="simdl.scenarios.visual_inspection.oracle:oracle").build()
    assert "Oracle" in filled.describe() or any(type(b).__name__ == "Oracle" for b in filled.leaves())


def test_the_camera_sees_parts_of_the_size_that_the_belt_carries() -> None:
    random = np.random.default_rng(0)
    across = [2 * STRETCH * draw(random, 0, OK)[PLACE["radius"]] for _ in range(50)]
    assert np.mean(across) == pytest.approx(LENGTH, rel=0.03)


def test_parts_are_rejected_at_the_threshold_of_the_card() -> None:
    threshold = Ticket.declared()["threshold"].value  # type: ignore[union-attr]
    assert threshold == pytest.approx(load(CARD)[1].metrics["threshold"], abs=0.005)


@pytest.mark.parametrize("distance", [-1.0, 2 * FARTHEST])
def test_a_way_on_which_more_parts_lie_than_the_gate_remembers_is_refused(distance: float) -> None:
    with pytest.raises(ModelError, match="room for 16 parts"):
        Inspection(CARD, distance=distance)


def test_others_that_leave_nothing_of_the_accelerator_are_refused() -> None:
    with pytest.raises(ModelError, match="below 1"):
        machine(1.0)


def test_the_jet_hits_what_is_in_front_of_it() -> None:
    windows = np.array([[1.0, 1.01], [1.02, 1.2], [-1.0, -1.0]])
    assert hit(windows, 1.0) == pytest.approx([0.01, LENGTH - 0.02, 0.0])


def test_an_inspector_that_calls_all_parts_good_fails_in_a_quick_look() -> None:
    class Blind(torch.nn.Module):
        def forward(self, picture: torch.Tensor) -> torch.Tensor:
            good = torch.nn.functional.one_hot(torch.tensor(OK), 5).to(picture.dtype)
            return 9 * good + 0 * picture.sum((1, 2)).unsqueeze(1)

    study = SCENARIO.quickly().swap(inspector=inspector(Blind()))
    campaign = study.campaign(2, until=4, progress=False)
    assert campaign.count("at most one escape, and one in twenty", "fail") == 2
    assert campaign.count("no verdict is late", "pass") == 2
