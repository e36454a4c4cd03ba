"""Crossings within a segment: arming, finding, firing (S11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from simdl.compile.graph import raw
from simdl.compile.node import ClockId
from simdl.engine.instant import _like
from simdl.engine.root import rising_start, two_stage
from simdl.engine.solver import advance
from simdl.engine.step import Step

if TYPE_CHECKING:
    from simdl.engine.segment import Walk

BUDGET = 64  # firings of one crossing in one lane between two instants or hits of the lane
TIE = 1e-12  # roots closer than this fraction of a step fire together
ZERO = 1e-9  # a guard that has just fired and is this small counts as zero
SHORT = 1e-13  # a flight between two firings of one guard that takes less of a step cannot be told from rest


@dataclass
class Crossed:
    """Where steps end at a crossing: the step of all lanes, their ends, and which guards fire (guards, lanes)."""

    step: Step
    end: Tensor
    lanes: Tensor
    fired: Tensor


class Guarded:
    """The guards of a walk."""

    def __init__(self, walk: Walk) -> None:
        self.walk, self.span = walk, walk.span
        self.crossings = walk.segments.model.crossings
        self.model = walk.segments.model
        shape, device = (len(self.crossings), walk.segments.setup.lanes), walk.segments.setup.device
        self.counts = torch.zeros(shape, dtype=torch.int64, device=device)
        self.values = torch.zeros(shape, device=device)
        self.armed = torch.zeros_like(self.counts, dtype=torch.bool)

    def begin(self) -> None:
        """At a segment's start: fire what the instant has pushed through zero, then arm."""
        before = self.walk.state.armed
        self.values = self._values()
        fired = None
        if before is not None:
            self.armed = before
            fired = before & (self.values <= 0) & self.walk.alive
            if bool(fired.any()):
                self.fire(fired)
            else:
                fired = None
        self.arm(fired)

    def jump(self, lanes: Tensor) -> None:
        """After a hit, from which the budgets of its lanes begin anew: fire what it has pushed through zero."""
        self.counts = torch.where(lanes, 0, self.counts)
        fired = self.armed & (self._values() <= 0) & lanes
        if bool(fired.any()):
            self.fire(fired)
            self.arm(fired)

    def _values(self) -> Tensor:
        with torch.no_grad():
            return self.span.guards(self.walk.tau.detach(), self.walk.y.detach())

    def _rates(self) -> Tensor:
        """The time derivatives of all guards along the flow, (guards, lanes)."""
        tau, y = self.walk.tau.detach(), self.walk.y.detach()
        with torch.no_grad():
            slope = self.span.slope(tau, y)

            def along(s: Tensor) -> Tensor:
                return self.span.guards(tau + s, y + s.to(y.dtype) * slope)

            zero = torch.zeros((), dtype=torch.float64, device=tau.device)
            rates: Tensor = torch.func.jvp(along, (zero,), (torch.ones_like(zero),))[1]
        return rates

    def arm(self, fired: Tensor | None) -> None:
        """Arm every guard with the lexicographic sign of (g, dg/dt); one that has just fired counts as zero."""
        self.values = self._values()
        armed = self.values > 0
        zero = self.values == 0
        self.fresh = torch.zeros_like(armed)
        if fired is not None:
            self.fresh = fired & (self.values.abs() <= ZERO)
            zero = zero | self.fresh
        if bool(zero.any()):
            armed = torch.where(zero, self._rates() > 0, armed)
        self.armed = self._able(armed)

    def kept(self) -> Tensor:
        """Which guards are positive at the end of the segment, (guards, lanes)."""
        return self._able(self.values > 0)

    def _able(self, armed: Tensor) -> Tensor:
        """Without the guards of lanes at rest or disabled."""
        rows = list(armed.unbind(0))
        for k, node in enumerate(self.crossings):
            rest = self._rest(k)
            if rest is not None:
                rows[k] = rows[k] & (self.walk.state.raw[rest] == 0)
            if node.enable is not None:
                rows[k] = rows[k] & self.span.env[node.enable.path]
        return torch.stack(rows)

    def _rest(self, k: int) -> str | None:
        node = self.crossings[k]
        declaration = self.model.values[node.path].declaration
        if declaration.rest is None:
            return None
        return f"{node.block}.{declaration.rest.name}" if node.block else str(declaration.rest.name)

    def find(self, step: Step, h: Tensor, end: Tensor, good: Tensor) -> Crossed | None:
        """The earliest crossing of each lane within a step, located on the true step map."""
        walk, span = self.walk, self.span
        tau, size = walk.tau.detach(), h.detach()
        with torch.no_grad():
            after = span.guards(end.detach(), step.y1.detach())
            falls = self.armed & (after <= 0) & good
            if not bool(falls.any()):
                return None
            found = [self._root(k, step, tau, size, after[k], falls[k]) for k in range(len(self.crossings))]
            theta = torch.where(falls, torch.stack([theta for theta, _ in found]), 2.0)
            first = theta.amin(dim=0)
            lanes = falls.any(dim=0)
            fired = falls & (theta <= first + TIE)
            stuck = fired & self.fresh & (torch.stack([missing for _, missing in found]) | (theta < SHORT))
            self.counts = torch.where(stuck, BUDGET, self.counts)  # as good as at rest
        part = torch.where(lanes, first, 1.0)
        h_at = h * part
        true = advance(walk.solver, span.slope, walk.tau, step.y0, h_at.to(step.y0.dtype), step.f0)
        if torch.is_grad_enabled():
            h_at = h_at + self._correction(true, h_at, lanes, fired)
            true = advance(walk.solver, span.slope, walk.tau, step.y0, h_at.to(step.y0.dtype), step.f0)
        return Crossed(true, torch.where(lanes, walk.tau + h_at, end), lanes, fired)

    def _correction(self, true: Step, h: Tensor, lanes: Tensor, fired: Tensor) -> Tensor:
        """Zero in value; in gradient, the implicit-function derivative of the event time, -g / (dg/dt)."""
        walk, span = self.walk, self.span
        end = walk.tau + h
        guard = span.guards(end, true.y1)
        which = fired.int().argmax(dim=0, keepdim=True)
        g = guard.gather(0, which)[0]
        y, tau = true.y1.detach(), end.detach()
        with torch.no_grad():
            slope = span.slope(tau, y)

            def along(s: Tensor) -> Tensor:
                return span.guards(tau + s, y + s.to(y.dtype) * slope)

            zero = torch.zeros((), dtype=torch.float64, device=tau.device)
            rates: Tensor = torch.func.jvp(along, (zero,), (torch.ones_like(zero),))[1]
            rate = rates.gather(0, which)[0]
        rate = torch.where(lanes & (rate != 0), rate, 1.0)
        shift = -(g - g.detach()) / rate
        return torch.where(lanes, shift, torch.zeros_like(shift)).to(h.dtype)

    def _root(
        self, k: int, step: Step, tau: Tensor, h: Tensor, after: Tensor, falls: Tensor
    ) -> tuple[Tensor, Tensor]:
        """theta (lanes,) at which guard k falls through zero on the true step map; and the lanes in which it starts at
        zero and does not rise above rounding."""
        span, walk = self.span, self.walk
        one = torch.ones_like(tau)
        if not bool(falls.any()):
            return one, torch.zeros_like(falls)
        y0, f0 = step.y0.detach(), step.f0.detach()
        dtype = y0.dtype

        def dense(theta: Tensor) -> Tensor:
            return span.guards(tau + theta * h, step.at(theta).detach())[k].double()

        def true(theta: Tensor) -> Tensor:
            y = advance(walk.solver, span.slope, tau, y0, (theta * h).to(dtype), f0).y1
            return span.guards(tau + theta * h, y)[k].double()

        before = self.values[k].double()
        low, g_low = torch.zeros_like(tau), before
        missing = torch.zeros_like(falls)
        rising = falls & (before <= ZERO)
        if bool(rising.any()):
            left, value, missing = rising_start(dense, one)
            found = rising & ~missing & (left < 1)
            low, g_low = torch.where(found, left, low), torch.where(found, value, g_low)
            missing = rising & ~found & ~(before > 0)
        g_low = torch.where(falls, g_low, torch.full_like(g_low, -1.0))
        theta = two_stage(dense, true, low, one, g_low, after.double())
        return torch.where(missing, torch.zeros_like(theta), theta), missing

    def fire(self, fired: Tensor) -> None:
        """Apply the reset maps of fired guards in path order, each seeing the previous one's result."""
        walk, span, state = self.walk, self.span, self.walk.state
        pending, done = fired, torch.zeros_like(fired)
        armed = self.armed & ~fired
        for _ in range(BUDGET):
            if not bool(pending.any()):
                break
            for k in range(len(self.crossings)):
                mask = pending[k] & walk.alive
                pending = pending.clone()
                pending[k] = False
                if not bool(mask.any()):
                    continue
                mask = self._spend(k, mask)
                if bool(mask.any()):
                    self._apply(k, mask)
                done[k] = done[k] | mask
                after = self._values()
                pending = pending | (armed & (after <= 0) & ~done & mask)
                armed = armed & (after > 0)
        state.y = walk.y
        span.refresh()

    def _spend(self, k: int, mask: Tensor) -> Tensor:
        """Count firings; a lane whose budget is spent comes to rest, or fails."""
        state = self.walk.state
        self.counts[k] += mask
        over = mask & (self.counts[k] > BUDGET)
        if bool(over.any()):
            rest = self._rest(k)
            if rest is None:
                self.walk._fail(over, f"{self.crossings[k].path} fired more than {BUDGET} times between two instants")
            else:
                value = state.raw[rest]
                state.raw[rest] = torch.where(_like(over, value), torch.ones_like(value), value)
                self.span.refresh()
        return mask & ~over

    def _apply(self, k: int, mask: Tensor) -> None:
        walk, span, state = self.walk, self.span, self.walk.state
        node = self.crossings[k]
        t = (walk.tau + span.begin).detach()
        walk.segments.recorder.events += [(int(lane), float(t[lane]), node.path) for lane in mask.nonzero()[:, 0]]
        resets = self.model.graph.resets.get(node.path)
        if resets is not None:
            env = span.stage(walk.tau, walk.y)
            span.evaluate(walk.segments.reset_programs[node.path].varying, env)
            found = span.evaluator.call(resets, env)
            rows = walk.segments.instants.rows
            for key, value in found.items():
                if key in rows:
                    new = value.reshape(value.shape[0], -1).T
                    where = rows[key]
                    kept = torch.where(mask, new, walk.y[where])
                    walk.y = torch.cat([walk.y[: where.start], kept, walk.y[where.stop :]])
                    if walk.carry is not None:
                        walk.carry = torch.where(mask, torch.zeros_like(walk.carry), walk.carry)
                else:
                    name = raw(key) if key in self.model.discrete else key
                    state.raw[name] = torch.where(_like(mask, value), value, state.raw[name])
        triggers: dict[ClockId, Tensor] = {
            ("trigger", r.index): mask for r in self.model.regions if r.by_crossing and r.signal == node.path
        }
        if triggers:
            state.y = walk.y
            walk.segments.instants.event(state, span.start, t, triggers)
        span.refresh()
