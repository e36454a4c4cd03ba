"""`simdl doctor`."""

from __future__ import annotations

import click

from simdl.cli.options import options
from simdl.cli.program import Ending
from simdl.cli.terminal import document, session


@click.command("doctor")
@options()
def command() -> int:
    """What simdl finds on this machine, and how to get what it does not."""
    from simdl.doctor import examine

    findings = examine()
    missing = [one for one in findings if one.state == "broken"]
    code = Ending.USAGE if missing else Ending.OK
    if session().json:
        document({"schema": "simdl-doctor-1", "code": int(code), "findings": [vars(one) for one in findings]})
        return int(code)
    signs = {"good": click.style("✓", fg="green"), "absent": click.style("–", fg="yellow"),
             "warn": click.style("!", fg="yellow"), "broken": click.style("✗", fg="red")}  # fmt: skip
    width = max(len(one.name) for one in findings)
    for one in findings:
        click.echo(f"{signs[one.state]} {one.name:{width}}  {one.value}")
        if one.advice and one.state != "good":
            click.echo(f"  {'':{width}}  {one.advice}")
    return int(code)
