"""`simdl report`: the page of a folder again, without running a lane that is not there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simdl.cli import codesign as codesigned, validate as validated
from simdl.cli.options import options
from simdl.cli.request import Request
from simdl.cli.terminal import outcome, tell
from simdl.errors import UsageError

if TYPE_CHECKING:
    from simdl.campaign import Campaign
    from simdl.codesign import Outcome
    from simdl.scenario import Scenario


@click.command("report")
@options()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--tables", is_flag=True, help="Write every table as CSV, too.")
def command(folder: Path, tables: bool) -> int:
    """Write the page of FOLDER again, from what `simdl validate` or `simdl codesign` left there.

    Nothing is simulated but single lanes for the figures: what was not run is said to be missing.
    """
    request = Request.read(folder)
    study = request.study()
    from simdl.report import campaign_report, codesign_report

    if request.verb == "validate":
        campaign = stored(study, folder / "lanes", request.seed, request.lanes or 0, 0)
        report = campaign_report(campaign, study, command=replace(request, out=None).command(), replay=request.alone,
                                 resume=request.command())  # fmt: skip
    elif request.verb == "codesign":
        report = codesign_report(partial(study, folder, request), command=replace(request, out=None).command())
        if report.resume:
            report = replace(report, resume=request.command())
    else:
        raise UsageError(str(folder), f"made by simdl {request.verb}", "a folder of simdl validate or simdl codesign")
    page = report.save(folder / "report.html")
    if tables:
        written = report.save_tables(folder / "tables")
        tell(f"{len(written)} tables in {folder / 'tables'}")
    return outcome(report, page, [])


def stored(study: Scenario, folder: Path, seed: int, asked: int, first: int) -> Campaign:
    """The campaign whose lanes lie in a folder; lanes that are not there are not run."""
    from simdl.data import ShardWriter
    from simdl.data.manifest import read_manifest

    done: list[int] = []
    if folder.is_dir() and any(folder.iterdir()):
        # Opening it as a writer takes over a shard that was finished just before an interruption.
        writer = ShardWriter(folder, read_manifest(folder).schema)
        done = sorted(writer.done & set(range(first, first + asked)))
        writer.close()
    if not done:
        raise UsageError(str(folder), "no lane was finished", "at least one shard of lanes")
    campaign = study.campaign(len(done), ids=done, seed=seed, out=folder, progress=False)
    return replace(campaign, asked=asked, complete=len(done) == asked)


def partial(study: Scenario, folder: Path, request: Request) -> Outcome:
    """What a co-design has reached: the checks that are there."""
    from simdl.codesign.loop import CHECK, _slug, designed
    from simdl.codesign.outcome import Checked, Outcome

    asked, design = _asked(folder), designed(study)
    design = replace(design, **design.quick) if asked.get("quick") else design
    found = Outcome(study, asked)
    made: dict[str, Any] = {"before": folder / "network-0", "after": folder / "network-1", **design.baselines}
    for name, network in made.items():
        lanes = folder / "check" / _slug(name)
        if not lanes.is_dir() or (isinstance(network, Path) and not (network / "card.json").exists()):
            continue
        filled = study.swap(**{design.slot: network if isinstance(network, Path) else network()})
        try:
            campaign = stored(filled, lanes, request.seed, int(asked["check"]), CHECK)
        except UsageError as error:
            found.skipped.append(str(error.found))
            continue
        found.checked[name] = Checked(name, campaign, design.evaluate(campaign))
    for stage in ("network-0", "network-1"):
        if (folder / stage).is_dir():
            found.histories[stage] = folder / stage / "history.jsonl"
    return found


def _asked(folder: Path) -> dict[str, Any]:
    path = folder / "codesign.json"
    try:
        asked = json.loads(path.read_text(encoding="utf-8"))
        return {**asked, "check": int(asked["check"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(str(path), f"cannot be read: {error}", "the folder of a co-design") from None


__all__ = ["codesigned", "command", "partial", "stored", "validated"]
