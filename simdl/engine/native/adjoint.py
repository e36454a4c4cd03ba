"""Gradients through native runs: one autograd function from what a stretch of a run begins with to what it gives.

Forward, the stretch runs as it does without gradients, and nothing is kept but what it began with. Backward, each
block of lanes runs forward again with a tape, in pieces that fit into a budget of bytes, and then back (`adjoint.h`).
Gradients of parameters, initial values and inputs come lane by lane; those of tensors that all lanes share, such as
weights, from sums over lanes that do not depend on the number of threads.
"""

from __future__ import annotations

import ctypes
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from simdl.clock import seconds
from simdl.engine.native.adjoint_program import Adjoint
from simdl.engine.native.backward import Gradients
from simdl.engine.native.cache import load
from simdl.engine.native.engine import Built, Native
from simdl.engine.native.pullback import Differentiable
from simdl.engine.native.schedule import Schedule
from simdl.engine.native.stretch import Stretch, given
from simdl.engine.native.tape import Tape
from simdl.errors import LoweringError


class NativeGradients(Native):
    """The native engine of a simulator with gradients."""

    made: Differentiable

    def prepare(self, end: int) -> None:
        super().prepare(end)
        assert self.built is not None
        self.made = self.differentiable(self.built)

    def describe(self) -> str:
        return super().describe() + "; gradients by its adjoint"

    def plan(self, begin: int, end: int, whole: bool = False) -> Schedule:
        """The whole way: sums over lanes have one order, however long a call takes."""
        return super().plan(begin, end, True)

    def differentiable(self, forward: Built) -> Differentiable:
        """The library for gradients through what a library does, made once."""
        s = self.simulator
        calls = [call.name for program in forward.programs.values() for call in program.outside]
        if calls:
            raise LoweringError(calls[0], "a gradient through what torch computes at its ticks", "what is lowered to C")
        asked = frozenset(
            name
            for name, tensor in given(s, s.state).items()
            if tensor.requires_grad and name.startswith(("param:", "input:", "initial:"))
        )
        kept: dict[Any, Differentiable] = vars(self.model).setdefault("_adjoints", {})
        key = self._key(), asked
        found = kept.get(key)
        if found is not None and set(forward.kinds) <= set(found.built.kinds):
            if tuple(tensor.requires_grad for tensor in found.sources) == found.asked:
                return found
        kinds = tuple(dict.fromkeys([*(found.built.kinds if found is not None else ()), *forward.kinds]))
        step = None if s.recorder.step is None else seconds(s.recorder.step)
        lowering = Gradients(s.setup, s.recorder.paths, step, s.solver, s.segments.max_step, asked.__contains__)
        joints = {i: lowering.joint(partial(lowering.instant, *kind)) for i, kind in enumerate(kinds)}
        programs = {i: joint.program for i, joint in joints.items()}
        tape = Tape(lowering, self.width, self._queues(programs))
        adjoint = Adjoint(tape, lowering, joints, forward.inputs)
        library = load(adjoint.text)
        library.adjoint.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        library.adjoint.restype = ctypes.c_int32
        sources = [*lowering.differentiating.sources.values()]
        built = Built(lowering, tape, kinds, programs, forward.inputs, library)
        kept[key] = found = Differentiable(built, adjoint, sources, tuple(t.requires_grad for t in sources))
        return found

    def go(self, plan: Schedule) -> None:
        """Run a plan as one node of the graph of gradients."""
        s = self.simulator
        self.built = self.build(plan.kinds)
        self.made = self.differentiable(self.built)
        run = Stretch(self, self.made, plan)
        with torch.enable_grad():
            results = _Run.apply(run, self, *given(s, s.state).values(), *self.made.leaves)  # type: ignore[no-untyped-call]
            run.attach(s, results)


class _Run(torch.autograd.Function):
    """A stretch as a node of autograd's graph."""

    @staticmethod
    def forward(ctx: Any, run: Stretch, native: NativeGradients, *tensors: Tensor) -> tuple[Tensor, ...]:
        results = run.forward(native)
        ctx.run = run
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*(r for r in results if not r.is_floating_point()))
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return (None, None, *ctx.run.backward(ctx.saved_tensors, grads, ctx.needs_input_grad[2:]))


