"""Loops with networks in them from the ARCH-COMP competition (AINNCS): where trajectories pass, and where they fail.

The networks lie in `nets/` of the folder SIMDL_CASES (default ../shared/cases); the expected values are those of
JuliaReach and of the competition's reports.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from simdl import Diagram, Tsit5, simulate
from simdl.blocks import TORA, DoublePendulum, Pendulum
from simdl.networks import open_network

ROOT = Path(__file__).resolve().parents[2]
CASES = Path(os.environ.get("SIMDL_CASES", ROOT.parent / "shared" / "cases"))
if not CASES.is_absolute():
    CASES = ROOT / CASES
NETS = CASES / "nets"

pytestmark = pytest.mark.skipif(not NETS.is_dir(), reason=f"no external cases: {NETS} is absent (set SIMDL_CASES)")

FINE = Tsit5(rtol=1e-9, atol=1e-11)
ENGINES = ["torch", "native"]
class Loop(Diagram):
    """A plant whose states a network reads, and whose inputs it drives, by u = (N - offset) scale."""

    def __init__(self, plant: Any, states: str, inputs: str, net: str, period: float, offset: float | None = None,
                 scale: float | None = None) -> None:  # fmt: skip
        names, driven = states.split(), inputs.split()
        self.plant = plant
        outputs = tuple(f"n{k}" for k in range(len(driven)))
        opened = open_network(NETS / f"{net}.polar", offset=offset, scale=scale)
        self.net = opened.block(period=period, inputs=tuple(f"s{k}" for k in range(len(names))), outputs=outputs)
        for k, name in enumerate(names):
            setattr(self.net, f"s{k}", getattr(plant, name))
        for k, name in enumerate(driven):
            setattr(plant, name, getattr(self.net, f"n{k}"))


def run(loop: Loop, states: str, start: list[float], until: float, engine: Any) -> Any:
    paths = [f"plant.{name}" for name in states.split()]
    begin = dict(zip(paths, start, strict=True))
    return simulate(loop, until, set=begin, record=paths, every=0.005, solver=FINE, engine=engine)


def end(found: Any, states: str, t: float) -> list[float]:
    return [float(found[f"plant.{name}"].at(t)[0]) for name in states.split()]


def single() -> Loop:
    plant = Pendulum(mass=0.5, length=0.5, damping=0.0, gravity=-1.0)
    return Loop(plant, "theta omega", "torque", "InvertedPendulum_controller", 0.05)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_single_pendulum_keeps_its_bounds_in_a_box_and_leaves_them_at_a_corner(engine: Any) -> None:
    grid = torch.cartesian_prod(torch.linspace(1.0, 1.175, 8), torch.linspace(0.0, 0.2, 5)).double()
    run_of_all = simulate(single(), 1, set={"plant.theta": grid[:, 0], "plant.omega": grid[:, 1]},
                          record=["plant.theta"], every=0.005, solver=FINE, engine=engine)  # fmt: skip
    found = run_of_all["plant.theta"].values[:, 100:]
    assert run_of_all.engine == engine
    assert float(torch.minimum(found, 1 - found).min()) == pytest.approx(0.0109605, abs=1e-4)
    corner = run(single(), "theta omega", [1.2, 0.2], 0.5, engine)
    assert end(corner, "theta", 0.5) == pytest.approx([1.0082864], abs=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_double_pendulum_leaves_its_bounds(engine: Any) -> None:
    states = "theta1 theta2 omega1 omega2"
    loop = Loop(DoublePendulum(), states, "torque1 torque2", "InvertedTwoLinkPendulum_controller_more_robust", 0.02)
    found = run(loop, states, [1.3] * 4, 0.4, engine)
    assert found.engine == engine
    assert end(found, states, 0.4) == pytest.approx([1.112177, 0.951129, -1.697533, -1.427021], abs=1e-3)
    worst = torch.stack([found[f"plant.{name}"].values[0].abs() for name in states.split()]).amax(dim=0)
    left = found["plant.theta1"].t[worst > 1.5]
    assert float(left[0]) == pytest.approx(0.3246, abs=0.005)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("net", "period", "numbers", "start", "until", "wanted"),
    [
        ("TORA_ReLU_controller", 1.0, {"offset": 10.0}, [0.65, -0.65, -0.35, 0.55], 20.0,
         [-0.0595581, -0.194442, 0.576900, -0.149637]),
        ("TORA_ReLUtanh_controller", 0.5, {"scale": 11.0}, [-0.76, -0.44, 0.525, -0.29], 5.0,
         [0.0804669, -0.789681, 0.0727001, 0.370833]),
    ],
)  # fmt: skip
def test_tora_ends_where_the_reference_does(
    net: str, period: float, numbers: dict[str, float], start: list[float], until: float, wanted: list[float],
    engine: Any,
) -> None:  # fmt: skip
    """The published maps are u = N - 10 and u = 11 N; the files say neither, which is noted."""
    states = "x v theta omega"
    assert any("MISMATCH" in note for note in open_network(NETS / f"{net}.polar", **numbers).notes)
    found = run(Loop(TORA(), states, "u", net, period, **numbers), states, start, until, engine)
    assert found.engine == engine
    assert end(found, states, until) == pytest.approx(wanted, abs=1e-3)
    assert all(float(found[f"plant.{name}"].values.abs().max()) < 2.0 for name in states.split())
