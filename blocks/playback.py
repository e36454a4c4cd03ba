"""Recorded signals played back: drive cycles, load profiles, logged inputs."""

import math
from pathlib import Path

import numpy as np
import torch

from simdl import Block, ModelError, Param, edges, output
from simdl.blocks.arithmetic import spread
from simdl.blocks.lookup import place
from simdl.blocks.routing import pick
from simdl.blocks.sources import index, whole

KINDS, BEYOND = ("hold", "linear", "cubic"), ("hold", "periodic", "error")


class Playback(Block):
    """y = a record of values (n,) or (n, m) at times (n,), read at t.

    Between the times: kind="hold", the value before (commands); "linear"; "cubic", the spline with continuous second
    derivatives (SciPy's CubicSpline). Beyond them: beyond="hold", the first or last value; "periodic", the record again
    and again, its last time being its first of the next cycle; "error", NaN, which fails the lane whose state meets it.
    Held and linear records declare their times as edges. Times are whole nanoseconds, and the same in all lanes; values
    may differ by lane, but for the cubic kind.
    Raises ModelError for times that do not increase, numbers that are not finite, and columns that are not there.

    >>> from simdl import simulate
    >>> cycle = Playback([0.0, 1.0, 3.0], [0.0, 10.0, 20.0], kind="linear", beyond="periodic")
    >>> simulate(cycle, 4, every=1)["y"].values
    tensor([[ 0., 10., 15.,  0., 10.]], dtype=torch.float64)
    """

    times: Param = Param(unit="s", dtype="float64")
    values: Param = Param(dtype="float64")
    slopes: Param = Param(0.0, dtype="float64")

    def __init__(self, times, values, *, kind: str = "linear", beyond: str = "hold"):
        for name, given, known in (("kind", kind, KINDS), ("beyond", beyond, BEYOND)):
            if given not in known:
                raise ModelError("Playback", f"{name}={given!r}", "one of", names=known, wrong=str(given))
        times, values = _checked(np.array(times, dtype=float), np.array(values, dtype=float))
        self.times, self.values, self.kind, self.beyond = times, values, kind, beyond
        self.slopes = _slopes(times, values, beyond) if kind == "cubic" else 0.0
        even = np.linspace(times[0], times[-1], len(times))
        self.even = bool((np.round(even * 1e9) == np.round(times * 1e9)).all())

    @output
    def y(self, t, times, values, slopes):
        k, start = _place(t, times, self.even, self.beyond)
        left, right = pick(times, k), pick(times, k + 1)
        a, b = pick(values, k), pick(values, k + 1)
        x = spread(((t - start - left) / (right - left)).clamp(0.0, 1.0), a)
        if self.kind == "hold":
            found = torch.where(spread(t >= whole(start + times[:, -1]), a), b, a)
        else:
            found = torch.lerp(a, b, x)
        if self.kind == "cubic":  # Hermite's form
            h = spread(right - left, a)
            p, q = h * pick(slopes, k) - (b - a), (b - a) - h * pick(slopes, k + 1)
            found = found + x * (1.0 - x) * ((1.0 - x) * p + x * q)
        if self.beyond == "error":
            found = torch.where(spread((t < times[:, 0]) | (t > times[:, -1]), found), math.nan, found)
        return found

    @edges
    def change(self, t, times):
        k, start = _place(t, times, self.even, self.beyond)
        begin, end = whole(start + times[:, 0]), whole(start + times[:, -1])
        following = end if self.kind == "cubic" else whole(start + pick(times, k + 1))
        following = torch.where(t < begin, begin, following)
        return torch.where(following > t, following, math.inf)

    @classmethod
    def from_csv(cls, path, time="t", value="y", **options):
        """The columns `time` and `value` (a name, or a list of names for a vector) of a CSV file with a header."""
        table = np.genfromtxt(Path(path), delimiter=",", names=True, deletechars="", replace_space=" ")
        return cls(*_columns(str(path), table, table.dtype.names or (), time, value), **options)

    @classmethod
    def from_npz(cls, path, time="t", value="y", **options):
        """The arrays `time` and `value` of an NPZ file."""
        with np.load(Path(path), allow_pickle=False) as arrays:
            return cls(*_columns(str(path), arrays, arrays.files, time, value), **options)

    @classmethod
    def from_frame(cls, frame, time=None, value="y", **options):
        """The columns `time` (the index, when None) and `value` of a pandas DataFrame; dates count from the first."""
        if time is None:
            first = value if isinstance(value, str) else value[0]
            return cls(_numbers(frame.index), _columns("DataFrame", frame, frame.columns, first, value)[1], **options)
        return cls(*_columns("DataFrame", frame, frame.columns, time, value), **options)


def _place(t, times, even, beyond):
    """The k with times_k <= t - start < times_k+1, 0 to n - 2, and the start of the cycle; exact at the times."""
    first, length = times[:, 0], times[:, -1] - times[:, 0]
    start = length * index(t, length, first) if beyond == "periodic" else torch.zeros_like(t)
    inside, last = t - start, times.shape[1] - 2
    k = ((inside - first) / (length / (last + 1))).floor().long() if even else place(inside, times)[0]
    k = k.clamp(0, last)
    k = k + (t >= whole(start + pick(times, k + 1))).long() - (t < whole(start + pick(times, k))).long()
    return k.clamp(0, last), start


def _checked(times, values):
    """A record with its times in whole nanoseconds."""
    if times.ndim != 1 or len(times) < 2 or len(times) != len(values):
        found = f"{times.shape} times and {values.shape} values"
        raise ModelError("Playback", found, "two times or more, and a value for each")
    times = np.round(times * 1e9) / 1e9
    if not (np.diff(times) > 0).all() or not np.isfinite(times).all() or not np.isfinite(values).all():
        found = "times that do not increase" if np.isfinite(times).all() else "times that are not finite"
        found = found if np.isfinite(values).all() else f"{(~np.isfinite(values)).sum()} values that are not finite"
        raise ModelError("Playback", found, "increasing times and finite values", "drop or fill the bad rows")
    return times, values


def _slopes(times, values, beyond):
    """The derivatives of the cubic spline at its times."""
    from scipy.interpolate import CubicSpline

    if beyond == "periodic" and not np.array_equal(values[0], values[-1]):
        raise ModelError("Playback", f"a cubic record from {values[0]} to {values[-1]}", "one that ends as it begins",
                         "append its first value at the end of its cycle")  # fmt: skip
    return CubicSpline(times, values, bc_type="periodic" if beyond == "periodic" else "not-a-knot")(times, 1)


def _columns(where, table, names, time, value):
    names = [str(name) for name in names]
    wanted = [time, *([value] if isinstance(value, str) else value)]
    for name in wanted:
        if name not in names:
            raise ModelError(f"Playback: {where}", f"no column {name!r}", "one of", names=names, wrong=str(name))
    columns = [_numbers(table[name]) for name in wanted]
    return columns[0], columns[1] if isinstance(value, str) else np.stack(columns[1:], axis=1)


def _numbers(column):
    """A column as float64; dates in seconds since the first."""
    array = np.array(column)
    if array.dtype.kind in "mM":
        return (array - array[0]) / np.timedelta64(1, "s")
    return array.astype(float)
