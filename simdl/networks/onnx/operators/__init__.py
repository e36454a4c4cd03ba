"""The operators that are converted, by name; each takes Operands and returns a tensor, a tuple, or known sizes."""

from __future__ import annotations

from simdl.networks.onnx.operands import Operator
from simdl.networks.onnx.operators import (
    moves,
    normalisations,
    pointwise,
    pools,
    products,
    recurrences,
    reductions,
)

OPERATORS: dict[str, Operator] = {
    name: operator
    for part in (pointwise, products, pools, normalisations, reductions, moves, recurrences)
    for name, operator in part.OPERATORS.items()
}
