"""Choosing between signals."""

import torch

from simdl import Block, Input, Inputs, output
from simdl.blocks.arithmetic import alike, spread


class Switch(Block):
    """y = a where `when` is true, b elsewhere; lane by lane, both are computed.

    >>> from simdl import simulate
    >>> float(simulate(Switch(), 0, inputs={"when": True, "a": 1.0, "b": 2.0})["y"].values[0, 0])
    1.0
    """

    when = Input(dtype="bool")
    a, b = Input(), Input()

    @output
    def y(self, when, a, b):
        a, b = alike((a, b))
        return torch.where(spread(when, a), a, b)


class MultiportSwitch(Block):
    """y = u_index, index from 0; beyond the ends, the first or the last.

    >>> from simdl import Diagram, Output, simulate
    >>> class Gear(Diagram):
    ...     ratio = Output()
    ...     def __init__(self):
    ...         self.switch = MultiportSwitch()
    ...         self.switch.u = [3.6, 2.1, 1.4]
    ...         self.switch.index = 1
    ...         self.ratio = self.switch.y
    >>> float(simulate(Gear(), 0)["ratio"].values[0, 0])
    2.1
    """

    u = Inputs()
    index = Input(dtype="int64")

    @output
    def y(self, u, index):
        chosen, *others = alike(u)
        for k, signal in enumerate(others, start=1):
            chosen = torch.where(spread(index >= k, signal), signal, chosen)
        return chosen


class Mux(Block):
    """y = all elements of u_0, u_1, … in one vector, in order. (`stack(a, b)` does it for scalar signals.)

    >>> from simdl import Diagram, Output, simulate
    >>> class Both(Diagram):
    ...     y = Output()
    ...     def __init__(self):
    ...         self.mux = Mux()
    ...         self.mux.u = [1.0, torch.tensor([2.0, 3.0])]
    ...         self.y = self.mux.y
    >>> simulate(Both(), 0)["y"].at(0)
    tensor([[1., 2., 3.]], dtype=torch.float64)
    """

    u = Inputs()

    @output
    def y(self, u):
        return torch.cat([signal.reshape(len(signal), -1) for signal in u], dim=1)


class Select(Block):
    """y = u[index] of a vector (n,), or the row u[index] of (n, m), index from 0; beyond the ends, the first or last.

    A fixed index is a formula: `u[2]`, `u[1:3]`.

    >>> from simdl import Diagram, Output, simulate
    >>> class Second(Diagram):
    ...     y = Output()
    ...     def __init__(self):
    ...         self.select = Select()
    ...         self.select.u, self.select.index = torch.tensor([5.0, 6.0, 7.0]), 1
    ...         self.y = self.select.y
    >>> float(simulate(Second(), 0)["y"].at(0))
    6.0
    """

    u = Input()
    index = Input(dtype="int64")

    @output
    def y(self, u, index):
        return pick(u, index.clamp(0, u.shape[1] - 1))


def pick(values: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """values[lane, k[lane]] of (lanes, n) or (lanes, n, m)."""
    where = k.reshape(-1, 1, *(1,) * (values.ndim - 2)).expand(-1, 1, *values.shape[2:])
    return values.gather(1, where).squeeze(1)
