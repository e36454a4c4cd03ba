"""Arithmetic as nested tuples, read in three ways: as Python floats, as tensors, and as wiring of signals.

number        ("const", 0.5)
name          ("read", "x0")
operations    ("add", a, b)  ("sub", a, b)  ("mul", a, b)  ("scale", k, a)  ("sin", a)  ("tanh", a)
              ("min", a, b)  ("max", a, b)  ("where", condition, a, b)
conditions    ("gt", a, b)  ("and", c, d)  ("or", c, d)  ("not", c)
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch

Expression = tuple[Any, ...]
Algebra = dict[str, Callable[..., Any]]

FLOATS: Algebra = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "sin": math.sin, "tanh": math.tanh,
    "min": min, "max": max, "where": lambda condition, a, b: a if condition else b,
    "gt": operator.gt, "and": lambda a, b: a and b, "or": lambda a, b: a or b, "not": operator.not_,
}  # fmt: skip

KEPT = 10_000  # functions at a time; with what they are made of, so that no id is another's
_functions: dict[tuple[int, int], tuple[Callable[[Callable[[str], Any]], Any], Expression, Algebra]] = {}

SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "gt": ">", "and": "and", "or": "or"}


def _tensor(value: Any) -> Any:
    return torch.tensor(float(value), dtype=torch.float64) if isinstance(value, (int, float)) else value


def _tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with numbers among its arguments made tensors, which torch asks for in some functions."""
    return lambda *args: function(*map(_tensor, args))


TENSORS: Algebra = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "sin": _tensors(torch.sin),
    "tanh": _tensors(torch.tanh), "min": _tensors(torch.minimum), "max": _tensors(torch.maximum),
    "where": lambda condition, a, b: torch.where(condition, _tensor(a), _tensor(b)),
    "gt": operator.gt, "and": operator.and_, "or": operator.or_, "not": operator.invert,
}  # fmt: skip

# Formulas of simdl's ports: the same functions of torch, which the ports take over.
SIGNALS: Algebra = TENSORS


def evaluate(expression: Expression, read: Callable[[str], Any], algebra: Algebra) -> Any:
    """The value of an expression, with `read(name)` giving the values of its names."""
    key = (id(algebra), id(expression))
    if key not in _functions:
        if len(_functions) == KEPT:
            _functions.clear()
        _functions[key] = (_function(expression, algebra), expression, algebra)
    return _functions[key][0](read)


def _function(expression: Expression, algebra: Algebra) -> Callable[[Callable[[str], Any]], Any]:
    """The expression as a function of `read`: written in Python once, where walking the tuples takes most of a run."""
    used: dict[str, Any] = {f"_{name}": function for name, function in algebra.items()}

    def written(part: Expression) -> str:
        operation, *arguments = part
        if operation == "const":
            name = f"c{len(used)}"
            used[name] = arguments[0]
            return name
        if operation == "read":
            return f"read({arguments[0]!r})"
        if operation == "scale":
            return written(("mul", arguments[1], ("const", arguments[0])))
        return f"_{operation}({', '.join(map(written, arguments))})"

    function: Callable[[Callable[[str], Any]], Any] = eval(f"lambda read: {written(expression)}", used)
    return function


def names(expression: Expression) -> tuple[str, ...]:
    """The names an expression reads, each once, in order of first appearance."""
    if expression[0] == "read":
        return (expression[1],)
    found: dict[str, None] = {}
    for argument in expression[1:]:
        if isinstance(argument, tuple):
            found.update(dict.fromkeys(names(argument)))
    return tuple(found)


def reads(*expressions: Expression) -> tuple[str, ...]:
    """The names that several expressions read, each once."""
    return tuple(dict.fromkeys(name for expression in expressions for name in names(expression)))


def rename(expression: Expression, new: Callable[[str], str]) -> Expression:
    """The same expression with every name replaced."""
    if expression[0] == "read":
        return ("read", new(expression[1]))
    return tuple(rename(argument, new) if isinstance(argument, tuple) else argument for argument in expression)


def text(expression: Expression) -> str:
    """The expression as a person writes it."""
    operation, *arguments = expression
    if operation in ("const", "read"):
        return str(arguments[0])
    if operation == "scale":
        return f"{arguments[0]}*{text(arguments[1])}"
    shown = [text(argument) for argument in arguments]
    if operation in SYMBOLS:
        return f"({shown[0]} {SYMBOLS[operation]} {shown[1]})"
    return f"{operation}({', '.join(shown)})"
