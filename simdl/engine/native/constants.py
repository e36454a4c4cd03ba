"""Constant values of a lane program, computed by torch before a run: tables and what follows from them alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simdl.engine.native.ir import DTYPES, Value
from simdl.engine.native.layout import MEMORY

Array = np.ndarray[Any, np.dtype[Any]]

_NAMED: dict[str, Callable[..., Tensor]] = {
    "where": lambda m, a, b: torch.where(m != 0, a, b), "and": torch.bitwise_and, "or": torch.bitwise_or,
    "xor": torch.bitwise_xor, "not": torch.logical_not, "invert": torch.bitwise_not, "shl": torch.bitwise_left_shift,
    "shr": torch.bitwise_right_shift, "trunc_divide": lambda a, b: torch.div(a, b, rounding_mode="trunc"),
    "fma": lambda a, b, c: a * b + c,
}  # fmt: skip
_REDUCED: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda x: x.sum(1), "prod": lambda x: x.prod(1), "max": lambda x: x.amax(1), "min": lambda x: x.amin(1),
    "any": lambda x: x.any(1), "all": lambda x: x.all(1), "argmax": lambda x: x.argmax(1),
    "argmin": lambda x: x.argmin(1),
}  # fmt: skip


def evaluated(value: Value, tables: list[Tensor]) -> Array:
    """A constant value as an array, in the type in which a program reads it."""
    done: dict[int, Tensor] = {}
    stack = [value]
    while stack:
        v = stack[-1]
        missing = [a for a in v.args if a.index not in done]
        if missing:
            stack += missing
            continue
        done[v.index] = _computed(v, [done[a.index] for a in v.args], tables).to(DTYPES[v.type])
        stack.pop()
    return done[value.index].contiguous().numpy().astype(np.dtype(MEMORY[value.type][1]), copy=False)


def _computed(v: Value, args: list[Tensor], tables: list[Tensor]) -> Tensor:
    if v.op == "const":
        number = v.attr[1]
        return torch.tensor([float("nan") if number is None else number], dtype=DTYPES[v.type])
    if v.op == "array":
        return torch.flatten(tables[v.attr].detach().cpu())
    if v.op == "view":
        return args[0].index_select(0, torch.from_numpy(v.attr.array))
    if v.op == "concat":
        return torch.cat(args)
    if v.op == "reduce":
        kind, columns = v.attr
        return _REDUCED[kind](args[0].reshape(-1, columns))
    if v.op == "matmul":
        b, m, k, n = v.attr
        return torch.bmm(args[0].reshape(b, m, k), args[1].reshape(b, k, n)).reshape(-1)
    if v.op == "solve":
        b, n, m = v.attr
        return torch.flatten(torch.linalg.solve(args[0].reshape(b, n, n), args[1].reshape(b, n, m)))
    if v.op == "take":
        rows, width = v.attr
        return args[0].reshape(rows, width).index_select(0, _inside(args[1], rows)).reshape(-1)
    if v.op == "pick":
        return args[0].reshape(-1, v.attr).gather(1, _inside(args[1], v.attr).unsqueeze(1)).squeeze(1)
    if v.op.startswith("to_"):
        return args[0] != 0 if v.op == "to_b1" else args[0]
    function: Callable[..., Tensor] = _NAMED.get(v.op) or getattr(torch, v.op)
    return function(*args)


def _inside(index: Tensor, n: int) -> Tensor:
    return torch.where(index < 0, index + n, index).clamp(0, n - 1)
