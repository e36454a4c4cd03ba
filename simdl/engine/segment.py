"""Integration between two instants: steps of all lanes, crossings and events of single ones.

All lanes step together; a lane that waits takes a step of length zero. So every decision is a mask, and a lane alone
does bit for bit what it does in a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from simdl.clock import FOREVER, SECOND, nanoseconds
from simdl.compile.node import ClockId
from simdl.engine.crossing import Guarded
from simdl.engine.instant import Instants
from simdl.engine.solver import AdaptiveSolver, Solver, advance, error_norm, first_step, next_step
from simdl.engine.span import Span
from simdl.engine.state import State
from simdl.engine.step import Step, add_compensated


def in_seconds(ns: Tensor) -> Tensor:
    """Nanoseconds as seconds, correctly rounded on every device: a GPU would multiply by the reciprocal of a number."""
    return ns.double() / torch.full_like(ns, SECOND, dtype=torch.float64)


@dataclass
class Failures:
    """Lanes that failed in a segment, with the reason."""

    lanes: Tensor | None = None
    reasons: list[tuple[Tensor, str]] = field(default_factory=list)

    def add(self, lanes: Tensor, reason: str) -> None:
        if bool(lanes.any()):
            self.lanes = lanes if self.lanes is None else self.lanes | lanes
            self.reasons.append((lanes, reason))


class Segments:
    """Integrates segments; made once for a run."""

    def __init__(self, instants: Instants, solver: Solver, max_step: float | None) -> None:
        self.instants, self.setup, self.model = instants, instants.setup, instants.model
        self.recorder, self.evaluator = instants.recorder, instants.evaluator
        self.solver, self.max_step = solver, max_step
        model = self.model
        self.programs = model.segment(model.graph.derivatives)
        self.guard_programs = model.segment(model.crossings)
        self.dense = model.segment(self.recorder.keys)
        self.reset_programs = {path: model.segment(reset.keys) for path, reset in model.graph.resets.items()}
        parts = (self.programs, self.guard_programs, self.dense, *self.reset_programs.values())
        self.constant = tuple(dict.fromkeys(n for part in parts for n in part.constant))
        self.smooth_inputs = [k for k, s in self.setup.inputs.items() if s.smooth]
        self.reads_time = bool(self.smooth_inputs) or (
            any("t" in n.keys for part in parts for n in part.varying)
            or any("t" in n.keys for n in model.graph.resets.values())
        )
        self.sources = {n.block for n in model.graph.edges}
        self.lane_edges = [i for i, n in enumerate(model.graph.edges) if any(k in self.setup.laned for k in n.keys)]
        self.events = bool(model.hits) or bool(self.lane_edges)

    def edge_after(self, state: State, index: int, ns: int | Tensor) -> Tensor:
        """The next edge of a source strictly after a time, ns (lanes,)."""
        node = self.model.graph.edges[index]
        env = dict(self.instants.base)
        now = torch.as_tensor(ns, dtype=torch.int64).expand(self.setup.lanes)
        env["t"] = in_seconds(now)
        given = node.function(**{name: env[key] for name, key in node.reads if isinstance(key, str)})
        given = torch.as_tensor(given, dtype=torch.float64).expand(self.setup.lanes)
        later = torch.round(given.clamp(max=4e9) * SECOND).to(torch.int64)
        return torch.where(torch.isfinite(given) & (later > now), later, FOREVER)

    def run(self, state: State, start: int, end: int) -> Failures:
        """Integrate all lanes from one instant to the next. Returns the lanes that failed."""
        failures = Failures()
        span = Span(self, state, start, end)
        if not self.model.continuous and not self.model.crossings and not self.events:
            for ns in self.recorder.grid(start, end):
                span.record(ns, state.y, None)
        elif self.solver.adaptive or self.model.crossings or self._own_events(state, end):
            Walk(self, span, failures).run()
        else:
            self._march(span)
        if failures.lanes is not None:  # where every lane has stopped, times are left: their values will be mended
            for ns in self.recorder.grid(start, end):
                if ns not in span.columns:
                    span.record(ns, state.y, None)
        span.flush()
        return failures

    def _own_events(self, state: State, end: int) -> bool:
        """Whether a lane has a hit or an edge of its own before `end`, ns."""
        times = [*state.next_hit.values(), *(state.next_edge[i] for i in self.lane_edges)]
        return any(bool((one < end).any()) for one in times)

    def steps(self, length: float) -> int:
        """The number of equal fixed steps of a segment."""
        if self.max_step is None:
            return 1
        return max(1, math.ceil(length / self.max_step * (1 - 1e-12)))

    def _march(self, span: Span) -> None:
        """Fixed steps of all lanes, without crossings or events."""
        state = span.state
        count = self.steps(span.length)
        # A tensor, so that a lane steps bit for bit as it does beside others that have events of their own.
        h = torch.full((self.setup.lanes,), span.length / count, dtype=torch.float64, device=self.setup.device)
        whole = span.length / count
        grid = iter(self.recorder.grid(span.start, span.end))
        ns = next(grid, None)
        slope: Tensor | None = None
        for j in range(count):
            tau = span.length * j / count
            step = advance(self.solver, span.slope, tau, state.y, h, slope)
            y = self.end(state, step)
            while ns is not None and (ns - span.start) / SECOND <= tau + whole:
                theta = ((ns - span.start) / SECOND - tau) / whole
                span.record(ns, y if theta == 1.0 else step.at(theta), None)
                ns = next(grid, None)
            slope = step.__dict__.get("f1")
            state.y = y

    def end(self, state: State, step: Step) -> Tensor:
        """The state after a step; in float32 with what its sum has lost carried along."""
        if state.carry is None:
            return step.y1
        y, state.carry = add_compensated(step.y0, state.carry, step.increment)
        return y


class Walk:
    """A segment in which lanes go their own way: adaptive steps, crossings, hits and edges of single lanes."""

    def __init__(self, segments: Segments, span: Span, failures: Failures) -> None:
        self.segments, self.span, self.failures, self.state = segments, span, failures, span.state
        self.solver = segments.solver
        lanes, device = segments.setup.lanes, segments.setup.device
        self.y = span.state.y
        self.carry = span.state.carry
        self.tau = torch.zeros(lanes, dtype=torch.float64, device=device)
        everyone = torch.ones(lanes, dtype=torch.bool, device=device)
        self.alive = everyone if span.state.frozen is None else ~span.state.frozen
        self.h = torch.full_like(self.tau, math.inf)
        self.norm = torch.ones_like(self.tau)
        self.attempts = torch.zeros_like(self.tau)
        self.behind = torch.full_like(self.tau, span.begin)  # the last edge of the lane's own, in seconds
        self.unshown: dict[int, Tensor] = {}  # times of the grid, ns, and the lanes that are there and not shown yet
        self.guarded = Guarded(self) if segments.model.crossings else None

    def run(self) -> None:
        segments, span = self.segments, self.span
        count = 1 if self.solver.adaptive else segments.steps(span.length)
        if self.guarded is not None:
            self.guarded.begin()
        self._next_events()
        if self.solver.adaptive:
            self._restart(torch.ones_like(self.alive))
        for j in range(count):
            self._to(span.length * (j + 1) / count, span.length / count)
        self.state.y, self.state.carry = self.y, self.carry
        if self.guarded is not None:
            self.state.armed = self.guarded.kept()

    def _to(self, goal: float, whole: float) -> None:
        """Bring every lane to `goal` seconds; `whole` is the step of a lane that nothing has interrupted."""
        todo = self.alive.clone()
        fresh = torch.ones_like(todo)
        span, solver = self.span, self.solver
        while bool(todo.any()):
            target = self.event.clamp(max=goal)
            gap = torch.where(todo, target - self.tau.detach(), 0.0)
            self._show(gap > 0)
            last: Tensor
            if isinstance(solver, AdaptiveSolver):
                last = self.h >= gap * (1 - 1e-12)
                h = torch.where(last, gap, self.h)
            else:
                last = torch.ones_like(todo)
                h = torch.where(fresh & (target == goal), whole, gap)
            h = torch.where(todo, h, 0.0)
            if torch.is_grad_enabled() and self.tau.requires_grad:
                h = h - (self.tau - self.tau.detach()) * last
            step = advance(solver, span.slope, self.tau, self.y, h.to(self.y.dtype))
            good = todo
            if isinstance(solver, AdaptiveSolver):
                good = self._control(step, h.detach(), last, todo)
            end = torch.where(last & (gap > 0) | (gap == 0), target, self.tau + h)
            if self.tau.requires_grad:
                end = torch.where(last, target, self.tau + h)
            reached = good & last
            crossed = self.guarded.find(step, h, end, good) if self.guarded is not None else None
            if crossed is not None:
                step, end = crossed.step, crossed.end
                reached = reached & ~crossed.lanes
            due = reached & (self.event <= goal) & (target == self.event)
            jumps = due if crossed is None else due | crossed.lanes
            self._record(step, torch.where(jumps, end - self.tau, h).detach(), end.detach(), good, jumps)
            self._accept(step, end, good)
            fresh = fresh & ~good
            if crossed is not None and self.guarded is not None:
                self.guarded.fire(crossed.fired)
                self._next_events()  # what it triggers may ask for a hit
            if bool(due.any()):
                self._events(due)
            if self.guarded is not None and bool(good.any()):
                self.guarded.arm(crossed.fired if crossed is not None else None)
            if isinstance(solver, AdaptiveSolver) and (crossed is not None or bool(due.any())):
                self._restart(due if crossed is None else due | crossed.lanes)
            todo = todo & self.alive & ~(reached & ~due & (target == goal))
            todo = todo & ~(due & (self.event > goal) & (self.tau.detach() >= goal))

    def _accept(self, step: Step, end: Tensor, good: Tensor) -> None:
        if self.carry is None:
            new = step.y1
        else:
            new, carry = add_compensated(step.y0, self.carry, step.increment)
            self.carry = torch.where(good, carry, self.carry)
        if bool(good.all()):
            self.y, self.tau = new, end
        else:
            self.y = torch.where(good, new, self.y)
            self.tau = torch.where(good, end, self.tau)

    def _control(self, step: Step, h: Tensor, last: Tensor, todo: Tensor) -> Tensor:
        """Accept or reject each lane's attempt and choose its next step size."""
        solver = self.solver
        assert isinstance(solver, AdaptiveSolver)
        norm = error_norm(step, step.y0, solver.rtol, solver.atol)
        good = todo & (norm <= 1)
        longer = next_step(h, norm, self.norm, solver.order)
        if self.segments.max_step is not None:
            longer = longer.clamp(max=self.segments.max_step)
        longer = torch.where(good & last, torch.maximum(longer, self.h), longer)
        self.h = torch.where(todo & (h > 0), longer, self.h)
        self.norm = torch.where(todo & (h > 0), norm, self.norm)
        self.attempts = self.attempts + todo.double()
        short = todo & ~good & (self.h < 1e-14 * (1e-3 + self.tau.detach()))
        self._fail(short, "the step size went to zero: the solution blows up or is stiff for this method")
        spent = todo & (self.attempts >= solver.max_steps)
        self._fail(spent & ~short, f"more than {solver.max_steps} steps between two instants")
        return good & self.alive

    def _fail(self, lanes: Tensor, reason: str) -> None:
        self.failures.add(lanes, reason)
        self.alive = self.alive & ~lanes

    def _restart(self, lanes: Tensor) -> None:
        """A first step size for lanes at a start or after a reset: no error history crosses it."""
        solver = self.solver
        assert isinstance(solver, AdaptiveSolver)
        if self.y.shape[0] == 0:
            h = torch.full_like(self.tau.detach(), self.span.length)
        elif solver.first_step is not None:
            h = torch.full_like(self.tau.detach(), nanoseconds(solver.first_step, "first_step") / SECOND)
        else:
            h = first_step(self.span.slope, self.tau.detach(), self.y.detach(), solver.rtol, solver.atol, solver.order)
            h = h.double()
        if self.segments.max_step is not None:
            h = h.clamp(max=self.segments.max_step)
        self.h = torch.where(lanes, h, self.h)
        self.norm = torch.where(lanes, 1.0, self.norm)

    def _record(self, step: Step, h: Tensor, end: Tensor, good: Tensor, jumps: Tensor) -> None:
        """Record within a step of size h. A time of the grid at its end waits for what happens there to these lanes."""
        grid = self.segments.recorder.grid(self.span.start, self.span.end)
        if not grid:
            return
        tau = self.tau.detach()
        first, final = float(tau[good].min()) if bool(good.any()) else 0.0, float(end.max())
        skip = max(0, math.floor((self.span.start + first * SECOND - grid.start) / grid.step))
        for ns in grid[skip:]:
            at = (ns - self.span.start) / SECOND
            if at > final:
                break
            mask = good & (tau < at) & (at <= end)
            theta = ((at - tau) / torch.where(mask, h, 1.0)).clamp(0.0, 1.0)
            here = mask & ((theta == 1) | (jumps & (end == at)))
            if bool(here.any()):
                self.unshown[ns] = self.unshown.get(ns, False) | here
                mask = mask & ~here
            if bool(mask.any()):
                self.span.record(ns, step.at(theta), mask)

    def _show(self, lanes: Tensor) -> None:
        """Record where lanes are, if that is a time of the grid and not recorded yet."""
        for ns, there in list(self.unshown.items()):
            now = there & lanes
            if bool(now.any()):
                self.span.record(ns, self.y, now)
                self.unshown[ns] = there & ~lanes
            if not bool(self.unshown[ns].any()):
                del self.unshown[ns]

    # -- hits and edges of single lanes ---------------------------------------------------------------------------

    def _next_events(self) -> None:
        """The time in seconds of each lane's next own event within the segment, inf for none."""
        state, span = self.state, self.span
        times = [*state.next_hit.values(), *(state.next_edge[i] for i in self.segments.lane_edges)]
        if not times:
            self.event_ns = torch.full(self.tau.shape, FOREVER, dtype=torch.int64, device=self.tau.device)
        else:
            self.event_ns = torch.stack(times).amin(dim=0)
        inside = self.event_ns < span.end
        self.event = torch.where(inside, in_seconds(self.event_ns - span.start), math.inf)
        if self.segments.lane_edges and span.window is not None:
            ahead = in_seconds(self.event_ns.clamp(max=span.end))
            span.window = (self.behind, torch.nextafter(ahead, torch.full_like(ahead, -math.inf)))

    def _events(self, due: Tensor) -> None:
        """Fire what is due for these lanes at their own times."""
        state, segments = self.state, self.segments
        now = self.event_ns
        clocks: dict[ClockId, Tensor] = {}
        for i, times in state.next_hit.items():
            mask = due & (times == now)
            if bool(mask.any()):
                clocks["hit", i] = mask
        if clocks:
            state.y = self.y
            segments.instants.event(state, self.span.start, torch.where(due, in_seconds(now), 0.0), clocks)
            for lanes, why in segments.instants.failures():
                self._fail(lanes, why)
            self.span.refresh()
            again = torch.stack([times == now for times in state.next_hit.values()]).any(dim=0)
            self._show(due & ~again)  # before what the hits push through zero
            if self.guarded is not None:
                self.guarded.jump(torch.stack(list(clocks.values())).any(dim=0))
        for i in segments.lane_edges:
            mask = due & (state.next_edge[i] == now)
            state.next_edge[i] = torch.where(mask, segments.edge_after(state, i, now), state.next_edge[i])
            self.behind = torch.where(mask, in_seconds(now), self.behind)
        self._next_events()
