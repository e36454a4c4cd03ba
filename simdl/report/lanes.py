"""Single lanes on a page: the worst ones, what was drawn for them, their signals, and how to see them again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from simdl.campaign.shard import signals_of
from simdl.errors import SimdlError
from simdl.port import Port
from simdl.report import figures
from simdl.report.parts import Command, Figure, Mark, Note, Part, Section, Table, Tone
from simdl.report.text import number
from simdl.requirements import Verdict

if TYPE_CHECKING:
    from simdl.campaign import Campaign
    from simdl.result import Run

WORST = 5  # lanes for each requirement
SHOWN = 8  # signals in one figure

Replay = Callable[[int], str]
"""The command that runs one lane again."""


def worst_lanes(campaign: Campaign, replay: Replay | None, paths: Sequence[str] = (), pictures: int = 2) -> Section:
    """Tables of the worst lanes and of what was drawn for them, and the signals of the very worst."""
    rows, seen = [], dict[int, None]()
    for name in campaign.margins:
        for lane in campaign.worst(name, WORST):
            rows.append([name, lane, *_about(campaign, name, lane)])
            seen[lane] = None
    columns = ["requirement", "lane", "verdict", "margin", "decided at [s]"]
    parts: list[Part] = [Table.of("Smallest margins", columns, rows)]
    chosen = most_urgent(campaign)[:pictures]
    lanes = list(dict.fromkeys([*(lane for _, lane in chosen), *seen]))[:WORST]
    if lanes and campaign.drawn:
        parts.append(drawn_values(campaign, lanes))
    if replay is not None and seen:
        parts.append(Command("\n".join(replay(lane) for lane in lanes), "Each of these lanes runs again, alone, by"))
    for name, lane in chosen:
        parts.append(lane_figure(campaign, lane, name, paths))
    return Section("Worst lanes", tuple(parts))


def failures(campaign: Campaign, replay: Replay | None, most: int = 100) -> Section | None:
    """The lanes that failed to run, with the cause."""
    if not campaign.status:
        return None
    rows = ([lane, t, why] for lane, (t, why) in campaign.status.items())
    table = Table.of("Lanes that failed to run", ["lane", "failed at [s]", "cause"], rows)
    parts: list[Part] = [Note("A lane that failed to run counts as not passed.", "bad"), table]
    if replay is not None:
        first = list(campaign.status)[: min(3, most)]
        parts.append(Command("\n".join(replay(lane) for lane in first), "To see one fail again, alone"))
    return Section("Failures", tuple(parts))


def drawn_values(campaign: Campaign, lanes: Sequence[int]) -> Table:
    """What was drawn for these lanes: a row for each parameter, a column for each lane."""
    rows = []
    places = {int(lane): row for row, lane in enumerate(campaign.ids)}
    for name, values in campaign.drawn.items():
        if values.ndim == 1:
            cells = [float(values[places[lane]]) for lane in lanes]
            rows.append([name, _unit(campaign, name), *cells])
    return Table.of("What was drawn for them", ["value", "unit", *(f"lane {lane}" for lane in lanes)], rows)


def lane_figure(campaign: Campaign, lane: int, requirement: str = "", paths: Sequence[str] = ()) -> Figure | Note:
    """The signals of one lane: those of the requirement, then those named; replayed when they were not kept."""
    row = int((campaign.ids == lane).nonzero()[0, 0])
    wanted = list(dict.fromkeys([*signal_paths(campaign, requirement), *paths]))[:SHOWN]
    try:
        lines = lane_lines(campaign, lane, wanted)
    except SimdlError as error:
        return Note(f"The signals of lane {lane} cannot be drawn: {error}", "warn")
    marks = {}
    if requirement:
        at = float(campaign.decided[requirement][row])
        marks = {"decided here": at} if at == at and at >= 0 else {}
    title = f"Lane {lane}"
    if requirement:
        verdict, margin, _ = _about(campaign, requirement, lane)
        said = {"pass": "holds", "fail": "fails"}.get(verdict.word, f"is {verdict.word}")
        title = f"Lane {lane}: {requirement} {said}, margin {number(margin)}"
    return figures.signals(title, [lines], marks=marks)


def signal_paths(campaign: Campaign, requirement: str) -> list[str]:
    """The paths that a requirement reads."""
    rule = campaign.job.requirements.get(requirement)
    return [_path(signal) for signal in signals_of({"": rule})] if rule is not None else []


def lane_lines(campaign: Campaign, lane: int, paths: Sequence[str] = ()) -> list[figures.Line]:
    """Signals of a lane as lines: from the kept traces where they have them all, else by running the lane again."""
    if campaign.traces and paths and all(path in campaign.traces for path in paths):
        row = int((campaign.ids == lane).nonzero()[0, 0])
        return run_lines(campaign.run, paths, row)
    return run_lines(campaign.replay(lane).run, paths)


def run_lines(run: Run, paths: Iterable[str] = (), row: int = 0) -> list[figures.Line]:
    """Scalar signals of a lane of a run as lines; all of them (up to 8) when none are named. Vectors give a line for
    each of their first elements."""
    traces = [run[path] for path in paths] or [t for t in run.traces.values() if t.values.ndim == 2][:SHOWN]
    lines = []
    for trace in traces:
        values = trace.values[row].detach().double().reshape(len(trace.t), -1)[:, :4]  # (time, elements)
        for i in range(values.shape[1]):
            label = trace.path if values.shape[1] == 1 else f"{trace.path}[{i}]"
            lines.append(figures.Line(label, trace.t.numpy(), values[:, i].numpy(), trace.unit, trace.kind == "held"))
    return lines


def most_urgent(campaign: Campaign) -> list[tuple[str, int]]:
    """(requirement, lane) to look at first: failing requirements before others; a lane only once."""
    found: list[tuple[bool, str, int]] = []
    for name in campaign.margins:
        known = ~campaign.margins[name].isnan()
        if known.any():
            place = int(torch.where(known, campaign.margins[name], torch.inf).argmin())
            found.append((int(campaign.verdicts[name][place]) != int(Verdict.FAIL), name, int(campaign.ids[place])))
        elif campaign.lanes:
            found.append((False, name, campaign.worst(name, 1)[0]))
    once: dict[int, tuple[str, int]] = {}
    for _, name, lane in sorted(found, key=lambda entry: entry[0]):
        once.setdefault(lane, (name, lane))
    return list(once.values())


def _about(campaign: Campaign, requirement: str, lane: int) -> tuple[Mark, float, float]:
    row = int((campaign.ids == lane).nonzero()[0, 0])
    word = Verdict(int(campaign.verdicts[requirement][row])).name.lower()
    tones: dict[str, Tone] = {"pass": "good", "untested": "warn"}
    at = float(campaign.decided[requirement][row])
    margin = float(campaign.margins[requirement][row])
    return Mark(word, tones.get(word, "bad")), margin, at if at >= 0 else float("nan")


def _path(signal: Any) -> str:
    return signal.path if isinstance(signal, Port) else str(signal)


def _unit(campaign: Campaign, name: str) -> str:
    return campaign.model.unit(name) if name in campaign.model.values else ""
