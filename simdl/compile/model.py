"""A compiled model: flat blocks, ordered nodes, layouts, and the programs an engine runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from simdl.block import Block
from simdl.clock import Clock
from simdl.compile.flatten import Flat, flatten
from simdl.compile.graph import Graph
from simdl.compile.node import CONDITIONS, ClockId, Node, Region, Value
from simdl.compile.order import check_loops, order
from simdl.declarations import as_tensor
from simdl.declared import Declared
from simdl.errors import ModelError
from simdl.port import Formula, Port, Signal

NONE: frozenset[ClockId] = frozenset()


@dataclass(frozen=True)
class Programs:
    """What runs during a segment: once at its start, and at every stage."""

    constant: tuple[Node, ...]
    varying: tuple[Node, ...]


class Model:
    """A diagram ready to run. `compile_model` makes one; `simulate` makes one for itself."""

    def __init__(self, root: Declared) -> None:
        self.root = root
        self.name = type(root).__name__
        self.flat: Flat = flatten(root)
        if self.flat.faults:
            raise ModelError.collect(self.name, self.flat.faults)
        self.graph = Graph(self.flat)
        if self.flat.faults:
            raise ModelError.collect(self.name, self.flat.faults)
        check_loops(self.graph)
        self.values: dict[str, Value] = self.flat.values
        self.blocks: dict[str, Block] = self.flat.blocks
        self.clocks: list[Clock] = self.graph.clocks
        self.regions: list[Region] = self.flat.regions
        kinds: dict[str, list[str]] = {}
        for key, value in self.values.items():
            kinds.setdefault(value.kind, []).append(key)
        self.continuous = kinds.get("continuous", [])
        self.discrete = kinds.get("discrete", [])
        self.modes = kinds.get("mode", [])
        self.held = kinds.get("held", [])
        self.params = kinds.get("param", [])
        self.noises = kinds.get("noise", [])
        self.externals = kinds.get("external", [])
        self.constants = kinds.get("constant", [])
        self.frozen = [  # continuous-time outputs that an enabled region holds
            key
            for r in self.regions
            if r.kind == "enabled"
            for key in kinds.get("free", ())
            if self.values[key].block in r.blocks and self.values[key].owner is not None
        ]
        self.crossings = self.graph.crossings
        self.hits = self.graph.hits
        self._events: dict[frozenset[ClockId], tuple[Node, ...]] = {}
        self._instants: dict[tuple[frozenset[ClockId], tuple[str, ...]], tuple[Node, ...]] = {}

    def key(self, name: str | Signal) -> str:
        """The key of a port, or of the path of one. Raises ModelError with the near names."""
        if isinstance(name, Port):
            base = self.flat.paths.get(id(name.owner))
            if base is None:
                raise ModelError(str(name), f"a port of another model than {self.name}", "a port of this model")
            name = f"{base}.{name.name}" if base else name.name
        if isinstance(name, Formula):
            raise ModelError(str(name), "a formula", "a port or a path", "assign it to an output of the diagram")
        if not isinstance(name, str):
            raise ModelError(repr(name), "not a port", "a port such as model.plant.theta, or its path")
        if name in self.values:
            return name
        if name in self.flat.aliases:
            return self.flat.aliases[name]
        raise ModelError(self.name, f"no port {name!r}", names=sorted(self.ports()), wrong=name)

    def ports(self) -> list[str]:
        """The paths that can be recorded: outputs, states, inputs and the ports of diagrams."""
        named = [
            k
            for k, v in self.values.items()
            if v.kind in ("held", "free", "continuous", "discrete", "mode", "external") and v.owner is not None
        ]
        return [*named, *self.flat.aliases]

    def labels(self, path: str) -> tuple[str, ...]:
        """The names of an enumeration's values, declared where the path is, else at its source; empty for numbers."""
        return tuple(self._declared(path, "labels") or ())

    def unit(self, path: str) -> str:
        """The unit declared where the path is, else that of its source."""
        return str(self._declared(path, "unit") or "")

    def _declared(self, path: str, what: str) -> Any:
        """What is declared where the path is, else at its source."""
        owner, _, name = path.rpartition(".")
        found = None
        if owner in self.flat.owners:
            found = getattr(type(self.flat.owners[owner]).declared().get(name), what, None)
        value = self.values.get(self.key(path))
        return found or (getattr(value.declaration, what, None) if value is not None else None)

    def setting(self, key: str, dtype: torch.dtype) -> Tensor:
        """The value of a parameter without lanes, following references to the parameters of outer diagrams; dtype: of
        what is declared as the run's float type."""
        value = self.values[key]
        given = value.owner.settings[value.name]
        if isinstance(given, Port):
            return self.setting(self.key(given), dtype)
        if isinstance(given, Formula):
            return given.evaluate(lambda port: self.setting(self.key(port), dtype).unsqueeze(0)).squeeze(0)
        tensor = as_tensor(given)
        wanted = value.dtype or (dtype if tensor.is_floating_point() or tensor.dtype == torch.int64 else tensor.dtype)
        return tensor.to(wanted)

    def recorded(self, record: Iterable[str | Signal] | None) -> dict[str, str]:
        """Path -> key of what to record; by default every output, and the outputs of the root under their own names."""
        if record is None:
            found = {
                k: k
                for k in [*self.held, *(k for k, v in self.values.items() if v.kind == "free")]
                if self.values[k].owner is not None and not self._image(k)
            }
            found |= {p: k for p, k in self.flat.aliases.items() if "." not in p and not self._image(k)}
            return found | {k: k for k in [*self.continuous, *self.modes] if not self._image(k)}
        if isinstance(record, str | Signal):
            record = [record]
        result: dict[str, str] = {}
        for name in record:
            key = self.key(name)
            if isinstance(name, Port):
                base = self.flat.paths[id(name.owner)]
                name = f"{base}.{name.name}" if base else name.name
            result[str(name)] = key
        return result

    def trace_kind(self, key: str) -> Literal["held", "smooth"]:
        """How a recorded value behaves between its samples."""
        return "smooth" if key in self.graph.smooth and not self.graph.stepped(key) else "held"

    def _image(self, key: str) -> bool:
        shape = self.values[key].shape
        return shape is not None and len(shape) >= 2

    def instant(self, ticking: frozenset[ClockId], record: tuple[str, ...]) -> tuple[Node, ...]:
        """The nodes of an instant at which these clocks tick, in order."""
        found = self._instants.get((ticking, record))
        if found is None:
            graph = self.graph
            targets = [
                n for n in graph.nodes if n.kind in CONDITIONS or (n.clock is not None and graph.active(n, ticking))
            ]
            targets += [graph.producer[k] for k in self.frozen]
            targets += [graph.producer[k] for k in record if k in graph.producer and graph.producer[k].clock is None]
            found = self._instants[ticking, record] = tuple(order(graph, targets, ticking))
        return found

    def event(self, clocks: frozenset[ClockId]) -> tuple[Node, ...]:
        """The nodes of hits and triggers of some lanes between instants: conditions are not read there."""
        found = self._events.get(clocks)
        if found is None:
            nodes = order(self.graph, [n for n in self.graph.nodes if n.clock in clocks], clocks)
            found = tuple(n for n in nodes if n.kind not in CONDITIONS and (n.clock is None or n.clock in clocks))
            self._events[clocks] = found
        return found

    def segment(self, targets: Iterable[Node | str]) -> Programs:
        """The continuous-time nodes for derivatives, guards or recorded keys, and which of them move."""
        nodes: list[Node] = []
        for target in targets:
            if isinstance(target, str):
                producer = self.graph.producer.get(target)
                if producer is not None and producer.clock is None:
                    nodes.append(producer)
            else:
                nodes.append(target)
        ordered = [n for n in order(self.graph, nodes, NONE) if n.clock is None and n.kind not in CONDITIONS]
        moving = set(self.graph.smooth)
        return (
            Programs(
                tuple(n for n in ordered if not n.smooth and n.kind not in ("derivative", "crossing")),
                tuple(n for n in ordered if n.smooth or n.kind in ("derivative", "crossing")),
            )
            if moving
            else Programs(tuple(ordered), ())
        )

    def __reduce__(self) -> Any:
        return compile_model, (self.root,)

    def describe(self) -> str:
        """The compiled schedule as text."""
        from simdl.compile.describe import describe

        return describe(self)


