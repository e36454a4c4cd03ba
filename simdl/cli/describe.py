"""`simdl describe`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from simdl.cli.options import Whole, options
from simdl.cli.request import Request, spare
from simdl.cli.terminal import document, session


@click.command("describe")
@options("scenario", "network", "quick", "force")
@click.option(
    "--svg", "picture", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Draw the diagram into this file; a name that ends in .png gives a PNG.",
)
@click.option("--depth", type=Whole(1), help="Levels of nested diagrams to open in the picture.")
@click.option("--engine", is_flag=True, help="Also what the native engine would run in C, and what it would not.")
def command(
    scenario: str, networks: dict[str, str], quick: bool, picture: Path | None, depth: int | None, engine: bool,
    force: bool,
) -> None:  # fmt: skip
    """What SCENARIO is: what varies, what must hold, its slots, and the compiled schedule.

    SCENARIO is a name from `simdl list`, or package.module:ATTRIBUTE for one of your own.
    """
    if picture is not None:
        spare(picture, force)
    study = Request("describe", scenario, networks=networks, quick=quick).study()
    if picture is not None:
        from simdl.draw import draw

        picture.parent.mkdir(parents=True, exist_ok=True)
        draw(study.build(), picture, depth=depth)
    if not session().json:
        click.echo(study.describe(engine))
        return
    diagram = study.build()
    from simdl.slots import slots_of

    found: dict[str, Any] = {
        "name": study.name, "title": study.title, "until": study.until, "every": study.every,
        "space": {path: repr(what) for path, what in study.space.items()},
        "requirements": {name: str(text) for name, text in study.requirements.items()},
        "groups": dict(study.groups), "slots": {name: str(slot) for name, slot in slots_of(diagram).items()},
        "networks": {name: str(what) for name, what in {**study.defaults, **study.networks}.items()},
        "design": study.design is not None, "schedule": diagram.describe(),
    }  # fmt: skip
    document(found | ({"engine": study.partition(diagram)} if engine else {}))
