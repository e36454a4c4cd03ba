"""Running a simulator natively: from the state at one instant to the state at a later one."""

from __future__ import annotations

import ctypes
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from simdl.clock import FOREVER, seconds
from simdl.engine.arguments import memory
from simdl.engine.native.assemble import assembled
from simdl.engine.native.cache import load
from simdl.engine.native.cpu import cpu_features
from simdl.engine.native.launch import Launch
from simdl.engine.native.lower import Lowering, Program, lowered
from simdl.engine.native.memory import Array
from simdl.engine.native.program import Queue, Writer
from simdl.engine.native.schedule import Kind, Schedule, schedule, ticks_of
from simdl.engine.native.trial import trial
from simdl.engine.native.walk import Walk
from simdl.errors import RunError

if TYPE_CHECKING:
    from simdl.engine.simulator import Simulator

INSTANT = 32  # bytes of an instant in the table of a plan, without the ticks of each clock
LONG = 800_000  # characters of a source
FIRST, MOST, LASTS = 2048, 1 << 20, 0.5  # instants in the first call and in any; seconds that a call should last


@dataclass(eq=False)
class Built:
    """A library, and what its memory looks like."""

    lowering: Lowering
    writer: Writer
    kinds: tuple[Kind, ...]
    programs: dict[int, Program]
    inputs: tuple[str, ...]
    library: Any
    reasons: dict[str, str] = field(default_factory=dict)
    networks: tuple[Any, ...] = ()  # the modules and tensors that were traced


def vector_width(dtype: torch.dtype) -> int:
    """How many lanes a vector of this processor holds."""
    flags = dict(cpu_features())
    text = " ".join(f"{k} {v}" for k, v in flags.items())
    wide = 8 if "avx512f" in text else 4 if "avx2" in text else 2
    return wide if dtype == torch.float64 else 2 * wide


