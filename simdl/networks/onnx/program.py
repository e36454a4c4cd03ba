"""An ONNX graph as a torch module: weights are its parameters, nodes run in order as torch functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from simdl.errors import NetworkError
from simdl.networks.onnx.arrays import Array
from simdl.networks.onnx.graph import Graph
from simdl.networks.onnx.host import on_host
from simdl.networks.onnx.operands import HOST, LARGEST, Known, Operands
from simdl.networks.onnx.operators import OPERATORS

RECURRENT = ("RNN", "GRU", "LSTM")


class Program(nn.Module):
    """The nodes of a graph, run on tensors in the layout of the file: forward(*inputs) -> tuple of outputs.

    Weights keep their names, with other characters as `_`, and their float type. adapted: numbers of the nodes whose
    fixed batch size follows the lanes. observer: is given each node's evaluation to run and what it uses. Sizes are
    computed from shapes while it runs, never from what lanes hold.
    """

    def __init__(self, graph: Graph, where: str) -> None:
        super().__init__()
        self.graph, self.where = graph, where
        self.adapted: frozenset[int] = frozenset()
        self.observer: Callable[[Program, Callable[[], None], Operands, Mapping[str, Any]], None] | None = None
        self.stateful = tuple(n for n, node in enumerate(graph.nodes) if node.op in RECURRENT)
        used = {name for node in graph.nodes for name in node.inputs} | {value.name for value in graph.outputs}
        self.names: dict[str, str] = {}
        self.hosts: dict[str, Array] = {}
        taken: set[str] = {name for name in dir(self)}
        for name, value in graph.constants.items():
            if name not in used:
                continue
            own = _own_name(name, taken)
            self.names[name] = own
            if value.is_floating_point() and value.numel() and value.ndim:
                self.register_parameter(own, nn.Parameter(value, requires_grad=True))
            else:
                self.register_buffer(own, value)
            if value.numel() <= HOST:
                self.hosts[name] = value.float().numpy() if value.dtype in (torch.bfloat16, torch.float16) else (
                    value.numpy().copy())  # fmt: skip
        if not any(True for _ in self.parameters()):
            kinds = [one.dtype for one in graph.inputs if one.dtype.is_floating_point]
            self.register_buffer("float_type", torch.zeros(0, dtype=kinds[0] if kinds else torch.float32))
        self.last = _last_uses(graph)
        self.whole = {name for name, value in graph.constants.items() if not value.is_floating_point()}

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.run(inputs)[0]

    def run(
        self,
        inputs: Sequence[Tensor],
        states: Sequence[tuple[Tensor, ...]] | None = None,
        lanes: int | None = None,
        sizes: list[int] | None = None,
    ) -> tuple[tuple[Tensor, ...], list[tuple[Tensor, ...]]]:
        """Outputs, and the states of recurrent nodes after the last sample (lanes, directions, hidden).

        states: to start the recurrent nodes from; lanes: what the adapted nodes put for the batch size of the file;
        sizes: is given how many numbers each value holds.
        """
        values, tensors = self._begin(inputs), self.tensors()
        after: list[tuple[Tensor, ...]] = []
        for number, node in enumerate(self.graph.nodes):
            operands = Operands(node, values, tensors, self.hosts, self.graph.opset, self.where, inputs[0],
                                lanes if number in self.adapted else None)  # fmt: skip
            if node.op in RECURRENT:
                operands.state = None if states is None else states[len(after)]
            if self.observer is None:
                self._one(operands, values)
            else:
                self.observer(self, partial(self._one, operands, values), operands, values)
            if node.op in RECURRENT:
                after.append(operands.after)
            if sizes is not None:
                sizes += [v.numel() for v in (values[n] for n in node.outputs if n) if isinstance(v, Tensor)]
            for name in self.last[number]:
                del values[name]
        return tuple(self._tensor(one.name, values, tensors, inputs[0]) for one in self.graph.outputs), after

    def tensors(self) -> dict[str, Tensor]:
        """Weights and constants by their names in the file."""
        return {name: getattr(self, own) for name, own in self.names.items()}

    def _begin(self, inputs: Sequence[Tensor]) -> dict[str, Known]:
        values: dict[str, Known] = {}
        for declared, value in zip(self.graph.inputs, inputs, strict=True):
            values[declared.name] = value.to(declared.dtype) if value.dtype != declared.dtype else value
        for name in self.whole & self.hosts.keys():
            values[name] = self.hosts[name]
        return values

    def _one(self, operands: Operands, values: dict[str, Known]) -> None:
        node = operands.node
        computed = any(isinstance(values.get(name), np.ndarray) for name in node.inputs)
        try:
            found = on_host(operands, computed)
            result = OPERATORS[node.op](operands) if found is None else found
        except NetworkError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, OverflowError, AssertionError) as error:
            raise operands.wrong(f"cannot be computed: {error!s:.300}", "inputs and attributes that fit") from error
        results = result if isinstance(result, tuple) else (result,)
        for name, value in zip(node.outputs, results):
            if isinstance(value, Tensor) and value.numel() > LARGEST:
                operands.room(value.shape)
            if name:
                values[name] = value
        missing = [name for name in node.outputs[len(results) :] if name]
        if missing:
            raise operands.wrong(f"more outputs than are converted: {', '.join(missing)!s:.100}")

    @staticmethod
    def _tensor(name: str, values: Mapping[str, Known], tensors: Mapping[str, Tensor], like: Tensor) -> Tensor:
        if name in tensors:
            return tensors[name]
        found = values[name]
        return found if isinstance(found, Tensor) else torch.as_tensor(found.copy(), device=like.device)


def _last_uses(graph: Graph) -> list[list[str]]:
    """For each node the values that nothing needs after it."""
    seen = {one.name for one in graph.outputs} | set(graph.constants) | {""}
    last: list[list[str]] = []
    for node in reversed(graph.nodes):
        done = sorted({*node.inputs, *node.outputs} - seen)
        seen.update(done)
        last.append(done)
    return last[::-1]


def _own_name(name: str, taken: set[str]) -> str:
    plain = re.sub(r"\W", "_", name)[:100] or "weight"
    own, number = plain, 1
    while own in taken:
        number += 1
        own = f"{plain}_{number}"
    taken.add(own)
    return own
