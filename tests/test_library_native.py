"""Every block of the library does in the native engine what it does in torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from simdl import Run
from tests.test_library import CASES, run

THREE = [0, 1, 2]


def both(name: str) -> tuple[Run, Run]:
    model, keywords = CASES[name]()
    return run(model, keywords, THREE, engine="torch"), run(model, keywords, THREE, engine="native")


def differences(one: Run, two: Run) -> dict[str, float]:
    """The largest difference of each signal, relative to 1 + |value|."""
    found = {}
    for path, trace in one.traces.items():
        other = two.traces[path]
        assert trace.kind == other.kind and trace.values.dtype == other.values.dtype, path
        assert torch.equal(trace.t, other.t), path
        a, b = trace.values.double(), other.values.double()
        found[path] = float(((a - b).abs() / (1 + a.abs())).amax()) if a.numel() else 0.0
    return found


@pytest.mark.usefixtures("lightly")
@pytest.mark.parametrize("name", sorted(CASES))
def test_engines_agree(name: str) -> None:
    one, two = both(name)
    assert two.engine == "native" and one.engine == "torch"
    assert "in torch" not in two.why, two.why
    assert one.status == two.status
    off: dict[str, Any] = {path: worst for path, worst in differences(one, two).items() if not worst < 1e-9}
    assert not off, off
    events = [sorted((lane, path, t) for lane, t, path in one_run.events) for one_run in (one, two)]
    assert [e[:2] for e in events[0]] == [e[:2] for e in events[1]]
    assert all(abs(a[2] - b[2]) < 1e-9 * (1 + a[2]) for a, b in zip(*events))
