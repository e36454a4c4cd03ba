"""Programs for lanes that go their own way: adaptive steps, guards, resets, hits and edges of single lanes.

Beside the slots of the state, a lane has working slots: `k0` the slope at its time, `k1`… the further stages, `f1` the
slope at the step's end, `y1` its end, `norm` its error, `d` the coefficients of its dense output, `g` guards.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from simdl.compile.graph import raw
from simdl.compile.node import ClockId
from simdl.engine.native.ir import INSTANT, STAGE
from simdl.engine.native.lower import Lowering, Program
from simdl.engine.solver import AdaptiveSolver, advance, error_norm, first_step, grown, magnitude
from simdl.engine.span import Span
from simdl.engine.state import State
from simdl.engine.step import ExplicitStep, Step, add_compensated, weighted
from simdl.engine.tableau import Tableau
from simdl.errors import LoweringError


class Walk:
    """The programs of a lane's own way through a segment."""

    def __init__(self, lowering: Lowering) -> None:
        self.low, self.model = lowering, lowering.model
        self.solver = lowering.solver
        self.size = lowering.instants.size
        self.adaptive = isinstance(self.solver, AdaptiveSolver)
        tableau = self.solver.tableau
        if not isinstance(tableau, Tableau):
            raise LoweringError(lowering.model.name, f"the solver {type(self.solver).__name__}", "an explicit method")
        self.tableau = tableau
        self.stages = len(tableau.nodes)
        self.slope_at_end = tableau.error_row is not None or tableau.dense_rows is not None

    def _span(self, state: State) -> Span:
        span = self.low.span(state)
        if self.low.segments.lane_edges:
            span.window = (self.low.scalar("right", INSTANT), self.low.left)
        return span

    def _rows(self, name: str) -> Tensor:
        """A working slot with a number for each continuous state."""
        state = torch.zeros(self.size, self.low.lanes, dtype=self.low.setup.dtype)
        return self.low.rows(state, f"work:{name}", STAGE)

    def _program(self, name: str, trace: Callable[[State], dict[str, Tensor]]) -> Program:
        """Trace a function that gives working slots new values."""
        with self.low.tracer.recording():
            state = self.low.state()
            found = trace(state)
            return Program(name, {f"work:{k}": self.low.value(v) for k, v in found.items()})

    def _step(self, state: State, span: Span) -> ExplicitStep:
        """The step whose stages are in the working slots."""
        step = ExplicitStep.__new__(ExplicitStep)
        h = self.low.scalar("h")
        vars(step).update(f=span.slope, t=self.low.scalar("tau"), y0=state.y, h=h, grad=False, tableau=self.tableau)
        ks = [self._rows(f"k{i}") for i in range(self.stages)]
        vars(step).update(ks=ks, f0=ks[0], step=h.to(state.y.dtype), _total=weighted(self.tableau.weight_row, ks))
        if self.slope_at_end:
            vars(step)["f1"] = self._rows("f1")
        return step

    def _dense(self, state: State) -> Step:
        """The step whose dense output is in the working slots."""
        step = Step.__new__(Step)
        terms = 3 if self.tableau.dense_rows is None else 2 + len(self.tableau.dense_rows)
        vars(step).update(y0=state.y, polynomial=tuple(self._rows(f"d{i}") for i in range(terms)))
        return step

    # -- steps ----------------------------------------------------------------------------------------------------

    def slope(self) -> Program:
        """k0: the slope where the lane is."""
        return self._program("slope", lambda s: {"k0": self._span(s).slope(self.low.scalar("tau"), s.y)})

    def attempt(self) -> Program:
        """A step of size h from k0: the stages, the end, and for an adaptive method the error's norm."""

        def trace(state: State) -> dict[str, Tensor]:
            span, solver = self._span(state), self.solver
            step = advance(solver, span.slope, self.low.scalar("tau"), state.y, self.low.scalar("h"), self._rows("k0"))
            assert isinstance(step, ExplicitStep)
            found = {f"k{i}": k for i, k in enumerate(step.ks) if i}
            found["y1"] = step.y1
            if state.carry is not None:
                found["gain"] = step.increment
            if isinstance(solver, AdaptiveSolver):
                found["norm"] = error_norm(step, step.y0, solver.rtol, solver.atol)
            if self.slope_at_end:
                found["f1"] = step.f1
            return found

        return self._program("attempt", trace)

    def accept(self) -> Program:
        """The end of the step as the new state."""
        with self.low.tracer.recording():
            state = self.low.state()
            before = state.copy()
            if state.carry is None:
                state.y = self._rows("y1")
            else:
                state.y, state.carry = add_compensated(state.y, state.carry, self._rows("gain"))
            return Program("accept", self.low.changes(before, state))

    def control(self) -> Program:
        """The size of the next attempt, and the logarithm of the norm, which the one after it asks for."""

        def trace(state: State) -> dict[str, Tensor]:
            ones = torch.ones(self.low.lanes, dtype=self.low.setup.dtype)
            norm, before = (self.low.tracer.register(ones, f"work:{name}", STAGE) for name in ("norm", "last"))
            now = magnitude(norm)
            return {"next": grown(self.low.scalar("h"), now, before, self.solver.order).double(), "now": now}

        return self._program("control", trace)

    def first(self) -> Program:
        """A first size, at a start or after a reset."""

        def trace(state: State) -> dict[str, Tensor]:
            solver = self.solver
            assert isinstance(solver, AdaptiveSolver)
            tau = self.low.scalar("tau")
            size = first_step(self._span(state).slope, tau, state.y, solver.rtol, solver.atol, solver.order)
            return {"next": size.double()}

        return self._program("first", trace)

    def dense(self) -> Program:
        """The coefficients of the step's dense output."""

        def trace(state: State) -> dict[str, Tensor]:
            step = self._step(state, self._span(state))
            return {f"d{i}": d for i, d in enumerate(step.polynomial)}

        return self._program("dense", trace)

    def within(self) -> Program:
        """The recorded values at theta of the step, `at` seconds into the segment, at time t."""
        with self.low.tracer.recording():
            state = self.low.state()
            y = self._dense(state).at(self.low.scalar("theta")) if self.size else state.y
            env = self._span(state).shown(self.low.scalar("at"), self.low.t, y)
            return Program("within", {}, {key: self.low.value(env[key]) for key in self.low.recorder.keys})

    # -- guards ---------------------------------------------------------------------------------------------------

    def guards(self) -> Program:
        """All guards where the lane is."""
        return self._program("guards", lambda s: {"g": self._span(s).guards(self.low.scalar("tau"), s.y)})

    def guards_ahead(self) -> Program:
        """All guards at the end of the step, `at` seconds into the segment."""
        return self._program("ahead", lambda s: {"g": self._span(s).guards(self.low.scalar("at"), self._rows("y1"))})

    def rates(self) -> Program:
        """The time derivatives of all guards along the flow."""

        def trace(state: State) -> dict[str, Tensor]:
            span, tau = self._span(state), self.low.scalar("tau")
            slope = span.slope(tau, state.y)
            with torch.enable_grad():
                time, y = tau.detach().requires_grad_(True), state.y.detach().requires_grad_(True)
                guards = span.guards(time, y)
                rates = [self._rate(g, time, y, slope) for g in guards.unbind(0)]
            return {"g": torch.stack(rates)}

        return self._program("rates", trace)

    def _rate(self, g: Tensor, time: Tensor, y: Tensor, slope: Tensor) -> Tensor:
        """dg/dt + dg/dy f: lanes do not see each other, so one backward pass gives every lane's gradient."""
        if not g.requires_grad:
            return torch.zeros_like(g)
        by_time, by_state = torch.autograd.grad(g, (time, y), torch.ones_like(g), retain_graph=True, allow_unused=True)
        rate = torch.zeros_like(g) if by_time is None else by_time.to(g.dtype)
        if by_state is not None and by_state.shape[0]:
            rate = rate + (by_state * slope).sum(dim=0)
        return rate.detach()

    def guard_on_dense(self, k: int) -> Program:
        """Guard k at theta of the step's dense output."""

        def trace(state: State) -> dict[str, Tensor]:
            theta, h = self.low.scalar("theta"), self.low.scalar("h")
            y = self._dense(state).at(theta) if self.size else state.y
            return {"one": self._span(state).guards(self.low.scalar("tau") + theta * h, y)[k].double()}

        return self._program("guard", trace)

    def guard_on_step(self, k: int) -> Program:
        """Guard k at the end of a step that is theta as long."""

        def trace(state: State) -> dict[str, Tensor]:
            span, tau, part = self._span(state), self.low.scalar("tau"), self.low.scalar("theta") * self.low.scalar("h")
            y = state.y
            if self.size:
                y = advance(self.solver, span.slope, tau, y, part.to(y.dtype), self._rows("k0")).y1
            return {"one": span.guards(tau + part, y)[k].double()}

        return self._program("guard", trace)

    # -- resets, triggers, hits, edges --------------------------------------------------------------------------------

    def reset(self, k: int) -> Program:
        """The reset map of crossing k."""
        node = self.model.crossings[k]
        resets = self.model.graph.resets.get(node.path)
        with self.low.tracer.recording():
            state = self.low.state()
            before = state.copy()
            if resets is not None:
                span = self._span(state)
                env = span.stage(self.low.scalar("tau"), state.y)
                span.evaluate(self.low.segments.reset_programs[node.path].varying, env)
                rows = self.low.instants.rows
                for key, value in self.low.instants.evaluator.call(resets, env).items():
                    if key in rows:
                        where = rows[key]
                        new = value.reshape(value.shape[0], -1).T
                        state.y = torch.cat([state.y[: where.start], new, state.y[where.stop :]])
                        if state.carry is not None:
                            state.carry = torch.zeros_like(state.carry)
                    else:
                        state.raw[raw(key) if key in self.model.discrete else key] = value
            return Program("reset", self.low.changes(before, state))

    def trigger(self, k: int) -> Program | None:
        """What the firing of crossing k triggers."""
        node = self.model.crossings[k]
        triggered = [r for r in self.model.regions if r.by_crossing and r.signal == node.path]
        if not triggered:
            return None
        due: dict[ClockId, Tensor] = {}
        with self.low.tracer.recording():
            for region in triggered:
                due["trigger", region.index] = torch.ones(self.low.lanes, dtype=torch.bool)
            return self._event("trigger", due)

    def hits(self) -> Program:
        """The hits that fall due at ns, the lane's own time."""
        with self.low.tracer.recording():
            state = self.low.state()
            due: dict[ClockId, Tensor] = {("hit", i): state.next_hit[i] == self.low.ns for i in state.next_hit}
            return self._event("hits", due)

    def _event(self, name: str, due: dict[ClockId, Tensor]) -> Program:
        state = self.low.state()
        before = state.copy()
        self.low.instants.event(state, 0, self.low.t, due)
        return Program(name, self.low.changes(before, state))

    def edge(self, i: int) -> Program:
        """The next edge of a lane's own source after ns."""
        with self.low.tracer.recording():
            state = self.low.state()
            found = self.low.segments.edge_after(state, i, self.low.ns)
            return Program("edge", {f"next_edge:{i}": self.low.value(found)})
