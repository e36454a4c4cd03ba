"""From torch calls to lane programs: a dispatch mode that records what is computed on registered tensors.

Everything runs for real, on placeholder lanes; what depends on registered tensors becomes values of the graph. What
depends on weights and constants alone is a *table*: computed in torch before a run, shared by all lanes. A result that
no rule describes, or that mixes lanes, is an error only where it is used.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from simdl.engine.native.entry import Entry
from simdl.engine.native.ir import TYPES, Graph, Loop, Value
from simdl.engine.native.known import Known
from simdl.engine.native.registry import RULES
from simdl.engine.native.sharing import changed_in_place
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


LEAVES = frozenset({Tensor.numpy, Tensor.tolist, Tensor.__array__})  # with numbers that nobody records


class _Refusing(TorchFunctionMode):
    """Refuses what leaves torch with the placeholders' values: they would be the same in every run."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in LEAVES and isinstance(args[0], Tensor) and self.tracer.varies(args[0]):
            raise LoweringError(self.tracer.where, f"{func.__name__}(), which leaves torch", "operations of torch")
        return func(*args, **(kwargs or {}))


class Tracer(Known, TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records into a graph what torch computes of known tensors."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else the first call imports torch's compiler, for seconds

    def __init__(self, graph: Graph, lanes: int) -> None:
        TorchDispatchMode.__init__(self)  # type: ignore[no-untyped-call]
        Known.__init__(self, graph, lanes)
        self.outside: list[Outside] = []
        self.depth = 0  # of loops

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record everything that torch computes inside."""
        enabled = torch._C._get_mkldnn_enabled()  # its recurrent layers are one operation for a whole sequence
        fast = torch.backends.mha.get_fastpath_enabled()  # so are its transformers
        torch._C._set_mkldnn_enabled(False)
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with torch.no_grad(), traced_by(self), _Refusing(self), self:
                yield
        finally:
            torch._C._set_mkldnn_enabled(enabled)
            torch.backends.mha.set_fastpath_enabled(fast)

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

    # -- primitives -----------------------------------------------------------------------------------------------

    def repeat(self, n: int, body: Callable[[Any, int], Any], state: Any) -> Any:
        """A loop of `n` turns as one operation, or unrolled where its turns differ in more than numbers and indices."""
        from simdl.engine.native.loops import traced_loop

        return traced_loop(self, n, body, state)

    def opaque(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        """A call that Python makes at run time: tensors (lanes, ...) in, a dict of tensors (lanes, ...) out."""
        with self.paused(), torch._C.DisableTorchFunction():
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


@functools.cache
def _decompositions() -> dict[Any, Callable[..., Any]]:
    from torch._decomp import core_aten_decompositions, decomposition_table

    return {**decomposition_table, **core_aten_decompositions()}


__all__ = ["Loop", "Outside", "RULES", "Table", "Tracer", "replay"]
