"""What a campaign says about its requirements: counts, rates with their intervals, groups of lanes apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.port import Port
from simdl.report.claim import CONFIDENCE, LIMITS, interval, share
from simdl.report.parts import Mark, Note, Part, Section, Table, Tone
from simdl.report.report import Check, Counts
from simdl.report.text import number
from simdl.requirements import Requirement, Verdict
from simdl.requirements.grammar import COMPARISONS
from simdl.requirements.tree import walk
from simdl.space import Grid

if TYPE_CHECKING:
    from simdl.campaign import Campaign

TONES = {"pass": "good", "fail": "bad", "untested": "warn", "error": "bad"}
_ALONE = {"pass": "holds", "fail": "fails", "untested": "was never put to the test", "error": "is unknown"}
_KEEPS_UNIT = {
    *COMPARISONS, "signal", "const", "and", "or", "not", "implies", "xor", "iff", "always", "eventually", "until",
    "add", "sub", "neg", "abs", "minimum", "maximum", "getitem", "rise", "fall", "holds",
}  # fmt: skip


@dataclass(frozen=True)
class Tally:
    """The verdicts on one requirement over some lanes."""

    counts: Mapping[str, int]
    worst: float
    lane: int | None  # of the worst margin

    @property
    def tested(self) -> int:
        """Lanes that count for the rate: all but the untested ones."""
        return self.counts["pass"] + self.counts["fail"] + self.counts["error"]

    @property
    def held(self) -> bool:
        return not self.counts["fail"] and not self.counts["error"]


def tally(campaign: Campaign, requirement: str, mask: Tensor | None = None) -> Tally:
    """Count the verdicts on a requirement, over the lanes of a mask (lanes,)."""
    chosen = torch.ones(campaign.lanes, dtype=torch.bool) if mask is None else mask
    verdicts, margins = campaign.verdicts[requirement][chosen], campaign.margins[requirement][chosen]
    counts = {verdict.name.lower(): int((verdicts == int(verdict)).sum()) for verdict in Verdict}
    known = ~margins.isnan()
    if not known.any():
        return Tally(counts, float("nan"), None)
    place = int(torch.where(known, margins, torch.inf).argmin())
    return Tally(counts, float(margins[place]), int(campaign.ids[chosen][place]))


def checks(campaign: Campaign) -> tuple[Check, ...]:
    """One check for each requirement, over all lanes."""
    found = []
    for name in campaign.margins:
        one = tally(campaign, name)
        found.append(Check(name, str(campaign.job.requirements.get(name, "")), one.counts, one.worst, _message(one)))
    return tuple(found)


def counts(campaign: Campaign) -> Counts:
    """How many lanes were asked, ran, and failed to run."""
    return Counts(campaign.asked, campaign.lanes - len(campaign.status), len(campaign.status))


def sentence(campaign: Campaign) -> str:
    """The outcome in a sentence or two."""
    if not campaign.margins:
        return f"{campaign.lanes} lanes ran; there are no requirements to check."
    found = checks(campaign)
    bad = [check for check in found if not check.held]
    untested = [check.name for check in found if not check.tested]
    good = len(found) - len(bad) - len(untested)
    if bad:
        text = "; ".join(f"{check.name} {check.message}" for check in bad[:3])
        more = f"; and {len(bad) - 3} more requirements" if len(bad) > 3 else ""
        every = ("hold" if good != 1 else "holds") + (" in every lane" if campaign.lanes > 1 else " in this lane")
        text = f"{good} of {len(found)} requirements {every}. {text}{more}."
    elif untested:
        text = "No requirement failed."
    else:
        lanes = f"all {campaign.lanes} lanes" if campaign.lanes > 1 else "this lane"
        text = f"Every requirement holds in {lanes}." if len(found) > 1 else f"The requirement holds in {lanes}."
    return text + (f" Never put to the test: {', '.join(untested)}." if untested else "")


def groups(campaign: Campaign, named: Mapping[str, str]) -> dict[str, Tensor]:
    """Label -> mask (lanes,): the lanes of no group first, then those of each group. Empty without groups."""
    masks = {name: campaign.drawn[path] > 0.5 for name, path in named.items() if path in campaign.drawn}
    masks = {name: mask for name, mask in masks.items() if mask.any()}
    if not masks:
        return {}
    others = ~torch.stack(list(masks.values())).any(0)
    return {"all other lanes": others, **{f"only {name}": mask for name, mask in masks.items()}}


def requirements(campaign: Campaign, named: Mapping[str, str]) -> Section:
    """The table of requirements, the groups of lanes that are reported apart, and what may be claimed."""
    if not campaign.margins:
        return Section("Requirements", (Note("This study names no requirements: nothing was checked."),))
    rows, texts = [], []
    for name in campaign.margins:
        rows.append([name, *_cells(campaign, name, None)])
        rule = campaign.job.requirements.get(name)
        if rule is not None:
            texts.append([name, str(rule), rule.describe() if campaign.lanes else ""])
    columns = ["requirement", "verdict", "pass", "fail", "untested", "error", "worst margin", "unit", "in lane"]
    parts: list[Part] = [Table.of("Verdicts", columns, rows)]
    apart = groups(campaign, named)
    if apart:
        parts.append(Table.of(
            "Groups of lanes apart", ["requirement", "lanes", *columns[1:]],
            [[name, label, *_cells(campaign, name, m)] for name in campaign.margins for label, m in apart.items()],
        ))  # fmt: skip
    parts.append(Table.of("What was required", ["requirement", "as text", "in words"], texts))
    return Section("Requirements", tuple(parts))


def claims(campaign: Campaign, named: Mapping[str, str]) -> Section:
    """What the counts allow to be said of lanes that were not run, and what they do not."""
    rows = []
    apart: dict[str, Tensor | None] = {"all lanes": None, **groups(campaign, named)}
    for name in campaign.margins:
        for label, mask in apart.items():
            one = tally(campaign, name, mask)
            passed = one.counts["pass"]
            low, high = interval(passed, one.tested)
            said = (share(passed / one.tested), f"{share(low)} to {share(high)}") if one.tested else (None, None)
            rows.append([name, label, one.tested, passed, *said])
    columns = ["requirement", "lanes", "tested", "passed", "pass rate", f"{share(CONFIDENCE)} interval of the rate"]
    parts: list[Part] = []
    if rows:
        parts.append(Table.of("Pass rates", columns, rows, "Clopper–Pearson intervals of a binomial proportion."))
    parts.append(Note(LIMITS))
    grids = [name for name, what in campaign.job.space.items() if isinstance(what, Grid)]
    if grids:
        text = (
            f"{', '.join(grids)}: taken in turn from a grid, not drawn. The intervals hold for the rest of the space, "
        )
        parts.append(Note(text + "at these values in these proportions.", "warn"))
    if not campaign.complete:
        parts.append(Note("Lanes are missing. The counts are those of the lanes that ran.", "bad"))
    return Section("Limits of the claim", tuple(parts))


def unit_of(rule: Requirement | None, campaign: Campaign) -> str:
    """The unit of a requirement's margin: that of its signals, when they have one in common and are only compared."""
    if rule is None:
        return ""
    units = set()
    for node in walk(rule):
        if node.op not in _KEEPS_UNIT:
            return ""
        if node.op == "signal":
            declared = node.value.unit if isinstance(node.value, Port) else ""
            units.add(declared or campaign.model.unit(node.path))
    return units.pop() if len(units) == 1 else ""


