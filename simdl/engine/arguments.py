"""What a run is given, checked before anything is built: its end, solver, device, and blocks as inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from simdl.block import Declared
from simdl.clock import LONGEST, Duration, nanoseconds
from simdl.compile import Model, compile_model
from simdl.engine.solver import RK4, Solver
from simdl.errors import RunError


def horizon(until: Duration) -> int:
    """The end of a run in ns. Raises RunError when it is negative or beyond 9.2e9 s."""
    end = nanoseconds(until, "until")
    if not 0 <= end <= LONGEST:
        raise RunError("until", f"{until!r}", "between 0 and 9.2e9 s")
    return end


def model_of(model: Declared | Model, inputs: Mapping[Any, Any]) -> Model:
    """The model, with blocks given as inputs wired to them."""
    blocks = {k: v for k, v in inputs.items() if isinstance(v, Declared)}
    if not blocks:
        return compile_model(model)
    from simdl.compile.sources import with_sources

    return with_sources(model, blocks)


def solver_of(given: Solver | None) -> Solver:
    names = ("RK4", "Heun", "Euler", "Tsit5", "DormandPrince", "Rosenbrock")
    if given is not None and not isinstance(given, Solver):
        raise RunError("solver", f"{given!r}", "a solver, such as Tsit5(rtol=1e-6)", names=names, wrong=str(given))
    return given if given is not None else RK4()


def device_of(given: str | torch.device) -> torch.device:
    try:
        device = torch.device(given)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise RunError("device", f"{given!r}: {str(error).splitlines()[0]}", "a device of this machine") from None
    return device
