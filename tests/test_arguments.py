"""What a run is given: every bad value is one clear error at once, at every entry point."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from simdl import (
    RK4,
    Block,
    Diagram,
    Input,
    ModelError,
    Output,
    Param,
    RunError,
    SimdlError,
    State,
    Tsit5,
    Uniform,
    monte_carlo,
    prepare,
    simulate,
    tick,
)
from simdl.blocks import Gain, Hold, Pendulum
from simdl.scenario import scenario

PENDULUM = Pendulum()
GOOD: dict[str, Any] = dict(until=1, inputs={"torque": 0.0}, solver=RK4(max_step=0.01), every=0.1)


def simulated(**given: Any) -> Any:
    return simulate(PENDULUM, given.pop("until"), **given)


def prepared(**given: Any) -> Any:
    return prepare(PENDULUM, given.pop("until"), **given)


def campaign(**given: Any) -> Any:
    return monte_carlo(PENDULUM, **{"space": {"mass": Uniform(0.7, 1.4)}, "lanes": 2, **given})


RUNS = (simulated, prepared, campaign)
BAD: dict[str, list[Any]] = {
    "until": [-1, math.nan, math.inf, None, "x", "1", True, [1], 1e10],
    "every": [-1, 0, math.nan, math.inf, "x", "0 s", True, [1], 1e-12],
    "lanes": [-1, 0, 2.5, math.nan, "3", True, [3]],
    "seed": [-1, 2.5, math.nan, None, "3", [1], True, 2**64],
    "threads": [0, 2.5, "2", True],
    "record": ["nope", 3, [3]],
    "inputs": [3, {"nope": 1}, {"torque": "a"}, {"torque": math.nan}, [("torque", 1)]],
    "set": [3, {"nope": 1}, {"mass": "a"}, {"mass": [1, "a"]}],
    "engine": ["x", None],
    "dtype": ["float64", torch.int64],
    "solver": ["RK4", RK4],
}
ALONE: dict[str, list[Any]] = {
    "ids": [[-1], [2.5], ["a"], 5, [math.nan], [[1, 2]], []],
    "checkpoint": [-1, 2.5, "x", None],
    "grad": ["x", 1],
    "strict": ["x", None],
    "device": ["nope", 3.5],
}
MANY: dict[str, list[Any]] = {
    "workers": [0, "2", 1.5], "first": [-1, 0.5], "shard": [0, "x"], "memory": [0, "x"], "space": [3],
    "requirements": [3, {"a": "nope("}],
}  # fmt: skip
CASES = [
    pytest.param(run, name, value, id=f"{run.__name__}-{name}-{str(value)[:20]}")
    for runs, table in ((RUNS, BAD), (RUNS[:2], ALONE), (RUNS[2:], MANY))
    for name, values in table.items()
    for value in values
    for run in runs
]


@pytest.mark.parametrize(("run", "name", "value"), CASES)
def test_what_cannot_be_is_refused(run: Callable[..., Any], name: str, value: Any) -> None:
    with pytest.raises(SimdlError) as error:
        run(**{**GOOD, name: value})
    assert str(error.value).count("\n") >= 1  # what was expected, or which names there are


@pytest.mark.parametrize("value", [-1, 0, math.nan, math.inf, "x", "0 ms", "-1 ms", [1], True])
@pytest.mark.parametrize("name", ["max_step", "first_step"])
def test_steps_that_cannot_be_are_refused(name: str, value: Any) -> None:
    kind = RK4 if name == "max_step" else Tsit5
    with pytest.raises(SimdlError, match=name):
        kind(**{name: value})


@pytest.mark.parametrize("given", [{"rtol": "x"}, {"rtol": True}, {"atol": None}, {"max_steps": 2.5}, {"max_steps": 0}])
def test_tolerances_that_cannot_be_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(RunError, match=next(iter(given))):
        Tsit5(**given)


@pytest.mark.parametrize("given", [{"lane": -1}, {"lane": "x"}, {"seed": -1}, {"set": 3}, {"until": "x"}])
def test_a_scenario_refuses_them_too(given: dict[str, Any]) -> None:
    study = scenario("battery_soc").quickly()
    with pytest.raises(SimdlError):
        study.run(**given) if "until" not in given else study.campaign(1, **given)


class Fast(Diagram):
    """A block that ticks every millisecond."""

    y = Output()

    def __init__(self) -> None:
        self.hold = Hold(period="1 ms")
        self.hold.u = 1.0
        self.y = self.hold.y


@pytest.mark.parametrize("run", RUNS)
def test_a_record_beyond_memory_says_its_size_and_the_way_out(run: Callable[..., Any]) -> None:
    with pytest.raises(RunError, match=r"1e\+18 times × 3 numbers.*\n.*memory of this machine\n  fix: a larger every="):
        run(**{**GOOD, "until": 1e9, "every": 1e-9})


def test_a_prepared_run_of_too_many_instants_says_so() -> None:
    with pytest.raises(RunError, match=r"1e\+12 instants in one call.*\n.*memory.*\n  fix: a shorter until"):
        prepare(Fast(), 1e9, every=1e6, engine="native")


def test_lanes_beyond_memory_are_refused() -> None:
    with pytest.raises(RunError, match="fix: monte_carlo runs lanes in shards"):
        simulated(**{**GOOD, "lanes": 10**12})


class Typed(Block):
    """Shows a whole number, a truth value, a byte, and what comes in."""

    u = Input(dtype="int64", default=0)
    n, seen = State(0, dtype="int64"), Output()
    k: Param = Param(3, dtype="int64")
    b: Param = Param(True, dtype="bool")
    byte: Param = Param(0, dtype="uint8")

    @tick
    def go(self, n, u, k, b, byte):  # type: ignore[no-untyped-def]
        return dict(n=n + 1, seen=(n + u + k + b + byte).to(torch.float64))


class Outer(Diagram):
    """Passes half of its parameter on as a whole number."""

    seen = Output()
    twice: Param = Param(4.0)

    def __init__(self) -> None:
        self.typed = Typed(k=self.twice / 2, period="1 s")
        self.seen = self.typed.seen


def shown(model: Any, **given: Any) -> float:
    return float(simulate(model, 0, **given)["seen"].values[0, 0])


@pytest.mark.parametrize("name", ["k", "n"])
@pytest.mark.parametrize("value", [2.5, [1, 2.5], torch.tensor([2.5]), math.inf, 1e300])
def test_a_whole_number_is_not_truncated(name: str, value: Any) -> None:
    with pytest.raises(SimdlError, match=r"(2\.5|inf|1e\+300)\n  expected: a whole number \(int64\)"):
        simulate(Typed(period="1 s"), 1, set={name: value})


def test_nor_when_the_block_is_made_or_a_formula_or_a_wire_gives_it() -> None:
    with pytest.raises(ModelError, match=r"Typed\.k: 2\.5\n  expected: a whole number"):
        Typed(k=2.5, period="1 s")
    with pytest.raises(RunError, match=r"typed\.k: 2\.5\n  expected: a whole number"):
        simulate(Outer(), 1, set={"twice": 5.0})
    with pytest.raises(RunError, match=r"inputs\['u'\]: 1\.5\n  expected: a whole number"):
        simulate(Typed(period="1 s"), 1, inputs={"u": ([0.0, 1.0], [1.5, 2.0])})
    with pytest.raises(ModelError, match=r"b: 2\n  expected: true or false"):
        Typed(b=2, period="1 s")
    with pytest.raises(ModelError, match=r"byte.*: 300\n  expected: a whole number \(uint8\)"):
        simulate(Typed(period="1 s"), 1, set={"byte": 300})


def test_a_float_that_is_whole_is_that_number() -> None:
    assert shown(Typed(period="1 s"), set={"k": 2.0, "n": torch.tensor([7.0])}) == 2 + 7 + 1
    assert shown(Typed(k=5.0, b=1.0, period="1 s"), inputs={"u": ([0.0], [2.0])}) == 5 + 1 + 2
    assert shown(Outer(), set={"twice": 6.0}) == 3 + 1


@pytest.mark.parametrize("label", ["a.b", "."])
def test_a_block_with_a_dot_in_its_name_is_refused(label: str) -> None:
    class Loop(Diagram):
        def __init__(self, many: bool) -> None:
            block = Gain(k=2.0)
            block.u = 1.0
            setattr(self, "all" if many else label, {label: block} if many else block)

    for many in (False, True):
        with pytest.raises(ModelError, match=r"Loop: a block named '.*'\n  expected: a name without dots"):
            simulate(Loop(many), 1)
