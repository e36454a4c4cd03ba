"""Which engine runs a model, and why: decided from the model and the length of the run alone, so that the same call
gives the same bits on the same machine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from simdl.clock import SECOND
from simdl.engine.arguments import whole
from simdl.errors import CompileError, LoweringError, RunError

if TYPE_CHECKING:
    from simdl.engine.native.engine import Native
    from simdl.engine.simulator import Simulator

ENGINES = ("auto", "native", "torch")
WORTH = 2.0  # seconds of torch from which compiling pays
_CALL = 25e-6  # seconds that torch takes for a node and a few lanes
_LANES = 2000  # lanes at which a node takes twice that
_GRADIENT = 5.0  # what a run with gradients is worth of others: it takes some three times as long, and is done again


def check_engine(engine: str) -> str:
    """The name of an engine, checked. Raises RunError."""
    if engine not in ENGINES:
        raise RunError("engine", f"{engine!r}", "one of", names=ENGINES, wrong=str(engine))
    return engine


def check_threads(threads: int | None) -> int | None:
    """A number of threads, checked. Raises RunError."""
    return None if threads is None else whole("threads", threads, 1, 4096)


def why_not(simulator: Simulator) -> str:
    """What about a run the native engine does not do; nothing when it does."""
    if simulator.grad and simulator.solver.adaptive:
        return "gradients through adaptive steps"
    if simulator.grad and (simulator.model.crossings or simulator.segments.events):
        return "gradients through crossings, hits and edges of single lanes"
    if simulator.setup.device.type != "cpu":
        return f"the device {simulator.setup.device}"
    alone = next((node.block for node in simulator.model.graph.nodes if node.few), None)
    if alone is not None:
        return f"{alone}, whose lanes run programs of their own in Python, as live computers and processes do"
    return ""


def native_run(simulator: Simulator, end: int) -> tuple[Native | None, str]:
    """The native engine, ready for a run to `end`, ns, and what it does; or None, and why torch runs it.

    Raises LoweringError and CompileError when the native one was insisted on."""
    found, insisted = why_not(simulator), simulator.asked == "native"
    if found and insisted:
        raise LoweringError(simulator.model.name, found, "a run that the native engine does", "engine='auto'")
    if not found and not insisted and not worth_compiling(simulator, end):
        found = "a short run, for which compiling does not pay; engine='native' insists"
    if found:
        return None, found
    if simulator.grad:
        from simdl.engine.native.adjoint import NativeGradients as Engine
    else:
        from simdl.engine.native.engine import Native as Engine  # type: ignore[assignment]

    native = Engine(simulator, simulator.threads)
    try:
        native.prepare(end)
    except (LoweringError, CompileError) as error:
        if insisted:
            raise
        return None, str(error).replace("\n", "; ")
    return native, native.describe()


def effort(simulator: Simulator, end: int, lanes: int | None = None) -> float:
    """About how many seconds torch would take to bring a run to its end."""
    model, segments = simulator.model, simulator.segments
    length = (end - max(0, simulator.state.ns)) / SECOND
    ticks = sum(length / clock.period for clock in model.clocks) + 1
    nodes = len(model.graph.nodes) + 4
    calls = ticks * nodes
    if model.continuous:
        tableau: Any = getattr(simulator.solver, "tableau", None)
        stages = len(getattr(tableau, "nodes", (0,) * 8))
        step = segments.max_step
        steps = ticks + (length / step if step else 20 * ticks + 200)
        each = len(segments.programs.varying) + 2
        calls += steps * stages * each
        if model.crossings:
            calls += steps * 3 * (len(segments.guard_programs.varying) + 4)
    found = calls * _CALL * (1 + (lanes or simulator.lanes) / _LANES)
    return found * _GRADIENT if simulator.grad else found


def worth_compiling(simulator: Simulator, end: int, lanes: int | None = None) -> bool:
    """Whether a run is long enough for the native engine to pay."""
    return math.isfinite(found := effort(simulator, end, lanes)) and found >= WORTH
