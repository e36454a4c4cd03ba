"""Exported files put back into the loop: the same campaign with the network and with what was made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.declared import Declared
from simdl.errors import NetworkError
from simdl.export.executor import Executor, numpy_type
from simdl.export.exported import Exported
from simdl.export.step import network_in
from simdl.networks.ports import run_dtype
from simdl.requirements import Verdict
from simdl.slots import copied, fill, filling

if TYPE_CHECKING:
    from simdl.campaign import Campaign
    from simdl.networks.network import Network
    from simdl.scenario import Scenario


@dataclass(frozen=True)
class LoopCheck:
    """Two campaigns on the same lanes, with a network and with its exported file.

    signals: path -> (largest difference over lanes and times, largest value); margins: requirement -> (worst with the
    network, worst with the file, largest change of a lane); changed: (requirement, lane, verdict before, after).
    """

    slot: str
    by: str
    lanes: int
    complete: bool
    signals: Mapping[str, tuple[float, float]]
    margins: Mapping[str, tuple[float, float, float]]
    changed: tuple[tuple[str, int, str, str], ...]

    @property
    def agrees(self) -> bool:
        return not self.changed

    def twin(self) -> dict[str, Any]:
        def finite(*values: float) -> list[float | None]:
            return [value if abs(value) < float("inf") else None for value in values]

        return {
            "schema": "simdl-loop-1", "slot": self.slot, "by": self.by, "lanes": self.lanes, "complete": self.complete,
            "agrees": self.agrees, "signals": {name: finite(*value) for name, value in self.signals.items()},
            "margins": {name: finite(*value) for name, value in self.margins.items()},
            "changed": [list(one) for one in self.changed],
        }  # fmt: skip

    def __str__(self) -> str:
        verdicts = f"{len(self.changed)} verdicts DIFFER" if self.changed else "every verdict is the same"
        lines = [f"In the loop, {self.lanes} lanes, the file run by {self.by}: {verdicts}."]
        lines += [f"  {name}: differs by at most {worst:.3g} (values up to {largest:.3g})"
                  for name, (worst, largest) in self.signals.items()]  # fmt: skip
        lines += [f"  {name}: worst margin {before:.6g}, with the file {after:.6g}; lanes move by up to {most:.3g}"
                  for name, (before, after, most) in self.margins.items()]  # fmt: skip
        lines += [f"  {name}, lane {lane}: {before} became {after}" for name, lane, before, after in self.changed[:10]]
        return "\n".join(lines)


class _Evaluation:
    """In place of a network's own evaluation: the same values by name from an executor."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor

    def __call__(self, inputs: list[Tensor], memory: dict[str, Tensor]) -> dict[str, Tensor]:
        executor, dtype = self.executor, run_dtype(inputs)
        named = dict(zip((one.name for one in executor.inputs), inputs)) | memory
        arrays = {one.name: named[one.name].detach().cpu().numpy().astype(numpy_type(one)) for one in executor.taken}
        found = {name: torch.as_tensor(value) for name, value in executor(arrays).items()}
        kinds = {name: value.dtype for name, value in memory.items()}
        return {name: value.to(kinds.get(name, dtype)) if value.is_floating_point() else value
                for name, value in found.items()}  # fmt: skip

    def __deepcopy__(self, memo: Any) -> _Evaluation:
        return self


def executed(network: Network, exported: Exported) -> Network:
    """A copy of a block that is computed by its exported file: it runs in torch, and has no gradient."""
    if not exported.normalised and network._plan.card is not None and _scaled(network):
        raise NetworkError(str(exported.path), "a file without the card's normalisation", "one that takes the block's "
                           "units", "export(..., normalise=True)")  # fmt: skip
    made = copied(network)
    vars(made)["_evaluate"] = _Evaluation(exported.executor())
    return made


def in_slot(scenario: Scenario, slot: str) -> Declared:
    """What stands in a slot of a scenario, as a block with no wires to it."""
    slots = scenario.slots
    if slot not in slots:
        raise NetworkError(scenario.name, f"no slot {slot!r}", names=slots, wrong=slot)
    given = {**scenario.defaults, **scenario.networks}.get(slot)
    if given is not None:
        return fill(slots[slot], given)
    block = filling(scenario.diagram())[slot]
    for name in slots[slot].offered:
        block.wires.pop(name, None)
    vars(block)["parent"] = None
    return block


def check_in_loop(
    scenario: Scenario, slot: str, exported: Exported, lanes: int = 100, *, seed: int = 0, progress: bool | None = None
) -> LoopCheck:  # fmt: skip
    """Run a campaign of a scenario with its network and with the exported file, on the same lanes, and compare.

    Both run in torch, so that what differs is the file. Signals are those that the scenario records.
    """
    original = in_slot(scenario, slot)
    other = copied(original)
    network = network_in(other)
    executor = exported.executor()
    vars(network)["_evaluate"] = vars(executed(network, exported))["_evaluate"]
    options: dict[str, Any] = {"seed": seed, "engine": "torch", "keep": True, "progress": progress}
    before = scenario.swap(**{slot: original}).campaign(lanes, **options)
    after = scenario.swap(**{slot: other}).campaign(lanes, **options)
    return compared(slot, executor.by, before, after)


def compared(slot: str, by: str, before: Campaign, after: Campaign) -> LoopCheck:
    """Two campaigns over the same lanes."""
    complete = before.complete and after.complete
    both = [int(lane) for lane in before.ids if lane in after.ids]
    rows = [torch.isin(one.ids, torch.tensor(both, dtype=torch.int64)) for one in (before, after)]
    signals: dict[str, tuple[float, float]] = {}
    for path, trace in before.traces.items():
        a, b = trace.values[rows[0]].double(), after.traces[path].values[rows[1]].double()
        same = (a == b) | (a.isnan() & b.isnan())
        apart = torch.where(same, torch.zeros_like(a), (a - b).abs()).nan_to_num(nan=torch.inf)
        finite = a[a.isfinite()].abs()
        signals[path] = (float(apart.max()) if apart.numel() else 0.0, float(finite.max()) if finite.numel() else 0.0)
    margins: dict[str, tuple[float, float, float]] = {}
    changed: list[tuple[str, int, str, str]] = []
    for name in before.margins:
        a, b = before.margins[name][rows[0]].double(), after.margins[name][rows[1]].double()
        same = (a == b) | (a.isnan() & b.isnan())
        apart = torch.where(same, torch.zeros_like(a), (a - b).abs()).nan_to_num(nan=torch.inf)
        margins[name] = (_least(a), _least(b), float(apart.max()) if len(apart) else 0.0)
        verdicts = (campaign.verdicts[name][row].tolist() for campaign, row in zip((before, after), rows))
        for lane, one, two in zip(both, *verdicts):
            if one != two:
                changed.append((name, lane, Verdict(one).name.lower(), Verdict(two).name.lower()))
    return LoopCheck(slot, by, len(both), complete, signals, margins, tuple(changed))


def _least(margin: Tensor) -> float:
    known = margin[~margin.isnan()]
    return float(known.min()) if len(known) else float("nan")


def _scaled(network: Network) -> bool:
    scaling = network._scaling
    return any((*scaling.inputs, *scaling.outputs))