def _fingerprint(owner: Declared) -> tuple[Any, ...]:
    """Changes when something that compilation depends on does; parameters do not."""
    own: list[Any] = [id(owner), len(owner.faults), len(owner.conditions)]
    own += [(name, id(source)) for name, source in owner.wires.items()]
    own += [str(getattr(owner, field, None)) for field in owner._fields()]
    if hasattr(owner, "children"):
        own += [(child.label, _fingerprint(child)) for child in owner.children()]
    return tuple(own)


def compile_model(root: Declared | Model) -> Model:
    """Compile a diagram or a single block: flatten, check every wire, order, probe.

    Raises ModelError with all wiring faults at once, LoopError for a cycle, ProbeError for impure methods.
    The model is kept until the diagram changes; setting parameters does not change it.
    """
    if isinstance(root, Model):
        return root
    if not isinstance(root, Declared):
        raise ModelError("model", f"{root!r}", "a Diagram, a Block or a compiled model")
    fingerprint = _fingerprint(root)
    kept = vars(root).get("_compiled")
    if kept is not None and kept[0] == fingerprint:
        model: Model = kept[1]
        return model
    from simdl.compile.probe import probe

    try:
        model = Model(root)
    except RecursionError:
        raise ModelError(type(root).__name__, "nested too deeply", "at most a few hundred levels") from None
    probe(model)
    vars(root)["_compiled"] = (fingerprint, model)
    return model
