"""`simdl train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from simdl.cli.dataset import wanted
from simdl.cli.options import Positive, Whole, options
from simdl.cli.program import Ending
from simdl.cli.request import Request
from simdl.cli.terminal import document, session, tell

STOP = 0.15  # of the lanes: not learnt from, to see when to stop


@click.command("train")
@options("scenario", "seed", "quick", "out")
@click.argument("data", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--seconds", type=Positive(), help="How long to train.")
@click.option("--epochs", type=Whole(1), help="How many passes over the data.")
@click.option("--start", type=click.Path(exists=True, file_okay=False, path_type=Path), help="A card to go on from.")
def command(
    scenario: str, data: tuple[Path, ...], seed: int, quick: bool, out: Path | None, seconds: float | None,
    epochs: int | None, start: Path | None,
) -> int:  # fmt: skip
    """Train the network of SCENARIO on one or more data sets, and save it with its card.

    DATA are folders that `simdl dataset` wrote. Interrupted, the same command goes on.
    """
    extra: dict[str, Any] = {"seconds": seconds, "epochs": epochs, "start": str(start) if start else None}
    request = Request("train", scenario, seed, quick=quick, extra=extra, out=str(out) if out else None)
    study = request.study()
    from simdl.codesign import Training
    from simdl.data import Shards, split_by_lane

    design = wanted(study, quick)
    folder = request.folder()
    speak = session()
    speak.resume = " ".join([request.command(out=str(folder)), *map(str, data)])
    sets = [Shards(one) for one in data]
    learn, stop = split_by_lane(sets[0], (1 - STOP, STOP), seed=seed)
    seconds = seconds if seconds is not None or epochs is not None else design.seconds
    tell(f"training on {sum(map(len, sets)) - len(stop)} lanes, stopping by {len(stop)} others, into {folder}")
    training = Training(seconds, epochs if epochs is not None else design.epochs, seed, start, speak.progress)
    card = design.train([learn, *sets[1:]], stop, folder, training)
    test = f"simdl validate {request.scenario} --network {design.slot}={card}"
    facts: dict[str, Any] = {"card": str(card), "metrics": _metrics(card), "next": test}
    if speak.json:
        document(facts)
    else:
        click.echo(f"trained: {card}")
        for name, value in facts["metrics"].items():
            click.echo(f"  {name}: {value:.4g}")
        click.echo(f"\nCheck it in the loop with\n  {test}")
    return int(Ending.OK)


def _metrics(card: Path) -> dict[str, float]:
    from simdl.networks.card import ModelCard

    path = card / "card.json" if card.is_dir() else card
    return dict(ModelCard.from_json(path.read_text(encoding="utf-8"), str(path)).metrics) if path.is_file() else {}
