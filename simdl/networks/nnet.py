"""Reading `.nnet` files: text of Kyle Julian's format (https://github.com/sisl/NNet), as verification tools use it.

After lines of comment (`//`): layers, inputs, outputs, largest layer; the sizes; a flag; minimum, maximum, mean and
range of each input (mean and range with one more for all outputs); then for each layer the rows of its weights and its
biases.
Hidden layers are ReLU, the last is affine:

    y = net((clip(x, minimum, maximum) - mean) / range) * output range + output mean
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from simdl.declarations import Input
from simdl.errors import NetworkError
from simdl.networks.affine import (
    DEEPEST,
    LARGEST,
    WIDEST,
    Layer,
    Row,
    Scaled,
    Table,
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

Normalisation = Literal["header", "none"] | Mapping[str, Any]
_KEYS = ("low", "high", "mean", "range", "output_mean", "output_range")


@dataclass(frozen=True)
class _Header:
    """What a file says of normalisation; None for no clipping."""

    low: Row | None
    high: Row | None
    mean: Row
    range: Row
    output_mean: Row
    output_range: Row


def load_nnet(path: str | Path, *, normalisation: Normalisation = "header") -> Imported:
    """The network of a `.nnet` file in float64, with its normalisation inside the module.

    normalisation: "header" as the file says; "none" for the network alone; or a dict with some of low, high, mean,
    range (a number, or one for each input), output_mean, output_range (a number, or one for each output): what it does
    not name stays as the file says, None for low or high clips nothing. Headers of published files can be wrong for
    their published use: what the file says, and where it is not what is used, stands in the notes of the result.
    Raises NetworkError for files that are not of the format.
    """
    where = str(path)
    data = read_file(Path(path), LARGEST)
    rows = lines(data, where, ".nnet")
    sizes, header, notes = _read_header(rows, data, where)
    layers = _read_layers(rows, sizes, where)
    used = _chosen(header, normalisation, sizes[0], sizes[-1], where)
    if used is not None:
        notes += _differences(header, used)
    module = _module(layers, used)
    x = samples(sizes[0])
    check = compare(module, _reference(layers, used, x.numpy()), x, "y", where)
    if used is None:
        notes.append("normalisation: none is applied")
    return Imported(where, ".nnet", module, {"x": Input(shape=(sizes[0],))}, {"y": output_of((sizes[-1],))},
                    check=check, notes=tuple(notes))  # fmt: skip


def _words(rows: Iterator[bytes], most: int, where: str, what: str) -> list[str]:
    """The words of the next line, at most so many."""
    line = next(rows, None)
    if line is None:
        raise NetworkError(where, f"the file ends before its {what}", "a whole .nnet file")
    line = line.rstrip(b", ")
    if line.count(b",") >= most:
        raise NetworkError(where, f"{what}: a line of {line.count(b',') + 1} numbers", f"at most {most}")
    return [word.strip().decode() for word in line.split(b",")]


def _read_header(rows: Iterator[bytes], data: bytes, where: str) -> tuple[list[int], _Header, list[str]]:
    first = _words(rows, WIDEST, where, "first line")
    if len(first) != 4:
        raise NetworkError(where, f"{len(first)} numbers in the first line", "layers, inputs, outputs, largest layer")
    depth, inputs, outputs, _ = counts(first, where, "the first line")
    if depth > DEEPEST:
        raise NetworkError(where, f"{depth} layers", f"at most {DEEPEST}")
    sizes = counts(_words(rows, depth + 1, where, "sizes"), where, "sizes")
    if len(sizes) != depth + 1 or sizes[0] != inputs or sizes[-1] != outputs:
        raise NetworkError(where, f"sizes {sizes[:20]}", f"{depth + 1} sizes from {inputs} to {outputs}")
    check_size(sizes, data, where)
    _words(rows, 1, where, "flag")
    low, high, means, ranges = (
        numbers(_words(rows, inputs + outputs, where, what), where, what)
        for what in ("minimums", "maximums", "means", "ranges")
    )
    for what, row in (("minimums", low), ("maximums", high)):
        if len(row) != inputs:
            raise NetworkError(where, f"{len(row)} {what}", f"{inputs}, one for each input")
    for what, row in (("means", means), ("ranges", ranges)):
        if len(row) not in (inputs, inputs + 1, inputs + outputs):
            raise NetworkError(where, f"{len(row)} {what}", f"{inputs + 1}: one for each input, one for the outputs")
    if len(means) != len(ranges) or (ranges == 0).any():
        raise NetworkError(where, "ranges that are zero, or not as many as means", "a range for each mean")
    after = np.zeros(1), np.ones(1)
    notes = []
    if len(means) > inputs:
        after = means[inputs:], ranges[inputs:]
    else:
        notes.append("header: no mean and range of the outputs; they are left as they are")
    header = _Header(low, high, means[:inputs], ranges[:inputs], *after)
    notes.insert(0, "header: " + ", ".join(f"{key} {_shown(getattr(header, key))}" for key in _KEYS))
    wrong = np.flatnonzero((header.mean < low) | (header.mean > high) | (low > high))
    if len(wrong):
        notes.append(f"header: the mean of input {wrong[0]} lies outside of its minimum and maximum")
    return sizes, header, notes


def _read_layers(rows: Iterator[bytes], sizes: list[int], where: str) -> list[Layer]:
    layers = []
    for number, (wide, narrow) in enumerate(pairwise(sizes), 1):
        weight = np.stack([_row(rows, wide, where, f"weights of layer {number}") for _ in range(narrow)])
        bias = np.concatenate([_row(rows, 1, where, f"biases of layer {number}") for _ in range(narrow)])
        layers.append(Layer(weight, bias, "relu" if number < len(sizes) - 1 else "affine"))
    if next(rows, None) is not None:
        raise NetworkError(where, "further lines after the last layer", "the end of the file")
    return layers


def _row(rows: Iterator[bytes], width: int, where: str, what: str) -> Row:
    words = _words(rows, width, where, what)
    if len(words) != width:
        raise NetworkError(where, f"{what}: a line of {len(words)} numbers", f"{width}")
    return numbers(words, where, what)


def _chosen(header: _Header, normalisation: Normalisation, inputs: int, outputs: int, where: str) -> _Header | None:
    if normalisation == "header":
        return header
    if normalisation == "none":
        return None
    if not isinstance(normalisation, Mapping):
        raise NetworkError(where, f"normalisation={normalisation!r:.60}", '"header", "none" or a dict', names=_KEYS)
    unknown = [key for key in normalisation if key not in _KEYS]
    if unknown:
        raise NetworkError(where, f"normalisation has no {unknown[0]!r:.60}", "one of its names", names=_KEYS,
                           wrong=str(unknown[0]))  # fmt: skip
    values: dict[str, Any] = {key: getattr(header, key) for key in _KEYS}
    for key, value in normalisation.items():
        if value is None and key in ("low", "high"):
            values[key] = None
            continue
        size = outputs if key.startswith("output") else inputs
        try:
            row = np.broadcast_to(np.asarray(value, dtype=np.float64), (size,))
        except (TypeError, ValueError, OverflowError):
            raise NetworkError(where, f"normalisation {key}={value!r:.60}", f"a number, or {size} of them") from None
        if not np.isfinite(row).all():
            raise NetworkError(where, f"normalisation {key}={value!r:.60}", "finite numbers",
                               "None clips nothing" if key in ("low", "high") else "")  # fmt: skip
        if key.endswith("range") and (row == 0).any():
            raise NetworkError(where, f"normalisation {key} holds 0", "a range to divide by")
        values[key] = row
    return _Header(**values)


def _differences(header: _Header, used: _Header) -> list[str]:
    """Where the normalisation in use is not the header's."""
    notes = []
    for key in _KEYS:
        said, taken = getattr(header, key), getattr(used, key)
        if taken is None or not np.array_equal(np.broadcast_to(said, np.shape(taken)), taken):
            text = "none" if taken is None else _shown(taken)
            notes.append(f"MISMATCH with the header: {key} {text} is used, the file says {_shown(said)}")
    return notes


