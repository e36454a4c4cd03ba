"""Values as text that is the same in every process, and another where they would do something else."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from torch import Tensor, nn


def identity(value: Any, seen: tuple[int, ...] = ()) -> str:
    """Numbers and text as they are, arrays by their bytes, functions by their source, what they enclose and their
    defaults, other objects by their class and what they hold; a callable's class by its source too.

    >>> identity([1, (2.0, "a")]), identity(functools.partial(max, 1))
    ("[1, [2.0, 'a']]", 'partial(max, [1], {})')
    """
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | Fraction):
        return repr(value)
    if id(value) in seen:
        return "…"
    each = functools.partial(identity, seen=(*seen, id(value)))
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        return f"{value.dtype} {tuple(value.shape)} {_hash(value.reshape(-1).numpy().tobytes())}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {_hash(np.ascontiguousarray(value).tobytes())}"
    if isinstance(value, nn.Module):
        return f"{type(value).__qualname__}({each(dict(value.state_dict()))})"
    if isinstance(value, functools.partial):
        return f"partial({each(value.func)}, {each(value.args)}, {each(value.keywords)})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{each(k)}: {each(v)}' for k, v in value.items()))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(each, value))}]"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(each, value)))}}}"
    if inspect.ismethod(value):
        return f"{each(value.__self__)}.{each(value.__func__)}"
    if isinstance(value, type):
        return f"{value.__qualname__} {source(value)}"
    if inspect.isroutine(value):
        return " ".join([source(value), *_enclosed(value, each)])
    kind = type(value)
    named = {name: one for name, one in sorted(getattr(value, "__dict__", {}).items())}
    return f"{kind.__qualname__}({each(named)}){' ' + source(kind) if callable(value) else ''}"


def source(part: Any) -> str:
    """The text of a function or class; its name where there is none."""
    try:
        return inspect.getsource(part)
    except (OSError, TypeError):
        return str(getattr(part, "__qualname__", ""))


def _enclosed(function: Any, each: Any) -> list[str]:
    """The defaults of a function, and the values of the names around it."""
    found = [each(part) for part in (getattr(function, "__defaults__", None), getattr(function, "__kwdefaults__", None))
             if part]  # fmt: skip
    for cell in getattr(function, "__closure__", None) or ():
        try:
            found.append(each(cell.cell_contents))
        except ValueError:  # not bound yet
            found.append("-")
    return found


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
