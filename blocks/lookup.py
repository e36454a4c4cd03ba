"""Tables: linear interpolation between points, the end values outside them."""

import torch

from simdl import Block, Input, Param, output


class Lookup1D(Block):
    """y = table interpolated linearly at u; constant outside the breaks, which increase.

    `breaks` and `table` are (n,), or (lanes, n) when set so.

    >>> from simdl import simulate
    >>> charge = Lookup1D(breaks=[3.0, 3.5, 4.2], table=[0.0, 0.2, 1.0])
    >>> round(float(simulate(charge, 0, inputs={"u": 3.25})["y"].values[0, 0]), 12)
    0.1
    """

    u = Input()
    breaks: Param = Param()
    table: Param = Param()

    @output
    def y(self, u, breaks, table):
        i, part = place(u, breaks)
        return torch.lerp(at(table, i), at(table, i + 1), part)


class Lookup2D(Block):
    """z = table interpolated bilinearly at (x, y); constant outside the breaks, which increase.

    `x_breaks` is (m,), `y_breaks` (n,), `table` (m, n): rows belong to x.

    >>> from simdl import simulate
    >>> torque = Lookup2D(x_breaks=[0.0, 10.0], y_breaks=[0.0, 1.0], table=[[0.0, 1.0], [2.0, 5.0]])
    >>> float(simulate(torque, 0, inputs={"x": 5.0, "y": 0.5})["z"].values[0, 0])
    2.0
    """

    x, y = Input(), Input()
    x_breaks: Param = Param()
    y_breaks: Param = Param()
    table: Param = Param()

    @output
    def z(self, x, y, x_breaks, y_breaks, table):
        i, along = place(x, x_breaks)
        j, across = place(y, y_breaks)
        flat, width = table.flatten(1), table.shape[2]
        low = torch.lerp(at(flat, i * width + j), at(flat, i * width + j + 1), across)
        high = torch.lerp(at(flat, (i + 1) * width + j), at(flat, (i + 1) * width + j + 1), across)
        return torch.lerp(low, high, along)


def place(u: torch.Tensor, breaks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The interval i of u (lanes,) between breaks (lanes, n), and the part of it below u, in [0, 1]."""
    i = torch.searchsorted(breaks.contiguous(), u.unsqueeze(1).contiguous(), right=True).squeeze(1) - 1
    i = i.clamp(0, breaks.shape[1] - 2)
    left, right = at(breaks, i), at(breaks, i + 1)
    return i, ((u - left) / (right - left)).clamp(0.0, 1.0)


def at(table: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
    """table[lane, i[lane]], (lanes,)."""
    return table.gather(1, i.unsqueeze(1)).squeeze(1)
