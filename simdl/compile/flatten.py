"""From a tree of diagrams to leaf blocks with resolved sources; every wiring fault is collected."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from simdl.block import Block
from simdl.compile.node import Region, Value
from simdl.declarations import Declaration, Input, Inputs, Noise, Output, Param, State, as_tensor
from simdl.declared import Declared
from simdl.diagram import Diagram
from simdl.errors import LoopError, ModelError, SimdlError
from simdl.methods import Crossing, OutputMethod
from simdl.port import Formula, Port, Signal


@dataclass
class Flat:
    """Leaf blocks, every value by key, and for every input the key of its source."""

    root: Declared
    blocks: dict[str, Block] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    sources: dict[tuple[str, str], str | tuple[str, ...]] = field(default_factory=dict)  # (block path, input) -> key
    formulas: dict[str, tuple[Formula, dict[Port, str]]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)  # path of a diagram port or block input -> key
    regions: list[Region] = field(default_factory=list)
    within: dict[str, list[Region]] = field(default_factory=dict)  # block path -> regions, outermost first
    paths: dict[int, str] = field(default_factory=dict)
    owners: dict[str, Declared] = field(default_factory=dict)  # path -> block or diagram
    faults: list[SimdlError] = field(default_factory=list)


def flatten(root: Declared) -> Flat:
    """Collect leaf blocks and resolve every source. Faults are left in `.faults`."""
    return _Flattener(root).run()


class _Reported(ModelError):
    """A fault that follows from one already reported: a misspelt port."""


def _placed(fault: SimdlError, owner: Declared, path: str) -> SimdlError:
    """A fault with the full path of its block: when it was found, an outer diagram may not have named the block yet."""
    name = type(owner).__name__
    parts = path.split(".") if path else []
    for known in (*(".".join(parts[k:]) for k in range(len(parts))), name):
        if fault.where == known or fault.where.startswith(known + "."):
            return fault.moved(known, path or name)
    return fault


class _Flattener:
    def __init__(self, root: Declared) -> None:
        self.flat = Flat(root)
        self.formula_keys: dict[int, str] = {}
        self.signals: list[tuple[Region, Any]] = []

    def run(self) -> Flat:
        flat = self.flat
        self.walk(flat.root, "", [])
        for path, block in flat.blocks.items():
            self.declare(path, block)
        for path, owner in flat.owners.items():
            for name, declaration in type(owner).declared().items():
                if isinstance(declaration, Input | Inputs):
                    self.input(path, owner, name, declaration)
                elif isinstance(owner, Diagram) and isinstance(declaration, Output):
                    self.output(path, owner, name)
        for region, signal in self.signals:
            if isinstance(signal, Port) and signal.kind == "crossing":
                region.by_crossing, region.signal = True, self.path(signal, region.path)
            else:
                region.signal = self.resolve(signal, region.path) or ""
        return flat

    def walk(self, owner: Declared, path: str, regions: list[Region]) -> None:
        flat = self.flat
        flat.owners[path] = owner
        flat.paths[id(owner)] = path
        flat.faults.extend(_placed(fault, owner, path) for fault in owner.faults)
        for condition in owner.conditions:
            region = Region(
                len(flat.regions),
                condition.kind,
                path or str(owner),
                condition.outputs,
                condition.edge,
                clock=condition.clock,
            )
            flat.regions.append(region)
            self.signals.append((region, condition.signal))
            regions = [*regions, region]
        if isinstance(owner, Block):
            flat.blocks[path] = owner
            flat.within[path] = regions
            for region in regions:
                region.blocks.append(path)
        elif isinstance(owner, Diagram):
            for name, declaration in type(owner).declared().items():
                if isinstance(declaration, Param):
                    self.value(path, name, "param", declaration, owner)
            for child in owner.children():
                self.walk(child, f"{path}.{child.label}" if path else child.label, regions)

    def value(self, path: str, name: str, kind: str, declaration: Declaration, owner: Declared) -> Value:
        key = f"{path}.{name}" if path else name
        value = Value(
            key,
            kind,
            path,
            name,
            getattr(declaration, "shape", None),
            getattr(declaration, "dtype", None),
            declaration.unit,
            getattr(declaration, "initial", None),
            declaration,
            owner,
        )
        self.flat.values[key] = value
        return value

    def declare(self, path: str, block: Block) -> None:
        derived = {name for m in block.methods("derivative") for name in m.returns}
        lane_clocked = bool(block.methods("hit")) or any(r.kind == "triggered" for r in self.flat.within[path])
        sampled = block.clock is not None or lane_clocked
        if lane_clocked and (derived or block.clock is not None):
            what = "a @derivative" if derived else "a period"
            self.flat.faults.append(
                ModelError(
                    path or str(block),
                    f"{what} in a block that runs on a trigger or hits",
                    "neither",
                    "give the trigger to the sampled blocks only",
                )
            )
        if block.methods("tick") and not sampled:
            fix = f'{type(block).__name__}(period="10 ms"), or put it into a triggered subsystem'
            self.flat.faults.append(ModelError(path or str(block), "a @tick without a clock", "a period or rate", fix))
        for name, declaration in type(block).declared().items():
            if isinstance(declaration, State):
                kind = "continuous" if name in derived else "discrete" if sampled else "mode"
                self.value(path, name, kind, declaration, block)
            elif isinstance(declaration, Param):
                self.value(path, name, "param", declaration, block)
            elif isinstance(declaration, Noise):
                self.value(path, name, "noise", declaration, block)
            elif isinstance(declaration, Output | OutputMethod):
                self.value(path, name, "held" if sampled else "free", declaration, block)
            elif isinstance(declaration, Crossing):
                self.value(path, name, "crossing", declaration, block)

    def input(self, path: str, owner: Declared, name: str, declaration: Input | Inputs) -> None:
        flat = self.flat
        key = f"{path}.{name}" if path else name
        external = owner is flat.root
        if isinstance(declaration, Inputs):
            keys = [self.resolve(one, key) for one in owner.wires.get(name, ())]
            if not keys:
                flat.faults.append(ModelError(key, "not connected", "a list of signals", f"assign {key} = [a, b]"))
            flat.sources[path, name] = tuple(k for k in keys if k is not None)
            return
        if external and name not in owner.wires:
            self.value(path, name, "external", declaration, owner)
            found: str | None = key
        elif name in owner.wires or isinstance(owner, Block) and declaration.default is not None:
            found = self.resolve(owner.wires.get(name, declaration.default), key)
        elif isinstance(owner, Diagram) and declaration.default is not None:
            found = self.resolve(declaration.default, key)
        else:
            if not any(fault.where.endswith(f".{name}") for fault in owner.faults):
                flat.faults.append(
                    ModelError(
                        key, "not connected", "a signal or a number", f"assign {key} = ..., or give it a default"
                    )
                )
            return
        if found is not None:
            self.typed(key, found, declaration)
            if not (external and found == key):
                flat.aliases[key] = found
            flat.sources[path, name] = found

    def typed(self, key: str, source: str, declaration: Input) -> None:
        """A number wired to an input takes the type of the input."""
        value = self.flat.values[source]
        if value.kind != "constant" or declaration.dtype is None:
            return
        if bool((value.initial.to(declaration.dtype) != value.initial).any()):
            wanted = str(declaration.dtype).removeprefix("torch.")
            self.flat.faults.append(ModelError(key, f"{value.initial.tolist()} into an input of {wanted}", wanted))
        value.dtype = declaration.dtype

    def output(self, path: str, diagram: Diagram, name: str) -> None:
        key = f"{path}.{name}" if path else name
        if name not in diagram.wires:
            found = "an output that nothing is assigned to"
            self.flat.faults.append(ModelError(key, found, "a signal", f"self.{name} = ... in its __init__"))
            return
        source = self.resolve(diagram.wires[name], key)
        if source is not None:
            self.flat.aliases[key] = source

    def path(self, port: Port, where: str = "") -> str:
        base = self.flat.paths.get(id(port.owner))
        if base is None:
            raise ModelError(
                where or str(port),
                f"{port}: a port of a block outside this model",
                "a port inside it",
                "assign the block to an attribute of the diagram",
            )
        return f"{base}.{port.name}" if base else port.name

    def resolve(self, source: Any, where: str) -> str | None:
        """The key of a wired source; None when there is a fault, which is recorded."""
        try:
            return self._resolve(source, where, set())
        except _Reported:
            return None
        except SimdlError as error:
            self.flat.faults.append(error)
            return None

    def _resolve(self, source: Any, where: str, visiting: set[Port]) -> str:
        flat = self.flat
        if isinstance(source, Formula):
            return self.formula(source, where, visiting)
        if not isinstance(source, Signal):
            return self.constant(source, where)
        assert isinstance(source, Port)
        if source in visiting:
            hops = " -> ".join(map(str, visiting))
            raise LoopError(where, f"wired to itself: {hops}", "a block somewhere between")
        key = self.path(source, where)
        owner = source.owner
        declaration = type(owner).declared().get(source.name)
        if declaration is None:
            raise _Reported(where, f"reads {key}, which does not exist", "an existing port")
        if isinstance(declaration, Crossing | Noise | Inputs):
            what = {Crossing: "a crossing", Noise: "a noise source", Inputs: "a bundle"}[type(declaration)]
            raise ModelError(where, f"reads {key}, {what}", "an output, a state or a parameter")
        if key in flat.values:
            return key
        through = isinstance(declaration, Input) or isinstance(owner, Diagram)
        if through and owner is flat.root and isinstance(declaration, Input) and source.name not in owner.wires:
            self.value(flat.paths[id(owner)], source.name, "external", declaration, owner)
            return key
        if source.name in owner.wires:
            return self._resolve(owner.wires[source.name], key, visiting | {source})
        if isinstance(declaration, Input) and declaration.default is not None:
            return self.constant(declaration.default, key)
        raise ModelError(where, f"reads {key}, which nothing drives", "a driven port")

    def formula(self, formula: Formula, where: str, visiting: set[Port]) -> str:
        if id(formula) not in self.formula_keys:
            sources = {port: self._resolve(port, where, visiting) for port in formula.ports()}
            key = f"{where}: {formula}"
            while key in self.flat.formulas:
                key += "'"
            self.formula_keys[id(formula)] = key
            self.flat.formulas[key] = (formula, sources)
            self.flat.values[key] = Value(key, "free", name=str(formula))
        return self.formula_keys[id(formula)]

    def constant(self, value: Any, where: str) -> str:
        tensor = value if isinstance(value, Tensor) else as_tensor(value)
        dtype = None if tensor.is_floating_point() or tensor.dtype == torch.int64 else tensor.dtype
        key = f"{where} = {value}" if tensor.ndim == 0 else f"{where} = constant"
        self.flat.values[key] = Value(key, "constant", shape=tuple(tensor.shape), dtype=dtype, initial=tensor)
        return key
