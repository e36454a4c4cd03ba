"""Ports and the formulas that operators on them build.

A formula is a tree; nothing is computed until a model runs. `==` on ports is identity, and neither ports nor
formulas have a truth value: they are signals, not numbers.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from simdl.errors import ModelError

if TYPE_CHECKING:
    from simdl.declared import Declared

Number = float | int | bool
Kind = Literal["input", "inputs", "output", "state", "param", "crossing", "noise", "missing"]

SYMBOLS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "truediv": "/",
    "pow": "**",
    "mod": "%",
    "matmul": "@",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "and": "&",
    "or": "|",
}
_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    **{name: getattr(operator, name) for name in ("add", "sub", "mul", "truediv", "pow", "mod", "neg")},
    **{name: getattr(operator, name) for name in ("lt", "le", "gt", "ge")},
    **{
        name: getattr(torch, name)
        for name in (
            "abs sin cos tan asin acos atan atan2 sinh cosh tanh exp log sqrt floor ceil round sign where minimum "
            "maximum clamp sigmoid relu hypot square"
        ).split()
    },
    "and": torch.logical_and,
    "or": torch.logical_or,
    "not": torch.logical_not,
    "matmul": lambda a, b: _product(a, b),
    "getitem": lambda x, i: x[(slice(None), *i)] if isinstance(i, tuple) else x[:, i],
    "stack": lambda *xs: torch.stack(xs, dim=1),
}


class Signal:
    """What can be wired: a port, or a formula over ports. Use `sim.run[...]` or a Run to read values."""

    __slots__ = ()
    __array_ufunc__ = None

    def __add__(self, other: Operand) -> Formula:
        return Formula("add", self, other)

    def __radd__(self, other: Operand) -> Formula:
        return Formula("add", other, self)

    def __sub__(self, other: Operand) -> Formula:
        return Formula("sub", self, other)

    def __rsub__(self, other: Operand) -> Formula:
        return Formula("sub", other, self)

    def __mul__(self, other: Operand) -> Formula:
        return Formula("mul", self, other)

    def __rmul__(self, other: Operand) -> Formula:
        return Formula("mul", other, self)

    def __truediv__(self, other: Operand) -> Formula:
        return Formula("truediv", self, other)

    def __rtruediv__(self, other: Operand) -> Formula:
        return Formula("truediv", other, self)

    def __pow__(self, other: Operand) -> Formula:
        return Formula("pow", self, other)

    def __rpow__(self, other: Operand) -> Formula:
        return Formula("pow", other, self)

    def __mod__(self, other: Operand) -> Formula:
        return Formula("mod", self, other)

    def __matmul__(self, other: Operand) -> Formula:
        return Formula("matmul", self, other)  # noqa: E704

    def __rmatmul__(self, other: Operand) -> Formula:
        return Formula("matmul", other, self)  # noqa: E704

    def __neg__(self) -> Formula:
        return Formula("neg", self)

    def __abs__(self) -> Formula:
        return Formula("abs", self)

    def __lt__(self, other: Operand) -> Formula:
        return Formula("lt", self, other)

    def __le__(self, other: Operand) -> Formula:
        return Formula("le", self, other)

    def __gt__(self, other: Operand) -> Formula:
        return Formula("gt", self, other)

    def __ge__(self, other: Operand) -> Formula:
        return Formula("ge", self, other)

    def __and__(self, other: Operand) -> Formula:
        return Formula("and", self, other)

    def __or__(self, other: Operand) -> Formula:
        return Formula("or", self, other)

    def __invert__(self) -> Formula:
        return Formula("not", self)

    def clamp(self, low: Number, high: Number) -> Formula:
        """The signal, kept between two limits."""
        return Formula("clamp", self, low, high)

    def __getitem__(self, index: int | slice | tuple[int | slice, ...]) -> Formula:
        return Formula("getitem", self, index)

    def __iter__(self) -> Iterator[Formula]:
        raise TypeError(f"{self} is a signal of unknown length: index it, as in signal[0]")

    def __bool__(self) -> bool:
        raise TypeError(
            f"{self} has no truth value while the model is built: it is a signal, not a number. "
            "Combine conditions with &, | and ~, choose values with torch.where(condition, a, b), "
            "and write a < b, b < c as (a < b) & (b < c)"
        )

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Formula:
        name = getattr(function, "__name__", str(function)).strip("_")
        name = {"rsub": "sub", "multiply": "mul", "div": "truediv", "min": "minimum", "max": "maximum"}.get(name, name)
        if name not in _FUNCTIONS or kwargs:
            raise ModelError(
                "formula",
                f"torch.{name} on a signal",
                "one of the functions below",
                "put the computation into a block",
                sorted(_FUNCTIONS),
                name,
            )
        return Formula(name, *args)


class Port(Signal):
    """A named place of a block or diagram: an input, output, state, parameter or crossing."""

    __slots__ = ("kind", "name", "owner")

    def __init__(self, owner: Declared, name: str, kind: Kind) -> None:
        self.owner, self.name, self.kind = owner, name, kind

    @property
    def path(self) -> str:
        """The path below the root diagram, such as "pi.u"; a port of the root is its bare name."""
        prefix = self.owner.path
        return f"{prefix}.{self.name}" if prefix else self.name

    @property
    def unit(self) -> str:
        return str(getattr(type(self.owner).declared().get(self.name), "unit", ""))

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the values 0, 1, … of an enumeration; empty for a number."""
        return tuple(getattr(type(self.owner).declared().get(self.name), "labels", ()))

    def is_(self, label: str) -> Formula:
        """Whether an enumeration has the value of this name. (`==` on ports is identity.) Raises ModelError for a port
        without names and for a name it does not have."""
        if label not in self.labels:
            fix = "" if self.labels else f"declare it: {self.name} = Output(labels=(...))"
            raise ModelError(f"{self}.is_", f"{label!r}", "one of its labels", fix, self.labels, str(label))
        code = self.labels.index(label)
        return (self > code - 0.5) & (self < code + 0.5)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Port) and self.owner is other.owner and self.name == other.name

    def __hash__(self) -> int:
        return hash((id(self.owner), self.name))

    def __repr__(self) -> str:
        return f"{type(self.owner).__name__}.{self.name}" if not self.owner.path else self.path


