"""Putting a network in the place of a part, in a copy of the diagram."""

from __future__ import annotations

from typing import Any

from simdl.compile import Model
from simdl.declarations import Input
from simdl.diagram import Diagram
from simdl.errors import ModelError
from simdl.networks.state_space import NeuralStateSpace
from simdl.port import Port, stack
from simdl.slots.copying import copied
from simdl.surrogate.part import Part, block_at, owners, rewire


def replaced(diagram: Diagram, model: Model, part: Part, network: NeuralStateSpace) -> Diagram:
    """A copy of a diagram in which a network stands for a part: its readers read the network."""
    made = copied(diagram)
    old = block_at(made, part.path)
    parent, label = old.parent, old.label
    assert isinstance(parent, Diagram)
    inside = {id(one) for one in owners(old)}
    places = {id(one): one.path for one in owners(old)}
    named = {one.name for one in part.inputs}

    def change(port: Port, index: int | None) -> Any:
        if id(port.owner) not in inside:
            return None
        if port.owner is old and isinstance(type(old).declared().get(port.name), Input):
            if port.name in named:
                return Port(network, port.name, "input")
            return old.wires.get(port.name, getattr(type(old).declared()[port.name], "default", None))
        if port.kind == "param":
            raise ModelError(f"surrogate of {part.path}", f"its parameter {port.name} is read outside",
                             "a part whose parameters are its own", f"write the number, or read {port} elsewhere",
                             )  # fmt: skip
        key = model.key(f"{places[id(port.owner)]}.{port.name}")

        def element(number: int | None) -> Port:
            one = part.find(key, number)
            return Port(network, one.name, "state" if one in part.states else "output")

        if index is None and key in part.lengths:
            return stack(*(element(number) for number in range(part.lengths[key])))
        return element(index)

    for one in part.inputs:
        network.wires[one.name] = old.wires[one.name]
    vars(network).update(parent=parent, label=label)
    held, _, last = label.rpartition(".")
    if not held:
        vars(parent)[label] = network
    elif isinstance(vars(parent)[held], dict):
        vars(parent)[held][next(key for key in vars(parent)[held] if str(key) == last)] = network
    else:
        row = list(vars(parent)[held])
        row[int(last)] = network
        vars(parent)[held] = row
    rewire(made, change)
    return made
