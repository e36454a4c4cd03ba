"""A node of the compiled graph: one method, formula or condition, with the values it reads and writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from simdl.clock import Clock
from simdl.errors import ProbeError

NodeKind = Literal[
    "output",
    "tick",
    "hit",
    "hold",
    "formula",
    "sample",
    "enable",
    "reset",
    "trigger",
    "derivative",
    "crossing",
    "resets",
    "initial",
    "edges",
]
LaneClock = tuple[str, int]
"""("hit", i) or ("trigger", i): a clock of which only a lane's run can tell the ticks."""
ClockId = int | LaneClock

CONDITIONS = ("enable", "reset", "trigger")


@dataclass(eq=False)
class Node:
    """One thing to evaluate.

    reads: (argument name, key or keys of values); writes: keys of ports; states: keys of states it gives new values.
    clock: when it runs, None for continuous time; delay: ns until its outputs appear.
    enables: the condition nodes that mask it; order: the further nodes that must have run before it.
    """

    path: str
    kind: NodeKind
    function: Callable[..., Any]
    reads: tuple[tuple[str, str | tuple[str, ...]], ...] = ()
    writes: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    clock: ClockId | None = None
    delay: int = 0
    block: str = ""
    names: dict[str, str] = field(default_factory=dict)  # name in a returned dict -> key
    enable: Node | None = None
    order: list[Node] = field(default_factory=list)
    condition: int = -1
    smooth: bool = False  # changes between instants
    wake: tuple[str, ...] = ()  # of a hit: the keys of the values that give further times, ns
    few: bool = False  # of a hit: it is given the lanes alone that are due
    first: float | str = 0.0  # of a hit: its first time in seconds, or the name of the parameter that gives it in ns

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all values read."""
        found: list[str] = []
        for _, key in self.reads:
            found.extend(key if isinstance(key, tuple) else (key,))
        return tuple(found)

    def results(self, returned: Any) -> dict[str, Any]:
        """What it returned, by key. Raises ProbeError for a wrong kind of return value."""
        kind = self.kind
        if kind in ("tick", "hit", "initial", "resets"):
            if not isinstance(returned, dict):
                raise ProbeError(
                    self.path,
                    f"returned {type(returned).__name__}",
                    "a dict of outputs and states",
                    "return dict(u=..., x=...)",
                )
            found: dict[str, Any] = {}
            for name, value in returned.items():
                if kind == "hit" and name == "failed":
                    continue
                if kind == "hit" and name == "next":
                    found["next"] = value
                elif name not in self.names:
                    names = [*self.names, "next"] if kind == "hit" else list(self.names)
                    raise ProbeError(self.path, f"returned {name!r}", "its outputs and states", names=names, wrong=name)
                else:
                    found[self.names[name]] = value
            return found
        wanted = self.states if kind == "derivative" else self.writes
        if len(wanted) == 1 and not isinstance(returned, tuple | list):
            return {wanted[0]: returned}
        if kind == "edges":
            return {"edges": returned}
        if not isinstance(returned, tuple | list) or len(returned) != len(wanted):
            count = len(returned) if isinstance(returned, tuple | list) else type(returned).__name__
            raise ProbeError(self.path, f"returned {count}", f"{len(wanted)} values: {', '.join(wanted)}")
        return dict(zip(wanted, returned, strict=True))

    def __repr__(self) -> str:
        return f"{self.path} ({self.kind})"


@dataclass(eq=False)
class Value:
    """What is known of a key: its path, kind, shape and type.

    kind: "continuous", "discrete" and "mode" states; "held" and "free" (continuous-time) outputs; "port" (the held copy
    of a discrete state); "param", "external", "constant", "noise".
    """

    key: str
    kind: str
    block: str = ""
    name: str = ""
    shape: tuple[int, ...] | None = None
    dtype: torch.dtype | None = None  # None: the run's float type
    unit: str = ""
    initial: Any = None
    declaration: Any = None
    owner: Any = None


@dataclass(eq=False)
class Region:
    """A condition with the blocks it governs."""

    index: int
    kind: Literal["enabled", "triggered", "resettable"]
    path: str
    outputs: str
    edge: str
    signal: str = ""  # key of the condition; for a trigger by crossing, the crossing's key
    by_crossing: bool = False
    clock: Clock | None = None
    blocks: list[str] = field(default_factory=list)
    node: Node | None = None
