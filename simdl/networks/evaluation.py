"""One evaluation of a network block outside of a run: values for its inputs, and hooks on its parts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from simdl.networks.call import kind_of, training
from simdl.networks.layers import first_width
from simdl.networks.network import Network
from simdl.networks.products import Graphs


def drawn(block: Network, count: int) -> list[Tensor]:
    """Values of the ports: from the card's box, else from its mean and spread; uniform, the same each time."""
    features = {feature.name: feature for feature in (block._plan.card.inputs if block._plan.card else ())}
    generator = torch.Generator().manual_seed(0)
    dtype = kind_of(block.module)[0] or torch.get_default_dtype()
    found = []
    for name, one in block._plan.inputs.items():
        width = first_width(block.module) if one.shape is None else None
        shape = (count, *(one.shape if one.shape is not None else () if width in (None, 1) else (width,)))
        value = 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1
        feature = features.get(name)
        if feature is not None:
            mean, std = _like(feature.mean, shape), _like(feature.std, shape)
            low = mean - 2 * std if feature.low is None else _like(feature.low, shape)
            high = mean + 2 * std if feature.high is None else _like(feature.high, shape)
            value = low + (high - low) * (value + 1) / 2
        whole = one.dtype is not None and not one.dtype.is_floating_point
        found.append(torch.zeros(shape, dtype=one.dtype) if whole else value.to(dtype))
    return found


def _like(number: Any, shape: tuple[int, ...]) -> Tensor:
    value = torch.as_tensor(number, dtype=torch.float64)
    if value.ndim == 1 and len(shape) > 2:
        size = math.prod(shape[1:])
        return value.reshape(shape[1:]) if value.numel() == size else value.reshape(-1, *(1,) * (len(shape) - 2))
    return value.reshape(()) if value.numel() == 1 else value


def evaluated(block: Network, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """One tick, with full windows where there are any."""
    lanes = inputs[0].shape[0]
    plan = block._plan
    memory = {}
    for name, one in plan.memory.items():
        first = torch.as_tensor(one.initial)
        shape = tuple(one.shape) if one.shape is not None else tuple(first.shape)
        first = first.to(one.dtype or (inputs[0].dtype if first.is_floating_point() else first.dtype))
        memory[name] = first.expand(lanes, *shape).clone()
    window = plan.window
    if window is not None:
        memory["ticks"] = torch.full_like(memory["ticks"], window.length - 1)
        row = torch.cat([v.flatten(1) if v.ndim > 1 else v[:, None] for v in inputs], -1)
        order = [torch.roll(row, k, 0) for k in range(window.length)]
        memory["history"] = torch.stack(order, 1).to(memory["history"].dtype)
    memory.pop("reset_before", None)
    with torch.no_grad():
        found: dict[str, Tensor] = block._evaluate(list(inputs), memory)
    return found


@contextmanager
def _watched(module: nn.Module, keep: Any) -> Iterator[None]:
    """Calls keep(path, part, args, result) for every leaf of a module; a traced program is one."""
    handles, inside = [], set[nn.Module]()
    for path, part in module.named_modules(remove_duplicate=True):
        if isinstance(part, Graphs):
            inside.update(one for one in part.modules() if one is not part)
        if part not in inside and (isinstance(part, Graphs) or not any(True for _ in part.children())):
            hook = lambda p, args, result, path=path: keep(path, p, args, result)  # noqa: E731
            handles.append(part.register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def watch(block: Network, inputs: Sequence[Tensor], keep: Any) -> None:
    """One evaluation in one call of the module, however `Call` would cut it, with every leaf watched."""
    call = block._call
    kept = call.mode, call.chunk, call.only
    call.mode, call.chunk = "fast", None
    if call.only == inputs[0].shape[0]:
        call.only = None
    try:
        with training(block.module, False), _watched(block.module, keep):
            evaluated(block, inputs)
    finally:
        call.mode, call.chunk, call.only = kept
