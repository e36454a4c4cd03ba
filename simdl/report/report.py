"""A report: what was asked, what came out, and how to make it again; as a page, as JSON, as Markdown, as JUnit XML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from simdl.report.origin import Origin
from simdl.report.parts import Section, Table
from simdl.report.text import clean

SCHEMA = "simdl-report-1"
State = Literal["passed", "failed", "untested", "incomplete", "unchecked"]


@dataclass(frozen=True)
class Counts:
    """Lanes: asked for, run to the end, failed on the way, not run. asked = ran + failed + missing."""

    asked: int
    ran: int
    failed: int

    @property
    def missing(self) -> int:
        return self.asked - self.ran - self.failed

    @property
    def complete(self) -> bool:
        return self.missing == 0

    def __str__(self) -> str:
        return f"{self.asked} asked, {self.ran} ran, {self.failed} failed to run, {self.missing} not run"


@dataclass(frozen=True)
class Check:
    """One requirement: its text, how many lanes passed and so on, the worst margin, and what to say about it."""

    name: str
    text: str
    counts: Mapping[str, int]  # pass, fail, untested, error
    worst: float
    message: str = ""

    @property
    def held(self) -> bool:
        return not self.counts["fail"] and not self.counts["error"]

    @property
    def tested(self) -> bool:
        return bool(self.counts["pass"] or self.counts["fail"] or self.counts["error"])


@dataclass(frozen=True)
class Report:
    """Sections under a verdict.

    title; kind: "run", "campaign" or "codesign"; counts of lanes; checks: one for each requirement; origin; sections;
    summary: the first sentence a person reads; missing: parts that were not run, with the reason.
    """

    title: str
    kind: str
    counts: Counts
    checks: tuple[Check, ...]
    origin: Origin
    sections: tuple[Section, ...]
    summary: str = ""
    missing: tuple[str, ...] = ()
    resume: str = field(default="")

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for was run."""
        return self.counts.complete and not self.missing

    @property
    def banner(self) -> str:
        """What stands above a page of which a part is missing; "" when nothing is."""
        if self.complete:
            return ""
        done = self.counts.ran + self.counts.failed
        lanes = f"{done} of {self.counts.asked} lanes"
        return f"INCOMPLETE: {lanes}" if self.counts.missing else f"INCOMPLETE: {lanes}, but not every part"

    @property
    def state(self) -> State:
        """The verdict in a word. A page is never "passed" while something was not run or not put to the test."""
        if any(not check.held for check in self.checks) or (self.counts.failed and not self.checks):
            return "failed"
        if not self.complete:
            return "incomplete"
        if not self.checks:
            return "unchecked"
        return "passed" if all(check.tested for check in self.checks) else "untested"

    def tables(self) -> list[Table]:
        """Every table of the page."""
        return [table for section in self.sections for table in section.tables()]

    def twin(self) -> dict[str, Any]:
        """The page as plain values."""
        from simdl.report.text import plain

        counts = self.counts
        return {
            "schema": SCHEMA, "kind": self.kind, "title": clean(self.title), "state": self.state,
            "complete": self.complete, "banner": self.banner, "summary": clean(self.summary),
            "missing": [clean(m) for m in self.missing], "resume": clean(self.resume),
            "lanes": {"asked": counts.asked, "ran": counts.ran, "failed": counts.failed, "missing": counts.missing},
            "requirements": [
                {"name": clean(c.name), "text": clean(c.text), "counts": dict(c.counts), "worst": plain(c.worst),
                 "held": c.held, "tested": c.tested, "message": clean(c.message)}
                for c in self.checks
            ],
            "origin": {k: clean(v) if isinstance(v, str) else v for k, v in self.origin.twin().items()},
            "sections": [section.twin() for section in self.sections],
        }  # fmt: skip

    def to_json(self) -> str:
        """The page's numbers as JSON: every table and what every figure shows. Not a number is null."""
        return json.dumps(self.twin(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_html(self) -> str:
        """One page that needs no other file and no network."""
        from simdl.report.html import page

        return page(self)

    def to_markdown(self) -> str:
        """A summary for the page of a pull request or of a CI job."""
        from simdl.report.markdown import summary

        return summary(self)

    def to_junit(self) -> str:
        """One test case for each requirement, for CI systems."""
        from simdl.report.junit import junit

        return junit(self)

    def save(self, path: str | Path) -> Path:
        """Write the page to `path` (report.html in a folder), its JSON, Markdown and JUnit twins beside it."""
        from simdl.data.durable import write_file

        path = Path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            path = path / "report.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        twins = {".json": self.to_json(), ".md": self.to_markdown(), ".xml": self.to_junit()}
        for suffix, text in {**twins, path.suffix: self.to_html()}.items():
            write_file(path.with_suffix(suffix), text.encode())
        return path

    def save_tables(self, folder: str | Path) -> list[Path]:
        """Write every table as CSV; returns the files."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for place, table in enumerate(self.tables(), 1):
            name = "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in table.title.lower()).split())
            path = folder / f"{place:02d}-{name[:60] or 'table'}.csv"
            path.write_text(table.to_csv(), encoding="utf-8")
            written.append(path)
        return written

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(f"<tr><th>{escape(clean(c.name))}</th><td>{escape(c.message)}</td></tr>" for c in self.checks)
        return f"<p><b>{escape(clean(self.title))}</b>: {self.state}; {self.counts}</p><table>{rows}</table>"

    def __repr__(self) -> str:
        return f"<Report {self.title!r}: {self.state}; {self.counts}>"
