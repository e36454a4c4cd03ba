"""`simdl slots`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from simdl.cli.options import options
from simdl.cli.request import Request
from simdl.cli.terminal import document, session

if TYPE_CHECKING:
    from simdl.declarations import Input, Output


@click.command("slots")
@options("scenario", "network")
def command(scenario: str, networks: dict[str, str]) -> None:
    """The places for networks in SCENARIO, and what fits there."""
    study = Request("slots", scenario, networks=networks).study()
    from simdl.slots import filling, slots_of

    diagram = study.build()
    found = slots_of(diagram)
    inside = {name: type(block).__name__ for name, block in filling(diagram).items()}
    given = {**study.defaults, **study.networks}
    if session().json:
        document({
            name: {
                "inputs": _ports(slot.inputs), "outputs": _ports(slot.outputs), "defaults": dict(slot.defaults),
                "every": str(slot.clock) if slot.clock else None, "holds": inside.get(name), "doc": slot.doc,
                "from": str(given[name]) if name in given else None,
            }
            for name, slot in found.items()
        })  # fmt: skip
        return
    if not found:
        click.echo(f"{study.name} has no slots.")
        return
    for name, slot in found.items():
        every = f" every {slot.clock}" if slot.clock else ""
        click.echo(f"{name}{every}, now with {inside.get(name)}{f' from {given[name]}' if name in given else ''}")
        if slot.doc:
            click.echo(f"  {slot.doc}")
        for what, ports in (("in ", slot.inputs), ("out", slot.outputs)):
            for port, one in ports.items():
                may = "  (may be left out)" if port in slot.defaults else ""
                click.echo(f"  {what} {port}{f' [{one.unit}]' if one.unit else ''}{_shape(one.shape)}{may}")
        click.echo(f"  fill it with  simdl run {study.name} --network {name}=FOLDER_OR_package:function")


def _ports(ports: Mapping[str, Input] | Mapping[str, Output]) -> dict[str, Any]:
    return {name: {"unit": one.unit, "shape": list(one.shape) if one.shape is not None else None}
            for name, one in ports.items()}  # fmt: skip


def _shape(shape: Any) -> str:
    return f" {tuple(shape)}" if shape else ""
