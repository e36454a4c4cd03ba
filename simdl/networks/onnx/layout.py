"""Which axis of every input and output is lanes, which axes are open, and whether a fixed batch can be any number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from simdl.errors import NetworkError
from simdl.networks.onnx.graph import Graph, Value
from simdl.networks.onnx.operands import LARGEST
from simdl.networks.onnx.program import Program

PROBE = (61, 67)  # lanes: sizes that networks do not have
TRIED = 8  # samples of an axis whose size is open
_ADAPTED = ("Reshape", "Expand")


@dataclass(frozen=True)
class Layout:
    """axes: of the lanes in each input; ends: in each output; shapes: of one lane, None in place of an open size.

    batch: the lanes that the file fixes, None for any; open_name: what the file calls the axis of lanes.
    """

    axes: tuple[int, ...]
    shapes: tuple[tuple[int | None, ...], ...]
    batch: int | None
    ends: tuple[int, ...] = ()
    outputs: tuple[tuple[int, ...], ...] = ()

    def tried(self) -> list[tuple[int, ...]]:
        return [tuple(TRIED if n is None else n for n in shape) for shape in self.shapes]


def layout_of(graph: Graph, where: str) -> Layout:
    """Raises NetworkError for inputs without an axis for lanes."""
    for one in graph.inputs:
        if not one.sizes:
            what = "no shape" if one.sizes is None else "no axis"
            raise NetworkError(where, f"the input {one.name!r:.60} has {what}", "inputs with an axis for the batch",
                               "export it again with a batch axis")  # fmt: skip
    name = _batch_name(graph.inputs)
    axes = tuple(_axis(one, name) for one in graph.inputs)
    fixed = {one.sizes[axis] for one, axis in zip(graph.inputs, axes) if one.sizes and isinstance(one.sizes[axis], int)}
    numbers = sorted(n for n in fixed if isinstance(n, int))
    if len(numbers) > 1 or 0 in numbers:
        raise NetworkError(where, f"inputs for {numbers} lanes", "one batch size in all inputs")
    shapes = tuple(
        tuple(n if isinstance(n, int) else None for i, n in enumerate(one.sizes or ()) if i != axis)
        for one, axis in zip(graph.inputs, axes)
    )
    for one, shape in zip(graph.inputs, shapes):
        if math.prod(n or TRIED for n in shape) > LARGEST:
            raise NetworkError(
                where, f"the input {one.name!r:.60} of shape {shape!s:.100}", f"at most {LARGEST} numbers"
            )
    return Layout(axes, shapes, numbers[0] if numbers else None)


def _batch_name(inputs: Sequence[Value]) -> str | None:
    """The open size that is the batch: by its name, else of the first axis of an input, else the most frequent."""
    opened = [n for one in inputs for n in one.sizes or () if isinstance(n, str)]
    for name in opened:
        if "batch" in name.lower() or name in ("N", "n", "B"):
            return name
    for one in inputs:
        if one.sizes and isinstance(one.sizes[0], str):
            return one.sizes[0]
    return Counter(opened).most_common(1)[0][0] if opened and not any(
        one.sizes and one.sizes[0] is None for one in inputs) else None  # fmt: skip


def _axis(one: Value, name: str | None) -> int:
    sizes = list(one.sizes or ())
    return sizes.index(name) if name is not None and name in sizes else 0


def placed(values: Sequence[Tensor], axes: Sequence[int]) -> list[Tensor]:
    """Lanes first -> where the file has them."""
    return [value.movedim(0, axis) if axis else value for value, axis in zip(values, axes)]


def fake(
    program: Program, layout: Layout, lanes: int, adapt: bool = False, sizes: list[int] | None = None
) -> list[Tensor]:
    """The outputs for so many lanes without computing or keeping a number: shapes and types alone."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        given = [torch.zeros((lanes, *shape), dtype=one.dtype) for shape, one in
                 zip(layout.tried(), program.graph.inputs)]  # fmt: skip
        return list(program.run(placed(given, layout.axes), lanes=lanes if adapt else None, sizes=sizes)[0])


def outputs_of(program: Program, layout: Layout, where: str) -> Layout:
    """The layout with the lanes of outputs found, and the batch set free where the program follows it."""
    if layout.batch is not None:
        freed = _freed(program, layout)
        if freed is None:
            return fixed_layout(program, layout, where)
        layout = freed
    ends, shapes = [], []
    with_adapted = bool(program.adapted)
    a, b = (fake(program, layout, n, adapt=with_adapted) for n in PROBE)
    for one, x, y in zip(program.graph.outputs, a, b):
        found = [i for i, (m, n) in enumerate(zip(x.shape, y.shape)) if m != n]
        if x.ndim != y.ndim or len(found) != 1 or x.shape[found[0]] != PROBE[0]:
            shown = f"the output {one.name!r:.60} of shape {tuple(x.shape)!s:.80} for {PROBE[0]} lanes"
            raise NetworkError(where, shown,
                               "a row for each lane", "export one output a lane: no mean over the batch")  # fmt: skip
        ends.append(found[0])
        shapes.append(tuple(n for i, n in enumerate(x.shape) if i != found[0]))
    return Layout(layout.axes, layout.shapes, layout.batch, tuple(ends), tuple(shapes))


def _freed(program: Program, layout: Layout) -> Layout | None:
    """The layout for any number of lanes, where shapes follow; reshapes to the fixed batch follow it too."""
    lanes, batch, found = PROBE[0], layout.batch, set()
    free = Layout(layout.axes, layout.shapes, None)
    depends = {one.name for one in program.graph.inputs}
    for number, node in enumerate(program.graph.nodes):
        if node.op != "Shape" and depends & set(node.inputs):
            depends.update(name for name in node.outputs if name)
            target = program.hosts.get(node.inputs[1]) if node.op in _ADAPTED else None
            if target is not None and target.size and int(target[0]) == batch:
                found.add(number)
    for adapted in (frozenset[int](), frozenset(found)):
        program.adapted = adapted
        try:
            one = fake(program, free, lanes, adapt=True)
            two = fake(program, free, PROBE[1], adapt=True)
        except NetworkError:
            continue
        if all(x.ndim and x.shape[0] == lanes and y.shape[0] == PROBE[1] for x, y in zip(one, two)):
            return free
    program.adapted = frozenset()
    return None


def fixed_layout(program: Program, layout: Layout, where: str) -> Layout:
    """The layout for the batch of the file alone."""
    program.adapted = frozenset()
    batch = layout.batch or 1
    outputs = fake(program, layout, batch)
    ends = []
    for one, x in zip(program.graph.outputs, outputs):
        axes = [i for i, n in enumerate(x.shape) if n == batch]
        if not axes:
            raise NetworkError(where, f"the output {one.name!r:.60} of shape {tuple(x.shape)!s:.80}",
                               f"a row for each of the {batch} lanes of the file")  # fmt: skip
        ends.append(axes[0])
    shapes = tuple(tuple(n for i, n in enumerate(x.shape) if i != end) for x, end in zip(outputs, ends))
    return Layout(layout.axes, layout.shapes, batch, tuple(ends), shapes)
