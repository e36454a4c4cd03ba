"""Playing samples to a network in a loop: lane i gets the i-th recording, one sample a tick."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from simdl import Block, Diagram, Input, Output, Run, State, simulate, tick

ENGINES = ("torch", "native")


class Player(Block):
    """Plays records (recordings, samples, *shape) back."""

    which, y, n = Input(), Output(), State(0, dtype="int64")

    def __init__(self, records: Tensor, **options: Any) -> None:
        self._assign(options)
        vars(self)["records"] = records

    @tick
    def play(self, which, n):
        records = vars(self)["records"]
        return dict(y=records[which.round().to(torch.int64), n.clamp(max=records.shape[1] - 1)], n=n + 1)


class Played(Diagram):
    which = Input()

    def __init__(self, records: Tensor, net: Block, port: str) -> None:
        name = str(records.dtype).removeprefix("torch.")
        y = Output(tuple(records.shape[2:]), dtype=None if records.is_floating_point() else name)
        kind = type("Player", (Player,), {"y": y})
        self.source = kind(records, period="1 s")
        self.source.which = self.which
        self.net = net
        net.drive(port, self.source.y)


def play(
    net: Block, records: Tensor, engine: str, record: Sequence[str], port: str = "x", lanes: Sequence[int] | None = None
) -> Run:
    """The run of `net` over the recordings of some lanes, all by default; record: ports of the network."""
    which = torch.tensor(range(len(records)) if lanes is None else lanes, dtype=torch.float64)
    return simulate(Played(records, net, port), records.shape[1] - 1, inputs={"which": which}, engine=engine, every=1,
                    record=[f"net.{name}" for name in record])  # fmt: skip


def alone(run: Run, again: Run, lane: int) -> bool:
    """Whether lane 0 of a run is that lane of another one, bit for bit."""
    return all(torch.equal(trace.values[lane : lane + 1], again[path].values) for path, trace in run.traces.items())
