"""A part of a diagram as a model of its own: its inputs become external inputs, its parameters values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch

from simdl.compile import Model, compile_model
from simdl.declarations import Input, Inputs, Output, Param
from simdl.declared import Declared
from simdl.engine.setup import Setup, prepare
from simdl.errors import LoweringError, ModelError
from simdl.methods import OutputMethod
from simdl.slots.copying import copied


@dataclass(frozen=True)
class Terminal:
    """An input or an output of a part: its name, the key of its value, and what it carries."""

    name: str
    key: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    unit: str

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(eq=False)
class Part:
    """A part alone. base, start: ns between its steps, and of the first one; latencies are multiples of the base."""

    path: str
    model: Model
    setup: Setup
    inputs: tuple[Terminal, ...]
    outputs: tuple[Terminal, ...]
    base: int
    start: int


def isolated(diagram: Declared, path: str, settings: Mapping[Any, Any], dtype: torch.dtype) -> Part:
    """The part at `path`; the diagram is left as it is. Raises LoweringError naming what cannot become a C step."""
    if diagram.parent is not None:
        path = f"{diagram.path}.{path}" if path else diagram.path
        while diagram.parent is not None:
            diagram = diagram.parent
    root = copied(diagram)
    whole = compile_model(root)
    owner = whole.flat.owners.get(path)
    if owner is None:
        raise ModelError("export_c", f"no block {path!r}", names=sorted(whole.flat.owners), wrong=path)
    given = _given(whole, settings, dtype)
    _bake(whole, path, given)
    if path:
        _cut(whole, path, owner, given)
    model = compile_model(owner)
    _refuse(model, path)
    base, start = _clock(model, path)
    start_of = {k.removeprefix(f"{path}.") if path else k: v for k, v in given.initial.items()
                if not path or k.startswith(f"{path}.")}  # fmt: skip
    zeros = {k: torch.zeros((), dtype=model.values[k].dtype or dtype) for k in model.externals}
    setup = prepare(model, lanes=1, settings=start_of, inputs=zeros, dtype=dtype, device=torch.device("cpu"), seed=0)
    _refuse_first(model, path)
    inputs = tuple(_terminal(setup, name, name) for name in model.externals if _read(model, name))
    shown = [n for n, d in type(owner).declared().items() if isinstance(d, Output | OutputMethod)]
    outputs = tuple(_terminal(setup, name, model.key(name)) for name in shown)
    if not outputs:
        raise LoweringError(path or model.name, "no outputs", "a block or diagram with outputs")
    return Part(path, model, setup, inputs, outputs, base, start)


def _given(whole: Model, settings: Mapping[Any, Any], dtype: torch.dtype) -> Setup:
    named = {whole.key(name) if not isinstance(name, str) else name: value for name, value in settings.items()}
    zeros = {k: torch.zeros((), dtype=whole.values[k].dtype or dtype) for k in whole.externals}
    return prepare(whole, lanes=1, settings=named, inputs=zeros, dtype=dtype, device=torch.device("cpu"), seed=0)


def _bake(whole: Model, path: str, given: Setup) -> None:
    """Parameters of the part as values: those that refer to outer ones, and those that were set."""
    for at, owner in whole.flat.owners.items():
        if path and at != path and not at.startswith(f"{path}."):
            continue
        lanes = owner.lane_settings(given.ids, 0) if hasattr(owner, "lane_settings") else {}
        if lanes:
            raise LoweringError(at, f"parameters that each lane decides: {', '.join(lanes)}", "fixed parameters")
        for name, declaration in type(owner).declared().items():
            if isinstance(declaration, Param):
                key = f"{at}.{name}" if at else name
                owner.settings[name] = given.params[key][0].clone()


def _cut(whole: Model, path: str, owner: Declared, given: Setup) -> None:
    """Take a part out of its diagram."""
    for at, regions in whole.flat.within.items():
        if at == path or at.startswith(f"{path}."):
            outer = [r for r in regions if r.path == path or not r.path.startswith(f"{path}.")]
            if outer:
                raise LoweringError(path, f"{outer[0].kind} by {outer[0].signal}, which is outside",
                                    "a part that holds its own conditions", "export the diagram around it")  # fmt: skip
    retyped: dict[str, Input] = {}
    for name, declaration in type(owner).declared().items():
        if isinstance(declaration, Inputs):
            raise LoweringError(f"{path}.{name}", "a bundle of inputs", "inputs with a name each",
                                "put the block into a diagram with an input for each signal")  # fmt: skip
        if not isinstance(declaration, Input):
            continue
        source = whole.flat.sources[path, name]
        assert isinstance(source, str)
        value = whole.values[source]
        if value.kind == "constant":
            owner.wires[name] = value.initial
            continue
        if value.kind == "param":
            owner.wires[name] = given.params[source][0].clone()
            continue
        owner.wires.pop(name, None)
        shape = tuple(value.shape or ())
        dtype = declaration.dtype or value.dtype
        if declaration.shape != shape or declaration.dtype != dtype or declaration.default is not None:
            named = None if dtype is None else str(dtype).removeprefix("torch.")
            retyped[name] = Input(shape, unit=declaration.unit or value.unit, dtype=named)
    if retyped:
        kind: Any = type(type(owner))
        owner.__class__ = kind(type(owner).__name__, (type(owner),), {**retyped, "__module__": type(owner).__module__})
    vars(owner).update(parent=None, label="")


def _refuse(model: Model, path: str) -> None:
    """Refuse what has no meaning in a step at ticks."""

    def at(key: str) -> str:
        return f"{path}.{key}" if path and key else path or key or model.name

    sampled = "blocks that tick"
    for keys, what in ((model.continuous, "a state in continuous time"), (model.noises, "noise")):
        for key in keys:
            raise LoweringError(at(key), what, sampled, "leave it outside of what is exported")
    for nodes, what in ((model.crossings, "a crossing, which is found between ticks"),
                        (model.hits, "a @hit, which comes at its own times"),
                        (model.graph.edges, "a source with edges of its own")):  # fmt: skip
        for node in nodes:
            raise LoweringError(at(node.path), what, sampled, "leave it outside of what is exported")
    for key, value in model.values.items():
        if value.kind == "mode" and isinstance(key, str):
            raise LoweringError(at(key), "a mode of a block in continuous time", sampled)


def _clock(model: Model, path: str) -> tuple[int, int]:
    """The base period and the first tick, ns."""
    where = path or model.name
    if not model.clocks:
        raise LoweringError(where, "nothing that ticks", "at least one block with a period", "give a block a period")
    for block, one in model.blocks.items():
        clock = one.clock
        if clock is not None and clock.rational:
            at = f"{path}.{block}" if path and block else block or where
            raise LoweringError(at, f"a clock of {clock}, whose ticks are not evenly spaced in ns",
                                "periods of whole nanoseconds", "give a period instead of a rate")  # fmt: skip
    first = min(clock.offset for clock in model.clocks)
    base = math.gcd(*(n for c in model.clocks for n in (c.numerator, c.offset - first)))
    if first and model.regions:
        raise LoweringError(where, "conditions with a clock that has an offset", "clocks that begin at 0")
    for node in model.graph.nodes:
        if node.delay % base:
            raise LoweringError(f"{path}.{node.block}" if path else node.block, f"a latency of {node.delay} ns",
                                f"a multiple of the step of {base} ns",
                                "round it, or give a block of the part a period that divides it")  # fmt: skip
    return base, first % base


def _refuse_first(model: Model, path: str) -> None:
    """Refuse values that `init` would need inputs for."""
    nodes = [n for n in model.graph.nodes if n.kind == "output" and isinstance(n.clock, int)]
    late = {k for n in nodes if n.delay or model.clocks[cast(int, n.clock)].offset for k in n.writes
            if model.values[k].initial is None}  # fmt: skip
    for block, node in model.graph.initials.items():
        if _outside(model, node.keys):
            raise LoweringError(f"{path}.{block}" if path else block, "@initial reads an input",
                                "initial values from parameters alone",
                                "init() is called before there are inputs")  # fmt: skip
    for key in late:
        if _outside(model, [key]):
            raise LoweringError(f"{path}.{key}" if path else key, "a first value that depends on inputs",
                                "Output(initial=...)")  # fmt: skip


def _outside(model: Model, keys: Any) -> bool:
    seen: set[str] = set()
    stack = list(keys)
    while stack:
        key = stack.pop()
        if key in seen:
            continue
        seen.add(key)
        if key in model.externals:
            return True
        stack += [k for n in model.graph.nodes if key in n.writes for k in n.keys]
    return False


def _read(model: Model, key: str) -> bool:
    nodes = [*model.graph.nodes, *model.graph.initials.values()]
    return any(key in node.keys for node in nodes) or key in model.flat.aliases.values()


def _terminal(setup: Setup, name: str, key: str) -> Terminal:
    model = setup.model
    value = model.values[key]
    return Terminal(name, key, tuple(value.shape or ()), setup.type_of(value), model.unit(name))


__all__ = ["Part", "Terminal", "isolated"]
