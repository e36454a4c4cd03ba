"""Tensors that share memory: what a view is worth that was made out of sight, and what a change in place changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.engine.native.entry import Entry, labels, read
from simdl.engine.native.ir import TYPES
from simdl.errors import LoweringError

if TYPE_CHECKING:
    from simdl.engine.native.known import Known
    from simdl.engine.native.tracer import Tracer


def storage(tensor: Tensor) -> int:
    """What is equal for tensors that share memory."""
    return int(tensor.untyped_storage()._cdata)


def geometry(tensor: Tensor) -> tuple[Any, ...]:
    """Where in its storage a tensor is."""
    return tensor.dtype, tensor.shape, tensor.stride(), tensor.storage_offset()


def places(tensor: Tensor) -> Tensor:
    """The places of a tensor's elements in its storage."""
    size = tensor.untyped_storage().nbytes() // max(1, tensor.element_size())
    return torch.arange(size).as_strided(tensor.shape, tensor.stride(), tensor.storage_offset()).reshape(-1)


def seen_through(tracer: Known, tensor: Tensor, others: list[Tensor]) -> Entry | None:
    """The entry of a tensor that lies in the memory of known ones, such as one that autograd has saved."""
    for other in reversed(others):
        if geometry(other) == geometry(tensor):
            return tracer.known(other)
    wanted = places(tensor)
    for other in others:
        if other.dtype != tensor.dtype or not bool(torch.isin(wanted, places(other)).all()):
            continue
        entry, stride = tracer.known(other), 1 << 32
        size = max(int(wanted.max()), int(places(other).max())) + 1 if wanted.numel() else 1
        marked = torch.zeros(size, dtype=torch.int64)
        marked[places(other)] = labels(entry, tracer.lanes, stride, 0).reshape(-1)
        element, lane = read(marked[wanted].reshape(tensor.shape), tracer.lanes, stride)
        return Entry(tracer.graph.view(entry.value, element.numpy()), tuple(tensor.shape), lane)
    return None


def changed_in_place(tracer: Tracer, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    """x.add_(y) as a new value of the tensor x, and of every tensor that sees what changed."""
    target: Tensor = args[0]
    packet = getattr(torch.ops.aten, name[:-1], None)
    if packet is None or not isinstance(target, Tensor):
        raise LoweringError(tracer.where, f"{func.name()}, which changes its arguments", "operations that do not")
    before = target.clone()
    tracer.stand_in(before, target)
    if name == "copy_":
        lane = tracer.lanes_of(tuple(target.shape), [args[1], before])
        source = tracer.aligned(tracer.known(args[1]), tuple(target.shape), lane)
        size = target.numel() // (tracer.lanes if lane is not None else 1)
        new = Entry(tracer.graph.expanded(source, size), tuple(target.shape), lane)
    else:
        with tracer:
            result = packet(before, *args[1:], **kwargs)
        new = tracer.known(result)
    new = Entry(tracer.graph.cast(new.value, TYPES[target.dtype]), new.shape, new.lane)
    touched = places(target)
    others = [
        (tensor, tracer.known(tensor))
        for tensor in tracer.sharing(target)
        if tensor is not target and bool(torch.isin(places(tensor), touched).any())
    ]
    func(*args, **kwargs)
    tracer.put(target, new)
    for tensor, old in others:
        _overwritten(tracer, tensor, old, target, new)
    return target


def _overwritten(tracer: Tracer, tensor: Tensor, old: Entry, target: Tensor, new: Entry) -> None:
    """A tensor of which another one's change has changed a part."""
    if tensor.dtype != target.dtype:
        raise LoweringError(tracer.where, "a change in place seen in another type", "new tensors")
    stride = 1 + old.value.size + new.value.size
    size = max(int(places(t).max()) for t in (tensor, target)) + 1
    written = torch.full((size,), -1)
    written[places(target)] = labels(new, tracer.lanes, stride, old.value.size).reshape(-1)
    found = written[places(tensor)].reshape(tensor.shape)
    mixed = torch.where(found < 0, labels(old, tracer.lanes, stride, 0), found)
    element, lane = read(mixed, tracer.lanes, stride)
    whole = tracer.graph.concat([old.value, new.value])
    tracer.put(tensor, Entry(tracer.graph.view(whole, element.numpy()), tuple(tensor.shape), lane))
