"""Study, pictures and training: `python -m simdl.scenarios.visual_inspection study --out folder`."""

import platform
from pathlib import Path

import click
import torch

import simdl
from simdl.scenarios.visual_inspection import commands


@click.group()
def main() -> None:
    """Parts on a conveyor, inspected by a network on a shared accelerator."""


@main.command("study")
@click.option("--lanes", default=48, help="at each load")
@click.option("--seconds", default=20, help="of every lane")
@click.option("--seed", default=0)
@commands.OUT
def _study(lanes: int, seconds: int, seed: int, out: Path) -> None:
    """Sweep load and line rate: table and figures. An interrupted study goes on where it was (counts.jsonl)."""
    from simdl.scenarios.visual_inspection import figure, study

    out.mkdir(parents=True, exist_ok=True)
    found = study.sweep(lanes, seconds, seed, kept=out / "counts.jsonl", say=click.echo)
    command = f"{commands.PROGRAM} study --lanes {lanes} --seconds {seconds} --seed {seed} --out {out}"
    versions = [f"simdl {simdl.__version__}", f"torch {torch.__version__}", f"Python {platform.python_version()}"]
    figure.write(found, out, command, versions)
    click.echo(study.table(found))


for one in (commands.show, commands.train, commands.transfer):
    main.add_command(one)


if __name__ == "__main__":
    main()
