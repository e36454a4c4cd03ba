"""A campaign with exported C in the loop beside one as designed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from simdl.compile import compile_model
from simdl.export.c.block import in_loop
from simdl.export.c.export import Exported
from simdl.export.loop import LoopCheck, compared

if TYPE_CHECKING:
    from simdl.scenario import Scenario


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
    after = changed.campaign(lanes, record=record, keep=True, **options)
    return compared(exported.path, "C", designed, after)
