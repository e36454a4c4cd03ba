"""From what people write (ports, formulas over them, numbers, text) to the nodes of a requirement."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from simdl.errors import RequirementError
from simdl.port import Formula, Port
from simdl.requirements.grammar import ARITHMETIC, COMPARISONS, SYMBOLS
from simdl.requirements.tree import Node, Requirement, Term, Window

_CONNECTIVES = {"not", "implies", "iff", "xor", "rise", "fall", "always", "eventually", "until"}
_KNOWN = ARITHMETIC | set(COMPARISONS) | _CONNECTIVES | {"and", "or", "where", "getitem", "changes"}


def make(op: str, args: Sequence[Any], value: Any = None, window: Window | None = None) -> Node:
    """The node of an operation. Raises RequirementError where a number is given for a condition, or the reverse."""
    if op in ("and", "or"):
        # One flat node, so that a thousand of them are not a thousand levels.
        flat = [part for arg in map(condition, args) for part in (arg.args if arg.op == op else (arg,))]
        if not flat:
            raise RequirementError(op, "no requirement", "at least one")
        return Requirement(op, flat) if len(flat) > 1 else condition(flat[0])
    if op in _CONNECTIVES:
        return Requirement(op, map(condition, args), window=window)
    if op in COMPARISONS:
        return Requirement(op, _varying(SYMBOLS[op], [number(arg) for arg in args]))
    if op == "neg" and isinstance(args[0], Node) and args[0].op == "const":
        return Term("const", value=-args[0].value)
    if op == "where":
        return Term(op, (_now(condition(args[0])), number(args[1]), number(args[2])))
    if op == "changes":
        if window is None or window.stop is None:
            raise RequirementError("changes", "no window with an end", "changes[0:1](…), or within=1")
        return Term(op, _varying(op, [_now(node(args[0]))]), window=window)
    if op == "getitem":
        return Term(op, _varying("[]", [number(args[0])]), value)
    return Term(op, map(number, args), value)


def condition(phi: Any) -> Requirement:
    """What holds or does not: a requirement, a comparison, a boolean signal, or text."""
    found = node(phi)
    if isinstance(found, Requirement):
        return found
    if found.op in ("signal", "getitem"):  # whether it is boolean shows when it is read
        return Requirement("holds", (found,))
    raise RequirementError(f"{found}", "a number", "a condition", f"compare it, as in {found} < 1")


def number(x: Any) -> Node:
    """What has a value: a signal, a constant, or arithmetic."""
    found = node(x)
    if not isinstance(found, Requirement):
        return found
    raise RequirementError(f"{found}", "a condition", "a number", f"write where({found}, 1, 0)")


def node(x: Any) -> Node:
    """The node of anything that may stand in a requirement. Formulas are walked in a loop: they may be deep."""
    if isinstance(x, str):
        from simdl.requirements.parser import parse

        return parse(x)
    if not isinstance(x, Formula):
        return _leaf(x)
    done: dict[int, Node] = {}
    stack = [x]
    while stack:
        formula = stack[-1]
        missing = [arg for arg in formula.args if isinstance(arg, Formula) and id(arg) not in done]
        if missing:
            stack.extend(reversed(missing))
        else:
            stack.pop()
            if id(formula) not in done:
                done[id(formula)] = _formula(formula, done)
    return done[id(x)]


def _formula(formula: Formula, done: dict[int, Node]) -> Node:
    if formula.op not in _KNOWN:
        raise RequirementError(f"{formula.op}(…)", "cannot stand in a requirement", "one of the operations below",
                               "make the value an output of the model", sorted(_KNOWN), formula.op)  # fmt: skip
    args, value, window = list(formula.args), None, None
    if formula.op == "getitem":
        index = args.pop()
        value = index if isinstance(index, tuple) else (index,)
        if not all(isinstance(i, int) for i in value):
            raise RequirementError(f"{formula}", "a slice", "the index of one element, such as signal[0]")
    elif formula.op == "changes":
        window = args.pop()
    return make(formula.op, [done[id(arg)] if isinstance(arg, Formula) else node(arg) for arg in args], value, window)


def _leaf(x: Any) -> Node:
    if isinstance(x, Node):
        return x
    if isinstance(x, Port):
        return Term("signal", value=x)
    if isinstance(x, bool):
        raise RequirementError("requirement", f"{x}", "a comparison of signals")
    if isinstance(x, Tensor) and x.ndim == 0:
        x = x.item()
    if isinstance(x, numbers.Real):
        return constant(float(x))
    raise RequirementError("requirement", f"{type(x).__name__} {x!r:.100}", "a signal, a number, a requirement or text")


def constant(x: float) -> Term:
    """A finite number."""
    if not math.isfinite(x):
        raise RequirementError("requirement", f"the constant {x}", "a finite number",
                               "leave the comparison out: it bounds nothing")  # fmt: skip
    return Term("const", value=x)


def _varying(op: str, args: list[Node]) -> list[Node]:
    if all(arg.constant for arg in args):
        found = f"{f' {op} '.join(map(str, args))} reads no signal"
        raise RequirementError("requirement", found, "a signal of the model")
    return args


def _now(found: Node) -> Node:
    if found.timed:
        raise RequirementError(f"{found}", "looks at other times", "a condition of one time inside where and changes")
    return found
