"""A run lowered to lane programs: the reference engine's own code, traced once on placeholder lanes.

What is traced: the instants, one program for each set of clocks that tick together; a step of the solver; the recorded
values at a time; and for lanes that go their own way, guards, resets and hits (see `walk`). So there is one semantics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

import simdl.engine.native.rules  # noqa: F401
from simdl.compile import Model
from simdl.compile.node import ClockId
from simdl.engine.evaluate import Env
from simdl.engine.native.entry import Entry
from simdl.engine.native.ir import INSTANT, LANE, STAGE, TYPES, Graph, Value
from simdl.engine.native.known import alike
from simdl.engine.native.lane_program import Program, Push
from simdl.engine.native.placeholders import Given, TracedEvaluator, TracedInstants
from simdl.engine.native.tracer import PRIMES, Table, Tracer
from simdl.engine.record import Recorder
from simdl.engine.segment import Segments
from simdl.engine.setup import Setup
from simdl.engine.solver import Solver, advance
from simdl.engine.span import Span
from simdl.engine.state import State
from simdl.errors import LoweringError

OWN = 64  # numbers of a parameter that each lane has of its own; larger ones are shared unless given with lanes


class Lowering:
    """Everything needed to make programs of one run's model."""

    def __init__(self, setup: Setup, paths: Mapping[str, str], every: Any, solver: Solver, max_step: float | None,
                 opaque: Iterable[str] = ()) -> None:  # fmt: skip
        self.model: Model = setup.model
        self.actual, self.solver, self.max_step = setup, solver, max_step
        self.graph = Graph()
        self.lanes = self._number()
        self.tracer = tracer = self.made_tracer()
        self.setup = self._setup(setup)
        self.recorder = Recorder(self.setup, paths, every)
        with torch.no_grad():
            self.instants = TracedInstants(self.setup, self.recorder)
        self.instants.tracer = tracer
        self.instants.evaluator = TracedEvaluator(self.setup, tracer, opaque)
        self.segments = Segments(self.instants, solver, max_step)
        self._register()

    def made_tracer(self) -> Tracer:
        """What records."""
        return Tracer(self.graph, self.lanes)

    def _number(self) -> int:
        """A number of lanes that is no size of anything else."""
        sizes = {n for v in self.model.values.values() for n in v.shape or ()}
        sizes |= {n for _, module in self.model.root.modules() for p in module.parameters() for n in p.shape}
        sizes |= {n for _, module in self.model.root.modules() for p in module.buffers() for n in p.shape}
        return next(p for p in PRIMES if p not in sizes)

    def _setup(self, actual: Setup) -> Setup:
        """The same values with as many lanes as are traced; what is given per lane is replaced by inputs later."""
        lanes = self.lanes
        setup = Setup(self.model, lanes, torch.arange(lanes), actual.dtype, torch.device("cpu"), actual.seed)
        setup.laned = set(actual.laned)
        setup.params = {k: alike(v[:1].detach().cpu(), lanes) for k, v in actual.params.items()}
        for key, source in actual.inputs.items():
            value = self.model.values[key]
            shape = (lanes, *(value.shape or ()))
            setup.inputs[key] = Given(torch.zeros(shape, dtype=actual.type_of(value)), None, source.smooth)
        return setup

    # -- registering ----------------------------------------------------------------------------------------------

    def _register(self) -> None:
        tracer, instants, setup = self.tracer, self.instants, self.setup
        for key, tensor in setup.params.items():
            small = tensor[0].numel() <= OWN or key in setup.laned
            instants.base[key] = tracer.register(tensor, f"param:{key}", LANE) if small else tracer.share(tensor, key)
        for key, tensor in list(instants.base.items()):
            if key not in setup.params:  # constants on wires, and periods
                fresh = tensor.clone()
                tracer.tables[id(fresh)] = Table(fresh, fixed=True)
                tracer.kept.append(fresh)
                instants.base[key] = fresh
        for key, source in setup.inputs.items():
            assert isinstance(source, Given)
            if source.smooth:
                double = torch.zeros(self.lanes, dtype=torch.float64)
                source.start = tracer.register(source.values, f"start:{key}", INSTANT)
                source.stop = tracer.register(source.values, f"stop:{key}", INSTANT)
                source.since = tracer.register(double, f"since:{key}", INSTANT)
                source.length = tracer.register(double + 1, f"length:{key}", INSTANT)
            else:
                source.values = tracer.register(source.values, f"input:{key}", INSTANT)
        zero = torch.zeros(self.lanes, dtype=torch.float64)
        self.t = tracer.register(zero, "t", STAGE)
        self.begin = tracer.register(zero, "begin", INSTANT)
        self.left = tracer.register(zero + 1.0, "left", INSTANT)
        self.ns = tracer.register(torch.zeros(self.lanes, dtype=torch.int64), "ns", STAGE)
        self.instants.ticks = {
            i: tracer.register(torch.zeros(self.lanes, dtype=torch.int64), f"tick:{i}", STAGE)
            for i in range(len(self.model.clocks))
        }
        start = self.instants.initial
        self.first = self._registered(start, "initial:", LANE)
        self.instants.initial = self.first
        self.state_names = self._names(start)

    def rows(self, tensor: Tensor, name: str, level: int) -> Tensor:
        """Register a tensor with lanes last, (n, lanes)."""
        fresh = tensor.clone(memory_format=torch.contiguous_format)
        value = self.graph.input(name, TYPES[fresh.dtype], fresh.shape[0], level)
        self.tracer.put(fresh, Entry(value, tuple(fresh.shape), (1, 1, 1)))
        return fresh

    def _registered(self, state: State, prefix: str, level: int | None = None) -> State:
        """A state whose tensors are inputs of the program, under the names of slots."""
        new = state.copy()
        new.y = self.rows(state.y, f"{prefix}y", STAGE if level is None else level)
        if state.carry is not None:
            new.carry = self.rows(state.carry, f"{prefix}carry", STAGE if level is None else level)
        for name in GROUPS:
            setattr(new, name, {
                k: self.tracer.register(v, f"{prefix}{name}:{k}", INSTANT if level is None else level)
                for k, v in getattr(state, name).items()
            })  # fmt: skip
        return new

    def _names(self, state: State) -> dict[str, tuple[str, int]]:
        """The slots of a state: name -> (type, size)."""
        found = {"y": (TYPES[state.y.dtype], state.y.shape[0])}
        if state.carry is not None:
            found["carry"] = (TYPES[state.carry.dtype], state.carry.shape[0])
        for name in GROUPS:
            for key, tensor in getattr(state, name).items():
                found[f"{name}:{key}"] = (TYPES[tensor.dtype], tensor[0].numel())
        return found

    def state(self, first: bool = False) -> State:
        """A state to trace on: every tensor an input."""
        state = self._registered(self._plain(), "")
        state.ns = -1 if first else 0
        return state

    def _plain(self) -> State:
        state = State()
        initial = self.first
        state.y, state.carry = initial.y, initial.carry
        for name in GROUPS:
            setattr(state, name, dict(getattr(initial, name)))
        for i in self.segments.lane_edges:
            state.next_edge[i] = torch.zeros(self.lanes, dtype=torch.int64)
        return state

    # -- instants -------------------------------------------------------------------------------------------------

    def instant(self, ticking: Iterable[int], wanted: Iterable[str], first: bool) -> Program:
        """The program of an instant at which these clocks tick and these keys are recorded."""
        wanted = tuple(wanted)
        with self.tracer.recording():
            state = self.state(first)
            before = state.copy()
            hits: dict[ClockId, Tensor] = {("hit", i): state.next_hit[i] == self.ns for i in state.next_hit}
            clocks: frozenset[ClockId] = frozenset([*ticking, *hits])
            env = self.instants.environment(state, 0)
            env["t"] = self.t
            commits: Env = {}
            called = len(self.tracer.outside)
            self.instants._execute(self.model.instant(clocks, wanted), state, env, 0, dict.fromkeys(ticking, 0), hits,
                                   commits)  # fmt: skip
            records = {key: self.value(env[key]) for key in wanted}
            self.instants._commit(state, env, commits)
            program = Program("instant", self.changes(before, state), records, self._pushes(state))
            program.outside = self.tracer.outside[called:]
            program.tensors = self._tensors(before, state) | {f"record:{key}": env[key] for key in wanted}
        return program

    def _tensors(self, before: State, after: State) -> dict[str, Tensor]:
        """The tensors behind what a program stores and pushes."""
        found = {"store:y": after.y} if after.y is not before.y else {}
        if after.carry is not None and after.carry is not before.carry:
            found["store:carry"] = after.carry
        for name in GROUPS:
            old = getattr(before, name)
            found |= {f"store:{name}:{k}": v for k, v in getattr(after, name).items() if v is not old[k]}
        for path, queue in after.queues.items():
            found |= {f"push:{path}:{key}": v for _, values, _ in queue for key, v in values.items()}
        return found

    def _pushes(self, state: State) -> list[Push]:
        found = []
        for path, queue in state.queues.items():
            for at, values, mask in queue:
                pushed = {k: self.value(v) for k, v in values.items()}
                found.append(Push(path, at, pushed, None if mask is None else self.value(mask)))
        return found

    def type_of(self, key: str) -> str:
        """The type of a recorded key."""
        return TYPES[self.instants.evaluator.types.get(key, self.setup.dtype)]

    def value(self, tensor: Tensor) -> Value:
        """The value of a tensor (lanes, *shape), or (n, lanes) for continuous states."""
        entry = self.tracer.known(tensor)
        lane = entry.lane if entry.lane is not None else (0, 1, 1)
        size = tensor.numel() // self.lanes if tensor.numel() else 0
        return self.graph.expanded(self.tracer.aligned(entry, tuple(tensor.shape), lane), size)

    def changes(self, before: State, after: State) -> dict[str, Value]:
        """The slots that a program gives new values."""
        found: dict[str, Value] = {}

        def compare(name: str, old: Tensor, new: Tensor) -> None:
            if new is not old:
                one, two = self.value(old), self.value(new)
                if one.index != two.index:
                    found[name] = two

        if after.y.shape[0]:
            compare("y", before.y, after.y)
            if before.carry is not None and after.carry is not None:
                compare("carry", before.carry, after.carry)
        for name in GROUPS:
            for key, new in getattr(after, name).items():
                compare(f"{name}:{key}", getattr(before, name)[key], new)
        return found

    # -- between instants -----------------------------------------------------------------------------------------

    def span(self, state: State) -> Span:
        """A segment to trace on, from `begin` to the float just before `left`."""
        span = Span(self.segments, state, 0, 1)
        span.begin = self.begin  # type: ignore[assignment]
        span.env["t"] = self.begin
        span.window = (None, self.left)
        return span

    def step(self) -> Program:
        """A step of the solver of size h from tau seconds into the segment."""
        with self.tracer.recording():
            state = self.state()
            before = state.copy()
            span = self.span(state)
            tau, h = self.scalar("tau"), self.scalar("h", INSTANT)
            step = advance(self.solver, span.slope, tau, state.y, h)
            state.y = self.segments.end(state, step)
            return Program("step", self.changes(before, state), tensors=self._tensors(before, state))

    def scalar(self, name: str, level: int = STAGE) -> Tensor:
        """A number of the loop, in seconds or as a fraction."""
        return self.tracer.register(torch.full((self.lanes,), 0.01, dtype=torch.float64), name, level)

    def shown(self) -> Program:
        """The recorded values tau seconds into a segment, at time t, with the states as they are."""
        with self.tracer.recording():
            state = self.state()
            env = self.span(state).shown(self.scalar("tau"), self.t, state.y)
            return self._showing("shown", env)

    def shown_within(self) -> Program:
        """The recorded values within a step: at theta of the step of size h from tau; `tau` of the time is `at`."""
        with self.tracer.recording():
            state = self.state()
            span = self.span(state)
            step = advance(self.solver, span.slope, self.scalar("tau"), state.y, self.scalar("h", INSTANT))
            y = step.at(self.scalar("theta"))
            env = span.shown(self.scalar("at"), self.t, y)
            return self._showing("within", env)

    def _showing(self, name: str, env: Env) -> Program:
        keys = self.recorder.keys
        return Program(name, {}, {key: self.value(env[key]) for key in keys},
                       tensors={f"record:{key}": env[key] for key in keys})  # fmt: skip


GROUPS = ("raw", "held", "next_hit", "last", "count", "before", "next_edge")


def lowered(make: Callable[[tuple[str, ...]], Any], setup: Setup) -> Any:
    """What `make(opaque)` gives, with as many nodes left to Python as it takes: sampled blocks that hold a network or
    anything else that does not lower. Raises LoweringError for a node that runs in continuous time."""
    opaque: tuple[str, ...] = ()
    reasons: dict[str, str] = {}
    while True:
        try:
            return make(opaque), reasons
        except LoweringError as error:
            node = vars(error).get("node")
            if node is None or node.clock is None or node.kind not in ("tick", "output") or node.path in opaque:
                raise
            opaque = (*opaque, node.path)
            reasons[node.path] = error.found


__all__ = ["GROUPS", "Lowering", "Program", "Push", "lowered"]
