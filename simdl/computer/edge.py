"""Edges of signals that release jobs: interrupts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from simdl.block import Block
from simdl.clock import SECOND
from simdl.declarations import Input, Output, Param, State
from simdl.declared import Declared
from simdl.diagram import Diagram, triggered
from simdl.errors import ModelError, SimdlError
from simdl.methods import crossing, hit, tick
from simdl.port import Port

if TYPE_CHECKING:
    from simdl.compile import Model

KINDS = ("rising", "falling", "either", "change")


@dataclass(frozen=True)
class Edge:
    """An edge of a signal of the diagram, for `Task(trigger=Edge("line.barrier"))` in live mode: an interrupt.

    signal: the path of an output, a state or a crossing. kind: "rising", when the signal comes to `level` from below;
    "falling", from above; "either"; or "change", to another value, of a signal that moves in steps. A bool counts as
    0 and 1. A crossing says itself when it fires.

    An edge is found where it is, between instants too: of a continuous signal as a crossing is, of one that a process
    or a job drives at that time. The job arrives at the first whole ns after it, so that what the same edge triggers
    in the diagram is done before. What a signal does at t = 0 is no edge.
    """

    signal: str
    kind: str = "rising"
    level: float = 0.5

    def faults(self, where: str) -> list[SimdlError]:
        """Everything wrong with it alone."""
        found: list[SimdlError] = []
        if not isinstance(self.signal, str) or not self.signal:
            found.append(ModelError(where, f"{self.signal!r}", "the path of a signal of the diagram"))
        if self.kind not in KINDS:
            found.append(ModelError(where, f"kind={self.kind!r}", "one of", names=KINDS, wrong=str(self.kind)))
        if not isinstance(self.level, int | float) or not math.isfinite(self.level):
            found.append(ModelError(where, f"level={self.level!r}", "a number"))
        return found

    def __str__(self) -> str:
        return f"{self.kind} edge of {self.signal}"


class Rises(Block):
    """Fires when u comes to `level` from below."""

    u, level = Input(), Param(0.5)

    @crossing
    def passes(self, u, level):  # type: ignore[no-untyped-def]
        return level - u.to(level.dtype)


class Falls(Block):
    """Fires when u comes to `level` from above."""

    u, level = Input(), Param(0.5)

    @crossing
    def passes(self, u, level):  # type: ignore[no-untyped-def]
        return u.to(level.dtype) - level


class Changes(Block):
    """Fires when u, which moves in steps, has another value than before."""

    u, seen = Input(), State(0.0, dtype="float64", doc="the value before")

    @hit
    def start(self, t, u):  # type: ignore[no-untyped-def]
        return {"seen": u.double(), "next": torch.full_like(t, torch.inf)}

    @crossing
    def passes(self, u, seen):  # type: ignore[no-untyped-def]
        return torch.where(u.double() == seen, 0.5, -0.5)

    @passes.reset
    def look(self, u):  # type: ignore[no-untyped-def]
        return {"seen": u.double()}


class Stamp(Block):
    """The first whole ns after it was last triggered; -1 before."""

    at = Output(dtype="int64", initial=-1)

    @tick
    def stamp(self, t):  # type: ignore[no-untyped-def]
        ns = t * SECOND  # within a rounding error of a whole number where the edge is at one
        return {"at": torch.floor(ns + 1e-3 + 1e-15 * ns).to(torch.int64) + 1}


WATCHES: Mapping[str, tuple[Any, ...]] = {
    "rising": (Rises,), "falling": (Falls,), "either": (Rises, Falls), "change": (Changes,),
}  # fmt: skip


def watch(made: Diagram, model: Model, edges: tuple[Edge, ...]) -> list[tuple[Edge, Port]]:
    """Put beside a diagram what stamps the times of edges, ns. model: of the diagram before.

    Raises ModelError with every signal that does not exist or has no such edges.
    """
    found: list[tuple[Edge, Port]] = []
    faults: list[SimdlError] = []
    owners = dict(_owners(made, ""))
    for edge in edges:
        try:
            signal = _signal(edge, model, owners)
        except SimdlError as fault:
            faults.append(fault)
            continue
        for when in [signal] if signal.kind == "crossing" else _crossings(made, edge, signal):
            stamp = Stamp()
            setattr(made, _free(made, "edge", "stamp"), triggered(stamp, when=when))
            found.append((edge, Port(stamp, "at", "output")))
    if faults:
        raise ModelError.collect("computer", faults)
    return found


def _crossings(made: Diagram, edge: Edge, signal: Port) -> list[Port]:
    """Watches of a signal, and where they fire."""
    found = []
    for kind in WATCHES[edge.kind]:
        watching = kind() if kind is Changes else kind(level=edge.level)
        setattr(made, _free(made, "edge", "watch"), watching)
        watching.u = signal
        found.append(Port(watching, "passes", "crossing"))
    return found


def _free(made: Diagram, first: str, last: str) -> str:
    number = 0
    while f"{first}_{number}_{last}" in vars(made):
        number += 1
    return f"{first}_{number}_{last}"


def _owners(owner: Declared, path: str) -> list[tuple[str, Declared]]:
    found = [(path, owner)]
    for child in owner.children() if isinstance(owner, Diagram) else ():
        found += _owners(child, f"{path}.{child.label}" if path else child.label)
    return found


def _signal(edge: Edge, model: Model, owners: Mapping[str, Declared]) -> Port:
    """The signal of an edge in the copy of the diagram."""
    key = model.key(edge.signal)
    value = model.values[key]
    where = f"Edge({edge.signal!r})"
    path, _, name = edge.signal.rpartition(".")
    if value.kind == "crossing":
        if edge.kind != "rising":
            raise ModelError(where, f"{edge.kind!r} of a crossing, which fires one way", "no kind")
        return Port(owners[path], name, "crossing")
    if value.kind in ("param", "constant", "noise"):
        raise ModelError(where, f"a {value.kind}", "a signal that moves: an output or a state")
    if value.shape:
        raise ModelError(where, f"an array {tuple(value.shape)}", "a number or a bool")
    if edge.kind == "change" and key in model.graph.smooth and not model.graph.stepped(key):
        raise ModelError(where, "'change' of a signal that moves in continuous time", '"rising", "falling" or "either"')
    return Port(owners[path], name, "output")
