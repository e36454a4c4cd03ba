"""Tracing with gradients: sums over lanes become totals, and whatever comes from outside is known.

A total is kept apart while a program runs. For torch it is a table: what is computed from it, up to the gradients of
weights, is computed by torch after the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from simdl.engine.native.ir import TYPES, Value
from simdl.engine.native.rules_gradients import batch_norm_backward, convolution_backward
from simdl.engine.native.tables import Table
from simdl.engine.native.tracer import Tracer
from simdl.errors import LoweringError

LAYERS: dict[str, Callable[..., Any]] = {
    "native_batch_norm_backward": batch_norm_backward,
    "convolution_backward": convolution_backward,
}
TURNS = 256  # of a loop that is written out for its gradient


@dataclass(frozen=True, eq=False)
class Total:
    """A sum over lanes: of the value `args[0]`, or, with an attr (m, k, n), of the product of (m, k) and (k, n)."""

    args: tuple[Value, ...]
    attr: tuple[int, int, int] | None
    type: str
    shape: tuple[int, ...]


class Differentiating(Tracer):  # type: ignore[no-untyped-call]
    """A tracer that records with gradients.

    wanted: whether the input of this name is differentiated for."""

    def __init__(self, graph: Any, lanes: int, wanted: Callable[[str], bool]) -> None:
        super().__init__(graph, lanes)
        self.wanted = wanted
        self.sources: dict[int, Tensor] = {}  # weights and other tensors from outside
        self.totals: list[Total] = []
        self.programs = 0  # so far: each has totals of its own
        self._numbers: dict[Any, int] = {}
        self.placeholders: dict[str, Tensor] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        with super().recording(), torch.enable_grad():
            yield

    def register(self, tensor: Tensor, name: str, level: int) -> Tensor:
        with torch.no_grad():
            fresh = super().register(tensor, name, level)
        return self._leaf(fresh, name)

    def share(self, tensor: Tensor, key: str) -> Tensor:
        with torch.no_grad():
            fresh = super().share(tensor, key)
        return self._leaf(fresh, f"param:{key}")

    def _leaf(self, fresh: Tensor, name: str) -> Tensor:
        if fresh.is_floating_point() and self.wanted(name):
            fresh.requires_grad_()
            self.placeholders[name] = fresh
        return fresh

    def _shared(self, func: Any, args: Any, kwargs: Any, tensors: list[Tensor]) -> Any:
        for tensor in tensors:
            if id(tensor) not in self.tables:
                self.sources[id(tensor)] = tensor
        return super()._shared(func, args, kwargs, tensors)

    def _table(self, tensor: Tensor) -> Table:
        if id(tensor) not in self.tables:
            self.sources[id(tensor)] = tensor
        return super()._table(tensor)

    @property
    def leaves(self) -> list[Tensor]:
        """The tensors from outside that require gradients."""
        return [t for t in self.sources.values() if t.requires_grad]

    def repeat(self, n: int, body: Callable[[Any, int], Any], state: Any) -> Any:
        """The turns of a loop one after another."""
        if n > TURNS:
            raise LoweringError(self.where, f"a gradient through a loop of {n} turns", f"at most {TURNS}")
        for k in range(n):
            state = body(state, k)
        return state

    def opaque(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        raise LoweringError(self.where, f"a gradient through {name}, which Python computes", "what lowers to C")

    # -- sums over lanes ------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        found: Any
        if name == "sum" and self.varies(args[0]):
            found = self._sum(func, args, kwargs or {})
        elif name in ("mm", "bmm") and all(self.varies(a) for a in args):
            found = self._product(func, args)
        elif name in LAYERS:
            with self:
                found = LAYERS[name](*args, **(kwargs or {}))
        elif name == "_index_put_impl_" and self.varies(args[2]):
            found = self._index_put(*args)
        else:
            found = None
        return super().__torch_dispatch__(func, types, args, kwargs) if found is None else found

    def total(self, out: Tensor, args: Sequence[Value], attr: tuple[int, int, int] | None) -> Tensor:
        """A result that is a sum over lanes."""
        kind = TYPES[out.dtype]
        given = tuple(self.graph.cast(a, kind) for a in args)
        key = (self.programs, *(a.index for a in given), attr, kind)
        number = self._numbers.setdefault(key, len(self.totals))
        if number == len(self.totals):
            self.totals.append(Total(given, attr, kind, tuple(out.shape)))
        self.tables[id(out)] = Table(out, key=f"total:{number}")
        self._keep(out)
        return out

    def _sum(self, func: Any, args: Any, kwargs: Any) -> Tensor | None:
        x: Tensor = args[0]
        entry = self.known(x)
        dim = args[1] if len(args) > 1 else kwargs.get("dim")
        given = [dim] if isinstance(dim, int) else list(dim or range(x.ndim))
        dims = sorted(d % max(1, x.ndim) for d in given)
        if entry.lane is None or entry.lane[0] not in dims:
            return None
        axis, before, after = entry.lane
        with self:
            split = x.reshape(*x.shape[:axis], before, self.lanes, after, *x.shape[axis + 1 :])
            inner = [d if d < axis else d + 2 for d in dims if d != axis] + [axis, axis + 2]
            rest = split.sum(dim=inner, keepdim=True)
        with self.paused():
            out = func(*args, **kwargs)
        return self.total(out, [self.graph.expanded(self.known(rest).value, out.numel())], None)

    def _index_put(self, x: Tensor, indices: Any, values: Tensor, accumulate: bool = False, *_: Any) -> Tensor | None:
        """The opposite of an index: values added to zeros where they came from, which lanes have in common."""
        used = [(axis, i) for axis, i in enumerate(indices) if i is not None]
        if len(used) != 1 or used[0][1].ndim != 1 or self.varies(used[0][1]) or not accumulate or self.varies(x):
            raise LoweringError(self.where, "the gradient of an index by lane", "torch.gather, or a constant index")
        axis, index = used[0]
        with self:
            zero = torch.zeros_like(values.select(axis, 0))
            parts = [zero] * x.shape[axis]
            for k, place in enumerate(index.tolist()):
                parts[place] = parts[place] + values.select(axis, k)
            return torch.stack(parts, axis)

    def _product(self, func: Any, args: Any) -> Tensor | None:
        a, b = args
        one, two = self.known(a), self.known(b)
        if one.lane is None or two.lane is None or one.lane[0] != a.ndim - 1 or two.lane[0] != b.ndim - 2:
            return None
        if one.lane[1:] != two.lane[1:] or a.ndim == 3 and a.shape[0] != 1:
            raise LoweringError(self.where, "a sum over lanes of different products of matrices", "one product")
        with self.paused():
            out = func(*args)
        m, n = a.shape[-2], b.shape[-1]
        k = a.shape[-1] // self.lanes
        values = [self.graph.expanded(one.value, m * k), self.graph.expanded(two.value, k * n)]
        return self.total(out, values, (m, k, n))


def totals_of(tracer: Differentiating, tensor: Tensor) -> set[int]:
    """The totals that a table is computed from."""
    found: set[int] = set()
    stack, seen = [tensor], set()
    while stack:
        one = stack.pop()
        table = tracer.tables.get(id(one))
        if table is None or id(one) in seen:
            continue
        seen.add(id(one))
        if table.key.startswith("total:"):
            found.add(int(table.key[6:]))
        if table.call is not None:
            stack += [t for t in tree_flatten((table.call[1], table.call[2]))[0] if isinstance(t, Tensor)]
    return found