class Native:
    """The native engine of one simulator."""

    def __init__(self, simulator: Simulator, threads: int | None = None) -> None:
        self.simulator: Simulator = weakref.proxy(simulator)
        self.model = simulator.model
        self.threads = threads or torch.get_num_threads()
        self.walks = simulator.solver.adaptive or bool(self.model.crossings) or simulator.segments.events
        self.width = vector_width(simulator.setup.dtype)
        if self.walks or simulator.lanes < self.width // 2:
            self.width = 1
        self.built: Built | None = None
        self.source = ""
        self.chunk = FIRST
        self.check: Callable[[Any], None] | None = None  # of a new library

    # -- building -------------------------------------------------------------------------------------------------

    def _key(self) -> Any:
        s = self.simulator
        smooth = tuple(sorted(k for k, x in s.setup.inputs.items() if x.smooth))
        timed = tuple(sorted(k for k, x in s.setup.inputs.items() if x.times is not None))
        laned = tuple(sorted(s.setup.laned))
        recorded = (tuple(s.recorder.paths.items()), s.recorder.step is None)
        return (*recorded, str(s.setup.dtype), repr(s.solver), smooth, timed,
                laned, self.width, tuple(sorted(self._reset_queues())))  # fmt: skip

    def networks(self) -> tuple[Any, ...]:
        """The parts and tensors of all modules: what is traced. Weights changed in place are the same tensors."""
        parts = [part for _, module in self.model.root.modules() for part in module.modules()]
        return tuple(x for part in parts for x in (part, *part._parameters.values(), *part._buffers.values()))

    def build(self, kinds: Sequence[Kind], plan: Schedule | None = None) -> Built:
        """The library for these kinds of instants, made once for a model and its recorded signals; a new one is tried
        on the first instants of a plan."""
        kept: dict[Any, Built] = vars(self.model).setdefault("_native", {})
        key = self._key()
        found = kept.get(key)
        networks = self.networks()
        if found is not None and not _same(found.networks, networks):
            found = None  # a layer or a parameter was replaced
        if found is not None and set(kinds) <= set(found.kinds) and self._holds(found):
            return found
        built = self.written(tuple(dict.fromkeys([*(found.kinds if found is not None else ()), *kinds])))
        built.networks = networks
        if plan is not None and self.simulator.state.ns < 0:
            self.check = lambda library: trial(self, built, plan, _declared(library))
        built.library = self.load(self.source)
        kept[key] = built
        return built

    def written(self, kinds: Sequence[Kind]) -> Built:
        """Everything for these kinds of instants but the library, which `source` is the text of."""
        s = self.simulator

        def make(opaque: tuple[str, ...]) -> tuple[Lowering, dict[int, Program]]:
            lowering = Lowering(s.setup, s.recorder.paths, _every(s), s.solver, s.segments.max_step, opaque)
            return lowering, {i: lowering.instant(*kind) for i, kind in enumerate(kinds)}

        (lowering, programs), reasons = lowered(make, s.setup)
        timed = tuple(k for k, x in s.setup.inputs.items() if x.times is not None)
        writer = Writer(lowering, self.width, self._queues(programs))
        self.source = assembled(writer, programs, timed, Walk(lowering) if self.walks else None)
        return Built(lowering, writer, tuple(kinds), programs, timed, None, reasons)

    def load(self, source: str) -> Any:
        """The library of a source. Compilers take more than their share of time for a long one, so it is optimised
        less: that changes no bit."""
        return _declared(load(source, check=self.check, flags=("-O1",) if len(source) > LONG else ()))

    def _queues(self, programs: dict[int, Program]) -> list[Queue]:
        """The queue of every delayed node: values may be under way in a stretch in which it does not tick."""
        found: list[Queue] = []
        masked = {p.path for program in programs.values() for p in program.pushes if p.mask is not None}
        masked |= self._reset_queues()
        pushed = {push.path: tuple(push.values) for program in programs.values() for push in program.pushes}
        under_way: dict[str, Any] = {path: queue for path, queue in self.simulator.state.queues.items() if queue}
        for node in self.model.graph.nodes:
            if not node.delay or not isinstance(node.clock, int):
                continue
            clock = self.model.clocks[node.clock]
            capacity = int(node.delay * clock.denominator // clock.numerator) + 3
            keys = pushed.get(node.path) or (*under_way.get(node.path, [(0, {})])[0][1],)
            found.append(Queue(len(found), node.path, node.delay, capacity, keys, node.path in masked))
        return found

    def _holds(self, built: Built) -> bool:
        """Whether its queues take the values that are under way."""
        queues = built.writer.queues
        return all(set(queue[0][1]) <= set(queues[path].keys) for path, queue in self.simulator.state.queues.items()
                   if queue)  # fmt: skip

    def _reset_queues(self) -> set[str]:
        """Queues in which some value under way is not every lane's: a reset of lanes has emptied theirs."""
        queues = self.simulator.state.queues
        return {path for path, queue in queues.items() if any(mask is not None for _, _, mask in queue)}

    def prepare(self, end: int) -> None:
        """Trace and compile what a run to `end` needs. Raises LoweringError and CompileError."""
        plan = self.plan(self.simulator.state.ns, end)
        self.built = self.build(plan.kinds, plan)

    def describe(self) -> str:
        """What runs in C, and what in Python."""
        built = self.built
        assert built is not None
        names = [call.name for call in built.lowering.tracer.outside]
        opaque = "; ".join(f"{name} in torch at its ticks ({built.reasons[name]})" for name in dict.fromkeys(names))
        return f"one C loop, {self.width} lanes in a vector, {self.threads} threads" + (f"; {opaque}" if opaque else "")

    # -- running --------------------------------------------------------------------------------------------------

    def advance(self, end: int, progress: Callable[[float], None] | None = None) -> None:
        """Bring the simulator to the instant `end`, ns."""
        s = self.simulator
        while s.state.ns < end:
            plan = self.plan(s.state.ns, end)
            began = time.perf_counter()
            self.go(plan)
            pace = len(plan.ns) / max(1e-6, time.perf_counter() - began)
            self.chunk = int(min(MOST, max(64, LASTS * pace)))
            if progress is not None:
                progress(s.t)

    def go(self, plan: Schedule) -> None:
        """Bring the simulator to the end of a plan, or leave it where it is: an interruption does nothing by halves."""
        self.built = self.build(plan.kinds, plan)
        s = self.simulator
        state, mark = s.state, s.recorder.mark()
        try:
            Launch(self, self.built, plan).run()
        except BaseException:
            s.state = state
            s.recorder.rollback(mark)
            raise

    def plan(self, begin: int, end: int, whole: bool = False) -> Schedule:
        """The next instants on the way to `end`: as many as a call does in about half a second, so that the run can be
        watched and interrupted, or the `whole` way. A plan ends at an instant of the run, so plans change nothing."""
        s, clocks = self.simulator, self.model.clocks
        fastest = min((c.numerator / c.denominator for c in clocks), default=0.0)
        if whole:
            self._table_fits(sum((end - begin) * c.denominator / c.numerator for c in clocks))
        last = end
        if fastest and not whole and (end - begin) / fastest > 2 * self.chunk:
            last = max(clock.after(begin + int(self.chunk * fastest)) for clock in clocks)
            last = min(last, end)
        extra: list[Array] = []
        for source in s.setup.inputs.values():
            if source.times is not None:
                extra.append(np.asarray(source.times, dtype=np.int64))
        extra += [self._edges(i, begin, last) for i in s.uniform_edges]
        return schedule(clocks, s.recorder, begin, last, extra, self._releases(begin, last), len(self.model.hits))

    def _table_fits(self, instants: float) -> None:
        """Raise RunError for a plan of more instants than this machine has memory for."""
        need, room = instants * (INSTANT + 8 * len(self.model.clocks)), memory()
        if need > room:
            raise RunError(
                self.model.name, f"{instants:.3g} instants in one call: {need / 1e9:.3g} GB",
                f"at most {room / 1e9:.3g} GB, the memory of this machine",
                "a shorter until; simulate without gradients goes there in parts",
            )  # fmt: skip

    def _edges(self, index: int, begin: int, end: int) -> Array:
        """The edges of a source that all lanes share."""
        found: list[int] = []
        now = begin
        while True:
            now = int(self.simulator.segments.edge_after(self.simulator.state, index, now)[0])
            if now > end or now >= FOREVER:
                return np.array(found, dtype=np.int64)
            found.append(now)

    def _releases(self, begin: int, end: int) -> list[tuple[Array, frozenset[str]]]:
        """When delayed values appear: those under way, and those of ticks to come."""
        found: list[tuple[Array, frozenset[str]]] = []
        for node in self.model.graph.nodes:
            if not node.delay or not isinstance(node.clock, int):
                continue
            ticks, _ = ticks_of(self.model.clocks[node.clock], begin, end)
            waiting = [at for at, _, _ in self.simulator.state.queues.get(node.path, ())]
            times = np.concatenate([np.array(waiting, dtype=np.int64), ticks + node.delay])
            keys = {k for k in (*node.writes, *node.names.values()) if k in self.model.held}
            found.append((times[times <= end], frozenset(keys)))
        return found


def _same(one: Sequence[Any], two: Sequence[Any]) -> bool:
    """Whether two rows hold the very same objects."""
    return len(one) == len(two) and all(a is b for a, b in zip(one, two))


def _declared(library: Any) -> Any:
    """A library whose function is known to ctypes."""
    library.run.argtypes, library.run.restype = [ctypes.c_void_p], ctypes.c_int32
    return library


def _every(simulator: Simulator) -> Any:
    step = simulator.recorder.step
    return None if step is None else seconds(step)
