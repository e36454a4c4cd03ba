"""The parts of the reference engine that are replaced while its code is traced: inputs, calls of nodes, noise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from simdl.compile.node import ClockId, Node
from simdl.engine.evaluate import Env, Evaluator
from simdl.engine.instant import Instants
from simdl.engine.native.entry import Entry
from simdl.engine.native.ir import TYPES
from simdl.engine.native.tracer import Tracer
from simdl.engine.setup import Setup, Source
from simdl.engine.state import State
from simdl.errors import LoweringError

LARGE = 100_000  # multiplications of a sampled network from which torch does it, for all lanes at once


@dataclass(eq=False)
class Given(Source):
    """An external input while tracing."""

    start: Tensor | None = None  # of the piece a smooth input is in: (values at both ends, seconds since, its length)
    stop: Tensor | None = None
    since: Tensor | None = None
    length: Tensor | None = None

    def at(self, ns: int) -> Tensor:
        return self.values

    def edge_after(self, ns: int) -> int:
        raise AssertionError("not while tracing")

    def between(self, ns: int, tau: Tensor) -> Tensor:
        assert self.start is not None and self.since is not None and self.length is not None and self.stop is not None
        part = (self.since + tau) / self.length
        part = part.clamp(0.0, 1.0).to(self.start.dtype).reshape(-1, *(1,) * (self.start.ndim - 1))
        return torch.lerp(self.start, self.stop, part)


class TracedEvaluator(Evaluator):
    """Calls nodes while tracing: names them in errors, and leaves opaque ones to Python."""

    def __init__(self, setup: Setup, tracer: Tracer, opaque: Iterable[str]) -> None:
        super().__init__(setup)
        self.tracer, self.opaque, self.blocks = tracer, frozenset(opaque), setup.model.blocks

    def call(self, node: Node, env: Env, rows: Tensor | None = None) -> dict[str, Tensor]:
        before, self.tracer.where = self.tracer.where, node.path
        start = len(self.tracer.graph.values)
        try:
            if node.path in self.opaque:
                return self._outside(node, env)
            found = super().call(node, env)
            if node.clock is not None and node.kind in ("tick", "output"):
                self._weigh(node, start)
            return found
        except LoweringError as error:
            if not hasattr(error, "node"):
                vars(error)["node"] = node
            raise
        finally:
            self.tracer.where = before

    def _weigh(self, node: Node, start: int) -> None:
        """Refuse a node whose matrix products torch does better, for all lanes at once."""
        products = [v.attr for v in self.tracer.graph.values[start:] if v.op == "matmul"]
        count = sum(b * m * k * n for b, m, k, n in products)
        block = self.blocks.get(node.block)
        network = block is not None and any(isinstance(held, torch.nn.Module) for held in vars(block).values())
        limit = LARGE if network else 20 * LARGE  # other blocks call torch for many small operations
        if count > limit:
            raise LoweringError(node.path, f"{count} multiplications at a tick", f"at most {limit} in the C loop")

    def _outside(self, node: Node, env: Env) -> dict[str, Tensor]:
        keys = [k for _, key in node.reads for k in ((key,) if isinstance(key, str) else key)]

        def function(*tensors: Tensor) -> dict[str, Tensor]:
            lanes = tensors[0].shape[0] if tensors else self.lanes
            return Evaluator.call(self._for(lanes), node, dict(zip(keys, tensors)))

        found: dict[str, Tensor] = self.tracer.opaque(node.path, function, *(env[k] for k in keys))
        return found

    def _for(self, lanes: int) -> Evaluator:
        other = Evaluator.__new__(Evaluator)
        vars(other).update(vars(self), lanes=lanes)
        return other


class TracedInstants(Instants):
    """Instants whose noise is a primitive of the lane program."""

    tracer: Tracer
    ticks: dict[int, Tensor]

    def _few(self, node: Node, due: Tensor | None) -> None:
        """A program is of one lane, which is due when it runs."""

    def _draw(
        self, node: Node, state: State, env: Env, ticking: dict[ClockId, int], rows: Tensor | None = None
    ) -> None:  # fmt: skip
        for key in node.keys:
            if key not in self._keys:
                continue
            declaration = self.model.values[key].declaration
            count = 1
            for n in declaration.shape:
                count *= n
            tick = (
                state.count[f"dt:{node.clock}"] if isinstance(node.clock, tuple) else self.ticks[int(node.clock or 0)]
            )
            graph = self.tracer.graph
            value = graph.make(
                "noise", (self.tracer.known(tick).value,),
                (list(self._keys).index(key), "uniform" if declaration.distribution == "uniform" else "normal", count),
                TYPES[self.setup.dtype], count,
            )  # fmt: skip
            drawn = torch.rand(self.setup.lanes, *declaration.shape, dtype=self.setup.dtype)
            fresh = drawn.clone()
            self.tracer.put(fresh, Entry(value, tuple(fresh.shape), (0, 1, 1)))
            env[key] = fresh
