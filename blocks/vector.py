"""Arithmetic on vectors, as chains of sums: a lane alone gives the bits of the lane in a batch.

Elementwise functions need no block: `a + 2 * b`, `abs(a)`, `torch.sqrt(a)`, `torch.sin(a)`, `torch.exp(a)`,
`a.clamp(0, 1)`, `torch.hypot(a, b)`, `a < b`, `(a > 0) & ~c` are formulas on ports.
"""

import torch

from simdl import Block, Input, Param, output


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
        return along(K * u.unsqueeze(1) if K.ndim == 3 else K * u)


class Dot(Block):
    """y = a_0 b_0 + a_1 b_1 + … of two vectors (n,)."""

    a, b = Input(), Input()

    @output
    def y(self, a, b):
        return along(a * b)


class Norm(Block):
    """y = |u|, the length of a vector (n,). Its gradient at zero is zero."""

    u = Input()

    @output
    def y(self, u):
        squares = along(u * u)
        return torch.where(squares > 0, torch.sqrt(torch.where(squares > 0, squares, 1.0)), 0.0)


class Extremum(Block):
    """low and high: the least and the greatest element of a vector (n,), and where they are: the first such index."""

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


def along(products: torch.Tensor) -> torch.Tensor:
    """The sum over the last dimension, term by term."""
    total = products[..., 0]
    for k in range(1, products.shape[-1]):
        total = total + products[..., k]
    return total
