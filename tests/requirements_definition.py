"""What a requirement means, in plain loops over one lane without tensors; and random requirements and traces."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from simdl.requirements import (
    Margin,
    Requirement,
    Verdict,
    all_of,
    always,
    any_of,
    eventually,
    fall,
    iff,
    implies,
    negate,
    requirement,
    rise,
    until,
)

INF = math.inf
EVERY = 0.1
Formula = tuple[Any, ...]  # ("lt", "a", 1.0), ("flag", "p"), ("not", f), ("always", lo, hi, f), ...; windows in 50 ms


# The definition. `hi` None is the end of the trace. A formula is known at the samples 0 … length - 1.


def ends(lo: int, hi: int | None) -> tuple[int, int | None]:
    """The samples k with lo <= 2k <= hi."""
    return (lo + 1) // 2, None if hi is None else hi // 2


def length(f: Formula, n: int) -> int:
    match f:
        case ("always" | "eventually", lo, hi, g):
            first, last = ends(lo, hi)
            return length(g, n) - (first if last is None else last)
        case ("until", lo, hi, g, h):
            first, last = ends(lo, hi)
            return min(length(g, n), length(h, n)) - (first if last is None else last)
        case (("lt" | "gt" | "le" | "ge" | "flag"), *_):
            return n
    return min(length(g, n) for g in f[1:])


def times(f: Formula, t: int, n: int) -> range:
    first, last = ends(f[1], f[2])
    return range(t + first, min(length(g, n) for g in f[3:]) if last is None else t + last + 1)


def rho(f: Formula, lane: dict[str, list[Any]], t: int, n: int) -> float:
    """The margin: Donzé and Maler's robustness, with iff and xor spelt out in and, or, not."""

    def r(g: Formula, t: int = t) -> float:
        return rho(g, lane, t, n)

    match f:
        case (("lt" | "le"), name, c):
            return c - lane[name][t]
        case (("gt" | "ge"), name, c):
            return lane[name][t] - c
        case ("flag", name):
            return INF if lane[name][t] else -INF
        case ("not", g):
            return -r(g)
        case ("and", *gs):
            return min(map(r, gs))
        case ("or", *gs):
            return max(map(r, gs))
        case ("implies", g, h):
            return max(-r(g), r(h))
        case ("iff", g, h):
            return min(max(-r(g), r(h)), max(r(g), -r(h)))
        case ("xor", g, h):
            return min(max(r(g), r(h)), max(-r(g), -r(h)))
        case ("rise", g):
            return min(-r(g, t - 1), r(g)) if t else r(g)
        case ("fall", g):
            return min(r(g, t - 1), -r(g)) if t else -r(g)
        case ("always", _, _, g):
            return min(r(g, k) for k in times(f, t, n))
        case ("eventually", _, _, g):
            return max(r(g, k) for k in times(f, t, n))
        case ("until", _, _, g, h):
            return max(min([r(h, k), *(r(g, j) for j in range(t, k))]) for k in times(f, t, n))
    raise AssertionError(f)


def verdict(f: Formula, lane: dict[str, list[Any]], t: int, n: int) -> Verdict:
    """Three values: any fail is a fail, else any pass a pass, else untested; dually for a choice."""

    def v(g: Formula, t: int = t) -> Verdict:
        return verdict(g, lane, t, n)

    def holds(g: Formula, t: int = t) -> bool:
        return v(g, t) is not Verdict.FAIL

    def sure(yes: bool) -> Verdict:
        return Verdict.PASS if yes else Verdict.FAIL

    def every(parts: list[Verdict]) -> Verdict:
        return next((x for x in (Verdict.FAIL, Verdict.PASS) if x in parts), Verdict.UNTESTED)

    def some(parts: list[Verdict]) -> Verdict:
        return next((x for x in (Verdict.PASS, Verdict.UNTESTED) if x in parts), Verdict.FAIL)

    match f:
        case ("lt", name, c):
            return sure(lane[name][t] < c)
        case ("le", name, c):
            return sure(lane[name][t] <= c)
        case ("gt", name, c):
            return sure(lane[name][t] > c)
        case ("ge", name, c):
            return sure(lane[name][t] >= c)
        case ("flag", name):
            return sure(lane[name][t])
        case ("not", g):
            return sure(not holds(g))
        case ("and", *gs):
            return every(list(map(v, gs)))
        case ("or", *gs):
            return some(list(map(v, gs)))
        case ("implies", g, h):
            return v(h) if holds(g) else Verdict.UNTESTED
        case ("iff", g, h):
            return every([v(g), v(h)]) if holds(g) and holds(h) else sure(holds(g) == holds(h))
        case ("xor", g, h):
            return sure(holds(g) != holds(h))
        case ("rise", g):
            return sure(holds(g) and not (t and holds(g, t - 1)))
        case ("fall", g):
            return sure(not holds(g) and bool(not t or holds(g, t - 1)))
        case ("always", _, _, g):
            return every([v(g, k) for k in times(f, t, n)])
        case ("eventually", _, _, g):
            return some([v(g, k) for k in times(f, t, n)])
        case ("until", _, _, g, h):
            return some([v(h, k) for k in times(f, t, n) if all(holds(g, j) for j in range(t, k))])
    raise AssertionError(f)


