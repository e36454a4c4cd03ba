"""`simdl run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from simdl.cli.options import options
from simdl.cli.request import Request, spare
from simdl.cli.terminal import outcome, session


@click.command("run")
@options("scenario", "lane", "seed", "set", "network", "until", "quick", "out", "force", "engine")
def command(
    scenario: str, lane: int, seed: int, settings: dict[str, Any], networks: dict[str, str], until: Any, quick: bool,
    out: Path | None, force: bool, engine: str,
) -> int:  # fmt: skip
    """Run one lane of SCENARIO, check its requirements, and draw its signals.

    Lane N is the same here as among thousands: the same draws, the same noise.
    """
    request = Request("run", scenario, seed, lane=lane, settings=settings, networks=networks, until=until, quick=quick,
                      out=str(out) if out else None, engine=engine)  # fmt: skip
    if out is not None:
        spare(out, force)
    study = request.study()
    folder = request.folder()
    campaign = study.campaign(1, seed=seed, first=lane, record=None, keep=True, progress=session().progress)
    from simdl.report import campaign_report

    report = campaign_report(campaign, study, kind="run", title=f"{study.name}: lane {lane}", replay=request.alone,
                             command=request.command())  # fmt: skip
    page = report.save(folder)
    failed = "\n".join(f"lane {n} failed at t = {t:g} s: {why}" for n, (t, why) in campaign.status.items())
    return outcome(report, page, [], failed)
