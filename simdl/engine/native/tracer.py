"""From torch calls to lane programs: a dispatch mode that records what is computed on registered tensors.

Everything runs for real, on placeholder lanes; what depends on registered tensors becomes values of the graph. What
depends on weights and constants alone is a *table*: computed in torch before a run, shared by all lanes. A result that
no rule describes, or that mixes lanes, is an error only where it is used.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

from simdl.engine.native.entry import Entry, labels, read, repeated
from simdl.engine.native.ir import TYPES, Graph, Loop, Value
from simdl.engine.native.registry import RULES
from simdl.engine.native.sharing import changed_in_place, seen_through, storage
from simdl.engine.native.tables import Table, replay
from simdl.errors import LoweringError
from simdl.tracing import traced_by

LIMIT = 200_000  # values of a graph: more is a model that should not be unrolled
PRIMES = (53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103)
_UNWRITTEN = frozenset(("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "empty_permuted"))
_LITERAL = frozenset(("lift_fresh", "lift_fresh_copy"))


@dataclass(eq=False)
class Outside:
    """A call into Python in the middle of an instant: an opaque node, what it reads and what it gives."""

    name: str
    function: Callable[..., Any]
    inputs: list[tuple[Value, Entry, torch.dtype]] = field(default_factory=list)
    outputs: list[tuple[Value, Entry, torch.dtype]] = field(default_factory=list)


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records into a graph. `where` names what an operation that cannot be lowered is in."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else the first call imports torch's compiler, for seconds

    def __init__(self, graph: Graph, lanes: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph, self.lanes = graph, lanes
        self.entries: dict[int, Entry] = {}
        self.tables: dict[int, Table] = {}
        self.used: dict[int, int] = {}  # id of a table's tensor -> its number
        self.order: list[Table] = []
        self.kept: list[Any] = []  # tensors by whose identity something is known
        self.outside: list[Outside] = []
        self.where = "model"
        self.depth = 0  # of loops
        self._later: dict[int, Callable[[], None]] = {}
        self._memory: dict[int, dict[int, Tensor]] = {}  # storage -> known tensors in it

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record everything that torch computes inside."""
        enabled = torch._C._get_mkldnn_enabled()  # its recurrent layers are one operation for a whole sequence
        fast = torch.backends.mha.get_fastpath_enabled()  # so are its transformers
        torch._C._set_mkldnn_enabled(False)
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with torch.no_grad(), traced_by(self), self:
                yield
        finally:
            torch._C._set_mkldnn_enabled(enabled)
            torch.backends.mha.set_fastpath_enabled(fast)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let torch compute without being recorded."""
        with _disable_current_modes():
            yield

    # -- what is known of tensors ---------------------------------------------------------------------------------

    def register(self, tensor: Tensor, name: str, level: int) -> Tensor:
        """A tensor (lanes, *shape) as an input of the program. Returns the tensor to use."""
        with self.paused():
            fresh = tensor.clone(memory_format=torch.contiguous_format)
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

    # -- recording ------------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tree_map(self._written, (args, kwargs or {}))
        tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor)]
        if func is torch.ops.aten._linalg_check_errors.default:
            return None  # placeholders may be singular; a lane that is fails by itself
        if not any(self.varies(t) for t in tensors):
            return self._shared(func, args, kwargs, tensors)
        name = func.overloadpacket.__name__
        if name.endswith("_") and not name.startswith("_") and func._schema.is_mutable:
            return changed_in_place(self, func, name, args, kwargs)
        if "out" in kwargs or func._schema.is_mutable:
            raise LoweringError(self.where, f"{func.name()}, which changes its arguments", "operations that do not")
        if not any("Tensor" in str(r.type) for r in func._schema.returns):
            if name in ("item", "_local_scalar_dense", "is_nonzero", "equal", "allclose"):
                raise LoweringError(self.where, f"{func.name()}, which asks for a number", "torch.where on masks")
            return func(*args, **kwargs)  # a question about the form, such as is_same_size
        rule = RULES.get(f"{name}.{func._overloadname}") or RULES.get(name)
        if rule is None:
            return self._decomposed(func, args, kwargs)
        out = self._ran(func, args, kwargs)
        try:
            rule(self, func, out, *args, **kwargs)
        except LoweringError as error:
            raise self._named(error, func) from None
        for i, one in enumerate(out if isinstance(out, tuple | list) else [out]):
            if isinstance(one, Tensor) and not self._told(one):
                self.later(one, functools.partial(self._unknown, self.where, f"result {i} of {func.name()}"))
        if len(self.graph.values) > LIMIT:
            raise LoweringError(self.where, f"more than {LIMIT} operations", "a smaller model",
                                "write long loops with simdl.repeat")  # fmt: skip
        return out

    def _ran(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What torch computes; where it does not take a placeholder as an index or a divisor, with another number."""
        try:
            return func(*args, **kwargs)
        except (RuntimeError, IndexError):
            for number in (0, 1):

                def other(x: Any, n: int = number) -> Any:
                    whole = isinstance(x, Tensor) and not x.is_floating_point() and x.dtype != torch.bool
                    return torch.full_like(x, n) if whole and self.varies(x) else x

                with suppress(RuntimeError, IndexError):
                    return func(*tree_map(other, args), **kwargs)
            raise

    def _named(self, error: LoweringError, func: Any) -> LoweringError:
        """The error with the operation in which it was found, and the block where it was."""
        found = error.found if "aten::" in error.found else f"{error.found} (in {func.name()})"
        return LoweringError(error.where or self.where, found, error.expected, error.fix)

    def _told(self, tensor: Tensor) -> bool:
        return id(tensor) in self.entries or id(tensor) in self.tables or id(tensor) in self._later

    @staticmethod
    def _unknown(where: str, what: str) -> None:
        raise LoweringError(where, what, "results that can be lowered to C")

    def _written(self, x: Any) -> Any:
        """Zeros that torch keeps without memory, as zeros with memory."""
        if isinstance(x, Tensor) and x._is_zerotensor():
            with self.paused():
                x = torch.zeros(x.shape, dtype=x.dtype)
            self.literal(x)
        return x

    def _shared(self, func: Any, args: Any, kwargs: Any, tensors: list[Tensor]) -> Any:
        """A call on tables, or on literals."""
        name = func.overloadpacket.__name__
        if name == "_efficientzerotensor":
            out = torch.zeros(args[0], dtype=kwargs.get("dtype"))
        else:
            out = func(*args, **kwargs)
        if name in _UNWRITTEN:
            out.zero_()  # what is not written yet is the same in all lanes
        fixed = name in _LITERAL or all((t := self.tables.get(id(x))) is not None and t.fixed for x in tensors)
        if func._schema.is_mutable:
            if not fixed:
                raise LoweringError(self.where, f"{func.name()} on weights or constants", "operations that do not "
                                    "change their arguments")  # fmt: skip
            for tensor in tensors[:1]:
                for other in self.sharing(tensor):
                    self.used.pop(id(other), None)
            return out
        results = [out] if isinstance(out, Tensor) else list(out) if isinstance(out, tuple | list) else []
        for i, one in enumerate(results):
            if isinstance(one, Tensor) and not any(one is t for t in tensors):
                call = None if fixed else (func, args, kwargs, i if not isinstance(out, Tensor) else -1)
                self.tables[id(one)] = Table(one, call, fixed)
                self._keep(one)
        return out

    def _decomposed(self, func: Any, args: Any, kwargs: Any) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise LoweringError(self.where, f"{func.name()}, which draws random numbers", "a declared Noise")
        table = _decompositions().get(func)
        try:
            with self:
                out = table(*args, **kwargs) if table is not None else func.decompose(*args, **kwargs)
        except LoweringError as error:
            raise self._named(error, func) from None
        if out is NotImplemented:
            raise LoweringError(self.where, f"the operation {func.name()}", "one that can be lowered to C")
        return out

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

    # -- primitives -----------------------------------------------------------------------------------------------

    def repeat(self, n: int, body: Callable[[Any, int], Any], state: Any) -> Any:
        """A loop of `n` turns as one operation, or unrolled where its turns differ in more than numbers and indices."""
        from simdl.engine.native.loops import traced_loop

        return traced_loop(self, n, body, state)

    def opaque(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        """A call that Python makes at run time: tensors (lanes, ...) in, a dict of tensors (lanes, ...) out."""
        with self.paused():
            out = function(*args)
        call = Outside(name, function)
        number = len(self.outside)
        for tensor in args:
            entry = self.known(tensor)
            if entry.lane not in ((0, 1, 1), None):
                raise LoweringError(self.where, "lanes that are not the first axis", "lanes first")
            call.inputs.append((entry.value, entry, tensor.dtype))
        for i, (key, tensor) in enumerate(out.items()):
            fresh = tensor.clone(memory_format=torch.contiguous_format)
            value = self.graph.make("outside", tuple(v for v, _, _ in call.inputs), (number, i), TYPES[fresh.dtype],
                                    fresh[0].numel(), level=2)  # fmt: skip
            entry = Entry(value, tuple(fresh.shape), (0, 1, 1))
            self.put(fresh, entry)
            call.outputs.append((value, entry, fresh.dtype))
            out[key] = fresh
        self.outside.append(call)
        return out


def _bits(tensor: Tensor) -> Tensor:
    """The same numbers in a type in which equality is equality of bits."""
    if tensor.dtype == torch.float64:
        return tensor.contiguous().view(torch.int64)
    if tensor.dtype == torch.float32:
        return tensor.contiguous().view(torch.int32)
    return tensor


@functools.cache
def _decompositions() -> dict[Any, Callable[..., Any]]:
    from torch._decomp import core_aten_decompositions, decomposition_table

    return {**decomposition_table, **core_aten_decompositions()}


__all__ = ["Loop", "Outside", "RULES", "Table", "Tracer", "replay"]
