"""The page of a campaign, and of a single run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.report import figures, verdicts
from simdl.report.command import command as line
from simdl.report.computer import computer
from simdl.report.diagram import diagram
from simdl.report.lanes import (
    Replay,
    failures,
    lane_figure,
    most_urgent,
    run_lines,
    signal_paths,
    worst_lanes,
)
from simdl.report.origin import Origin
from simdl.report.parts import Note, Part, Section, Table
from simdl.report.report import Counts, Report
from simdl.requirements import Verdict

if TYPE_CHECKING:
    from simdl.campaign import Campaign
    from simdl.codesign import Confirmed
    from simdl.result import Run
    from simdl.scenario import Scenario

HISTOGRAMS = 6  # requirements that get one


def campaign_report(
    campaign: Campaign, scenario: Scenario | None = None, *, title: str = "", kind: str = "campaign", command: str = "",
    replay: Replay | None = None, confirmed: Iterable[Confirmed] = (), resume: str = "", pictures: int = 2,
) -> Report:  # fmt: skip
    """The page of a campaign: verdicts, margins, worst lanes, what varied, and what may be claimed.

    command: what makes this page again; replay: lane -> the command that runs it alone; both are made from the
    scenario when it is given. confirmed: worst lanes repeated with other steps and methods. pictures: of single lanes,
    which are run again when their traces were not kept. The size of the page does not grow with the number of lanes.
    """
    named = scenario.groups if scenario else {}
    if scenario is not None:
        given: dict[str, Any] = {"seed": campaign.seed, "networks": scenario.networks}
        command = command or line("validate", scenario.name, lanes=campaign.asked, **given)
        replay = replay or (lambda lane: line("run", scenario.name, lane=lane, **given))
    paths = (scenario.design.figure if scenario.design else scenario.record) if scenario else ()
    sections = [verdicts.requirements(campaign, named), diagram(campaign.model)]
    if campaign.lanes == 1:
        sections.append(_signals(campaign, paths))
    elif campaign.margins and campaign.lanes:
        sections += [margins(campaign), worst_lanes(campaign, replay, paths, pictures)]
    on = computer(campaign, _shown(campaign)) if campaign.lanes else None
    if on is not None:
        sections.append(on)
    repeated = error_bars(confirmed)
    if repeated is not None:
        sections.append(repeated)
    failed = failures(campaign, replay)
    if failed is not None:
        sections.append(failed)
    sections += [space(campaign), verdicts.claims(campaign, named)]
    name = scenario.name if scenario else campaign.model.name
    return Report(
        title or f"{name}: {campaign.asked} lanes", kind, verdicts.counts(campaign), verdicts.checks(campaign),
        origin_of(campaign, name, command or "(made in Python: campaign_report(campaign).save(...))"), tuple(sections),
        summary=verdicts.sentence(campaign), resume="" if campaign.complete else resume or command,
    )  # fmt: skip


def run_report(run: Run, *, title: str = "", command: str = "", signals: Sequence[str] = ()) -> Report:
    """The page of a run without requirements: its signals, its crossings, and the lanes that failed."""
    from simdl.compile.digest import digest

    lines = run_lines(run, signals)
    parts: list[Part] = [figures.signals("Signals of the first lane", [lines])] if lines else []
    rows = [[t.path, t.unit, t.kind, len(t.t)] for t in run.traces.values()]
    parts.append(Table.of("Recorded signals", ["signal", "unit", "kind", "samples"], rows))
    if run.events:
        rows = [[lane, t, path] for lane, t, path in run.events]
        parts.append(Table.of("Crossings", ["lane", "t [s]", "of"], rows))
    sections = [Section("Signals", tuple(parts))]
    if run.status:
        failed = ([lane, t, why] for lane, (t, why) in run.status.items())
        table = Table.of("Lanes that failed to run", ["lane", "failed at [s]", "cause"], failed)
        sections.append(Section("Failures", (table,)))
    settings = {"until": f"{run.until:g} s", "engine": run.engine}
    if run.accuracy == run.accuracy:  # NaN: not checked
        settings["change by half the step, lane 0"] = f"{run.accuracy:.2g} (relative)"
    origin = Origin.now(command or "(made in Python: run_report(run).save(...))", run.seed, run.model.name,
                        digest(run.model), settings)  # fmt: skip
    counts = Counts(run.lanes, run.lanes - len(run.status), len(run.status))
    summary = f"{counts.ran} of {run.lanes} lanes ran to t = {run.until:g} s."
    return Report(title or run.model.name, "run", counts, (), origin, tuple(sections), summary)


def margins(campaign: Campaign) -> Section:
    """Histograms of the margins, and each over the drawn value that goes with it most."""
    parts: list[Part] = []
    for name in list(campaign.margins)[:HISTOGRAMS]:
        margin = campaign.margins[name]
        unit = verdicts.unit_of(campaign.job.requirements.get(name), campaign)
        if not torch.isfinite(margin).any():
            parts.append(Note(f"{name}: no lane has a finite margin: it compares yes and no, or all failed."))
            continue
        parts.append(figures.margins(name, {"all lanes": margin.numpy()}, unit))
        cause = _cause(campaign, margin)
        if cause is not None:
            path, strength = cause
            axis = campaign.model.unit(path) if path in campaign.model.values else ""
            figure = figures.spread(f"Margin of {name} over {path}", path, campaign.drawn[path].numpy(), margin.numpy(),
                                    f"margin of {name}", (axis, unit), limit=0.0)  # fmt: skip
            note = f"Of all drawn values, this one goes most with the margin (rank correlation {strength:.2f})."
            parts.append(replace(figure, caption=note))
    left = list(campaign.margins)[HISTOGRAMS:]
    if left:
        parts.append(Note(f"Without a figure: {', '.join(left)}."))
    return Section("Margins", tuple(parts))


def space(campaign: Campaign) -> Section:
    """What varied between lanes, and what was fixed by hand."""
    rows = []
    for name, what in campaign.job.space.items():
        values = campaign.drawn.get(name)
        drawn = [float(values.min()), float(values.max())] if values is not None and values.numel() else [None, None]
        unit = campaign.model.unit(name) if name in campaign.model.values else ""
        rows.append([name, unit, _distribution(what), *drawn])
    parts: list[Part] = [Note("Nothing varied between lanes but the noise.")]
    if rows:
        columns = ["value", "unit", "drawn from", "smallest drawn", "largest drawn"]
        if campaign.lanes == 1:
            columns, rows = [*columns[:3], "drawn"], [row[:4] for row in rows]
        parts = [Table.of("Varied", columns, rows)]
    fixed = [[str(name), _short(value)] for name, value in {**campaign.job.settings, **campaign.job.inputs}.items()]
    if fixed:
        parts.append(Table.of("Fixed for all lanes", ["value", "set to"], fixed))
    return Section("What varied", tuple(parts))


def error_bars(confirmed: Iterable[Confirmed]) -> Section | None:
    """The worst lanes repeated: how far their margins move with half the step and with another method."""
    rows = [[c.requirement, c.lane, c.margin, c.halved, c.other, c.bar, "yes" if c.persists else "no: numerical"]
            for c in confirmed]  # fmt: skip
    if not rows:
        return None
    columns = ["requirement", "lane", "margin", "half the step", "another method", "error bar", "same verdict"]
    text = ("A verdict counts when it does not depend on the method of integration: these lanes were run again with "
            "half the step and with another method.")  # fmt: skip
    return Section("Numerical error of the worst margins", (Note(text), Table.of("Repeated", columns, rows)))


def origin_of(campaign: Campaign, name: str, command: str) -> Origin:
    """Where a campaign's numbers come from."""
    from simdl.compile.digest import digest

    job = campaign.job
    settings = {
        "until": _time(job.until), "recorded every": _time(job.every), "method": str(job.solver or "RK4, fixed steps"),
        "numbers": str(job.dtype).removeprefix("torch."), "engine": "torch",
    }  # fmt: skip
    if campaign.lanes:
        settings["lanes"] = f"{int(campaign.ids.min())} to {int(campaign.ids.max())}"
    return Origin.now(command, campaign.seed, name, digest(campaign.model), settings)


