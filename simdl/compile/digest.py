"""A hash of what a model computes: blocks, wiring, clocks, parameters and weights. Equal models give equal hashes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from simdl.block import Block
from simdl.compile.identity import identity, source
from simdl.compile.node import CONDITIONS

if TYPE_CHECKING:
    from simdl.compile.model import Model


def digest(model: Model) -> str:
    """SHA-256, in hex, over the compiled model. The source text of its blocks' methods counts; names of Python
    variables that hold the diagram do not."""
    found = hashlib.sha256()

    def add(*parts: Any) -> None:
        for part in parts:
            found.update(f"{part}\0".encode())

    for path, owner in sorted(model.flat.owners.items()):
        kind = type(owner)
        add(path, kind.__qualname__, *(f"{f}={getattr(owner, f, None)}" for f in kind._fields()))
        for name, value in sorted(owner.settings.items()):
            add(name, _plain(value))
        for name, value in sorted(vars(owner).items()):
            if isinstance(value, nn.Module):
                for key, tensor in sorted(value.state_dict().items()):
                    add(key, _plain(tensor))
            elif not name.startswith("_") and name not in ("built", "label") and _is_plain(value):
                add(name, value)  # what a constructor keeps: the length of a window, the kind of a table
        if isinstance(owner, Block):
            add(*map(identity, owner.hashed()))
    graph = model.graph
    apart = (*graph.initials.values(), *graph.derivatives, *graph.crossings, *graph.resets.values(), *graph.edges)
    for node in sorted((*graph.nodes, *apart), key=lambda n: (n.path, n.kind)):
        add(node.path, node.kind, node.clock, node.delay, node.reads)
        function = getattr(node.function, "__func__", node.function)
        if node.kind not in ("formula", "hold", "sample", *CONDITIONS):
            add(*(source(one) if callable(one) else repr(one) for one in (function, *getattr(function, "parts", ()))))
    for region in model.regions:
        add(region.kind, region.path, region.signal, region.outputs, region.edge)
    return found.hexdigest()


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str) or (isinstance(value, tuple) and all(map(_is_plain, value)))


def _plain(value: Any) -> str:
    if isinstance(value, Tensor):
        data = value.detach().cpu().contiguous()
        raw = data.reshape(-1).view(torch.uint8).numpy().tobytes() if data.numel() else b""
        return f"{data.dtype} {tuple(data.shape)} {hashlib.sha256(raw).hexdigest()}"
    return repr(value)
