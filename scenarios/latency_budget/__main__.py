"""Margins against latency, jitter and load: `python -m simdl.scenarios.latency_budget --lanes 200 --out folder`."""

import platform
from pathlib import Path

import click
import torch

import simdl
from simdl.scenarios.latency_budget import recipe, study


@click.group()
def main() -> None:
    """How late may the controller be?"""


@main.command("study")
@click.option("--lanes", default=100)
@click.option("--seed", default=0)
@click.option("--out", type=Path, required=True, help="the folder of the table and the figure")
def _study(lanes: int, seed: int, out: Path) -> None:
    """Sweep load and delay, and write the table and the figure."""
    found = study.sweep(lanes, seed, say=click.echo)
    command = f"python -m simdl.scenarios.latency_budget study --lanes {lanes} --seed {seed} --out {out}"
    versions = [f"simdl {simdl.__version__}", f"torch {torch.__version__}", f"Python {platform.python_version()}"]
    study.write(found, out, command, versions)
    click.echo(study.table(found))


@main.command("train")
@click.option("--out", type=Path, required=True, help="where the card goes")
@click.option("--seed", default=0)
def _train(out: Path, seed: int) -> None:
    """Make the controller that ships again."""
    click.echo(recipe.train(out, seed=seed).metrics)


if __name__ == "__main__":
    main()