def _signals(campaign: Campaign, paths: Sequence[str]) -> Section:
    lane = int(campaign.ids[0])
    parts = [lane_figure(campaign, lane, "", paths)]
    for name in list(campaign.margins)[:HISTOGRAMS]:
        if not set(signal_paths(campaign, name)) <= set(paths) or campaign.count(name, Verdict.FAIL):
            parts.append(lane_figure(campaign, lane, name))
    return Section("Signals", tuple(parts))


def _shown(campaign: Campaign) -> int:
    """The lane whose computer is shown: the worst of the requirement with the smallest margin."""
    urgent = most_urgent(campaign)
    return urgent[0][1] if urgent else int(campaign.ids[0])


def _cause(campaign: Campaign, margin: Tensor) -> tuple[str, float] | None:
    """The drawn value with the largest rank correlation with a margin, if that is more than chance."""
    known = torch.isfinite(margin)
    if int(known.sum()) < 30:
        return None
    ranks = _ranks(margin[known])
    found = []
    for name, values in campaign.drawn.items():
        if values.ndim == 1 and float(values[known].min()) < float(values[known].max()):
            found.append((float(torch.corrcoef(torch.stack([_ranks(values[known]), ranks]))[0, 1]), name))
    strength, name = max(found, key=lambda entry: abs(entry[0]), default=(0.0, ""))
    return (name, strength) if abs(strength) > 4 / int(known.sum()) ** 0.5 else None


def _distribution(what: Any) -> str:
    """A distribution without the fields that are as always.

    >>> from simdl.space import Normal, Uniform
    >>> _distribution(Uniform(0.0, 2.0)), _distribution(Normal(5.0, 0.1, high=6.0))
    ('Uniform(low=0.0, high=2.0)', 'Normal(mean=5.0, std=0.1, high=6.0)')
    """
    if not is_dataclass(what):
        return _short(what)
    given = []
    for one in fields(what):
        value = getattr(what, one.name)
        if one.default is MISSING or value != one.default:
            # The address of a function would make equal pages differ.
            text = getattr(value, "__qualname__", type(value).__name__) if callable(value) else repr(value)
            given.append(f"{one.name}={text}")
    return _short_text(f"{type(what).__name__}({', '.join(given)})")


def _ranks(values: Tensor) -> Tensor:
    return values.argsort().argsort().double()


def _time(value: Any) -> str:
    return f"{value:g} s" if isinstance(value, int | float) else str(value)


def _short(value: Any) -> str:
    large = isinstance(value, Tensor) and value.numel() > 4
    return _short_text(f"a tensor of shape {tuple(value.shape)}" if large else repr(value))


def _short_text(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:199]}…"
