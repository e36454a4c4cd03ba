"""What is known of tensors while a program is traced: values for one lane, tables, and what may not be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from simdl.engine.native.entry import Entry, labels, read, repeated
from simdl.engine.native.ir import TYPES, Graph, Value
from simdl.engine.native.sharing import seen_through, storage
from simdl.engine.native.tables import Table
from simdl.errors import LoweringError

WIDE = 4096  # numbers of a lane from which on placeholder lanes share their memory


def alike(tensor: Tensor, lanes: int) -> Tensor:
    """A tensor (1, *shape) as one of so many lanes; a long table is not copied for each."""
    if tensor.numel() > WIDE:
        return tensor.expand(lanes, *tensor.shape[1:])
    return tensor.repeat(lanes, *(1,) * (tensor.ndim - 1))


class Known:
    """Tensors by identity. `where` names what an operation that cannot be lowered is in."""

    def __init__(self, graph: Graph, lanes: int) -> None:
        self.graph, self.lanes = graph, lanes
        self.entries: dict[int, Entry] = {}
        self.tables: dict[int, Table] = {}
        self.used: dict[int, int] = {}  # id of a table's tensor -> its number
        self.order: list[Table] = []
        self.kept: list[Any] = []  # tensors by whose identity something is known
        self.where = "model"
        self._later: dict[int, Callable[[], None]] = {}
        self._memory: dict[int, dict[int, Tensor]] = {}  # storage -> known tensors in it

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let torch compute without being recorded."""
        with _disable_current_modes():
            yield

    # -- what is known of tensors ---------------------------------------------------------------------------------

    def register(self, tensor: Tensor, name: str, level: int) -> Tensor:
        """A tensor (lanes, *shape) as an input of the program. Returns the tensor to use."""
        with self.paused():
            once = tensor.stride(0) == 0 and tensor[0].numel() > WIDE
            fresh = tensor.expand(tensor.shape) if once else tensor.clone(memory_format=torch.contiguous_format)
            size = fresh[0].numel()
        value = self.graph.input(name, TYPES[fresh.dtype], size, level)
        self.put(fresh, Entry(value, tuple(fresh.shape), (0, 1, 1)))
        return fresh

    def put(self, tensor: Tensor, entry: Entry) -> None:
        """A tensor has this value."""
        self.entries[id(tensor)] = entry
        self._later.pop(id(tensor), None)
        self._keep(tensor)

    def share(self, tensor: Tensor, key: str) -> Tensor:
        """A tensor (lanes, *shape) with the same values in all lanes, given anew for every run under this key."""
        fresh = tensor.clone()
        self.tables[id(fresh)] = Table(fresh, key=key)
        self._keep(fresh)
        return fresh

    def literal(self, tensor: Tensor) -> None:
        """A tensor whose numbers are written in the model."""
        self.tables[id(tensor)] = Table(tensor, fixed=True)
        self._keep(tensor)

    def later(self, tensor: Tensor, make: Callable[[], None]) -> None:
        """A tensor whose value is recorded when it is used: `make` puts it, or raises LoweringError."""
        if id(tensor) not in self.entries:
            self._later[id(tensor)] = make
            self._keep(tensor)

    def refuse(self, tensor: Tensor, found: str, expected: str) -> None:
        """A tensor that nothing may use."""
        where = self.where

        def make() -> None:
            raise LoweringError(where, found, expected)

        self.later(tensor, make)

    def stand_in(self, copy: Tensor, original: Tensor) -> None:
        """A copy of a known tensor."""
        if self.varies(original):
            self.put(copy, self.known(original))
        else:
            table = self._table(original)
            self.tables[id(copy)] = Table(copy, fixed=True) if table.fixed else table
            self._keep(copy)

    def same(self, tensor: Tensor, other: Tensor) -> None:
        """A tensor has the value of another one."""
        entry = self.known(other)
        if tuple(tensor.shape) == entry.shape:
            self.record(tensor, entry.value, entry.lane)
        else:
            lane = self.lanes_of(tuple(tensor.shape), [other])
            self.record(tensor, self.aligned(entry, tuple(tensor.shape), lane), lane)

    def sharing(self, tensor: Tensor) -> list[Tensor]:
        """The known tensors in the memory of a tensor."""
        return list(self._memory.get(storage(tensor), {}).values())

    def varies(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on registered ones."""
        if id(tensor) in self.entries or id(tensor) in self._later:
            return True
        if id(tensor) in self.tables:
            return False
        others = [t for t in self.sharing(tensor) if id(t) in self.entries]
        entry = seen_through(self, tensor, others) if others else None
        if entry is not None:
            self.put(tensor, entry)
        return entry is not None

    def known(self, tensor: Tensor) -> Entry:
        """The entry of any tensor; one that is not registered is a table."""
        if id(tensor) in self._later:
            self._later.pop(id(tensor))()
        if self.varies(tensor):
            return self.entries[id(tensor)]
        if tensor.dtype not in TYPES:
            raise LoweringError(self.where, f"{tensor.dtype} values", "float64, float32 or whole numbers")
        with self.paused():
            return self._shared_entry(tensor)

    def _shared_entry(self, tensor: Tensor) -> Entry:
        """The entry of a table: an array of the program, or a number where all elements are one literal."""
        table = self._table(tensor)
        element = torch.arange(tensor.numel()).reshape(tensor.shape)
        data = tensor.detach()
        lane = repeated(_bits(data), self.lanes)
        if lane is not None:
            axis, before, after = lane
            split = (*tensor.shape[:axis], before, self.lanes, after, *tensor.shape[axis + 1 :])
            element, data = (x.reshape(split).select(axis + 1, 0) for x in (element, data))
        kind = TYPES[tensor.dtype]
        flat = data.reshape(-1)
        if table.fixed and flat.numel() and bool((_bits(flat) == _bits(flat[:1])).all()):
            value = self.graph.expanded(self.graph.const(flat[0].item(), kind), flat.numel())
        else:
            number = self.used.setdefault(id(tensor), len(self.order))
            if number == len(self.order):
                self.order.append(Table(tensor.clone(), fixed=True) if table.fixed else table)
            whole = self.graph.make("array", (), number, kind, tensor.numel())
            value = self.graph.view(whole, element.reshape(-1).numpy())
        return Entry(value, tuple(tensor.shape), lane)

    def _table(self, tensor: Tensor) -> Table:
        found = self.tables.get(id(tensor))
        if found is None:
            found = self.tables[id(tensor)] = Table(tensor)
            self._keep(tensor)
        return found

    def _keep(self, tensor: Tensor) -> None:
        self.kept.append(tensor)
        self._memory.setdefault(storage(tensor), {})[id(tensor)] = tensor

    # -- what rules use -------------------------------------------------------------------------------------------

    def moved(self, function: Callable[..., Any], tensors: Sequence[Tensor], outs: Sequence[Tensor],
              fill: float | int | bool = 0) -> None:  # fmt: skip
        """Give the results of an operation that only moves elements their entries. `function` maps tensors of labels to
        labels."""
        if not outs:
            return
        entries = [self.known(t) for t in tensors]
        stride = 1 + sum(e.value.size for e in entries)
        starts = [sum(e.value.size for e in entries[:i]) for i in range(len(entries))]
        with self.paused():
            found = function(*(labels(e, self.lanes, stride, s) for e, s in zip(entries, starts)))
            kind = TYPES[outs[0].dtype]
            parts = [self.graph.cast(e.value, kind) for e in entries]
            for label, out in zip(found if isinstance(found, tuple | list) else [found], outs, strict=True):
                try:
                    element, lane = read(label, self.lanes, stride)
                except LoweringError as error:
                    self.refuse(out, error.found, error.expected)
                    continue
                whole = parts
                if bool((element < 0).any()):
                    element = torch.where(element < 0, sum(p.size for p in parts), element)
                    whole = [*parts, self.graph.const(fill, kind)]
                value = self.graph.view(self.graph.concat(whole), element.numpy())
                self.put(out, Entry(value, tuple(out.shape), lane))

    def aligned(self, entry: Entry, shape: tuple[int, ...], lane: tuple[int, int, int] | None) -> Value:
        """The value of an entry broadcast to a shape whose lanes are at `lane`."""
        if entry.shape == shape and entry.lane == lane or entry.value.size == 1:
            return entry.value
        with self.paused():
            element = labels(entry, self.lanes, 1 + entry.value.size, 0).expand(shape) % (1 + entry.value.size) - 1
            if lane is None:
                return self.graph.view(entry.value, element.reshape(-1).numpy())
            axis, before, after = lane
            split = element.reshape(*shape[:axis], before, self.lanes, after, *shape[axis + 1 :])
            first = split.select(axis + 1, 0)
            if bool((split != first.unsqueeze(axis + 1)).any()):
                raise LoweringError(self.where, "values that depend on the number of the lane", "lanes that are alike")
            return self.graph.view(entry.value, first.reshape(-1).numpy())

    def lanes_of(self, shape: tuple[int, ...], tensors: Sequence[Any]) -> tuple[int, int, int] | None:
        """Where the lanes of a broadcast result are."""
        for tensor in tensors:
            if isinstance(tensor, Tensor):
                entry = self.known(tensor)
                if entry.lane is None:
                    continue
                if entry.shape == shape:
                    return entry.lane
                with self.paused():
                    found = read(labels(entry, self.lanes, 1 << 32, 0).expand(shape), self.lanes, 1 << 32)[1]
                if found is not None:
                    return found
        return None

    def operand(self, given: Any, out: Tensor, lane: tuple[int, int, int] | None, type: str) -> Value:
        """A number or tensor as an argument of a pointwise operation with this result."""
        if not isinstance(given, Tensor):
            return self.graph.const(given, type)
        return self.graph.cast(self.aligned(self.known(given), tuple(out.shape), lane), type)

    def pointwise(self, op: str, out: Tensor, operands: Sequence[Any], type: str | None = None,
                  kind: str | None = None) -> None:  # fmt: skip
        """Record a pointwise operation; `type` of the operands (by default the result's), `kind` of the result."""
        lane = self.lanes_of(tuple(out.shape), operands)
        kind = kind or TYPES.get(out.dtype)
        if kind is None:
            raise LoweringError(self.where, f"{out.dtype} values", "float64, float32 or whole numbers")
        args = [self.operand(one, out, lane, type or kind) for one in operands]
        self.record(out, self.graph.pointwise(op, args, kind), lane)

    def record(self, out: Tensor, value: Value, lane: tuple[int, int, int] | None) -> None:
        """A result of this value, in the result's type."""
        if out.dtype not in TYPES:
            raise LoweringError(self.where, f"{out.dtype} values", "float64, float32 or whole numbers")
        size = out.numel() // (self.lanes if lane is not None else 1)
        value = self.graph.expanded(self.graph.cast(value, TYPES[out.dtype]), size)
        self.put(out, Entry(value, tuple(out.shape), lane))


def _bits(tensor: Tensor) -> Tensor:
    """The same numbers in a type in which equality is equality of bits."""
    if tensor.dtype == torch.float64:
        return tensor.contiguous().view(torch.int64)
    if tensor.dtype == torch.float32:
        return tensor.contiguous().view(torch.int32)
    return tensor
