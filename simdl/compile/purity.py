"""The purity of a node: the same for the same arguments, which it leaves as they are, and each lane by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from simdl.compile.call import LANES, Args, as_lanes, called
from simdl.compile.node import Node
from simdl.declarations import as_tensor
from simdl.errors import ProbeError


def check_purity(node: Node, args: Args, generator: torch.Generator) -> None:
    """Raise ProbeError for a node that is not a function of its arguments, lane by lane; args: (LANES, ...)."""
    args = _map(args, lambda v: _varied(v, generator))
    versions = [v._version for v in _tensors(args)]
    returned = called(node, args)
    ranks = {key: value.ndim if isinstance(value, Tensor) else 0 for key, value in returned.items()}
    first = _clean(node, returned)
    if versions != [v._version for v in _tensors(args)]:
        raise ProbeError(node.path, "changes its arguments in place", "new tensors", "write x = x + 1, not x += 1")
    again = _clean(node, called(node, args))
    for key, value in first.items():
        if not torch.equal(torch.nan_to_num(value), torch.nan_to_num(again[key])):
            raise ProbeError(
                f"{node.path}: {key}",
                "two calls with the same arguments differ",
                "a pure method",
                "declare noise with Noise() and states with State()",
            )
    moved = _map(args, lambda v: torch.cat([v[:1], _varied(v[1:2], generator), v[2:]]))
    other = _clean(node, called(node, moved))
    for key, value in first.items():
        keep = [0, 2]
        if not torch.equal(torch.nan_to_num(value[keep]), torch.nan_to_num(other[key][keep])):
            raise ProbeError(
                f"{node.path}: {key}",
                "one lane moves the others",
                "lanes that are independent",
                "do not reduce over dim 0; put networks with batch statistics into eval mode",
            )
    for lanes in (1, 2):
        few = _map(args, lambda v, n=lanes: v[:n])
        part = called(node, few)
        for key, value in first.items():
            found = part[key]
            found = found if isinstance(found, Tensor) else as_tensor(found)
            if found.ndim != ranks[key] or found.ndim and found.shape[0] not in (lanes, 1):
                raise ProbeError(
                    f"{node.path}: {key}",
                    f"the shape {tuple(found.shape)} for {lanes} lanes",
                    f"{(lanes, *value.shape[1:])}",
                    "do not squeeze the lane dimension away",
                )
            found = found.to(value.dtype)
            found = found.expand(lanes) if found.ndim == 0 else found.expand(lanes, *found.shape[1:])
            close = (
                torch.allclose(
                    torch.nan_to_num(found.double()), torch.nan_to_num(value[:lanes].double()), rtol=1e-4, atol=1e-5
                )
                if found.shape == value[:lanes].shape
                else False
            )
            if not close:
                raise ProbeError(
                    f"{node.path}: {key}",
                    f"{lanes} lanes give other values than {LANES}",
                    "lanes that are independent of their number",
                    "name dimensions explicitly: squeeze(-1), not squeeze()",
                )


def _clean(node: Node, found: Mapping[str, Any]) -> dict[str, Tensor]:
    return {key: as_lanes(node, key, value) for key, value in found.items()}


def _varied(value: Tensor, generator: torch.Generator) -> Tensor:
    if not value.is_floating_point():
        return value.clone()
    noise = torch.rand(value.shape, generator=generator, dtype=torch.float64).to(value.dtype)
    return value + (0.01 + 0.01 * value.abs()) * noise


def _tensors(args: Args) -> list[Tensor]:
    return [t for v in args.values() for t in (v if isinstance(v, tuple) else (v,))]


def _map(args: Args, function: Any) -> Args:
    return {n: tuple(function(t) for t in v) if isinstance(v, tuple) else function(v) for n, v in args.items()}
