"""A stretch of a run with gradients: forward as without them, and what is kept of it for the way back."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from simdl.engine.native.launch import Launch, in_main_thread
from simdl.engine.native.pullback import Differentiable, Pullback
from simdl.engine.native.schedule import Schedule
from simdl.engine.state import State
from simdl.errors import RunError

if TYPE_CHECKING:
    from simdl.engine.native.engine import Native
    from simdl.engine.simulator import Simulator


class Stretch:
    """A plan of instants from a state: run forward natively, and backward.

    It keeps what the stretch began with, and no way to the simulator: that would be a cycle through its results."""

    def __init__(self, native: Native, made: Differentiable, plan: Schedule) -> None:
        self.made, self.plan = made, plan
        s = native.simulator
        self.names = [*given(s, s.state)]
        self.state, self.setup, self.initial, self.inputs = (
            s.state.copy(),
            s.setup,
            s.instants.initial,
            dict(s.setup.inputs),
        )
        self.checkpoint = s.checkpoint if s.checkpoint > 0 else 0
        self.native = copy.copy(native)
        self.native.simulator = SimpleNamespace(  # type: ignore[assignment]
            model=s.model,
            lanes=s.lanes,
            recorder=SimpleNamespace(step=s.recorder.step),
            solver=s.solver,
            segments=SimpleNamespace(max_step=s.segments.max_step),
            rows=dict(s.instants.rows),
            _checked=64,
            check_accuracy=False,
        )
        self.versions = [tensor._version for tensor in made.sources]

    # -- forward --------------------------------------------------------------------------------------------------

    def forward(self, native: Native) -> list[Tensor]:
        """Run, and return what has changed: `outputs` names it."""
        s = native.simulator
        assert native.built is not None
        launch = Launch(native, native.built, self.plan)
        recorded = launch.fire()
        launch.unpack()
        s.state.ns = int(self.plan.ns[-1])
        self.failed = None if s.state.frozen is None else s.state.frozen.clone()
        slots = self.made.built.writer.layout.slots
        now = stated(s.state)
        self.outputs = [name for name in now if f"bar:{name}" in slots or name.startswith("queue:")]
        found = [now[name] for name in self.outputs]
        self.outputs += [f"record:{key}" for key in recorded]
        self.times = {key: times.tolist() for key, (times, _, _) in recorded.items()}
        return found + [launch.columns(values, shape) for _, values, shape in recorded.values()]

    def attach(self, s: Simulator, results: Sequence[Tensor]) -> None:
        """Hand results that know their gradients to the simulator."""
        state = s.state.copy()
        queues = {path: [(at, dict(values), mask) for at, values, mask in q] for path, q in state.queues.items()}
        for name, tensor in zip(self.outputs, results, strict=True):
            kind, _, key = name.partition(":")
            if kind == "record":
                s.recorder.extend(key, self.times[key], tensor)
            elif kind == "queue":
                path, place, inner = key.split("|")
                queues[path][int(place)][1][inner] = tensor
            elif key:
                getattr(state, kind)[key] = tensor
            else:
                setattr(state, kind, tensor)
        state.queues = {path: tuple(q) for path, q in queues.items()}
        s.state = state
        del self.times

    # -- backward -------------------------------------------------------------------------------------------------

    def backward(
        self, tensors: Sequence[Tensor], grads: Sequence[Tensor | None], needed: Sequence[bool]
    ) -> list[Tensor | None]:
        """Cotangents of what the stretch began with and of shared tensors, from those of its results.

        Raises RunError when weights have changed since."""
        if [tensor._version for tensor in self.made.sources] != self.versions:
            raise RunError(
                self.native.model.name,
                "weights changed in place between the run and its backward pass",
                "backward() before the weights change",
            )
        lanes, failed = self.setup.lanes, self.failed
        bars = {name: g for name, g in zip(self.outputs, grads, strict=True) if g is not None}
        if not bars or failed is not None and bool(failed.all()):
            return [torch.zeros_like(t) if n else None for t, n in zip(tensors, needed)]
        index = None
        if failed is not None and bool(failed.any()):  # failed lanes compute what a healthy one does, for nothing
            healthy = int((~failed).nonzero()[0, 0])
            index = torch.where(failed, healthy, torch.arange(lanes))
            bars = {name: _silenced(name, g, failed) for name, g in bars.items()}
        for watched in (in_main_thread(), False):  # once more when the handler of a signal raised nothing
            launch = self._launch(tensors, index)
            call = Pullback(self.state, self.inputs, self.made, launch, self.checkpoint, bars)
            if call.run(watched):
                break
        found = call.results([*zip(self.names, tensors)], needed)
        if failed is not None and index is not None:
            found = [None if g is None else _silenced(name, g, failed) for name, g in zip(self.names, found)]
        return [*found, *call.shared()]

    def _launch(self, tensors: Sequence[Tensor], index: Tensor | None) -> Launch:
        """Memory for the way back, with the values that the stretch began with."""
        native = copy.copy(self.native)
        s = native.simulator
        values = {name: t.detach() for name, t in zip(self.names, tensors)}

        def lanes(x: Tensor, axis: int = 0) -> Tensor:
            return x if index is None else x.index_select(axis, index)

        state, initial = self.state.copy(), self.initial.copy()
        for one, prefix in ((state, ""), (initial, "initial:")):
            for name in ("y", "carry"):
                if getattr(one, name) is not None:
                    setattr(one, name, lanes(values.get(prefix + name, getattr(one, name).detach()), 1))
            for group in ("raw", "held", "next_hit", "last", "count", "before", "next_edge"):
                setattr(
                    one,
                    group,
                    {k: lanes(values.get(f"{prefix}{group}:{k}", v.detach())) for k, v in getattr(one, group).items()},
                )
        state.frozen = None
        state.queues = {
            path: tuple(
                (at, {k: lanes(values[f"queue:{path}|{i}|{k}"]) for k in entry}, None if m is None else lanes(m))
                for i, (at, entry, m) in enumerate(queue)
            )
            for path, queue in self.state.queues.items()
        }
        inputs = {key: replace(source, values=lanes(values[f"input:{key}"])) for key, source in self.inputs.items()}
        params = {key: lanes(values[f"param:{key}"]) for key in self.setup.params}
        setup = replace(self.setup, params=params, inputs=inputs, ids=lanes(self.setup.ids))
        instants = SimpleNamespace(initial=initial, rows=vars(s)["rows"])
        native.simulator = SimpleNamespace(**vars(s), setup=setup, state=state, instants=instants)  # type: ignore[assignment]
        return Launch(native, self.made.built, self.plan)


def stated(state: State) -> dict[str, Tensor]:
    """The tensors of a state that gradients pass through, by name; "queue:path|entry|key" for values under way."""
    found = {"y": state.y} if state.y.shape[0] else {}
    if state.carry is not None and state.carry.shape[0]:
        found["carry"] = state.carry
    for group in ("raw", "held"):
        found |= {f"{group}:{k}": v for k, v in getattr(state, group).items() if v.is_floating_point()}
    for path, queue in state.queues.items():
        for i, (_, values, _) in enumerate(queue):
            found |= {f"queue:{path}|{i}|{k}": v for k, v in values.items()}
    return found


def given(simulator: Simulator, state: State) -> dict[str, Tensor]:
    """Everything that a stretch begins with, by name."""
    found = stated(state)
    found |= {f"initial:{name}": t for name, t in stated(simulator.instants.initial).items()}
    found |= {f"param:{key}": t for key, t in simulator.setup.params.items()}
    return found | {f"input:{key}": source.values for key, source in simulator.setup.inputs.items()}


def _silenced(name: str, g: Tensor, failed: Tensor) -> Tensor:
    """A cotangent without the lanes that have failed."""
    axis = 1 if name in ("y", "carry", "initial:y", "initial:carry") or name.startswith("record:") else 0
    mask = failed.reshape(*(1,) * axis, -1, *(1,) * (g.ndim - axis - 1))
    return torch.where(mask, torch.zeros((), dtype=g.dtype), g)
