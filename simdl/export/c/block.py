"""Exported C as a block: the export is put back into the loop, and compared with what it replaces."""

from __future__ import annotations

import copy
import ctypes
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from simdl.block import Block
from simdl.clock import seconds
from simdl.compile import compile_model
from simdl.declarations import Input, Output, State
from simdl.declared import Declared
from simdl.engine.native.cache import load
from simdl.errors import ModelError, RunError
from simdl.export.c.export import Exported
from simdl.export.c.part import Terminal
from simdl.methods import Tick, reading
from simdl.slots.copying import copied

GROUPS = {"f4": "c_float", "f8": "c_double", "": "c_whole"}
"""States that hold the C structure of a lane: its members of float, of double, and of whole numbers."""
Root = TypeVar("Root", bound=Declared)
SHIM = """
static int valid(const {name}_state *s) {{ return {valid}; }}
__attribute__((visibility("default"))) void simdl_sizes(int64_t *n)
{{
    n[0] = sizeof({name}_in); n[1] = sizeof({name}_out); n[2] = sizeof({name}_state);
}}
__attribute__((visibility("default"))) void simdl_init({name}_state *s) {{ {name}_init(s); }}
__attribute__((visibility("default"))) void simdl_lanes(int64_t n, const {name}_in *in, {name}_out *out,
                                                        {name}_state *s)
{{
    for (int64_t i = 0; i < n; i++) {{
        if (!valid(s + i)) {name}_init(s + i);
        {name}_step(in + i, out + i, s + i);
    }}
}}
"""


@dataclass(frozen=True)
class Source:
    """The C of an export with what a caller must know of its memory."""

    text: str
    inside: Any
    outside: Any
    state: Any
    inputs: tuple[tuple[Terminal, str], ...]
    outputs: tuple[tuple[Terminal, str], ...]
    period: float


def _source(exported: Exported) -> Source:
    text, name = exported.written, exported.name
    checks = [f"s->{member} >= 0 && s->{member} < {most}" for member, most in text.counters]
    checks += [f"s->due[{i}] >= 0" for i in range(np.zeros(1, text.state)["due"].size)]
    shim = SHIM.format(name=name, valid=" && ".join(checks))
    code = text.header + text.source.replace(f'#include "{name}.h"', "") + shim
    return Source(code, text.inside, text.outside, text.state,
                  tuple((t, text.inputs[t.name]) for t in exported.inputs),
                  tuple((t, text.outputs[t.name]) for t in exported.outputs), seconds(exported.base))  # fmt: skip


