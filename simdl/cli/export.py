"""`simdl export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from simdl.cli.options import Whole, options
from simdl.cli.program import Ending
from simdl.cli.request import Request, check_network, spare
from simdl.cli.terminal import document, session, tell


@click.command("export")
@click.argument("what")
@click.argument("slot", required=False)
@click.option("--to", "path", required=True, type=click.Path(dir_okay=False, path_type=Path),
              help="The file: its ending says the format, .onnx, .pt2 or .c.")  # fmt: skip
@click.option("--check", "lanes", type=Whole(1), metavar="LANES",
              help="Put the file back into the loop for that many lanes and compare.")  # fmt: skip
@click.option("--no-normalisation", "bare", is_flag=True, help="Leave the card's normalisation out of the file.")
@click.option("--factory", help="Of a card whose network is made by Python code: package:function.")
@options("network", "seed", "quick", "until", "force")
def command(
    what: str, slot: str | None, path: Path, lanes: int | None, bare: bool, factory: str | None,
    networks: dict[str, str], seed: int, quick: bool, until: Any, force: bool,
) -> int:  # fmt: skip
    """Write a network as ONNX, as a torch.export program or as C, and compare the file with the network.

    WHAT is a scenario, and SLOT the slot that holds the network; or WHAT is a card's folder or a network's file.

    The hidden state becomes inputs and outputs, for use one tick at a time. FILE.json, beside the file, names ports,
    units, states and what the comparison found. --check (with a scenario) runs a campaign with the file in the slot;
    exit code 1 when a verdict differs.
    """
    from simdl.export.kind import check_format

    speak = session()
    check_format(path)
    for made_here in (path, path.with_name(path.name + ".json")):
        spare(made_here, force)
    if slot is None:
        if lanes is not None:
            raise click.UsageError("--check needs a scenario and a slot: there is no loop to put a lone network into.")
        from simdl.scenario import names

        if what in names() and not Path(what).exists():
            raise click.UsageError(f"Which slot of {what}? `simdl slots {what}` lists them.")
        check_network(what, what)
        from simdl.export import export
        from simdl.hub import know_architectures
        from simdl.networks import open_network

        know_architectures(what)
        more: dict[str, Any] = {"factory": factory} if factory else {}
        made = export(open_network(what, **more), path, normalise=not bare)
        if speak.json:
            document({**made.twin(), "path": str(path), "loop": None})
        else:
            click.echo(str(made))
        return int(Ending.OK)
    if lanes is not None and bare:
        raise click.UsageError("--check needs the normalisation in the file.")
    study = Request("export", what, seed, None, None, {}, networks, until, quick).study()
    from simdl.export import check_in_loop, export
    from simdl.export.loop import in_slot

    made = export(in_slot(study, slot), path, normalise=not bare)  # type: ignore[arg-type]
    if not speak.json:
        click.echo(str(made))
    if lanes is None:
        if speak.json:
            document({**made.twin(), "path": str(path), "loop": None})
        return int(Ending.OK)
    tell(f"{study.name}: {lanes} lanes with the network, and {lanes} with the file")
    loop = check_in_loop(study, slot, made, lanes, seed=seed, progress=speak.progress)
    if speak.json:
        document({**made.twin(), "path": str(path), "loop": loop.twin()})
    else:
        click.echo(str(loop))
    if not loop.complete:
        return int(Ending.INCOMPLETE)
    return int(Ending.OK if loop.agrees else Ending.FAILED)
