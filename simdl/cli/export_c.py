"""`simdl export-c`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simdl.cli.options import Whole, options
from simdl.cli.program import Ending
from simdl.cli.request import Request, spare
from simdl.cli.terminal import document, session

if TYPE_CHECKING:
    from simdl.export.c import Exported
    from simdl.scenario import Scenario


@click.command("export-c")
@options("scenario", "seed", "set", "network", "until", "quick", "force", "engine")
@click.argument("path")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="The folder to write to.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True,
              help="Of all that is not a whole number.")  # fmt: skip
@click.option("--name", help="What functions and files begin with.  [default: from PATH]")
@click.option("--check", "check", type=Whole(1), metavar="LANES", help="Put the C back into the loop, and "
              "compare this many lanes with the design.")  # fmt: skip
def command(
    scenario: str, path: str, out: Path, dtype: str, name: str | None, check: int | None, seed: int,
    settings: dict[str, Any], networks: dict[str, str], until: Any, quick: bool, force: bool, engine: str,
) -> int:  # fmt: skip
    """Write the part of SCENARIO at PATH, such as loop.controller, as freestanding C99: an init and a step function,
    a test with signals of lane 0, and what it takes of a target.

    With --check the C goes back into the loop, and the exit code is 1 when any verdict differs from the design's.
    """
    spare(out, force)
    study = Request("export-c", scenario, seed, None, None, settings, networks, until, quick, engine=engine).study()
    from simdl.export.c import check_in_loop

    exported = _export(study, path, out, dtype, name, seed)
    result = check_in_loop(study, exported, check, seed=seed, progress=session().progress) if check else None
    if session().json:
        document({"files": [str(p) for p in exported.files], "size": exported.size.fields(),
                  "loop": result.twin() if result else None})  # fmt: skip
    else:
        click.echo("\n".join(str(file) for file in exported.files))
        click.echo(exported.table())
        if result is not None:
            click.echo(str(result))
    return Ending.OK if result is None or result.agrees else Ending.FAILED


def _export(study: Scenario, path: str, out: Path, dtype: str, name: str | None, seed: int) -> Exported:
    from simdl.export.c import export_c, lane_samples

    samples = lane_samples(study, path, seed=seed)
    return export_c(study.build(), path, out, dtype=dtype, name=name, set=study.set, ticks=256, samples=samples)
