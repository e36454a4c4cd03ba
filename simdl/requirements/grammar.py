"""The words and precedence of the text form, shared by the parser and the printer.

Operators bind as in rtamt 0.4.10 (Niković and Yamaguchi, RTAMT: online robustness monitors from STL, ATVA 2020), with
two differences: arithmetic is left to right as everywhere else (rtamt reads a - b + c as a - (b + c)), and chains
that it reads in a surprising way (a < b < c; a implies b implies c) are refused.
"""

from __future__ import annotations

BINARY = {
    "xor": 1, "iff": 2, "implies": 3, "or": 4, "and": 5, "until": 6,
    "lt": 9, "le": 9, "gt": 9, "ge": 9, "eq": 9, "ne": 9,
    "add": 10, "sub": 10, "mul": 11, "truediv": 11, "mod": 11, "pow": 13,
}  # fmt: skip
"""Operators between two operands: the higher, the tighter."""
PREFIX = {"always": 7, "eventually": 7, "not": 8, "neg": 12}
"""Operators before one operand."""
ATOM = 14

SPELLINGS = {
    "xor": "xor", "iff": "iff", "<->": "iff", "implies": "implies", "->": "implies", "or": "or", "|": "or",
    "and": "and", "&": "and", "until": "until", "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne",
    "!==": "ne", "+": "add", "-": "sub", "*": "mul", "/": "truediv", "%": "mod", "**": "pow",
}  # fmt: skip
"""How a binary operator may be written; `!==` is rtamt's."""
PREFIXES = {"always": "always", "eventually": "eventually", "not": "not", "!": "not", "~": "not", "-": "neg"}
SYMBOLS = {op: symbol for symbol, op in reversed(SPELLINGS.items())}
"""How a binary operator is printed: its first spelling."""

COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
UNCHAINED = (*COMPARISONS, "implies")
TIMED = ("always", "eventually", "until", "changes")

FUNCTIONS = {
    "abs": 1, "sqrt": 1, "exp": 1, "log": 1, "sin": 1, "cos": 1, "tan": 1, "asin": 1, "acos": 1, "atan": 1, "sinh": 1,
    "cosh": 1, "tanh": 1, "floor": 1, "ceil": 1, "round": 1, "sign": 1, "sigmoid": 1, "relu": 1, "square": 1,
    "pow": 2, "min": 2, "max": 2, "atan2": 2, "hypot": 2, "clamp": 3, "where": 3,
    "rise": 1, "fall": 1, "changes": 1,
}  # fmt: skip
"""Functions by name, with the number of their arguments. `rise`, `fall` and the first of `where` take conditions."""
RENAMED = {"min": "minimum", "max": "maximum"}
ARITHMETIC = (
    {"add", "sub", "mul", "truediv", "mod", "pow", "neg", "minimum", "maximum"}
    | set(FUNCTIONS) - {"min", "max", "where", "rise", "fall", "changes"}
)  # fmt: skip
"""The operations whose operands are all numbers."""

WORDS = {word for word in (*SPELLINGS, *PREFIXES) if word.isalpha()}
UNSUPPORTED = {
    "historically": "past operators are not part of it: turn it around with always or eventually",
    "once": "past operators are not part of it: turn it around with eventually or until",
    "since": "past operators are not part of it: turn it around with until",
    "unless": "write (always a) or (a until b)",
    "next": "give a window, such as eventually[0.1:0.1](…)",
    "prev": "use rise(…) and fall(…)",
    "true": "a comparison of signals",
    "false": "a comparison of signals",
    "nan": "nothing compares with NaN",
    "inf": "a finite number; an interval without end is [a:inf]",
}  # fmt: skip
"""Words that mean something elsewhere, and what to write instead; a signal of such a name goes between backticks."""
RESERVED = WORDS | set(UNSUPPORTED)
