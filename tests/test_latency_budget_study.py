"""The study of latency: what it measures, how it goes on, and what it refuses."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.linalg import expm

from simdl import RK4, Block, Diagram, Output, State, derivative, linearise, simulate
from simdl.blocks import CartPole
from simdl.errors import ModelError, UsageError
from simdl.scenarios.latency_budget import linear, page
from simdl.scenarios.latency_budget.__main__ import main
from simdl.scenarios.latency_budget.cost import FORCE, STATES, Cost
from simdl.scenarios.latency_budget.loop import Balance
from simdl.scenarios.latency_budget.machine import machine
from simdl.scenarios.latency_budget.measurement import Point, costs
from simdl.scenarios.latency_budget.scenario import CARD, SCENARIO
from simdl.scenarios.latency_budget.study import study

LANES, SEED = 6, 3
STILL = {"load": 0.0, "jitter": 0.0}
SMALL = {
    "constant delay": ({**STILL, "sensing": 0.0}, {**STILL, "sensing": 0.06}, {**STILL, "sensing": 0.3}),
    "first come, first served": ({"load": 0.3},),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study") / "points.jsonl"


@pytest.fixture(scope="module")
def points(kept: Path) -> list[Point]:
    return study(LANES, SEED, kept, SMALL, shown=False)


class Decaying(Diagram):
    """Three states that decay at three rates, and their cost."""

    total = Output()

    def __init__(self) -> None:
        self.x, self.omega, self.force = Decay(rate_of=0.5), Decay(rate_of=1.0), Decay(rate_of=2.0)
        self.cost = Cost()
        self.cost.x, self.cost.omega, self.cost.force = self.x.y, self.omega.y, self.force.y
        self.cost.v, self.cost.theta = 0.0 * self.x.y, 0.0 * self.x.y
        self.total = self.cost.total


class Decay(Block):
    """y' = -a y, y(0) = 1."""

    y = State(1.0)

    def __init__(self, rate_of: float) -> None:
        self.a = rate_of

    @derivative(y)
    def fall(self, y):
        return -self.a * y


def test_the_cost_of_decaying_states_is_the_integral_of_their_exponentials() -> None:
    """w exp(-2 a t), integrated: w (1 - exp(-2 a T)) / (2 a)."""
    run = simulate(Decaying(), until=3, every=3, solver=RK4(max_step="5 ms"))
    wanted = sum(weight * (1 - math.exp(-2 * a * 3)) / (2 * a)
                 for weight, a in ((STATES[0], 0.5), (STATES[3], 1.0), (FORCE, 2.0)))  # fmt: skip
    assert float(run["total"].values[0, -1]) == pytest.approx(wanted, rel=1e-9)


def test_the_cost_of_a_lane_is_its_trace_integrated() -> None:
    """The force holds for each millisecond, the states are smooth: exact sums of it, Simpson's rule for them."""
    loop = machine(load=0.3).on(Balance(CARD), horizon="0.4 s")
    names = ["plant.x", "plant.v", "plant.theta", "plant.omega", "force", "cost"]
    run = simulate(loop, until=0.4, every=0.0005, set={"plant.theta": 0.1}, seed=2, record=names,
                   solver=SCENARIO.solver)  # fmt: skip
    *states, force, cost = (run[name].values[0].numpy() for name in names)
    rate = sum(q * x**2 for q, x in zip(STATES, states))
    simpson = (rate[:-2:2] + 4 * rate[1:-1:2] + rate[2::2]).sum() * 0.001 / 6
    assert cost[-1] == pytest.approx(simpson + FORCE * (force[:-1:2] ** 2).sum() * 0.001, rel=1e-6)
    assert cost[0] == 0 and np.all(np.diff(cost) > 0)


def test_a_delay_costs_and_a_lane_that_fell_counts_as_infinitely_dear(points: list[Point]) -> None:
    near, far, fell, shared = points
    assert 1.0 < near.cost[1] < 1.05 < 1.3 < far.cost[1]  # 4.8 ms, and 64.8 ms
    assert near.cost[1] < shared.cost[1] < far.cost[1]
    assert (near.fallen, near.held) == (0, LANES) and (fell.fallen, fell.held) == (LANES, 0)
    assert fell.cost == (math.inf,) * 3 and all(m == (-math.inf,) * 3 for m in fell.margins.values())
    assert all(a[1] >= b[1] for a, b in zip(near.margins.values(), far.margins.values()))


def test_a_point_is_the_campaign_on_its_machine(points: list[Point]) -> None:
    """Response times, cost and margins as they come out one by one, without shared schedules and sizes of tables."""
    point = points[-1]
    campaign, cost = costs(machine(load=0.3), LANES, SEED)
    undelayed = costs(None, LANES, SEED)[1]
    assert point.cost == pytest.approx(np.quantile(cost / undelayed, (0.25, 0.5, 0.75), method="inverted_cdf"))
    for name, (low, mid, _) in point.margins.items():
        values = campaign.margins[name].sort().values.tolist()
        assert (low, mid) == (values[1], values[2])  # the second and third of six
    times = [machine(load=0.3).schedule("10 s", SEED, lane).responses("control") for lane in range(LANES)]
    assert point.responses == pytest.approx(np.percentile(np.concatenate(times) / 1e9, (50, 99)))
    assert point.held == int(torch.stack(list(campaign.margins.values())).amin(0).gt(0).sum())


