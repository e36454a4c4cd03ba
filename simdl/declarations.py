"""What a block declares: inputs, outputs, parameters, states and noise.

Each declaration is a descriptor: on the class it is itself, on an instance a Port; assigning to an input wires it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
import torch
from torch import Tensor

from simdl.errors import ModelError
from simdl.port import Kind, Number, Port, Signal, ports_of

if TYPE_CHECKING:
    from simdl.declared import Declared

Shape = tuple[int, ...]
if TYPE_CHECKING:
    from numpy.typing import NDArray

    # Not Sequence[Any]: text is a sequence too.
    Array = Tensor | NDArray[Any] | Sequence[float] | Sequence[Sequence[float]] | Sequence[Sequence[Sequence[float]]]
    Value = Number | Array | Signal
DTYPES: dict[str, torch.dtype] = {
    "bool": torch.bool,
    "uint8": torch.uint8,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "int": torch.int64,
    "float32": torch.float32,
    "float64": torch.float64,
}
RESERVED = frozenset(
    "self t dt next path period rate offset latency stream name declared methods settings clock latency_ns drive "
    "parent label wires faults conditions built children describe leaves modules parameters state_dict "
    "load_state_dict to lane_settings lane_failures hashed remarks".split()
)


class Declaration:
    """A named thing of a block's class, in the order of its declaration."""

    kind: Kind
    name = ""
    unit = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or name

    def check_name(self, owner: str, name: str) -> None:
        """Raise ModelError for a reserved or doubled name. (Python 3.11 hides what `__set_name__` raises.)"""
        if self.name != name:
            raise ModelError(owner, f"{name!r} and {self.name!r} are one declaration", "one name each")
        if name in RESERVED:
            raise ModelError(owner, f"{name!r} is a reserved name", "another name", names=sorted(RESERVED))
        if name.startswith("_") or not name.isidentifier():
            raise ModelError(owner, f"{name!r} is declared", "a public name without a leading underscore")

    def port(self, block: Declared) -> Port:
        return Port(block, self.name, self.kind)

    def __repr__(self) -> str:
        unit = f" [{self.unit}]" if self.unit else ""
        return f"{type(self).__name__}({self.name}{unit})"


class _Readable(Declaration):
    """A declaration whose instance attribute is a Port."""

    @overload
    def __get__(self, block: None, owner: type) -> Self: ...
    @overload
    def __get__(self, block: Declared, owner: type) -> Port: ...
    def __get__(self, block: Declared | None, owner: type) -> Self | Port:
        return self if block is None else self.port(block)


class Input(_Readable):
    """An input. Assigning a port, a formula or a number to it on an instance drives it, once.

    shape: per-lane shape, taken from what drives it when not given; unit: for people and for slots;
    dtype: "bool", "uint8", "int64", … (the run's float type when not given); default: the value when nothing drives it.
    """

    kind: Kind = "input"

    def __init__(
        self,
        shape: Shape | None = None,
        *,
        unit: str = "",
        dtype: str | None = None,
        default: Number | None = None,
        doc: str = "",
    ) -> None:
        self.shape, self.unit, self.dtype, self.default, self.doc = shape, unit, _dtype(dtype), default, doc

    def __set__(self, block: Declared, source: Signal | Number | Tensor) -> None:
        block.drive(self.name, source)


class Inputs(_Readable):
    """Any number of inputs under one name: assign a list of signals; the method gets a tuple of tensors."""

    kind: Kind = "inputs"

    def __init__(self, shape: Shape | None = None, *, unit: str = "", dtype: str | None = None, doc: str = "") -> None:
        self.shape, self.unit, self.dtype, self.doc = shape, unit, _dtype(dtype), doc

    def __set__(self, block: Declared, sources: Iterable[Signal | Number | Tensor]) -> None:
        block.drive(self.name, tuple(sources))


class Output(_Readable):
    """An output that a tick or an output method computes; on a diagram, assign what it shows.

    initial: its value before the first tick or release, and again after a lane reset; labels: the names of its values
    0, 1, …, which makes it an enumeration of type int64: traces, tables and plots show the names.
    """

    kind: Kind = "output"

    def __init__(
        self,
        shape: Shape | None = None,
        *,
        unit: str = "",
        dtype: str | None = None,
        initial: Number | Array = 0.0,
        labels: Sequence[str] = (),
        doc: str = "",
    ) -> None:
        self.labels = _labels(labels)
        dtype = "int64" if labels and dtype is None else dtype
        self.shape, self.unit, self.dtype, self.initial, self.doc = shape, unit, _dtype(dtype), initial, doc
        if labels and (self.dtype is None or self.dtype.is_floating_point or self.dtype == torch.bool):
            raise ModelError("Output", f"dtype={dtype!r} with labels", "a whole number", 'dtype="int64"')

    def check_name(self, owner: str, name: str) -> None:
        super().check_name(owner, name)
        check_initial(f"{owner}.{name}", self.initial, self.dtype)

    def __set__(self, diagram: Declared, source: Signal | Number | Tensor) -> None:
        diagram.drive(self.name, source)


