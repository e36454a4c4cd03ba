"""The page itself: it asks nothing of anybody, runs nothing, and can be read by everybody."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from simdl.campaign import Campaign
from simdl.report import Command, Figure, Note, Report, Section, Table, campaign_report
from simdl.report.markdown import summary, table
from tests.study import STUDY

HOSTILE = (
    "<script>alert(1)</script>", "</script><script>alert(2)</script>", '"><img src=x onerror=alert(3)>',
    "{{ 7 * 7 }}{% raw %}", "]]><svg onload=alert(4)>", "<!--", "a\u202eb\x00\x1b[31m", "http://evil.example/x",
    "&lt;b&gt;", "$x_{1}$ \\alpha", "_hidden", "x" * 5000, "|`pipe`| [link](javascript:alert(5))", "'; DROP TABLE x",
)  # fmt: skip
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """What a browser sees: tags, attributes, and whether every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
            self.open.pop()

    def handle_data(self, data: str) -> None:
        for tag in self.open[-1:]:
            self.texts.setdefault(tag, []).append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return STUDY.campaign(40, seed=2)


@pytest.fixture(scope="module")
def html(campaign: Campaign) -> str:
    return campaign_report(campaign, STUDY).to_html()


def harmless(html: str, outside: str = "") -> Page:
    """The page runs no script, loads nothing, and every element is closed."""
    page = Page(html)
    assert page.open == []
    assert [script.get("type") for script in page.named("script")] == ["application/json"]
    tags = {tag for tag, _ in page.tags}
    assert tags & {"iframe", "object", "embed", "link", "base", "form", "foreignobject", "animate", "set"} == set()
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), f"<{tag} {name}>"
            if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                assert str(value).startswith(("#", "data:image/png;base64,")), f"<{tag} {name}={value!r:.60}>"
            if name == "style":
                assert "url(" not in str(value).replace("url(#", "")
    assert "@import" not in html and "url(" not in "".join(page.texts["style"])
    return page


