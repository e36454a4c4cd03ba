"""Building requirements over ports, what is refused before a run, and trees that are large."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from simdl import Block, Diagram, Input, Output, RequirementError, State, derivative
from simdl.requirements import Verdict, all_of, always, any_of, changes, eventually, requirement
from tests.requirements_definition import check

# Ports, formulas over them, and before the run.


class Tank(Block):
    inflow = Input(unit="m3/s")
    level, temperature = State(1.0, unit="m"), State(20.0, unit="degC")

    @derivative(level, temperature)
    def motion(self, inflow: Tensor, level: Tensor) -> Any:
        return inflow - 0.1 * level, 0 * level


class Plant(Diagram):
    r, y = Input(), Output()

    def __init__(self) -> None:
        self.tank = Tank()
        self.tank.inflow = self.r
        self.y = self.tank.level


def test_python_and_text_give_the_same_tree() -> None:
    plant = Plant()
    written = requirement("eventually[0:3](always[0:0.5](abs(y) < 0.15)) and not (tank.level ** 2 / 2 > 1 - r)")
    built = eventually(always(abs(plant.y) < 0.15, for_=0.5), within=3) & ~(plant.tank.level**2 / 2 > 1 - plant.r)
    assert built == written and hash(built) == hash(written) and str(built) == str(written)
    assert built.signals() == (plant.y, plant.tank.level, plant.r) and written.signals() == ("y", "tank.level", "r")
    assert built != always(plant.y < 1) and built != "always"


def test_formulas_of_every_kind() -> None:
    plant = Plant()
    level = plant.tank.level
    phi = always(((level > 1) & (plant.y < 2)) | ~(torch.where(level > 0, torch.sin(level), -level % 2) >= plant.r))
    chosen = "where(tank.level > 0, sin(tank.level), -tank.level % 2)"
    assert str(phi) == f"always(tank.level > 1 and y < 2 or not ({chosen} >= r))"
    assert requirement((level > 1) & always(plant.y < 1)) == requirement("tank.level > 1 and always(y < 1)")
    assert always(level > 1) | (plant.y < 1) == any_of(always(level > 1), plant.y < 1)
    assert str(requirement(torch.maximum(level, plant.y)[1] < torch.tensor(2.0))) == "max(tank.level, y)[1] < 2"
    assert str(always(changes(plant.y > 0, "1 s") <= 2)) == "always(changes[0:1](y > 0) <= 2)"


def test_reading_is_by_the_port() -> None:
    plant, seen = Plant(), []

    def read(signal: Any) -> Tensor:
        seen.append(signal)
        return torch.zeros(1, 3)

    always((plant.y < 1) & (plant.y > -1)).margin(read, 1, 3)
    assert seen == [plant.y]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: always(p.y + 1), "y \\+ 1: a number\n  expected: a condition\n  fix: compare it, as in y \\+ 1 < 1"),
        (lambda p: always(3), "3: a number"),
        (lambda p: always(True), "requirement: True"),
        (lambda p: always(p), "Plant"),
        (lambda p: always(p.y < math.nan), "the constant nan"),
        (lambda p: always(p.y < math.inf), "the constant inf"),
        (lambda p: always((p.y < 1) + 1 < 2), r"y < 1: a condition\n  expected: a number\n  fix: write where\("),
        (lambda p: always(p.y < 1, within=(5, 2)), r"within=\(5, 2\): a window that ends before it starts"),
        (lambda p: always(p.y < 1, within=(-1, 2)), "a window that starts in the past"),
        (lambda p: always(p.y < 1, within=1 / 3), "a whole number of nanoseconds"),
        (lambda p: always(p.y < 1, within="soon"), "'soon' is not a time"),
        (lambda p: always(p.y < 1, within=1, for_=1), "both within=1 and for_=1"),
        (lambda p: all_of(), "no requirement"),
        (lambda p: always(p.y[0:2] < 1), "a slice"),
        (lambda p: always(torch.matmul(p.y, p.y) < 1), r"matmul\(…\): cannot stand in a requirement"),
        (lambda p: always(p.y < torch.zeros(3)), "Tensor"),
        (lambda p: requirement("always(q < 1)").check(1, names="pr"), "no signal 'q'\n    always.q < 1.\n {11}\\^"),
        (lambda p: requirement("always(tank.levle < 1)").check(1, names=["tank.level"]), "did you mean: tank.level"),
        (lambda p: always(p.y < 1, 5).check(4), "windows reach to 5 s; the run ends at 4 s"),
        (lambda p: always(eventually(p.y < 1, 3), 2).check(4.9), "reach to 5 s; the run ends at 4.9 s"),
        (lambda p: always(p.tank.level < p.tank.temperature).check(4), "tank.level in m and tank.temperature in degC"),
        (lambda p: requirement("x + z < 1").check(4, names={"x": "V", "z": "A"}), "x in V and z in A"),
    ],
)  # fmt: skip
def test_what_is_refused_before_a_run(make: Any, message: str) -> None:
    with pytest.raises(RequirementError, match=message):
        make(Plant())


def test_units_that_fit() -> None:
    plant = Plant()
    level, warmth = plant.tank.level, plant.tank.temperature
    always((abs(level - 1) < level) & (2 * warmth < level * warmth) & (plant.y < level)).check(1)
    always(eventually(level < 1, 3), 2).check(5, every=0.5, names=["tank.level", "y"])


def test_horizon_adds_nested_windows() -> None:
    assert requirement("always[1:2](a < 1 until[0:3] eventually[0:0.5](b > 0)) and c < 1").horizon == 5.5
    assert requirement("always[2:inf](eventually[0:1](a < 1))").horizon == 3
    assert requirement("a < 1").horizon == 0
    assert requirement("always[0:1e9](always[0:1e9](a < 1))").horizon == 2e9


def test_a_requirement_does_not_change_and_travels() -> None:
    phi = always(Plant().y < 1, within=2)
    with pytest.raises(AttributeError, match="does not change"):
        phi.op = "eventually"  # type: ignore[misc]
    with pytest.raises(TypeError, match="true or false of a run only"):
        bool(phi)
    assert pickle.loads(pickle.dumps(phi)) == copy.deepcopy(phi) == copy.copy(phi) == phi
    assert len({phi, requirement(str(phi))}) == 1


def test_shared_parts_are_worked_out_once() -> None:
    phi = requirement("x < 1 or x > 2")
    for _ in range(60):
        phi = (phi & always(phi)) | ~phi  # written out: 3 ** 60 comparisons
    assert phi.nodes < 500 and len(str(phi)) < 1_100_000
    assert phi == pickle.loads(pickle.dumps(phi))
    assert check(phi, x=[0.0, 3.0]).of(0) is Verdict.PASS


def test_the_number_of_nodes_is_limited() -> None:
    many = [requirement(f"x < {i}") for i in range(60_000)]
    with pytest.raises(RequirementError, match="more than 100000 nodes"):
        all_of(*many).check(1)


def test_text_stands_for_a_requirement_in_the_python_form() -> None:
    assert "a < 1" & always("b < 1") == requirement("a < 1 and always(b < 1)")
    assert "a < 1" | always("b < 1") == always("b < 1").__ror__("a < 1") == requirement("a < 1 or always(b < 1)")
    assert repr(always("b + 1 < 1").args[0].args[0]) == "<term b + 1>"


def test_depth_is_limited_by_an_error_and_not_by_the_stack() -> None:
    phi = requirement("x < 1")
    for _ in range(9_990):
        phi = ~phi
    assert check(phi, x=[0.0]).values.item() == 1 and pickle.loads(pickle.dumps(phi)) == phi and str(phi)
    with pytest.raises(RequirementError, match="nested deeper than 10000 levels"):
        for _ in range(20):
            phi = ~phi
    y = Plant().y
    signal = y + 1
    for _ in range(20_000):
        signal = signal + 1
    with pytest.raises(RequirementError, match="nested deeper"):
        requirement(signal < 1)
