"""Running a model: `simulate` for a run, `rollout` for a differentiable module around one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from simdl.clock import Duration, seconds
from simdl.compile import Model
from simdl.declared import Declared
from simdl.engine.arguments import horizon, lane_numbers, record_fits
from simdl.engine.simulator import Simulator
from simdl.engine.solver import Solver
from simdl.port import Signal
from simdl.result import Run, Trace


def simulate(
    model: Declared | Model,
    until: Duration,
    *,
    lanes: int | None = None,
    inputs: Mapping[Any, Any] | None = None,
    set: Mapping[Any, Any] | None = None,
    record: Iterable[str | Signal] | str | Signal | None = None,
    every: Duration | None = None,
    grad: bool = False,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
    seed: int = 0,
    engine: str = "auto",
    solver: Solver | None = None,
    strict: bool = False,
    ids: Tensor | Iterable[int] | None = None,
    checkpoint: int = 0,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Run:
    """Run a diagram or block from t = 0 to `until` and return what was recorded.

    inputs: values of the root's inputs: number, tensor, block, (times, values) held, or Trace.
    set: parameters and initial states by port or path; a value with one dimension more than declared carries lanes.
    record: ports or paths (all outputs by default); every: a uniform recording grid in seconds.
    grad: keep the graph, so that losses on traces can be backpropagated; checkpoint: recompute blocks of so many
    instants in the backward pass instead of keeping them. ids: the lane numbers that noise is keyed by.
    engine: "native" compiles the loop to C, "torch" runs it eagerly, "auto" compiles when torch would take more than
    some two seconds and everything lowers; `run.engine` and `run.why` say what was done. threads: of the native engine.
    Raises ModelError for a model that cannot be built, RunError for values that do not fit, and with strict=True
    for the first failed lane; else failed lanes are frozen and listed in `run.status`.
    """
    simulator = simulator_for(
        model, until, lanes=lanes, inputs=inputs, set=set, record=record, every=every, grad=grad, dtype=dtype,
        device=device, seed=seed, engine=engine, solver=solver, strict=strict, ids=ids, checkpoint=checkpoint,
        threads=threads,
    )  # fmt: skip
    simulator.run_until(until, progress=progress)
    return finished(simulator)


def simulator_for(
    model: Declared | Model, until: Duration, *, lanes: int | None = None, ids: Tensor | Iterable[int] | None = None,
    record: Iterable[str | Signal] | str | Signal | None = None, every: Duration | None = None, engine: str = "auto",
    **options: Any,
) -> Simulator:  # fmt: skip
    """The simulator of a run to `until`, not begun; arguments are those of `simulate`."""
    end = horizon(until)
    known = None if ids is None else lane_numbers(ids)
    if known is not None and lanes is None:
        lanes = len(known)
    made = Simulator(
        model, lanes=lanes, ids=known, record=record, every=_every(model, every, end), engine=engine, **options
    )
    if made.recorder.step is not None:
        record_fits(end // made.recorder.step + 1, made.recorder.size, made.lanes)
    return made


def _every(model: Declared | Model, every: Duration | None, end: int) -> Duration | None:
    """Without a grid and without clocks there is nothing to record at: a thousandth of the run."""
    root = model.root if isinstance(model, Model) else model
    if every is not None or end == 0 or not isinstance(root, Declared):
        return every
    if any(block.clock is not None for block in root.leaves()):
        return None
    return seconds(max(1, end // 1000))


def finished(simulator: Simulator) -> Run:
    """The run of a simulator so far."""
    state, model = simulator.state, simulator.model
    failed = None
    if state.status:
        failed = torch.zeros(simulator.lanes, dtype=torch.bool)
        failed[list(state.status)] = True
    traces = {}
    for path, (t, values, kind) in simulator.recorder.results(failed).items():
        traces[path] = Trace(path, t, values, "smooth" if kind == "smooth" else "held", model.unit(path),
                             model.labels(path))  # fmt: skip
    final: dict[str, Tensor] = {}
    simulator.instants.unpack(state.y, final)
    final |= {key.removesuffix("!"): value for key, value in state.raw.items()}
    return Run(
        model,
        traces,
        simulator.t,
        simulator.lanes,
        simulator.setup.seed,
        simulator.engine,
        dict(state.status),
        tuple(sorted(simulator.recorder.events, key=lambda event: (event[1], event[0]))),
        simulator.accuracy,
        final,
        simulator.why,
    )


class Rollout(nn.Module):
    """A closed loop as a module: its parameters are those of the networks inside, its forward is a run."""

    def __init__(self, model: Declared, until: Duration, **options: Any) -> None:
        super().__init__()
        self.until, self.options = until, {"grad": True, **options}
        vars(self)["model"] = model
        for path, module in model.modules():
            self.add_module(path.replace(".", "/"), module)

    def forward(self, **more: Any) -> Run:
        """Simulate with gradients; keywords as for `simulate`, such as set=, inputs=, seed=."""
        options = {**self.options, **more}
        return simulate(vars(self)["model"], self.until, **options)


def rollout(model: Declared, until: Duration, **options: Any) -> Rollout:
    """A differentiable run of a closed loop as an `nn.Module`, for optimisers and DistributedDataParallel."""
    return Rollout(model, until, **options)
