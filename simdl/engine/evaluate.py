"""Calling nodes: gathering what they read, casting what they return to the types of their ports."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from typing import Any

import torch
from torch import Tensor

from simdl.compile.graph import raw
from simdl.compile.node import Node
from simdl.declarations import as_tensor
from simdl.engine.setup import Setup
from simdl.errors import RunError, SimdlError

Env = dict[str, Tensor]


class Evaluator:
    """Evaluates nodes for the lanes of one run."""

    def __init__(self, setup: Setup) -> None:
        self.lanes, self.dtype, self.device = setup.lanes, setup.dtype, setup.device
        self.failed: list[tuple[int, str]] = []  # lanes that nodes have given up since somebody asked, and why
        self.types: dict[str, torch.dtype] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for key, value in setup.model.values.items():
            self.types[key] = self.types[raw(key)] = setup.type_of(value)
            self.shapes[key] = self.shapes[raw(key)] = tuple(value.shape or ())

    def call(self, node: Node, env: Env, rows: Tensor | None = None) -> dict[str, Tensor]:
        """What a node computes, by key: outputs under their keys, new states under theirs.

        rows: the only lanes for which it is evaluated; the others get zeros.
        Raises RunError naming the block when its method fails."""
        if rows is not None:
            few = self.few(len(rows))
            part = few.call(node, {k: env[k].index_select(0, rows) for k in dict.fromkeys(node.keys)})
            self.failed += [(int(rows[place]), why) for place, why in few.failed]
            return {k: v.new_zeros((self.lanes, *v.shape[1:])).index_copy(0, rows, v) for k, v in part.items()}
        args = {name: env[key] if type(key) is str else tuple(env[k] for k in key) for name, key in node.reads}
        try:
            returned = node.function(**args)
        except SimdlError:
            raise
        except Exception as error:
            raise RunError(
                node.path, f"{type(error).__name__}: {error}", "a method that accepts what it reads"
            ) from error
        if type(returned) is Tensor and len(node.writes) == 1:
            return {node.writes[0]: self.fit(node.writes[0], returned)}
        found = {key: self.fit(key, value) for key, value in node.results(returned).items()}
        if node.kind == "hit":
            self.failed += returned.get("failed", {}).items()
        return found

    def few(self, lanes: int) -> Evaluator:
        """The same for so many lanes."""
        made = copy(self)
        made.lanes, made.failed = lanes, []
        return made

    def fit(self, key: str, value: Any) -> Tensor:
        """A returned value as (lanes, *shape) in its port's type."""
        dtype = self.types.get(key, self.dtype)
        if type(value) is not Tensor:
            value = as_tensor(value)
        if value.device != self.device:
            value = value.to(self.device)
        if value.dtype != dtype:
            value = value.to(dtype)
        shape = (self.lanes, *self.shapes.get(key, ()))
        if value.shape != shape:
            if value.ndim and value.ndim < len(shape):
                value = value.reshape(value.shape[0], *(1,) * (len(shape) - value.ndim), *value.shape[1:])
            value = value.expand(shape)
        out: Tensor = value
        return out

    def run(self, nodes: Iterable[Node], env: Env) -> None:
        """Evaluate continuous-time nodes in order into the environment."""
        for node in nodes:
            env.update(self.call(node, env))
