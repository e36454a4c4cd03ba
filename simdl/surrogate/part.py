"""The part of a diagram that a network is to stand for: its states, what drives it, and who reads it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from simdl.block import Block
from simdl.clock import Clock
from simdl.compile import Model
from simdl.declarations import Input, Inputs
from simdl.declared import Declared
from simdl.diagram import Diagram
from simdl.errors import ModelError
from simdl.methods import OutputMethod
from simdl.port import Formula, Port, Signal

Change = Callable[[Port, int | None], Any]
"""What a reader of a port, or of one element of it, reads instead; None leaves it."""
_ELEMENT = re.compile(r"(.+)\[(\d+)\]")


@dataclass(frozen=True)
class Element:
    """A number of a diagram: a recorded port and, of a vector, which element; `name` is its port on the network."""

    key: str
    index: int | None
    name: str
    unit: str = ""


@dataclass(frozen=True)
class Part:
    """What a network has to know of the part at `path`. through: whether its outputs depend on its inputs at once."""

    path: str
    states: tuple[Element, ...]
    inputs: tuple[Element, ...]
    outputs: tuple[Element, ...] = ()
    through: bool = False
    lengths: dict[str, int] = field(default_factory=dict)  # of vectors that are read from outside
    read: tuple[Element, ...] = ()  # the states and outputs that are read from outside

    @property
    def elements(self) -> tuple[Element, ...]:
        return (*self.states, *self.inputs, *self.outputs)

    def find(self, key: str, index: int | None) -> Element:
        """The state or output that a reader of this key reads."""
        return next(one for one in (*self.states, *self.outputs) if one.key == key and one.index == index)


def owners(root: Declared) -> Iterator[Declared]:
    """A diagram and all that is inside."""
    yield root
    if isinstance(root, Diagram):
        for child in root.children():
            yield from owners(child)


def block_at(root: Declared, path: str) -> Declared:
    """The block or diagram at a path below the root. Raises ModelError with the near names."""
    found = {one.path: one for one in owners(root) if one is not root}
    if path not in found:
        raise ModelError(f"surrogate of {root}", f"no block {path!r}", "a block or diagram inside", names=found,
                         wrong=path)  # fmt: skip
    return found[path]


def rewire(root: Declared, change: Change, leave: Declared | None = None) -> None:
    """Change what every wire, condition and setting in a diagram reads; those inside `leave` are left."""
    within = {id(one) for one in owners(leave)} if leave is not None else set()
    for owner in owners(root):
        if id(owner) in within and owner is not leave:
            continue
        if owner is not leave:
            for table in (owner.wires, owner.settings):
                for name, source in table.items():
                    table[name] = _changed(source, change)
        for condition in owner.conditions:
            condition.signal = _changed(condition.signal, change)


def _changed(source: Any, change: Change) -> Any:
    if isinstance(source, tuple):
        return tuple(_changed(one, change) for one in source)
    if isinstance(source, Port):
        found = change(source, None)
        return source if found is None else found
    if isinstance(source, Formula):
        port, index = (*source.args, None)[:2]
        if source.op == "getitem" and isinstance(port, Port) and isinstance(index, int) and index >= 0:
            found = change(port, index)
            if found is not None:
                return found
        args = [_changed(one, change) for one in source.args]
        return Formula(source.op, *args) if any(a is not b for a, b in zip(args, source.args)) else source
    return source


def part_of(model: Model, path: str, chosen: Sequence[str] | None, watched: Sequence[str], period: Clock,
            through: bool | None) -> Part:  # fmt: skip
    """Find out what the part at a path is. chosen: its states to keep, "omega" or "heat[3]"; watched: ports below it
    that have to stay though nobody reads them. Raises ModelError for what a network cannot stand for."""
    root, where = model.root, f"surrogate of {path}"
    block = block_at(root, path)
    _refuse(block, where, period)
    states = _states(model, path, chosen, where)
    inputs = _inputs(model, block, path, where)
    inside = {id(one) for one in owners(block)}
    read: dict[tuple[str, int | None], Port] = {}
    lengths: dict[str, int] = {}

    def note(port: Port, index: int | None) -> None:
        driven = isinstance(type(port.owner).declared().get(port.name), Input | Inputs)
        if id(port.owner) not in inside or driven or port.kind in ("param", "missing"):
            return
        key = model.key(port)
        shape = _number(model, key, where)
        if shape and index is None:
            lengths[key] = shape[0]
            read.update({(key, i): port for i in range(shape[0])})
        else:
            read[key, index] = port

    rewire(root, lambda port, index: note(port, index), leave=block)
    for name in watched:
        if name.startswith(f"{path}."):
            owner, _, last = name.rpartition(".")
            note(Port(block if owner == path else block_at(root, owner), last, "output"), None)
    known = {(one.key, one.index) for one in states}
    outputs = tuple(
        Element(key, index, _name(port.path.removeprefix(f"{path}."), index), model.unit(key))
        for (key, index), port in read.items() if (key, index) not in known
    )  # fmt: skip
    if not read:
        raise ModelError(where, "nobody reads it", "a part on which something depends")
    names = [one.name for one in (*states, *inputs, *outputs)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ModelError(where, f"two ports would be named {twice[0]!r}", "one name each")
    at_once = through if through is not None else any(_reads_input(model, one.key) for one in outputs)
    every = {(one.key, one.index): one for one in (*states, *outputs)}
    return Part(path, states, inputs, outputs, at_once, lengths, tuple(every[one] for one in read))


def _refuse(block: Declared, where: str, period: Clock) -> None:
    for one in owners(block):
        if one.conditions:
            raise ModelError(where, f"{one} runs on a condition", "a part that always runs")
        if not isinstance(one, Block):
            continue
        if one.latency_ns:
            raise ModelError(where, f"{one} has a latency", "a part without", "give the latency to a block after it")
        if one.clock is not None and one.clock != period:
            raise ModelError(where, f"{one} ticks every {one.clock}", f"the surrogate's period, {period}",
                             "period= must be that of a sampled part")  # fmt: skip
        if not one.methods("derivative") and one.clock is None and one.methods("hit"):
            raise ModelError(where, f"{one} has times of its own", "a continuous or a sampled part")


def _number(model: Model, key: str, where: str) -> tuple[int, ...]:
    value = model.values[key]
    shape = value.shape or ()
    if len(shape) > 1 or (value.dtype is not None and not value.dtype.is_floating_point):
        raise ModelError(f"{where}: {key}", f"shape {shape}, {value.dtype or 'float'}", "a number or a vector of them",
                         "states=(...) names the states to keep")  # fmt: skip
    return shape


def _states(model: Model, path: str, chosen: Sequence[str] | None, where: str) -> tuple[Element, ...]:
    keys = [key for key in (*model.continuous, *model.discrete, *model.modes) if key.startswith(f"{path}.")]
    offered: dict[str, Element] = {}
    for key in keys:
        short = key.removeprefix(f"{path}.")
        if chosen is not None and short not in {_split(name)[0] for name in chosen}:
            continue
        shape = _number(model, key, where)
        for index in range(shape[0]) if shape else [None]:
            name = short if index is None else f"{short}[{index}]"
            offered[name] = Element(key, index, _name(short, index), model.unit(key))
    if chosen is None:
        wanted = list(offered)
    else:
        wanted = [w for name in chosen for w in ([name] if name in offered else
                                                 [o for o in offered if _split(o)[0] == name] or [name])]  # fmt: skip
    for name in wanted:
        if name not in offered:
            raise ModelError(where, f"no state {name!r}", "one of its states, such as heat[3]",
                             names=[key.removeprefix(f"{path}.") for key in keys], wrong=_split(name)[0])  # fmt: skip
    if not wanted:
        raise ModelError(where, "it has no state", "a part with memory",
                         "a static part is learnt from its inputs and outputs: Network, simdl.learn.fit")  # fmt: skip
    return tuple(offered[name] for name in dict.fromkeys(wanted))


def _inputs(model: Model, block: Declared, path: str, where: str) -> tuple[Element, ...]:
    found = []
    for name, one in type(block).declared().items():
        if isinstance(one, Inputs):
            raise ModelError(f"{where}: {name}", "inputs of any number", "inputs with names")
        if isinstance(one, Input) and isinstance(block.wires.get(name), Signal):
            key = model.key(f"{path}.{name}")
            if _number(model, key, where):
                raise ModelError(f"{where}: {name}", "a vector input", "numbers")
            found.append(Element(f"{path}.{name}", None, name, model.unit(f"{path}.{name}")))
    return tuple(found)


def _reads_input(model: Model, key: str) -> bool:
    """Whether what computes a value reads an input at the same instant."""
    leaf = model.blocks.get(model.values[key].block)
    if leaf is None:
        return True
    declared = type(leaf).declared()
    one = declared.get(key.rpartition(".")[2])
    methods = [one.method] if isinstance(one, OutputMethod) else list(leaf.methods("tick"))
    return any(isinstance(declared.get(name), Input) for method in methods for name in method.reads)


def _name(short: str, index: int | None) -> str:
    return short.replace(".", "_") + ("" if index is None else f"_{index}")


def _split(name: str) -> tuple[str, int | None]:
    found = _ELEMENT.fullmatch(name)
    return (name, None) if found is None else (found[1], int(found[2]))
