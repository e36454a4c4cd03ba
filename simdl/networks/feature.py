"""One input or output of a network as its card tells it: name, unit, shape, scale, box and layout."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from simdl.declarations import DTYPES, Input, Output
from simdl.errors import NetworkError
from simdl.networks.layout import Layout

LARGEST_SIDE = 2**14  # pixels that an image is resized to

Number = float | list[float]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CardLayout(Strict):
    """How an array is scaled, resized and turned: see `Layout`."""

    axes: str = Field(max_length=8)
    takes: str = Field(max_length=8)
    size: tuple[int, int] | None = None
    resize: Literal["bilinear", "nearest"] = "bilinear"
    antialias: bool = True
    scale: float | None = None
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0

    @model_validator(mode="after")
    def _is_layout(self) -> Self:
        if self.size is not None and not all(0 < n <= LARGEST_SIDE for n in self.size):
            raise ValueError(f"size {self.size}, not from 1 to {LARGEST_SIDE}")
        try:
            self.layout()
        except NetworkError as error:
            raise ValueError(str(error)) from None
        return self

    def layout(self) -> Layout:
        return Layout(**self.model_dump())


class Feature(Strict):
    """One input or output.

    shape: of one lane; mean, std: in the port's unit, a number or one for each element (of an image: each channel);
    low, high: the box of the training data, or the limits of an output.
    """

    name: str
    unit: str = ""
    shape: tuple[int, ...] = ()
    dtype: str | None = None
    mean: Number = 0.0
    std: Number = 1.0
    low: Number | None = None
    high: Number | None = None
    layout: CardLayout | None = None

    @field_validator("name")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if not value.isidentifier() or value.startswith("_") or len(value) > 100:
            raise ValueError(f"{value!r} is no name of a port")
        return value

    @field_validator("dtype")
    @classmethod
    def _is_type(cls, value: str | None) -> str | None:
        if value is not None and value not in DTYPES:
            raise ValueError(f"{value!r} is none of {', '.join(DTYPES)}")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        size = 1
        for n in self.shape:
            if n < 1:
                raise ValueError(f"{self.name}: shape {self.shape}")
            size *= n
        for key in ("mean", "std", "low", "high"):
            value = getattr(self, key)
            allowed = {size, self.shape[0]} if self.shape else {1}
            if isinstance(value, list) and len(value) not in allowed:
                raise ValueError(f"{self.name}: {key} has {len(value)} numbers for shape {self.shape}")
        if self.layout is not None and (self.mean != 0.0 or self.std != 1.0):
            raise ValueError(f"{self.name}: mean and std beside a layout, which has its own")
        for deviation in self.std if isinstance(self.std, list) else [self.std]:
            if deviation <= 0:
                raise ValueError(f"{self.name}: std is {deviation:g}, not above zero")
        return self

    def input(self) -> Input:
        return Input(self.shape, unit=self.unit, dtype=self.dtype)

    def output(self) -> Output:
        return Output(self.shape, unit=self.unit, dtype=self.dtype)
