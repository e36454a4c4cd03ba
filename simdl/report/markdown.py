"""The summary of a report in Markdown, for the page of a CI job."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from simdl.report.html import VERDICTS
from simdl.report.parts import Table
from simdl.report.text import clean, number

if TYPE_CHECKING:
    from simdl.report.report import Report


def summary(report: Report) -> str:
    """Verdict, counts, requirements, worst lanes' table if there is one, and the command."""
    lines = [f"# {VERDICTS[report.state]}: {text(report.title)}", ""]
    if not report.complete:
        lines += [f"**{report.banner}**", ""]
        lines += [f"- not run: {text(reason)}" for reason in report.missing] + [""] * bool(report.missing)
    if report.summary:
        lines += [text(report.summary), ""]
    lines += [f"Lanes: {report.counts}. Seed {report.origin.seed}.", ""]
    if report.checks:
        rows = [[c.name, *(c.counts[v] for v in ("pass", "fail", "untested", "error")), number(c.worst), c.message]
                for c in report.checks]  # fmt: skip
        columns = ["requirement", "pass", "fail", "untested", "error", "worst margin", ""]
        lines += [table(Table.of("", columns, rows)), ""]
    lines += ["```sh", _fenced(report.origin.command), "```", ""]
    lines += [", ".join(f"{n} {v}" for n, v in report.origin.versions.items()) + f"; {report.origin.date}", ""]
    return "\n".join(lines)


def table(found: Table) -> str:
    """A table as GitHub reads it."""
    right = found.numeric()
    head = [text(column) for column in found.columns]
    rule = ["---:" if r else "---" for r in right]
    body = [[text(cell) for cell in row] for row in found.texts()]
    lines = [f"| {' | '.join(row)} |" for row in (head, rule, *body)]
    return "\n".join(lines)


def text(value: object) -> str:
    r"""Text that Markdown shows as it is.

    >>> text("a|b <script> [x](y)")
    'a\\|b &lt;script&gt; \\[x\\](y)'
    """
    found = " ".join(clean(value).split())
    found = found.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", found)


def _fenced(command: str) -> str:
    return clean(command).replace("```", "` ` `")
