"""Functions of tensors lowered to C and called: what the tests of the native engine compare with eager torch.

Many functions share one graph, and one C file for each width, because compiling costs more than anything else here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

import simdl.engine.native.lower  # noqa: F401  registers the rules
from simdl.engine.native.cache import load
from simdl.engine.native.emit import Access, Body, Unit
from simdl.engine.native.ir import STAGE, TYPES, Graph, Value
from simdl.engine.native.layout import MEMORY
from simdl.engine.native.memory import aligned, evaluated
from simdl.engine.native.program import header
from simdl.engine.native.tracer import Tracer, replay

LANES = 53
Function = Callable[..., Any]


@dataclass(eq=False)
class Lowered:
    """A function as values of the graph: what it reads by name, and what it gives, with shape and type."""

    label: str
    inputs: list[tuple[str, str, int]]
    outputs: list[Value]
    shapes: list[tuple[int, ...]]
    types: list[torch.dtype]


def flat(result: Any) -> list[Tensor]:
    """The tensors of a result, in order."""
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, dict):
        result = list(result.values())
    return [t for one in result for t in flat(one)]


@dataclass(eq=False)
class Functions:
    """Functions that are compiled together."""

    graph: Graph = field(default_factory=Graph)
    lowered: dict[str, Lowered] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    scalar: tuple[str, ...] = ()  # more flags, of the library of width 1

    def __post_init__(self) -> None:
        self.tracer = Tracer(self.graph, LANES)
        self._libraries: dict[int, tuple[Unit, ctypes.CDLL]] = {}

    def add(self, name: str, function: Function, examples: Sequence[Tensor]) -> Lowered:
        """Lower a function of tensors (lanes, *shape). Raises LoweringError."""
        tracer, where = self.tracer, self.tracer.where
        tracer.where = name
        try:
            with tracer.recording():
                given, inputs = [], []
                for i, example in enumerate(examples):
                    wide = example[torch.arange(LANES) % len(example)]
                    label = f"{name}:{i}"
                    given.append(tracer.register(wide, label, STAGE))
                    inputs.append((label, TYPES[wide.dtype], wide[0].numel()))
                outs = flat(function(*given))
                values = [self._value(out) for out in outs]
        finally:
            tracer.where = where
        one = Lowered(f"f{len(self.lowered)}", inputs, values, [tuple(o.shape[1:]) for o in outs],
                      [o.dtype for o in outs])  # fmt: skip
        self.lowered[name] = one
        return one

    def _value(self, out: Tensor) -> Value:
        entry = self.tracer.known(out)
        size = out[0].numel()
        return self.graph.expanded(self.tracer.aligned(entry, tuple(out.shape), (0, 1, 1)), size)

    def source(self, width: int, names: Sequence[str] | None = None) -> tuple[Unit, str]:
        """The C file of the functions."""
        unit = Unit(width)
        functions = [line for name in names or self.lowered for line in _function(unit, self.lowered[name])]
        text = [f"#define W {width}", header("mathematics.h"), header("kernels.h"),
                "typedef struct { const void **shared; } context;", *unit.maps, *functions]  # fmt: skip
        return unit, "\n".join(text)

    def call(self, name: str, inputs: Sequence[Tensor], width: int) -> list[Tensor]:
        """What a function gives natively."""
        if width not in self._libraries:
            unit, text = self.source(width)
            self._libraries[width] = unit, load(text, flags=self.flags + (self.scalar if width == 1 else ()))
        unit, library = self._libraries[width]
        lowered = self.lowered[name]
        lanes = len(inputs[0])
        blocks = -(-lanes // width)
        given = [blocked(t, width) for t in inputs]
        found = [aligned(blocks * v.size * width, MEMORY[v.type][1]) for v in lowered.outputs]
        shared = self.tables(unit)
        pointers = _pointers(shared)
        getattr(library, lowered.label)(
            (ctypes.c_void_p * (len(given) + 1))(*(a.ctypes.data for a in given)),
            (ctypes.c_void_p * (len(found) + 1))(*(a.ctypes.data for a in found)),
            (ctypes.c_void_p * 1)(ctypes.addressof(pointers)), ctypes.c_int64(blocks),
        )  # fmt: skip
        return [unblocked(a, lanes, width, shape, kind) for a, shape, kind in zip(found, lowered.shapes, lowered.types)]

    def tables(self, unit: Unit) -> list[Any]:
        """The tables of a unit, from today's weights."""
        done: dict[int, Tensor] = {}
        with torch.no_grad():
            tensors = [replay(t, {}, done, self.tracer.tables) for t in self.tracer.order]
        arrays = []
        for shared in unit.shared:
            values = evaluated(shared.value, tensors)
            if shared.padded != shared.columns:
                wide = np.zeros((shared.rows, shared.padded), dtype=values.dtype)
                wide[:, : shared.columns] = values.reshape(shared.rows, shared.columns)
                values = wide
            place = aligned(max(1, values.size), values.dtype)
            place[: values.size] = values.reshape(-1)
            arrays.append(place)
        return arrays


