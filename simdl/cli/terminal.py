"""What is printed: outcomes on standard output, everything else on standard error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from simdl.cli.program import Ending, Session

if TYPE_CHECKING:
    from pathlib import Path

    from simdl.report import Report

_COLORS = {"passed": "green", "failed": "red", "incomplete": "red", "untested": "yellow"}


def session() -> Session:
    """How this call was asked to speak."""
    found = click.get_current_context().find_object(Session)
    return found if found is not None else Session()


def tell(text: str) -> None:
    """A line about what is being done; nothing with -q."""
    if not session().quiet:
        click.echo(text, err=True)


def document(value: Any) -> None:
    """The one JSON document of --json."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False, default=str))


def outcome(report: Report, page: Path, failed: list[str], more: str = "") -> int:
    """Print the outcome of a command that wrote a report; returns its exit code.

    failed: commands that run failed lanes again, alone.
    """
    speak = session()
    code = ending(report)
    if speak.json:
        document({**report.twin(), "code": code, "page": str(page)})
        return code
    state = click.style(report.state.upper(), fg=_COLORS.get(report.state), bold=True)
    click.echo(f"{state}  {report.title}")
    if not report.complete:
        click.echo(click.style(report.banner, fg="red", bold=True))
        for reason in report.missing:
            click.echo(f"  not run: {reason}")
    if report.summary:
        click.echo(report.summary)
    table = requirement_table(report)
    if table:
        click.echo(f"\n{table}")
    if more:
        click.echo(f"\n{more}")
    if failed:
        click.echo("\nOne lane that failed to run, again and alone:\n" + "\n".join(f"  {line}" for line in failed[:1]))
    if report.resume:
        click.echo(f"\nRun the rest with\n  {report.resume}")
    click.echo(f"\nFigures and numbers: {page}")
    return code


def requirement_table(report: Report) -> str:
    """The requirements with their counts, for a terminal."""
    from simdl.report.parts import Table

    if not report.checks:
        return ""
    verdicts = ("pass", "fail", "untested", "error")
    if report.counts.asked == 1:
        alone = [[c.name, next((v for v in verdicts if c.counts[v]), ""), c.worst] for c in report.checks]
        return Table.of("", ["requirement", "verdict", "margin"], alone).to_text()
    columns = ["requirement", *verdicts, "worst margin"]
    rows = [[check.name, *(check.counts[v] for v in verdicts), check.worst] for check in report.checks]
    return Table.of("", columns, rows).to_text()


def ending(report: Report) -> int:
    """The exit code of a report: incomplete before failed, for what is not there cannot be judged."""
    if not report.complete:
        return int(Ending.INCOMPLETE)
    return int(Ending.FAILED if report.state == "failed" else Ending.OK)
