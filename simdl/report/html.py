"""The page: HTML that needs no other file, runs no program, and asks nothing of the network.

Names come from anybody: all text goes through the template's escaping; the JSON inside has `<` and `&` escaped, so
that no string in it can end its element.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from simdl.report.parts import Command, Figure, Mark, Note, Part, Section
from simdl.report.svg import apart
from simdl.report.text import clean

if TYPE_CHECKING:
    from simdl.report.report import Report

LARGEST = 10_000_000  # bytes of a page
PICTURES = 6_000_000  # bytes of all its pictures; further ones are left out, their numbers stay

VERDICTS = {
    "passed": Mark("PASSED", "good"),
    "failed": Mark("FAILED", "bad"),
    "untested": Mark("UNTESTED", "warn"),
    "incomplete": Mark("INCOMPLETE", "bad"),
    "unchecked": Mark("NO REQUIREMENTS", "plain"),
}


def page(report: Report) -> str:
    """The report as one HTML page of at most 10 MB."""
    from markupsafe import Markup

    report = replace(report, sections=_bounded(report.sections))
    # No string in the JSON can end its element, and none is taken for an entity by what reads it as XML.
    twin = json.dumps(report.twin(), ensure_ascii=False, allow_nan=False)
    twin = twin.replace("<", "\\u003c").replace("&", "\\u0026")
    environment = _environment()
    number = 0

    def render(part: Part) -> Markup:
        nonlocal number
        macros: Any = environment.get_template("parts.html").module
        if isinstance(part, Figure):
            number += 1
            return Markup(macros.figure(part, number, Markup(_picture(part, number))))
        macro = macros.note if isinstance(part, Note) else macros.command if isinstance(part, Command) else macros.table
        return Markup(macro(part))

    environment.filters["part"] = render
    text: str = environment.get_template("page.html").render(
        report=report, css=Markup(_file("page.css")), twin=Markup(twin), verdict=VERDICTS[report.state],
        held=sum(check.held and check.tested for check in report.checks),
    )  # fmt: skip
    return text


def _environment() -> Any:
    from jinja2 import Environment, FunctionLoader

    environment = Environment(loader=FunctionLoader(_file), autoescape=True, trim_blocks=False)
    environment.filters["clean"] = clean
    return environment


@cache
def _file(name: str) -> str:
    return files("simdl.report").joinpath(name).read_text(encoding="utf-8")


def _picture(figure: Figure, number: int) -> str:
    label = escape(clean(figure.alt), quote=True)
    if figure.svg:
        return apart(figure.svg, number).replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    if figure.png:
        data = base64.b64encode(figure.png).decode()
        return f'<img alt="{label}" src="data:image/png;base64,{data}">'
    return '<p class="more">This picture was left out to keep the page small; its numbers are below.</p>'


def _bounded(sections: tuple[Section, ...]) -> tuple[Section, ...]:
    """The sections with pictures only as far as they fit into the page."""
    left = PICTURES
    found = []
    for section in sections:
        parts: list[Part] = []
        for part in section.parts:
            if isinstance(part, Figure):
                left -= part.size
                if left < 0:
                    left += part.size
                    part = replace(part, svg="", png=b"")
            parts.append(part)
        found.append(replace(section, parts=tuple(parts)))
    return tuple(found)
