"""The words of a requirement's text one by one, and errors that point into it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from simdl.clock import nanoseconds
from simdl.errors import ClockError, RequirementError
from simdl.requirements.tree import Window

_TOKEN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[^\W\d]\w*(?:\.\w+)*)|`(?P<quoted>[^`\n]+)`"
    r"|(?P<symbol><->|!==|->|<=|>=|==|!=|\*\*|[-+*/%<>!~&|()\[\],:])"
)
_SPACE = re.compile(r"\s*")
_UNITS = ("ns", "us", "ms", "s", "min", "h")


@dataclass(frozen=True)
class Token:
    kind: str  # "number", "name", "quoted", "symbol" or "end"
    text: str
    position: int
    end: int

    def symbol(self, *texts: str) -> bool:
        return self.kind == "symbol" and self.text in texts

    def __str__(self) -> str:
        return f'"{self.text[:40]}" cannot stand here' if self.kind != "end" else "the text ends here"


class Lexer:
    """A text and the token now looked at."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.token = self._scan(0)

    def advance(self) -> Token:
        """The token now looked at; looks at the next."""
        token = self.token
        self.token = self._scan(token.end)
        return token

    def following(self) -> Token:
        """The token after the one now looked at."""
        return self._scan(self.token.end)

    def expect(self, symbol: str) -> None:
        if not self.token.symbol(symbol):
            self.fail(str(self.token), self.token, f'"{symbol}"')
        self.advance()

    def interval(self) -> Window | None:
        """The interval that starts here, such as [0:10] or [5 ms, 1 s], if one does. Seconds without a unit."""
        opening = self.token
        if not opening.symbol("["):
            return None
        self.advance()
        start, start_unit = self._time()
        if not self.token.symbol(":", ","):
            self.fail(str(self.token), self.token, '":" and the end of the interval')
        self.advance()
        stop, stop_unit = self._time()
        self.expect("]")
        if start_unit and not stop_unit and stop != "inf":
            self.fail("an interval whose end has no unit", opening, f"[{start}{start_unit}:{stop}{start_unit}], say")
        start_unit = start_unit or stop_unit or "s"  # as in rtamt, the unit of the end counts for both
        try:
            first = nanoseconds(f"{start} {start_unit}")
            last = None if stop == "inf" else nanoseconds(f"{stop} {stop_unit or 's'}")
            return Window.checked(first, last)
        except (ClockError, RequirementError) as error:
            self.fail(error.found, opening, error.expected)

    def indices(self) -> tuple[int, ...]:
        """The index that starts here, such as [0] or [1, -1]."""
        self.expect("[")
        found: list[int] = []
        while True:
            sign = -1 if self.token.symbol("-") else 1
            if sign < 0:
                self.advance()
            if not (self.token.kind == "number" and self.token.text.isdecimal() and len(self.token.text) < 10):
                self.fail(str(self.token), self.token, "a whole number: the index of an element of a signal")
            found.append(sign * int(self.advance().text))
            if self.token.symbol(":"):
                fix = "intervals follow always, eventually, until and changes, which are written in full"
                self.fail(str(self.token), self.token, '"]" after the index of an element', fix)
            if not self.token.symbol(","):
                break
            self.advance()
        self.expect("]")
        return tuple(found)

    def fail(
        self, found: str, token: Token, expected: str = "", fix: str = "", names: Iterable[str] = (), wrong: str = ""
    ) -> NoReturn:
        """Raises RequirementError with a caret under the token."""
        shown = f"{found}\n{pointed(self.text, token.position)}"
        raise RequirementError("requirement", shown, expected, fix, names, wrong)

    def _time(self) -> tuple[str, str]:
        sign = "-" if self.token.symbol("-") else ""
        if sign:
            self.advance()
        if self.token.text == "inf" and not sign:
            return self.advance().text, ""
        if self.token.kind != "number":
            self.fail(str(self.token), self.token, "a time, such as 0.5, 20 ms or inf")
        number, unit = self.advance(), ""
        if self.token.kind == "name":
            if self.token.text not in _UNITS:
                self.fail(str(self.token), self.token, "a unit of time", names=_UNITS)
            unit = self.advance().text
        return sign + number.text, unit

    def _scan(self, position: int) -> Token:
        space = _SPACE.match(self.text, position)
        position = space.end() if space else position
        if position == len(self.text):
            return Token("end", "", position, position)
        match = _TOKEN.match(self.text, position)
        if match is None or match.lastgroup is None:
            wrong = Token("symbol", self.text[position], position, position + 1)
            self.fail(f"the character {wrong.text!r}", wrong, "a name, a number or an operator")
        return Token(match.lastgroup, match[match.lastgroup], position, match.end())


def pointed(text: str, position: int) -> str:
    """The line of a text around a position, with a caret below it."""
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line = text[start : end if end >= 0 else len(text)]
    left = max(0, position - start - 60)
    shown = line[left : left + 100].replace("\t", " ")
    before, after = "…" * (left > 0), "…" * (left + 100 < len(line))
    return f"    {before}{shown}{after}\n    {' ' * (len(before) + position - start - left)}^"
