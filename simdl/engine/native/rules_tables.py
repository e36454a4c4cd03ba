"""Elements picked by index: of tables that all lanes share, and of a lane's own values; and written by index."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from simdl.engine.native.entry import labels, read
from simdl.engine.native.registry import by_parts, rule
from simdl.engine.native.tracer import Tracer
from simdl.errors import LoweringError

_WHOLE = (torch.int64, torch.int32)
PICKED = 4096  # elements of a lane of which copies are made to pick from them


@rule("index", "_unsafe_index")
def _index(tracer: Tracer, func: Any, out: Tensor, x: Tensor, indices: Any) -> None:
    """x[..., i, ..., j, ...]: constant indices move elements; those that vary pick from a table or a lane's own."""
    used = [axis for axis, i in enumerate(indices) if i is not None]
    if not any(tracer.varies(indices[axis]) for axis in used):
        tracer.moved(lambda label: func(label, list(indices)), [x], [out])
        return
    if any(indices[axis].dtype not in _WHOLE for axis in used):
        raise LoweringError(tracer.where, "elements chosen by a mask", "torch.where: a fixed number of elements")
    with tracer:
        given = torch.broadcast_tensors(*(indices[axis].long() for axis in used))  # type: ignore[no-untyped-call]
        front = x.movedim(used, tuple(range(len(used))))
        rest = front.shape[len(used) :]
        entry = tracer.known(x)
        if entry.lane is None:
            found = _picked(tracer, front.reshape(-1, *rest), _linear(given, x, used))
        else:
            found = _own(tracer, x, used, given)
        if used == list(range(used[0], used[-1] + 1)):
            n = given[0].ndim
            found = found.movedim(tuple(range(n)), tuple(range(used[0], used[0] + n)))
    tracer.same(out, found)


def _linear(given: Any, x: Tensor, axes: list[int]) -> Tensor:
    """Several indices as one; negative ones count from the end."""
    total = torch.zeros_like(given[0])
    for index, axis in zip(given, axes):
        size = x.shape[axis]
        inside = torch.where(index < 0, index + size, index).clamp(0, size - 1)
        total = total * size + inside
    return total


def _picked(tracer: Tracer, table: Tensor, index: Tensor) -> Tensor:
    """Rows of a table (rows, *rest) by index: (*index, *rest)."""
    known, entry, graph = tracer.known(table), tracer.known(index), tracer.graph
    rows, rest = table.shape[0], table.shape[1:]
    width = table[0].numel()
    taken = graph.make("take", (known.value, graph.cast(entry.value, "i8")), (rows, width), known.value.type,
                       entry.value.size * width)  # fmt: skip
    with tracer.paused():
        out = table[index.clamp(-rows, rows - 1)]
        places = labels(entry, tracer.lanes, 1 << 32, 0)
        lane, element = places // (1 << 32), places % (1 << 32) - 1
        spread = element.unsqueeze(-1) * width + torch.arange(width) + 1 + (lane << 32).unsqueeze(-1)
        found, where = read(spread.reshape(*index.shape, *rest), tracer.lanes, 1 << 32)
        out = out.clone()
    tracer.record(out, graph.view(taken, found.numpy()), where)
    return out


def _own(tracer: Tracer, x: Tensor, used: list[int], given: Any) -> Tensor:
    """x[torch.arange(lanes), i, j]: each lane's own elements."""
    place = tracer.known(x).lane
    assert place is not None
    position = next((p for g in given if tracer.varies(g) and (p := tracer.known(g).lane) is not None), None)
    shape = tuple(given[0].shape)
    number = next((g for g, axis in zip(given, used) if axis == place[0]), None)
    if position is None or place[1:] != (1, 1) or position[1:] != (1, 1) or number is None or not _counts(
        tracer, number, position[0], shape
    ):
        raise LoweringError(tracer.where, "an index into the values of other lanes", "torch.gather, or "
                            "x[torch.arange(lanes), i]")  # fmt: skip
    others = [axis for axis in used if axis != place[0]]
    indices = [g for g, axis in zip(given, used) if axis != place[0]]
    rows = x.movedim([place[0], *others], tuple(range(len(used))))
    rest = rows.shape[len(used) :]
    rows = rows.reshape(tracer.lanes, -1, *rest)
    index = _linear(indices, x, others).movedim(position[0], 0)
    flat = index.reshape(tracer.lanes, -1, *(1,) * len(rest)).expand(-1, -1, *rest)
    return rows.gather(1, flat).reshape(*index.shape, *rest).movedim(0, position[0])


def _counts(tracer: Tracer, number: Tensor, axis: int, shape: tuple[int, ...]) -> bool:
    """Whether an index is the number of the lane."""
    if tracer.varies(number):
        return False
    with tracer.paused():
        count = torch.arange(tracer.lanes).reshape(-1, *(1,) * (len(shape) - axis - 1))
        return bool((number == count).all())


@by_parts("embedding")
def _embedding(weight: Tensor, index: Tensor, *_: Any) -> Tensor:
    return weight[index]


@by_parts("take")
def _take(x: Tensor, index: Tensor) -> Tensor:
    return x.reshape(-1)[index]


@rule("index_select.default")
def _index_select(tracer: Tracer, func: Any, out: Tensor, x: Tensor, axis: int, index: Tensor) -> None:
    if not tracer.varies(index):
        tracer.moved(lambda label: func(label, axis, index), [x], [out])
        return
    with tracer:
        found = x.movedim(axis, 0)[index].movedim(0, axis)
    tracer.same(out, found)


