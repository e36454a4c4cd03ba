"""One instant, in the order of S4: publish, reset lanes, evaluate, commit, and record what readers saw."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from simdl import random
from simdl.clock import FOREVER, SECOND, nanoseconds, seconds
from simdl.compile.graph import raw
from simdl.compile.node import CONDITIONS, ClockId, Node, Region
from simdl.declarations import as_tensor
from simdl.engine.evaluate import Env, Evaluator
from simdl.engine.record import Recorder
from simdl.engine.setup import Setup
from simdl.engine.state import State
from simdl.tracing import anywhere

AHEAD = 64  # ticks of noise drawn at once
LARGE = 256  # numbers of a value, from which on a hit is evaluated for the lanes alone that are due


class Instants:
    """Evaluates instants, and the hits and triggers of single lanes between them."""

    def __init__(self, setup: Setup, recorder: Recorder) -> None:
        self.setup, self.model, self.recorder = setup, setup.model, recorder
        self.evaluator = Evaluator(setup)
        self.rows: dict[str, slice] = {}
        start = 0
        for key in self.model.continuous:
            size = 1
            for n in self.model.values[key].shape or ():
                size *= n
            self.rows[key] = slice(start, start + size)
            start += size
        self.size = start
        self.scalars = all(not self.model.values[k].shape for k in self.model.continuous)
        self.waking = any(node.wake for node in self.model.hits)
        self.shown = self.model.segment(recorder.keys if self.waking else ())
        evaluator = self.evaluator
        self.base: Env = dict(setup.params)
        for key in self.model.constants:
            self.base[key] = evaluator.fit(key, self.model.values[key].initial.unsqueeze(0))
        for i, clock in enumerate(self.model.clocks):
            self.base[f"dt:{i}"] = torch.full((setup.lanes,), clock.period, dtype=setup.dtype, device=setup.device)
        self._frozen_keys = frozenset(self.model.frozen)
        self._noise: dict[str, tuple[int, Tensor]] = {}
        self._large: dict[str, bool] = {}
        self._keys = {key: setup.key_of_noise(key) for key in self.model.noises}
        self.initial = self._initial()

    # -- start ----------------------------------------------------------------------------------------------------

    def _initial(self) -> State:
        """The state before the first instant: `@initial` methods, ordered by what they read."""
        from simdl.engine.start import initial_values

        setup, model = self.setup, self.model
        values = initial_values(setup, self.evaluator, self.base)
        state = State()
        state.y = self.pack({key: values[key] for key in model.continuous})
        if setup.dtype is torch.float32:
            state.carry = torch.zeros_like(state.y)
        state.raw = {raw(k): values[k] for k in model.discrete} | {k: values[k] for k in model.modes}
        state.held = {k: values[k] for k in (*model.discrete, *model.held)}
        state.held |= {f"frozen:{k}": values[k] for k in model.frozen}
        ids = torch.zeros(setup.lanes, dtype=torch.int64, device=setup.device)
        for i, node in enumerate(model.hits):
            if isinstance(node.first, str):
                given = self.base[f"{node.block}.{node.first}" if node.block else node.first]
                state.next_hit[i] = torch.where(given < 0, FOREVER, given.to(torch.int64))
            else:
                never = math.isinf(node.first)
                ns = FOREVER if never else nanoseconds(node.first, f"{node.path}: first")
                state.next_hit[i] = torch.full_like(ids, ns)
        for node in model.graph.nodes:
            if isinstance(node.clock, tuple):
                state.last[f"dt:{node.clock}"] = torch.zeros(setup.lanes, dtype=torch.float64, device=setup.device)
                state.count[f"dt:{node.clock}"] = ids
        for region in model.regions:
            state.before[region.index] = torch.zeros(setup.lanes, dtype=torch.bool, device=setup.device)
        state.frozen = None
        return state

    def pack(self, values: dict[str, Tensor]) -> Tensor:
        """Continuous states by key as one tensor (n, lanes)."""
        if not values:
            return torch.zeros(0, self.setup.lanes, dtype=self.setup.dtype, device=self.setup.device)
        if self.scalars:
            return torch.stack(list(values.values()))
        return torch.cat([v.reshape(v.shape[0], -1).T for v in values.values()])

    def unpack(self, y: Tensor, env: Env) -> None:
        """Put continuous states into an environment as (lanes, *shape)."""
        if self.scalars:
            env.update(zip(self.rows, y.unbind(0), strict=True))
            return
        for key, rows in self.rows.items():
            shape = self.model.values[key].shape or ()
            env[key] = y[rows].T.reshape(-1, *shape)

    # -- an instant of all lanes ----------------------------------------------------------------------------------

    def environment(self, state: State, ns: int) -> Env:
        """All values that readers find at an instant before anything is evaluated."""
        env = dict(self.base)
        env.update(state.held)
        env.update(state.raw)
        for key, source in self.setup.inputs.items():
            zero = torch.zeros(self.setup.lanes, dtype=torch.float64, device=self.setup.device)
            env[key] = source.between(ns, zero) if source.smooth else source.at(ns)
        self.unpack(state.y, env)
        env["t"] = torch.full((self.setup.lanes,), seconds(ns), dtype=torch.float64, device=self.setup.device)
        return env

    def run(self, state: State, ns: int, ticking: dict[ClockId, int]) -> Env:
        """Do the instant `ns`, at which these clocks have their k-th tick; returns what readers saw."""
        released = self._publish(state, ns)
        if state.resets is not None:
            self._reset_lanes(state, ns)
        due = self._due(state, ns)
        clocks: frozenset[ClockId] = frozenset([*ticking, *due])
        wanted = self.recorder.wanted(ns, clocks, released)
        env = self.environment(state, ns)
        commits: Env = {}
        nodes = self.model.instant(clocks, wanted)
        self._execute(nodes, state, env, ns, ticking, due, commits)
        self._commit(state, env, commits)
        state.ns = ns
        if self.waking:
            env = self._further(state, env, ns)
        for key in wanted:
            self.recorder.take(ns, key, env[key], state.frozen)
        return env

    def _due(self, state: State, ns: int) -> dict[ClockId, Tensor]:
        """The hits that are due at ns, and in which lanes."""
        due: dict[ClockId, Tensor] = {("hit", i): state.next_hit[i] == ns for i in state.next_hit}
        return {clock: mask for clock, mask in due.items() if bool(mask.any())}

    def _further(self, state: State, env: Env, ns: int) -> Env:
        """Further passes over hits asked for at this very instant, until none is due; what readers see then."""
        t = env["t"]
        while due := self._due(state, ns):
            self.event(state, ns, t, due)
            env = self.environment(state, ns)
            self.conditions(state, env)
            for node in (*self.shown.constant, *self.shown.varying):
                self._free(node, state, env)
        return env

    def conditions(self, state: State, env: Env) -> None:
        """Put conditions into an environment as they were read last."""
        for region in self.model.regions:
            if region.node is not None:
                env[region.node.path] = state.before[region.index]

    def event(self, state: State, ns: int, t: Tensor, due: dict[ClockId, Tensor]) -> None:
        """Hits and triggers of some lanes at their own time t (lanes,) seconds: S4 for the nodes downstream."""
        env = self.environment(state, ns)
        env["t"] = t
        for key, source in self.setup.inputs.items():
            if source.smooth:
                env[key] = source.between(ns, t - seconds(ns))
        self.conditions(state, env)
        commits: Env = {}
        self._execute(self.model.event(frozenset(due)), state, env, ns, {}, due, commits)
        self._commit(state, env, commits)

    def _execute(
        self, nodes: Any, state: State, env: Env, ns: int, ticking: dict[ClockId, int],
        due: dict[ClockId, Tensor], commits: Env,
    ) -> None:  # fmt: skip
        model = self.model
        for node in nodes:
            if node.kind in CONDITIONS:
                self._condition(node, state, env, commits)
                continue
            if node.clock is None:
                self._free(node, state, env)
                continue
            mask = due.get(node.clock)
            if isinstance(node.clock, tuple):
                if mask is None:
                    region = model.regions[node.clock[1]]
                    assert region.node is not None
                    mask = env[region.node.path + "?"]
                    if not anywhere(mask):
                        continue
                key = f"dt:{node.clock}"
                env[key] = (env["t"] - state.last[key]).to(self.setup.dtype)
            fired = mask  # the clock runs on in a disabled lane: its noise, and the time since its last tick
            if node.enable is not None:
                on = env[node.enable.path]
                mask = on if mask is None else mask & on
            if node.kind in ("tick", "hit"):
                self._draw(node, state, env, ticking, self._few(node, due.get(node.clock)))
            self._ticked(node, state, env, ns, mask, commits, due.get(node.clock))
            if isinstance(node.clock, tuple) and node.kind in ("tick", "hit"):
                assert fired is not None
                commits[f"last {key}"] = torch.where(fired, env["t"], state.last[key])
                commits[f"count {key}"] = torch.where(fired, state.count[key] + 1, state.count[key])

    def _free(self, node: Node, state: State, env: Env) -> None:
        """A node in continuous time; inside an enabled region its outputs may be frozen."""
        found = self.evaluator.call(node, env)
        if node.enable is not None and node.kind == "output":
            on = env[node.enable.path]
            was = env.get(node.enable.path + "-", on)
            region = self._enabling(node)
            for key, value in found.items():
                if region.outputs == "initial":
                    start = self.start_of(key)
                    found[key] = torch.where(_like(on, value), value, start)
                elif key in self._frozen_keys:
                    frozen = torch.where(_like(on | was, value), value, state.held[f"frozen:{key}"])
                    state.held[f"frozen:{key}"] = frozen
                    found[key] = frozen
        env.update(found)

    def _enabling(self, node: Node) -> Region:
        assert node.enable is not None
        return self.model.regions[node.enable.condition]

    def start_of(self, key: str) -> Tensor:
        value = self.model.values[key]
        start = 0.0 if value.initial is None else value.initial
        return self.evaluator.fit(key, as_tensor(start).unsqueeze(0))

    def _ticked(
        self, node: Node, state: State, env: Env, ns: int, mask: Tensor | None, commits: Env, due: Tensor | None
    ) -> None:
        """A node of a clock: its outputs are held or queued, its states committed after the record.

        A hit that falls due while disabled commits nothing, but its next time is taken: its schedule goes on."""
        found = self.evaluator.call(node, env, self._few(node, due))
        following = found.pop("next", None)
        if following is not None:
            assert isinstance(node.clock, tuple)
            self._schedule(node, state, env, ns, following, due, commits)
        queued: Env = {}
        for key, value in found.items():
            kind = self.model.values[key].kind
            if kind in ("discrete", "mode") and node.kind != "hold":
                name = raw(key) if kind == "discrete" else key
                old = commits.get(name, env[name])
                commits[name] = value if mask is None else torch.where(_like(mask, value), value, old)
            elif node.delay:
                queued[key] = value
            else:
                new = value if mask is None else torch.where(_like(mask, value), value, env[key])
                env[key] = state.held[key] = new
        if queued:
            line = (*state.queues.get(node.path, ()), (ns + node.delay, queued, mask))
            state.queues[node.path] = tuple(sorted(line, key=lambda entry: entry[0]))

    def _few(self, node: Node, due: Tensor | None) -> Tensor | None:
        """The lanes that are due, of a hit that is given no others, or that has large values and is due in less than
        half of them; else None, for all.

        Gathering and spreading rows costs more than a small block saves."""
        if due is not None and node.few:
            return None if bool(due.all()) else due.nonzero()[:, 0]
        if due is None or node.kind != "hit" or torch.is_grad_enabled() or due.device.type != "cpu":
            return None
        if node.path not in self._large:
            shapes = [self.model.values[key].shape for key in (*node.keys, *node.writes) if key in self.model.values]
            self._large[node.path] = max((math.prod(shape or ()) for shape in shapes), default=1) >= LARGE
        if not self._large[node.path] or 2 * int(due.sum()) >= self.setup.lanes:
            return None
        return due.nonzero()[:, 0]

    def failures(self) -> list[tuple[Tensor, str]]:
        """The lanes that hits have given up since this was asked last, and why."""
        failed, self.evaluator.failed = self.evaluator.failed, []
        place = torch.arange(self.setup.lanes, device=self.setup.device)
        return [(place == lane, why) for lane, why in failed]

    def _schedule(
        self, node: Node, state: State, env: Env, ns: int, following: Tensor, mask: Tensor | None, commits: Env
    ) -> None:
        assert isinstance(node.clock, tuple)
        index = node.clock[1]
        now = state.next_hit[index]
        wait = torch.where(torch.isfinite(following), following.double(), 4e9)
        delay = torch.clamp(torch.round(wait * SECOND), min=1).to(torch.int64)
        later = torch.where(torch.isfinite(following), now + delay, torch.full_like(now, FOREVER))
        due = torch.ones_like(now, dtype=torch.bool) if mask is None else mask
        commits[f"next {index}"] = torch.where(due, later, now)

    def _commit(self, state: State, env: Env, commits: Env) -> None:
        for key, value in commits.items():
            if key.startswith("last "):
                state.last[key[5:]] = value
            elif key.startswith("count "):
                state.count[key[6:]] = value
            elif key.startswith("next "):
                state.next_hit[int(key[5:])] = value
            elif key == "y":
                state.y = value
            else:
                state.raw[key] = value
        for i, node in enumerate(self.model.hits):
            for wake in node.wake:
                self._wake(state, i, env[wake])

    def _wake(self, state: State, index: int, at: Tensor) -> None:
        """A hit that another block has asked for too: at once, or later, unless it is done."""
        key = f"dt:{('hit', index)}"
        seconds_at = at.double() / torch.full_like(at, SECOND, dtype=torch.float64)
        new = (at >= 0) & ((seconds_at > state.last[key]) | (state.count[key] == 0))
        state.next_hit[index] = torch.where(new, torch.minimum(at, state.next_hit[index]), state.next_hit[index])

    # -- conditions -----------------------------------------------------------------------------------------------

    def _condition(self, node: Node, state: State, env: Env, commits: Env) -> None:
        region = self.model.regions[node.condition]
        now = self.evaluator.call(node, env)[node.path].to(torch.bool)
        before = state.before[region.index]
        if region.kind == "enabled":
            outer = node_outer(self.model, region)
            if outer is not None:
                now = now & env[outer.path]
            env[node.path] = now
            env[node.path + "-"] = before if state.ns >= 0 else torch.ones_like(before)
            if region.outputs == "initial":
                for path in region.blocks:
                    for key in self.model.held:
                        if self.model.values[key].block == path:
                            value = env[key]
                            env[key] = state.held[key] = torch.where(_like(now, value), value, self.start_of(key))
        else:
            edge = {"rising": now & ~before, "falling": before & ~now, "either": now ^ before}[region.edge]
            if region.kind == "resettable":
                self._substitute(region, state, env, edge, commits)
            env[node.path + "?"] = edge
        state.before[region.index] = now

    def _substitute(self, region: Region, state: State, env: Env, edge: Tensor, commits: Env) -> None:
        if not anywhere(edge):
            return
        start = self.initial
        moved = False
        for path in region.blocks:
            for key in (*self.model.discrete, *self.model.modes):
                if self.model.values[key].block == path:
                    name = raw(key) if self.model.values[key].kind == "discrete" else key
                    env[name] = torch.where(_like(edge, env[name]), start.raw[name], env[name])
                    commits[name] = env[name]
            for key, rows in self.rows.items():
                if self.model.values[key].block == path:
                    state.y = torch.cat([state.y[: rows.start], torch.where(edge, start.y[rows], state.y[rows]),
                                         state.y[rows.stop :]])  # fmt: skip
                    moved = True
        if moved:
            self.unpack(state.y, env)

    # -- noise, latency, lane resets --------------------------------------------------------------------------------

    def _draw(
        self, node: Node, state: State, env: Env, ticking: dict[ClockId, int], rows: Tensor | None
    ) -> None:  # fmt: skip
        for key in node.keys:
            if key not in self._keys:
                continue
            declaration = self.model.values[key].declaration
            count = 1
            for n in declaration.shape:
                count *= n
            shape = (self.setup.lanes, *declaration.shape)
            uniform = declaration.distribution == "uniform"
            if isinstance(node.clock, tuple):
                single = random.uniform if uniform else random.normal
                index: Any = state.count[f"dt:{node.clock}"]
                ids = self.setup.ids
                ids, index = (ids, index) if rows is None else (ids[rows], index[rows])
                drawn = single(self._keys[key], ids, index, count, self.setup.dtype)
                if rows is not None:
                    drawn = drawn.new_zeros((self.setup.lanes, count)).index_copy(0, rows, drawn)
                env[key] = drawn.reshape(shape)
                continue
            assert node.clock is not None
            tick = ticking[node.clock]
            first, block = self._noise.get(key, (-AHEAD, torch.zeros(0)))
            if not first <= tick < first + AHEAD:
                many = random.uniform_block if uniform else random.normal_block
                first = tick
                block = many(self._keys[key], self.setup.ids, first, AHEAD, count, self.setup.dtype)
                self._noise[key] = (first, block)
            env[key] = block[tick - first].reshape(shape)

    def _publish(self, state: State, ns: int) -> frozenset[str]:
        released: set[str] = set()
        for path, queue in state.queues.items():
            while queue and queue[0][0] <= ns:
                _, values, mask = queue[0]
                queue = queue[1:]
                for key, value in values.items():
                    new = value if mask is None else torch.where(_like(mask, value), value, state.held[key])
                    state.held[key] = new
                    released.add(key)
            state.queues[path] = queue
        return frozenset(released)

    def _reset_lanes(self, state: State, ns: int) -> None:
        lanes = state.resets
        assert lanes is not None
        fresh = self.initial
        again = state.map(
            lambda now, start: now if start is None else torch.where(_like(lanes, now), start, now), fresh
        )
        for name in ("y", "carry", "raw", "held", "before", "last", "count"):
            setattr(state, name, getattr(again, name))
        here = seconds(ns)
        state.last = {k: torch.where(lanes, torch.full_like(v, here), v) for k, v in state.last.items()}
        for i, first in fresh.next_hit.items():
            state.next_hit[i] = torch.where(lanes, first + ns, state.next_hit[i])
        for path, queue in state.queues.items():
            state.queues[path] = tuple(
                (at, values, ~lanes if mask is None else mask & ~lanes) for at, values, mask in queue
            )
        state.armed = None if state.armed is None else state.armed & ~lanes
        state.resets = None


def node_outer(model: Any, region: Region) -> Node | None:
    """The enabling condition directly around a region, if there is one."""
    for path in region.blocks:
        around = [r for r in model.flat.within[path] if r.kind == "enabled"]
        index = around.index(region)
        return around[index - 1].node if index else None
    return None


def _like(mask: Tensor, value: Tensor) -> Tensor:
    return mask if value.ndim == 1 else mask.reshape(-1, *(1,) * (value.ndim - 1))
