"""`simdl list`: the scenarios by name. Reads a table; imports no scenario and no torch."""

from __future__ import annotations

import click

from simdl.cli.options import options
from simdl.cli.terminal import document, session


@click.command("list")
@options()
def command() -> None:
    """The scenarios that can be run by name."""
    from simdl.scenario import names

    found = names()
    if session().json:
        document(found)
        return
    width = max(map(len, found), default=0)
    for name, title in found.items():
        click.echo(f"{name:{width}}  {title}")
    if not session().quiet:
        click.echo("\nOne of your own is named by where it is: package.module:ATTRIBUTE", err=True)
