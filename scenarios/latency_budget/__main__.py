"""What latency, jitter and load do: `python -m simdl.scenarios.latency_budget study --lanes 200 --out folder`."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import torch

import simdl
from simdl.scenarios.latency_budget import page, recipe, study

SEED = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
OUT = click.Path(file_okay=False, path_type=Path)


class Refused(click.ClickException):
    exit_code = 2


class Interrupted(click.ClickException):
    exit_code = 3


@contextmanager
def _told() -> Iterator[None]:
    """Errors as words, with the exit codes of `simdl`."""
    try:
        yield
    except simdl.SimdlError as error:
        raise Refused(str(error)) from error
    except KeyboardInterrupt as stop:
        raise Interrupted(str(stop) or "interrupted") from stop


@click.group()
def main() -> None:
    """How late may the controller be?"""


@main.command("study")
@click.option("--lanes", type=click.IntRange(min=1), default=100, show_default=True, help="at each point")
@SEED
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="processes")
@click.option("--out", type=OUT, required=True, help="the folder of the table and the figure")
def _study(lanes: int, seed: int, workers: int, out: Path) -> None:
    """Sweep load, delay and jitter: table and figure. An interrupted study goes on where it was (points.jsonl)."""
    with _told():
        out.mkdir(parents=True, exist_ok=True)
        found = study.study(lanes, seed, kept=out / "points.jsonl", workers=workers)
        command = f"python -m simdl.scenarios.latency_budget study --lanes {lanes} --seed {seed} --out {out}"
        versions = [f"simdl {simdl.__version__}", f"torch {torch.__version__}", f"Python {platform.python_version()}"]
        page.write(found, out, command, versions)
    click.echo(page.table(found))


@main.command("train")
@click.option("--out", type=OUT, required=True, help="where the card goes")
@SEED
def _train(out: Path, seed: int) -> None:
    """Make the controller that ships again."""
    with _told():
        click.echo(recipe.train(out, seed=seed).metrics)


if __name__ == "__main__":
    main()