def _cells(campaign: Campaign, name: str, mask: Tensor | None) -> list[Any]:
    one = tally(campaign, name, mask)
    word = "untested" if not one.tested else "holds" if one.held else "fails" if one.counts["fail"] else "error"
    tones: dict[str, Tone] = {"holds": "good", "untested": "warn"}
    counted = [one.counts[verdict] for verdict in TONES]
    unit = unit_of(campaign.job.requirements.get(name), campaign)
    return [Mark(word, tones.get(word, "bad")), *counted, one.worst, unit, one.lane]


def _message(one: Tally) -> str:
    lanes = sum(one.counts.values())
    least = f"; worst margin {number(one.worst)} in lane {one.lane}" if one.lane is not None else ""
    if lanes == 1:
        word = next((word for verdict, word in _ALONE.items() if one.counts[verdict]), "")
        return f"{word}, margin {number(one.worst)}" if one.lane is not None else word
    if one.counts["fail"]:
        return f"fails in {one.counts['fail']} of {lanes} lanes{least}"
    if one.counts["error"]:
        return f"is unknown in {one.counts['error']} of {lanes} lanes, which failed to run{least}"
    if not one.tested:
        return "was never put to the test"
    low, _ = interval(one.counts["pass"], one.tested)
    claim = f", so in at least {share(low)} of such lanes ({share(CONFIDENCE)} confidence)" if one.tested > 1 else ""
    return f"holds in {one.counts['pass']} of {lanes} lanes{claim}{least}"