@rule("gather")
def _gather(tracer: Tracer, func: Any, out: Tensor, x: Tensor, dim: int, index: Tensor, **_: Any) -> None:
    """Elements of each lane by index along an axis: a choice among them."""
    if not tracer.varies(index):
        tracer.moved(lambda label: torch.gather(label, dim, index), [x], [out])
        return
    if x.ndim == 0:
        tracer.same(out, x)
        return
    size = x.shape[dim]
    first = tracer.known(x).lane == tracer.known(index).lane == (0, 1, 1)
    if first and x.ndim == 2 and (size > PICKED or index.shape[1] == 1):
        _looked_up(tracer, out, x, index)
        return
    if size > PICKED:
        raise LoweringError(tracer.where, f"an index into {size} elements of a lane", f"at most {PICKED}, or a table "
                            "(lanes, n)")  # fmt: skip
    with tracer:
        places = index.movedim(dim, -1)
        rows = x.movedim(dim, -1)[tuple(slice(0, n) for n in places.shape[:-1])]
        picked = rows.unsqueeze(-2).expand(*places.shape, size)
    at = tracer.known(places)
    lane, source = at.lane, tracer.known(picked).lane
    if lane is None or lane[0] == places.ndim - 1 or source is not None and source != lane:
        raise LoweringError(tracer.where, "an index into the values of other lanes", "lanes that stay apart")
    graph = tracer.graph
    wide = tracer.aligned(tracer.known(picked), tuple(picked.shape), lane)
    which = graph.cast(at.value, "i8")
    wide = graph.expanded(wide, which.size * size)
    found = graph.make("pick", (wide, which), size, wide.type, which.size)
    with tracer.paused():
        shaped = torch.empty(places.shape, dtype=out.dtype)
    tracer.record(shaped, found, lane)
    with tracer:
        back = shaped.movedim(-1, dim)
    tracer.same(out, back)


def _looked_up(tracer: Tracer, out: Tensor, x: Tensor, index: Tensor) -> None:
    """Elements of a table (lanes, n), read where it lies, however long it is."""
    graph, size = tracer.graph, x.shape[1]
    wide, which = tracer.known(x).value, graph.cast(tracer.known(index).value, "i8")
    wide = graph.expanded(wide, size)
    found = graph.concat(
        graph.make("pick", (wide, graph.view(which, np.array([j]))), size, wide.type, 1) for j in range(which.size)
    )
    tracer.record(out, found, (0, 1, 1))


@rule("scatter.src", "scatter.value")
def _scatter(tracer: Tracer, func: Any, out: Tensor, x: Tensor, dim: int, index: Tensor, source: Any) -> None:
    """Elements written by index along an axis; of two in one place the later one stays."""
    if not tracer.varies(index):
        if isinstance(source, Tensor):
            tracer.moved(lambda a, b: torch.scatter(a, dim, index, b), [x, source], [out])
        else:
            with tracer:
                found = torch.scatter(x, dim, index, torch.full(index.shape, source, dtype=x.dtype))
            tracer.same(out, found)
        return
    with tracer:
        rows, places = x.movedim(dim, -1), index.movedim(dim, -1)
        given = source.movedim(dim, -1) if isinstance(source, Tensor) else None
        if places.shape[:-1] != rows.shape[:-1]:
            raise LoweringError(tracer.where, "a scatter into a part of a tensor", "an index of the tensor's own shape")
        count = torch.arange(rows.shape[-1])
        for j in range(places.shape[-1]):
            new = source if given is None else given[..., j : j + 1]
            rows = torch.where(count == places[..., j : j + 1], new, rows)
        found = rows.movedim(-1, dim)
    tracer.same(out, found)


@rule("index_put", "_unsafe_index_put")
def _index_put(tracer: Tracer, func: Any, out: Tensor, x: Tensor, indices: Any, values: Tensor,
               accumulate: bool = False) -> None:  # fmt: skip
    """x[i] = values: by a mask that varies, or by constant indices."""
    used = [i for i in indices if i is not None]
    if any(tracer.varies(i) for i in used):
        masked = len(indices) == 1 and used[0].dtype == torch.bool
        if masked and values.numel() == 1 and not accumulate:
            with tracer:
                mask = used[0].reshape(*used[0].shape, *(1,) * (x.ndim - used[0].ndim))
                found = torch.where(mask, values.reshape(()), x)
            tracer.same(out, found)
            return
        raise LoweringError(tracer.where, "elements written by an index that varies", "torch.where, or torch.scatter")
    if accumulate:
        with tracer:
            found = _added(tracer, x, indices, values)
        tracer.same(out, found)
        return
    tracer.moved(lambda a, b: torch.ops.aten.index_put(a, list(indices), b), [x, values], [out])


def _added(tracer: Tracer, x: Tensor, indices: Any, values: Tensor) -> Tensor:
    """x with values added at constant places, one after another where a place comes again."""
    with tracer.paused():
        places = torch.ops.aten.index(torch.arange(x.numel()).reshape(x.shape), list(indices))
        flat = places.reshape(-1)
        order = flat.argsort(stable=True)
        ordered = flat[order]
        first = torch.searchsorted(ordered, ordered)
        rank = torch.empty_like(flat)
        rank[order] = torch.arange(len(flat)) - first
        turns = [(rank == r).nonzero()[:, 0] for r in range(int(rank.max()) + 1 if len(flat) else 0)]
    total, given = x.reshape(-1), values.expand(places.shape).reshape(-1)
    for chosen in turns:
        at = flat[chosen]
        total = total.index_put((at,), total[at] + given[chosen])
    return total.reshape(x.shape)
