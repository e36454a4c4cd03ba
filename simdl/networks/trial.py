"""A trial of a module before its network is made: whether the planned ports fit it, and the shapes of what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from simdl.declarations import Input, Shape
from simdl.errors import NetworkError
from simdl.networks.call import kind_of, training
from simdl.networks.layers import first_width, static_lanes, tapped
from simdl.networks.plan import Plan
from simdl.networks.ports import split_result


def try_module(module: nn.Module, plan: Plan) -> list[Shape] | None:
    """Call the module once to see that the ports fit it, and give open outputs their shapes.

    Returns the shapes of outputs and tapped layers; None when the shape of an input is known only once it is wired.
    """
    where = plan.where
    sizes = plan.sizes
    if sizes is None:
        name, only = next(iter(plan.inputs.items()))
        width = first_width(module)
        if plan.window is not None:
            if width is None or plan.window.flat:
                raise NetworkError(f"{where}.{name}", "an input of open shape in a window", "its shape",
                                   f"inputs={{{name!r}: Input(shape=(n,))}}")  # fmt: skip
            only.shape = () if width == 1 else (width,)
        if width is None:
            return None
        sizes = [width]
    lanes = static_lanes(module) or 2
    dtype, device = kind_of(module)
    options: dict[str, Any] = {"dtype": dtype or torch.get_default_dtype(), "device": device}
    if plan.array:
        args = [torch.zeros((lanes, *(one.shape or ())), **_typed(options, one)) for one in plan.inputs.values()]
    else:
        row: tuple[int, ...] = (sum(sizes),)
        if plan.window is not None:
            row = (plan.window.length * row[0],) if plan.window.flat else (plan.window.length, row[0])
        args = [torch.zeros((lanes, *row), **options)]
    try:
        with torch.no_grad(), training(module, False), tapped(module, plan.taps) as seen:
            raw = module(*plan.prepared(args))
            result = plan.returned(raw, lanes)
            captured = [seen[port] for port in plan.taps]
        _check_result(module, plan, raw, args)
    except NetworkError:
        raise
    except Exception as error:
        given = ", ".join(str(tuple(arg.shape)) for arg in args)
        raise NetworkError(where, f"the module fails on {given}, from {', '.join(plan.inputs)}: {error}",
                           "a module that takes them", "name one input for each feature, in the module's order",
                           ) from error  # fmt: skip
    values = split_result(result, plan.outputs, lanes, where)
    for declared, value in zip(plan.outputs.values(), values):
        declared.shape = tuple(value.shape[1:])
    for port, layer in zip(plan.taps, captured):
        if layer.ndim == 0 or layer.shape[0] != lanes:
            found = f"the layer gives {tuple(layer.shape)} for {lanes} lanes"
            raise NetworkError(f"{where}.{port}", found, "a row for each lane")
    return [tuple(value.shape[1:]) for value in (*values, *captured)]


def _check_result(module: nn.Module, plan: Plan, raw: Any, args: Sequence[Tensor]) -> None:
    """Check what the module returned, `raw`, against what the result promises; of probabilities, for random samples
    too, because zeros alone may sum to one by chance."""
    plan.check(raw)
    if getattr(plan.result, "probabilities", False):
        generator = torch.Generator().manual_seed(0)
        drawn = [torch.randn(a.shape, generator=generator).to(a) if a.is_floating_point() else a for a in args]
        with torch.no_grad(), training(module, False):
            plan.check(module(*plan.prepared(drawn)))


def _typed(options: dict[str, Any], one: Input) -> dict[str, Any]:
    return {**options, "dtype": one.dtype} if one.dtype in (torch.int64, torch.int32) else options
