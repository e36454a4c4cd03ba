"""Tables: tensors that do not depend on a lane, computed by torch at the beginning of a run and shared by all lanes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_map


@dataclass(eq=False)
class Table:
    """A tensor shared by all lanes: given (weights, constants of a block), or computed from such by torch calls."""

    tensor: Tensor  # its value while tracing
    call: tuple[Any, tuple[Any, ...], dict[str, Any], int] | None = None  # function, arguments, and which result
    fixed: bool = False  # made of literals only
    key: str = ""  # of a parameter that all lanes share


def replay(table: Table, given: dict[str, Tensor], done: dict[int, Tensor], tables: dict[int, Table]) -> Tensor:
    """The value of a table at the beginning of a run: what it is computed from may have changed."""
    found = done.get(id(table.tensor))
    if found is not None:
        return found
    if table.key:
        found = given[table.key]
    elif table.call is None:
        found = table.tensor
    else:
        func, args, kwargs, which = table.call

        def fill(x: Any) -> Any:
            if isinstance(x, Tensor) and id(x) in tables:
                return replay(tables[id(x)], given, done, tables)
            return x

        out = func(*tree_map(fill, args), **tree_map(fill, kwargs))
        found = out if which < 0 else out[which]
    done[id(table.tensor)] = found
    return found
