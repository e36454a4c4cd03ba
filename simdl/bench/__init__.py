"""Ranking a network closed loop, over every slot that it fits, beside what stands there otherwise.

    contest     bench: campaigns over conditions and entries
    seat        Seat, Board: what came out, and the ranking
    space       conditions: as the scenario says, with faults, wider than the scenario says
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simdl.bench.contest import bench as bench
    from simdl.bench.seat import Board as Board, Seat as Seat
    from simdl.bench.space import Condition as Condition, conditions as conditions, widened as widened

_LATER = {"bench": "contest", "Board": "seat", "Seat": "seat", "Condition": "space", "conditions": "space",
          "widened": "space"}  # fmt: skip

__all__ = [*_LATER]  # pyright: ignore


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'simdl.bench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"simdl.bench.{_LATER[name]}"), name)
