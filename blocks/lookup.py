"""Tables: linear interpolation between points; beyond them the end values, or the end slopes.

The breaks increase; `beyond` is "clip" (the end values) or "extend" (the first or last line goes on). Raises ModelError
for breaks that do not increase, a table of another size and another `beyond`.
"""

import itertools

import torch

from simdl import Block, Input, Inputs, ModelError, Param, output
from simdl.blocks.routing import pick
from simdl.declarations import as_tensor
from simdl.port import Signal


class Lookup1D(Block):
    """y = table interpolated linearly at u, element by element for a vector u.

    `breaks` and `table` are (n,), or (lanes, n) when set so. beyond="clip" or "extend".

    >>> from simdl import simulate
    >>> charge = Lookup1D(breaks=[3.0, 3.5, 4.2], table=[0.0, 0.2, 1.0])
    >>> round(float(simulate(charge, 0, inputs={"u": 3.25})["y"].values[0, 0]), 12)
    0.1
    """

    u = Input()
    breaks: Param = Param()
    table: Param = Param()

    def __init__(self, beyond: str = "clip", **settings):
        super().__init__(**settings)
        self.beyond = checked(self, beyond, "breaks")

    @output
    def y(self, u, breaks, table):
        i, part = place(u.reshape(len(u), -1), breaks, self.beyond)
        return torch.lerp(table.gather(1, i), table.gather(1, i + 1), part).reshape(u.shape)


class Lookup2D(Block):
    """z = table interpolated bilinearly at (x, y).

    `x_breaks` is (m,), `y_breaks` (n,), `table` (m, n): rows belong to x. beyond="clip" or "extend".

    >>> from simdl import simulate
    >>> torque = Lookup2D(x_breaks=[0.0, 10.0], y_breaks=[0.0, 1.0], table=[[0.0, 1.0], [2.0, 5.0]])
    >>> float(simulate(torque, 0, inputs={"x": 5.0, "y": 0.5})["z"].values[0, 0])
    2.0
    """

    x, y = Input(), Input()
    x_breaks: Param = Param()
    y_breaks: Param = Param()
    table: Param = Param()

    def __init__(self, beyond: str = "clip", **settings):
        super().__init__(**settings)
        self.beyond = checked(self, beyond, "x_breaks", "y_breaks")

    @output
    def z(self, x, y, x_breaks, y_breaks, table):
        return interpolated(table, (place(x, x_breaks, self.beyond), place(y, y_breaks, self.beyond)))


class LookupND(Block):
    """y = table interpolated linearly in each of n directions at u_0, u_1, …

    `breaks` is a list of n lists of points, `table` (n_0, n_1, …). beyond="clip" or "extend". It sums 2^n corners.

    >>> from simdl import Diagram, Output, simulate
    >>> class Map(Diagram):
    ...     y = Output()
    ...     def __init__(self):
    ...         corners = [[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0], [6.0, 7.0]]]
    ...         self.table = LookupND([[0.0, 1.0]] * 3, corners)
    ...         self.table.u = [0.5, 0.5, 0.5]
    ...         self.y = self.table.y
    >>> float(simulate(Map(), 0)["y"].at(0))
    3.5
    """

    u = Inputs()
    points: Param = Param()
    table: Param = Param()

    def __init__(self, breaks, table, beyond: str = "clip"):
        axes = [as_tensor(axis).double() for axis in breaks]
        self.sizes = tuple(len(axis) for axis in axes)
        if self.sizes != tuple(as_tensor(table).shape):
            raise ModelError("LookupND", f"a table of {tuple(as_tensor(table).shape)}", f"{self.sizes}, as the breaks")
        for axis in axes:
            increasing("LookupND", "breaks", axis)
        self.points, self.table = torch.cat(axes), table
        self.beyond = checked(self, beyond)

    @output
    def y(self, u, points, table):
        if len(u) != len(self.sizes):
            raise ModelError(f"{self}.u", f"{len(u)} signals", f"{len(self.sizes)}, one for each direction")
        axes = points.split(self.sizes, dim=1)
        return interpolated(table, tuple(place(x, axis, self.beyond) for x, axis in zip(u, axes)))


def place(u: torch.Tensor, breaks: torch.Tensor, beyond: str = "clip") -> tuple[torch.Tensor, torch.Tensor]:
    """The interval i of u, (lanes,) or (lanes, m), between breaks (lanes, n), and the part of it below u."""
    points = u.unsqueeze(1) if u.ndim == 1 else u
    i = torch.searchsorted(breaks.contiguous(), points.contiguous(), right=True) - 1
    i = i.clamp(0, breaks.shape[1] - 2)
    left, right = breaks.gather(1, i), breaks.gather(1, i + 1)
    part = (points - left) / (right - left)
    part = part if beyond == "extend" else part.clamp(0.0, 1.0)
    return i.reshape(u.shape), part.reshape(u.shape)


def interpolated(table: torch.Tensor, places: tuple[tuple[torch.Tensor, torch.Tensor], ...]) -> torch.Tensor:
    """The table (lanes, n_0, n_1, …) at an interval and a part (lanes,) in each direction."""
    flat, total = table.flatten(1), torch.zeros_like(table.flatten(1)[:, 0])
    for corner in itertools.product((0, 1), repeat=len(places)):
        cell, weight = torch.zeros_like(places[0][0]), torch.ones_like(places[0][1])
        for size, side, (i, part) in zip(table.shape[1:], corner, places):
            cell, weight = cell * size + i + side, weight * (part if side else 1.0 - part)
        total = total + weight * pick(flat, cell)
    return total


def checked(block: Block, beyond: str, *names: str) -> str:
    """`beyond`, if it is known, the named breaks increase and the table has a value for each."""
    where = type(block).__name__
    if beyond not in ("clip", "extend"):
        raise ModelError(where, f"beyond={beyond!r}", "one of", names=("clip", "extend"), wrong=str(beyond))
    given = {name: as_tensor(v) for name, v in block.settings.items() if not isinstance(v, Signal)}
    for name in names:
        if name in given:
            increasing(where, name, given[name])
    wanted = tuple(len(given[name]) for name in names if name in given)
    if "table" in given and len(wanted) == len(names) > 0 and tuple(given["table"].shape) != wanted:
        raise ModelError(f"{where}.table", f"the shape {tuple(given['table'].shape)}", f"{wanted}, as the breaks")
    return beyond


def increasing(where: str, name: str, points: torch.Tensor) -> None:
    if points.ndim != 1 or len(points) < 2 or not bool((points[1:] > points[:-1]).all()):
        raise ModelError(f"{where}.{name}", str(points.tolist())[:80], "two numbers or more, each above the one before")
