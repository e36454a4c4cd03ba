"""Recurrent networks in ONNX files: which inputs and outputs are a state, and what can be stepped."""

from __future__ import annotations

import re
from collections.abc import Mapping

from simdl.errors import NetworkError
from simdl.networks.onnx.graph import Graph
from simdl.networks.onnx.layout import Layout
from simdl.networks.onnx.program import RECURRENT

_MARKS = re.compile(r"(?<![a-z])(in|out|input|output|prev|previous|next|new|old|init|initial|last|n|t|0|1)(?![a-z])")


def pairs_of(
    graph: Graph, layout: Layout, states: Mapping[str, str] | None, where: str
) -> list[tuple[int, int]]:  # fmt: skip
    """Numbers of the inputs and outputs that are a state and its next value.

    states: their names, input to output; None: inputs that start a recurrent node, and inputs whose name differs from
    that of an output of the same shape by a mark such as in and out, prev and next, 0 and n.
    """
    inputs, outputs = [one.name for one in graph.inputs], [one.name for one in graph.outputs]
    if states is not None:
        for names, known in ((states, inputs), (states.values(), outputs)):
            for name in names:
                if name not in known:
                    raise NetworkError(where, f"states= names {name!r}", "an input and the output that follows it",
                                       names=known, wrong=name)  # fmt: skip
        found = [(inputs.index(a), outputs.index(b)) for a, b in states.items()]
    else:
        found = _found(graph, layout, inputs, outputs)
    for a, b in found:
        if tuple(layout.shapes[a]) != tuple(layout.outputs[b]):
            raise NetworkError(where, f"the state {inputs[a]} {layout.shapes[a]} becomes {outputs[b]} "
                               f"{layout.outputs[b]}", "one shape")  # fmt: skip
    if found and len(found) != len(inputs) - 1:
        if states is None:
            return []
        raise NetworkError(where, f"{len(inputs)} inputs and {len(found)} states", "one input beside the states")
    return found


def _found(graph: Graph, layout: Layout, inputs: list[str], outputs: list[str]) -> list[tuple[int, int]]:
    starting = _starting(graph)
    pairs: list[tuple[int, int]] = []
    for index, name in enumerate(inputs):
        free = [n for n in range(len(outputs)) if n not in {b for _, b in pairs}
                and tuple(layout.outputs[n]) == tuple(layout.shapes[index])]  # fmt: skip
        same = [n for n in free if _stem(outputs[n]) == _stem(name) and outputs[n] != name]
        if same or (name in starting and free):
            pairs.append((index, (same or free)[0]))
    return pairs if len(pairs) < len(inputs) and len(pairs) < len(outputs) else []


def _stem(name: str) -> str:
    """A name without marks of before and after: h0, hn, h_in, hidden_next -> h, hidden."""
    plain = re.sub(r"([a-z])([0n])$", r"\1_\2", name.lower().replace(".", "_"))
    return re.sub(r"_+", "_", _MARKS.sub("", plain.replace("_", " ")).strip().replace(" ", "_"))


def _starting(graph: Graph) -> set[str]:
    """Inputs that reach the initial state of a recurrent node through moves alone."""
    made = {name: node for node in graph.nodes for name in node.outputs if name}
    found: set[str] = set()
    for node in graph.nodes:
        if node.op in RECURRENT:
            for name in node.inputs[5:7]:
                while name in made and made[name].op in ("Identity", "Transpose", "Unsqueeze", "Squeeze", "Slice",
                                                         "Reshape", "Gather", "Split", "Expand"):  # fmt: skip
                    name = made[name].inputs[0]
                found.add(name)
    return found


def reads_forward(graph: Graph) -> bool:
    """Whether no recurrent node reads the last sample first."""
    return all(n.attributes.get("direction", "forward") == "forward" for n in graph.nodes if n.op in RECURRENT)
