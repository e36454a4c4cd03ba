"""Numbers of a fixed point, as small processors have them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from simdl.errors import NetworkError


@dataclass(frozen=True)
class Fixed:
    """Numbers of `bits` bits, the sign among them, `fraction` of them behind the point: rounded to the nearest, ties to
    even, and limited to the largest and the smallest.

    >>> import torch
    >>> Fixed(8, 4).rounded(torch.tensor([0.3, 100.0, -100.0]))
    tensor([ 0.3125,  7.9375, -8.0000])
    """

    bits: int
    fraction: int

    def __post_init__(self) -> None:
        if not (type(self.bits) is type(self.fraction) is int and 2 <= self.bits <= 32 and abs(self.fraction) <= 64):
            found = f"bits={self.bits!r}, fraction={self.fraction!r}"
            raise NetworkError("Fixed", found, "2 to 32 bits, of which whole numbers stand behind the point")

    def rounded(self, value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value
        unit, most = 2.0**-self.fraction, 2 ** (self.bits - 1)
        return (value / unit).round().clamp(-most, most - 1) * unit
