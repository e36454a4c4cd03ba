"""Taking networks and whole virtual sensors out of simdl, and putting what came out back into the loop.

    exported, loop      export: a network as .onnx, .pt2 or .c; check_in_loop: a campaign with the file in a slot
    kind                the formats by the ending of a name
    step, formats       one tick of a network as a function; writing it
    executor            running the files: ONNX Runtime, torch, a C compiler
    c/                  discrete subdiagrams as C99
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simdl.export.exported import Exported as Exported, export as export
    from simdl.export.loop import LoopCheck as LoopCheck, check_in_loop as check_in_loop, executed as executed

_LATER = {
    "Exported": "exported", "export": "exported", "LoopCheck": "loop", "check_in_loop": "loop", "executed": "loop",
}  # fmt: skip

__all__ = [*_LATER]  # pyright: ignore


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'simdl.export' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"simdl.export.{_LATER[name]}"), name)
