"""A campaign with exported C in the loop beside one as designed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from simdl.clock import nanoseconds, seconds
from simdl.compile import compile_model
from simdl.export.c.block import in_loop
from simdl.export.c.export import Exported
from simdl.export.c.part import isolated
from simdl.export.loop import LoopCheck, compared

if TYPE_CHECKING:
    from torch import Tensor

    from simdl.scenario import Scenario


def lane_samples(study: Scenario, path: str, ticks: int = 256, *, seed: int = 0) -> dict[str, Tensor]:
    """What the inputs of a part are in lane 0 of a scenario at the part's ticks, as samples for `export_c`."""
    diagram = study.build()
    part = isolated(diagram, path, {}, torch.float64)
    if not path or not part.inputs:
        return {}
    until = nanoseconds(study.until)
    times = [seconds(ns) for ns in range(part.start, until + 1, part.base)][:ticks]
    paths = {terminal.name: f"{path}.{terminal.name}" for terminal in part.inputs}
    run = study.campaign(1, seed=seed, record=[*paths.values()], requirements={}, keep=True, progress=False)
    return {name: torch.stack([run[at].at(t)[0] for t in times]) for name, at in paths.items()}


def check_in_loop(study: Scenario, exported: Exported, lanes: int = 200, **options: Any) -> LoopCheck:
    """Run the campaign of a scenario twice, with the exported part as designed and as C; options as for
    `monte_carlo`. What the campaign records is compared; without `record`, the outputs of the diagram."""
    diagram = study.build()
    swapped = in_loop(diagram, exported.path, exported)
    known = set(compile_model(swapped).ports())
    usual = study.record or tuple(p for p in compile_model(diagram).flat.aliases if "." not in p)
    record = options.pop("record", tuple(p for p in usual if p in known))
    designed = study.campaign(lanes, record=record, keep=True, **options)
    changed = replace(study, diagram=lambda: swapped, networks={}, defaults={})  # its slots are filled already
    after = changed.campaign(lanes, record=record, keep=True, **options)
    return compared(exported.path, "C", designed, after)
