"""The page of a co-design: the loop failing, then fixed; the estimators compared; what became of the worst cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from simdl.codesign.outcome import Checked, Outcome, masks
from simdl.errors import SimdlError, UsageError
from simdl.report import figures, verdicts
from simdl.report.campaign import error_bars, origin_of, space
from simdl.report.command import command as line
from simdl.report.diagram import diagram
from simdl.report.lanes import Replay, failures, lane_lines, signal_paths, worst_lanes
from simdl.report.origin import Origin
from simdl.report.parts import Mark, Note, Part, Section, Table
from simdl.report.report import Counts, Report
from simdl.report.text import number, quantity
from simdl.requirements import Verdict

if TYPE_CHECKING:
    from simdl.campaign import Campaign

LABELS = {"before": "network, first", "after": "network, retrained"}
KINDS = {"rms": "rms", "p99": "99th percentile", "worst": "worst lane"}


def codesign_report(outcome: Outcome, *, command: str = "", replay: Replay | None = None, title: str = "") -> Report:
    """The page of a co-design, of one that was cut short too: what is missing is said.

    command: what makes this page again; replay: lane -> the command that runs it alone with the final network.
    """
    outcome = _as_run(outcome)
    scenario, asked = outcome.scenario, outcome.asked
    design = scenario.design
    assert design is not None
    seed = int(asked.get("seed", 0))
    command = command or line("codesign", scenario.name, seed=seed, quick=bool(asked.get("quick")))
    missing = [*outcome.skipped, *_missing(outcome, design.baselines)]
    name = title or f"Co-design of {scenario.name}"
    if not outcome.checked:
        origin = Origin.now(command, seed, scenario.name, "", {})
        nothing = Section("Nothing to show yet", (Note("No lane was checked before it stopped.", "bad"),))
        counts = Counts(int(asked.get("check", 0)), 0, 0)
        return Report(name, "codesign", counts, (), origin, (nothing,), "", tuple(missing), command)
    final = outcome.final.campaign
    sections = [_summary(outcome), diagram(final.model), *_fixed(outcome), _estimators(outcome),
                *_strata(outcome), _margins(outcome), verdicts.requirements(final, scenario.groups),
                worst_lanes(final, replay, design.figure, pictures=1)]  # fmt: skip
    optional = (error_bars(outcome.confirmed), failures(final, replay), _training(outcome))
    sections += [section for section in optional if section is not None]
    sections += [space(final), verdicts.claims(final, scenario.groups)]
    return Report(
        name, "codesign", verdicts.counts(final), verdicts.checks(final), origin_of(final, scenario.name, command),
        tuple(sections), verdicts.sentence(final), tuple(missing), command if missing or not final.complete else "",
    )  # fmt: skip


def _as_run(outcome: Outcome) -> Outcome:
    """The outcome with the design that was run: a quick one compares fewer estimators, for instance."""
    design = outcome.scenario.design
    if design is None:
        raise UsageError(f"codesign_report {outcome.scenario.name}", "a scenario without a design",
                         "Scenario(design=Design(...))")  # fmt: skip
    if outcome.asked.get("quick"):
        design = replace(design, **design.quick)
    return replace(outcome, scenario=replace(outcome.scenario, design=design))


def _missing(outcome: Outcome, baselines: Mapping[str, Any]) -> list[str]:
    """Parts that were asked for and are not there."""
    wanted = [*LABELS, *baselines]
    absent = [LABELS.get(name, name) for name in wanted if name not in outcome.checked]
    found = [f"the check of {', '.join(absent)}"] if absent else []
    for name, one in outcome.checked.items():
        campaign = one.campaign
        if not campaign.complete:
            found.append(f"{campaign.asked - campaign.lanes} of {campaign.asked} lanes with {LABELS.get(name, name)}")
    return found


def _summary(outcome: Outcome) -> Section:
    """Before and after in one table."""
    rows: list[list[Any]] = []
    pair = [outcome.checked.get(name) for name in LABELS]
    for name in outcome.final.campaign.margins:
        tallies = [verdicts.tally(one.campaign, name) if one else None for one in pair]
        for label, value in (("fails in lanes", "fail"), ("unknown in lanes", "error")):
            cells: list[Any] = [t.counts[value] if t else None for t in tallies]
            if value == "fail" or any(cells):
                rows.append([f"{name}: {label}", "", *cells, _change(cells)])
        unit = verdicts.unit_of(outcome.final.campaign.job.requirements.get(name), outcome.final.campaign)
        margins: list[Any] = [t.worst if t else None for t in tallies]
        judged = any(m is not None and m < 0 for m in margins)  # a large margin that became less large is no news
        rows.append([f"{name}: worst margin", unit, *margins, _change(margins, larger=True) if judged else None])
    found = [one.row(_usual(outcome, one.campaign)) if one else {} for one in pair]
    units = outcome.scenario.design.units if outcome.scenario.design else {}
    for key in found[0] or found[1]:
        merit, _, kind = key.rpartition(" ")
        cells = [row.get(key) for row in found]
        rows.append([f"{merit}: {KINDS.get(kind, kind)}", units.get(merit, ""), *cells, _change(cells)])
    parts: list[Part] = [Table.of("Before and after", ["", "unit", *LABELS.values(), ""], rows)]
    if outcome.added:
        parts.append(Note(f"{len(outcome.added)} lanes on which the first network did badly went into its data; they "
                          "are not among the lanes that are checked."))  # fmt: skip
    return Section("Summary", tuple(parts))


def _fixed(outcome: Outcome) -> list[Section]:
    """A lane in which another estimator, or the first network, fails and the final network holds: side by side."""
    design, final = outcome.scenario.design, outcome.final
    assert design is not None
    parts: list[Part] = []
    for name in dict.fromkeys([design.driver, "before", *design.baselines]):
        one = outcome.checked.get(name)
        found = _mended(one, final) if one and one is not final else None
        if one is None or found is None or len(parts) == 2:
            continue
        requirement, lane = found
        paths = list(dict.fromkeys([*signal_paths(final.campaign, requirement), *design.figure]))[:6]
        label, after = LABELS.get(name, name), LABELS["after" if "after" in outcome.checked else "before"]
        margins = [number(abs(_margin(c.campaign, requirement, lane))) for c in (one, final)]
        titles = [f"{label}: fails by {margins[0]}", f"{after}: holds by {margins[1]}"]
        try:
            panels = [lane_lines(c.campaign, lane, paths) for c in (one, final)]
        except SimdlError as error:
            parts.append(Note(f"The signals of lane {lane} cannot be drawn: {error}", "warn"))
            continue
        at = _decided(one.campaign, requirement, lane)
        figure = figures.signals(f"Lane {lane}, {requirement}: {label} against {after}", panels, titles, at)
        parts.append(figure)
    if not parts:
        parts.append(Note("There is no lane in which another estimator fails and the final network holds."))
    return [Section("The loop failing, then fixed", tuple(parts))]


def _estimators(outcome: Outcome) -> Section:
    """All estimators on the same lanes: figures of merit, and in how many lanes each requirement fails."""
    design = outcome.scenario.design
    assert design is not None
    apart = verdicts.groups(outcome.final.campaign, outcome.scenario.groups)
    parts: list[Part] = []
    keys = list(outcome.final.row())
    heads = [quantity(key, design.units.get(key.rpartition(" ")[0], "")) for key in keys]
    heads += [f"{requirement}: lanes not passed" for requirement in outcome.final.campaign.margins]
    for label in [*apart] or [""]:
        rows = []
        for name, one in outcome.checked.items():
            mask = verdicts.groups(one.campaign, outcome.scenario.groups).get(label) if label else None
            figured = one.row(mask)
            failed = [_failed(one.campaign, requirement, mask) for requirement in outcome.final.campaign.margins]
            rows.append([LABELS.get(name, name), *(figured.get(key) for key in keys), *failed])
        parts.append(Table.of(f"Estimators in the loop{f', {label}' if label else ''}", ["estimator", *heads], rows))
    for merit in outcome.final.merits:
        dots = {}
        for name, one in outcome.checked.items():
            row = one.row(_usual(outcome, one.campaign))
            dots[LABELS.get(name, name)] = {
                KINDS[kind]: row[f"{merit} {kind}"] for kind in KINDS if f"{merit} {kind}" in row
            }
        unit = design.units.get(merit, "")
        parts.append(figures.compared(f"{merit} of every estimator", dots, merit, unit, logarithmic=True))
    note = f"Every estimator closes the loop itself, on the same {outcome.final.campaign.asked} lanes, none of which "
    parts.insert(0, Note(note + "was learnt from. rms is the root of the mean square over lanes. Lower is better."))
    return Section("Estimators compared", tuple(parts))


def _strata(outcome: Outcome) -> list[Section]:
    """The headline over each stratum, such as temperature and age."""
    design = outcome.scenario.design
    assert design is not None
    merit = next(iter(outcome.final.merits), None)
    if merit is None:
        return []
    parts: list[Part] = []
    for stratum, cut in design.strata.items():
        if cut.path not in outcome.final.campaign.drawn:
            parts.append(Note(f"{stratum}: {cut.path} is not drawn.", "warn"))
            continue
        usual = _usual(outcome, outcome.final.campaign)
        chosen = {label: mask & usual for label, mask in masks(design, outcome.final.campaign, stratum).items()}
        labels = [label for label, mask in chosen.items() if mask.any()]
        series, rows = {}, []
        for name, one in outcome.checked.items():
            own = masks(design, one.campaign, stratum)
            keep = _usual(outcome, one.campaign)
            found = [one.row(own[label] & keep) for label in labels]
            series[LABELS.get(name, name)] = [row.get(f"{merit} rms", float("nan")) for row in found]
            rows += [[LABELS.get(name, name), KINDS[kind], *(row.get(f"{merit} {kind}") for row in found)]
                     for kind in KINDS]  # fmt: skip
        unit = design.units.get(merit, "")
        heads = [f"{label} ({int(chosen[label].sum())} lanes)" for label in labels]
        figure = figures.grouped(f"{merit} by {stratum}", labels, series, f"{merit}, rms over lanes", unit,
                                 stratum)  # fmt: skip
        parts.append(figure)
        parts.append(Table.of(f"{quantity(merit, unit)} by {stratum}", ["estimator", "", *heads], rows))
    return [Section(f"Error by {' and by '.join(design.strata)}", tuple(parts))] if parts else []


def _margins(outcome: Outcome) -> Section:
    """Histograms of the margins before and after."""
    parts: list[Part] = []
    campaign = outcome.final.campaign
    for name in campaign.margins:
        unit = verdicts.unit_of(campaign.job.requirements.get(name), campaign)
        series = {
            label: outcome.checked[key].campaign.margins[name].numpy()
            for key, label in LABELS.items()
            if key in outcome.checked
        }
        if any(np.isfinite(values).any() for values in series.values()):
            parts.append(figures.margins(name, series, unit))
    return Section("Margins before and after", tuple(parts) or (Note("There are no margins to draw."),))


def _training(outcome: Outcome) -> Section | None:
    """The curves of each training, and where the time went."""
    from simdl.learn.history import History

    lines, rows = [], []
    for stage, path in outcome.histories.items():
        try:
            history = History.read(path if path.exists() else path.parent)
        except (SimdlError, OSError):
            continue
        epochs = np.array([row.epoch for row in history.epochs], dtype=float)
        for kind, values in (("to learn from", [row.train for row in history.epochs]),
                             ("to stop by", [row.validate for row in history.epochs])):  # fmt: skip
            if epochs.size and None not in values:
                lines.append(figures.Line(f"{stage}, lanes {kind}", epochs, np.array(values, dtype=float)))
        if history.epochs:
            rows.append([stage, len(history.epochs), history.epochs[-1].seconds, history.best.score, history.stopped])
    parts: list[Part] = []
    if lines:
        parts = [figures.curves("Loss while training", lines, "epoch", "loss"),
                 Table.of("Trainings", ["stage", "epochs", "seconds", "best loss", "stopped by"], rows)]  # fmt: skip
    times = [[stage, round(seconds, 1)] for stage, seconds in outcome.seconds.items()]
    if times:
        times.append(["all", round(sum(outcome.seconds.values()), 1)])
        note = "What an earlier call had done takes no time again."
        parts.append(Table.of("Where the time went", ["stage", "seconds"], times, note))
    return Section("Training and time", tuple(parts)) if parts else None


def _usual(outcome: Outcome, campaign: Campaign) -> Tensor:
    """The lanes of no group: those that the headline is about."""
    everyone = torch.ones(campaign.lanes, dtype=torch.bool)
    return next(iter(verdicts.groups(campaign, outcome.scenario.groups).values()), everyone)


def _mended(one: Checked, final: Checked) -> tuple[str, int] | None:
    """(requirement, lane) of the smallest margin that fails with one and passes with the final network."""
    ids = {int(lane): row for row, lane in enumerate(final.campaign.ids)}
    found: list[tuple[float, str, int]] = []
    for name, verdict in one.campaign.verdicts.items():
        good = final.campaign.verdicts[name]
        for row in (verdict == int(Verdict.FAIL)).nonzero()[:, 0].tolist():
            lane = int(one.campaign.ids[row])
            if lane in ids and int(good[ids[lane]]) == int(Verdict.PASS):
                margin = float(one.campaign.margins[name][row])
                scale = float(one.campaign.margins[name].nan_to_num(0, 0, 0).std()) or 1.0
                found.append((margin / scale, name, lane))
    return min(found)[1:] if found else None


def _margin(campaign: Campaign, requirement: str, lane: int) -> float:
    return float(campaign.margins[requirement][(campaign.ids == lane).nonzero()[0, 0]])


def _decided(campaign: Campaign, requirement: str, lane: int) -> dict[str, float]:
    at = float(campaign.decided[requirement][(campaign.ids == lane).nonzero()[0, 0]])
    return {"fails here": at} if at >= 0 else {}


def _failed(campaign: Campaign, requirement: str, mask: Tensor | None) -> int:
    counts = verdicts.tally(campaign, requirement, mask).counts
    return counts["fail"] + counts["error"]


def _change(cells: list[Any], larger: bool = False) -> Mark | None:
    before, after = cells
    if before is None or after is None or before != before or after != after or before == after:
        return None
    return Mark("better", "good") if (after > before) == larger else Mark("worse", "bad")
