"""Everything that a run carries from one instant to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

Queue = tuple[tuple[int, dict[str, Tensor], Tensor | None], ...]
"""(release ns, key -> value, lanes or None for all), in order of release."""


@dataclass
class State:
    """The state of all lanes. Tensors are replaced, never changed, so that a copy of the fields is a snapshot."""

    ns: int = -1  # the last instant done; -1 before the first
    y: Tensor = field(default_factory=lambda: torch.zeros(0, 0))  # continuous states (n, lanes)
    carry: Tensor | None = None  # what float32 sums have lost, (n, lanes)
    raw: dict[str, Tensor] = field(default_factory=dict)  # discrete states and modes
    held: dict[str, Tensor] = field(default_factory=dict)  # held outputs, copies of states, frozen outputs
    queues: dict[str, Queue] = field(default_factory=dict)  # node path -> values under way
    next_hit: dict[int, Tensor] = field(default_factory=dict)  # hit -> ns (lanes,)
    last: dict[str, Tensor] = field(default_factory=dict)  # "dt:..." -> seconds of a lane's last hit or trigger
    count: dict[str, Tensor] = field(default_factory=dict)  # the same -> number of hits or triggers so far
    before: dict[int, Tensor] = field(default_factory=dict)  # condition -> its value at the instant before
    next_edge: dict[int, Tensor] = field(default_factory=dict)  # source with lane edges -> ns (lanes,)
    armed: Tensor | None = None  # (guards, lanes) at the end of the last segment
    frozen: Tensor | None = None  # (lanes,) failed lanes
    status: dict[int, tuple[float, str]] = field(default_factory=dict)  # lane -> (t, text)
    resets: Tensor | None = None  # lanes to be reset at the next instant

    def copy(self) -> State:
        new = State()
        for f in fields(self):
            value = getattr(self, f.name)
            setattr(new, f.name, dict(value) if isinstance(value, dict) else value)
        return new

    def map(self, function: Callable[[Tensor, Tensor | None], Tensor], other: State | None = None) -> State:
        """A copy with every tensor of lanes replaced by function(tensor, the same of `other`); lanes are axis 0."""
        new = self.copy()

        def both(a: dict[Any, Tensor], b: dict[Any, Tensor] | None) -> dict[Any, Tensor]:
            return {k: function(v, b.get(k) if b is not None else None) for k, v in a.items()}

        def turned(a: Tensor, b: Tensor | None) -> Tensor:
            return function(a.T, b.T if b is not None else None).T

        new.y = turned(self.y, other.y if other else None)
        if self.carry is not None:
            new.carry = turned(self.carry, other.carry if other else None)
        for name in ("raw", "held", "next_hit", "last", "count", "before", "next_edge"):
            setattr(new, name, both(getattr(self, name), getattr(other, name) if other else None))
        return new


def flat(state: State) -> tuple[list[Tensor], Callable[[Any], State]]:
    """The tensors of a state in a row, and how to build it again from as many."""
    names: list[tuple[str, Any]] = []
    tensors: list[Tensor] = []
    for name in ("y", "carry"):
        value = getattr(state, name)
        if value is not None:
            names.append((name, None))
            tensors.append(value)
    for name in ("raw", "held", "next_hit", "last", "count", "before", "next_edge"):
        for key, value in getattr(state, name).items():
            names.append((name, key))
            tensors.append(value)
    for path, queue in state.queues.items():
        for i, (_, values, _) in enumerate(queue):
            for key, value in values.items():
                names.append(("queues", (path, i, key)))
                tensors.append(value)
    shell = state.copy()

    def build(given: Any) -> State:
        new = shell.copy()
        queues = {p: [(at, dict(values), m) for at, values, m in q] for p, q in shell.queues.items()}
        for (name, key), value in zip(names, given, strict=True):
            if key is None:
                setattr(new, name, value)
            elif name == "queues":
                queues[key[0]][key[1]][1][key[2]] = value
            else:
                getattr(new, name)[key] = value
        new.queues = {p: tuple(q) for p, q in queues.items()}
        return new

    return tensors, build
