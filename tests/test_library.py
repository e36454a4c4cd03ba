"""Every block of the library has a runnable case, and a lane alone is that lane in a batch.

The cases lie in `tests/library/`, a module for each family: `CASES`, block name -> a function that returns a diagram
and the keywords for `simulate`. What `set` holds is common to all lanes, or has a value for each of three.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

import simdl.blocks
from simdl import Diagram, Run, compile_model, simulate
from simdl.declarations import as_tensor
from simdl.declared import Declared

LANES = 3
FOLDER = Path(__file__).parent / "library"
FAMILIES = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))
CASES: dict[str, Any] = {}
BROKEN: dict[str, str] = {}  # a family that cannot be imported fails its own test, not all of them
for family in FAMILIES:
    try:
        cases = import_module(f"tests.library.{family}").CASES
    except Exception as error:
        BROKEN[family] = repr(error)
    else:
        CASES |= {f"{family}.{name}": case for name, case in cases.items()}


def blocks() -> set[str]:
    """The names of the public blocks."""
    found = {name: getattr(simdl.blocks, name) for name in simdl.blocks.__all__}
    return {name for name, kind in found.items() if isinstance(kind, type) and issubclass(kind, Declared)}


def run(model: Diagram, keywords: dict[str, Any], lanes: list[int], engine: str = "torch") -> Run:
    """A case in some of its three lanes."""
    compiled, settings = compile_model(model), {}
    for name, value in keywords.get("set", {}).items():
        tensor, shape = as_tensor(value), compiled.values[compiled.key(name)].shape or ()
        settings[name] = tensor[lanes] if tensor.ndim > len(shape) else value
    more = dict(ids=torch.tensor(lanes), lanes=len(lanes), engine=engine)
    return simulate(model, **{**keywords, "set": settings, **more})


def test_every_block_has_a_case() -> None:
    assert blocks() - {case.split(".")[1] for case in CASES} == set()


@pytest.mark.parametrize("family", FAMILIES)
def test_family_can_be_imported(family: str) -> None:
    assert family not in BROKEN, BROKEN[family]


def test_no_block_has_two_cases() -> None:
    names = [case.split(".")[1] for case in CASES]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("name", sorted(CASES))
def test_case_is_finite_and_a_lane_alone_is_the_lane_in_a_batch(name: str) -> None:
    model, keywords = CASES[name]()
    block = name.split(".")[1]
    if block in blocks():
        inside = [kind.__name__ for owner in compile_model(model).flat.owners.values() for kind in type(owner).__mro__]
        assert block in inside
    together = run(model, keywords, list(range(LANES)))
    assert not together.status, together.status
    alone = run(model, keywords, [1])
    for path, trace in together.traces.items():
        assert torch.isfinite(trace.values).all(), path
        assert torch.equal(trace.values[1], alone.traces[path].values[0]), path
