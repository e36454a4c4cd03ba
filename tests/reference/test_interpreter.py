"""The interpreter itself, against what can be worked out by hand."""

from __future__ import annotations

import math

import pytest

from tests.reference.expression import Expression
from tests.reference.interpreter import interpret
from tests.reference.moment import Loop
from tests.reference.noise import draw
from tests.reference.spec import Condition, Crossing, Experiment, Leaf, Nest

MS = 1_000_000
SECOND = 1000 * MS


def r(name: str) -> Expression:
    return ("read", name)


def servo(latency: int) -> Nest:
    plant = Leaf(
        "plant", inputs={"u": None}, states={"x": 0.0, "v": 0.0},
        derivative={"x": r("v"), "v": ("sub", r("u"), r("v"))},
    )  # fmt: skip
    area = ("mul", r("e"), r("dt"))
    pi = Leaf(
        "pi", inputs={"e": None}, states={"i": 0.0}, outputs={"u": 0.0}, period=20 * MS, latency=latency,
        tick={"i": ("add", r("i"), area), "u": ("add", ("scale", 4.0, r("e")), ("add", r("i"), area))},
    )  # fmt: skip
    wires = {"plant.u": r("pi.u"), "pi.e": ("sub", r("r"), r("plant.x"))}
    return Nest("", inputs=("r",), outputs={"y": r("plant.x")}, children=(plant, pi), wires=wires)


@pytest.mark.parametrize(("latency", "exact"), [(0, 1.20066844), (13, 1.22714606), (20, 1.24295970)])
def test_the_pi_loop_gives_the_numbers_of_its_matrix_exponential(latency: int, exact: float) -> None:
    record = interpret(Experiment(servo(latency * MS), 5 * SECOND, 5 * MS, inputs={"r": 1.0}))
    assert record.values["y"][-1] == pytest.approx(exact, abs=6e-9)


def test_a_bouncing_ball_keeps_to_its_closed_form() -> None:
    bounce = {"v": ("scale", -0.8, r("v"))}
    ball = Leaf(
        "ball", states={"h": 0.5, "v": 0.0}, derivative={"h": r("v"), "v": ("const", -9.81)},
        crossings={"floor": Crossing(r("h"), bounce)},
    )  # fmt: skip
    record = interpret(Experiment(Nest("", children=(ball,)), SECOND, 7 * MS))
    fall = math.sqrt(2 * 0.5 / 9.81)
    first, second = fall, fall * (1 + 2 * 0.8)
    assert [t for t, _ in record.events] == pytest.approx([first, second], rel=1e-13)
    speed = 9.81 * fall * 0.8**2
    assert record.values["ball.h"][-1] == pytest.approx(speed * (1 - second) - 9.81 / 2 * (1 - second) ** 2, rel=1e-12)


def test_past_the_zeno_time_a_ball_is_at_rest() -> None:
    moving = ("where", ("gt", r("rest"), ("const", 0.5)), ("const", 0.0), ("const", 1.0))
    ball = Leaf(
        "ball", states={"h": 0.1, "v": 0.0, "rest": 0.0},
        derivative={"h": ("mul", r("v"), moving), "v": ("scale", -9.81, moving)},
        crossings={"floor": Crossing(r("h"), {"v": ("scale", -0.5, r("v"))}, rest="rest")},
    )  # fmt: skip
    record = interpret(Experiment(Nest("", children=(ball,)), SECOND, 10 * MS))
    assert len(record.events) == 64
    assert record.final["ball.rest"] == 1.0
    assert record.values["ball.h"][-1] == pytest.approx(0.0, abs=1e-12)


def counter(**clock: int) -> Leaf:
    """Outputs 1, 2, 3, … at its ticks."""
    up = ("add", r("n"), ("const", 1.0))
    return Leaf("b", states={"n": 0.0}, outputs={"y": -1.0}, tick={"n": up, "y": up}, **clock)


