"""Logic with memory, sampled. Logic without memory is a formula: `(a > 1) & ~b`, `(u >= low) & (u <= high)`."""

import torch

from simdl import Block, Input, ModelError, Output, Param, State, initial, output, tick
from simdl.blocks.arithmetic import spread
from simdl.blocks.limits import Limit


class Equal(Block):
    """y = |a - b| <= tolerance. (`==` between ports compares the ports, not their values.)

    >>> from simdl import simulate
    >>> bool(simulate(Equal(), 0, inputs={"a": 2.0, "b": 2.0})["y"].at(0))
    True
    """

    a, b = Input(), Input()
    tolerance: Param = Param(0.0, low=0.0)

    @output
    def y(self, a, b, tolerance):
        return torch.abs(a - b) <= spread(tolerance, a)


class Within(Block):
    """y = low <= u <= high: an interval with its ends.

    >>> from simdl import simulate
    >>> [bool(simulate(Within(low=0.0, high=1.0), 0, inputs={"u": u})["y"].at(0)) for u in (-0.1, 0.0, 1.0, 1.1)]
    [False, True, True, False]
    """

    u = Input()
    low: Param = Limit(0.0, below="high")
    high: Param = Limit(1.0, above="low")

    @output
    def y(self, u, low, high):
        return (u >= spread(low, u)) & (u <= spread(high, u))


class Edge(Block):
    """y is true for one tick where u has risen since the tick before (falling: fallen; either: changed).

    `start` is what u is taken to have been before the first tick. For the time of an edge between ticks, use a
    crossing. Raises ModelError for another kind.

    >>> from simdl import simulate
    >>> u = ([0.0, 1.0, 3.0], [False, True, False])
    >>> simulate(Edge("either", period=1), 4, inputs={"u": u})["y"].values
    tensor([[False,  True, False,  True, False]])
    """

    u = Input(dtype="bool")
    y = Output(dtype="bool", initial=False)
    start: Param = Param(False, dtype="bool")
    last = State(False, dtype="bool")

    def __init__(self, kind: str = "rising", **settings):
        super().__init__(**settings)
        kinds = ("rising", "falling", "either")
        if kind not in kinds:
            raise ModelError("Edge", f"kind={kind!r}", "one of", names=kinds, wrong=str(kind))
        self.kind = kind

    @initial
    def before(self, start):
        return dict(last=start)

    @tick
    def compare(self, u, last):
        found = {"rising": u & ~last, "falling": last & ~u, "either": u ^ last}[self.kind]
        return dict(y=found, last=u)


class Latch(Block):
    """y becomes true with `on` and false with `off`, at the same tick, and stays so: a set-reset latch.

    Where both are true, `off` wins. It starts as `start`.

    >>> from simdl import simulate
    >>> on, off = ([0.0, 1.0, 2.0], [False, True, False]), ([0.0, 3.0], [False, True])
    >>> simulate(Latch(period=1), 4, inputs={"on": on, "off": off})["y"].values
    tensor([[False,  True,  True, False, False]])
    """

    on, off = Input(dtype="bool"), Input(dtype="bool")
    y = Output(dtype="bool", initial=False)
    start: Param = Param(False, dtype="bool")
    kept = State(False, dtype="bool")

    @initial
    def begin(self, start):
        return dict(kept=start)

    @tick
    def latch(self, on, off, kept):
        y = (kept | on) & ~off
        return dict(y=y, kept=y)


class Counter(Block):
    """y counts the ticks at which `count` is true, from 0; `reset` puts it to 0 first; at `modulo` it is 0 again.

    modulo=0 counts on. To count changes instead of ticks, wire an `Edge` to it. `wrapped` is true at the ticks at which
    it comes round.

    >>> from simdl import simulate
    >>> run = simulate(Counter(modulo=3, period=1), 4, inputs={"count": True})
    >>> run["y"].values.tolist(), run["wrapped"].values.tolist()
    ([[1, 2, 0, 1, 2]], [[False, False, True, False, False]])
    """

    count, reset = Input(dtype="bool"), Input(dtype="bool", default=False)
    y, wrapped = Output(dtype="int64", initial=0), Output(dtype="bool", initial=False)
    modulo: Param = Param(0, dtype="int64", low=0)
    total = State(0, dtype="int64")

    @tick
    def add(self, count, reset, total, modulo):
        total = torch.where(reset, 0, total) + count.long()
        wrapped = (modulo > 0) & (total >= modulo)
        total = torch.where(wrapped, 0, total)
        return dict(y=total, total=total, wrapped=wrapped)


class Debounce(Block):
    """y follows u once u has been the same for `wait` seconds; it starts as `start`.

    >>> from simdl import simulate
    >>> u = ([0.0, 1.0, 2.0, 3.0], [False, True, False, True])
    >>> simulate(Debounce(wait=2.0, period=1), 6, inputs={"u": u})["y"].values
    tensor([[False, False, False, False, False,  True,  True]])
    """

    u = Input(dtype="bool")
    y = Output(dtype="bool", initial=False)
    wait: Param = Param(1.0, unit="s", low=0.0, dtype="float64")
    start: Param = Param(False, dtype="bool")
    shown, last, since = State(False, dtype="bool"), State(False, dtype="bool"), State(0.0, unit="s", dtype="float64")

    @initial
    def begin(self, start):
        return dict(shown=start, last=start)

    @tick
    def follow(self, u, shown, last, since, t, wait):
        since = torch.where(u == last, since, t)
        y = torch.where(t - since > wait - 0.5e-9, u, shown)
        return dict(y=y, shown=y, last=u, since=since)
