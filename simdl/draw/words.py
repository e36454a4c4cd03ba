"""What boxes and pins say: conditions, shapes, numbers and formulas as a person writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from simdl.block import Block
from simdl.declarations import Param, State
from simdl.declared import Declared
from simdl.draw.text import short
from simdl.port import SYMBOLS, Formula, Port, Signal

SIGNS = {**SYMBOLS, "sub": "−", "mul": "·", "le": "≤", "ge": "≥"}


def is_fixed(port: Port) -> bool:
    """Whether a port is a parameter: a number, and no signal."""
    return isinstance(type(port.owner).declared().get(port.name), Param)


def condition_texts(owner: Declared) -> list[str]:
    found = []
    for condition in owner.conditions:
        more = f", outputs {condition.outputs}" if condition.kind == "enabled" else f", {condition.edge}"
        found.append(f"{condition.kind}{more}" + (f", read every {condition.clock}" if condition.clock else ""))
    return found


def port_label(name: str, declaration: Any) -> str:
    return short(name) + shape_text(declaration)


def shape_text(declaration: Any) -> str:
    sizes = getattr(declaration, "shape", None)
    return f" ({'×'.join(map(str, sizes))})" if sizes else ""


def value_text(value: Any) -> str:
    if isinstance(value, Signal):
        return short(value, 18)
    if isinstance(value, Tensor):
        return f"{value.item():.4g}" if value.ndim == 0 else f"[{'×'.join(map(str, value.shape))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return short(f"{value:.4g}" if isinstance(value, float) else value, 18)


def block_text(block: Block) -> str:
    """What a pointer over a block tells: its type, states and parameters."""
    declared = type(block).declared()
    states = [n for n, d in declared.items() if isinstance(d, State)]
    settings = [f"{n} = {value_text(v)}" for n, v in block.settings.items()]
    parts = [type(block).__name__, f"states {', '.join(states)}" if states else "", ", ".join(settings)]
    return "; ".join(part for part in parts if part)


def formula_text(signal: Any, base: str, path: Callable[[Port], str], inner: bool = False) -> str:
    """A formula as a person writes it, with paths from the frame it stands in."""
    if isinstance(signal, Port):
        return path(signal).removeprefix(f"{base}.") if base else path(signal)
    if not isinstance(signal, Formula):
        return value_text(signal)
    args = [formula_text(arg, base, path, True) for arg in signal.args]
    if signal.op in SIGNS:
        both = f"{args[0]} {SIGNS[signal.op]} {args[1]}"
        return f"({both})" if inner else both
    if signal.op == "neg":
        return f"−{args[0]}"
    if signal.op == "getitem":
        return f"{args[0]}[{args[1]}]"
    return f"{signal.op}({', '.join(args)})"


def formula_label(formula: Formula, text: str, most: int = 34) -> str:
    """The text of a formula as its box shows it: a long list of arguments is its first and its last.

    >>> from simdl import stack
    >>> from simdl.blocks import Gain
    >>> gains = [Gain() for _ in range(9)]
    >>> formula_label(stack(*(gain.y for gain in gains)), "stack(" + "gain.y, " * 8 + "gain.y)")
    'stack(gain.y, …, gain.y)'
    """
    parts = text.removeprefix(f"{formula.op}(").removesuffix(")").split(", ")
    listed = len(parts) == len(formula.args) > 2 and text == f"{formula.op}({', '.join(parts)})"
    return short(f"{formula.op}({parts[0]}, …, {parts[-1]})" if listed and len(text) > most else text, most)
