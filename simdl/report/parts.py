"""What pages are made of: notes, commands, tables and figures, in sections. Values, which the renderers read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from simdl.report.text import clean, plain, shown

MOST = 200  # rows of a table that a page shows
MOST_KEPT = 1000  # rows that its JSON twin holds

Tone = Literal["plain", "good", "bad", "warn"]


@dataclass(frozen=True)
class Mark:
    """A word with a tone, such as a verdict. The tone is drawn as a colour and a sign, never as a colour alone."""

    word: str
    tone: Tone = "plain"

    SIGNS = {"plain": "", "good": "✓ ", "bad": "✗ ", "warn": "! "}

    def __str__(self) -> str:
        return f"{self.SIGNS[self.tone]}{self.word}"


@dataclass(frozen=True)
class Note:
    """A paragraph."""

    text: str
    tone: Tone = "plain"

    def twin(self) -> dict[str, Any]:
        return {"kind": "note", "text": clean(self.text), "tone": self.tone}


@dataclass(frozen=True)
class Command:
    """A line to paste into a terminal."""

    line: str
    label: str = ""

    def twin(self) -> dict[str, Any]:
        return {"kind": "command", "label": clean(self.label), "line": clean(self.line)}


@dataclass(frozen=True)
class Table:
    """Rows of cells: text, numbers, None, or a Mark. The first column names the row.

    total: how many rows there were, when fewer are given.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""
    total: int = 0

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.title!r}: {len(row)} cells in a row, {len(self.columns)} columns")

    @classmethod
    def of(cls, title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]], note: str = "") -> Table:
        """A table from anything that gives rows; keeps the first 1000."""
        kept, total = [], 0
        for row in rows:
            total += 1
            if total <= MOST_KEPT:
                kept.append(tuple(row))
        return cls(title, tuple(columns), tuple(kept), note, total)

    @property
    def hidden(self) -> int:
        """Rows that a page leaves out."""
        return max(self.total, len(self.rows)) - min(len(self.rows), MOST)

    def texts(self) -> list[list[str]]:
        """The cells that a page shows, as text."""
        return [[shown(cell) if not isinstance(cell, Mark) else clean(cell) for cell in r] for r in self.rows[:MOST]]

    def numeric(self) -> list[bool]:
        """Which columns hold numbers, and are set to the right."""

        def number(cell: Any) -> bool:
            return cell is None or (isinstance(cell, int | float) and not isinstance(cell, bool))

        return [
            any(row[i] is not None for row in self.rows) and all(number(row[i]) for row in self.rows)
            for i in range(len(self.columns))
        ]

    def twin(self) -> dict[str, Any]:
        rows = [[plain(c.word if isinstance(c, Mark) else c) for c in row] for row in self.rows[:MOST_KEPT]]
        return {
            "kind": "table", "title": clean(self.title), "columns": [clean(c) for c in self.columns], "rows": rows,
            "total": max(self.total, len(self.rows)), "note": clean(self.note),
        }  # fmt: skip

    def to_csv(self) -> str:
        """Comma-separated values. Text that a spreadsheet would take for a formula gets a quote before it."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([_harmless(c) for c in self.columns])
        for row in self.rows:
            writer.writerow([_harmless(c.word if isinstance(c, Mark) else c) for c in row])
        return out.getvalue()

    def to_text(self) -> str:
        """Aligned columns for a terminal."""
        rows = [list(map(clean, self.columns)), *self.texts()]
        width = [max(len(row[i]) for row in rows) for i in range(len(self.columns))]
        right = self.numeric()
        lines = ["  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, width, right)) for row in rows]
        return "\n".join(line.rstrip() for line in lines)


@dataclass(frozen=True)
class Figure:
    """A picture (SVG text, or PNG bytes), a sentence that says what it shows, and its numbers as a table."""

    title: str
    alt: str
    svg: str = field(default="", repr=False)
    png: bytes = field(default=b"", repr=False)
    caption: str = ""
    table: Table | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes up in a page."""
        return len(self.svg.encode()) + len(self.png) * 4 // 3

    def twin(self) -> dict[str, Any]:
        table = self.table.twin() if self.table else None
        return {"kind": "figure", "title": clean(self.title), "alt": clean(self.alt), "caption": clean(self.caption),
                "table": table}  # fmt: skip


Part = Note | Command | Table | Figure


@dataclass(frozen=True)
class Section:
    """A heading and what is under it."""

    title: str
    parts: tuple[Part, ...]

    def twin(self) -> dict[str, Any]:
        return {"title": clean(self.title), "parts": [part.twin() for part in self.parts]}

    def tables(self) -> list[Table]:
        """Its tables, those of its figures too."""
        found = []
        for part in self.parts:
            table = part.table if isinstance(part, Figure) else part
            if isinstance(table, Table):
                found.append(table)
        return found


def _harmless(cell: Any) -> Any:
    if isinstance(cell, int | float) or cell is None:
        return cell
    text = clean(cell)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
