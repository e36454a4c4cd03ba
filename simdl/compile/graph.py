"""The graph of a flat model: its nodes, and which of them depend on which.

An edge exists where a node reads what another one computes at the same instant: exactly the arguments in its
signature. Held values (of clocks that do not tick now, and of blocks with latency) are no edges.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from simdl.block import Block
from simdl.clock import Clock
from simdl.compile.flatten import Flat
from simdl.compile.node import ClockId, Node, Region, Value
from simdl.declarations import Input, Inputs, Output, State
from simdl.errors import ModelError
from simdl.methods import Crossing, Method, OutputMethod
from simdl.port import Formula, Port

TIME = "t"


class Graph:
    """All nodes, the producers of each key, and the clocks."""

    def __init__(self, flat: Flat) -> None:
        self.flat = flat
        self.nodes: list[Node] = []
        self.producer: dict[str, Node] = {}
        self.before: dict[str, list[Node]] = {}  # key -> condition nodes that must run before it is read
        self.clocks: list[Clock] = sorted(
            {c for b in flat.blocks.values() if (c := b.clock) is not None}
            | {r.clock for r in flat.regions if r.clock is not None}
        )
        self.hits: list[Node] = []
        self.derivatives: list[Node] = []
        self.crossings: list[Node] = []
        self.resets: dict[str, Node] = {}  # crossing key -> its reset map
        self.initials: dict[str, Node] = {}  # block path -> node
        self.edges: list[Node] = []
        self._conditions()
        for path, block in flat.blocks.items():
            self._block(path, block)
        for key, (formula, sources) in flat.formulas.items():
            reads = tuple((f"a{i}", source) for i, source in enumerate(sources.values()))
            self._add(Node(key, "formula", _formula(formula, tuple(sources)), reads, (key,)))
        self._link()

    def _add(self, node: Node) -> Node:
        self.nodes.append(node)
        if node.delay == 0:
            for key in node.writes:
                if key in self.producer:
                    found = f"computed by {self.producer[key].path} and by {node.path}"
                    self.flat.faults.append(ModelError(key, found, "one method"))
                self.producer[key] = node
        return node

    def _conditions(self) -> None:
        for region in self.flat.regions:
            signal = region.signal
            if region.by_crossing:
                if region.kind != "triggered":
                    self.flat.faults.append(ModelError(region.path, f"{region.kind} by a crossing", "a bool signal"))
                continue
            if region.clock is not None:
                key = f"{region.path}: sample of {signal}"
                self._add(
                    Node(key, "sample", _identity, (("x", signal),), (key,), clock=self.clocks.index(region.clock))
                )
                self.flat.values[key] = Value(key, "held", shape=(), dtype=torch.bool, initial=False)
                signal = region.signal = key
            kinds: dict[str, Any] = {"enabled": "enable", "resettable": "reset", "triggered": "trigger"}
            key = f"{region.path}: {region.kind} {region.index}"
            node = Node(key, kinds[region.kind], _identity, (("x", signal),), (key,), condition=region.index)
            region.node = self._add(node)

    def _block(self, path: str, block: Block) -> None:
        regions = self.flat.within[path]
        clock = self._clock(path, block, regions)
        enable = [r.node for r in regions if r.kind == "enabled" and r.node]
        conditions = [r.node for r in regions if r.node is not None and r.kind != "resettable"]
        resets = [r.node for r in regions if r.kind == "resettable" and r.node is not None]

        def add(kind: Any, method: Method, writes: Iterable[str] = (), **more: Any) -> Node:
            names = {
                n: _key(path, n)
                for n, d in type(block).declared().items()
                if isinstance(d, Output | OutputMethod | State)
            }
            node = Node(
                _key(path, method.name),
                kind,
                method.function.__get__(block),
                self._reads(path, block, method, clock),
                tuple(_key(path, w) for w in writes),
                block=path,
                names=names,
                **more,
            )
            node.order = [*conditions, *resets]
            node.enable = enable[-1] if enable else None
            return node

        by_tick = self._ticked_outputs(path, block)
        for method in block.methods("tick"):
            states = tuple(_key(path, n) for n, d in type(block).declared().items() if isinstance(d, State))
            self._add(add("tick", method, by_tick, clock=clock, delay=block.latency_ns, states=states))
        named = {name for m in block.methods("hit") for name in m.returns}
        for method in block.methods("hit"):
            own = ("hit", len(self.hits))
            node = add("hit", method, method.returns or [n for n in by_tick if n not in named], clock=own)
            node.reads = self._reads(path, block, method, own)
            node.first = method.first  # type: ignore[attr-defined]
            sources = [self.flat.sources.get((path, name)) for name in method.wake]  # type: ignore[attr-defined]
            node.wake = tuple(source for source in sources if isinstance(source, str))
            node.few = method.few  # type: ignore[attr-defined]
            self.hits.append(self._add(node))
        for method in block.methods("output"):
            self._add(
                add("output", method, method.returns, clock=clock, delay=block.latency_ns if clock is not None else 0)
            )
        for method in block.methods("derivative"):
            node = add("derivative", method, states=tuple(_key(path, n) for n in method.returns))
            self.derivatives.append(node)
        for name, declaration in type(block).declared().items():
            if isinstance(declaration, Crossing):
                node = add("crossing", declaration.method, (name,))
                node.path = _key(path, name)
                self.crossings.append(node)
                if declaration.resets is not None:
                    self.resets[node.path] = add("resets", declaration.resets)
            elif isinstance(declaration, State) and self.flat.values[_key(path, name)].kind == "discrete":
                key = _key(path, name)
                node = Node(f"{key} held", "hold", _identity, (("x", raw(key)),), (key,), clock=clock, block=path)
                node.enable, node.order = (enable[-1] if enable else None), [*conditions, *resets]
                self._add(node)
        for method in block.methods("initial"):
            self.initials[path] = add("initial", method)
        for method in block.methods("edges"):
            self.edges.append(add("edges", method))
        self.crossings.sort(key=lambda node: node.path)
        outputs = {n for n, d in type(block).declared().items() if isinstance(d, Output | OutputMethod)}
        missing = outputs - {w.rpartition(".")[2] for n in self.nodes if n.block == path for w in n.writes}
        for name in sorted(missing):
            self.flat.faults.append(
                ModelError(
                    _key(path, name), "an output that no method computes", "a @tick that returns it, or @output(...)"
                )
            )

    def _ticked_outputs(self, path: str, block: Block) -> list[str]:
        """The declared outputs that no output method computes: the tick returns them."""
        if not (block.methods("tick") or block.methods("hit")):
            return []
        taken = {name for m in block.methods("output") for name in m.returns}
        return [n for n, d in type(block).declared().items() if isinstance(d, Output) and n not in taken]

    def _clock(self, path: str, block: Block, regions: list[Region]) -> ClockId | None:
        triggers = [r for r in regions if r.kind == "triggered"]
        if block.methods("hit"):
            return ("hit", len(self.hits))
        if triggers:
            return ("trigger", triggers[-1].index)
        return self.clocks.index(block.clock) if block.clock is not None else None

    def _reads(
        self, path: str, block: Block, method: Method, clock: ClockId | None
    ) -> tuple[tuple[str, str | tuple[str, ...]], ...]:
        declared = type(block).declared()
        reads: list[tuple[str, str | tuple[str, ...]]] = []
        for name in method.reads:
            declaration = declared.get(name)
            if name == "dt":
                reads.append((name, f"dt:{clock}"))
            elif name == TIME:
                reads.append((name, TIME))
            elif isinstance(declaration, Input | Inputs):
                reads.append((name, self.flat.sources.get((path, name), "missing")))
            elif isinstance(declaration, State):
                key = _key(path, name)
                reads.append((name, raw(key) if self.flat.values[key].kind == "discrete" else key))
            else:
                reads.append((name, _key(path, name)))
        return tuple(reads)

    def _link(self) -> None:
        """Order between conditions and what they govern, and which values move between instants."""
        for region in self.flat.regions:
            if region.node is None:
                continue
            for path in region.blocks:
                for value in self.flat.values.values():
                    if value.block != path or (value.owner is not None and value.owner is not self.flat.blocks[path]):
                        continue
                    governed = (
                        (region.kind == "resettable" and value.kind in ("continuous", "mode", "discrete"))
                        or (region.kind == "enabled" and value.kind in ("held", "free"))
                        or (region.kind == "triggered" and value.kind in ("held", "discrete"))
                    )
                    if governed:
                        self.before.setdefault(value.key, []).append(region.node)
        smooth = {TIME} | {k for k, v in self.flat.values.items() if v.kind in ("continuous", "mode")}
        for node in self.nodes:
            if isinstance(node.clock, tuple):
                smooth.update(node.writes)
        moving = True
        while moving:
            moving = False
            for node in self.nodes:
                if not node.smooth and node.clock is None and any(k in smooth for k in node.keys):
                    node.smooth = moving = True
                    smooth.update(node.writes)
        self.smooth = smooth
        for region in self.flat.regions:
            if region.node is not None and region.signal in self.smooth and not self._lane_held(region.signal):
                self.flat.faults.append(
                    ModelError(
                        region.path,
                        f"the condition {region.signal} moves in continuous time",
                        "a held signal",
                        'name the clock at which it is read, as in enabled(block, when=..., period="10 ms"), or '
                        "trigger by a crossing",
                    )
                )
            elif region.node is not None and region.signal in self.smooth and region.kind != "enabled":
                warnings.warn(
                    f"{region.path}: {region.kind} when {region.signal}, which changes at times of its lane's own (of "
                    "a process, a job or a hit) and is read at the instants that all lanes share: an edge counts at "
                    "the next one, and a pulse between two of them is never seen. Trigger by a crossing, or name the "
                    'clock at which it is read, as in triggered(block, when=..., period="10 ms").', stacklevel=2,
                )  # fmt: skip

    def _lane_held(self, key: str) -> bool:
        """Whether a value is smooth only because it changes at hits or triggers of its lane."""
        node = self.producer.get(key)
        if node is None:
            return False
        return isinstance(node.clock, tuple) or (
            node.clock is None and all(k not in self.smooth or self._lane_held(k) for k in node.keys)
        )

    def stepped(self, key: str) -> bool:
        """Whether a value that changes between instants does so in steps: at hits, triggers and resets of its lane."""
        seen: set[str] = set()
        stack = [key]
        while stack:
            current = stack.pop()
            if current in seen or current not in self.smooth:
                continue
            seen.add(current)
            node = self.producer.get(current)
            if node is not None and isinstance(node.clock, tuple):
                continue
            value = self.flat.values.get(current)
            if node is None and not (value is not None and value.kind == "mode"):
                return False
            stack.extend(node.keys if node is not None else ())
        return key in self.smooth

    def needs(self, node: Node) -> Iterator[Node]:
        """The nodes that must run before this one when all of them run.

        What wakes a hit runs in a pass of its own before, so that a hit reads what it holds."""
        yield from node.order
        waking = [self.producer.get(key) for key in node.wake]
        for key in node.keys:
            yield from self.before.get(key, ())
            if key in self.producer and self.producer[key] not in waking:
                yield self.producer[key]

    def active(self, node: Node, ticking: frozenset[ClockId]) -> bool:
        """Whether a node runs at an instant at which these clocks tick."""
        if node.clock is None:
            return True
        if isinstance(node.clock, tuple) and node.clock[0] == "trigger":
            return node.clock in ticking or not self.flat.regions[node.clock[1]].by_crossing
        return node.clock in ticking


def raw(key: str) -> str:
    """The key of a discrete state itself, beside the held copy that others read."""
    return key + "!"


def _key(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _identity(x: Tensor) -> Tensor:
    return x


def _formula(formula: Formula, ports: tuple[Port, ...]) -> Callable[..., Tensor]:
    def evaluate(**values: Tensor) -> Tensor:
        read = dict(zip(ports, values.values(), strict=True))
        return formula.evaluate(lambda port: read[port])

    return evaluate
