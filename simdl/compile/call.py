"""A call of a node by the probe: with a few lanes, where branching on tensors is refused."""

from __future__ import annotations

import re
import sys
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from simdl.compile.node import Node
from simdl.errors import ProbeError, SimdlError

LANES = 3
Args = dict[str, Any]

_TRUSTED = re.compile(r"(torch|simdl)(?!\.blocks|\.scenarios)(\.|$)")


class _Branch(RuntimeError):
    """A tensor was asked for its truth value."""


class _NoBranch(TorchFunctionMode):
    """Refuses `if` on tensors in a block's own code: what a lane does may not choose the code that all lanes run.

    torch and the framework may: they choose between ways to the same result."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.Tensor.__bool__ and not _TRUSTED.match(sys._getframe(1).f_globals.get("__name__", "")):
            raise _Branch("branches on a tensor")
        return function(*args, **(kwargs or {}))


def called(node: Node, args: Args) -> dict[str, Any]:
    """What a node returns for these arguments, by key. Raises ProbeError where it fails, or branches on a tensor."""
    try:
        with _NoBranch():
            returned = node.function(**args)
    except SimdlError:
        raise
    except Exception as error:
        text = str(error).strip().split("\n")[0]
        fix = ""
        if isinstance(error, _Branch):
            text, fix = "branches on a tensor", "choose values with torch.where(condition, a, b)"
        shapes = ", ".join(f"{n} {_shape(v)}" for n, v in args.items())
        raise ProbeError(
            node.path,
            f"{text} ({type(error).__name__})",
            f"a method that works with {LANES} lanes; it read {shapes}",
            fix or "compute on tensors (lanes, ...), lanes first",
        ) from error
    return node.results(returned)


def as_lanes(node: Node, key: str, found: Any) -> Tensor:
    """A returned value as (LANES, *shape). Raises ProbeError for what is no tensor, or has no lanes."""
    if isinstance(found, bool | int | float):
        return torch.full((LANES,), found, dtype=torch.bool if isinstance(found, bool) else torch.float64)
    if not isinstance(found, Tensor):
        raise ProbeError(f"{node.path}: {key}", f"{type(found).__name__} {found!r}", "a tensor (lanes, ...)")
    if found.ndim == 0:
        return found.expand(LANES)
    if found.shape[0] not in (LANES, 1):
        raise ProbeError(
            f"{node.path}: {key}",
            f"the shape {tuple(found.shape)} for {LANES} lanes",
            "lanes first",
            "keep dimension 0: reduce over dim=1 or dim=-1, and do not transpose or squeeze lanes away",
        )
    return found.expand(LANES, *found.shape[1:])


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"{len(value)} tensors"
