"""Names of losses, schedules and the like: the same in every process, others when they do something else."""

from __future__ import annotations

import functools
import hashlib
import re

from torch import nn

from simdl.data.shard import raw_bytes

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def named(thing: object) -> str:
    """What a checkpoint remembers of a function or a module."""
    if isinstance(thing, functools.partial):
        words = [*map(named, thing.args), *(f"{key}={named(value)}" for key, value in thing.keywords.items())]
        return f"{named(thing.func)}({', '.join(words)})"
    if isinstance(thing, nn.Module):
        return _module(thing)
    if hasattr(thing, "__qualname__"):
        return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"
    return _ADDRESS.sub("", repr(thing))


def _module(module: nn.Module) -> str:
    """Its repr, with the numbers that torch's losses do not show there: class weights, smoothing, …"""
    text = _ADDRESS.sub("", repr(module))
    plain = {k: v for k, v in vars(module).items() if isinstance(v, bool | int | float | str) and k[0] != "_"}
    plain.pop("training", None)
    if module.extra_repr():  # it shows them
        plain = {}
    tensors = module.state_dict()
    if not plain and not tensors:
        return text
    digest = hashlib.sha256(repr(sorted(plain.items())).encode())
    for name, value in tensors.items():
        digest.update(name.encode() + raw_bytes(value))
    return f"{text} {digest.hexdigest()[:12]}"
