"""From torch calls to lane programs: a dispatch mode that records what is computed on registered tensors.

Everything runs for real, on placeholder lanes; what depends on registered tensors becomes values of the graph. What
depends on weights and constants alone is a *table*: computed in torch before a run, shared by all lanes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from simdl.engine.native.entry import Entry, labels, read
from simdl.engine.native.ir import TYPES, Graph, Loop, Value
from simdl.errors import LoweringError
from simdl.tracing import traced_by

Rule = Callable[..., None]
RULES: dict[str, Rule] = {}  # aten packet name, such as "add", or full name, such as "split.Tensor"
LIMIT = 200_000  # values of a graph: more is a model that should not be unrolled
PRIMES = (53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103)


@dataclass(eq=False)
class Table:
    """A tensor shared by all lanes: given (weights, constants of a block), or computed from such by torch calls."""

    tensor: Tensor  # its value while tracing
    call: tuple[Any, tuple[Any, ...], dict[str, Any], int] | None = None  # function, arguments, and which result
    fixed: bool = False  # made of literals only
    key: str = ""  # of a parameter that all lanes share


@dataclass(eq=False)
class Outside:
    """A call into Python in the middle of an instant: an opaque node, what it reads and what it gives."""

    name: str
    function: Callable[..., Any]
    inputs: list[tuple[Value, Entry, torch.dtype]] = field(default_factory=list)
    outputs: list[tuple[Value, Entry, torch.dtype]] = field(default_factory=list)


class Tracer(TorchDispatchMode):
    """Records into a graph. `with tracer.on("block.path"): ...` names what an operation that cannot be lowered is in."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else the first call imports torch's compiler, for seconds

    def __init__(self, graph: Graph, lanes: int) -> None:
        super().__init__()
        self.graph, self.lanes = graph, lanes
        self.entries: dict[int, Entry] = {}
        self.tables: dict[int, Table] = {}
        self.used: dict[int, int] = {}  # id of a table's tensor -> its number
        self.order: list[Table] = []
        self.kept: list[Any] = []  # tensors by whose identity something is known
        self.outside: list[Outside] = []
        self.where = "model"

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record everything that torch computes inside."""
        enabled = torch._C._get_mkldnn_enabled()  # its recurrent layers are one operation for a whole sequence
        torch._C._set_mkldnn_enabled(False)
        try:
            with torch.no_grad(), traced_by(self), self:
                yield
        finally:
            torch._C._set_mkldnn_enabled(enabled)

    # -- registered tensors ---------------------------------------------------------------------------------------

    def register(self, tensor: Tensor, name: str, level: int) -> Tensor:
        """A tensor (lanes, *shape) as an input of the program. Returns the tensor to use."""
        fresh = tensor.clone(memory_format=torch.contiguous_format)
        size = fresh[0].numel()
        value = self.graph.input(name, TYPES[fresh.dtype], size, level)
        self.put(fresh, Entry(value, tuple(fresh.shape), (0, 1, 1)))
        return fresh

    def put(self, tensor: Tensor, entry: Entry) -> None:
        self.entries[id(tensor)] = entry
        self.kept.append(tensor)

    def share(self, tensor: Tensor, key: str) -> Tensor:
        """A tensor (lanes, *shape) with the same values in all lanes, given anew for every run under this key."""
        fresh = tensor.clone()
        self.tables[id(fresh)] = Table(fresh, key=key)
        self.kept.append(fresh)
        return fresh

    def known(self, tensor: Tensor) -> Entry:
        """The entry of any tensor; one that is not registered is a table."""
        found = self.entries.get(id(tensor))
        if found is not None:
            return found
        table = self._table(tensor)
        element = torch.arange(max(1, tensor.numel())).reshape(tensor.shape if tensor.numel() else (1,))
        lane: tuple[int, int, int] | None = None
        data = tensor.detach()
        for axis, size in enumerate(tensor.shape):
            if size == self.lanes and bool((_bits(data) == _bits(data.select(axis, 0).unsqueeze(axis))).all()):
                lane, element, data = (axis, 1, 1), element.select(axis, 0), data.select(axis, 0)
                break
        if tensor.dtype not in TYPES:
            raise LoweringError(self.where, f"{tensor.dtype} values", "float64, float32 or whole numbers")
        kind = TYPES[tensor.dtype]
        flat = data.reshape(-1)
        if table.fixed and flat.numel() and bool((_bits(flat) == _bits(flat[:1])).all()):
            value = self.graph.expanded(self.graph.const(flat[0].item(), kind), flat.numel())
        else:
            number = self.used.setdefault(id(tensor), len(self.order))
            if number == len(self.order):
                self.order.append(table)
            whole = self.graph.make("array", (), number, kind, tensor.numel())
            value = self.graph.view(whole, element.reshape(-1).numpy())
        return Entry(value, tuple(tensor.shape), lane)

    def _table(self, tensor: Tensor) -> Table:
        found = self.tables.get(id(tensor))
        if found is None:
            found = self.tables[id(tensor)] = Table(tensor)
            self.kept.append(tensor)
        return found

    # -- recording ------------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor)]
        if not any(id(t) in self.entries for t in tensors):
            return self._shared(func, args, kwargs, tensors)
        name = func.overloadpacket.__name__
        if name.endswith("_") and not name.startswith("_") and func._schema.is_mutable:
            return self._in_place(func, name, args, kwargs)
        if "out" in kwargs or func._schema.is_mutable:
            raise LoweringError(self.where, f"{func.name()}, which changes its arguments", "operations that do not")
        if not any("Tensor" in str(r.type) for r in func._schema.returns):
            return func(*args, **kwargs)  # a question about the form, such as is_same_size
        rule = RULES.get(f"{name}.{func._overloadname}") or RULES.get(name)
        if rule is None:
            return self._decomposed(func, args, kwargs)
        out = func(*args, **kwargs)
        rule(self, func, out, *args, **kwargs)
        if len(self.graph.values) > LIMIT:
            raise LoweringError(self.where, f"more than {LIMIT} operations", "a smaller model",
                                "write long loops with simdl.repeat")  # fmt: skip
        return out

    def _shared(self, func: Any, args: Any, kwargs: Any, tensors: list[Tensor]) -> Any:
        """A call on tables, or on literals."""
        out = func(*args, **kwargs)
        literal = func.overloadpacket.__name__ in ("lift_fresh", "lift_fresh_copy")
        fixed = literal or all((table := self.tables.get(id(t))) is not None and table.fixed for t in tensors)
        if func._schema.is_mutable:
            if not fixed:
                raise LoweringError(self.where, f"{func.name()} on weights or constants", "operations that do not "
                                    "change their arguments")  # fmt: skip
            return out
        results = [out] if isinstance(out, Tensor) else list(out) if isinstance(out, tuple | list) else []
        for i, one in enumerate(results):
            if isinstance(one, Tensor) and not any(one is t for t in tensors):
                call = None if fixed else (func, args, kwargs, i if not isinstance(out, Tensor) else -1)
                self.tables[id(one)] = Table(one, call, fixed)
                self.kept.append(one)
        return out

    def _decomposed(self, func: Any, args: Any, kwargs: Any) -> Any:
        table = _decompositions().get(func)
        try:
            with self:
                out = table(*args, **kwargs) if table is not None else func.decompose(*args, **kwargs)
        except LoweringError as error:
            if "(in " in error.found or table is None:
                raise
            raise LoweringError(error.where, f"{error.found} (in {func.name()})", error.expected, error.fix) from None
        if out is NotImplemented:
            raise LoweringError(self.where, f"the operation {func.name()}", "one that can be lowered to C")
        return out

    def _in_place(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """x.add_(y) as a new value under the same tensor; other views of what changed may not be read any more."""
        target: Tensor = args[0]
        packet = getattr(torch.ops.aten, name[:-1], None)
        if packet is None or not isinstance(target, Tensor):
            raise LoweringError(self.where, f"{func.name()}, which changes its arguments", "operations that do not")
        before = target.clone()
        if id(target) in self.entries:
            self.put(before, self.entries[id(target)])
        else:
            self.tables[id(before)] = self._table(target)
            self.kept.append(before)
        if name == "copy_":
            lane = self.lanes_of(tuple(target.shape), [args[1], before])
            value = self.aligned(self.known(args[1]), tuple(target.shape), lane)
            size = target.numel() // (self.lanes if lane is not None else 1)
            kind = TYPES[target.dtype]
            new = Entry(self.graph.expanded(self.graph.cast(value, kind), size), tuple(target.shape), lane)
        else:
            with self:
                result = packet(before, *args[1:], **kwargs)
            new = self.known(result)
            if result.dtype != target.dtype:
                new = Entry(self.graph.cast(new.value, TYPES[target.dtype]), new.shape, new.lane)
        others = self._sharing(target)
        func(*args, **kwargs)
        self.put(target, new)
        for tensor, old in others:
            self._overwrite(tensor, old, target, new)
        return target

    def _sharing(self, target: Tensor) -> list[tuple[Tensor, Entry]]:
        """The other known tensors that share memory with one that is going to change."""
        storage = target.untyped_storage().data_ptr()
        touched = _places(target)
        return [
            (tensor, self.known(tensor))
            for tensor in {id(t): t for t in self.kept if isinstance(t, Tensor)}.values()
            if tensor is not target and tensor.untyped_storage().data_ptr() == storage
            and bool(torch.isin(_places(tensor), touched).any())
        ]  # fmt: skip

    def _overwrite(self, tensor: Tensor, old: Entry, target: Tensor, new: Entry) -> None:
        """A tensor of which another one's change has changed a part."""
        stride = 1 + old.value.size + new.value.size
        size = max(int(_places(t).max()) for t in (tensor, target)) + 1
        written = torch.full((size,), -1)
        with _paused(self):
            written[_places(target)] = labels(new, self.lanes, stride, old.value.size).reshape(-1)
            found = written[_places(tensor)].reshape(tensor.shape)
            mixed = torch.where(found < 0, labels(old, self.lanes, stride, 0), found)
            element, lane = read(mixed, self.lanes, stride)
        whole = self.graph.concat([old.value, new.value])
        self.put(tensor, Entry(self.graph.view(whole, element.numpy()), tuple(tensor.shape), lane))

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
        marked = [labels(e, self.lanes, stride, s) for e, s in zip(entries, starts)]
        with _paused(self):
            found = function(*marked)
        kind = TYPES[outs[0].dtype]
        parts = [self.graph.cast(e.value, kind) for e in entries]
        for label, out in zip(found if isinstance(found, tuple | list) else [found], outs, strict=True):
            element, lane = read(label, self.lanes, stride)
            whole = parts
            if bool((element < 0).any()):
                element = torch.where(element < 0, sum(p.size for p in parts), element)
                whole = [*parts, self.graph.const(fill, kind)]
            value = self.graph.view(self.graph.concat(whole), element.numpy())
            self.put(out, Entry(value, tuple(out.shape), lane))

    def aligned(self, entry: Entry, shape: tuple[int, ...], lane: tuple[int, int, int] | None) -> Value:
        """The value of an entry broadcast to a shape whose lanes are at `lane`."""
        if entry.shape == shape and entry.lane == lane:
            return entry.value
        if entry.value.size == 1:
            return entry.value
        stride = 1 + entry.value.size
        marked = labels(entry, self.lanes, stride, 0).expand(shape)
        element = marked % stride - 1
        if lane is None:
            return self.graph.view(entry.value, element.reshape(-1).numpy())
        axis, before, after = lane
        split = element.reshape(*shape[:axis], before, self.lanes, after, *shape[axis + 1 :])
        if bool((split != split.select(axis + 1, 0).unsqueeze(axis + 1)).any()):
            raise LoweringError(self.where, "values that depend on the number of the lane", "lanes that are alike")
        return self.graph.view(entry.value, split.select(axis + 1, 0).reshape(-1).numpy())

    def lanes_of(self, shape: tuple[int, ...], tensors: Sequence[Any]) -> tuple[int, int, int] | None:
        """Where the lanes of a broadcast result are."""
        for tensor in tensors:
            if isinstance(tensor, Tensor):
                entry = self.known(tensor)
                if entry.lane is None:
                    continue
                if entry.shape == shape:
                    return entry.lane
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
        kind = kind or TYPES[out.dtype]
        args = [self.operand(one, out, lane, type or kind) for one in operands]
        self.record(out, self.graph.pointwise(op, args, kind), lane)

    def record(self, out: Tensor, value: Value, lane: tuple[int, int, int] | None) -> None:
        """A result of this value, in the result's type."""
        size = out.numel() // (self.lanes if lane is not None else 1)
        value = self.graph.expanded(self.graph.cast(value, TYPES[out.dtype]), size)
        self.put(out, Entry(value, tuple(out.shape), lane))

    # -- primitives -----------------------------------------------------------------------------------------------

    def repeat(self, n: int, body: Callable[[Any, int], Any], state: Any) -> Any:
        """A loop of `n` turns as one operation where its body does not read the number of the turn, else unrolled."""
        from simdl.engine.native.loops import traced_loop

        return traced_loop(self, n, body, state)

    def opaque(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        """A call that Python makes at run time: tensors (lanes, ...) in, a dict of tensors (lanes, ...) out."""
        with _paused(self):
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


@contextmanager
def _paused(tracer: Tracer) -> Iterator[None]:
    """Let torch compute without being recorded."""
    from torch.utils._python_dispatch import _disable_current_modes

    with _disable_current_modes():
        yield


def _places(tensor: Tensor) -> Tensor:
    """The places of a tensor's elements in its storage."""
    size = tensor.untyped_storage().nbytes() // max(1, tensor.element_size())
    return torch.arange(size).as_strided(tensor.shape, tensor.stride(), tensor.storage_offset()).reshape(-1)


def _bits(tensor: Tensor) -> Tensor:
    """The same numbers in a type in which equality is equality of bits."""
    if tensor.dtype == torch.float64:
        return tensor.contiguous().view(torch.int64)
    if tensor.dtype == torch.float32:
        return tensor.contiguous().view(torch.int32)
    return tensor


@functools.cache
def _decompositions() -> dict[Any, Callable[..., Any]]:
    from torch._decomp import core_aten_decompositions

    return dict(core_aten_decompositions())


def replay(table: Table, given: dict[str, Tensor], done: dict[int, Tensor], tables: dict[int, Table]) -> Tensor:
    """The value of a table at the beginning of a run: what it is computed from may have changed."""
    found = done.get(id(table.tensor))
    if found is not None:
        return found
    if table.key:
        found = given[table.key]
    elif table.call is None:
        found = table.tensor
    else:
        func, args, kwargs, which = table.call
        if func == "stale":
            raise LoweringError("tensor", "a view read after what it views was changed in place", "new tensors")

        def fill(x: Any) -> Any:
            if isinstance(x, Tensor) and id(x) in tables:
                return replay(tables[id(x)], given, done, tables)
            return x

        out = func(*tree_map(fill, args), **tree_map(fill, kwargs))
        found = out if which < 0 else out[which]
    done[id(table.tensor)] = found
    return found


__all__ = ["Loop", "Outside", "RULES", "Table", "Tracer", "replay"]
