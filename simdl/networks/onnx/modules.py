"""The modules that a network block calls: lanes first, whole windows or one sample at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from simdl.networks.onnx.layout import Layout, placed
from simdl.networks.onnx.program import Program


class Converted(nn.Module):
    """A program with lanes first in all inputs and outputs."""

    def __init__(self, program: Program, layout: Layout) -> None:
        super().__init__()
        self.program, self.axes, self.ends = program, layout.axes, layout.ends
        self.simdl_lanes = layout.batch
        self.shapes = layout.shapes

    def forward(self, *values: Tensor) -> Any:
        found = self.results(values)
        return found[0] if len(found) == 1 else found

    def results(self, values: Sequence[Tensor]) -> tuple[Tensor, ...]:
        values = [_unrolled(v, shape) for v, shape in zip(values, self.shapes)]
        found = self.program.run(placed(values, self.axes), lanes=values[0].shape[0])[0]
        return tuple(y.movedim(end, 0) if end else y for y, end in zip(found, self.ends))


def _unrolled(value: Tensor, shape: tuple[int | None, ...]) -> Tensor:
    """A row of features as the one axis, or the several of size one, that the file has."""
    if value.ndim - 1 == len(shape) or None in shape:
        return value
    return value.reshape(value.shape[0], *(n or 1 for n in shape))


class Carried(nn.Module):
    """forward(x, state=None) -> (y, state): the state of all recurrent nodes (lanes, directions, hidden) beside x."""

    def __init__(self, program: Program, layout: Layout) -> None:
        super().__init__()
        self.program, self.axes, self.ends = program, layout.axes, layout.ends
        self.counts = [2 if program.graph.nodes[n].op == "LSTM" else 1 for n in program.stateful]

    def forward(self, x: Tensor, state: Any = None) -> tuple[Any, tuple[Tensor, ...]]:
        states = None
        if state is not None:
            flat = list(state) if isinstance(state, tuple | list) else [state]
            states = []
            for count in self.counts:
                states.append(tuple(flat[:count]))
                flat = flat[count:]
        found, after = self.program.run(placed([x], self.axes), states, x.shape[0])
        outputs = tuple(y.movedim(end, 0) if end else y for y, end in zip(found, self.ends))
        return (outputs[0] if len(outputs) == 1 else outputs), tuple(one for group in after for one in group)


class Fed(nn.Module):
    """forward(x, state=None) -> (y, state) of a program whose state is among its inputs and outputs.

    pairs: numbers of an input and of the output that is its next value; single: x is (lanes, features), the file has
    an axis of one sample.
    """

    def __init__(self, program: Program, layout: Layout, pairs: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.program, self.layout, self.pairs = program, layout, tuple(pairs)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Any, tuple[Tensor, ...]]:
        shapes, given = self.layout.shapes, {}
        number = next(i for i in range(len(shapes)) if i not in {a for a, _ in self.pairs})
        whole = _sampled(x, shapes[number])
        flat = [None] * len(self.pairs) if state is None else (
            list(state) if isinstance(state, tuple | list) else [state])  # fmt: skip
        for (index, _), one in zip(self.pairs, flat):
            kind = self.program.graph.inputs[index].dtype
            given[index] = torch.zeros((x.shape[0], *(n or 1 for n in shapes[index])), dtype=kind, device=x.device) if (
                one is None) else one  # fmt: skip
        given[number] = whole
        found = self.program.run(placed([given[i] for i in range(len(shapes))], self.layout.axes), lanes=x.shape[0])[0]
        results = [y.movedim(end, 0) if end else y for y, end in zip(found, self.layout.ends)]
        states = {out for _, out in self.pairs}
        outputs = tuple(y for i, y in enumerate(results) if i not in states)
        if whole.ndim > x.ndim:
            outputs = tuple(y.squeeze(1) if y.ndim == 3 and y.shape[1] == 1 else y for y in outputs)
        return (outputs[0] if len(outputs) == 1 else outputs), tuple(results[out] for _, out in self.pairs)


def _sampled(x: Tensor, shape: tuple[int | None, ...]) -> Tensor:
    return x.unsqueeze(1) if x.ndim == 2 and len(shape) == 2 and shape[0] in (1, None) else x
