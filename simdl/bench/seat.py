"""What a bench found: for each slot, campaigns of every entry under every condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from simdl.bench.space import Condition
from simdl.requirements import Verdict

if TYPE_CHECKING:
    from simdl.campaign import Campaign
    from simdl.networks.analysis import Latency
    from simdl.scenario import Scenario

MINE, SHIPPED = "this network", "shipped"


@dataclass(frozen=True)
class Seat:
    """One slot of one scenario.

    campaigns: entry -> condition -> campaign; latency: entry -> measured here, for entries that are networks; misfits:
    entry -> why it could not stand in the slot.
    """

    scenario: Scenario
    slot: str
    conditions: tuple[Condition, ...]
    campaigns: Mapping[str, Mapping[str, Campaign]]
    latency: Mapping[str, tuple[Latency, ...]] = field(default_factory=dict)
    misfits: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.scenario.name}, slot {self.slot}"

    def share(self, entry: str, condition: str) -> float:
        """The part of lanes in which every requirement holds; a lane that failed to run is none of them."""
        campaign = self.campaigns[entry][condition]
        return float(kept(campaign).double().mean()) if campaign.lanes else 0.0

    def score(self, entry: str) -> float:
        """The mean of those parts over the conditions."""
        shares = [self.share(entry, one.name) for one in self.conditions]
        return sum(shares) / len(shares)

    def ranking(self) -> list[str]:
        """Entries from the best on: by score; then by the part kept under the first condition; then by name."""
        first = self.conditions[0].name
        return sorted(self.campaigns, key=lambda one: (-self.score(one), -self.share(one, first), one))

    @property
    def complete(self) -> bool:
        return all(campaign.complete for found in self.campaigns.values() for campaign in found.values())


@dataclass(frozen=True)
class Board:
    """A network over all slots that it fits. misfits: (scenario, slot, why) for the others."""

    network: str
    seats: tuple[Seat, ...]
    misfits: tuple[tuple[str, str, str], ...]
    seed: int
    lanes: int

    @property
    def complete(self) -> bool:
        return all(seat.complete for seat in self.seats)


def kept(campaign: Campaign) -> Tensor:
    """The lanes (lanes,) in which no requirement fails or is in error."""
    good = torch.ones(campaign.lanes, dtype=torch.bool)
    for verdicts in campaign.verdicts.values():
        good &= (verdicts != int(Verdict.FAIL)) & (verdicts != int(Verdict.ERROR))
    for lane in campaign.status:
        good &= campaign.ids != lane
    return good
