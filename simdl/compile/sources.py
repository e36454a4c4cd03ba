"""Blocks given as inputs of a run: `simulate(servo, inputs={servo.r: Step(at=1)})`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simdl.block import Block
from simdl.compile.model import Model, compile_model
from simdl.declarations import Input, Output
from simdl.declared import Declared
from simdl.diagram import Diagram
from simdl.errors import RunError
from simdl.methods import OutputMethod
from simdl.port import Port, Signal


def with_sources(root: Declared | Model, blocks: Mapping[Any, Declared]) -> Model:
    """A model in which each block drives the input it was given for. The diagram itself is left as it was."""
    owner = root.root if isinstance(root, Model) else root
    wires, adopted = dict(owner.wires), []
    try:
        for name, block in blocks.items():
            label = name.name if isinstance(name, Port) else str(name)
            if not isinstance(type(owner).declared().get(label), Input):
                inputs = [n for n, d in type(owner).declared().items() if isinstance(d, Input)]
                raise RunError(f"inputs[{label!r}]", "not an external input", "one of the names below", names=inputs)
            owner.wires[label] = _output(block, label)
            if block.parent is None:
                vars(block).update(parent=owner, label=f"inputs.{label}")
                adopted.append(block)
        if not isinstance(owner, Diagram):
            raise RunError(
                type(owner).__name__, "a block as the input of a single block", "a diagram", "wire both in a diagram"
            )
        vars(owner)["_inputs"] = adopted
        vars(owner).pop("_compiled", None)
        return compile_model(owner)
    finally:
        owner.wires.clear()
        owner.wires.update(wires)
        vars(owner).pop("_inputs", None)
        vars(owner).pop("_compiled", None)
        for block in adopted:
            vars(block).update(parent=None, label="")


def _output(block: Declared, label: str) -> Signal:
    outputs = [n for n, d in type(block).declared().items() if isinstance(d, Output | OutputMethod)]
    if not isinstance(block, Block) or len(outputs) != 1:
        raise RunError(f"inputs[{label!r}]", f"a block with {len(outputs)} outputs", "a block with one output")
    port: Signal = getattr(block, outputs[0])
    return port
