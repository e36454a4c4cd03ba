"""Reports: what they claim, that they stay small, and that the twins say what the page says."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from pydantic import BaseModel, ConfigDict
from scipy.stats import binom

from simdl.campaign import Campaign
from simdl.report import Figure, Report, Table, campaign_report, figures, interval, run_report
from simdl.report.claim import share
from simdl.report.parts import MOST_KEPT, Mark
from simdl.report.text import clean
from simdl.requirements import Verdict
from simdl.simulate import simulate
from tests.study import BARE, STUDY, House


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return STUDY.campaign(60, seed=1)


@pytest.fixture(scope="module")
def report(campaign: Campaign) -> Report:
    return campaign_report(campaign, STUDY)


# ---- the claim


@given(st.integers(1, 3000))
def test_interval_of_a_clean_sweep_is_the_closed_form(n: int) -> None:
    low, high = interval(n, n)
    assert high == 1.0 and low == pytest.approx(0.025 ** (1 / n), rel=1e-9)
    assert interval(0, n) == (0.0, pytest.approx(1 - low, rel=1e-9))


@given(st.integers(1, 200), st.floats(0.001, 0.999))
@settings(max_examples=50)
def test_interval_holds_the_true_rate_at_least_as_often_as_it_says(n: int, rate: float) -> None:
    covered = sum(binom.pmf(k, n, rate) for k in range(n + 1) if interval(k, n)[0] <= rate <= interval(k, n)[1])
    assert covered >= 0.95 - 1e-9


@given(st.integers(1, 10**7), st.data())
def test_a_share_is_whole_only_when_it_is(n: int, data: Any) -> None:
    k = data.draw(st.integers(0, n))
    assert (share(k / n) == "100 %") == (k == n) and (share(k / n) == "0 %") == (k == 0)


def test_no_lanes_allow_no_claim() -> None:
    assert interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 of 2"):
        interval(3, 2)


def test_page_counts_what_the_campaign_counts(campaign: Campaign, report: Report) -> None:
    for check in report.checks:
        assert check.counts == {v.name.lower(): campaign.count(check.name, v) for v in Verdict}
        assert check.worst == float(campaign.margins[check.name].min())
    assert report.state == "failed" and report.complete


def test_rates_leave_out_untested_lanes_and_count_errors_as_not_passed(campaign: Campaign) -> None:
    verdicts = torch.full((60,), int(Verdict.PASS))
    verdicts[:10], verdicts[10:13], verdicts[13] = int(Verdict.UNTESTED), int(Verdict.ERROR), int(Verdict.FAIL)
    changed = replace(campaign, verdicts={name: verdicts for name in campaign.verdicts})
    table = table_of(campaign_report(changed, BARE, pictures=0), "Pass rates")
    low, high = interval(46, 50)
    assert table.rows[0][2:] == (50, 46, "92 %", f"{share(low)} to {share(high)}")


def test_groups_are_reported_apart_and_add_up(campaign: Campaign, report: Report) -> None:
    rows = {(row[0], row[1]): row for row in table_of(report, "Groups of lanes apart").rows}
    for name in campaign.margins:
        others, faulty = rows[name, "all other lanes"], rows[name, "only a faulty probe"]
        both = [a + b for a, b in zip(others[3:7], faulty[3:7])]
        assert both == [campaign.count(name, v) for v in ("pass", "fail", "untested", "error")]
        assert sum(faulty[3:7]) == int(campaign.drawn["probe.fault"].sum())


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"verdicts": Verdict.PASS}, "passed"),
        ({"verdicts": Verdict.UNTESTED}, "untested"),
        ({"verdicts": Verdict.ERROR}, "failed"),
        ({"verdicts": Verdict.PASS, "asked": 61, "complete": False}, "incomplete"),
        ({"verdicts": Verdict.FAIL, "asked": 61, "complete": False}, "failed"),
    ],
)  # fmt: skip
def test_a_page_is_passed_only_when_everything_ran_and_was_tested(
    campaign: Campaign, change: dict[str, Any], state: str
) -> None:
    verdict = change.pop("verdicts")
    changed = replace(campaign, verdicts={n: torch.full((60,), int(verdict)) for n in campaign.verdicts}, **change)
    page = campaign_report(changed, BARE, pictures=0)
    assert page.state == state and page.complete == changed.complete
    html, markdown = page.to_html(), page.to_markdown()
    banner = "INCOMPLETE: 60 of 61 lanes"
    assert (banner in html) == (banner in markdown) == (not page.complete)
    if not page.complete:
        assert "PASSED" not in html and "PASSED" not in markdown


def test_failed_lanes_are_named_with_cause_and_command(campaign: Campaign) -> None:
    changed = replace(campaign, status={7: (12.5, "room.temperature is not finite")})
    page = campaign_report(changed, STUDY, pictures=0)
    assert page.counts.failed == 1 and page.counts.ran == 59
    assert table_of(page, "Lanes that failed to run").rows == ((7, 12.5, "room.temperature is not finite"),)
    assert "simdl run tests.study:STUDY --lane 7 --seed 1" in page.to_html()


# ---- its size


def test_page_does_not_grow_with_the_number_of_lanes(campaign: Campaign) -> None:
    lanes = 100_000
    random = torch.Generator().manual_seed(0)
    many = replace(
        campaign, ids=torch.arange(lanes), asked=lanes, traces={},
        drawn={name: torch.rand(lanes, generator=random, dtype=torch.float64) for name in campaign.drawn},
        margins={n: torch.randn(lanes, generator=random, dtype=torch.float64) + 3 for n in campaign.margins},
        verdicts={n: torch.full((lanes,), int(Verdict.FAIL)) for n in campaign.verdicts},
        decided={n: torch.zeros(lanes) for n in campaign.decided},
        status={lane: (1.0, "a long cause " * 50) for lane in range(0, lanes, 3)},
    )  # fmt: skip
    page = campaign_report(many, STUDY, pictures=0)
    few = campaign_report(campaign, STUDY, pictures=0)
    assert len(page.to_html().encode()) < 2_000_000 < 10_000_000
    assert len(page.to_json().encode()) < 2_000_000
    drawn = [sum(isinstance(part, Figure) for part in parts(one)) for one in (page, few)]
    assert drawn[0] <= drawn[1] + 3
    table = table_of(page, "Lanes that failed to run")
    assert len(table.rows) == MOST_KEPT and table.total == 33_334 and table.hidden == 33_134
    assert "33134 more rows are not shown" in page.to_html()


def test_pictures_beyond_the_limit_are_left_out_and_their_numbers_stay(report: Report) -> None:
    from simdl.report.parts import Section

    fat = Figure("fat", "a fat one", svg="<svg>" + "x" * 900_000 + "</svg>", table=Table("t", ("a",), ((1.5,),)))
    page = replace(report, sections=(Section("pictures", (fat,) * 30),)).to_html()
    assert len(page.encode()) < 10_000_000
    assert page.count("left out to keep the page small") == 24 and page.count("<td") + page.count("<th scope=row") >= 30


@given(st.integers(1, 5000), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_thinning_keeps_every_extreme_and_both_ends(n: int, seed: int) -> None:
    values = np.random.default_rng(seed).standard_cauchy(n)
    t = np.arange(n) * 0.1
    few_t, few = figures.thinned(t, values, False, points=200)
    assert len(few) <= max(n if n <= 200 else 0, 204)
    assert few.min() == values.min() and few.max() == values.max()
    assert few[0] == values[0] and few[-1] == values[-1] and np.all(np.diff(few_t) > 0)
    assert np.array_equal(values[np.searchsorted(t, few_t)], few)


def test_a_drawing_of_many_marks_becomes_a_picture_of_points() -> None:
    from simdl.report.svg import LARGEST, drawing, rendered

    with drawing() as (drawn, [[axes]]):
        axes.scatter(np.random.default_rng(0).random(20_000), np.random.default_rng(1).random(20_000))
        svg, png = rendered(drawn)
    assert svg == "" and png.startswith(b"\x89PNG") and len(png) < LARGEST


# ---- its twins


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Table(_Strict):
    kind: Literal["table"]
    title: str
    columns: list[str]
    rows: list[list[str | float | int | bool | None]]
    total: int
    note: str


class _Note(_Strict):
    kind: Literal["note"]
    text: str
    tone: Literal["plain", "good", "bad", "warn"]


class _Command(_Strict):
    kind: Literal["command"]
    label: str
    line: str


class _Figure(_Strict):
    kind: Literal["figure"]
    title: str
    alt: str
    caption: str
    table: _Table | None


class _Section(_Strict):
    title: str
    parts: list[_Table | _Note | _Command | _Figure]


class _Lanes(_Strict):
    asked: int
    ran: int
    failed: int
    missing: int


class _Requirement(_Strict):
    name: str
    text: str
    counts: dict[Literal["pass", "fail", "untested", "error"], int]
    worst: float | Literal["inf", "-inf"] | None
    held: bool
    tested: bool
    message: str


class _Origin(_Strict):
    date: str
    command: str
    seed: int
    model: str
    digest: str
    versions: dict[str, str]
    machine: str
    settings: dict[str, str]


class Twin(_Strict):
    """The JSON of a report. A change here is a change for programs that read it."""

    schema_: Literal["simdl-report-1"]
    kind: Literal["run", "campaign", "codesign"]
    title: str
    state: Literal["passed", "failed", "untested", "incomplete", "unchecked"]
    complete: bool
    banner: str
    summary: str
    missing: list[str]
    resume: str
    lanes: _Lanes
    requirements: list[_Requirement]
    origin: _Origin
    sections: list[_Section]

    @classmethod
    def of(cls, text: str) -> Twin:
        read = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        return cls.model_validate({"schema_": read.pop("schema"), **read})


def test_json_twin_keeps_its_schema_and_conserves_lanes(campaign: Campaign, report: Report) -> None:
    for page in (report, campaign_report(replace(campaign, asked=70, complete=False), BARE),
                 run_report(simulate(House(), until="2 min"))):  # fmt: skip
        twin = Twin.of(page.to_json())
        assert twin.lanes.asked == twin.lanes.ran + twin.lanes.failed + twin.lanes.missing
        for requirement in twin.requirements:
            assert sum(requirement.counts.values()) == twin.lanes.ran + twin.lanes.failed
        for figure in (p for s in twin.sections for p in s.parts if isinstance(p, _Figure)):
            assert figure.alt.endswith(".") and figure.table is not None and figure.table.rows


def test_numbers_that_are_none_survive_as_json() -> None:
    table = Table("t", ("a", "b", "c", "d"), ((math.nan, math.inf, -math.inf, Mark("fail", "bad")),))
    assert json.loads(json.dumps(table.twin(), allow_nan=False))["rows"] == [[None, "inf", "-inf", "fail"]]
    assert table.texts() == [["none", "∞", "-∞", "✗ fail"]]


def test_page_says_what_makes_it_again(campaign: Campaign, report: Report) -> None:
    from simdl.compile.digest import digest

    html = report.to_html()
    for word in ("simdl validate tests.study:STUDY --lanes 60 --seed 1", digest(campaign.model),
                 f"torch {torch.__version__}", "30 min", report.origin.date):  # fmt: skip
        assert word in html and (word in report.to_json() or "torch" in word)


def test_the_same_campaign_makes_the_same_page(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first, second = (campaign_report(STUDY.campaign(60, seed=1), STUDY).to_html() for _ in range(2))
    assert first == second and "2023-11-14 22:13:20 UTC" in first


def test_all_files_are_written_beside_each_other(report: Report, tmp_path: Path) -> None:
    assert report.save(tmp_path / "deep" / "page.html") == tmp_path / "deep" / "page.html"
    assert {p.name for p in (tmp_path / "deep").iterdir()} == {"page.html", "page.json", "page.md", "page.xml"}
    assert report.save(tmp_path / "folder") == tmp_path / "folder" / "report.html"
    tables = report.save_tables(tmp_path / "csv")
    assert len(tables) == len(report.tables()) and tables[0].name == "01-verdicts.csv"


def test_junit_has_a_case_for_each_requirement(campaign: Campaign, report: Report) -> None:
    suite = ElementTree.fromstring(report.to_junit())
    cases = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    assert cases["not hot"] == [] and cases["warm"] == ["failure"] and cases["after heating"] == ["skipped"]
    assert suite.get("failures") == "1" and suite.get("errors") == "0"
    cut = ElementTree.fromstring(campaign_report(replace(campaign, asked=70, complete=False), STUDY).to_junit())
    assert cut.get("errors") == "1"


def test_csv_takes_no_text_for_a_formula() -> None:
    table = Table("t", ("=name", "value"), (("=1+1", -2.5), ("@x", 3), ("\tz", None), ("-1 lanes", 1.0), ("plain", 0)))
    rows = list(csv.reader(io.StringIO(table.to_csv())))
    assert [row[0] for row in rows] == ["'=name", "'=1+1", "'@x", "'\tz", "'-1 lanes", "plain"]
    assert rows[1][1] == "-2.5"


@given(st.text())
def test_clean_text_is_what_xml_can_hold_and_loses_nothing_else(text: str) -> None:
    found = clean(text)
    ElementTree.fromstring(f"<a>{found.replace('&', '').replace('<', '').replace('>', '')}</a>")
    assert clean(found) == found
    if text.isascii() and text.isprintable():
        assert found == text


def test_a_table_refuses_rows_of_another_width() -> None:
    with pytest.raises(ValueError, match="2 cells in a row, 1 columns"):
        Table("t", ("a",), ((1, 2),))


# ---- runs and campaigns of Python


def test_a_run_without_requirements_has_a_page_too() -> None:
    page = run_report(simulate(House(), until="10 min", lanes=3), title="a house")
    assert page.state == "unchecked" and page.counts.ran == 3 and "NO REQUIREMENTS" in page.to_html()


def test_a_campaign_without_a_scenario_has_a_page_too(campaign: Campaign) -> None:
    page = campaign_report(campaign)
    assert page.title == "House: 60 lanes" and "made in Python" in page.origin.command


def parts(report: Report) -> list[Any]:
    return [part for section in report.sections for part in section.parts]


def table_of(report: Report, title: str) -> Table:
    (found,) = [table for table in report.tables() if table.title == title]
    return found