def test_a_rate_has_the_bounds_of_clopper_and_pearson() -> None:
    """Of n lanes that all hold, the bound p of 95 % has p^n = 0.025."""
    point = Point("", {}, 40, 0, (0.0, 0.0), 40, 0, (1.0, 1.0, 1.0), {})
    assert point.rate == (1.0, pytest.approx(0.025 ** (1 / 40)), 1.0)
    assert replace(point, held=0).rate == (0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / 40)))


def test_an_interrupted_study_goes_on(points: list[Point], tmp_path: Path) -> None:
    class Stop(float):
        """A delay at which somebody presses Ctrl-C."""

        def __ge__(self, other: object) -> bool:
            raise KeyboardInterrupt

    kept, (first, *rest) = tmp_path / "points.jsonl", SMALL["constant delay"]
    stopped = {"constant delay": (first, {**STILL, "sensing": Stop(0.06)}, *rest[1:])}
    with pytest.raises(KeyboardInterrupt, match=r"1 of 3 points are measured and kept in .*; the same command goes on"):
        study(LANES, SEED, kept, stopped, shown=False)
    assert len(kept.read_text().splitlines()) == 1
    again = study(LANES, SEED, kept, {"constant delay": (first, rest[0])}, shown=False)
    assert again == points[:2] and len(kept.read_text().splitlines()) == 2


def test_processes_measure_the_same_points(points: list[Point]) -> None:
    few = {"constant delay": SMALL["constant delay"][:2]}
    assert study(LANES, SEED, series=few, shown=False, workers=2) == points[:2]


def test_what_is_kept_is_read_and_not_measured_again(points: list[Point], kept: Path) -> None:
    before = kept.read_bytes()
    assert study(LANES, SEED, kept, SMALL, shown=False) == points
    assert kept.read_bytes() == before
    assert [json.loads(line)["cost"][1] for line in kept.read_text().splitlines()][2] is None  # JSON has no infinity


def test_points_of_other_lanes_and_damaged_ones_are_refused(points: list[Point], kept: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="points of 6 lanes, seed 3(.|\n)*7 lanes, seed 3"):
        study(LANES + 1, SEED, kept, SMALL)
    torn = tmp_path / "points.jsonl"
    torn.write_text(kept.read_text()[:-30])
    with pytest.raises(UsageError, match="line 4: not a point"):
        study(LANES, SEED, torn, SMALL)


def test_the_page_says_what_fell_and_how_sure_it_is(points: list[Point], tmp_path: Path) -> None:
    page.write(points, tmp_path, "the command", ["simdl 1"])
    text = (tmp_path / "README.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| c")]
    heads, near, _, fell = rows
    assert near[5:7] == ["100 (54 to 100)", "0"]
    assert fell[5:8] == ["0 (0 to 46)", "6", "∞ (∞ to ∞)"] and set(fell[8:]) == {"fallen"}
    assert len(heads) == len(near) and "the command" in text
    assert (tmp_path / "margins.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lanes", "0", "--out", "new"], "0 is not in the range"),
        (["--lanes", "many", "--out", "new"], "not a valid integer"),
        (["--seed", "-1", "--out", "new"], "-1 is not in the range"),
        (["--workers", "0", "--out", "new"], "0 is not in the range"),
        (["--lane", "3", "--out", "new"], "No such option"),
        (["--out", "file"], "is a file"),
        ([], "Missing option '--out'"),
        (["--out", "others"], "not a point"),
    ],
)
def test_wrong_arguments_are_refused_in_words(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("others").mkdir()
    Path("others/points.jsonl").write_text("{}\n")
    result = CliRunner().invoke(main, ["study", *arguments])
    assert result.exit_code == 2 and said in result.output
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"load": -0.1}, "machine: load"),
        ({"load": math.nan}, "machine: load"),
        ({"sensing": math.inf}, "machine: sensing"),
        ({"jitter": 1.5}, "machine: jitter"),
        ({"sensing": 0.01, "wander": 0.02}, "at most the delay"),
    ],
)
def test_machines_that_cannot_be_are_refused(given: dict[str, float], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        machine(**given)


def test_the_delay_margin_is_that_of_a_loop_stepped_by_the_millisecond() -> None:
    """x held over 1 ms steps; every 20 ms u = K x is queued, and acts so many milliseconds later."""
    K = linear.gain()
    plant = linearise(CartPole(), [0.0] * 4, [0.0])
    flow = expm(np.block([[plant.A.numpy(), plant.B.numpy()], [np.zeros((1, 5))]]) * 1e-3)

    def grows(delay: int) -> bool:
        held = -(-delay // 20) + 1  # the force that acts, and those on their way
        total = np.eye(4 + held)
        for k in range(20):
            step = np.eye(4 + held)
            if k == 0:  # a new one at the end of the queue
                step[4:] = np.roll(np.eye(4 + held)[4:], -1, axis=0)
                step[-1] = 0.0
                step[-1, :4] = K.numpy()
            acts = held - 1 - (delay - k + 19) // 20 if delay > k else held - 1
            move = np.eye(4 + held)
            move[:4, :4], move[:4, 4 + acts] = flow[:4, :4], flow[:4, 4]
            total = move @ step @ total
        return np.abs(np.linalg.eigvals(total)).max() >= 1

    first = next(delay for delay in range(1, 200) if grows(delay))
    assert 0.05 < linear.delay_margin({}, K) < 0.12
    assert linear.delay_margin({}, K) == pytest.approx(first / 1e3, abs=1.01e-3)
