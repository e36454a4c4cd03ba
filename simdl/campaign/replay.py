"""One lane of a campaign again, alone, on the same draws and noise and the same engine.

Bit for bit the lane of the campaign: always on the native engine, and in torch where no matrix product is involved."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch

from simdl.campaign.shard import Job
from simdl.clock import Duration, nanoseconds
from simdl.engine.simulator import Simulator
from simdl.engine.snapshot import Snapshot
from simdl.result import Run

CHECKPOINTS = 64  # snapshots over the whole run


class Replay:
    """A lane to look at: `run` is its whole run, `at(t)` the simulator at a time, forwards or backwards."""

    def __init__(self, job: Job, lane: int) -> None:
        self.job, self.lane = job, lane
        self.ids = torch.tensor([lane])
        self._snapshots: list[Snapshot] = []

    def __repr__(self) -> str:
        return f"<Replay of lane {self.lane}, seed {self.job.seed}: .run, .at(t)>"

    @cached_property
    def run(self) -> Run:
        """Everything the lane did, with every output recorded."""
        return self.job.simulate(self.ids, record=None)[0]

    @cached_property
    def simulator(self) -> Simulator:
        """The lane alone as a simulator at t = 0."""
        _, settings, inputs = self.job.given(self.ids)
        return Simulator(
            self.job.model, lanes=1, inputs=inputs, set=settings, record=self.job.record, every=self.job.every,
            seed=self.job.seed, dtype=self.job.dtype, solver=self.job.solver, ids=self.ids, engine=self.job.engine,
        )  # fmt: skip

    def at(self, t: Duration) -> Simulator:
        """The simulator at the last instant at or before t: `replay.at(2.0)["plant.theta"]`, then `.step()` on."""
        end, simulator = nanoseconds(t), self.simulator
        spacing = max(1, nanoseconds(self.job.until) // CHECKPOINTS)
        back = [s for s in self._snapshots if s.state.ns <= end]
        if simulator.state.ns > end:
            if back:
                simulator.restore(back[-1])
            else:
                vars(self).pop("simulator")
                simulator = self.simulator
        while simulator.state.ns < 0 or simulator.next_instant() <= end:
            if self.job.engine == "native":
                simulator.decide(end)
                simulator.run_until(f"{simulator.latest_instant(min(end, max(0, simulator.state.ns) + spacing))} ns")
            else:
                simulator.step()
            newest = self._snapshots[-1].state.ns if self._snapshots else -spacing
            if simulator.state.ns - newest >= spacing:
                self._snapshots.append(simulator.snapshot())
        return simulator

    def fork(self, **change: Any) -> Run:
        """The lane's run with one cause changed, on the same noise: `replay.fork(set={...})`."""
        _, settings, inputs = self.job.given(self.ids)
        from simdl.simulate import simulate

        return simulate(
            self.job.model, self.job.until, lanes=1, set={**settings, **change.get("set", {})},
            inputs={**inputs, **change.get("inputs", {})}, record=None, every=self.job.every, seed=self.job.seed,
            dtype=self.job.dtype, solver=change.get("solver", self.job.solver), ids=self.ids,
        )  # fmt: skip
