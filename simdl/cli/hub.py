"""`simdl hub`."""

from __future__ import annotations

from pathlib import Path

import click

from simdl.cli.options import options
from simdl.cli.request import spare
from simdl.cli.terminal import document, session

ACTIONS = ("list", "show", "load")


@click.command("hub")
@click.argument("action", type=click.Choice(ACTIONS))
@click.argument("name", required=False)
@click.option("--category", help="Only networks of this category.")
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path),
              help="Where `load` copies to.  [default: a folder of that name]")  # fmt: skip
@options("force")
def command(action: str, name: str | None, category: str | None, folder: Path | None, force: bool) -> None:
    """The networks that ship with simdl: `list` them, `show` one's card, `load` it: copy card and weights."""
    from simdl import hub

    if action == "list":
        found = hub.entries(category)
        if session().json:
            document([entry.twin() | {"card": entry.card} for entry in found.values()])
            return
        for heading in sorted({entry.category for entry in found.values()}):
            click.echo(click.style(heading, bold=True))
            for entry in found.values():
                if entry.category == heading:
                    click.echo(f"  {entry.name}  {entry.title}")
        return
    if name is None:
        raise click.UsageError(f"simdl hub {action} NAME: which one? There are: {', '.join(hub.entries())}.")
    entry = hub.entry(name)
    if action == "show":
        about = entry.twin()
        if session().json:
            document(about)
            return
        card = about["card"]
        click.echo(f"{entry.name}: {entry.title}\n{entry.category}; made for the slot {entry.slot} of {entry.scenario}")
        for what in ("inputs", "outputs"):
            for one in card[what]:
                box = "" if one["low"] is None else f", from {one['low']} to {one['high']}"
                unit = f" [{one['unit']}]" if one["unit"] else ""
                click.echo(f"  {what[:-1]} {one['name']}{unit}{box}")
        click.echo(f"  {card['kind']} {card['factory']}, every {card['sample_time_ns'] / 1e9:g} s, {card['dtype']}, "
                   f"{card['weights']['size']} bytes of weights")  # fmt: skip
        for metric, value in card["metrics"].items():
            click.echo(f"  {metric}: {value:.4g}")
        click.echo(f"  look inside with  simdl network {entry.folder}")
        return
    folder = folder or Path(name)
    spare(folder, force)
    made = hub.copy(name, folder, force=force)
    if session().json:
        document({"name": name, "folder": str(made)})
        return
    click.echo(f"{made}\nuse it with  simdl validate {entry.scenario} --network {entry.slot}={made}")
