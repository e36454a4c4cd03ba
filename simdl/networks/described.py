"""What simdl writes into files that it exports, so that they are opened as they were: ports, units, states, rate."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Literal, Self

import torch
from pydantic import Field, ValidationError, field_validator, model_validator
from torch import Tensor

from simdl.clock import SECOND, Clock
from simdl.data.jsonl import loads
from simdl.declarations import Input, Output, State
from simdl.errors import NetworkError
from simdl.networks.feature import Number, Strict

KEY, NEXT = "simdl", "_next"  # of the metadata; what the name of a state after the tick ends in
LARGEST = 16 * 2**20  # bytes of JSON
LARGEST_STATE = 2**22  # numbers
Kind = Literal["float32", "float64", "int64", "int32", "uint8", "bool"]


class DescribedPort(Strict):
    """An input, output or state.

    initial: of a state, one lane's value as nested lists; low, high: of an input, the box of its card.
    """

    name: str = Field(max_length=100)
    shape: tuple[int, ...] = Field(max_length=8)
    dtype: Kind
    unit: str = Field(default="", max_length=100)
    initial: Any = None
    low: Number | None = None
    high: Number | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError(f"{self.name}: low without high, or the other way round")
        for one in (self.low, self.high):
            allowed = {math.prod(self.shape), self.shape[0]} if self.shape else {1}
            if isinstance(one, list) and len(one) not in allowed:
                raise ValueError(f"{self.name}: a box of {len(one)} numbers for shape {self.shape}")
        return self

    @field_validator("shape")
    @classmethod
    def _is_shape(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(n < 1 for n in value) or math.prod(value) > LARGEST_STATE:
            raise ValueError(f"shape {value}")
        return value

    @property
    def kind(self) -> str | None:
        """The type of a declaration: floats are in that of the run."""
        return None if self.dtype.startswith("float") else self.dtype

    def drawn(self, value: Tensor) -> Tensor:
        """Values like these (lanes, *shape), spread evenly over the box of the card where there is one."""
        if self.low is None or self.high is None or not value.is_floating_point():
            return value
        low, high = (torch.as_tensor(one, dtype=torch.float64) for one in (self.low, self.high))
        if low.ndim and low.numel() == math.prod(self.shape):
            low, high = low.reshape(self.shape), high.reshape(self.shape)
        elif low.ndim:
            low, high = (one.reshape(-1, *(1,) * (len(self.shape) - 1)) for one in (low, high))
        generator = torch.Generator().manual_seed(len(self.name))
        share = torch.rand(value.shape, generator=generator, dtype=torch.float64)
        return (low + (high - low) * share).to(value.dtype)

    def state(self, where: str) -> State:
        try:
            initial = torch.as_tensor(self.initial if self.initial is not None else 0)
            initial = initial.to(getattr(torch, self.dtype)).expand(self.shape)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise NetworkError(where, f"the initial value of the state {self.name!r:.100}: {error!s:.200}",
                               f"numbers of shape {self.shape}") from None  # fmt: skip
        return State(initial.contiguous(), shape=self.shape, dtype=self.dtype, doc="state of the file")


class Description(Strict):
    """The text in a file. clock: the time between ticks as (nanoseconds, divisor), None for a network without one."""

    format: Literal["simdl-step-1"] = "simdl-step-1"
    normalised: bool = False
    period: str = Field(default="", max_length=100)
    clock: tuple[int, int] | None = None
    inputs: tuple[DescribedPort, ...] = Field(min_length=1, max_length=1000)
    outputs: tuple[DescribedPort, ...] = Field(min_length=1, max_length=1000)
    states: tuple[DescribedPort, ...] = Field(default=(), max_length=1000)

    @field_validator("clock")
    @classmethod
    def _is_clock(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and min(value) < 1:
            raise ValueError(f"clock {value}")
        return value

    @property
    def ticking(self) -> Clock | None:
        if self.clock is None:
            return None
        exact = Fraction(*self.clock)
        return Clock(exact.numerator, exact.denominator)

    def timing(self) -> dict[str, Fraction]:
        """period= or rate= of a block; nothing for a network without a clock."""
        ticking = self.ticking
        if ticking is None:
            return {}
        exact = Fraction(ticking.numerator, ticking.denominator * SECOND)
        return {"rate": 1 / exact} if ticking.rational else {"period": exact}

    def declared_inputs(self) -> dict[str, Input]:
        return {one.name: Input(one.shape, unit=one.unit, dtype=one.kind) for one in self.inputs}

    def declared_outputs(self) -> dict[str, Output]:
        return {one.name: Output(one.shape, unit=one.unit, dtype=one.kind) for one in self.outputs}

    def declared_states(self, where: str) -> dict[str, State]:
        return {one.name: one.state(where) for one in self.states}

    def check(self, taken: list[Any], given: list[Any], where: str) -> None:
        """Raises NetworkError where the file's own inputs and outputs, as (name or None, shape), are not these."""
        own = [(one.name, one.shape) for one in (*self.inputs, *self.states)]
        results = [(one.name, one.shape) for one in self.outputs]
        results += [(one.name + NEXT, one.shape) for one in self.states]
        for mine, theirs, what in ((own, taken, "inputs"), (results, given, "outputs")):
            same = len(mine) == len(theirs) and all(
                a[1] == tuple(b[1] or ()) and b[0] in (None, a[0]) for a, b in zip(mine, theirs)
            )
            if not same:
                raise NetworkError(where, f"its description by simdl says the {what} {mine!s:.300}, and it has "
                                   f"{theirs!s:.300}", "a description of this network",
                                   "export it again, or remove the description")  # fmt: skip


def read_description(text: str | bytes, where: str) -> Description:
    """The description in a file. Raises NetworkError for what is none."""
    data = text.encode() if isinstance(text, str) else text
    where = f"{where}: its description by simdl"
    if len(data) > LARGEST:
        raise NetworkError(where, f"{len(data)} bytes", f"at most {LARGEST}")
    found = loads(data, where, NetworkError)
    try:
        return Description.model_validate(found)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise NetworkError(where, faults, "a description of format simdl-step-1") from None
