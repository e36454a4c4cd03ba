"""Whether the lanes of a converted network are independent: what one lane is given must not move another."""

from __future__ import annotations

import torch
from torch import Tensor

from simdl.errors import NetworkError
from simdl.networks.comparison import TOLERANCE
from simdl.networks.onnx.layout import Layout
from simdl.networks.onnx.modules import Converted
from simdl.networks.onnx.program import Program

LANES, _CHANGED = 3, 1  # lanes before and after it: sums run either way


def check_lanes(program: Program, layout: Layout, given: list[Tensor], where: str) -> None:
    """Runs LANES lanes, given, twice, with another middle one; raises NetworkError when the two beside it move.

    An executor of ONNX cannot tell this: over an axis of samples the same operator is right.
    """
    module = Converted(program, layout)
    with torch.no_grad():
        before, after = module.results(given), module.results([_changed(x) for x in given])
    kept = [n for n in range(LANES) if n != _CHANGED]
    for one, a, b in zip(program.graph.outputs, before, after):
        x, y = a[kept].double(), b[kept].double()
        same = (x == y) | (x.isnan() & y.isnan())
        moved = torch.where(same, torch.zeros_like(x), (x - y).abs()).nan_to_num(nan=torch.inf)
        finite = x[x.isfinite()].abs()
        scale = float(finite.max()) if finite.numel() else 0.0
        if moved.numel() and float(moved.max()) > TOLERANCE.get(a.dtype, 1e-4) * scale:
            raise NetworkError(where, f"the output {one.name!r:.60} of a lane changes with the inputs of another lane",
                               "lanes that do not depend on each other",
                               "export it without sums or means over the batch, or with a fixed batch")  # fmt: skip


def _changed(x: Tensor) -> Tensor:
    """The middle lane far from its value, beyond the largest on either side."""
    x = x.clone()
    x[_CHANGED] = -3 * x[-1] if x.is_floating_point() else 1 - x[_CHANGED].long()
    return x
