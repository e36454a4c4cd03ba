"""The accuracy of fixed steps: how much half the step changes what lane 0 comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from simdl.engine.solver import advance
from simdl.engine.span import Span

if TYPE_CHECKING:
    from simdl.engine.simulator import Simulator

CHECKED = 64  # segments of a run, and steps of a segment, that are repeated


def half_step_change(simulator: Simulator, start: Tensor, ns: int) -> Tensor:
    """(rows,) the relative change by half the step, of lane 0, over (the beginning of) the segment up to `ns` that the
    simulator has integrated from `start`, (rows, lanes)."""
    span = Span(simulator.segments, simulator.state, simulator.state.ns, ns)
    steps = simulator.segments.steps(span.length)
    h, part = span.length / steps, min(steps, CHECKED)
    coarse, fine = (simulator.state.y if part == steps else start), start
    for j in range(part):
        if part < steps:
            coarse = advance(simulator.solver, span.slope, h * j, coarse, h).y1
        half = advance(simulator.solver, span.slope, h * j, fine, h / 2).y1
        fine = advance(simulator.solver, span.slope, h * j + h / 2, half, h / 2).y1
    return (fine[:, 0] - coarse[:, 0]).abs() / fine[:, 0].abs().clamp(min=1e-6)
