"""Printing a requirement: as text that reads back as an equal requirement, and in plain words."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

from simdl.clock import period_text
from simdl.requirements.grammar import ATOM, BINARY, PREFIX, RENAMED, RESERVED, SYMBOLS, UNCHAINED
from simdl.requirements.tree import Node, Requirement, Window

LONGEST = 1_000_000
"""Characters after which a text is cut: a tree that shares its parts can stand for more than fit into memory."""

Part = str | tuple[Node, int]  # literal text, or a node with the least precedence that needs no parentheses
_NAMES = {new: old for old, new in RENAMED.items()}
_PATH = re.compile(r"[^\W\d]\w*(\.\w+)*")


def text(node: Node) -> str:
    """The text form, in the words of the grammar."""
    return _print(node, _text_parts)


def words(node: Node) -> str:
    """The requirement in plain words; parts made by a template speak for themselves."""
    return _print(node, _word_parts)


def _print(root: Node, parts_of: Callable[[Node], list[Part]]) -> str:
    pieces: list[str] = []
    length = 0
    stack: list[Part] = [(root, 0)]
    while stack and length <= LONGEST:
        part = stack.pop()
        if isinstance(part, str):
            pieces.append(part)
            length += len(part)
            continue
        node, least = part
        parts = parts_of(node)
        stack.extend(reversed(parts if _precedence(node) >= least else ["(", *parts, ")"]))
    return "".join([*pieces, " …"] if stack else pieces)


def _precedence(node: Node) -> int:
    while node.op == "holds":
        node = node.args[0]
    if node.op == "const" and str(node.value).startswith("-"):
        return PREFIX["neg"]
    return BINARY.get(node.op) or PREFIX.get(node.op) or ATOM


def _text_parts(node: Node) -> list[Part]:
    op, args = node.op, node.args
    if op == "pow":
        return [(args[0], ATOM), " ** ", (args[1], ATOM)]
    if op in BINARY:
        level = BINARY[op]
        first = level + (op in UNCHAINED or op in ("and", "or"))
        parts: list[Part] = [(args[0], first)]
        for arg in args[1:]:
            parts += [f" {SYMBOLS[op]}{interval(node.window)} ", (arg, level + 1)]
        return parts
    if op in ("always", "eventually", "not"):
        space = " " if op == "not" else ""
        return [f"{op}{interval(node.window)}{space}(", (args[0], 0), ")"]
    return _operand_parts(node)


def _operand_parts(node: Node) -> list[Part]:
    op, args = node.op, node.args
    if op == "neg":
        return ["-", (args[0], PREFIX["neg"])]
    if op == "const":
        return [repr(node.value).removesuffix(".0")]
    if op == "signal":
        return [node.path if _PATH.fullmatch(node.path) and node.path not in RESERVED else f"`{node.path}`"]
    if op == "holds":
        return [(args[0], 0)]
    if op == "getitem":
        return [(args[0], ATOM), f"[{', '.join(map(str, node.value))}]"]
    parts: list[Part] = [f"{_NAMES.get(op, op)}{interval(node.window)}("]
    for arg in args:
        parts += [(arg, 0), ", "]
    return [*parts[:-1], ")"]


def interval(window: Window | None) -> str:
    """A window in seconds, such as "[0:0.5]"; nothing for all the time to come."""
    if window is None or window == Window(0, None):
        return ""
    return f"[{':'.join('inf' if ns is None else _decimal(ns) for ns in (window.start, window.stop))}]"


def _decimal(ns: int) -> str:
    return f"{Decimal(ns).scaleb(-9).normalize():f}"


_COMPARED = {
    "lt": "is below", "le": "is at most", "gt": "is above", "ge": "is at least", "eq": "equals", "ne": "differs from",
    "until": "until", "and": "and", "or": "or", "iff": "exactly when", "xor": "or else",
}  # fmt: skip


def _word_parts(node: Node) -> list[Part]:
    op, args = node.op, node.args
    when = _when(node.window, "for" if op == "always" else "within")
    if node.words:
        return [node.words]
    if op in ("always", "eventually"):
        return [f"{'at every' if op == 'always' else 'at some'} time{when}: (", (args[0], 0), ")"]
    if op == "implies":
        return ["if ", (args[0], BINARY[op] + 1), " then ", (args[1], BINARY[op] + 1)]
    if op in ("rise", "fall"):
        return ["(", (args[0], 0), f") becomes {'true' if op == 'rise' else 'false'}"]
    if op == "changes":
        return [f"the number of changes{when} of ", (args[0], ATOM)]
    if op in _COMPARED and isinstance(node, Requirement):
        parts: list[Part] = [(args[0], BINARY[op] + 1)]
        for arg in args[1:]:
            parts += [f" {_COMPARED[op]}{when} ", (arg, BINARY[op] + 1)]
        return parts
    return _text_parts(node)


def _when(window: Window | None, short: str) -> str:
    if window is None or window == Window(0, None):
        return ""
    if window.stop is None:
        return f" from {period_text(window.start)} on"
    if window.start == 0:
        return f" {short} {period_text(window.stop)}"
    return f" from {period_text(window.start)} to {period_text(window.stop)}"
