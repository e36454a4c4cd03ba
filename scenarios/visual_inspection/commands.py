"""The commands of this folder: `show`, `study`, `train` and `transfer`, and what becomes of wrong input and Ctrl-C."""

import platform
import sys
from pathlib import Path
from typing import Any

import click
import torch

import simdl
from simdl.errors import SimdlError

PROGRAM = "python -m simdl.scenarios.visual_inspection"
COUNT = click.IntRange(min=1)
SEED = click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="of everything random")
QUICK = click.option("--quick", is_flag=True, help="far less of everything: to see that it works")
OUT = click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True,
                   help="the folder that is written")  # fmt: skip
USAGE, INTERRUPTED = 2, 3  # exit codes, as those of `simdl`


class Commands(click.Group):
    """Says what was wrong in a line, and what an interruption left, instead of a traceback."""

    def main(self, *args: Any, **options: Any) -> Any:
        try:
            super().main(*args, **{**options, "standalone_mode": False})
            code = 0
        except click.ClickException as error:
            error.show()
            code = USAGE
        except (SimdlError, OSError) as error:
            click.echo(f"error: {error}", err=True)
            code = USAGE
        except click.exceptions.Abort:
            click.echo("Interrupted: what was finished is kept. The same command goes on.", err=True)
            code = INTERRUPTED
        sys.exit(code)


def versions() -> list[str]:
    return [f"simdl {simdl.__version__}", f"torch {torch.__version__}", f"Python {platform.python_version()}"]


@click.command()
@click.option("--each", default=3, show_default=True, type=COUNT, help="pictures of a kind")
@SEED
@OUT
def show(each: int, seed: int, out: Path) -> None:
    """A contact sheet of parts by family and defect: sheet.png. Some ten seconds."""
    from simdl.scenarios.visual_inspection import parts, sheet

    out.mkdir(parents=True, exist_ok=True)
    families = range(len(parts.FAMILIES))
    sheet.draw(sheet.pictures(families, each, seed), families, out / "sheet.png")
    click.echo(f"{out / 'sheet.png'}")


@click.command()
@click.option("--lanes", default=64, show_default=True, type=COUNT, help="at each point")
@click.option("--seconds", default=8, show_default=True, type=COUNT, help="of every lane")
@SEED
@QUICK
@OUT
def study(lanes: int, seconds: int, seed: int, quick: bool, out: Path) -> None:
    """Sweep load and line rate: table and figures. Ten minutes of one core, one with --quick.

    An interrupted study goes on where it was: what is found is kept in counts.jsonl.
    """
    from simdl.scenarios.visual_inspection import figure, study as studies

    sweeps: dict[str, Any] = {}
    if quick:
        lanes, seconds = min(lanes, 8), min(seconds, 4)
        sweeps = {"loads": (0.0, 0.9), "flows": (2.0, 8.0)}
    found = studies.sweep(lanes, seconds, seed, kept=out / "counts.jsonl", say=click.echo, **sweeps)
    asked = " --quick" if quick else f" --lanes {lanes} --seconds {seconds}"
    figure.write(found, out, f"{PROGRAM} study{asked} --seed {seed} --out {out}", versions())
    click.echo(studies.table(found))


@click.command()
@click.option("--pictures", default=16384, show_default=True, type=click.IntRange(min=64))
@click.option("--epochs", default=18, show_default=True, type=COUNT)
@SEED
@QUICK
@click.option("--checkpoint", type=click.Path(file_okay=False, path_type=Path),
              help="the folder from which an interrupted training goes on  [default: OUT-training]")  # fmt: skip
@OUT
def train(pictures: int, epochs: int, seed: int, quick: bool, checkpoint: Path | None, out: Path) -> None:
    """Train the inspector that ships again, and save its card. Three minutes of one core."""
    from simdl.scenarios.visual_inspection import recipe

    if quick:
        pictures, epochs = min(pictures, 512), min(epochs, 4)
    out.mkdir(parents=True, exist_ok=True)
    kept = checkpoint or out.with_name(f"{out.name}-training")
    card = recipe.train(out, pictures, epochs, seed, checkpoint=kept)
    for name, value in card.metrics.items():
        click.echo(f"{name}: {value:.4g}")
    threshold = f"--set vision.ticket.threshold={card.metrics['threshold']:.3f}"
    click.echo(f"\nRun it in the loop with\n  simdl run visual_inspection --network inspector={out} {threshold}")


@click.command()
@click.option("--seeds", default=3, show_default=True, type=COUNT, help="draws of the labelled pictures")
@click.option("--scratch", type=COUNT, help="draws for training from scratch, which takes longest  [default: SEEDS]")
@QUICK
@OUT
def transfer(seeds: int, scratch: int | None, quick: bool, out: Path) -> None:
    """Escape rate of a new part against labelled pictures: table, figure and contact sheet. Four minutes of one core
    for each seed, half a minute with --quick.

    An interrupted study goes on where it was: what is found is kept in points.jsonl.
    """
    from simdl.scenarios.visual_inspection import parts, sheet, transfer as transfers, transfer_page

    options: dict[str, Any] = {"seeds": seeds, "scratch": scratch}
    if quick:
        options = {"seeds": 1, "labels": (25, 100), "tested": 1024}
    found = transfers.study(kept=out / "points.jsonl", say=click.echo, **options)
    families = range(len(parts.FAMILIES))
    sheet.draw(sheet.pictures(families), families, out / "sheet.png")
    asked = " --quick" if quick else f" --seeds {seeds}" + (f" --scratch {scratch}" if scratch else "")
    transfer_page.write(found, out, f"{PROGRAM} transfer{asked} --out {out}", versions())
    click.echo(transfer_page.table(found))
    for line in transfer_page.claims(found):
        click.echo(line)
