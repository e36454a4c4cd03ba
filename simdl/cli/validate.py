"""`simdl validate`."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simdl.cli.options import options
from simdl.cli.request import Request
from simdl.cli.terminal import outcome, session, tell

if TYPE_CHECKING:
    from simdl.campaign import Campaign
    from simdl.scenario import Scenario

LANES = 1000
SHARD = 256  # lanes written at a time: what an interruption loses at most


@click.command("validate")
@options("scenario", "lanes", "seed", "set", "network", "until", "quick", "out", "workers", "engine")
def command(
    scenario: str, lanes: int | None, seed: int, settings: dict[str, Any], networks: dict[str, str], until: Any,
    quick: bool, out: Path | None, workers: int, engine: str,
) -> int:  # fmt: skip
    """Check the requirements of SCENARIO on many lanes (1000, or 100 with --quick), and repeat the worst ones with
    half the step and with another method.

    Interrupted, it keeps the lanes that are done; the same command goes on.
    """
    asked = lanes or (LANES // 10 if quick else LANES)
    request = Request("validate", scenario, seed, asked, None, settings, networks, until, quick, workers,
                      str(out) if out else None, engine=engine)  # fmt: skip
    study = request.study()
    folder = request.folder(study)
    speak = session()
    speak.resume = request.command(out=str(folder))
    request.note(folder)
    tell(f"{study.name}: {asked} lanes, seed {seed}, kept in {folder}")
    campaign = study.campaign(asked, seed=seed, workers=workers, out=folder / "lanes", shard=min(SHARD, asked),
                              progress=speak.progress)  # fmt: skip
    return finish(request, study, campaign, folder)


def finish(request: Request, study: Scenario, campaign: Campaign, folder: Path) -> int:
    """Repeat the worst lanes, write the page, print the outcome."""
    from simdl.codesign import confirm
    from simdl.report import campaign_report

    resume = request.command(out=str(folder))
    confirmed = []
    known = {name: margin.nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf)
             for name, margin in campaign.margins.items()}  # fmt: skip
    if campaign.complete and known and len(campaign.status) < campaign.lanes:
        tell("repeating the worst lanes with half the step and with another method")
        # A lane that failed to run has no margin to repeat, and can take an adaptive method very long to fail again.
        confirmed = confirm(study, replace(campaign, margins=known))
    report = campaign_report(campaign, study, command=request.command(out=None), replay=request.alone,
                             confirmed=confirmed, resume=resume)  # fmt: skip
    return outcome(report, report.save(folder / "report.html"), [request.alone(lane) for lane in campaign.status])
