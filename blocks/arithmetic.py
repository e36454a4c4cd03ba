"""Arithmetic on signals. Operators (`a + 2 * b`) do the same; these are for lists of signals and named parameters.

Matrices and vectors: `simdl.blocks.vector`.
"""

import math

from torch import Tensor

from simdl import Block, Input, Inputs, Param, output


class Gain(Block):
    """y = k u; k is a number for all elements of u, or has the shape of u, or makes a vector of a number.

    >>> from simdl import simulate
    >>> float(simulate(Gain(k=3.0), 0, inputs={"u": 2.0})["y"].values[0, 0])
    6.0
    """

    u = Input()
    k: Param = Param(1.0)

    @output
    def y(self, u, k):
        return spread(k, u) * spread(u, k)


class Sum(Block):
    """y = u_0 + u_1 + …; a number is added to every element of a vector.

    >>> from simdl import Diagram, Output, simulate
    >>> class Three(Diagram):
    ...     y = Output()
    ...     def __init__(self):
    ...         self.sum = Sum()
    ...         self.sum.u = [1.0, 2.0, 3.0]
    ...         self.y = self.sum.y
    >>> float(simulate(Three(), 0)["y"].values[0, 0])
    6.0
    """

    u = Inputs()

    @output
    def y(self, u):
        return sum(alike(u))


class Product(Block):
    """y = u_0 u_1 …, element by element; a number multiplies every element of a vector.

    >>> from simdl import Diagram, Output, simulate
    >>> class Power(Diagram):
    ...     y = Output(unit="W")
    ...     def __init__(self):
    ...         self.product = Product()
    ...         self.product.u = [3.7, 2.0]
    ...         self.y = self.product.y
    >>> float(simulate(Power(), 0)["y"].values[0, 0])
    7.4
    """

    u = Inputs()

    @output
    def y(self, u):
        return math.prod(alike(u))


def alike(signals: tuple[Tensor, ...]) -> list[Tensor]:
    """Signals with numbers among them shaped to go with the others."""
    widest = max(signals, key=lambda signal: signal.ndim)
    return [spread(signal, widest) for signal in signals]


def spread(scalar: Tensor, signal: Tensor) -> Tensor:
    """A scalar of each lane, (lanes,), shaped to go with all elements of a signal (lanes, ...)."""
    return scalar.reshape(-1, *(1,) * (signal.ndim - 1)) if scalar.ndim == 1 else scalar