class State(_Readable):
    """A state with its initial value; an array gives a state its shape.

    With a derivative it is continuous; in a block with a period it changes at ticks; otherwise it is a mode, changed
    only by resets, triggers and hits.
    """

    kind: Kind = "state"
    keeps = ""  # what is wrong when it is not finite, where that is not the state itself

    def __init__(
        self,
        initial: Number | Array = 0.0,
        *,
        shape: Shape | None = None,
        unit: str = "",
        dtype: str | None = None,
        doc: str = "",
    ) -> None:
        self.initial, self.shape, self.unit, self.dtype, self.doc = initial, shape, unit, _dtype(dtype), doc

    def check_name(self, owner: str, name: str) -> None:
        super().check_name(owner, name)
        check_initial(f"{owner}.{name}", self.initial, self.dtype)


class Noise(_Readable):
    """A noise source, read in a tick: standard normal, or uniform in (0, 1)."""

    kind: Kind = "noise"

    def __init__(self, shape: Shape = (), *, distribution: str = "normal", doc: str = "") -> None:
        if distribution not in ("normal", "uniform"):
            raise ModelError("Noise", f"distribution={distribution!r}", "one of", names=("normal", "uniform"))
        self.shape, self.distribution, self.doc = shape, distribution, doc


class Param(Declaration):
    """A parameter: a number or array, one per lane if set so. On an instance it is a reference for `set=` and spaces.

    low, high: limits checked when it is set.
    """

    kind: Kind = "param"

    def __init__(
        self,
        value: Value | None = None,
        *,
        unit: str = "",
        low: float | None = None,
        high: float | None = None,
        shape: Shape | None = None,
        dtype: str | None = None,
        doc: str = "",
    ) -> None:
        self.value, self.unit, self.low, self.high, self.doc = value, unit, low, high, doc
        self.shape, self.dtype = shape, _dtype(dtype)

    @overload
    def __get__(self, block: None, owner: type) -> Self: ...
    @overload
    def __get__(self, block: Declared, owner: type) -> Port: ...
    def __get__(self, block: Declared | None, owner: type) -> Self | Port:
        return self if block is None else self.port(block)

    def __set__(self, block: Declared, value: Value) -> None:
        self.check(value, f"{block}.{self.name}")
        block.settings[self.name] = value

    def check(self, value: Any, where: str) -> None:
        """Raise ModelError for what is not a number, an array of numbers or a formula of parameters, within limits."""
        if isinstance(value, Signal):
            if any(port.kind != "param" for port in ports_of(value)):
                raise ModelError(
                    where,
                    f"{value} is a signal",
                    "a number, or a parameter of a diagram",
                    "a signal is wired to an input, not to a parameter",
                )
            return
        try:
            tensor = as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            raise ModelError(where, f"{value!r}", "a number or an array of numbers") from None
        if tensor.is_floating_point() and bool(tensor.isnan().any()):
            raise ModelError(where, "NaN", "a number")
        if found := misfit(tensor, self.dtype):
            raise ModelError(where, *found)
        if self.low is not None and bool((tensor < self.low).any()):
            raise ModelError(where, f"{_short(value)}", f"at least {self.low:g} {self.unit}".rstrip())
        if self.high is not None and bool((tensor > self.high).any()):
            raise ModelError(where, f"{_short(value)}", f"at most {self.high:g} {self.unit}".rstrip())


def as_tensor(value: Any) -> Tensor:
    """A number or array as a tensor: Python floats stay float64, where torch would make them float32."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, list | tuple) and any(isinstance(item, Tensor) for item in value):
        return torch.stack([as_tensor(item) for item in value])
    return torch.as_tensor(np.asarray(value))


def misfit(values: Tensor, dtype: torch.dtype | None) -> tuple[str, str] | None:
    """A number that a type cannot hold, and what it holds; None when all fit.

    Floats are rounded to the precision of a float type: that is no misfit.

    >>> misfit(torch.tensor([2.0, 2.5]), torch.int64)
    ('2.5', 'a whole number (int64)')
    """
    if dtype is None or dtype.is_floating_point or values.dtype == dtype:
        return None
    wrong = values[values.to(dtype).to(values.dtype) != values]
    if not wrong.numel():
        return None
    name = str(dtype).removeprefix("torch.")
    limits = "true or false" if dtype == torch.bool else f"a whole number ({name})"
    return f"{wrong[0].item():.12g}", limits


def check_initial(where: str, initial: Any, dtype: torch.dtype | None) -> None:
    """Raise ModelError for an initial value that a type declared beside it cannot hold."""
    if dtype is None or isinstance(initial, Signal):
        return
    try:
        found = misfit(as_tensor(initial), dtype)
    except (TypeError, ValueError, RuntimeError):
        raise ModelError(where, f"initial={_short(initial)}", "a number or an array of numbers") from None
    if found:
        raise ModelError(where, f"initial={found[0]}", found[1], "another initial value, or dtype=")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 80 else text[:77] + "..."


def _labels(given: Sequence[str]) -> tuple[str, ...]:
    names = tuple(given)
    if isinstance(given, str) or not all(isinstance(name, str) and name for name in names):
        raise ModelError("Output", f"labels={given!r}", 'names, as in labels=("ok", "scratch")')
    if len(set(names)) < len(names):
        raise ModelError("Output", f"labels={given!r}", "one name each")
    return names


def _dtype(name: str | None) -> torch.dtype | None:
    if name is None or name == "float":
        return None
    if name not in DTYPES:
        raise ModelError("dtype", f"{name!r}", "a type of a port", names=DTYPES, wrong=str(name))
    return DTYPES[name]
