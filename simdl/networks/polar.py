"""Reading `.polar` files: text of the closed-loop verification tools POLAR and JuliaReach (ARCH-COMP, AINNCS).

One number or word a line: inputs, outputs, hidden layers, the size of each, an activation for each layer and for the
output; then layer by layer for each neuron its weights and its bias; at last an offset and a scale:

    u = (net(x) - offset) * scale
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from simdl.declarations import Input
from simdl.errors import NetworkError
from simdl.networks.affine import (
    ACTIVATIONS,
    DEEPEST,
    LARGEST,
    Layer,
    Row,
    Scaled,
    check_size,
    compare,
    counts,
    evaluate,
    lines,
    numbers,
    samples,
    sequential,
)
from simdl.networks.imported import Imported, output_of
from simdl.networks.weights import read_file

LONGEST = 2**20  # bytes of a line
_NAMES = {"relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "affine": "affine", "linear": "affine"}


def load_polar(path: str | Path, *, offset: float | None = None, scale: float | None = None) -> Imported:
    """The network of a `.polar` file in float64, with u = (net - offset) * scale inside the module.

    offset, scale: instead of those of the file, which the notes of the result show either way.
    Raises NetworkError for files that are not of the format.
    """
    where = str(path)
    layers, written = _read(read_file(Path(path), LARGEST), where)
    said = {"offset": float(written[0]), "scale": float(written[1])}
    used = dict(said)
    notes = [f"file: offset {said['offset']:g}, scale {said['scale']:g}"]
    for key, value in (("offset", offset), ("scale", scale)):
        if value is not None:
            used[key] = _number(key, value, where)
            if used[key] != said[key]:
                notes.append(f"MISMATCH with the file: {key} {used[key]:g} is used, the file says {said[key]:g}")
    inputs, outputs = layers[0].weight.shape[1], len(layers[-1].bias)
    network: nn.Module = sequential(layers)
    if used != {"offset": 0.0, "scale": 1.0}:
        gain, shift = np.full(outputs, used["scale"]), np.full(outputs, -used["offset"] * used["scale"])
        network = Scaled(network, gain=gain, shift=shift).eval()
    x = samples(inputs)
    reference = (evaluate(layers, x.numpy()) - used["offset"]) * used["scale"]
    return Imported(where, ".polar", network, {"x": Input(shape=(inputs,))}, {"u": output_of((outputs,))},
                    check=compare(network, reference, x, "u", where), notes=tuple(notes))  # fmt: skip


def _number(key: str, value: Any, where: str) -> float:
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last of tensors of several numbers
        number = math.nan
    if not math.isfinite(number):
        raise NetworkError(where, f"{key}={value!r:.60}", "a finite number")
    if key == "scale" and number == 0:
        raise NetworkError(where, f"{key}={value!r:.60}", "a number that is not 0",
                           "leave scale= out for that of the file")  # fmt: skip
    return number


def _read(data: bytes, where: str) -> tuple[list[Layer], Row]:
    words = _words(data, where)

    def take(count: int, what: str) -> list[str]:
        found = list(islice(words, count))
        if len(found) < count:
            raise NetworkError(where, f"the file ends within its {what}", f"{count} of them", "a whole .polar file")
        return found

    inputs, outputs = counts(take(2, "sizes"), where, "inputs and outputs")
    (hidden,) = take(1, "sizes")
    depth = 0 if hidden == "0" else counts([hidden], where, "hidden layers", DEEPEST)[0]
    sizes = [inputs, *counts(take(depth, "sizes"), where, "sizes"), outputs]
    activations = take(depth + 1, "activations")
    for name in activations:
        if name.lower() not in _NAMES:
            raise NetworkError(where, f"the activation {name!r:.40}", "a known one", names=ACTIVATIONS, wrong=name)
    check_size(sizes, data, where)
    layers = []
    for (wide, narrow), name in zip(pairwise(sizes), activations):
        table = np.stack([numbers(take(wide + 1, "weights"), where, "weights") for _ in range(narrow)])
        layers.append(Layer(table[:, :-1], table[:, -1], _NAMES[name.lower()]))
    written = numbers(take(2, "offset and scale"), where, "offset and scale")
    if next(words, None) is not None:
        raise NetworkError(where, f"further numbers after those of the sizes {sizes[:20]}", "the end of the file")
    return layers, written


def _words(data: bytes, where: str) -> Iterator[str]:
    for line in lines(data, where, ".polar"):
        if len(line) > LONGEST:
            raise NetworkError(where, f"a line of {len(line)} bytes", f"at most {LONGEST}")
        yield from line.decode().split()
