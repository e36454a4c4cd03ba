"""The compile probe: every node is evaluated with 1, 2 and 3 lanes, twice, and with one lane perturbed.

It infers shapes and types, checks the wires against what is declared, and refuses methods that mix lanes with features,
squeeze, branch on tensors, change their arguments, remember something, or let one lane move another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from simdl.compile.inference import Inference, type_name
from simdl.compile.node import Node
from simdl.compile.purity import check_purity
from simdl.declarations import Output
from simdl.errors import ProbeError, SimdlError

if TYPE_CHECKING:
    from simdl.compile.model import Model


@torch.no_grad()
def probe(model: Model) -> None:
    """Infer shapes and types, and check every node. Raises ProbeError with all faults at once."""
    faults: list[SimdlError] = []
    inference = Inference(model)
    nodes, failed = inference.nodes, inference.settle()
    misfits = _inputs(inference, faults)
    _outputs(inference, faults)
    roots = [(node, error) for node, error in failed if not inference.unready(node)] or failed
    faults += [error for node, error in roots if node.block not in misfits]
    wrong = {node for node in nodes if node.block in misfits} | {node for node, _ in failed}
    wrong = _downstream(wrong, nodes)
    for node in nodes:
        if node not in wrong:
            try:
                check_purity(node, inference.args(node), inference.generator)
            except SimdlError as error:
                faults.append(error)
    if faults:
        raise ProbeError.collect(model.name, faults) if len(faults) > 1 else faults[0]
    for key in model.held:
        if model.values[key].shape is None:
            model.values[key].shape = ()


def _inputs(inference: Inference, faults: list[SimdlError]) -> set[str]:
    """Check what drives each input against its declared shape and type; the paths of blocks with a fault."""
    flat, found = inference.model.flat, set()
    for (path, name), source in flat.sources.items():
        declaration = type(flat.owners[path]).declared()[name]
        shape, dtype = getattr(declaration, "shape", None), getattr(declaration, "dtype", None)
        for key in source if isinstance(source, tuple) else (source,):
            value = inference.env.get(key)
            where = f"{path}.{name}" if path else name
            if value is None or key == where:
                continue
            given = f"{key}, of shape {tuple(value.shape[1:])} and type {type_name(value.dtype)}"
            if shape is not None and tuple(value.shape[1:]) != tuple(shape):
                faults.append(ProbeError(where, f"driven by {given}", f"the shape {tuple(shape)}"))
                found.add(path)
            elif dtype is not None and _narrows(value.dtype, dtype):
                fix = "compare it (signal > 0.5), or convert it in a block"
                faults.append(ProbeError(where, f"driven by {given}", f"the type {type_name(dtype)}", fix))
                found.add(path)
    return found


def _outputs(inference: Inference, faults: list[SimdlError]) -> None:
    """Check what diagrams show against the declared shapes and types of their outputs."""
    flat = inference.model.flat
    for where, key in flat.aliases.items():
        path, _, name = where.rpartition(".")
        declaration = type(flat.owners[path]).declared()[name]
        value = inference.env.get(key)
        if not isinstance(declaration, Output) or value is None:
            continue
        given = f"{key}, of shape {tuple(value.shape[1:])} and type {type_name(value.dtype)}"
        if declaration.shape is not None and tuple(value.shape[1:]) != tuple(declaration.shape):
            faults.append(ProbeError(where, f"shows {given}", f"the shape {tuple(declaration.shape)}"))
        elif declaration.dtype is not None and value.dtype != declaration.dtype:
            fix = "convert it in a block, or declare the output as it is"
            faults.append(ProbeError(where, f"shows {given}", f"the type {type_name(declaration.dtype)}", fix))


def _downstream(wrong: set[Node], nodes: list[Node]) -> set[Node]:
    """These nodes and all that depend on them: what comes after a fault has no fault of its own."""
    unknown = {key for node in wrong for key in (*node.writes, *node.states, *node.names.values())}
    moving = bool(wrong)
    while moving:
        more = {node for node in nodes if node not in wrong and unknown.intersection(node.keys)}
        unknown.update(key for node in more for key in (*node.writes, *node.states))
        wrong, moving = wrong | more, bool(more)
    return wrong


def _narrows(given: torch.dtype, wanted: torch.dtype) -> bool:
    """Whether values would be lost: a float into whole numbers, anything but bool into bool."""
    if wanted == torch.bool:
        return given != torch.bool
    return given.is_floating_point and not wanted.is_floating_point
