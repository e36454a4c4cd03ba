"""Requirements against rtamt (https://github.com/nickovic/rtamt), an independent monitor: the same texts and numbers.

Both read the same text, written without parentheses, so that precedence is compared too. What rtamt 0.4.10 does
otherwise, and how it is matched:

- The end of the trace: rtamt evaluates a window that reaches beyond it over the samples that are left (with none left,
  always is +inf and eventually -inf). simdl gives no value there. Compared are the samples that simdl gives, and an
  operator without window over a windowed one is written for rtamt with the window that it has in simdl.
- iff and xor: rtamt's margin is -|a - b| and |a - b|, whose sign is not the truth. Compared is the truth, of operands
  that are not zero.
- Arithmetic: rtamt reads a - b + c as a - (b + c). Sums and differences are compared with parentheses.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st

from simdl.requirements import requirement
from simdl.requirements.text import interval
from simdl.requirements.tree import Node, Window

rtamt = pytest.importorskip("rtamt", reason='rtamt is not installed: pip install "simdl[oracles]"')

Trace = dict[str, list[float]]


def oracle(text: str, trace: Trace) -> list[float]:
    spec = rtamt.StlDiscreteTimeSpecification()
    for name in (*trace, "out"):
        spec.declare_var(name, "float")
    spec.spec = f"out = {text}"
    spec.parse()
    # rtamt pads the lists it is given, in place
    data: dict[str, Any] = {name: list(values) for name, values in trace.items()}
    data["time"] = list(range(len(trace["a"])))
    return [value for _, value in spec.evaluate(data)]


def ours(text: str, trace: Trace) -> list[float]:
    samples = len(trace["a"])
    margin = requirement(text).margin(lambda s: torch.tensor([trace[s]], dtype=torch.float64), 1, samples)
    signal: list[float] = margin.signal[0].tolist()
    return signal


def assert_same(text: str, trace: Trace, for_rtamt: str | None = None, samples: int | None = None) -> None:
    mine = ours(text, trace)[:samples]
    assert mine == pytest.approx(oracle(for_rtamt or text, trace)[: len(mine)], abs=1e-6)


WINDOWS = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda w: f"[{w[0]}:{sum(w)}]")
TERMS = st.sampled_from(["a", "b", "abs(a)", "(a - b)", "(a + 2 * b)", "a * b", "pow(a, 2)", "exp(b)", "sqrt(abs(a))"])
ATOMS = st.tuples(TERMS, st.sampled_from(["<", "<=", ">", ">=", "==", "!=="]), st.sampled_from(["0", "0.5", "-1", "b"]))


def formulas(window: st.SearchStrategy[str], atoms: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Texts with hardly any parentheses; each side of a chained implies has them, because simdl insists."""
    unary = st.one_of(
        st.just("not "),
        st.tuples(st.sampled_from(["always", "eventually"]), window).map(lambda x: f"{x[0]}{x[1]} "),
    )
    binary = st.one_of(st.sampled_from([" and ", " or "]), window.map(lambda w: f" until{w} "))
    unit = st.tuples(st.lists(unary, max_size=2).map("".join), atoms).map("".join)
    chain = st.lists(st.tuples(unit, binary), max_size=3).map(lambda parts: "".join(map("".join, parts)))
    plain = st.tuples(chain, unit).map("".join)
    grouped = plain.map("({})".format)
    edges = st.tuples(st.sampled_from(["rise", "fall"]), grouped).map("".join)
    implied = st.tuples(plain, plain).map(" implies ".join)
    return st.one_of(plain, implied, st.tuples(unary, grouped | edges).map("".join))


COMPARISONS = ATOMS.map(" ".join)
UNTIMED = formulas(st.just(""), COMPARISONS)
TIMED = formulas(WINDOWS, COMPARISONS | UNTIMED.map("({})".format))
VALUES = st.lists(st.floats(-3, 3), min_size=24, max_size=24)
TRACES = st.fixed_dictionaries({"a": VALUES, "b": VALUES})


@settings(max_examples=150)
@given(UNTIMED, TRACES)
def test_operators_to_the_end_of_the_trace(text: str, trace: Trace) -> None:
    assert_same(text, trace)


@settings(max_examples=150)
@given(TIMED.filter(lambda text: requirement(text).horizon < 24), TRACES)
def test_operators_with_windows(text: str, trace: Trace) -> None:
    assert_same(text, trace)


@settings(max_examples=60)
@given(TIMED.filter(lambda text: requirement(text).horizon < 24), st.sampled_from(["always", "eventually"]), TRACES)
def test_operators_without_window_over_windows(text: str, outer: str, trace: Trace) -> None:
    last = 23 - int(requirement(text).horizon)
    assert_same(f"{outer}({text})", trace, f"{outer}{interval(Window(0, last * 10**9))}({text})", samples=1)


@settings(max_examples=30)
@given(UNTIMED, UNTIMED, st.sampled_from(["iff", "xor"]), TRACES)
def test_truth_of_iff_and_xor(left: str, right: str, op: str, trace: Trace) -> None:
    mine = ours(f"({left}) {op} ({right})", trace)
    for value, a, b in zip(mine, oracle(left, trace), oracle(right, trace)):
        if a and b:
            assert (value > 0) == (((a > 0) == (b > 0)) == (op == "iff"))


@settings(max_examples=60)
@given(TIMED)
def test_what_simdl_prints_rtamt_reads(text: str) -> None:
    trace: Trace = {"a": [0.3 * i - 3 for i in range(40)], "b": [1 - 0.2 * i for i in range(40)]}
    phi: Node = requirement(text)
    assert_same(text, trace, str(phi).replace("!=", "!==")) if " ** " not in str(phi) else None
