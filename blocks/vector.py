"""Arithmetic on vectors, as chains of sums: a lane alone gives the bits of the lane in a batch.

Elementwise functions need no block: `a + 2 * b`, `abs(a)`, `torch.sqrt(a)`, `torch.sin(a)`, `torch.exp(a)`,
`a.clamp(0, 1)`, `torch.hypot(a, b)`, `a < b`, `(a > 0) & ~c` are formulas on ports.
"""

import math

import torch
from torch import Tensor

from simdl import Block, Input, ModelError, Param, output
from simdl.blocks.arithmetic import spread


class MatrixGain(Block):
    """y = K u. K is (m, n) for a vector u (n,); (n,) for a scalar y.

    >>> from simdl import Diagram, Output, simulate
    >>> class Turned(Diagram):
    ...     y, length = Output(), Output()
    ...     def __init__(self):
    ...         self.turn, self.norm = MatrixGain(K=[[0.0, -1.0], [1.0, 0.0]]), Norm()
    ...         self.turn.u = torch.tensor([3.0, 4.0])
    ...         self.norm.u = self.turn.y
    ...         self.y, self.length = self.turn.y, self.norm.y
    >>> run = simulate(Turned(), 0)
    >>> run["y"].at(0).tolist(), float(run["length"].at(0))
    ([[-4.0, 3.0]], 5.0)
    """

    u = Input()
    K: Param = Param()

    @output
    def y(self, u, K):
        return apply(K, u)


class Dot(Block):
    """y = a_0 b_0 + a_1 b_1 + … of two vectors (n,).

    >>> from simdl import Diagram, Output, simulate
    >>> class Power(Diagram):
    ...     y = Output(unit="W")
    ...     def __init__(self):
    ...         self.dot = Dot()
    ...         self.dot.a, self.dot.b = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    ...         self.y = self.dot.y
    >>> float(simulate(Power(), 0)["y"].at(0))
    11.0
    """

    a, b = Input(), Input()

    @output
    def y(self, a, b):
        return along(a * b)


class Norm(Block):
    """y = |u|, the length of a vector (n,). Its gradient at zero is zero; see `MatrixGain` for an example."""

    u = Input()

    @output
    def y(self, u):
        squares = along(u * u)
        return torch.where(squares > 0, torch.sqrt(torch.where(squares > 0, squares, 1.0)), 0.0)


class Extremum(Block):
    """low and high: the least and the greatest element of a vector (n,), and where they are: the first such index.

    >>> from simdl import Diagram, Output, simulate
    >>> class Best(Diagram):
    ...     y, k = Output(), Output()
    ...     def __init__(self):
    ...         self.best = Extremum()
    ...         self.best.u = torch.tensor([1.0, 7.0, 3.0])
    ...         self.y, self.k = self.best.high, self.best.highest
    >>> run = simulate(Best(), 0)
    >>> float(run["y"].at(0)), int(run["k"].at(0))
    (7.0, 1)
    """

    u = Input()

    @output
    def low(self, u):
        return u.amin(dim=1)

    @output
    def high(self, u):
        return u.amax(dim=1)

    @output
    def lowest(self, u):
        return u.argmin(dim=1)

    @output
    def highest(self, u):
        return u.argmax(dim=1)


def along(products: Tensor) -> Tensor:
    """The sum over the last dimension, term by term."""
    if products.ndim < 2:
        raise ModelError("a sum over the elements of a vector", "a number", "a vector, as of stack(a, b)")
    return sum(products.unbind(-1)[1:], start=products[..., 0])


def apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """matrix @ vector in every lane; a number (lanes,) is a vector of one, whose matrix is its only column."""
    if vector.ndim == 1:
        return matrix * spread(vector, matrix)
    if vector.ndim != 2 or matrix.shape[-1] != vector.shape[1]:
        found = f"a matrix {tuple(matrix.shape[1:])} and a vector {tuple(vector.shape[1:])}"
        raise ModelError("matrix times vector", found, "as many columns as elements")
    return along(matrix * (vector.unsqueeze(1) if matrix.ndim == 3 else vector))


def combined(*products: tuple[Tensor, Tensor]) -> Tensor:
    """A x + B u + …, of pairs of a matrix and a vector."""
    terms = [apply(matrix, vector) for matrix, vector in products]
    if len({term.shape for term in terms}) > 1:
        found = " and ".join(str(tuple(term.shape[1:])) for term in terms)
        raise ModelError("A x + B u", f"terms of {found}", "one shape", "a single column is written [0.0, 1.0]")
    return sum(terms[1:], start=terms[0])


def direction(x: Tensor, y: Tensor) -> Tensor:
    """atan2(y, x); torch's own rounds the last bit otherwise in another number of lanes."""
    ahead = torch.atan(y / torch.where(x == 0, 1e-12, x))
    return torch.where(x < 0, torch.where(y < 0, ahead - math.pi, ahead + math.pi), ahead)