def _pointers(arrays: Sequence[Any]) -> Any:
    return (ctypes.c_void_p * (len(arrays) + 1))(*(a.ctypes.data for a in arrays))


def _function(unit: Unit, lowered: Lowered) -> list[str]:
    places = {name: i for i, (name, _, _) in enumerate(lowered.inputs)}

    def inputs(value: Value) -> Access | None:
        if value.op != "input" or value.attr not in places:
            return None
        name = f"in{places[value.attr]}"
        return lambda at: f"{name}[{at}][l]"

    body = Body(unit, inputs)
    body.store([(v, _sink(i)) for i, v in enumerate(lowered.outputs)])
    lines = [f"void {lowered.label}(void *const *in, void *const *out, const context *c, int64_t blocks)", "{",
             "for (int64_t b = 0; b < blocks; b++) {"]  # fmt: skip
    for i, (_, kind, size) in enumerate(lowered.inputs):
        ctype = f"const {MEMORY[kind][0]}"
        lines.append(f"{ctype} (*restrict in{i})[W] = ({ctype} (*)[W])in[{i}] + b * {size};")
    for i, v in enumerate(lowered.outputs):
        ctype = MEMORY[v.type][0]
        lines.append(f"{ctype} (*restrict out{i})[W] = ({ctype} (*)[W])out[{i}] + b * {v.size};")
    return [*lines, *body.lines, "}", "}"]


def _sink(number: int) -> Callable[[str, str], str]:
    return lambda at, text: f"out{number}[{at}][l] = {text};"


def blocked(tensor: Tensor, width: int) -> Any:
    """Lanes in blocks, [block][element][lane]; the last block is filled with copies of the last lane."""
    lanes = len(tensor)
    blocks = -(-lanes // width)
    wide = tensor.reshape(lanes, -1)[torch.arange(blocks * width).clamp(max=lanes - 1)]
    array = wide.reshape(blocks, width, -1).permute(0, 2, 1).contiguous().numpy().reshape(-1)
    place = aligned(max(1, array.size), array.dtype)
    place[: array.size] = array
    return place


def unblocked(array: Any, lanes: int, width: int, shape: tuple[int, ...], kind: torch.dtype) -> Tensor:
    """The tensor (lanes, *shape) of an array [block][element][lane]."""
    size = int(np.prod(shape, dtype=np.int64))
    blocks = -(-lanes // width)
    whole = torch.from_numpy(array).reshape(blocks, size, width).permute(0, 2, 1).reshape(blocks * width, *shape)
    return whole[:lanes].to(kind).contiguous()


def bits(tensor: Tensor) -> Tensor:
    """A tensor whose equality is that of bits; all NaN are one."""
    if not tensor.is_floating_point():
        return tensor
    kind = torch.int64 if tensor.dtype == torch.float64 else torch.int32
    return torch.where(tensor.isnan(), torch.nan, tensor).contiguous().view(kind)


def assert_agrees(found: Tensor, expected: Tensor, tolerance: float, what: str = "") -> None:
    """Floats to a tolerance relative to the element, or to the largest of its lane; everything else exactly."""
    assert found.shape == expected.shape and found.dtype == expected.dtype, (what, found.shape, found.dtype,
                                                                            expected.shape, expected.dtype)  # fmt: skip
    if not expected.is_floating_point() or tolerance == 0.0:
        assert torch.equal(bits(found), bits(expected)), (what, found, expected)
        return
    strange = ~expected.isfinite()
    assert torch.equal(bits(found[strange]), bits(expected[strange])), (what, found, expected)
    size = expected.abs().masked_fill(strange, 0)
    scale = size
    if size.ndim > 1 and size.numel():
        scale = size.flatten(1).amax(1).reshape(-1, *(1,) * (size.ndim - 1))
    wrong = ~strange & ((found - expected).abs() > tolerance * torch.maximum(size, scale.clamp(max=1)))
    assert not bool(wrong.any()), (what, found[wrong][:4], expected[wrong][:4])
