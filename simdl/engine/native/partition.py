"""What of a model the native engine runs in C and what it calls in torch, found without compiling anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simdl.engine.native.engine import Native
from simdl.engine.simulator import Simulator
from simdl.engine.solver import RK4, Solver
from simdl.errors import LoweringError

if TYPE_CHECKING:
    from simdl.compile.model import Model
    from simdl.engine.native.engine import Built


def partition(model: Model, solver: Solver | None = None) -> str:
    """As text: whether the model lowers, and node by node what is left to torch, with the reason."""
    if solver is None and model.continuous and not model.clocks:
        solver = RK4(max_step=0.01)  # any will do: the step is no part of the program
    simulator = Simulator(model, solver=solver, lanes=64)
    clocks = tuple(range(len(model.clocks)))
    try:
        built = Native(simulator).written([(clocks, tuple(simulator.recorder.keys), True)])
    except LoweringError as error:
        reason = f"{error.where}: {error.found}" if error.where else error.found
        return f"native engine: no, torch runs it all\n  {reason}"
    return "\n".join([f"native engine: {_counted(model, built)}", *_called(built)])


def _counted(model: Model, built: Built) -> str:
    total, called = len(model.graph.nodes), len(set(_names(built)))
    return "all in C" if not called else f"{total - called} of {total} nodes in C"


def _called(built: Built) -> list[str]:
    return [f"  {name}: in torch at its ticks, for all lanes at once: {built.reasons.get(name, 'a large network')}"
            for name in _names(built)]  # fmt: skip


def _names(built: Built) -> list[str]:
    calls: list[Any] = built.lowering.tracer.outside
    return list(dict.fromkeys(call.name for call in calls))
