"""Verdicts, windows on the grid of samples, and what traces may be."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from simdl import RequirementError
from simdl.requirements import Verdict, always, requirement
from tests.requirements_definition import check

# Verdicts.


TRIGGERED = "always(a > 0 implies eventually[0:2](b > 0))"


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 1, 0, 0, 0], [0, 0, 1, 0, 0], Verdict.PASS),
        ([0, 1, 0, 0, 0], [1, 0, 0, 0, 1], Verdict.FAIL),
        ([0, 0, 0, 0, 0], [0, 0, 0, 0, 0], Verdict.UNTESTED),
        ([0, 0, 0, 1, 1], [0, 0, 0, 0, 0], Verdict.UNTESTED),  # the response may still come after the end
        ([1, 0, 1, 0, 0], [0, 0, 1, 0, 0], Verdict.PASS),
    ],
)
def test_trigger_and_response(a: list[int], b: list[int], expected: Verdict) -> None:
    assert check(TRIGGERED, a=a, b=b).of(0) is expected


P, F, U = "x < 1", "x > 1", "always(x > 1 implies x > 2)"  # of x = 0: pass, fail, untested


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{U}", Verdict.UNTESTED), (f"not ({U})", Verdict.FAIL),
        (f"({U}) and ({P})", Verdict.PASS), (f"({U}) and ({F})", Verdict.FAIL), (f"({U}) and ({U})", Verdict.UNTESTED),
        (f"({U}) or ({P})", Verdict.PASS), (f"({U}) or ({F})", Verdict.UNTESTED), (f"({F}) or ({F})", Verdict.FAIL),
        (f"({P}) implies ({U})", Verdict.UNTESTED), (f"({U}) implies ({P})", Verdict.PASS),
        (f"({F}) implies ({P})", Verdict.UNTESTED), (f"({F}) iff ({F})", Verdict.PASS),
        (f"({U}) iff ({U})", Verdict.UNTESTED), (f"eventually({U})", Verdict.UNTESTED),
        (f"always(({U}) or ({P}))", Verdict.PASS),
        (f"({P}) until ({U})", Verdict.UNTESTED), (f"({F}) until ({P})", Verdict.PASS),
    ],
)  # fmt: skip
def test_table_of_verdicts(text: str, expected: Verdict) -> None:
    assert check(text, x=[0.0, 0.0, 0.0]).of(0) is expected


def test_a_failed_lane_is_an_error_whatever_its_margin() -> None:
    margin = check("always(x < 1)", x=[[0.0, 0.0], [0.0, 0.0], [0.0, 2.0]], failed=[False, True, True])
    assert [margin.of(i) for i in range(3)] == [Verdict.PASS, Verdict.ERROR, Verdict.ERROR]
    assert margin.values.isnan().tolist() == [False, True, True] and margin.at.tolist() == [0, -1, -1]
    assert margin.reason(1) == "the lane failed, or the margin is not a number"
    assert (margin.overall, margin.count(Verdict.ERROR), margin.worst(3)) == (Verdict.ERROR, 2, [0])


def test_nan_is_an_error_where_a_window_sees_it_and_nowhere_else() -> None:
    x = [[0.0, 0.0, math.nan, 0.0]]
    seen = ("always(x < 1)", "eventually(x < 1)", "x < 1 until[0:3] x > 5", "x > 5 until x < -1", "always[2:2](x < 1)")
    for text in seen:
        assert check(text, x=x).of(0) is Verdict.ERROR
    for text in ("always[0:1](x < 1)", "always[3:inf](x < 1)", "x < 1 until[0:1] x < 0.5", "x < 1"):
        assert check(text, x=x).of(0) is Verdict.PASS
    assert check("always[1:2](where(x < 1, 0, 1) < 3)", x=x).of(0) is Verdict.PASS  # a NaN not chosen


@pytest.mark.parametrize(
    ("text", "expected"), [("x < 1", 3), ("x <= 1", 1), ("x == 1", 1), ("x != 1", 3), ("not (x < 1)", 1)]
)
def test_a_margin_of_zero_still_tells_less_from_at_most(text: str, expected: int) -> None:
    margin = check(text, x=[1.0])
    assert margin.values.item() == 0 and margin.verdict.item() == expected


def test_verdict_over_many() -> None:
    everything = list(Verdict)
    assert Verdict.of_all(everything) is Verdict.FAIL
    assert Verdict.of_all(v for v in everything if v != Verdict.FAIL) is Verdict.ERROR
    assert Verdict.of_all([0, 1, 0]) is Verdict.PASS
    assert Verdict.of_all([]) is Verdict.of_all([0, 0]) is Verdict.UNTESTED


# Windows on the grid.


@pytest.mark.parametrize("every", [0.1, "100 ms", 1e-9, 3600.0, 0.3])
def test_a_window_that_is_a_multiple_of_the_grid_takes_both_ends(every: Any) -> None:
    step = 0.1 if every == "100 ms" else every
    phi = always("x < 10", (2 * step, 5 * step))  # 3 * 0.1 != 0.3 and 5 * 0.3 != 1.5 in floats, not in nanoseconds
    traced = torch.arange(8.0, dtype=torch.float64)[None]
    margin = phi.margin(lambda _: traced, every, 8)
    assert margin.signal.tolist() == [[5.0, 4.0, 3.0]] and margin.at.tolist() == [5]


def test_a_window_off_the_grid_takes_the_samples_inside() -> None:
    assert check("eventually[0.9:2.1](x > 0)", x=[5.0, 0.0, 1.0, 9.0]).signal.tolist() == [[1.0, 9.0]]
    with pytest.raises(RequirementError, match=r"eventually\[0.1:0.9\].*no sample falls into the window at every=1 s"):
        check("eventually[0.1:0.9](x > 0)", x=[5.0, 0.0])
    with pytest.raises(RequirementError, match="no sample"):
        requirement("eventually[0.1:0.9](x > 0)").check(10, every=1)


def test_without_end_means_as_far_as_the_trace_decides_it() -> None:
    # "stays so for 2 s" is known of the samples 0 … 2 only: a last moment below 1 does not count as staying.
    margin = check("eventually(always[0:2](x < 1))", x=[2.0, 2.0, 2.0, 2.0, 0.0])
    assert margin.of(0) is Verdict.FAIL and margin.signal.shape == (1, 3)


def test_a_long_window_costs_no_more_than_its_logarithm() -> None:
    n = 200_000  # window times samples would be 2e10 comparisons
    x = torch.randn(2, n, dtype=torch.float64)
    margin = check("always(eventually[0:99999](x > 0) and (x > -100 until[10:90000] x > 1))", x=x)
    assert margin.signal.shape == (2, n - 99_999)


# Traces.


def test_vectors_hold_when_every_element_does() -> None:
    v = torch.tensor([[[0.0, 3.0], [1.0, 1.0]]])
    assert check("v < 2", v=v).values.item() == -1
    assert check("v[1] < 2", v=v).values.item() == -1 and check("v[0] < 2", v=v).values.item() == 2
    assert check("not (v < 2)", v=v).of(0) is Verdict.PASS
    assert check("always(v - s < 2)", v=v, s=[2.0, 0.0]).signal.tolist() == [[1.0, 1.0]]
    with pytest.raises(RequirementError, match=r"v has the shape \(2,\)"):
        check("v[2] < 1", v=v)


def test_whole_numbers_and_booleans_are_numbers_where_they_are_compared() -> None:
    gear = torch.tensor([[1, 2, 3]], dtype=torch.uint8)
    assert check("always(gear - 2 < 2)", gear=gear).values.item() == 1  # uint8 would wrap around
    assert check("always(on <= 0.5)", on=[False, False]).values.item() == 0.5


def test_float32_stays_float32() -> None:
    x = torch.tensor([[0.1, 0.2]], dtype=torch.float32)
    assert check("always(2 * x + 0.1 < 1)", x=x).values.dtype == torch.float32


def test_one_lane_of_a_signal_serves_all_lanes() -> None:
    margin = check("always(x < limit)", x=[[0.0, 1.0], [3.0, 1.0]], limit=[2.0, 2.0])
    assert margin.values.tolist() == [1, -1]
    assert check("x < 1 or limit > 5", x=[[0.0], [3.0]], limit=[4.0], failed=None).values.tolist() == [1, -1]
    mixed = check("always(limit < 1) or x < 1", x=[[0.0], [3.0]], limit=[0.5])
    assert mixed.values.tolist() == [1, 0.5] and mixed.reason(1) == "limit < 1 at t = 0 s"
    with pytest.raises(RequirementError, match="unequal numbers of lanes"):
        check("x < limit", x=torch.zeros(2, 3), limit=torch.zeros(4, 3))


def test_changes_counts_what_comes_after_now() -> None:
    mode = [0, 0, 1, 1, 2, 0, 0, 0]
    count = check("changes[0:3](mode) <= 0", mode=mode).signal
    assert (-count).tolist() == [[1, 2, 2, 2, 1]]
    assert (-check("changes[1:3](mode) <= 0", mode=mode).signal).tolist() == [[1, 1, 2, 1, 0]]
    y = torch.tensor([[1.0, -1.0, 1.0, 1.0]], requires_grad=True)
    assert check("changes[0:3](y > 0) < y", y=y).values.backward() is None and y.grad is not None
    assert y.grad.tolist() == [[1, 0, 0, 0]]


def test_traces_that_do_not_fit() -> None:
    with pytest.raises(RequirementError, match=r"its windows reach to 5 s; the run ends at 4 s"):
        check("always[0:5](x < 1)", x=[0.0] * 5)
    with pytest.raises(RequirementError, match="a signal of float64\n  expected: a condition\n  fix: .* x > 0.5"):
        check("always(x)", x=[0.0])
    with pytest.raises(RequirementError, match=r"x: a trace of shape \(3,\)"):
        requirement("always(x < 1)").margin(lambda _: torch.zeros(3), 1, 3)


def test_a_grid_or_temperature_that_is_not_positive() -> None:
    with pytest.raises(RequirementError, match="every: 0"):
        check("x < 1", x=[0.0], every=0)
    with pytest.raises(RequirementError, match="smooth: -1"):
        check("x < 1", x=[0.0], smooth=-1)
