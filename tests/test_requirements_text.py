"""The text form: what it reads, that it prints what it reads, and errors that point at the place."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st

from simdl import RequirementError
from simdl.requirements import Requirement, always, eventually, requirement
from simdl.requirements.lexer import pointed
from tests.requirements_definition import FORMULAS, build

# Terms in the text form with all parentheses, so that the printer must find out which are needed.
NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(lambda x: f"({x!r})")
NAMES = st.sampled_from(["y", "servo.pi.u", "wheels.0.speed", "imu.gyro[2]", "m[0, -1]", "`two words`", "`until`", "µ"])
TERMS = st.recursive(
    NUMBERS | NAMES,
    lambda t: st.one_of(
        st.tuples(t, st.sampled_from(["+", "-", "*", "/", "%", "**"]), t).map(lambda x: f"({' '.join(x)})"),
        t.map("(-{})".format), t.map("abs({})".format), st.tuples(t, t).map(lambda x: f"min({x[0]}, {x[1]})"),
        st.tuples(t, t).map(lambda x: f"where(y > 0 and not (u < 1), {x[0]}, {x[1]})"),
        t.map("(y + {})[1]".format), t.map("changes[0:0.25](y - {})".format),
    ),
    max_leaves=8,
)  # fmt: skip
TIMES = st.integers(0, 3 * 10**12)  # ns
WINDOWS = st.one_of(
    st.just(""),
    TIMES.map(lambda a: f"[{a} ns:inf]"),
    st.tuples(TIMES, TIMES).map(lambda w: f"[{w[0]}ns, {sum(w)} ns]"),
)
SIDES = st.tuples(TERMS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), NAMES.map("({} + 0)".format))
TEXTS = st.recursive(
    SIDES.map(lambda x: f"({' '.join(x)})") | st.just("(flag)"),
    lambda f: st.one_of(
        st.tuples(f, st.sampled_from(["and", "or", "implies", "iff", "xor"]), f).map(lambda x: f"({' '.join(x)})"),
        st.tuples(f, WINDOWS, f).map(lambda x: f"({x[0]} until{x[1]} {x[2]})"),
        st.tuples(st.sampled_from(["always", "eventually"]), WINDOWS, f).map(lambda x: f"({x[0]}{x[1]} {x[2]})"),
        f.map("(not {})".format), f.map("rise({})".format), f.map("fall({})".format),
    ),
    max_leaves=8,
)  # fmt: skip


@given(TEXTS)
def test_what_is_printed_reads_back_the_same(text: str) -> None:
    phi = requirement(text)
    assert requirement(str(phi)) == phi and str(requirement(str(phi))) == str(phi)
    assert len(str(phi)) <= len(text) + 40 * text.count("[")  # no parenthesis is added


@given(FORMULAS)
def test_python_form_prints_what_reads_back_the_same(formula: Any) -> None:
    assert requirement(str(build(formula))) == build(formula)


@pytest.mark.parametrize(
    ("loose", "full"),
    [
        ("a < 1 and b < 1 or c < 1", "(a < 1 and b < 1) or c < 1"),
        ("a < 1 or b < 1 implies c < 1 or d < 1", "(a < 1 or b < 1) implies (c < 1 or d < 1)"),
        ("not a < 1 and b < 1", "(not (a < 1)) and b < 1"),
        ("always a < 1 and b < 1", "(always (a < 1)) and b < 1"),
        ("always not a < 1 until b < 1", "(always (not (a < 1))) until b < 1"),
        ("a < 1 and b < 1 until[0:2] c < 1", "a < 1 and (b < 1 until[0:2] c < 1)"),
        ("a < 1 until b < 1 until c < 1", "(a < 1 until b < 1) until c < 1"),
        ("a < 1 iff b < 1 xor c < 1", "(a < 1 iff b < 1) xor c < 1"),
        ("a -> b <-> c", "(a implies b) iff c"),
        ("!a & ~b | c", "((not a) and (not b)) or c"),
        ("a - b - c < a / b * c", "(a - b) - c < (a / b) * c"),
        ("a + b * -c ** d ** 2 < 1", "a + (b * (-(c ** (d ** 2)))) < 1"),
        ("2 ** -a > 1", "2 ** (-a) > 1"),
        ("always[0,2](a !== 1.)", "always[0:2](a != 1)"),
        ("always[ 500 ms : 2 s ] a", "always[0.5:2](a)"),
        ("always[5:10ms] a", "always[0.005:0.01](a)"),
        ("always[1:inf] a", "always[1 s:inf](a)"),
        ("always[0:1.5e-3 s]\n  a", "always[0:0.0015](a)"),
        ("always[0:2 min] eventually a", "always[0:120](eventually(a))"),
        ("abs < 1 and until.x < `until`", "`abs` < 1 and `until.x` < `until`"),
        ("(a and b) and (c and d)", "a and b and c and d"),
    ],
)
def test_precedence_and_spelling(loose: str, full: str) -> None:
    assert requirement(loose) == requirement(full)


def test_windows_are_exact() -> None:
    assert requirement("always[0:0.1](a)") == always("a", 0.1) == always("a", "100 ms") == always("a", (0, 0.1))
    assert str(always("a", ("1 ns", "1 h"))) == "always[0.000000001:3600](a)"
    assert str(eventually("a", (5, None))) == "eventually[5:inf](a)" and str(always("a", (0, None))) == "always(a)"


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 0, "the text is empty"),
        ("always[0:10](abs(theta) < 1.3", 12, 'this "[(]" is never closed'),
        ("x < 1)", 5, '"[)]" cannot stand here'),
        ("x <", 3, "the text ends here"),
        ("x < 1 y < 1", 6, '"y" cannot stand here\n.*\n.*\n  expected: an operator'),
        ("always[5:2](x < 1)", 6, "a window that ends before it starts"),
        ("always[-1:3](x < 1)", 6, "a window that starts in the past"),
        ("always[0:1e99](x < 1)", 6, "too long"),
        ("always[0:0.1 ns](x < 1)", 6, "a whole number of nanoseconds"),
        ("always[0:1 parsec](x < 1)", 11, "expected: a unit of time\n  names: ns, us"),
        ("always[1ms:2](x < 1)", 6, "no unit\n.*\n.*\n  expected: .1ms:2ms."),
        ("always[1;2](x < 1)", 8, "the character ';'"),
        ("always[1](x < 1)", 8, 'expected: ":" and the end of the interval'),
        ("F[0:1](x < 1)", 3, "written in full"),
        ("x < nan", 4, "nothing compares with NaN"),
        ("x < 1e999", 4, "the constant inf"),
        ("x < inf", 4, "a finite number"),
        ("1 < 2", 2, "1 < 2 reads no signal"),
        ("a < b < c", 6, "parentheses, or a < b and b < c"),
        ("a -> b -> c", 7, r"parentheses, or a implies \(b implies c\)"),
        ("historically(x < 1)", 0, "past operators"),
        ("alway(x < 1)", 0, 'no function "alway"\n.*\n.*\n  did you mean: always'),
        ("min(x) < 1", 0, '"min" of 1 arguments\n.*\n.*\n  expected: 2'),
        ("(x, 1) < 1", 2, '"," outside a function'),
        ("(x < 1) + 2 > 3", 8, r"x < 1: a condition\n.*\n.*\n  expected: a number"),
        ("x + 1 and y", 6, r"x \+ 1: a number\n.*\n.*\n  expected: a condition"),
        ("where(always(x), 1, 2) < 1", 0, "looks at other times"),
        ("changes(x) < 1", 0, r"no window with an end\n.*\n.*\n  expected: changes\[0:1\]"),
        ("x[0.5] < 1", 2, "the index of an element"),
        ("3[0] < x", 1, "reads no signal"),
        ("x = 1", 2, "the character '='"),
        ("x < 1 and\n\ty < < 2", 15, "\n     y < < 2\n         \\^"),
    ],
)
def test_errors_point_at_the_place(text: str, column: int, message: str) -> None:
    with pytest.raises(RequirementError, match=message) as error:
        requirement(text)
    lines = str(error.value).splitlines()
    carets = [i for i, line in enumerate(lines) if line.strip() == "^"]
    assert len(carets) == 1
    assert lines[carets[0]].index("^") - 4 == column - (text.rfind("\n", 0, column) + 1)


def test_a_long_line_is_shown_around_the_place() -> None:
    text = " and ".join(f"x{i} < 1" for i in range(1000)).replace("x500 < 1", "x500 < < 1")
    with pytest.raises(RequirementError) as error:
        requirement(text)
    _, line, caret, *_ = str(error.value).splitlines()
    assert len(line) < 120 and line[caret.index("^") :].startswith("< 1 and x501")
    assert pointed("abc", 3) == "    abc\n       ^"


WORDS = ["always", "until", "not", "[0:1]", "[", "]", "(", ")", "<", "->", "and", "x", "y.z", "1.5", ":", ",", "abs", "inf", "-", "changes"]  # noqa: E501


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join)))
def test_any_text_is_a_requirement_or_an_error(text: str) -> None:
    try:
        phi = requirement(text)
    except RequirementError as error:
        assert "^" in str(error) or "expected: a condition" in str(error)
    else:
        assert requirement(str(phi)) == phi and phi.describe()


@given(TEXTS, st.integers(0, 10**6), st.sampled_from([*" ()[]<-", "not ", "until"]))
def test_a_damaged_requirement_is_a_requirement_or_an_error(text: str, place: int, damage: str) -> None:
    place %= len(text)
    try:
        requirement(text[:place] + damage + text[place + 1 :])
    except RequirementError:
        pass


HUGE = [
    "(" * 100_000 + "x < 1" + ")" * 100_000,
    "(" * 100_000,
    "not " * 100_000 + "x",
    "-" * 100_000 + "x < 1",
    "always[0:1] " * 100_000 + "x",
    "abs(" * 100_000 + "x",
    "x < " + "1 + " * 100_000 + "y",
    "x < " + "1 ** " * 100_000 + "y",
    "a until " * 100_000 + "b",
    " and ".join(f"x < {i}" for i in range(100_000)),
    "x" * 3_000_000 + " $",
]


@pytest.mark.parametrize("text", HUGE, ids=lambda text: text[:12])
def test_huge_texts_are_refused_by_name(text: str) -> None:
    with pytest.raises(RequirementError, match="nested deeper than|more than|never closed|the character"):
        requirement(text)


@pytest.mark.parametrize("depth", [200, 4_000])
def test_deep_and_wide_texts_within_the_limits_work(depth: int) -> None:
    nested = requirement("always[0:0](" * depth + "x < 1" + ")" * depth)
    clauses = requirement(" and ".join(f"(a < {i} or b < {i})" for i in range(60)))  # 2 ** 60 as a sum of products
    untils = requirement(" until[0:1] (".join(["x < 1"] * 61) + ")" * 60)

    def value(phi: Requirement, samples: int) -> float:
        return phi.margin(lambda _: torch.zeros(2, samples), 1, samples).values[1].item()

    assert (value(nested, 1), value(clauses, 1), value(untils, 61)) == (1, 0, 1)


def test_equal_parts_of_a_text_are_one_node() -> None:
    assert requirement(" or ".join(["always[0:1](abs(x) < 1 and y > 2)"] * 50)).nodes == 10


def test_a_conjunction_of_thousands_is_one_flat_node() -> None:
    phi = requirement(" and ".join(f"x{i % 90} < {i % 7}" for i in range(30_000)))
    assert len(phi.args) == 30_000 and phi.depth == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("always[0:10](abs(theta) < 1.3)", "at every time for 10 s: (abs(theta) is below 1.3)"),
        ("eventually[0:3](always[0:0.5](y <= 1))",
         "at some time within 3 s: (at every time for 500 ms: (y is at most 1))"),
        ("always(brake implies v < 1)", "at every time: (if brake then v is below 1)"),
        ("always[5:inf](rise(on) or changes[0:1](on) == 2)",
         "at every time from 5 s on: ((on) becomes true or the number of changes within 1 s of on equals 2)"),
        ("a until[1:2] not b", "a until from 1 s to 2 s not (b)"),
    ],
)  # fmt: skip
def test_plain_words(text: str, words: str) -> None:
    assert requirement(text).describe() == words
    assert repr(requirement(text)) == f"<requirement {requirement(text)}>"
