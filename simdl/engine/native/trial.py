"""A new library's trial: its first instants must be those of the torch engine, or it is not used."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.clock import SECOND
from simdl.compile import Model
from simdl.declarations import as_tensor
from simdl.declared import Declared
from simdl.engine.choice import effort
from simdl.engine.native.lower import GROUPS
from simdl.engine.state import State
from simdl.errors import LoweringError

if TYPE_CHECKING:
    from simdl.engine.native.engine import Built, Native
    from simdl.engine.native.schedule import Schedule
    from simdl.engine.simulator import Simulator

LANES, LIMIT = 4, 3.0  # lanes of a trial; seconds that torch may take for it
EXACT, SINGLE = 1e-9, 1e-4  # relative, in float64 and through float32
STEPS = 8  # of a model without instants


def trial(native: Native, built: Built, plan: Schedule, library: ctypes.CDLL) -> None:
    """Run the first lanes to an early instant in both engines. Raises LoweringError when they differ."""
    if native.simulator.state.ns >= 0:
        return
    reference, copy = _first_lanes(native.simulator), _first_lanes(native.simulator)
    reference.check_accuracy = copy.check_accuracy = False  # the run itself tells
    end = _end(native, built, reference, copy, plan)
    if end is None:
        return
    reference.run_until(f"{end} ns")
    from simdl.engine.native.engine import Native
    from simdl.engine.native.launch import Launch

    other = Native(copy, threads=1)
    other.width = native.width
    Launch(other, replace(built, library=library), other.plan(-1, end, whole=True)).run()
    single = copy.setup.dtype == torch.float32 or any(v.type == "f4" for v in built.lowering.graph.values)
    worst, where = difference(reference.state, copy.state)
    if not worst <= (SINGLE if single else EXACT):
        raise LoweringError(
            f"{native.model.name}: {where}", f"the compiled loop differs by {worst:.2g} from torch at {end} ns",
            "the same values", "run with engine='torch', and please report the model",
        )  # fmt: skip


def _end(native: Native, built: Built, reference: Simulator, copy: Simulator, plan: Schedule) -> int | None:
    """An early instant that both reach with programs that there are, and torch in a moment."""
    found = [int(ns) for ns in plan.ns[1:3][::-1]]
    step, every = native.simulator.segments.max_step, native.simulator.recorder.step
    if every is not None and step:
        near = max(1, round(STEPS * step * 1e9 / every)) * every
        found += [near, every, near + every // 2]
    for coarse in (False, True):
        for end in found:
            for one in (reference, copy):
                # Where steps are too many to try, fewer and longer ones compare as much code.
                one.segments.max_step = max(step, end / SECOND / STEPS) if coarse and step else step
            short = effort(reference, end) <= LIMIT
            if short and set(native.plan(-1, end, whole=True).kinds) <= set(built.kinds):
                return end
    return None


def _first_lanes(simulator: Simulator) -> Simulator:
    """A simulator of the first lanes, in the torch engine."""
    lanes = min(LANES, simulator.lanes)
    kind = simulator.__class__  # of the simulator behind a weak reference
    settings, inputs = simulator.given
    arguments = {**simulator._arguments, "engine": "torch", "strict": False}
    plain = {name: value for name, value in inputs.items() if not isinstance(value, Declared)}
    return kind(
        simulator.model, lanes=lanes, ids=simulator.setup.ids[:lanes],
        set=_cut(simulator.model, settings, lanes), inputs=_cut(simulator.model, plain, lanes), **arguments,
    )  # fmt: skip


def _cut(model: Model, given: Mapping[Any, Any], lanes: int) -> dict[Any, Any]:
    """What was given, for the first lanes only."""
    found: dict[Any, Any] = {}
    for name, value in given.items():
        rank = len(model.values[model.key(name)].shape or ())
        if isinstance(value, tuple) and len(value) == 2:
            times, values = value[0], as_tensor(value[1])
            found[name] = (times, values[:lanes] if values.ndim == rank + 2 else values)
        elif hasattr(value, "t") and hasattr(value, "values") and not isinstance(value, Tensor):
            found[name] = replace(value, values=value.values[:lanes])
        else:
            tensor = as_tensor(value)
            found[name] = tensor[:lanes] if tensor.ndim == rank + 1 and tensor.shape[0] > 1 else value
    return found


def difference(one: State, two: State) -> tuple[float, str]:
    """The largest difference between two states, relative to max(1, |x|), and where it is."""
    worst, where = 0.0, ""
    pairs = [("continuous states", one.y, two.y)]
    for name in GROUPS:
        a, b = getattr(one, name), getattr(two, name)
        pairs += [(str(key).removesuffix("!"), a[key], b[key]) for key in a]
    for key, a, b in pairs:
        if not a.numel():
            continue
        x, y = a.detach().double(), b.detach().double()
        gone = ~torch.isfinite(x) & ~torch.isfinite(y)
        found = torch.where(gone, 0.0, (x - y).abs() / x.abs().clamp(min=1.0)).amax()
        if not float(found) <= worst:
            worst, where = float(found), key
    if set(one.status) != set(two.status):
        return float("inf"), f"failed lanes {sorted(one.status)} and {sorted(two.status)}"
    return worst, where
