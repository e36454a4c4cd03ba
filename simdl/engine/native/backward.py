"""Programs and their derivatives: the reference engine traced with gradients, and autograd's backward pass traced too.

For every program (an instant, a step, the recorded values between instants) its *back* program turns cotangents of what
it stores, pushes and records into cotangents of what it reads. A cotangent of the slot `name` is the slot `bar:name`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import _engine_run_backward

from simdl.engine.native.differentiating import Differentiating, totals_of
from simdl.engine.native.entry import Entry
from simdl.engine.native.ir import STAGE, TYPES, Graph, Value
from simdl.engine.native.lower import GROUPS, Lowering, Program
from simdl.engine.native.simplify import simplified
from simdl.engine.native.tracer import Tracer
from simdl.engine.setup import Setup
from simdl.errors import LoweringError


@dataclass(eq=False)
class Back(Program):
    """What a back program stores in slots; what pushes it takes cotangents from; what it adds to totals; and for each
    shared tensor the tensor of its gradient, to be computed from the totals after the run."""

    taken: tuple[tuple[str, str], ...] = ()
    totals: tuple[int, ...] = ()
    added: tuple[Value, ...] = ()
    shared: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def values(self) -> list[Value]:
        return [*super().values(), *self.added]

    def signature(self) -> Any:
        return super().signature(), self.taken, tuple(v.index for v in self.added)


@dataclass(eq=False)
class Joint:
    """A program and its back program."""

    program: Program
    back: Back

    def simplify(self, graph: Graph) -> Joint:
        """The same with cheaper operations, the same ones in both."""
        program, back = self.program, self.back
        new = iter(simplified(graph, [*program.values(), *back.values()]))
        program.stores = {name: next(new) for name in program.stores}
        program.records = {key: next(new) for key in program.records}
        for push in program.pushes:
            push.values = {key: next(new) for key in push.values}
            push.mask = next(new) if push.mask is not None else None
        back.stores = {name: next(new) for name in back.stores}
        back.added = tuple(new)
        return self


class Gradients(Lowering):
    """A lowering whose programs have back programs.

    wanted: whether there is a gradient for a parameter ("param:key"), input ("input:key") or initial value."""

    def __init__(
        self, setup: Setup, paths: Any, every: Any, solver: Any, max_step: float | None, wanted: Callable[[str], bool]
    ) -> None:
        self.asked = wanted
        super().__init__(setup, paths, every, solver, max_step)
        tracer = self.tracer
        assert isinstance(tracer, Differentiating)
        self.differentiating = tracer
        for key, tensor in setup.model.values.items():
            if isinstance(tensor.initial, Tensor) and tensor.initial.requires_grad:
                raise LoweringError(key, "an initial value that requires a gradient", "a value given with set=")

    def made_tracer(self) -> Tracer:
        return Differentiating(self.graph, self.lanes, self._wanted)

    def _wanted(self, name: str) -> bool:
        kind, _, key = name.partition(":")
        if kind in ("y", "carry", "raw", "held"):
            return True
        if kind == "initial":
            return key.partition(":")[0] in ("y", "carry", "raw", "held") and self.asked(name)
        if kind in ("start", "stop"):
            return self.asked(f"input:{key}")
        return kind in ("param", "input") and self.asked(name)

    def rows(self, tensor: Tensor, name: str, level: int) -> Tensor:
        tracer = self.tracer
        assert isinstance(tracer, Differentiating)
        with torch.no_grad(), tracer.paused():
            fresh = super().rows(tensor.detach(), name, level)
        return tracer._leaf(fresh, name)

    # -- back programs --------------------------------------------------------------------------------------------

    def joint(self, make: Callable[[], Program]) -> Joint:
        """A program and its back program."""
        for name in [*self.differentiating.placeholders]:
            if name in ("y", "carry") or name.partition(":")[0] in GROUPS:
                del self.differentiating.placeholders[name]
        program = make()
        with self.differentiating.recording():
            back = self._back(program)
        return Joint(program, back).simplify(self.graph)

    def _back(self, program: Program) -> Back:
        tracer = self.differentiating
        tracer.programs += 1
        found = {f"store:{name}" for name in program.stores} | {f"record:{key}" for key in program.records}
        outs = {
            name: tensor
            for name, tensor in program.tensors.items()
            if tensor.is_floating_point() and (name in found or name.startswith("push:"))
        }
        attached = {name: tensor for name, tensor in outs.items() if tensor.requires_grad}
        bars = [self._bar(name, tensor) for name, tensor in attached.items()]
        inputs = tracer.placeholders
        leaves = tracer.leaves
        grads: Sequence[Tensor | None] = [None] * (len(inputs) + len(leaves))
        if attached:
            tracer.where = f"the gradient of {self.model.name}"
            try:
                grads = _engine_run_backward(  # what torch.autograd.grad calls, without the import of sympy
                    tuple(attached.values()), tuple(bars), False, False, (*inputs.values(), *leaves), True,
                    accumulate_grad=False,
                )  # fmt: skip
            except (RuntimeError, NotImplementedError) as error:
                raise LoweringError(
                    tracer.where, str(error).partition("\n")[0], "operations with derivatives"
                ) from error
            finally:
                tracer.where = "model"
        back = Back("back")
        for (name, placeholder), grad in zip(inputs.items(), grads):
            changed = name in program.stores
            if grad is None and not changed:
                continue
            kind, size = TYPES[placeholder.dtype], placeholder.numel() // self.lanes
            bar = self.graph.input(f"bar:{name}", kind, size, STAGE)
            value = (
                self.graph.expanded(self.graph.const(0.0, kind), size)
                if grad is None
                else self._value(grad, placeholder)
            )
            if not changed:
                value = self.graph.pointwise("add", [bar, value], kind)
            if value.index != bar.index:
                back.stores[f"bar:{name}"] = value
        self._share(back, leaves, grads[len(inputs) :])
        back.taken = tuple(
            (path, key)
            for push in program.pushes
            for path, key in [(push.path, k) for k in push.values]
            if f"push:{path}:{key}" in outs
        )
        return back

    def _value(self, grad: Tensor, like: Tensor) -> Value:
        """The cotangent of a slot as the program stores it."""
        entry = self.tracer.known(grad)
        lane = self.tracer.known(like).lane or (0, 1, 1)
        value = self.tracer.aligned(entry, tuple(like.shape), lane)
        return self.graph.expanded(value, like.numel() // self.lanes)

    def _bar(self, name: str, tensor: Tensor) -> Tensor:
        """A placeholder for the cotangent of something stored ("bar:slot"), pushed or recorded."""
        word, _, slot = name.partition(":")
        label = f"bar:{slot}" if word == "store" else f"bar:{name}"
        entry = self.tracer.known(tensor)
        rows = word == "store" and slot in ("y", "carry")
        with torch.no_grad(), self.tracer.paused():
            fresh = torch.ones(tensor.shape, dtype=tensor.dtype)
        lane = (1, 1, 1) if rows else (0, 1, 1)
        size = tensor.numel() // self.lanes
        value = self.graph.input(label, TYPES[tensor.dtype], size, STAGE)
        self.tracer.put(fresh, Entry(value, tuple(fresh.shape), lane))
        assert entry.lane is None or entry.lane[0] == lane[0] or size == 1
        return fresh

    def _share(self, back: Back, leaves: Sequence[Tensor], grads: Sequence[Tensor | None]) -> None:
        """Take over the gradients of shared tensors, and the totals that they are computed from."""
        tracer = self.differentiating
        numbers: set[int] = set()
        for leaf, grad in zip(leaves, grads):
            if grad is None:
                continue
            if tracer.varies(grad):
                raise LoweringError(tracer.where, "a gradient of a shared tensor that differs between lanes", "a sum")
            back.shared.append((leaf, grad))
            numbers |= totals_of(tracer, grad)
        back.totals = tuple(sorted(numbers))
        back.added = tuple(v for number in back.totals for v in tracer.totals[number].args)
