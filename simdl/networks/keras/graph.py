"""Models: layers by name, and what they are called on."""

from __future__ import annotations

import re
from collections import OrderedDict, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from simdl.networks.keras.hdf5 import Array

Ref = tuple[str, int, int]
"""A value: the name of a layer, which of its calls, which of its results."""


@dataclass(frozen=True)
class Port:
    """An input of a model: shape without lanes (None where it is open), type as Keras names it."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Made:
    """A layer: its module, and by what Keras can build it again."""

    name: str
    kind: str
    module: nn.Module
    options: dict[str, Any]
    arrays: list[Array]
    inner: tuple[Made, ...] = ()


@dataclass(frozen=True)
class Call:
    layer: str
    node: int
    args: tuple[Ref, ...]
    causal: bool = False


@dataclass(frozen=True)
class Graph:
    """A model: layers by name, calls in an order in which each finds its arguments."""

    name: str
    ports: list[Port]
    layers: dict[str, Made | Graph]
    calls: list[Call]
    outputs: list[Ref]
    dtypes: set[str] = field(default_factory=set)

    def module(self) -> nn.Module:
        """One module: nn.Sequential for a chain of layers, else GraphModule."""
        parts: dict[str, nn.Module] = {}
        names: dict[str, str] = {}
        for name, one in self.layers.items():
            plain = re.sub(r"\W", "_", name)
            plain = f"layer_{plain}" if not plain[:1].isalpha() or hasattr(nn.Sequential, plain) else plain
            while plain in parts:
                plain += "_"
            parts[plain] = one.module() if isinstance(one, Graph) else one.module
            names[name] = plain
        last: Ref = (self.ports[0].name, 0, 0)
        chain = len(self.ports) == 1
        for call in self.calls:
            chain = chain and call.args == (last,)
            last = (call.layer, call.node, 0)
        if chain and self.outputs == [last] and len(self.calls) == len(parts):
            return nn.Sequential(OrderedDict((names[call.layer], parts[names[call.layer]]) for call in self.calls))
        return GraphModule(self, parts, names)


class GraphModule(nn.Module):
    """Calls layers in order; inputs and outputs in the model's order."""

    def __init__(self, graph: Graph, parts: Mapping[str, nn.Module], names: Mapping[str, str]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self._inputs = [(port.name, 0, 0) for port in graph.ports]
        self._calls = [(names[c.layer], (c.layer, c.node), c.args) for c in graph.calls]
        self._outputs = graph.outputs

    def forward(self, *inputs: Tensor) -> Any:
        values: dict[Ref, Tensor] = dict(zip(self._inputs, inputs))
        for part, (layer, node), args in self._calls:
            result = self.parts[part](*(values[arg] for arg in args))
            for number, one in enumerate(result if isinstance(result, tuple) else (result,)):
                values[layer, node, number] = one
        found = tuple(values[ref] for ref in self._outputs)
        return found if len(found) > 1 else found[0]


def ordered(
    calls: list[Call], inputs: list[str], layers: Mapping[str, Made | Graph], outputs: list[Ref]
) -> list[Call] | None:
    """The calls, each after those of its arguments; None when some run in a circle, or on what does not exist."""
    done = {(name, 0) for name in inputs}
    by_need: dict[tuple[str, int], list[Call]] = defaultdict(list)
    missing: dict[int, int] = {}
    ready: deque[Call] = deque()
    for call in calls:
        needs = {ref[:2] for ref in call.args} - done
        missing[id(call)] = len(needs)
        for need in needs:
            by_need[need].append(call)
        if not needs:
            ready.append(call)
    found = []
    while ready:
        call = ready.popleft()
        found.append(call)
        for other in by_need[call.layer, call.node]:
            missing[id(other)] -= 1
            if missing[id(other)] == 0:
                ready.append(other)
    known = {(call.layer, call.node) for call in found} | done
    for ref in (*outputs, *(arg for call in calls for arg in call.args)):
        inner = layers.get(ref[0])
        if ref[:2] not in known or ref[2] >= (len(inner.outputs) if isinstance(inner, Graph) else 1):
            return None
    return found if len(found) == len(calls) else None
