"""Copies of blocks whose class was put together for them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, TypeVar

Made = TypeVar("Made")


def with_its_class(block: Made, memo: dict[int, Any]) -> Made:
    """A `__deepcopy__`: the copy has the same class, where a pickle makes it anew; what `memo` holds is shared."""
    made: Made = object.__new__(type(block))
    memo[id(block)] = made
    for name, value in vars(block).items():
        vars(made)[name] = deepcopy(value, memo)
    return made
