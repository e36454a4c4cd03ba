"""The engine's loop: instants and the segments between them, stepwise, rewindable."""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.clock import FOREVER, Duration, seconds
from simdl.compile import Model
from simdl.compile.node import ClockId
from simdl.declared import Declared
from simdl.engine import setup as setups
from simdl.engine.accuracy import CHECKED, half_step_change
from simdl.engine.arguments import device_of, horizon, mapping, model_of, several, solver_of, step_limit, switch, whole
from simdl.engine.choice import check_engine, check_threads, native_run
from simdl.engine.evaluate import Env
from simdl.engine.failing import FailedLanes
from simdl.engine.instant import Instants
from simdl.engine.recomputation import recomputed
from simdl.engine.record import Recorder
from simdl.engine.segment import Segments
from simdl.engine.snapshot import Snapshot
from simdl.engine.solver import Solver
from simdl.engine.span import Span
from simdl.errors import RunError
from simdl.port import Formula, Signal

if TYPE_CHECKING:
    from simdl.engine.native.engine import Native
    from simdl.engine.native.launch import Launch


class Simulator:
    """A model with lanes, at an instant of time, that can be stepped, rewound and forked.

    >>> from simdl import RK4, Simulator
    >>> from simdl.blocks import Gain, Integrator
    >>> from simdl import Diagram, Output
    >>> class Ramp(Diagram):
    ...     y = Output()
    ...     def __init__(self):
    ...         self.i = Integrator()
    ...         self.i.u = 2.0
    ...         self.y = self.i.y
    >>> ramp = Ramp()
    >>> sim = Simulator(ramp, solver=RK4(max_step=0.1))
    >>> stopped = sim.run_until(1.5)
    >>> round(float(sim[ramp.y]), 12)
    3.0
    """

    def __init__(
        self, model: Declared | Model, *, lanes: int | None = None, inputs: Mapping[Any, Any] | None = None,
        set: Mapping[Any, Any] | None = None, record: Iterable[str | Signal] | None = None,
        every: Duration | None = None, grad: bool = False, dtype: torch.dtype = torch.float64,
        device: str | torch.device = "cpu", seed: int = 0, solver: Solver | None = None, strict: bool = False,
        ids: Tensor | None = None, checkpoint: int = 0, engine: str = "torch", threads: int | None = None,
    ) -> None:  # fmt: skip
        self._arguments: dict[str, Any] = dict(
            record=record, every=every, grad=grad, dtype=dtype, device=device, seed=seed, solver=solver, strict=strict,
            engine=engine, threads=threads,
        )  # fmt: skip
        self.asked, self.threads = check_engine(engine), check_threads(threads)
        self.engine, self.why = "torch", "" if engine == "torch" else "nothing has run yet"
        self._native: Native | None = None
        given = mapping("inputs", inputs)
        self.model = model_of(model, given)
        self.grad, self.strict = switch("grad", grad), switch("strict", strict)
        self.checkpoint = whole("checkpoint", checkpoint, 0)
        self.given: tuple[dict[Any, Any], dict[Any, Any]] = (dict(mapping("set", set)), dict(given))
        plain = {k: v for k, v in given.items() if not isinstance(v, Declared)}
        self.device = device_of(device)
        chosen = None if record is None else several("record", record)
        with torch.set_grad_enabled(grad), self._placed():
            self.setup = setups.prepare(
                self.model, lanes=lanes, settings=set or {}, inputs=plain, dtype=dtype, device=self.device,
                seed=seed, ids=ids,
            )  # fmt: skip
            self.solver: Solver = solver_of(solver)
            self.recorder = Recorder(self.setup, self.model.recorded(chosen), every)
            self.instants = Instants(self.setup, self.recorder)
        self.segments = Segments(self.instants, self.solver, step_limit(self.solver, self.model))
        self.state = self.instants.initial.copy()
        with self._placed():
            for i in self.segments.lane_edges:
                self.state.next_edge[i] = self.segments.edge_after(self.state, i, -1)
        self.uniform_edges = [i for i in range(len(self.model.graph.edges)) if i not in self.segments.lane_edges]
        self.failing = FailedLanes(self)
        self.failing.begin(self.setup.failed)
        self.seen: Env = {}
        self.inputs = _Inputs(self)
        self.accuracy = math.nan
        self.check_accuracy = True
        self._checked = 0

    def _placed(self) -> Any:
        """Where tensors are made that blocks make without saying where."""
        return nullcontext() if self.device.type == "cpu" else self.device

    # -- time -----------------------------------------------------------------------------------------------------

    @property
    def t(self) -> float:
        """The time of the last instant done, in seconds; 0 before the first."""
        return seconds(max(0, self.state.ns))

    @property
    def lanes(self) -> int:
        return self.setup.lanes

    def next_instant(self) -> int:
        """The time in ns of the next instant that is known."""
        now = self.state.ns
        if now < 0:
            return 0
        times = [clock.after(now) for clock in self.model.clocks]
        times += [queue[0][0] for queue in self.state.queues.values() if queue]
        times += [source.edge_after(now) for source in self.setup.inputs.values()]
        with self._placed():
            for i in self.uniform_edges:
                times.append(int(self.segments.edge_after(self.state, i, now)[0]))
        return min(times, default=FOREVER)

    def __repr__(self) -> str:
        return f"<Simulator of {self.model.name}: {self.lanes} lanes at t = {self.t:g} s>"

    def step(self) -> float:
        """Go to the next instant and do it; returns its time in seconds. Raises RunError when none is known."""
        following = self.next_instant()
        if following >= FOREVER:
            raise RunError(f"{self.model.name}.step()", f"no instant after t = {self.t:g} s: the model has no clock",
                           "a time to go to", "run_until(t)")  # fmt: skip
        self._advance(following)
        return self.t

    def run_until(
        self, until: Duration, *, when: Signal | None = None, progress: Callable[[float], None] | None = None
    ) -> bool:
        """Go on to `until`, which becomes an instant. With `when`, a condition, stop at the first instant at which it
        holds in some lane: True if it did."""
        end = horizon(until)
        self._check_horizon(end)
        if end < self.state.ns:
            raise RunError(f"{self.model.name}.run_until({until!r})", f"t is already {self.t:g} s", "a later time",
                           "go back with restore(snapshot)")  # fmt: skip
        if when is None and self.state.resets is None and self._runs_natively(end):
            assert self._native is not None
            self._native.advance(end, progress)
            self.failing.raise_if_strict(self.state.status)
            return False
        with torch.set_grad_enabled(self.grad):
            while self.state.ns < end:
                if self.grad and self.checkpoint > 1 and when is None and self.state.ns >= 0:
                    recomputed(self, end)
                else:
                    self._advance(min(self.next_instant(), end))
                if self.state.frozen is not None and bool(self.state.frozen.all()):
                    self._finish(end)
                    break
                if progress is not None:
                    progress(self.t)
                if when is not None and bool(self[when].any()):
                    return True
        return False

    def _check_horizon(self, end: int) -> None:
        """Raise RunError for a time beyond what the times of some block reach to."""
        for path, block in self.model.blocks.items():
            last = block.until_ns
            if last is not None and end > last:
                raise RunError(path, f"a run to t = {seconds(end):g} s", f"at most {seconds(last):g} s",
                               "its times are known to there: a longer horizon=")  # fmt: skip

    def _runs_natively(self, end: int) -> bool:
        """Whether the native engine goes on from here."""
        if self.asked == "torch" or end <= self.state.ns:
            return False
        return self._native is not None or self.decide(end)[0] == "native"

    def decide(self, end: int) -> tuple[str, str]:
        """Choose the engine of a run to `end`, ns, and make it ready: its name, and why it is not the other one.

        Raises LoweringError and CompileError when the native one was insisted on."""
        self._check_horizon(end)
        if self.asked == "torch" or self._native is not None:
            return self.engine, self.why
        self._native, self.why = native_run(self, end)
        self.engine = "torch" if self._native is None else "native"
        self.asked = "torch" if self._native is None else self.asked
        return self.engine, self.why

    def launch(self, end: int) -> Launch:
        """The native run to `end`, ns, in one piece, made ready and not begun."""
        from simdl.engine.native.launch import Launch

        assert self._native is not None
        plan = self._native.plan(self.state.ns, end, whole=True)
        return Launch(self._native, self._native.build(plan.kinds, plan), plan)

    def latest_instant(self, end: int) -> int:
        """The last instant of a native run after now and not after `end`, ns; the next one when there is none."""
        assert self._native is not None
        times = self._native.plan(self.state.ns, end + 1, whole=True).ns
        times = times[times <= end]
        return int(times[-1]) if len(times) else self.next_instant()

    def _advance(self, ns: int) -> None:
        with torch.set_grad_enabled(self.grad), self._placed():
            saved, mark = self.state.copy(), self.recorder.mark()
            while True:
                healthy = self.failing.substitute()
                reasons = self._cycle(ns)
                bad = self.failing.found(reasons)
                if healthy is not None:
                    self.failing.keep(saved)
                elif saved.frozen is not None:
                    self.failing.hold(saved, saved.frozen)
                if saved.ns < 0 and saved.frozen is not None:
                    self.failing.mend(saved.frozen, mark)
                if bad is None:
                    return
                self.failing.freeze(bad, reasons, saved, mark)
                if not self.grad or bool(self.state.frozen.all()):  # type: ignore[union-attr]
                    return

    def _cycle(self, ns: int) -> list[tuple[Tensor, str]]:
        state = self.state
        reasons: list[tuple[Tensor, str]] = []
        if state.ns >= 0 and ns > state.ns:
            start, fired = state.y, len(self.recorder.events)
            failures = self.segments.run(state, state.ns, ns)
            reasons = failures.reasons
            if state.frozen is not None and not self.grad:  # what failed lanes integrate to is nobody's input
                state.y = torch.where(state.frozen, start, state.y)
            quiet = len(self.recorder.events) == fired and not self.segments.events
            if (
                quiet
                and self.check_accuracy
                and self._checked < CHECKED
                and not self.solver.adaptive
                and not self.grad
                and self.model.continuous
            ):
                self._check_accuracy(start, ns)
        ticking: dict[ClockId, int] = {}
        for i, clock in enumerate(self.model.clocks):
            k = clock.index(ns)
            if k is not None:
                ticking[i] = k
        self.seen = self.instants.run(state, ns, ticking)
        return reasons + self.instants.failures()

    def _check_accuracy(self, start: Tensor, ns: int) -> None:
        """Repeat (the beginning of) a segment of lane 0 with half the step."""
        self._checked += 1
        if self.setup.lanes <= 4096:
            change = half_step_change(self, start, ns)
            self.tell_accuracy(float(change.max()), int(change.argmax()), self.t)

    def tell_accuracy(self, worst: float, at: int, t: float) -> None:
        """Keep the largest relative change by half the step, and warn of a large one: of continuous row `at`, at t."""
        if not worst <= self.accuracy:  # the first check compares with NaN
            self.accuracy = worst
            if worst > 1e-3:
                key = next(k for k, rows in self.instants.rows.items() if rows.start <= at < rows.stop)
                self._checked = CHECKED
                warnings.warn(
                    f"{key}: half the step changes it by {worst:.2g} relative at t = {t:g} s. "
                    f"Give a smaller step, solver=RK4(max_step=...), or solver=Tsit5(rtol=1e-6).", stacklevel=2,
                )  # fmt: skip

    def _finish(self, end: int) -> None:
        """All lanes have failed: fill the record up to the end with their last values."""
        for ns in self.recorder.grid(self.state.ns, end + 1):
            for key in self.recorder.keys:
                columns = self.recorder.columns[key]
                if columns:
                    self.recorder.take(ns, key, columns[-1], None)
        self.state.ns = end

    # -- reading, changing, rewinding -------------------------------------------------------------------------------

    def __getitem__(self, port: str | Signal) -> Tensor:
        """The value (lanes, *shape) of a port or formula that readers saw at the last instant."""
        if isinstance(port, Formula):
            return port.evaluate(self.__getitem__)
        key = self.model.key(port)
        if key not in self.seen:
            nodes = self.model.segment([key])
            with self._placed():
                span = Span(self.segments, self.state, max(0, self.state.ns), max(0, self.state.ns) + 1)
                env = {**span.env, **self.seen}
                span.evaluate((*nodes.constant, *nodes.varying), env)
            return env[key]
        return self.seen[key]

    def reset(self, lanes: Tensor | Iterable[int]) -> None:
        """Put whole lanes back to their initial state at the next instant; t goes on."""
        given = torch.as_tensor(lanes if isinstance(lanes, Tensor) else list(lanes))
        mask = torch.zeros(self.setup.lanes, dtype=torch.bool, device=self.setup.device)
        mask[given] = True
        self.state.resets = mask if self.state.resets is None else self.state.resets | mask

    def snapshot(self) -> Snapshot:
        """The whole state: continuous and discrete states, hidden states, queues, counters, and the record so far."""
        return Snapshot(self.model, self.state.copy(), self.recorder.mark(), dict(self.seen), dict(self.setup.inputs))

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this simulator; what was recorded after it is dropped."""
        if not isinstance(snapshot, Snapshot) or snapshot.model is not self.model:
            raise RunError(self.model.name, f"{snapshot!r}", "a snapshot of this simulator")
        if any(len(self.recorder.times.get(k, ())) < n for k, n in snapshot.mark[0].items()):
            raise RunError(self.model.name, "a snapshot of another record", "a snapshot of this simulator")
        self.state = snapshot.state.copy()
        self.recorder.rollback(snapshot.mark)
        self.seen = dict(snapshot.seen)
        self.setup.inputs.update(snapshot.inputs)

    def fork(self, *, set: Mapping[Any, Any]) -> Simulator:
        """A second simulator that goes on from here with something changed, on the same noise."""
        settings = {**self.given[0], **set}
        other = Simulator(self.model, lanes=self.setup.lanes, inputs=self.given[1], set=settings, ids=self.setup.ids,
                          **self._arguments)  # fmt: skip
        other.state, other.seen = self.state.copy(), dict(self.seen)
        states = {other.model.key(k): v for k, v in set.items()}
        for key in states:
            if key in other.setup.initial:
                other._put(key, other.setup.initial[key])
        return other

    def _put(self, key: str, value: Tensor) -> None:
        rows = self.instants.rows.get(key)
        if rows is not None:
            y = self.state.y
            new = value.reshape(value.shape[0], -1).T
            self.state.y = torch.cat([y[: rows.start], new, y[rows.stop :]])
        else:
            name = key + "!" if key in self.model.discrete else key
            self.state.raw[name] = value


class _Inputs:
    """`sim.inputs["r"] = …`: the external inputs, replaced from the next instant on."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator: Simulator = weakref.proxy(simulator)

    def __setitem__(self, port: str | Signal, value: Any) -> None:
        setups.set_input(self._simulator.setup, port, value)
        self._simulator.segments.smooth_inputs = [k for k, s in self._simulator.setup.inputs.items() if s.smooth]

    def __getitem__(self, port: str | Signal) -> Tensor:
        simulator = self._simulator
        return simulator.setup.inputs[simulator.model.key(port)].at(max(0, simulator.state.ns))
