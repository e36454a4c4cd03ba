"""What came out of a co-design or a validation: tables, campaigns and the error bars of the worst lanes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.codesign.design import Design
from simdl.requirements import Verdict
from simdl.scenario import Scenario

if TYPE_CHECKING:
    from simdl.campaign import Campaign


@dataclass(frozen=True)
class Checked:
    """One estimator in the loop: its campaign, and its figures of merit for each lane."""

    name: str
    campaign: Campaign
    merits: Mapping[str, Tensor]

    def row(self, mask: Tensor | None = None) -> dict[str, float]:
        """Root of the mean square, worst and 99th percentile of each merit over lanes, with the share of lanes kept."""
        found: dict[str, float] = {}
        for name, values in self.merits.items():
            chosen = values if mask is None else values[mask]
            chosen = chosen[torch.isfinite(chosen)]
            if len(chosen):
                found[f"{name} rms"] = float(chosen.square().mean().sqrt())
                found[f"{name} p99"] = float(torch.quantile(chosen.double(), 0.99))
                found[f"{name} worst"] = float(chosen.abs().max())
        return found


@dataclass(frozen=True)
class Confirmed:
    """A worst lane repeated with half the step and with another method: its margin and how far that moves."""

    requirement: str
    lane: int
    margin: float
    halved: float
    other: float

    @property
    def bar(self) -> float:
        """The numerical error bar of the margin."""
        return max(abs(self.halved - self.margin), abs(self.other - self.margin))

    @property
    def persists(self) -> bool:
        """Whether the sign of the margin is the same every time."""
        return (self.margin > 0) == (self.halved > 0) == (self.other > 0)


@dataclass
class Outcome:
    """Everything a report shows."""

    scenario: Scenario
    asked: dict[str, Any]
    checked: dict[str, Checked] = field(default_factory=dict)  # "before", "after", and one for each baseline
    confirmed: list[Confirmed] = field(default_factory=list)
    histories: dict[str, Any] = field(default_factory=dict)  # stage -> path of the training log
    seconds: dict[str, float] = field(default_factory=dict)  # stage -> wall time
    added: list[int] = field(default_factory=list)  # worst lanes that went into the data
    skipped: list[str] = field(default_factory=list)  # what was not run, and why

    @property
    def final(self) -> Checked:
        return self.checked.get("after") or self.checked["before"]

    @property
    def passed(self) -> bool:
        return self.final.campaign.passed

    @property
    def complete(self) -> bool:
        return all(c.campaign.complete for c in self.checked.values())


def masks(design: Design, campaign: Campaign, stratum: str) -> dict[str, Tensor]:
    """Label -> which lanes (lanes,) fall into each part of a stratum."""
    cut = design.strata[stratum]
    values = campaign.drawn[cut.path]
    index = torch.bucketize(values, torch.tensor(cut.edges, dtype=values.dtype), right=True)
    return {label: index == i for i, label in enumerate(cut.labels())}


__all__ = ["Checked", "Confirmed", "Outcome", "Verdict", "masks"]