def test_a_latency_longer_than_the_period_is_a_queue() -> None:
    record = interpret(Experiment(Nest("", children=(counter(period=10 * MS, latency=25 * MS),)), 50 * MS, MS))
    seen = dict(zip(record.times, record.values["b.y"]))
    assert {ns // MS: y for ns, y in seen.items()} == {0: -1, 10: -1, 20: -1, 25: 1, 30: 1, 35: 2, 40: 2, 45: 3, 50: 3}


def test_a_rational_clock_ticks_at_rounded_times() -> None:
    record = interpret(Experiment(Nest("", children=(counter(rate=30),)), 100 * MS, MS))
    assert record.times == [0, 33_333_333, 66_666_667, 100 * MS]


def test_a_state_port_shows_the_state_before_the_tick() -> None:
    record = interpret(Experiment(Nest("", children=(counter(period=10 * MS, offset=5 * MS),)), 30 * MS, MS))
    assert record.values["b.n"] == [0, 0, 1, 2, 2]
    assert record.values["b.y"] == [-1, 1, 2, 3, 3]


def test_a_disabled_counter_keeps_its_count_and_shows_what_was_chosen() -> None:
    for outputs, shown in (("hold", [1, 2, 2, 2, 3]), ("initial", [1, 2, -1, -1, 3])):
        on = Condition("enabled", ("gt", r("on"), ("const", 0.5)), outputs=outputs)
        leaf = Leaf(**{**vars(counter(period=10 * MS)), "conditions": (on,)})
        root = Nest("", inputs=("on",), children=(leaf,))
        given = ((0.0, 0.015, 0.035), (1.0, 0.0, 1.0))
        record = interpret(Experiment(root, 40 * MS, MS, inputs={"on": given}))
        ticks = [value for time, value in zip(record.times, record.values["b.y"]) if time % (10 * MS) == 0]
        assert ticks == shown


def test_a_reset_shows_at_the_instant_it_happens() -> None:
    back = Condition("resettable", ("gt", r("again"), ("const", 0.5)))
    leaf = Leaf("x", states={"x": 2.0}, derivative={"x": ("const", 1.0)}, conditions=(back,))
    root = Nest("", inputs=("again",), children=(leaf,))
    given = ((0.0, 0.01, 0.02), (0.0, 1.0, 1.0))
    record = interpret(Experiment(root, 30 * MS, MS, inputs={"again": given}))
    assert record.values["x.x"] == pytest.approx([2.0, 2.0, 2.01, 2.02])


def test_hits_come_at_their_own_times_and_count_their_own_noise() -> None:
    leaf = Leaf(
        "b", outputs={"y": 0.0}, noises={"w": "normal"}, first=0.004,
        hit={"y": ("add", r("w"), r("dt")), "next": ("const", 0.01)},
    )  # fmt: skip
    record = interpret(Experiment(Nest("", children=(leaf,)), 24 * MS, MS, seed=5))
    assert record.values["b.y"] == [0.0, pytest.approx(draw("normal", 5, "b.w", 0, 2) + 0.01)]


def test_a_triggered_block_sees_the_state_after_the_reset() -> None:
    plant = Leaf(
        "saw", states={"x": 0.0}, derivative={"x": ("const", 40.0)},
        crossings={"full": Crossing(("sub", ("const", 1.0), r("x")), {"x": ("const", 0.25)})},
    )  # fmt: skip
    when = Condition("triggered", r("saw.full"))
    seen = Leaf("see", inputs={"x": None}, outputs={"y": 0.0}, tick={"y": ("add", r("x"), r("t"))}, conditions=(when,))
    record = interpret(Experiment(Nest("", children=(plant, seen), wires={"see.x": r("saw.x")}), 30 * MS, 4 * MS))
    assert record.values["see.y"][-1] == pytest.approx(0.275, rel=1e-14)
    assert record.events == [(pytest.approx(0.025), "saw.full")]


def test_a_loop_is_found_when_it_is_asked_for() -> None:
    leaf = Leaf("b", inputs={"u": None}, methods={"y": (r("u"), None)})
    with pytest.raises(Loop):
        interpret(Experiment(Nest("", children=(leaf,), wires={"b.u": r("b.y")}), 10 * MS, MS))
