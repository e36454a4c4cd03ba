"""Lists of torch functions for the native engine, with arguments of each kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

N = 13  # lanes: no multiple of any width


@dataclass(frozen=True, eq=False)
class Case:
    """A function of (lanes, *shape) tensors; tolerance None: 1e-12 in float64, 1e-5 in float32."""

    function: Callable[..., Any]
    inputs: tuple[Tensor, ...]
    tolerance: float | None = None


def case(function: Callable[..., Any], *inputs: Tensor, tolerance: float | None = None) -> Case:
    return Case(function, inputs, tolerance)


class Numbers:
    """Arguments, the same at each call: (lanes, *shape) each."""

    def __init__(self, seed: int = 1, dtype: torch.dtype = torch.float64) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.dtype = dtype

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(N, *shape, generator=self.random, dtype=torch.float64).to(self.dtype)

    def within(self, low: float, high: float, *shape: int) -> Tensor:
        unit = torch.rand(N, *shape, generator=self.random, dtype=torch.float64)
        return (low + (high - low) * unit).to(self.dtype)

    def special(self, *shape: int) -> Tensor:
        """Normal numbers among which are zeros, infinities, NaN, halves, huge and tiny ones."""
        odd = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 0.5, -0.5, 1.5, 2.5, -2.5, 1.0, -1.0, 3.0,
                            1e30, -1e30, 1e-30, 7.0, -7.0], dtype=torch.float64)  # fmt: skip
        found = torch.randn(N, *shape, generator=self.random, dtype=torch.float64)
        pick = torch.randint(0, len(odd), found.shape, generator=self.random)
        chosen = torch.rand(found.shape, generator=self.random) < 0.6
        return torch.where(chosen, odd[pick], found).to(self.dtype)

    def whole(self, low: int, high: int, *shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.randint(low, high, (N, *shape), generator=self.random).to(dtype)

    def truth(self, *shape: int) -> Tensor:
        return torch.rand(N, *shape, generator=self.random) < 0.5

    def matrix(self, *shape: int) -> Tensor:
        """Well-conditioned square matrices."""
        n = shape[-1]
        return self.normal(*shape) + 2 * n * torch.eye(n, dtype=self.dtype)

    def definite(self, n: int) -> Tensor:
        """Symmetric positive definite matrices."""
        a = self.normal(n, n)
        return a @ a.transpose(-1, -2) + n * torch.eye(n, dtype=self.dtype)
