"""A campaign with exported C in the loop beside one as designed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.compile import compile_model
from simdl.export.c.block import in_loop
from simdl.export.c.export import Exported

if TYPE_CHECKING:
    from simdl.campaign import Campaign
    from simdl.scenario import Scenario


@dataclass(frozen=True)
class LoopCheck:
    """Two campaigns over the same lanes: as designed, and with the C in the loop.

    signals: recorded path -> worst |difference|; verdicts, margins: requirement -> lanes whose verdict differs, and
    worst |difference| of margins; failed: lanes that failed to run in one of the two only.
    """

    lanes: int
    signals: Mapping[str, float]
    verdicts: Mapping[str, int]
    margins: Mapping[str, float]
    failed: int

    @property
    def same(self) -> bool:
        """Whether every verdict is the same."""
        return not self.failed and not any(self.verdicts.values())

    @property
    def identical(self) -> bool:
        """Whether every recorded value is the same."""
        return self.same and not any(self.signals.values())

    def table(self) -> str:
        """As text."""
        lines = [f"{self.lanes} lanes, as designed and with the C in the loop"]
        lines += [f"  {name:28} worst difference {value:.3g}" for name, value in self.signals.items()]
        lines += [f"  {name:28} {count} verdicts differ, worst difference of margins {self.margins[name]:.3g}"
                  for name, count in self.verdicts.items()]  # fmt: skip
        lines += [f"  {self.failed} lanes failed in one of the two only"] if self.failed else []
        return "\n".join([*lines, "the verdicts are the same" if self.same else "THE VERDICTS DIFFER"])


def check_in_loop(study: Scenario, exported: Exported, lanes: int = 200, **options: Any) -> LoopCheck:
    """Run the campaign of a scenario twice, with the exported part as designed and as C; options as for
    `monte_carlo`. What the campaign records is compared; without `record`, the outputs of the diagram."""
    diagram = study.build()
    swapped = in_loop(diagram, exported.path, exported)
    known = set(compile_model(swapped).ports())
    usual = study.record or tuple(p for p in compile_model(diagram).flat.aliases if "." not in p)
    record = options.pop("record", tuple(p for p in usual if p in known))
    designed = study.campaign(lanes, record=record, keep=True, **options)
    changed = replace(study, diagram=lambda: swapped, networks={}, defaults={})
    return compared(designed, changed.campaign(lanes, record=record, keep=True, **options))


def compared(one: Campaign, two: Campaign) -> LoopCheck:
    """What is different between two campaigns over the same lanes."""
    shared = [path for path in one.traces if path in two.traces]
    signals = {path: _worst(one.traces[path].values, two.traces[path].values) for path in shared}
    verdicts = {name: int((one.verdicts[name] != two.verdicts[name]).sum()) for name in one.verdicts}
    margins = {name: _worst(one.margins[name], two.margins[name]) for name in one.margins}
    return LoopCheck(one.lanes, signals, verdicts, margins, len(set(one.status) ^ set(two.status)))


def _worst(a: Tensor, b: Tensor) -> float:
    """The largest difference; a NaN or an infinity that only one of them has is an infinite one."""
    a, b = a.double(), b.double()
    equal = (a == b) | (a.isnan() & b.isnan())
    gap = torch.where(equal, 0.0, (a - b).abs()).nan_to_num(nan=math.inf)
    return float(gap.max()) if gap.numel() else 0.0
