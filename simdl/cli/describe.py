"""`simdl describe`."""

from __future__ import annotations

from typing import Any

import click

from simdl.cli.options import options
from simdl.cli.request import Request
from simdl.cli.terminal import document, session


@click.command("describe")
@options("scenario", "network", "quick")
def command(scenario: str, networks: dict[str, str], quick: bool) -> None:
    """What SCENARIO is: what varies, what must hold, its slots, and the compiled schedule.

    SCENARIO is a name from `simdl list`, or package.module:ATTRIBUTE for one of your own.
    """
    study = Request("describe", scenario, networks=networks, quick=quick).study()
    if not session().json:
        click.echo(study.describe())
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
    document(found)