def _module(layers: Sequence[Layer], used: _Header | None) -> torch.nn.Module:
    network = sequential(layers)
    if used is None:
        return network
    size = len(layers[-1].bias)
    clips = used.low is not None or used.high is not None
    low = used.low if used.low is not None else np.full(len(used.mean), -np.inf)
    high = used.high if used.high is not None else np.full(len(used.mean), np.inf)
    return Scaled(network, low=low if clips else None, high=high if clips else None, mean=used.mean, range=used.range,
                  gain=np.broadcast_to(used.output_range, (size,)), shift=np.broadcast_to(used.output_mean, (size,)),
                  ).eval()  # fmt: skip


def _reference(layers: Sequence[Layer], used: _Header | None, x: Table) -> Table:
    if used is None:
        return evaluate(layers, x)
    low = -np.inf if used.low is None else used.low
    high = np.inf if used.high is None else used.high
    row = (np.clip(x, low, high) - used.mean) / used.range
    return evaluate(layers, row) * used.output_range + used.output_mean


def _shown(row: Row) -> str:
    """A row of numbers: one where all are equal, else the first ones."""
    values = np.atleast_1d(row)
    if len(values) == 0 or (values == values[0]).all():
        return f"{values[0]:g}"
    text = ", ".join(f"{value:g}" for value in values[:8])
    return f"({text}{', …' if len(values) > 8 else ''})"
