"""Plain feed-forward networks as tables of numbers: what `.nnet` and `.polar` files hold."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from simdl.errors import NetworkError
from simdl.networks.comparison import Comparison, compare_outputs, samples_of

LARGEST = 128 * 2**20  # bytes of a text file
WIDEST, DEEPEST = 2**20, 1000  # neurons of a layer, and layers

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "affine": nn.Identity,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "affine": lambda x: x,
}  # fmt: skip

Table = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Row = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True)
class Layer:
    """activation(weight x + bias): weight (outputs, inputs), bias (outputs,), the activation by name."""

    weight: Table
    bias: Row
    activation: str


class Scaled(nn.Module):
    """A network between a normalisation and its inverse: y = net((clip(x, low, high) - mean) / range) * gain + shift.

    A pair of numbers that is None is left out. All are buffers in float64.
    """

    low: Tensor | None
    high: Tensor
    mean: Tensor | None
    range: Tensor
    gain: Tensor | None
    shift: Tensor

    def __init__(self, network: nn.Module, **numbers: Sequence[float] | Row | None) -> None:
        super().__init__()
        self.network = network
        for name in ("low", "high", "mean", "range", "gain", "shift"):
            value = numbers.get(name)
            made = None if value is None else torch.tensor(np.asarray(value).tolist(), dtype=torch.float64)
            self.register_buffer(name, made)

    def forward(self, x: Tensor) -> Tensor:
        if self.low is not None:
            x = torch.maximum(torch.minimum(x, self.high), self.low)
        if self.mean is not None:
            x = (x - self.mean) / self.range
        y: Tensor = self.network(x)
        if self.gain is not None:
            y = y * self.gain + self.shift
        return y


def sequential(layers: Sequence[Layer]) -> nn.Sequential:
    """The layers as a torch module in float64."""
    parts: list[nn.Module] = []
    for layer in layers:
        outputs, inputs = layer.weight.shape
        made = nn.Linear(inputs, outputs, dtype=torch.float64, device="meta").to_empty(device="cpu")
        made.load_state_dict({"weight": torch.tensor(layer.weight), "bias": torch.tensor(layer.bias)})
        parts.append(made)
        if layer.activation != "affine":
            parts.append(ACTIVATIONS[layer.activation]())
    return nn.Sequential(*parts).eval()


def evaluate(layers: Sequence[Layer], x: Table) -> Table:
    """The same numbers in NumPy: x (samples, inputs)."""
    for layer in layers:
        x = _FUNCTIONS[layer.activation](x @ layer.weight.T + layer.bias)
    return x


def compare(module: nn.Module, reference: Table, x: Tensor, output: str, where: str) -> Comparison:
    with torch.no_grad():
        found = {output: module(x)}
    return compare_outputs(found, {output: torch.tensor(reference)}, "NumPy on the file's numbers").check(where)


def samples(inputs: int) -> Tensor:
    """Inputs to compare on (64, inputs)."""
    return samples_of([(inputs,)])[0].double()


def lines(data: bytes, where: str, kind: str) -> Iterator[bytes]:
    """The lines that hold something and are no comment, one at a time: a hostile file may have millions."""
    for line in io.BytesIO(data):
        line = line.strip()
        if line and not line.startswith(b"//"):
            if not line.isascii():
                raise NetworkError(where, f"not text: {line[:20]!r}", f"a {kind} file")
            yield line


def check_size(sizes: Sequence[int], data: bytes, where: str) -> None:
    """Every number takes two bytes of text at least, so that a file cannot ask for more memory than it has bytes."""
    wanted = sum(narrow * (wide + 1) for wide, narrow in pairwise(sizes))
    if 2 * wanted > len(data) + 2:
        raise NetworkError(where, f"{len(data)} bytes", f"{wanted} numbers for the sizes {sizes[:20]}", "a whole file")


def numbers(words: Sequence[str], where: str, what: str) -> Row:
    """Finite numbers of words."""
    try:
        found = np.array([float(word) for word in words], dtype=np.float64)
    except ValueError as error:
        raise NetworkError(where, f"{what}: {error}", "numbers") from None
    if not np.isfinite(found).all():
        raise NetworkError(where, f"{what}: a number that is not finite", "numbers")
    return found


def counts(words: Sequence[str], where: str, what: str, most: int = WIDEST) -> list[int]:
    """Whole numbers from 1 on."""
    found = []
    for word in words:
        if not word.isascii() or not word.isdigit() or len(word) > 9 or not 1 <= int(word) <= most:
            raise NetworkError(where, f"{what}: {word!r:.40}", f"a whole number from 1 to {most}")
        found.append(int(word))
    return found
