"""`simdl dataset`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simdl.cli.options import options
from simdl.cli.program import Ending
from simdl.cli.request import Request
from simdl.cli.terminal import document, session, tell

if TYPE_CHECKING:
    from simdl.codesign import Design
    from simdl.scenario import Scenario


@click.command("dataset")
@options("scenario", "lanes", "seed", "set", "network", "until", "quick", "out", "workers", "engine")
def command(
    scenario: str, lanes: int | None, seed: int, settings: dict[str, Any], networks: dict[str, str], until: Any,
    quick: bool, out: Path | None, workers: int, engine: str,
) -> int:  # fmt: skip
    """Simulate lanes of SCENARIO and write the signals that its design learns from, as a data set.

    Interrupted, it keeps the shards that are done; the same command goes on. Without --network, the baseline that
    the design names closes the loop.
    """
    first = Request("dataset", scenario, seed, lanes, None, settings, networks, until, quick, workers,
                    str(out) if out else None, engine=engine)  # fmt: skip
    study = first.study()
    import torch

    from simdl.campaign.dataset import write_dataset
    from simdl.report.text import quantity

    design = wanted(study, quick)
    request = Request(**{**vars(first), "lanes": lanes or design.lanes})
    if design.slot not in networks:
        study = study.swap(**{design.slot: design.baselines[design.driver]()})
    folder = request.folder(study)
    speak = session()
    speak.resume = request.command(out=str(folder))
    tell(f"{study.name}: {request.lanes} lanes, seed {seed}, into {folder}")
    job = study._job(study.build(), seed, None)
    shards = write_dataset(
        job, torch.arange(request.lanes or 0), folder, inputs=design.inputs, targets=design.targets,
        labels=design.labels, every=design.every, progress=speak.progress, workers=workers,
    )  # fmt: skip
    facts: dict[str, Any] = {
        "folder": str(folder), "lanes": len(shards.lanes), "failed": len(shards.failed), "complete": shards.complete,
        "signals": [f"{s.role} {quantity(s.name, s.unit)}" for s in shards.schema.signals],
    }  # fmt: skip
    if speak.json:
        document(facts)
    else:
        click.echo(f"{facts['lanes']} lanes, {facts['failed']} failed to run, in {folder}")
        click.echo("\n".join(f"  {signal}" for signal in facts["signals"]))
        for lane, why in list(shards.failed.items())[:1]:
            click.echo(
                f"One lane that failed to run ({why.splitlines()[0]}), again and alone:\n  {request.alone(lane)}"
            )
        click.echo(f"\nLearn from it with\n  simdl train {request.scenario} {folder}")
    return int(Ending.OK if shards.complete else Ending.INCOMPLETE)


def wanted(study: Scenario, quick: bool) -> Design:
    """The study's design, in its quick form if that was asked for. Raises UsageError when there is none."""
    from simdl.codesign.loop import designed

    design = designed(study, "dataset")
    return replace(design, **design.quick) if quick else design