@cache
def _library(text: str, sizes: tuple[int, ...]) -> Any:
    library = load(text, openmp=False)
    found = (ctypes.c_int64 * 3)()
    library.simdl_sizes(found)
    if tuple(found) != sizes:
        raise RunError("exported C", f"structures of {tuple(found)} bytes", f"{sizes} bytes",
                       "this is a fault in simdl")  # fmt: skip
    library.simdl_lanes.argtypes = [ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    library.simdl_init.argtypes = [ctypes.c_void_p]
    return library


class CompiledC(Block):
    """Exported C, compiled by the native engine's compiler and stepped lane by lane at its base period.

    Ports are those of the part; the C state structure of a lane is held in States by type of member, so that resets,
    snapshots and lanes work as for any block. Inputs are rounded to the export's type, outputs widened to the run's. A
    lane that is reset begins the C anew, with its clocks: blocks of several rates in it count from there.
    """

    if TYPE_CHECKING:
        source: ClassVar[Source]
    else:

        def __new__(cls, exported=None, **options):
            if "source" in vars(cls):
                return object.__new__(cls)
            return object.__new__(_class_of(_source(exported)))

        def __init__(self, exported=None, **options):
            source = type(self).source
            start = exported.start
            self._assign({"period": source.period, **({"offset": seconds(start)} if start else {}), **options})

    def _step(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        source = type(self).source
        library, members = _library(source.text, _sizes(source)), _members(source)
        lanes = values[members[0][0]].shape[0]
        device = values[members[0][0]].device
        given, found = np.zeros(lanes, source.inside), np.zeros(lanes, source.outside)
        state = np.zeros(lanes, source.state)
        for terminal, member in source.inputs:
            given[member] = values[terminal.name].detach().cpu().to(terminal.dtype).numpy()
        for name, fields in members:
            _scatter(state, fields, values[name].detach().cpu().numpy())
        library.simdl_lanes(lanes, given.ctypes.data, found.ctypes.data, state.ctypes.data)
        results = {name: torch.from_numpy(_gathered(state, fields)).to(device) for name, fields in members}
        for terminal, member in source.outputs:
            value = torch.from_numpy(np.ascontiguousarray(found[member]))
            results[terminal.name] = value.to(device=device, dtype=terminal.dtype)
        return results

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledC:
        made = object.__new__(type(self))
        memo[id(self)] = made
        vars(made).update({k: copy.deepcopy(v, memo) for k, v in vars(self).items() if k != "_compiled"})
        return made

    def __reduce__(self) -> Any:
        return _again, (type(self).source,), {k: v for k, v in vars(self).items() if k != "_compiled"}


def _declared_type(terminal: Terminal) -> str | None:
    return None if terminal.dtype.is_floating_point else str(terminal.dtype).removeprefix("torch.")


def _sizes(source: Source) -> tuple[int, int, int]:
    return source.inside.itemsize, source.outside.itemsize, source.state.itemsize


def _members(source: Source) -> list[tuple[str, list[str]]]:
    """The states of a block: name -> members of the C structure, in their order."""
    taken = {t.name for t, _ in (*source.inputs, *source.outputs)}
    found: dict[str, list[str]] = {}
    for member in source.state.names:
        name = GROUPS.get(source.state.fields[member][0].base.str[1:], GROUPS[""])
        while name in taken:
            name += "_"
        found.setdefault(name, []).append(member)
    return list(found.items())


def _gathered(state: Any, members: list[str]) -> Any:
    """Members of structures side by side, (lanes, n)."""
    parts = [state[member].reshape(len(state), -1) for member in members]
    kind = parts[0].dtype if parts[0].dtype.kind == "f" else np.dtype(np.int64)
    return np.concatenate([part.astype(kind) for part in parts], axis=1)


def _scatter(state: Any, members: list[str], flat: Any) -> None:
    """Back from `_gathered`."""
    at = 0
    for member in members:
        shape = state[member].shape
        size = state[member][0].size
        state[member] = flat[:, at : at + size].reshape(shape)
        at += size


def _class_of(source: Source) -> type[CompiledC]:
    start = np.zeros(1, dtype=source.state)
    _library(source.text, _sizes(source)).simdl_init(start.ctypes.data)
    ports: dict[str, Any] = {t.name: Input(t.shape, unit=t.unit, dtype=_declared_type(t)) for t, _ in source.inputs}
    ports |= {t.name: Output(t.shape, unit=t.unit, dtype=_declared_type(t)) for t, _ in source.outputs}
    for name, fields in _members(source):
        first = torch.from_numpy(_gathered(start, fields)[0])
        kind = str(first.dtype).removeprefix("torch.")
        ports[name] = State(first, shape=tuple(first.shape), dtype=kind, doc="members of the C structure")
    step = Tick(reading(_called, [*(t.name for t, _ in source.inputs), *(name for name, _ in _members(source))]))
    kind_: Any = type(CompiledC)
    made: type[CompiledC] = kind_("CompiledC", (CompiledC,), {**ports, "step": step, "source": source,
                                                              "__module__": CompiledC.__module__})  # fmt: skip
    return made


def _called(self: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = self._step(values)
    return found


def _again(source: Source) -> CompiledC:
    return object.__new__(_class_of(source))


def in_loop(diagram: Root, path: str, exported: Exported) -> Root:
    """A copy of the diagram in which the part at `path` is the exported C.

    All outputs of the block depend on all its inputs at the same tick: a loop that was broken inside the part, by a
    delay or a latency, raises LoopError."""
    root = copied(diagram)
    found = [block for block in _all(root) if block.path == path]
    if not path or not found:
        raise ModelError("in_loop", f"no block {path!r}", names=[b.path for b in _all(root) if b.path], wrong=path)
    made: Any = CompiledC
    old, new = found[0], made(exported)
    names = {t.name for t in exported.inputs}
    wires = {name: source for name, source in old.wires.items() if name in names}
    kept = {"parent": old.parent, "label": old.label, "conditions": old.conditions}
    vars(old).clear()
    object.__setattr__(old, "__class__", type(new))  # other blocks' wires name this very object
    vars(old).update({**vars(new), **kept, "wires": wires})
    compile_model(root)
    return root


def _all(owner: Declared) -> list[Declared]:
    children = list(owner.children()) if hasattr(owner, "children") else []
    return [owner, *(one for child in children for one in _all(child))]
