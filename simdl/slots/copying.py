"""Copies of diagrams that share their weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

from simdl.declared import Declared
from simdl.diagram import Diagram

Copied = TypeVar("Copied", bound=Declared)


def copied(model: Copied) -> Copied:
    """A diagram or block with its wires, apart from its parent; modules and tensors are shared, not copied."""
    memo: dict[int, Any] = {}
    waiting: list[Declared] = [model]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Diagram):
            waiting += list(one.children())
        for value in _held(vars(one)):
            memo[id(value)] = value
            if isinstance(value, nn.Module):
                memo.update((id(part), part) for part in value.modules())
    parent = model.parent
    vars(model)["parent"] = None
    try:
        made = copy.deepcopy(model, memo)
    finally:
        vars(model)["parent"] = parent
    vars(made)["label"] = ""
    return made


def _held(values: Mapping[str, Any]) -> list[Any]:
    """Modules and tensors among attributes, and inside settings and wires."""
    found: list[Any] = []
    waiting = list(values.values())
    while waiting:
        one = waiting.pop()
        if isinstance(one, nn.Module | Tensor):
            found.append(one)
        elif isinstance(one, dict):
            waiting += list(one.values())
        elif isinstance(one, list | tuple):
            waiting += list(one)
    return found