# The same formulas as requirements, and random ones on random traces.


def build(f: Formula) -> Requirement:
    symbols = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}
    match f:
        case (("lt" | "le" | "gt" | "ge") as op, name, c):
            return requirement(f"{name} {symbols[op]} {c!r}")
        case ("flag", name):
            return requirement(name)
        case (("always" | "eventually") as op, lo, hi, g):
            return {"always": always, "eventually": eventually}[op](build(g), (lo * 0.05, hi and hi * 0.05))
        case ("until", lo, hi, g, h):
            return until(build(g), build(h), (lo * 0.05, hi and hi * 0.05))
        case ("xor", g, h):
            return requirement(f"({build(g)}) xor ({build(h)})")
    make = {"not": negate, "and": all_of, "or": any_of, "implies": implies, "iff": iff, "rise": rise, "fall": fall}
    return make[f[0]](*map(build, f[1:]))


ATOMS = st.one_of(
    st.tuples(st.sampled_from(["lt", "le", "gt", "ge"]), st.sampled_from("ab"), st.sampled_from([-1.0, 0.0, 0.5])),
    st.tuples(st.just("flag"), st.just("p")),
)
WINDOWS = st.one_of(
    st.tuples(st.integers(0, 4), st.none()),
    st.tuples(st.integers(0, 6), st.integers(1, 8)).map(lambda w: (w[0], w[0] + w[1])),
)  # two neighbours in 50 ms always hold a sample of the grid


def deeper(parts: st.SearchStrategy[Formula]) -> st.SearchStrategy[Formula]:
    pair = st.tuples(parts, parts)
    return st.one_of(
        st.tuples(st.sampled_from(["not", "rise", "fall"]), parts),
        st.tuples(st.sampled_from(["and", "or", "implies", "iff", "xor"]), pair).map(lambda x: (x[0], *x[1])),
        st.tuples(st.sampled_from(["always", "eventually"]), WINDOWS, parts).map(lambda x: (x[0], *x[1], x[2])),
        st.tuples(WINDOWS, pair).map(lambda x: ("until", *x[0], *x[1])),
    )


FORMULAS = st.recursive(ATOMS, deeper, max_leaves=6)


def lanes_of(n: int) -> st.SearchStrategy[list[dict[str, list[Any]]]]:
    """One to three lanes of n samples; from few values, so that ties and margins of exactly zero are common."""
    number = st.sampled_from([-2.0, -1.0, 0.0, 0.25, 0.5, 1.0])
    lane = st.fixed_dictionaries(
        {name: st.lists(number, min_size=n, max_size=n) for name in "ab"}
        | {"p": st.lists(st.booleans(), min_size=n, max_size=n)}
    )
    return st.lists(lane, min_size=1, max_size=3)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Formula, list[dict[str, list[Any]]], int]:
    f = draw(FORMULAS)
    n = 1 - length(f, 0) + draw(st.integers(0, 6))
    return f, draw(lanes_of(n)), n


def traces(lanes: list[dict[str, list[Any]]]) -> dict[str, Tensor]:
    kinds = {"a": torch.float64, "b": torch.float64, "p": torch.bool}
    return {name: torch.tensor([lane[name] for lane in lanes], dtype=kind) for name, kind in kinds.items()}


def check(
    phi: Requirement | str, every: float = 1.0, failed: list[bool] | None = None, smooth: float | None = None,
    **signals: Any,
) -> Margin:  # fmt: skip
    """The margin on traces given by name, as samples (one lane), lanes of samples, or a tensor."""
    tensors = {name: x if isinstance(x, Tensor) else torch.from_numpy(np.atleast_2d(x)) for name, x in signals.items()}
    samples = next(iter(tensors.values())).shape[1]
    return requirement(phi).margin(tensors.__getitem__, every, samples, failed=failed, smooth=smooth)
