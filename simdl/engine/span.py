"""One segment in progress: the right-hand side, guards and recorded values at any stage between two instants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.clock import SECOND, seconds
from simdl.compile.node import Node
from simdl.engine.evaluate import Env
from simdl.engine.instant import _like
from simdl.engine.state import State

if TYPE_CHECKING:
    from simdl.engine.segment import Segments


class Span:
    """The segment from instant `start` to instant `end` (ns), with what is constant in it already computed."""

    def __init__(self, segments: Segments, state: State, start: int, end: int) -> None:
        self.segments, self.state, self.start, self.end = segments, state, start, end
        self.instants, self.evaluator = segments.instants, segments.evaluator
        self.length = (end - start) / SECOND
        self.begin = seconds(start)
        left = math.nextafter(seconds(end), -math.inf)
        self.window: tuple[Tensor | None, Tensor | float] | None = (None, left)  # what times sources may be read at
        self.env = self._environment()
        self.columns: dict[int, Env] = {}

    def _environment(self) -> Env:
        state, segments = self.state, self.segments
        env = self.instants.environment(state, self.start)
        self.instants.conditions(state, env)
        for node in segments.constant:
            self._node(node, env)
        return env

    def refresh(self) -> None:
        """Take over held values and modes that a reset, hit or trigger has changed."""
        self.env.update(self.state.held)
        self.env.update(self.state.raw)

    def stage(self, tau: Any, y: Tensor) -> Env:
        """The environment tau seconds (a number or (lanes,)) into the segment, with continuous states y (n, lanes)."""
        env = dict(self.env)
        self.instants.unpack(y, env)
        segments = self.segments
        if segments.reads_time:
            lanes = segments.setup.lanes
            env["t"] = (
                tau + self.begin
                if isinstance(tau, Tensor) and tau.ndim
                else env["t"].new_full((lanes,), self.begin + float(tau))
            )
            for key in segments.smooth_inputs:
                env[key] = segments.setup.inputs[key].between(self.start, env["t"] - self.begin)
        return env

    def slope(self, tau: Any, y: Tensor) -> Tensor:
        """The derivatives (n, lanes)."""
        env = self.stage(tau, y)
        self.evaluate(self.segments.programs.varying, env)
        return self.instants.pack({key: env["d " + key] for key in self.segments.model.continuous})

    def guards(self, tau: Any, y: Tensor) -> Tensor:
        """The values of all guards (guards, lanes); those of disabled subsystems are +1."""
        env = self.stage(tau, y)
        self.evaluate(self.segments.guard_programs.varying, env)
        return torch.stack([env[node.path] for node in self.segments.model.crossings])

    def evaluate(self, nodes: Sequence[Node], env: Env) -> None:
        for node in nodes:
            self._node(node, env)

    def _node(self, node: Node, env: Env) -> None:
        if node.block in self.segments.sources and self.window is not None:
            found = self.evaluator.call(node, {**env, "t": self._one_sided(env["t"])})
        else:
            found = self.evaluator.call(node, env)
        if node.enable is not None and node.kind != "formula":
            on = env[node.enable.path]
            outputs = self.segments.model.regions[node.enable.condition].outputs
            for key, value in found.items():
                if node.kind == "derivative":
                    off = torch.zeros_like(value)
                elif node.kind == "crossing":
                    off = torch.ones_like(value)
                elif outputs == "initial":
                    off = self.instants.start_of(key)
                else:
                    off = self.state.held.get(f"frozen:{key}", value)
                found[key] = torch.where(_like(on, value), value, off)
        if node.kind == "derivative":
            found = {"d " + key: value for key, value in found.items()}
        env.update(found)

    def _one_sided(self, t: Tensor) -> Tensor:
        """The times at which stages read sources: from the left at an edge ahead, from the right at one behind."""
        assert self.window is not None
        right, left = self.window
        t = t.clamp(max=left) if isinstance(left, float) else torch.minimum(t, left)
        return t if right is None else torch.maximum(t, right)

    def record(self, ns: int, y: Tensor, mask: Tensor | None) -> None:
        """Keep the recorded values at a time of the grid, for all lanes or for some."""
        env = self.shown((ns - self.start) / SECOND, torch.full_like(self.env["t"], seconds(ns)), y)
        column = self.columns.setdefault(ns, {})
        for key in self.segments.recorder.keys:
            value = env[key]
            column[key] = (
                value if mask is None or key not in column else torch.where(_like(mask, value), value, column[key])
            )

    def shown(self, tau: Any, t: Tensor, y: Tensor) -> Env:
        """What readers see tau seconds into the segment, at time t (lanes,), with continuous states y."""
        env = self.stage(tau, y)
        env["t"] = t
        window, self.window = self.window, None  # at an edge of its own, a lane shows what follows
        self.evaluate(self.segments.dense.varying, env)
        self.window = window
        return env

    def flush(self) -> None:
        """Hand the recorded columns on, in order of time."""
        recorder, frozen = self.segments.recorder, self.state.frozen
        for ns in sorted(self.columns):
            for key, value in self.columns[ns].items():
                recorder.take(ns, key, value, frozen)
        self.columns = {}
