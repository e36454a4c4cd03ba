"""Parts of a module that training leaves as they are: a backbone, or batch normalisation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import nn

from simdl.errors import RunError

Frozen = str | nn.Module | type[nn.Module]
"""A part by its path ("backbone"), itself, or all parts of a type (nn.BatchNorm2d)."""


def frozen_parts(module: nn.Module, frozen: Frozen | Sequence[Frozen]) -> dict[str, nn.Module]:
    """The parts by path. Raises RunError for what is not inside the module, with the near paths."""
    inside = {path: part for path, part in module.named_modules() if path}
    found: dict[str, nn.Module] = {}
    for one in frozen if isinstance(frozen, Sequence) and not isinstance(frozen, str) else [frozen]:
        if isinstance(one, str):
            chosen = {one: inside[one]} if one in inside else {}
        elif isinstance(one, type):
            chosen = {path: part for path, part in inside.items() if isinstance(part, one)}
        else:
            chosen = {path: part for path, part in inside.items() if part is one}
        if not chosen:
            what = repr(one) if isinstance(one, str) else getattr(one, "__name__", type(one).__name__)
            raise RunError("fit", f"frozen={what}, which is no part of the module", "a path, a part or a type of parts",
                           names=inside, wrong=one if isinstance(one, str) else "")  # fmt: skip
        found |= chosen
    return found


@contextmanager
def held(module: nn.Module, parts: Mapping[str, nn.Module]) -> Iterator[None]:
    """Within the block no parameter of these parts asks for a gradient; afterwards all is as before, modes included."""
    modes = [(part, part.training) for part in module.modules()]
    asked = [p for part in parts.values() for p in part.parameters() if p.requires_grad]
    for parameter in asked:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asked:
            parameter.requires_grad_(True)
        for part, mode in modes:
            part.training = mode
