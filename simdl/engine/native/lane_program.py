"""What one traced piece of a run computes: new values of slots, recorded values, entries of queues."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from simdl.engine.native.ir import Graph, Value
from simdl.engine.native.simplify import simplified
from simdl.engine.native.tracer import Outside


@dataclass(eq=False)
class Push:
    """What a delayed node puts into its queue: values by key, and the lanes that do (all for None)."""

    path: str
    delay: int
    values: dict[str, Value]
    mask: Value | None


@dataclass(eq=False)
class Program:
    """What a program stores: new values of slots, recorded values by key, what goes into queues."""

    name: str
    stores: dict[str, Value] = field(default_factory=dict)
    records: dict[str, Value] = field(default_factory=dict)
    pushes: list[Push] = field(default_factory=list)
    outside: list[Outside] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)  # what was traced: "store:...", "record:...", "push:..."

    def values(self) -> list[Value]:
        """Everything that it computes."""
        found = [*self.stores.values(), *self.records.values()]
        found += [v for p in self.pushes for v in (*p.values.values(), *([p.mask] if p.mask is not None else []))]
        return [*found, *(v for call in self.outside for v, _, _ in call.inputs)]

    def simplify(self, graph: Graph) -> Program:
        """The same program with cheaper operations."""
        if self.outside:
            return self
        new = iter(simplified(graph, self.values()))
        self.stores = {name: next(new) for name in self.stores}
        self.records = {key: next(new) for key in self.records}
        for push in self.pushes:
            push.values = {key: next(new) for key in push.values}
            push.mask = next(new) if push.mask is not None else None
        return self

    def signature(self) -> Any:
        """Equal for programs that do the same."""
        return (
            tuple((k, v.index) for k, v in sorted(self.stores.items())),
            tuple((k, v.index) for k, v in self.records.items()),
            tuple((p.path, tuple((k, v.index) for k, v in p.values.items()), p.mask and p.mask.index)
                  for p in self.pushes),
            tuple(o.name for o in self.outside),
        )  # fmt: skip
