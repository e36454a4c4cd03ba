"""Exported C as a block: the export is put back into the loop, and compared with what it replaces."""

from __future__ import annotations

import copy
import ctypes
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from simdl.block import Block, Declared
from simdl.clock import seconds
from simdl.compile import compile_model
from simdl.declarations import Input, Output, State
from simdl.engine.native.cache import load
from simdl.errors import ModelError, RunError
from simdl.export.c.export import Exported
from simdl.export.c.part import Terminal
from simdl.methods import Tick
from simdl.networks.plan import reading
from simdl.slots.copying import copied

IMAGE = "image_of_c"  # the state that holds the C structure
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
    due = text.state.fields["due"][0].shape[0]
    checks += [f"s->due[{i}] >= 0" for i in range(due)]
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
        raise RunError("exported C", f"structures of {tuple(found)} bytes", f"{sizes} bytes", "this is a fault in simdl")
    library.simdl_lanes.argtypes = [ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    library.simdl_init.argtypes = [ctypes.c_void_p]
    return library


class CompiledC(Block):
    """Exported C, compiled by the native engine's compiler and stepped lane by lane at its base period.

    Ports are those of the part; the C state structure of a lane is one State of bytes, so that resets, snapshots and
    lanes work as for any block. Inputs are rounded to the export's type, outputs widened to the run's.
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
        image = values[IMAGE]
        lanes = image.shape[0]
        sizes = (source.inside.itemsize, source.outside.itemsize, source.state.itemsize)
        library = _library(source.text, sizes)
        given, found = np.zeros(lanes, source.inside), np.zeros(lanes, source.outside)
        for terminal, member in source.inputs:
            given[member] = values[terminal.name].detach().cpu().to(terminal.dtype).numpy()
        state = np.array(image.detach().cpu().numpy(), dtype=np.uint8, order="C", copy=True)
        library.simdl_lanes(lanes, given.ctypes.data, found.ctypes.data, state.ctypes.data)
        results = {IMAGE: torch.from_numpy(state).to(image.device)}
        for terminal, member in source.outputs:
            value = torch.from_numpy(np.ascontiguousarray(found[member]))
            results[terminal.name] = value.to(device=image.device, dtype=_port_type(terminal, value))
        return results

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledC:
        made = object.__new__(type(self))
        memo[id(self)] = made
        vars(made).update({k: copy.deepcopy(v, memo) for k, v in vars(self).items() if k != "_compiled"})
        return made

    def __reduce__(self) -> Any:
        return _again, (type(self).source,), {k: v for k, v in vars(self).items() if k != "_compiled"}


def _port_type(terminal: Terminal, value: Tensor) -> torch.dtype:
    return terminal.dtype if not terminal.dtype.is_floating_point else value.dtype


def _declared_type(terminal: Terminal) -> str | None:
    return None if terminal.dtype.is_floating_point else str(terminal.dtype).removeprefix("torch.")


def _class_of(source: Source) -> type[CompiledC]:
    sizes = (source.inside.itemsize, source.outside.itemsize, source.state.itemsize)
    start = np.zeros(source.state.itemsize, dtype=np.uint8)
    _library(source.text, sizes).simdl_init(start.ctypes.data)
    ports: dict[str, Any] = {t.name: Input(t.shape, unit=t.unit, dtype=_declared_type(t)) for t, _ in source.inputs}
    ports |= {t.name: Output(t.shape, unit=t.unit, dtype=_declared_type(t)) for t, _ in source.outputs}
    ports[IMAGE] = State(torch.from_numpy(start), shape=(len(start),), dtype="uint8", doc="the C state structure")
    step = Tick(reading(_called, [*(t.name for t, _ in source.inputs), IMAGE]))
    kind: Any = type(CompiledC)
    made: type[CompiledC] = kind("CompiledC", (CompiledC,), {**ports, "step": step, "source": source,
                                                             "__module__": CompiledC.__module__})  # fmt: skip
    return made


def _called(self: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = self._step(values)
    return found


def _again(source: Source) -> CompiledC:
    return object.__new__(_class_of(source))


def in_loop(diagram: Declared, path: str, exported: Exported) -> Declared:
    """A copy of the diagram in which the part at `path` is the exported C.

    All outputs of the block depend on all its inputs at the same tick: a loop that was broken inside the part, by a
    delay or a latency, raises LoopError."""
    root = copied(diagram)
    found = [block for block in _all(root) if block.path == path]
    if not path or not found:
        raise ModelError("in_loop", f"no block {path!r}", names=[b.path for b in _all(root) if b.path], wrong=path)
    old, new = found[0], CompiledC(exported)  # type: ignore[call-arg]
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
