"""`simdl codesign`: the main job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simdl.cli.interruption import heeded
from simdl.cli.options import Positive, Whole, options
from simdl.cli.request import Request
from simdl.cli.terminal import outcome as printed, session, tell

if TYPE_CHECKING:
    from simdl.codesign import Outcome


@click.command("codesign")
@options("scenario", "lanes", "seed", "set", "until", "quick", "out", "workers", "engine")
@click.option("--check", type=Whole(1), help="How many unseen lanes to check on.")
@click.option("--seconds", type=Positive(), help="How long to train.")
def command(
    scenario: str, lanes: int | None, seed: int, settings: dict[str, Any], until: Any, quick: bool, out: Path | None,
    workers: int, engine: str, check: int | None, seconds: float | None,
) -> int:  # fmt: skip
    """Design the network of SCENARIO in the loop: simulate, train, close the loop, check, learn from the worst lanes,
    check again, compare with other estimators. Writes one page that says it all.

    Interrupted, it keeps what is done; the same command goes on.
    """
    extra = {"check": check, "seconds": seconds}
    request = Request("codesign", scenario, seed, lanes, None, settings, {}, until, quick, workers,
                      str(out) if out else None, extra, engine)  # fmt: skip
    study = request.study()
    from simdl.codesign import codesign

    folder = request.folder(study)
    speak = session()
    speak.resume = request.command(out=str(folder))
    tell(f"co-design of {study.name}, seed {seed}, kept in {folder}")
    request.note(folder)
    with heeded() as go_on:

        def begin(stage: str) -> None:
            go_on()
            tell(stage)

        found = codesign(
            replace(study, quick={}), folder, seed=seed, lanes=lanes, check=check, quick=quick, seconds=seconds,
            workers=workers, progress=speak.progress, tell=begin, shown=lambda path: tell(f"first figure: {path}"),
        )  # fmt: skip
        go_on()
    return finish(request, found, folder)


def finish(request: Request, found: Outcome, folder: Path) -> int:
    """Write the page and print the outcome."""
    from simdl.report import codesign_report

    networks: Mapping[str, str] = {}
    design = found.scenario.design
    card = folder / ("network-1" if "after" in found.checked else "network-0")
    if design is not None and card.is_dir():
        networks = {design.slot: str(card)}
    report = codesign_report(found, command=request.command(out=None),
                             replay=lambda lane: request.alone(lane, networks=networks))  # fmt: skip
    if report.resume:
        report = replace(report, resume=request.command(out=str(folder)))
    lines = [table.to_text() for table in report.tables() if table.title == "Before and after"]
    failed = [request.alone(lane, networks=networks) for lane in found.final.campaign.status] if found.checked else []
    more = "\n".join([*lines, *([f"\nThe network: {networks[design.slot]}"] if networks and design else [])])
    return printed(report, report.save(folder / "report.html"), failed, more)
