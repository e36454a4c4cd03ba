"""Torch operations in C: equal to eager torch, the same bits at every width, any number of lanes.

Vectors are compiled with -O1, as the engine compiles long programs, and single lanes with -O0: the bits are then the
same however much the compiler optimises, too.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch

from simdl.errors import LoweringError
from tests import (
    native_cases_layers as layers,
    native_cases_linear as linear,
    native_cases_moves as moves,
    native_cases_pointwise as pointwise,
)
from tests.native_cases import Case
from tests.native_function import Functions, assert_agrees, bits, flat

GROUPS = {
    "float64": lambda: pointwise.cases(torch.float64),
    "float32": lambda: pointwise.cases(torch.float32),
    "whole": pointwise.whole_cases,
    "moves": moves.cases,
    "changed": moves.changed,
    "reductions": linear.reductions,
    "products": linear.products,
    "systems": linear.systems,
    "layers": layers.layers,
    "recurrent": layers.recurrent,
    "derivatives": layers.derivatives,
    "loops": layers.loops,
}
WIDTHS = {"float32": (1, 16)}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


@cache
def group(name: str) -> tuple[dict[str, Case], Functions, dict[str, LoweringError]]:
    """The cases of a group, lowered together."""
    cases, functions, refused = GROUPS[name](), Functions(flags=("-O1",), scalar=("-O0",)), {}
    for key, one in cases.items():
        try:
            functions.add(key, one.function, one.inputs)
        except LoweringError as error:
            refused[key] = error
    return cases, functions, refused


def every() -> list[tuple[str, str]]:
    return [(name, key) for name, make in GROUPS.items() for key in make()]


@pytest.mark.parametrize(("name", "key"), every(), ids=lambda x: x)
def test_native_equals_eager_torch(name: str, key: str) -> None:
    cases, functions, refused = group(name)
    if key in refused:
        raise refused[key]
    one = cases[key]
    expected = [t.detach() for t in flat(one.function(*one.inputs))]
    narrow, wide = WIDTHS.get(name, (1, 8))
    found = functions.call(key, one.inputs, narrow)
    vectors = functions.call(key, one.inputs, wide)
    assert len(found) == len(expected)
    for i, (alone, together, right) in enumerate(zip(found, vectors, expected)):
        tolerance = one.tolerance if one.tolerance is not None else TOLERANCE.get(right.dtype, 0.0)
        assert_agrees(alone, right, tolerance, f"output {i}")
        assert torch.equal(bits(alone), bits(together)), (i, alone, together)
