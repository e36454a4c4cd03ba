"""The named ports of a network, and the way from their values to what the module takes and back."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.declarations import RESERVED, Input, Output, Shape
from simdl.errors import NetworkError

if TYPE_CHECKING:
    from simdl.networks.feature import Feature

Names = Sequence[str] | str
Ins = Names | Mapping[str, Input]
Outs = Names | Mapping[str, Output]
Scale = tuple[Tensor, Tensor] | None  # mean and standard deviation in float64; None for the identity


def inputs_of(given: Ins | None, where: str) -> dict[str, Input]:
    """Input declarations by name: a name alone is a scalar, or of any shape when it is the only one."""
    if isinstance(given, Mapping):
        _check_names(given, Input, "inputs", where)
        return {name: copy.copy(one) for name, one in given.items()}
    names = _names(given, "inputs", where)
    return {name: Input(shape=() if len(names) > 1 else None) for name in names}


def outputs_of(given: Outs | None, where: str) -> dict[str, Output]:
    """Output declarations by name."""
    if isinstance(given, Mapping):
        _check_names(given, Output, "outputs", where)
        return {name: copy.copy(one) for name, one in given.items()}
    return {name: Output() for name in _names(given, "outputs", where)}


def _names(given: Names | None, what: str, where: str) -> list[str]:
    names = [given] if isinstance(given, str) else list(given or ())
    for name in names:
        if not isinstance(name, str):
            raise NetworkError(where, f"{what} holds {name!r}", f'names, as in {what}=("voltage", "current")')
    for name in names:
        if names.count(name) > 1:
            raise NetworkError(where, f"{what} holds {name!r} twice", "one name each", names=names)
    return names


def _check_names(given: Mapping[str, Any], kind: type, what: str, where: str) -> None:
    for name, one in given.items():
        if not isinstance(one, kind):
            fix = f"{what}={{{name!r}: {kind.__name__}()}}"
            raise NetworkError(f"{where}.{name}", f"{one!r}", f"{kind.__name__}(...)", fix)


def check_free(names: Iterable[str], taken: type, where: str) -> None:
    """Refuse port names that are no names, are reserved, or are attributes of the class itself."""
    seen: set[str] = set()
    for name in names:
        found = ""
        if not name.isidentifier() or name.startswith("_"):
            found = "is no name"
        elif name in RESERVED or (hasattr(taken, name) and name not in taken.declared()):  # type: ignore[attr-defined]
            found = "is the name of something else"
        elif name in seen:
            found = "names two ports"
        if found:
            raise NetworkError(f"{where}.{name}", f"{name!r} {found}", "another name for this port")
        seen.add(name)


def is_array(shape: Shape | None) -> bool:
    return shape is not None and len(shape) > 1


def sizes_of(declared: Mapping[str, Input]) -> list[int] | None:
    """How many features each input holds; None while a shape is open."""
    sizes = []
    for one in declared.values():
        shape = () if one.shape is None and len(declared) > 1 else one.shape
        if shape is None:
            return None
        size = 1
        for n in shape:
            size *= n
        sizes.append(size)
    return sizes


def stacked(values: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """One row of features a lane (lanes, features), from values (lanes,) and (lanes, n) in order."""
    values = [value if value.dtype == dtype else value.to(dtype) for value in values]
    if len(values) == 1:
        return values[0] if values[0].ndim > 1 else values[0].unsqueeze(-1)
    if all(value.ndim == 1 for value in values):
        return torch.stack(list(values), -1)
    return torch.cat([v.unsqueeze(-1) if v.ndim == 1 else v.flatten(1) for v in values], -1)


def run_dtype(values: Sequence[Tensor]) -> torch.dtype:
    """The float type of a run, as its signals show it."""
    return next((value.dtype for value in values if value.is_floating_point()), torch.float64)


class Scaling:
    """Normalisation of inputs and its inverse for outputs, as a model card states it; identity without a card."""

    def __init__(self, inputs: Sequence[Feature | None], outputs: Sequence[Feature | None]) -> None:
        self.inputs = [_scale(feature) for feature in inputs]
        self.outputs = [_scale(feature) for feature in outputs]
        self._rows: dict[Any, tuple[Tensor, Tensor]] = {}

    def normalised(self, row: Tensor, sizes: Sequence[int]) -> Tensor:
        """Of stacked features (lanes, …, features), where input i holds sizes[i] of them."""
        if not any(self.inputs):
            return row
        key = (tuple(sizes), row.dtype, row.device)
        if key not in self._rows:
            mean = [torch.zeros(n) if s is None else s[0].expand(n) for s, n in zip(self.inputs, sizes)]
            deviation = [torch.ones(n) if s is None else s[1].expand(n) for s, n in zip(self.inputs, sizes)]
            self._rows[key] = (torch.cat(mean).to(row), torch.cat(deviation).to(row))
        mean_row, deviation_row = self._rows[key]
        return (row - mean_row) / deviation_row

    def input(self, index: int, value: Tensor) -> Tensor:
        """One input by itself; a list of statistics belongs to the first axis of an image, its channels."""
        scale = self.inputs[index]
        if scale is None:
            return value
        mean, deviation = (_like(part, value) for part in scale)
        return (value - mean) / deviation

    def output(self, index: int, value: Tensor) -> Tensor:
        scale = self.outputs[index]
        if scale is None:
            return value
        mean, deviation = (_like(part, value) for part in scale)
        return value * deviation + mean


def _scale(feature: Feature | None) -> Scale:
    if feature is None or (feature.mean == 0.0 and feature.std == 1.0):
        return None
    mean = torch.as_tensor(feature.mean, dtype=torch.float64)
    deviation = torch.as_tensor(feature.std, dtype=torch.float64)
    return mean + torch.zeros_like(deviation), deviation + torch.zeros_like(mean)


def _like(statistic: Tensor, value: Tensor) -> Tensor:
    statistic = statistic.to(value)
    if statistic.ndim == 1 and value.ndim > 2:
        return statistic.reshape(-1, *(1,) * (value.ndim - 2))
    return statistic


def flat_result(result: Any, outputs: Sequence[str], where: str) -> tuple[Tensor, ...]:
    """The tensors that a module returned: one, a tuple in the order of the outputs, or a dict by their names."""
    if isinstance(result, Tensor):
        return (result,)
    if isinstance(result, Mapping):
        missing = [name for name in outputs if name not in result]
        if missing:
            raise NetworkError(where, f"the module returned a dict without {', '.join(missing)}", "its outputs by name",
                               names=[str(key) for key in result], wrong=missing[0])  # fmt: skip
        result = [result[name] for name in outputs]
    if isinstance(result, tuple | list) and result and all(isinstance(one, Tensor) for one in result):
        return tuple(result)
    raise NetworkError(where, f"the module returned {type(result).__name__}", "a tensor, a tuple or a dict of tensors",
                       "a module with a state that it takes and returns is Recurrent(...)")  # fmt: skip


def split_result(
    tensors: tuple[Tensor, ...], outputs: Mapping[str, Output], lanes: Any, where: str
) -> list[Tensor]:  # fmt: skip
    """One value (lanes, *shape) for each output."""
    names = list(outputs)
    shapes = [one.shape for one in outputs.values()]
    if len(tensors) == 1 and len(names) > 1:
        row = tensors[0]
        widths = [_size(shape) for shape in shapes]
        if row.ndim != 2 or row.shape[1] != sum(widths):
            found = f"the module returned {_shape_text(row)} for {len(names)} outputs"
            expected = f"(lanes, {sum(widths)}): one column for each of {', '.join(names)}"
            raise NetworkError(where, found, expected, _columns_fix(row, names))
        columns = row.unbind(1) if all(width == 1 for width in widths) else torch.split(row, widths, 1)
        tensors = tuple(columns)
    if len(tensors) != len(names):
        found = f"the module returned {len(tensors)} tensors for {len(names)} outputs"
        raise NetworkError(where, found, f"one for each of {', '.join(names)}", 'outputs=("a", "b", ...)')
    values = []
    for name, value, shape in zip(names, tensors, shapes):
        if value.ndim == 0 or value.shape[0] != lanes:
            found = f"the module returned shape {tuple(value.shape)} for {lanes} lanes"
            fix = "remove .squeeze() and means over the batch"
            raise NetworkError(f"{where}.{name}", found, "a row for each lane, lanes first", fix)
        if shape is None and value.ndim == 2 and value.shape[1] == 1:
            shape = ()
        if shape is not None and tuple(value.shape[1:]) != shape:
            if _size(shape) != _size(tuple(value.shape[1:])):
                raise NetworkError(f"{where}.{name}", f"the module returned {_shape_text(value)}",
                                   f"(lanes{''.join(f', {n}' for n in shape)})",
                                   f"{name} = Output(shape={tuple(value.shape[1:])}), or name each column")  # fmt: skip
            value = value.reshape(value.shape[0], *shape)
        values.append(value)
    return values


def _size(shape: Shape | None) -> int:
    size = 1
    for n in shape or ():
        size *= n
    return size


def _shape_text(value: Tensor) -> str:
    return f"(lanes{''.join(f', {n}' for n in value.shape[1:])})" if value.ndim else "one number"


def _columns_fix(row: Tensor, names: list[str]) -> str:
    if row.ndim != 2:
        return ""
    wanted = [*names, *(f"y{i}" for i in range(len(names), row.shape[1]))][: row.shape[1]]
    return f"outputs=({', '.join(repr(name) for name in wanted)}{',' if len(wanted) == 1 else ''})"


def untaken(name: str, taken: set[str]) -> str:
    """The name, with a number from 2 on where it is taken; what is returned is taken from then on."""
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name}{number}"
    taken.add(unique)
    return unique
