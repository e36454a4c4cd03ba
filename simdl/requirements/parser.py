"""Reading the text form: an operator-precedence parser without recursion, so that no text can exhaust the stack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simdl.errors import RequirementError
from simdl.requirements.formula import constant, make
from simdl.requirements.grammar import (
    BINARY,
    FUNCTIONS,
    PREFIX,
    PREFIXES,
    RENAMED,
    RESERVED,
    SPELLINGS,
    TIMED,
    UNCHAINED,
    UNSUPPORTED,
)
from simdl.requirements.lexer import Lexer, Token
from simdl.requirements.tree import DEPTH, NODES, Node, Origin, Term, Window

_ALWAYS = Window(0, None)


@dataclass
class Frame:
    """An operator, function or parenthesis that still waits for operands."""

    kind: str  # "binary", "prefix", "function" or "("
    op: str
    token: Token
    level: int = 0  # precedence; parentheses and functions stop every reduction
    count: int = 1  # operands on the stack when it is done
    window: Window | None = None


def parse(text: str) -> Node:
    """The node that a text stands for. Raises RequirementError with a caret under the place that cannot be read."""
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self.lexer = Lexer(text)
        self.known: dict[Any, Node] = {}  # equal parts become one node
        self.operands: list[Node] = []
        self.frames: list[Frame] = []

    def parse(self) -> Node:
        while True:
            while self._operand():
                pass
            while self._closing():
                pass
            if self.lexer.token.kind == "end":
                break
            self._binary()
        while self.frames:
            if self.frames[-1].kind in ("(", "function"):
                self.lexer.fail('this "(" is never closed', self.frames[-1].token, 'a ")"')
            self._reduce()
        return self.operands.pop()

    def _operand(self) -> bool:
        """Reads one thing where an operand is expected; whether the operand is still to come."""
        lexer, token = self.lexer, self.lexer.token
        if token.kind == "name":
            called = lexer.following().symbol("(")
            if token.text in FUNCTIONS and (called or token.text in TIMED and lexer.following().symbol("[")):
                lexer.advance()
                over = lexer.interval() if token.text in TIMED else None
                self._push(Frame("function", RENAMED.get(token.text, token.text), token, window=over))
                lexer.expect("(")
                return True
            if called and token.text not in RESERVED:
                lexer.fail(f'no function "{token.text}"', token, names=[*FUNCTIONS, *PREFIX], wrong=token.text)
        if token.symbol("("):
            self._push(Frame("(", "(", lexer.advance()))
            return True
        if token.kind in ("name", "symbol") and token.text in PREFIXES:
            op = PREFIXES[lexer.advance().text]
            over = (lexer.interval() or _ALWAYS) if op in TIMED else None
            self._push(Frame("prefix", op, token, PREFIX[op], window=over))
            return True
        if token.kind == "number":
            self._keep(lambda: constant(float(token.text)), token)
        elif token.kind == "quoted" or (token.kind == "name" and token.text not in RESERVED):
            self._keep(lambda: Term("signal", value=token.text, origin=Origin(lexer.text, token.position)), token)
        elif token.text in UNSUPPORTED:
            lexer.fail(str(token), token, fix=UNSUPPORTED[token.text])
        else:
            found = "the text is empty" if not lexer.text.strip() else str(token)
            lexer.fail(found, token, 'a signal, a number, "(", or an operator such as always')
        lexer.advance()
        return False

    def _closing(self) -> bool:
        """Reads an index, a comma with the next operand, or a closing parenthesis, if one comes after an operand."""
        lexer, token = self.lexer, self.lexer.token
        if token.symbol("["):
            indices = lexer.indices()
            operand = self.operands.pop()
            self._keep(lambda: make("getitem", (operand,), indices), token)
            return True
        if not token.symbol(")", ","):
            return False
        while self.frames and self.frames[-1].kind not in ("(", "function"):
            self._reduce()
        if not self.frames:
            lexer.fail(str(token), token, "an operator, or the end")
        frame = self.frames[-1]
        lexer.advance()
        if token.text == ",":
            if frame.kind == "(":
                lexer.fail('"," outside a function', token, 'an operator or ")"')
            frame.count += 1
            while self._operand():
                pass
        elif frame.kind == "function":
            wanted = FUNCTIONS[frame.token.text]
            if frame.count != wanted:
                lexer.fail(f'"{frame.token.text}" of {frame.count} arguments', frame.token, f"{wanted}")
            self._reduce()
        else:
            self.frames.pop()
        return True

    def _binary(self) -> None:
        """Reads an operator between operands."""
        lexer, token = self.lexer, self.lexer.token
        op = SPELLINGS.get(token.text) if token.kind in ("name", "symbol") else None
        if op is None:
            lexer.fail(str(token), token, "an operator, or the end", UNSUPPORTED.get(token.text, ""))
        level = BINARY[op]
        while self.frames and self.frames[-1].level >= level:
            top = self.frames[-1]
            if top.level == level and (op == "pow" or (op in ("and", "or") and top.op == op)):
                break  # ** binds from the right; and, or take any number of operands
            if top.level == level and top.kind == "binary" and op in UNCHAINED:
                fix = "a implies (b implies c), or a implies b and c" if op == "implies" else "a < b and b < c"
                lexer.fail(f'"{token.text}" after another one', token, f"parentheses, or {fix}")
            self._reduce()
        lexer.advance()
        if op in ("and", "or") and self.frames and self.frames[-1].op == op:
            self.frames[-1].count += 1
        else:
            over = (lexer.interval() or _ALWAYS) if op in TIMED else None
            self._push(Frame("binary", op, token, level, count=2, window=over))

    def _push(self, frame: Frame) -> None:
        if len(self.frames) >= DEPTH:
            self.lexer.fail(f"nested deeper than {DEPTH} levels", frame.token, f"at most {DEPTH}")
        self.frames.append(frame)

    def _reduce(self) -> None:
        """Replaces the operands of the innermost frame by its result."""
        frame = self.frames.pop()
        args = self.operands[-frame.count :]
        del self.operands[-frame.count :]
        self._keep(lambda: make(frame.op, args, window=frame.window), frame.token)

    def _keep(self, build: Callable[[], Node], token: Token) -> None:
        """Puts a node on the stack of operands; the one already known if there is an equal one."""
        try:
            node = build()
        except RequirementError as error:
            found = error.found if error.where == "requirement" else f"{error.where}: {error.found}"
            self.lexer.fail(found, token, error.expected, error.fix)
        if len(self.known) > NODES:
            self.lexer.fail(f"more than {NODES} parts", token, f"at most {NODES}")
        key = (node.op, str(node.value), node.window, *map(id, node.args))  # str, because -0.0 == 0.0
        self.operands.append(self.known.setdefault(key, node))
