"""Margins, verdicts and gradients of requirements against the definition, on random formulas and traces."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from simdl.requirements import Verdict, eventually, requirement
from tests.requirements_definition import EVERY, INF, build, cases, check, length, rho, traces, verdict


@given(cases())
def test_margin_and_verdict_are_those_of_the_definition(case: Any) -> None:
    f, lanes, n = case
    phi, given_traces = build(f), traces(lanes)
    margin = phi.margin(given_traces.__getitem__, EVERY, n)
    known = length(f, n)
    assert margin.signal.tolist() == [[rho(f, lane, t, n) for t in range(known)] for lane in lanes]
    assert [margin.of(i) for i in range(len(lanes))] == [verdict(f, lane, 0, n) for lane in lanes]
    assert margin.values.tolist() == margin.signal[:, 0].tolist()
    margin_sign = torch.where(margin.values > 0, margin.verdict < Verdict.ERROR, margin.verdict == Verdict.FAIL)
    assert (margin_sign | (margin.values == 0)).all()


@given(cases())
def test_the_deciding_comparison_has_the_margin_of_the_whole(case: Any) -> None:
    f, lanes, n = case
    given_traces = traces(lanes)
    margin = build(f).margin(given_traces.__getitem__, EVERY, n)
    for lane in range(len(lanes)):
        deciding = requirement(margin.comparisons[int(margin.by[lane])])
        there = deciding.margin(given_traces.__getitem__, EVERY, n).signal[lane, margin.at[lane]]
        assert abs(there) == abs(margin.values[lane])


@given(cases(), st.permutations(range(3)))
def test_a_lane_alone_equals_the_lane_in_the_batch(case: Any, order: list[int]) -> None:
    f, lanes, n = case
    phi, whole = build(f), build(f).margin(traces(lanes).__getitem__, EVERY, n)
    chosen = [i for i in order if i < len(lanes)]
    parts = [phi.margin(traces([lanes[i]]).__getitem__, EVERY, n) for i in chosen]
    for i, part in zip(chosen, parts):
        assert torch.equal(part.signal[0], whole.signal[i])
        assert (part.values[0], part.verdict[0], part.at[0]) == (whole.values[i], whole.verdict[i], whole.at[i])


@given(cases(), st.integers(1, 5))
def test_shifting_the_trace_is_shifting_the_window(case: Any, shift: int) -> None:
    f, lanes, n = case
    if not {"rise", "fall"} & set(str(build(f)).replace("(", " ").split()):  # these look back over the shift
        late = {name: torch.cat([x[:, :1].expand(-1, shift), x], 1) for name, x in traces(lanes).items()}
        delayed = eventually(build(f), (shift * EVERY, shift * EVERY)).margin(late.__getitem__, EVERY, n + shift)
        now = build(f).margin(traces(lanes).__getitem__, EVERY, n)
        assert torch.equal(delayed.values, now.values) and torch.equal(delayed.verdict, now.verdict)


@given(cases())
def test_negation_turns_the_margin_around(case: Any) -> None:
    f, lanes, n = case
    read = traces(lanes).__getitem__
    assert torch.equal((~build(f)).margin(read, EVERY, n).signal, -build(f).margin(read, EVERY, n).signal)


@given(cases(), st.sampled_from([0.2, 0.01]))
def test_smooth_margin_tends_to_the_exact_one(case: Any, temperature: float) -> None:
    f, lanes, n = case
    read = traces(lanes).__getitem__
    exact, smooth = build(f).margin(read, EVERY, n), build(f).margin(read, EVERY, n, smooth=temperature)
    assert torch.equal(exact.verdict, smooth.verdict)
    # Each operator over m values adds at most T log m; nested, the errors add up. 40 is more than any case here has.
    close = (smooth.values - exact.values).abs() <= 40 * temperature * math.log(n + 2)
    assert (close | (smooth.values == exact.values)).all()


# Gradients.


def smooth_traces(seed: int, lanes: int = 3, n: int = 12) -> dict[str, Tensor]:
    made = torch.randn(2, lanes, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return {"a": made[0].requires_grad_(), "b": made[1].requires_grad_()}


DIFFERENTIABLE = [
    "always[0:0.5](sin(a) * b < 0.3)",
    "eventually(always[0:0.3](abs(a - b) < 1) and a ** 2 < 2)",
    "(exp(a) < 2) until[0.2:0.8] (b > 0.5)",
    "always(a > 0.2 implies eventually[0.1:0.4](b > clamp(a, -1, 0.5)))",
    "not (a < b iff rise(b > 0)) xor max(a, b) < 1",
]


@pytest.mark.parametrize("temperature", [None, 0.05])
@pytest.mark.parametrize("text", DIFFERENTIABLE)
def test_gradient_is_that_of_finite_differences(text: str, temperature: float | None) -> None:
    given_traces = smooth_traces(len(text))
    phi = requirement(text)

    def values(a: Tensor, b: Tensor) -> Tensor:
        return phi.margin({"a": a, "b": b}.__getitem__, EVERY, a.shape[1], smooth=temperature).values

    assert torch.autograd.gradcheck(values, (given_traces["a"], given_traces["b"]), atol=1e-6)


def test_gradient_goes_to_the_one_sample_that_decides() -> None:
    y = torch.tensor([[0.0, 2.0, 3.0, 1.0], [5.0, 2.0, 3.0, 1.0]], dtype=torch.float64, requires_grad=True)
    margin = check("always(y < 4)", y=y)
    margin.values.sum().backward()
    assert y.grad is not None and y.grad.tolist() == [[0, 0, -1, 0], [-1, 0, 0, 0]]
    assert margin.at.tolist() == [2, 0]
    assert margin.reason(0) == "y < 4 at t = 2 s"


def test_smooth_gradient_is_spread_over_the_near_misses() -> None:
    y = torch.tensor([[3.0, 2.0, 3.0, -50.0]], dtype=torch.float64, requires_grad=True)
    check("always(y < 4)", y=y, smooth=0.1).values.sum().backward()
    assert y.grad is not None
    assert y.grad.tolist()[0] == pytest.approx([-0.5, 0, -0.5, 0], abs=1e-4)
    assert y.grad.sum().item() == pytest.approx(-1)


def test_gradient_of_other_lanes_is_the_same_with_a_failed_lane() -> None:
    def gradient(failed: list[bool] | None, poison: float, temperature: float | None) -> Tensor:
        y = torch.tensor([[0.1, 0.7, 0.3], [0.2, poison, 0.1]], dtype=torch.float64, requires_grad=True)
        check("always(sqrt(y) / y < 4)", y=y, failed=failed, smooth=temperature).values.nansum().backward()
        assert y.grad is not None
        return y.grad

    for temperature in (None, 0.1):
        alone = gradient(None, 0.2, temperature)[0]
        for failed, poison in (([False, True], 0.2), (None, math.nan), (None, -1.0)):
            both = gradient(failed, poison, temperature)
            assert torch.equal(both[0], alone) and both[1].tolist() == [0, 0, 0]


def test_a_boolean_decides_by_an_infinite_margin_and_no_gradient() -> None:
    y = torch.tensor([[0.1, 0.7, 0.3]], dtype=torch.float64, requires_grad=True)
    assert check("always(on)", on=[True, True]).values.tolist() == [INF]
    assert check("always(on)", on=[True, False]).values.tolist() == [-INF]
    for temperature in (None, 0.001):
        guarded = check("always(on implies y < 1)", y=y, on=[[False, True, False]], smooth=temperature)
        assert guarded.values.item() == pytest.approx(1 - 0.7)
        (gradient,) = torch.autograd.grad(guarded.values.sum(), y)
        assert gradient.tolist() == [[0, -1, 0]]
