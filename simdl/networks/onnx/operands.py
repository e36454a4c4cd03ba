"""What an operator is given: tensors, or sizes that are known while the network is called without asking its values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simdl.errors import NetworkError
from simdl.networks.onnx.arrays import Array
from simdl.networks.onnx.graph import Node

Known = Tensor | Array  # an array is known to the host: shapes and what is computed from them
Operator = Callable[["Operands"], Any]
HOST = 4096  # numbers in an array of the host
LARGEST = 2**27  # numbers in one value


class Operands:
    """The inputs of one node in one call.

    tensor(i): a torch value, with gradient; host(i), ints(i): numbers that do not depend on what lanes hold. states: of
    the recurrent nodes, when the network is stepped; lanes: of this call, where a fixed size has to follow it.
    """

    def __init__(
        self, node: Node, values: Mapping[str, Known], tensors: Mapping[str, Tensor], hosts: Mapping[str, Array],
        opset: int, where: str, like: Tensor, lanes: int | None = None,
    ) -> None:  # fmt: skip
        self.node, self.opset, self.where, self.like, self.lanes = node, opset, where, like, lanes
        self._values, self._tensors, self._hosts = values, tensors, hosts
        self.state: tuple[Tensor, ...] | None = None
        self.after: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.node.inputs)

    def has(self, index: int) -> bool:
        return index < len(self.node.inputs) and self.node.inputs[index] != ""

    def gives(self, index: int) -> bool:
        return index < len(self.node.outputs) and self.node.outputs[index] != ""

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.node.attributes.get(name, default)

    def tensor(self, index: int) -> Tensor:
        name = self._name(index)
        if name in self._tensors:
            return self._tensors[name]
        value = self._values[name]
        if isinstance(value, Tensor):
            return value
        return torch.tensor(value.tolist(), dtype=_dtype(value), device=self.like.device)

    def tensors(self) -> list[Tensor]:
        return [self.tensor(i) for i in range(len(self))]

    def optional(self, index: int) -> Tensor | None:
        return self.tensor(index) if self.has(index) else None

    def known(self, index: int) -> bool:
        """Whether an input is known to the host."""
        name = self.node.inputs[index]
        return name in self._hosts or isinstance(self._values.get(name), np.ndarray)

    def host(self, index: int) -> Array:
        name = self._name(index)
        if name in self._hosts:
            return self._hosts[name]
        value = self._values[name]
        if isinstance(value, Tensor):
            raise self.wrong(f"its input {name!r:.60} depends on what the network is given, or is too large",
                             "a constant, or computed from shapes")  # fmt: skip
        return value

    def ints(self, index: int) -> list[int]:
        return [int(n) for n in self.host(index).reshape(-1)]

    def floats(self, index: int) -> list[float]:
        return [float(n) for n in self.host(index).reshape(-1)]

    def axes(self, index: int, since: int) -> list[int] | None:
        """Axes: an input since an opset, an attribute before."""
        if self.opset >= since:
            return self.ints(index) if self.has(index) else None
        found = self.attribute("axes")
        return None if found is None else list(found)

    def room(self, shape: Sequence[int]) -> Sequence[int]:
        """The same shape; raises NetworkError when it holds too many numbers."""
        if any(n < 0 for n in shape) or math.prod(shape) > LARGEST:
            raise self.wrong(f"makes a value of shape {tuple(shape)!s:.100}", f"at most {LARGEST} numbers")
        return shape

    def wrong(self, found: str, expected: str = "", fix: str = "") -> NetworkError:
        return NetworkError(f"{self.where}: {self.node.op} {self.node.name!r:.80}", found, expected, fix)

    def _name(self, index: int) -> str:
        if not self.has(index):
            raise self.wrong(f"has no input {index}", "the inputs of the standard")
        return self.node.inputs[index]


def _dtype(value: Array) -> torch.dtype:
    found: torch.dtype = getattr(torch, value.dtype.name)
    return found
