"""Rates of blocks and signals, each with a colour and dashes: colour is never the only sign."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from simdl.compile import Model
from simdl.compile.node import ClockId
from simdl.draw.sketch import CONSTANT, EXTERNAL, SEVERAL, Box, Pin, Rate, Wire

CONTINUOUS = Rate("continuous", "c0")
_DASHES: tuple[tuple[float, ...], ...] = ((7, 3), (2, 2.5), (9, 3, 2, 3), (14, 3), (5, 2, 2, 2, 2, 2))
_COLORS = ("c1", "c2", "c3", "c4", "c5")


class Rates:
    """The rates of a model by block path, in the order of their legend: continuous, clocks, hits, triggers."""

    def __init__(self, model: Model) -> None:
        graph = model.graph
        clocks: dict[str, ClockId] = {}
        for node in (*graph.nodes, *graph.derivatives, *graph.crossings):
            if node.clock is not None and node.kind not in ("formula", "sample"):
                clocks.setdefault(node.block, node.clock)
        used = [str(model.clocks[i]) for i in sorted({c for c in clocks.values() if isinstance(c, int)})]  # by period
        used += [text for text in ("hits", "triggered") if any(_lane(c) == text for c in clocks.values())]
        self.legend = [CONTINUOUS]
        for place, text in enumerate(dict.fromkeys(used)):
            color = _COLORS[place % len(_COLORS)]
            dash = _DASHES[(place + place // len(_COLORS)) % len(_DASHES)]
            self.legend.append(Rate(text, color, dash, sampled=True))
        named = {rate.text: rate for rate in self.legend}
        self.of = {
            path: named[str(model.clocks[clock]) if isinstance(clock, int) else _lane(clock)] if clock is not None
            else CONTINUOUS
            for path in model.blocks for clock in (clocks.get(path),)
        }  # fmt: skip

    def common(self, rates: Iterable[Rate]) -> Rate:
        """The rate that several sources give: continuous if one of them is, else theirs if it is one."""
        found = set(rates)
        if len(found) == 1:
            return found.pop()
        return CONTINUOUS if CONTINUOUS in found else SEVERAL

    def within(self, path: str) -> Rate:
        """The rate of the blocks below a path, where it is one."""
        found = {rate for at, rate in self.of.items() if at == path or not path or at.startswith(f"{path}.")}
        return found.pop() if len(found) == 1 else SEVERAL


def color(root: Box, rates: Rates, drivers: dict[Pin, Wire], clocked: Callable[[Box, Pin], str]) -> None:
    """Give every wire the rate of its source, and mark where its reader has another one.

    clocked: the path of the block behind an output of a closed diagram."""
    known: dict[Pin, Rate] = {}

    def rate(pin: Pin) -> Rate:
        if pin not in known:
            box = pin.box
            if box.kind == "formula":
                known[pin] = rates.common(rate(drivers[one].source) for one in box.ins)
            elif box.kind in ("input", "frame"):
                outside = box.outer if box.kind == "input" else pin.inner and pin.inner.ins[0]
                wire = drivers.get(outside) if outside else None
                known[pin] = rate(wire.source) if wire else CONSTANT if outside else EXTERNAL
            else:
                known[pin] = rates.of.get(clocked(box, pin), box.rate) if box.kind == "closed" else box.rate
        return known[pin]

    for box in root.all():
        for wire in box.wires:
            wire.rate = rate(wire.source)
            reader = wire.target.box
            sure = wire.rate not in (EXTERNAL, SEVERAL, CONSTANT) and not wire.target.mark
            if sure and reader.kind in ("block", "network") and wire.rate != reader.rate:
                wire.change = "held" if wire.rate.sampled else "sampled"
        if box.kind == "formula":
            box.rate = rate(box.outs[0])


def _lane(clock: object) -> str:
    return ("hits" if clock[0] == "hit" else "triggered") if isinstance(clock, tuple) else ""