class Formula(Signal):
    """An operation on signals and numbers, evaluated element by element with lanes first."""

    __slots__ = ("args", "op")

    def __init__(self, op: str, *args: Any) -> None:
        self.op, self.args = op, args

    def ports(self) -> tuple[Port, ...]:
        """The ports read, each once, in order of first appearance."""
        return tuple(dict.fromkeys(ports_of(*self.args)))

    def evaluate(self, read: Callable[[Port], Tensor]) -> Tensor:
        """The value (lanes, *shape), with `read(port)` giving the values of its ports."""
        values = [
            read(arg) if isinstance(arg, Port) else arg.evaluate(read) if isinstance(arg, Formula) else arg
            for arg in self.args
        ]
        signals = [isinstance(arg, Signal) for arg in self.args]
        if self.op == "matmul":  # numbers have no lane axis yet
            pairs = zip(values, signals, strict=True)
            values = [value if signal else torch.as_tensor(value).unsqueeze(0) for value, signal in pairs]
        elif self.op not in ("stack", "getitem"):  # a scalar (lanes,) goes with every element of a vector
            rank = max((v.ndim for v, signal in zip(values, signals, strict=True) if signal), default=1)
            values = [
                v.reshape(-1, *(1,) * (rank - 1)) if signal and v.ndim == 1 else v
                for v, signal in zip(values, signals, strict=True)
            ]
        if not any(isinstance(value, Tensor) for value in values):
            values[0] = torch.as_tensor(values[0])
        if self.op in ("minimum", "maximum", "atan2", "and", "or", "hypot"):
            like = next(value for value in values if isinstance(value, Tensor))
            values = [v if isinstance(v, Tensor) else torch.as_tensor(v, dtype=like.dtype) for v in values]
        return _FUNCTIONS[self.op](*values)

    def __repr__(self) -> str:
        if self.op in SYMBOLS:
            return f"({self.args[0]} {SYMBOLS[self.op]} {self.args[1]})"
        if self.op == "neg":
            return f"-{self.args[0]}"
        if self.op == "getitem":
            return f"{self.args[0]}[{self.args[1]}]"
        return f"{self.op}({', '.join(map(str, self.args))})"


def ports_of(*values: object) -> Iterator[Port]:
    """The ports that wired values read; numbers and blocks read none."""
    for one in values:
        if isinstance(one, Port):
            yield one
        elif isinstance(one, Formula):
            yield from one.ports()


def _product(a: Tensor, b: Tensor) -> Tensor:
    """The product in every lane of vectors (lanes, n) and matrices (lanes, m, n)."""
    rows = a.unsqueeze(1) if a.ndim == 2 else a
    columns = b.unsqueeze(2) if b.ndim == 2 else b
    result = rows @ columns
    result = result.squeeze(1) if a.ndim == 2 else result
    return result.squeeze(-1) if b.ndim == 2 else result


Operand = Signal | Number | Tensor
"""What an operator on a signal takes."""


def stack(*signals: Operand) -> Formula:
    """One vector signal (lanes, n) from n scalar ones."""
    return Formula("stack", *signals)


def where(condition: Signal, a: Operand, b: Operand) -> Formula:
    """a where the condition is true, b elsewhere, lane by lane; `torch.where`, known to type checkers.

    >>> from simdl import Diagram, Output, simulate
    >>> from simdl.blocks import Ramp
    >>> class Late(Diagram):
    ...     y = Output()
    ...     def __init__(self):
    ...         self.ramp = Ramp()
    ...         self.y = where(self.ramp.y > 1.5, 10.0, self.ramp.y)
    >>> simulate(Late(), 2, every=1)["y"].values
    tensor([[ 0.,  1., 10.]], dtype=torch.float64)
    """
    return Formula("where", condition, a, b)
