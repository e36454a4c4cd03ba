"""Lanes that fail: found, put back to their last good state for good, and kept out of everybody's gradient (S12)."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.clock import seconds
from simdl.compile import Model
from simdl.engine.evaluate import Env
from simdl.engine.instant import _like
from simdl.engine.state import State
from simdl.errors import RunError

if TYPE_CHECKING:
    from simdl.engine.simulator import Simulator


class FailedLanes:
    """What a simulator does about lanes that are not finite, or that a segment has given up."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator: Simulator = weakref.proxy(simulator)  # no cycle: a run is freed when it is let go
        self._base: Env = {}  # parameters and constants while frozen lanes compute on others' values

    def begin(self, failed: Mapping[int, str]) -> None:
        """Lanes that cannot begin have failed from the start."""
        s = self.simulator
        if not failed:
            return
        lanes = torch.zeros(s.setup.lanes, dtype=torch.bool, device=s.setup.device)
        lanes[list(failed)] = True
        s.state.frozen, s.state.status = lanes, {lane: (0.0, why) for lane, why in failed.items()}
        self.raise_if_strict(s.state.status)

    def raise_if_strict(self, status: Mapping[int, tuple[float, str]]) -> None:
        """With strict=True, a RunError for the first failed lane."""
        if self.simulator.strict and status:
            lane, (t, why) = next(iter(status.items()))
            self.refuse(lane, why, t)

    def refuse(self, lane: int, why: str, t: float) -> None:
        """Raise for a failed lane."""
        s = self.simulator
        number = int(s.setup.ids[lane])
        raise RunError(f"{s.model.name}: lane {number}, seed {s.setup.seed}", f"{why}, after t = {t:g} s",
                       "a lane that stays finite",
                       f"replay it alone: simulate(..., seed={s.setup.seed}, ids=[{number}])")  # fmt: skip

    def found(self, reasons: list[tuple[Tensor, str]]) -> Tensor | None:
        """The lanes that failed in this cycle and were not frozen before."""
        s = self.simulator
        state = s.state
        floats = [v for v in state.raw.values() if v.is_floating_point()]
        with torch.no_grad():
            parts = [state.y] if state.y.shape[0] else []
            scalars = [v for v in floats if v.ndim == 1]
            if scalars:
                parts.append(torch.stack(scalars))
            parts += [v.reshape(v.shape[0], -1).T for v in floats if v.ndim > 1]
            bad: Tensor | None = None
            if parts:
                total = torch.cat(parts).sum(dim=0) if len(parts) > 1 else parts[0].sum(dim=0)
                bad = ~torch.isfinite(total)
            for lanes, _ in reasons:
                bad = lanes if bad is None else bad | lanes
            if bad is None:
                return None
            if state.frozen is not None:
                bad = bad & ~state.frozen
            return bad if bool(bad.any()) else None

    def freeze(self, bad: Tensor, reasons: list[tuple[Tensor, str]], saved: State, mark: Any) -> None:
        """Put failed lanes back to their last good state, for good."""
        s = self.simulator
        text = {int(lane): why for lanes, why in reasons for lane in lanes.nonzero()[:, 0]}
        for lane in bad.nonzero()[:, 0].tolist():
            why = text.get(lane) or self._not_finite(lane)
            saved.status[lane] = (seconds(max(0, saved.ns)), why)
            if s.strict:
                self.refuse(lane, why, seconds(max(0, saved.ns)))
        frozen = bad if saved.frozen is None else saved.frozen | bad
        if s.grad:
            s.recorder.rollback(mark)
            saved.frozen = frozen
            s.state = saved.copy()
            return
        new = s.state.map(lambda now, good: now if good is None else torch.where(_like(bad, now), good, now), saved)
        new.frozen, new.status = frozen, saved.status
        s.state = new
        self.mend(bad, mark)

    def mend(self, bad: Tensor, mark: tuple[dict[str, int], int]) -> None:
        """Recorded values of the cycle in which a lane failed are its last good ones."""
        s = self.simulator
        for key, length in mark[0].items():
            columns = s.recorder.columns[key]
            for i in range(length, len(columns)):
                last = columns[length - 1] if length else torch.zeros_like(columns[i])
                columns[i] = torch.where(_like(bad, columns[i]), last, columns[i])

    def _not_finite(self, lane: int) -> str:
        s = self.simulator
        for key, rows in s.instants.rows.items():
            if not bool(torch.isfinite(s.state.y[rows, lane]).all()):
                return not_finite(s.model, key)
        for key, value in s.state.raw.items():
            if value.is_floating_point() and not bool(torch.isfinite(value[lane]).all()):
                return not_finite(s.model, key.removesuffix("!"))
        return "not finite"

    def substitute(self) -> int | None:
        """With gradients, let frozen lanes compute on a healthy lane's values, whose results are then dropped: so their
        gradient is exactly zero and never NaN."""
        s = self.simulator
        state = s.state
        if state.frozen is None or not s.grad or bool(state.frozen.all()):
            return None
        healthy = int((~state.frozen).nonzero()[0, 0])
        index = torch.where(state.frozen, healthy, torch.arange(s.setup.lanes, device=s.setup.device))
        s.state = state.map(lambda now, _: now[index])
        s.state.queues = {p: tuple((at, {k: v[index] for k, v in values.items()}, m) for at, values, m in q)
                             for p, q in state.queues.items()}  # fmt: skip
        self._base = s.instants.base
        s.instants.base = {k: v[index] for k, v in self._base.items()}
        return healthy

    def keep(self, saved: State) -> None:
        """With gradients: failed lanes stay where they were, off the graph."""
        s = self.simulator
        frozen = saved.frozen
        assert frozen is not None
        s.instants.base = self._base
        kept = s.state.map(
            lambda now, good: now if good is None else torch.where(_like(frozen, now), good.detach(), now), saved
        )
        kept.frozen = frozen
        s.state = kept

    def hold(self, saved: State, frozen: Tensor) -> None:
        """Without gradients: failed lanes stay where they were."""
        s = self.simulator
        s.state = s.state.map(
            lambda now, good: now if good is None else torch.where(_like(frozen, now), good, now), saved
        )


def not_finite(model: Model, key: str) -> str:
    """Why a lane fails whose state is not finite: the state, or what it says that it keeps."""
    declared = model.values[key].declaration
    return f"{getattr(declared, 'keeps', '') or key} is not finite"
