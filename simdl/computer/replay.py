"""A schedule that was measured: when blocks were read and when their results appeared, from a log of the real thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from simdl.clock import Duration, nanoseconds
from simdl.computer.coupling import place
from simdl.diagram import Diagram
from simdl.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Times = NDArray[np.int64]

Whole = TypeVar("Whole", bound=Diagram)


class Replay:
    """Blocks that are run at recorded times.

    times: path of a block or diagram -> (reads, writes): the times at which each job took its inputs and at which its
    outputs appeared, in seconds or as text ("12.5 ms"); a job whose outputs never appeared has None.

    Raises ModelError for times that do not increase, and for outputs that appear before their inputs are read.

    >>> log = Replay({"controller": ([0.0, 0.02, 0.041], [0.003, None, 0.047])})
    >>> log.schedule(10**9).accesses("controller")[1]
    array([ 3000000, 47000000])
    """

    deterministic = True
    drawn = False

    def __init__(
        self, times: Mapping[str, tuple[Sequence[Duration], Sequence[Duration | None]]]
    ) -> None:
        self.times: dict[str, tuple[Times, Times, Times]] = {}
        for name, (reads, writes) in times.items():
            where = f"Replay: {name}"
            if len(reads) != len(writes):
                raise ModelError(where, f"{len(reads)} reads and {len(writes)} writes", "one write, or None, for each")
            starts = np.array([nanoseconds(t, where) for t in reads], dtype=np.int64)
            ends = [(nanoseconds(t, where), k) for k, t in enumerate(writes) if t is not None]
            if bool((np.diff(starts) <= 0).any()):
                raise ModelError(where, "reads that do not increase", "the jobs in their order")
            if bool((starts < 0).any()):
                raise ModelError(where, f"a read at {starts.min() / 1e9:g} s", "times from 0 on")
            early = [k for t, k in ends if t < starts[k]]
            if early:
                raise ModelError(where, f"job {early[0]} writes before it reads", "writes after reads")
            found = np.array(ends, dtype=np.int64).reshape(-1, 2)
            self.times[name] = (starts, found[:, 0], found[:, 1])

    def schedule(self, until: int, seed: int = 0, lane: int = 0) -> Replay:
        return self

    def accesses(self, name: str) -> tuple[Times, Times, Times]:
        return self.times[name]

    def under_way(self, name: str) -> int:
        return 1

    def placed(self) -> Mapping[str, tuple[float, float]]:
        return dict.fromkeys(self.times, (0.0, 0.0))

    def task(self, name: str) -> str:
        return ""

    def on(self, diagram: Whole, horizon: Duration) -> Whole:
        """A copy of a diagram in which the recorded blocks run at the recorded times."""
        return place(diagram, self, horizon)