def test_page_asks_nothing_of_the_network(html: str) -> None:
    page = harmless(html)
    assert "http://" not in html and "https://" not in html and "//cdn" not in html
    (policy,) = [m["content"] for m in page.named("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    allowed = dict(part.strip().split(" ", 1) for part in str(policy).split(";"))
    assert allowed["default-src"] == "'none'" and "script-src" not in allowed
    assert allowed == {"default-src": "'none'", "style-src": "'unsafe-inline'", "img-src": "data:",
                       "base-uri": "'none'", "form-action": "'none'"}  # fmt: skip
    # The policy comes before anything that it governs.
    assert html.index("Content-Security-Policy") < html.index("<style>") < html.index("<svg")


def test_names_of_anybodys_making_stay_text(campaign: Campaign) -> None:
    for_each = dict(enumerate(HOSTILE))
    verdicts, margins = next(iter(campaign.verdicts.values())), next(iter(campaign.margins.values()))
    decided = next(iter(campaign.decided.values()))
    rule = next(iter(campaign.job.requirements.values()))
    named = {name: verdicts for name in HOSTILE}
    changed = replace(
        campaign, verdicts=named, margins={n: margins for n in HOSTILE}, decided={n: decided for n in HOSTILE},
        drawn={**campaign.drawn, **{n: margins for n in HOSTILE}},
        status={i: (1.0, text) for i, text in for_each.items()},
        job=replace(campaign.job, requirements=dict.fromkeys(HOSTILE, rule), seed=3),
    )  # fmt: skip
    scenario = replace(STUDY, name="<script>alert(0)</script>", groups={HOSTILE[0]: "probe.fault"})
    report = campaign_report(changed, scenario, title="</title><script>alert(9)</script>", pictures=1)
    html = report.to_html()
    page = harmless(html)
    assert "".join(page.texts["title"]).startswith("FAILED: </title><script>alert(9)</script>")
    inside = json.loads("".join(page.texts["script"]))
    assert inside == json.loads(report.to_json())
    assert [r["name"] for r in inside["requirements"]][:2] == list(HOSTILE[:2])
    for character in "\x00\x1b\u202e":
        assert character not in html
    assert "49" not in "".join(page.texts.get("caption", [])) and "{{ 7 * 7 }}" in html
    prose, command, rest = report.to_markdown().split("```")  # what is fenced stands as it is
    assert "<script" not in prose + rest and "<script>" in command
    assert re.search(r"(?<!\\)[\[\]]", prose + rest) is None  # no link
    assert "&lt;script" in report._repr_html_()


@given(st.lists(st.text(max_size=60), min_size=7, max_size=7), st.floats())
@settings(max_examples=40, deadline=None)
def test_any_text_anywhere_is_shown_as_text(bare: Report, texts: list[str], value: float) -> None:
    a, b, c, d, e, f, g = texts
    made = Section(a, (Note(b, "warn"), Command(c, d), Table(e, (f, "value"), ((g, value),), note=a),
                       Figure(b, c, svg="<svg></svg>", caption=d, table=Table(e, (f,), ((g,),)))))  # fmt: skip
    report = replace(bare, title=a, summary=b, missing=(c,), resume=d, sections=(made,))
    page = harmless(report.to_html())
    assert json.loads("".join(page.texts["script"])) == json.loads(report.to_json())
    assert "<" not in summary(report).replace("&lt;", "").split("```")[0]


def test_every_figure_has_a_name_and_its_numbers(html: str) -> None:
    page = Page(html)
    pictures = [a for tag, a in page.tags if tag == "svg"]
    assert len(pictures) >= 3
    for attributes in pictures:
        assert attributes["role"] == "img" and len(str(attributes["aria-label"])) > 20
    assert html.count("<figure>") == html.count("<figcaption>") == html.count("In words and numbers") == len(pictures)


def test_structure_is_one_a_screen_reader_can_walk(html: str) -> None:
    page = Page(html)
    assert page.named("html") == [{"lang": "en"}] and len(page.named("h1")) == 1 and len(page.named("main")) == 1
    identities = [a["id"] for _, a in page.tags if "id" in a]
    assert len(identities) == len(set(identities))
    for _, attributes in page.tags:
        for name in ("href", "xlink:href"):
            if str(attributes.get(name, "")).startswith("#"):
                assert str(attributes[name])[1:] in identities
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in identities
    for reference in re.findall(r"url\(#([^)]*)\)", html):
        assert reference in identities
    assert len(page.named("caption")) == len(page.named("table"))
    assert all(th.get("scope") in ("col", "row") for th in page.named("th"))
    assert all(div.get("tabindex") == "0" for div in page.named("div") if div.get("class") == "scroll")


def test_pictures_have_axes_with_units_and_no_color_of_their_own(html: str) -> None:
    pictures = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    text = " ".join(re.findall(r"<text[^>]*>([^<]*)<", " ".join(pictures)))
    for axis in ("t [s]", "margin of warm [degC]", "[degC]", "[W]", "lanes"):
        assert axis in text
    # Colours come from the page, so that one picture is right on light, on dark and on paper.
    assert re.findall(r"(?:fill|stroke): #[0-9a-f]+", " ".join(pictures)) == []


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_text_has_the_contrast_of_wcag_aa(scheme: str) -> None:
    colors = _colors()[scheme]
    for ink in ("ink", "soft", "link"):
        for ground in ("paper", "raised"):
            assert contrast(colors[ink], colors[ground]) >= 4.5, (ink, ground)
    for tone in ("good", "bad", "warn"):
        assert contrast(colors[tone], colors[f"{tone}-ground"]) >= 4.5
        assert contrast(colors[tone], colors["paper"]) >= 4.5
    for line in ("c0", "c1", "c2", "c3"):  # what lines are drawn in first
        assert contrast(colors[line], colors["paper"]) >= 3.0, line


def test_markdown_tables_are_tables() -> None:
    text = table(Table("", ("a|b", "n"), (("x\ny", 1.0), ("`c`", None))))
    assert text.splitlines() == ["| a\\|b | n |", "| --- | ---: |", "| x y | 1 |", "| \\`c\\` | – |"]


@pytest.fixture(scope="module")
def bare(campaign: Campaign) -> Report:
    return replace(campaign_report(campaign, pictures=0), sections=())


def _colors() -> dict[str, dict[str, str]]:
    css = files("simdl.report").joinpath("page.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    read: list[dict[str, Any]] = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks]
    light, dark, paper = read
    assert set(light) == set(paper) | {f"c{i}" for i in range(1, 8)} - {"c6"}
    return {"light": light, "dark": {**light, **dark}, "print": {**light, **dark, **paper}}


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
