"""Choosing between signals."""

import torch

from simdl import Block, Input, Inputs, output
from simdl.blocks.arithmetic import spread


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
        return torch.where(spread(when, a), a, b)


class Select(Block):
    """y = u_index, index from 0; beyond the ends, the first or the last.

    >>> from simdl import Diagram, Output, simulate
    >>> class Gear(Diagram):
    ...     ratio = Output()
    ...     def __init__(self):
    ...         self.select = Select()
    ...         self.select.u = [3.6, 2.1, 1.4]
    ...         self.select.index = 1
    ...         self.ratio = self.select.y
    >>> float(simulate(Gear(), 0)["ratio"].values[0, 0])
    2.1
    """

    u = Inputs()
    index = Input(dtype="int64")

    @output
    def y(self, u, index):
        chosen = u[0]
        for k, signal in enumerate(u[1:], start=1):
            chosen = torch.where(spread(index >= k, signal), signal, chosen)
        return chosen
