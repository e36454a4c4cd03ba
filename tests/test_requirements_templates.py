"""Ready-made requirements, on traces whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from simdl import RequirementError
from simdl.requirements import (
    Requirement,
    Verdict,
    bounds,
    eventually,
    no_chatter,
    overshoot,
    requirement,
    respond,
    rise,
    settle,
)
from tests.requirements_definition import check

DAMPING, FREQUENCY, EVERY, SAMPLES = 0.3, 2.0, 0.001, 8001


def step_response() -> torch.Tensor:
    """The step response of a second-order system, 8 s of it."""
    t = torch.arange(SAMPLES, dtype=torch.float64) * EVERY
    damped = FREQUENCY * math.sqrt(1 - DAMPING**2)
    decay = torch.exp(-DAMPING * FREQUENCY * t)
    return (1 - decay * (torch.cos(damped * t) + DAMPING * FREQUENCY / damped * torch.sin(damped * t)))[None]


def test_overshoot_is_that_of_the_formula() -> None:
    peak = math.exp(-math.pi * DAMPING / math.sqrt(1 - DAMPING**2))
    margin = check(overshoot("y", 1.0, at_most=0.4), every=EVERY, y=step_response())
    assert margin.values.item() == pytest.approx(0.4 - peak, abs=1e-6)
    time_of_peak = math.pi / (FREQUENCY * math.sqrt(1 - DAMPING**2))
    assert margin.at.item() * EVERY == pytest.approx(time_of_peak, abs=EVERY)


def test_overshoot_goes_with_the_direction_of_the_step() -> None:
    down = overshoot("y", -1.0, at_most=0.1)
    assert str(down) == "always(-1 - y <= 0.1)"
    assert check(down, y=[5.0, -1.05, -0.5]).values.item() == pytest.approx(0.05)
    moving = overshoot("y", "r", at_most=0.1, start="y0")
    given = {"y": [[0.0, 1.2], [0.0, -1.2]], "r": [[1.0, 1.0], [-1.0, -1.0]], "y0": [[0.0, 0.0]] * 2}
    assert check(moving, **given).values.tolist() == pytest.approx([-0.1, -0.1])


def test_settling_time_is_found_to_a_sample() -> None:
    y = step_response()
    outside = ((y[0] - 1).abs() > 0.05).nonzero().max().item()  # the last sample outside the band

    def verdict(within: float) -> Verdict:
        return check(settle("y", 1.0, tolerance=0.05, within=within), every=EVERY, y=y).of(0)

    assert verdict(round((outside + 1) * EVERY, 9)) is Verdict.PASS
    assert verdict(round(outside * EVERY, 9)) is Verdict.FAIL


def test_settling_for_a_while_is_less_than_for_good() -> None:
    y = [3.0, 1.0, 1.0, 1.0, 3.0, 3.0, 1.0]
    assert check(settle("y", 1, 0.1, within=2, for_=2), y=y).of(0) is Verdict.PASS
    assert check(settle("y", 1, 0.1, within=2), y=y).of(0) is Verdict.FAIL


def test_response_to_a_trigger() -> None:
    phi = respond("brake > 0.5", "v < 1", within=2)
    assert check(phi, brake=[0, 1, 1, 0, 0], v=[9, 9, 9, 0, 0]).of(0) is Verdict.PASS
    assert check(phi, brake=[0, 1, 1, 0, 0], v=[9, 0, 9, 9, 9]).of(0) is Verdict.FAIL
    assert check(phi, brake=[0, 0, 0, 0, 1], v=[9, 9, 9, 9, 9]).of(0) is Verdict.UNTESTED
    pressed = respond(rise("brake > 0.5"), "v < 1", within=2)
    assert check(pressed, brake=[0, 1, 1, 0, 0], v=[9, 0, 9, 9, 9]).of(0) is Verdict.PASS
    held = respond(requirement("always[0:1](brake > 0.5)"), "v < 1", within=(1, 2))
    assert check(held, brake=[1, 0, 1, 0, 1], v=[9] * 5).of(0) is Verdict.UNTESTED


def test_bounds_are_allowed_values() -> None:
    assert check(bounds("x", 0, 1), x=[0.0, 1.0]).of(0) is Verdict.PASS
    assert check(bounds("x", 0, 1), x=[0.0, 1.5]).values.item() == -0.5
    assert check(bounds("x", low="floor"), x=[1.0, 1.5], floor=[0.0, 1.4]).values.item() == pytest.approx(0.1)
    assert check(bounds("x", high=1, within=(1, None)), x=[9.0, 0.0]).of(0) is Verdict.PASS
    with pytest.raises(RequirementError, match="neither low nor high"):
        bounds("x")


def test_chatter_is_counted_in_every_stretch() -> None:
    steady, busy = [0, 0, 1, 1, 1, 0, 0, 0], [0, 1, 0, 1, 1, 1, 1, 1]
    margin = check(no_chatter("relay", 2, per=3), relay=[steady, busy])
    assert margin.values.tolist() == [1, -1]  # at most 1 change, and 3


@pytest.mark.parametrize(
    ("phi", "words"),
    [
        (bounds("x", -1, 1), "x stays between -1 and 1"),
        (bounds("x", low=2, within=5), "x stays at least 2 within 5 s"),
        (bounds("x", high=2, within=(5, None)), "x stays at most 2 from 5 s on"),
        (respond("brake > 0", "v < 1", 4), "whenever brake is above 0, then v is below 1 within 4 s"),
        (respond("brake", "v < 1", (1, 4)), "whenever brake, then v is below 1 from 1 s to 4 s later"),
        (settle("y", 1, 0.02, 3), "y is within 0.02 of 1 before 3 s and stays so to the end"),
        (settle("y", "r", 0.02, 3, "500 ms"), "y is within 0.02 of r before 3 s and stays so for 500 ms"),
        (overshoot("y", "r", 0.1), "y passes r by at most 0.1"),
        (no_chatter("relay", 3, "1 s"), "relay changes at most 3 times in any 1 s"),
    ],
)
def test_templates_speak_plainly_and_print_the_grammar(phi: Requirement, words: str) -> None:
    assert phi.describe() == words and repr(phi) == f"<requirement: {words}: {phi}>"
    assert requirement(str(phi)) == phi
    assert eventually(phi, 3).describe() == f"at some time within 3 s: ({words})"
