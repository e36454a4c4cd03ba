"""The scorecard of a bench."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import torch

from simdl.bench.seat import MINE, Board, Seat, kept
from simdl.compile.digest import digest
from simdl.report import figures, verdicts
from simdl.report.claim import interval
from simdl.report.origin import Origin
from simdl.report.parts import Command, Mark, Note, Part, Section, Table
from simdl.report.report import Check, Counts, Report

HISTOGRAMS = 4


def bench_report(
    board: Board, *, command: str = "", replay: Callable[[Seat, int], str] | None = None, resume: str = ""
) -> Report:
    """The page: for each slot the ranking, how often requirements hold under each condition, margins, latency.

    The verdict is that of the benched network as the scenarios draw their lanes; faults and wider spaces count in the
    ranking alone. replay: (seat, lane) -> the command that runs that lane alone.
    """
    campaigns = [c for seat in board.seats for found in seat.campaigns.values() for c in found.values()]
    counts = Counts(sum(c.asked for c in campaigns), sum(c.lanes - len(c.status) for c in campaigns),
                    sum(len(c.status) for c in campaigns))  # fmt: skip
    many = len(board.seats) > 1
    checks: list[Check] = []
    for seat in board.seats:
        for one in verdicts.checks(seat.campaigns[MINE][seat.conditions[0].name]):
            name = f"{seat.name}: {one.name}" if many else one.name
            checks.append(Check(name, one.text, one.counts, one.worst, one.message))
    sections = [section for seat in board.seats for section in _sections(seat, replay)]
    if board.misfits:
        rows = [list(one) for one in board.misfits]
        sections.append(Section("Slots that it does not fit", (Table.of("", ["scenario", "slot", "why"], rows),)))
    text = "".join(digest(seat.campaigns[MINE][seat.conditions[0].name].model) for seat in board.seats)
    names = ", ".join(seat.name for seat in board.seats)
    settings = {"network": board.network, "lanes of each campaign": str(board.lanes)}
    origin = Origin.now(command or "(made in Python: bench_report(board).save(...))", board.seed, names,
                        hashlib.sha256(text.encode()).hexdigest(), settings)  # fmt: skip
    return Report(f"Scorecard of {_label(board.network)}", "bench", counts, tuple(checks), origin, tuple(sections),
                  _summary(board), resume="" if board.complete else resume or command)  # fmt: skip


def _label(network: str) -> str:
    """The last two parts of a path, which tell networks apart better than one."""
    return network if ":" in network else "/".join(PurePath(network).parts[-2:])


def _summary(board: Board) -> str:
    texts = []
    for seat in board.seats:
        ranking = seat.ranking()
        place = ranking.index(MINE) + 1
        texts.append(f"{seat.name}: rank {place} of {len(ranking)}, score {100 * seat.score(MINE):.1f} %"
                     + (f" (best: {ranking[0]}, {100 * seat.score(ranking[0]):.1f} %)" if place > 1 else ""))
    return "; ".join(texts) + "."


def _sections(seat: Seat, replay: Callable[[Seat, int], str] | None) -> list[Section]:
    ranking = seat.ranking()
    names = [one.name for one in seat.conditions]
    rows: list[list[Any]] = []
    for place, entry in enumerate(ranking, 1):
        shares = [100 * seat.share(entry, name) for name in names]
        label = Mark(entry, "good" if place == 1 else "plain") if entry == MINE else entry
        rows.append([label, place, 100 * seat.score(entry), *shares, *_milliseconds(seat, entry)])
    columns = ["entry", "rank", "score [%]", *(f"{name} [%]" for name in names), "1 lane [ms]", "1000 lanes [ms]"]
    note = ("Per cent of lanes in which every requirement holds; the score is their mean. Latency: the median of one "
            "evaluation, measured here in eager torch, of entries that are networks.")  # fmt: skip
    table = Table.of("Ranking", columns, rows, note)
    lines = {entry: [100 * seat.share(entry, name) for name in names] for entry in ranking}
    drawn = figures.grouped("Lanes in which every requirement holds", names, lines, "lanes", "%", "condition")
    parts: list[Part] = [Note(f"{seat.scenario.title}. Conditions: "
                              + "; ".join(f"{one.name}: {one.text}" for one in seat.conditions) + "."), table, drawn]
    if seat.misfits:
        left = [[name, why] for name, why in seat.misfits.items()]
        parts.append(Table.of("Entries that do not fit the slot", ["entry", "why"], left))
    nominal = seat.campaigns[MINE][names[0]]
    good = int(kept(nominal).sum())
    if nominal.lanes:
        low, high = interval(good, nominal.lanes)
        parts.append(Note(f"{MINE}, {names[0]}: every requirement holds in {good} of {nominal.lanes} lanes, which is "
                          f"{100 * low:.1f} % to {100 * high:.1f} % of all with 95 % confidence."))  # fmt: skip
    found = [Section(f"{seat.name}: ranking", tuple(parts))]
    return [*found, _margins(seat, ranking, names), *_worst(seat, names, replay)]


def _margins(seat: Seat, ranking: list[str], names: list[str]) -> Section:
    parts: list[Part] = []
    nominal = seat.campaigns[MINE][names[0]]
    rival = next((entry for entry in ranking if entry != MINE), None)
    for requirement in list(nominal.margins)[:HISTOGRAMS]:
        series = {MINE: nominal.margins[requirement].numpy()}
        if rival is not None:
            series[rival] = seat.campaigns[rival][names[0]].margins[requirement].numpy()
        unit = verdicts.unit_of(nominal.job.requirements.get(requirement), nominal)
        if torch.isfinite(nominal.margins[requirement]).any():
            parts.append(figures.margins(requirement, series, unit))
    rows: list[list[Any]] = []
    for requirement in nominal.margins:
        for condition in names:
            for entry in ranking:
                campaign = seat.campaigns[entry][condition]
                margin = campaign.margins[requirement]
                known = margin[torch.isfinite(margin)].double()
                marks = [float(torch.quantile(known, q)) for q in (0.0, 0.05, 0.5)] if len(known) else [None] * 3
                tally = verdicts.tally(campaign, requirement)
                rows.append([requirement, condition, entry, *marks, tally.counts["fail"] + tally.counts["error"],
                             campaign.lanes])  # fmt: skip
    columns = ["requirement", "condition", "entry", "worst", "5 %", "median", "lanes not held", "lanes"]
    parts.append(Table.of("Margins", columns, rows, "A margin below zero: the requirement fails."))
    return Section(f"{seat.name}: margins", tuple(parts))


def _worst(seat: Seat, names: list[str], replay: Callable[[Seat, int], str] | None) -> list[Section]:
    """The command that runs the worst lane for each requirement alone."""
    nominal = seat.campaigns[MINE][names[0]]
    if replay is None or not nominal.lanes:
        return []
    lanes = list(dict.fromkeys(nominal.worst(name, 1)[0] for name in nominal.margins))
    text = "\n".join(replay(seat, lane) for lane in lanes)
    return [Section(f"{seat.name}: worst lanes", (Command(text, f"{MINE}, {names[0]}: its worst lanes, alone"),))]


def _milliseconds(seat: Seat, entry: str) -> list[float | None]:
    found = {one.lanes: 1e3 * one.median for one in seat.latency.get(entry, ())}
    return [found.get(1), found.get(1000)]
