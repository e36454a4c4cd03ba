"""What a run is given, checked before anything is built: its end, counts, numbers, solver, device, blocks as inputs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from simdl.clock import LONGEST, SECOND, Duration, nanoseconds
from simdl.compile import Model, compile_model
from simdl.declarations import as_tensor
from simdl.declared import Declared
from simdl.engine.solver import RK4, Solver
from simdl.errors import RunError
from simdl.port import Signal


def horizon(until: Duration) -> int:
    """The end of a run in ns. Raises RunError when it is negative or beyond 9.2e9 s."""
    end = nanoseconds(until, "until")
    if not 0 <= end <= LONGEST:
        raise RunError("until", f"{until!r}", "between 0 and 9.2e9 s")
    return end


def grid(every: Duration | None) -> int | None:
    """The step of a recording grid in ns. Raises RunError when it is not positive."""
    step = None if every is None else nanoseconds(every, "every")
    if step is not None and step < 1:
        raise RunError("every", f"{every!r}", "a positive time", 'every=0.01, or every="10 ms"')
    return step


def whole(name: str, given: Any, least: int, most: int = 2**63 - 1) -> int:
    """A whole number within limits. Raises RunError."""
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
        limit = f" and at most {most}" if most < 2**63 - 1 or isinstance(given, int) and given > most else ""
        raise RunError(name, f"{given!r}", f"a whole number of at least {least}{limit}")
    return given


def switch(name: str, given: Any) -> bool:
    """True or False. Raises RunError."""
    if not isinstance(given, bool):
        raise RunError(name, f"{given!r}", "True or False")
    return given


def mapping(name: str, given: Any) -> Mapping[Any, Any]:
    """A mapping, empty for None. Raises RunError."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise RunError(name, f"{given!r}", "values by port or path", f'{name}={{"path": value}}')
    return given


def several(name: str, given: Any) -> list[Any]:
    """Ports or paths as a list, one of them alone as well. Raises RunError."""
    if isinstance(given, str | Signal):
        return [given]
    if not isinstance(given, Iterable):
        raise RunError(name, f"{given!r}", "ports or paths", f'{name}=["path"]')
    return list(given)


def numbers(where: str, given: Any) -> Tensor:
    """A number or array as a tensor. Raises RunError for anything else."""
    try:
        return as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise RunError(where, f"{given!r}", "a number or an array of numbers") from None


def lane_numbers(given: Tensor | Iterable[int]) -> Tensor:
    """The numbers that noise is keyed by, (lanes,) int64. Raises RunError."""
    found = numbers("ids", given if isinstance(given, Tensor | str) or not isinstance(given, Iterable) else [*given])
    if found.ndim != 1 or found.is_floating_point() or found.dtype == torch.bool or bool((found < 0).any()):
        raise RunError("ids", f"{given!r}", "whole numbers of lanes, zero or more", "ids=[0, 1, 2]")
    return found.to(torch.int64)


def record_fits(samples: int, numbers_of_each: int, lanes: int) -> None:
    """Raise RunError when what is to be recorded is more than the memory of this machine.

    samples: times on the grid; numbers_of_each: numbers that a lane records at each."""
    need, room = 8 * samples * numbers_of_each * lanes, memory()
    if need > room:
        raise RunError("every", too_large(samples, numbers_of_each, lanes, need), f"at most {room / 1e9:.3g} GB, the "
                       "memory of this machine", LESS)  # fmt: skip


LESS = "a larger every=, fewer signals in record=, a shorter until, or many lanes by monte_carlo(..., out=folder)"


def too_large(samples: int, numbers_of_each: int, lanes: int, size: float) -> str:
    """What a record takes, in words."""
    times = f"{samples:.3g}" if samples > 10**6 else str(samples)
    return f"a record of {times} times × {numbers_of_each} numbers × {lanes} lanes: {size / 1e9:.3g} GB"


def memory() -> int:
    """The bytes of memory of this machine; what no machine has where it is not known."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 1 << 62


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


def step_limit(solver: Solver, model: Model) -> float | None:
    """The longest step in seconds: the one given, else a quarter of the smallest period; None for adaptive solvers.

    Raises RunError for a continuous model without a clock, and a fixed-step solver without a step."""
    given = solver.max_step
    if given is not None:
        return nanoseconds(given, "max_step") / SECOND if isinstance(given, str) else float(given)
    if solver.adaptive:
        return None
    if model.clocks:
        return min(clock.period for clock in model.clocks) / 4
    if model.continuous:
        raise RunError(
            model.name, "a continuous model without a clock, and a fixed-step solver without a step",
            "a step size, or an adaptive solver", "solver=RK4(max_step=0.01), or solver=Tsit5(rtol=1e-6)",
        )  # fmt: skip
    return None


def device_of(given: str | torch.device) -> torch.device:
    try:
        device = torch.device(given)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise RunError("device", f"{given!r}: {str(error).splitlines()[0]}", "a device of this machine") from None
    return device
