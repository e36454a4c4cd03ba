"""A node of the compiled graph: one method, formula or condition, with the values it reads and writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from simdl.clock import Clock

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
