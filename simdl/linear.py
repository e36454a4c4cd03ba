"""Linear models, and the linear algebra of lanes: Jacobians, and solves in which a singular lane fails alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from simdl.clock import Duration, nanoseconds, seconds
from simdl.declarations import as_tensor
from simdl.errors import ModelError


def jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """function(x), and its derivative in every lane: (lanes, m, n) for x (lanes, n), (lanes,) for numbers.

    Reverse mode, one row after another: exact, differentiable again, and lanes stay in front throughout.

    >>> value, slope = jacobian(lambda x: torch.stack([x[:, 0] * x[:, 1], x[:, 1] ** 2], 1), torch.tensor([[2.0, 3.0]]))
    >>> slope
    tensor([[[3., 2.],
             [0., 6.]]])
    """
    found: Any = torch.func.vjp(function, x)
    value, pull = found
    if x.ndim == 1:
        return value, pull(torch.ones_like(value))[0]
    if value.shape[1] == 0:
        return value, x.new_zeros(len(x), 0, x.shape[1])
    rows = torch.eye(value.shape[1], dtype=value.dtype, device=value.device).unbind(0)
    return value, torch.stack([pull(row.unsqueeze(0) + torch.zeros_like(value))[0] for row in rows], dim=1)


def times(matrix: Tensor, vector: Tensor) -> Tensor:
    """matrix vector in every lane, (lanes, m, n) and (lanes, n)."""
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def solve(matrix: Tensor, right: Tensor) -> Tensor:
    """matrix^-1 right in every lane, (lanes, n, n) and (lanes, n) or (lanes, n, k); a singular lane is not finite."""
    if right.ndim == 2:
        return solve(matrix, right.unsqueeze(-1)).squeeze(-1)
    if matrix.shape[-1] == 1:
        return right / matrix
    result: Tensor = torch.linalg.solve_ex(matrix, right)[0]
    return result


def cholesky(matrix: Tensor) -> Tensor:
    """The lower triangular L with L L' = matrix in every lane; NaN in a lane that is not positive definite."""
    factor, info = torch.linalg.cholesky_ex(matrix)
    return torch.where((info == 0)[:, None, None], factor, torch.nan)


@dataclass(frozen=True)
class LinearModel:
    """x' = A x + B u, or x⁺ = A x + B u every `period` seconds; y = C x + D u. All are deviations from a point.

    A (n, n), B (n, m), C (p, n), D (p, m); the names of what their rows and columns are, where they are known.

    >>> mass = LinearModel.of([[0.0, 1.0], [0.0, 0.0]], [[0.0], [1.0]])
    >>> mass.sampled(0.1).B.tolist()
    [[0.005000000000000001], [0.1]]
    """

    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    period: float | None = None
    states: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    @classmethod
    def of(cls, A: Any, B: Any, C: Any = None, D: Any = None, period: float | None = None) -> LinearModel:
        """A model of lists or arrays; without C, all states are outputs. Raises ModelError for shapes that misfit."""
        a, b = as_tensor(A).double(), as_tensor(B).double()
        c = torch.eye(a.shape[-1], dtype=torch.float64) if C is None else as_tensor(C).double()
        d = torch.zeros(len(c), b.shape[-1], dtype=torch.float64) if D is None else as_tensor(D).double()
        shapes = [tuple(matrix.shape) for matrix in (a, b, c, d)]
        n, m, p = a.shape[-1], b.shape[-1], c.shape[0]
        if shapes != [(n, n), (n, m), (p, n), (p, m)]:
            raise ModelError("LinearModel", f"A, B, C, D of {shapes}", "(n, n), (n, m), (p, n), (p, m)",
                             "write a single column as [[1.0], [2.0]]")  # fmt: skip
        return cls(a, b, c, d, period)

    def sampled(self, period: Duration) -> LinearModel:
        """The same at ticks, with u held in between (zero-order hold, exact): exp of [[A, B], [0, 0]] period."""
        if self.period is not None:
            raise ModelError("LinearModel.sampled", f"a model of period {self.period:g} s", "one in continuous time")
        n, dt = len(self.A), seconds(nanoseconds(period))
        whole = torch.zeros(n + self.B.shape[1], n + self.B.shape[1], dtype=self.A.dtype)
        whole[:n, :n], whole[:n, n:] = self.A * dt, self.B * dt
        flow = torch.linalg.matrix_exp(whole)[:n]
        return LinearModel(
            flow[:, :n], flow[:, n:], self.C, self.D, dt, self.states, self.inputs, self.outputs
        )  # fmt: skip
