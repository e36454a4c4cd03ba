"""Commands about pictures and networks: `show`, `train` and `transfer`."""

import platform
from pathlib import Path

import click
import torch

import simdl

PROGRAM = "python -m simdl.scenarios.visual_inspection"
OUT = click.option("--out", type=Path, required=True, help="the folder that is written")


@click.command()
@click.option("--each", default=3, help="pictures of a kind")
@click.option("--seed", default=0)
@OUT
def show(each: int, seed: int, out: Path) -> None:
    """A contact sheet of parts by family and defect: sheet.png."""
    from simdl.scenarios.visual_inspection import parts, sheet

    out.mkdir(parents=True, exist_ok=True)
    families = range(len(parts.FAMILIES))
    sheet.draw(sheet.pictures(families, each, seed), families, out / "sheet.png")
    click.echo(f"{out / 'sheet.png'}")


@click.command()
@click.option("--pictures", default=16384)
@click.option("--epochs", default=18)
@click.option("--seed", default=0)
@click.option("--checkpoint", type=Path, help="a folder from which an interrupted training goes on")
@OUT
def train(pictures: int, epochs: int, seed: int, checkpoint: Path | None, out: Path) -> None:
    """Train the inspector that ships again, and save its card."""
    from simdl.scenarios.visual_inspection import recipe

    card = recipe.train(out, pictures, epochs, seed, checkpoint=checkpoint)
    for name, value in card.metrics.items():
        click.echo(f"{name}: {value:.4g}")


@click.command()
@click.option("--seeds", default=3, help="draws of the labelled pictures")
@OUT
def transfer(seeds: int, out: Path) -> None:
    """Escape rate of a new part against labelled pictures: table, figure and contact sheet.

    An interrupted study goes on where it was: what is found is kept in points.jsonl.
    """
    from simdl.scenarios.visual_inspection import parts, sheet, transfer as transfers, transfer_page

    out.mkdir(parents=True, exist_ok=True)
    found = transfers.study(seeds=seeds, kept=out / "points.jsonl", say=click.echo)
    families = range(len(parts.FAMILIES))
    sheet.draw(sheet.pictures(families), families, out / "sheet.png")
    versions = [f"simdl {simdl.__version__}", f"torch {torch.__version__}", f"Python {platform.python_version()}"]
    transfer_page.write(found, out, f"{PROGRAM} transfer --seeds {seeds} --out {out}", versions)
    click.echo(transfer_page.table(found))
    for line in transfer_page.claims(found):
        click.echo(line)
