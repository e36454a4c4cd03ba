"""Pointwise operations as C expressions, and numbers as C literals."""

from __future__ import annotations

import math
from typing import Any

C_TYPES = {
    "f8": "double", "f4": "float", "i8": "int64_t", "i4": "int32_t", "i2": "int16_t", "i1": "int8_t", "u1": "uint8_t",
    "b1": "_Bool",
}  # fmt: skip
FLOATS = ("f8", "f4")

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">",
          "ge": ">=", "and": "&", "or": "|", "xor": "^"}  # fmt: skip
_FUNCTIONS = frozenset(
    "sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh exp exp2 expm1 log log2 log10 log1p sqrt rsqrt "
    "reciprocal sigmoid erf abs sign floor ceil trunc round maximum minimum fmax fmin copysign hypot fmod remainder "
    "floor_divide pow".split()
)
_NAMES = {"floor_divide": "floor_div"}
_WHOLE = {"floor_divide": "i_floor_div", "remainder": "i_remainder", "fmod": "i_fmod", "trunc_divide": "i_div",
          "div": "i_div", "maximum": "i_max", "minimum": "i_min", "abs": "i_abs", "sign": "i_sign", "shl": "i_shl",
          "shr": "i_shr"}  # fmt: skip
POINTWISE = frozenset(_INFIX) | _FUNCTIONS | frozenset(
    "neg not invert where isnan isinf isfinite frac shl shr trunc_divide fma".split()
) | {f"to_{name}" for name in C_TYPES}  # fmt: skip

HEAVY = frozenset(
    "sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh exp exp2 expm1 log log2 log10 log1p sigmoid erf "
    "hypot pow fmod remainder floor_divide".split()
)
"""Operations that are many instructions; of more than a few floating point elements they are calls."""

DECISIONS = frozenset("eq ne lt le gt ge floor ceil trunc round frac sign fmod remainder floor_divide".split())
"""Operations whose result may jump when an argument moves by its last bit."""


def literal(number: Any, kind: str) -> str:
    """A number in C: floats in hexadecimal, so that no bit is lost."""
    if kind == "b1":
        return "1" if number else "0"
    if kind not in FLOATS:
        value = int(number)
        if value == -(2**63):
            return "INT64_MIN"
        return f"INT64_C({value})" if kind == "i8" else str(value)
    end = "f" if kind == "f4" else ""
    if number is None or number != number:
        return f"__builtin_nan{end}(\"\")"
    if math.isinf(number):
        return f"{'-' if number < 0 else ''}__builtin_inf{end}()"
    text = float(number).hex()
    return f"({text}{end})" if number < 0 or text.startswith("-") else f"{text}{end}"


def expression(op: str, args: list[str], kind: str, given: str) -> str:
    """The C expression of an operation: `kind` is the type of its result, `given` that of its (last) argument."""
    end = "f" if given == "f4" else ""
    if kind == "b1" and op in ("mul", "add"):
        return f"({args[0]} {'&' if op == 'mul' else '|'} {args[1]})"
    if op in _INFIX and (given in FLOATS or op != "div"):
        text = f"({args[0]} {_INFIX[op]} {args[1]})"
        return f"({C_TYPES[kind]}){text}" if kind in ("i4", "i2", "i1", "u1") else text
    if op == "neg":
        return f"(-{args[0]})"
    if op == "not":
        return f"(!{args[0]})"
    if op == "invert":
        return f"(~{args[0]})"
    if op == "where":
        return f"({args[0]} ? {args[1]} : {args[2]})"
    if op == "fma":
        return f"__builtin_fma{end}({', '.join(args)})"
    if op.startswith("to_"):
        return _cast(op[3:], args[0], given)
    if op in ("isnan", "isinf", "isfinite"):
        return f"m_{op}{end}({args[0]})"
    if op == "frac":
        return f"({args[0]} - m_trunc{end}({args[0]}))"
    if given not in FLOATS:
        return f"({C_TYPES[kind]}){_WHOLE[op]}({', '.join(args)})"
    return f"m_{_NAMES.get(op, op)}{end}({', '.join(args)})"


def _cast(to: str, arg: str, given: str) -> str:
    if to == "b1":
        return f"({arg} != 0)"
    if to not in FLOATS and given in FLOATS:
        return f"({C_TYPES[to]})i_whole((double){arg})"
    return f"(({C_TYPES[to]}){arg})"


def combined(kind: str, a: str, b: str, type: str) -> str:
    """One more element in a reduction."""
    end = "f" if type == "f4" else ""
    if kind == "sum":
        return f"({a} + {b})" if type != "b1" else f"({a} | {b})"
    if kind == "prod":
        return f"({a} {'*' if type != 'b1' else '&'} {b})"
    if kind in ("any", "all"):
        return f"({a} {'|' if kind == 'any' else '&'} {b})"
    if type in FLOATS:
        return f"m_{kind}imum{end}({a}, {b})"
    return f"i_{kind}({a}, {b})"


def better(kind: str, a: str, best: str, type: str) -> str:
    """Whether an element is the new extreme; NaN is, and stays."""
    text = f"({a} {'>' if kind == 'argmax' else '<'} {best})"
    return f"({text} | (({a} != {a}) & ({best} == {best})))" if type in FLOATS else text
