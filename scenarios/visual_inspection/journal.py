"""What a long study has found so far: a file of JSON lines that an interruption leaves whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simdl.data.jsonl import dumps, loads
from simdl.errors import DataError


class Journal:
    """Rows that were found for a request; a study that is asked for again goes on behind the last.

    path: of the file, None for none. The first line is the request; a last line without its end, of a program that was
    killed while it wrote, is dropped.
    Raises DataError for a file of another request.
    """

    def __init__(self, path: Path | None, request: Mapping[str, Any]) -> None:
        self.path = path
        self.rows: list[Any] = []
        wanted = {"request": dict(request)}
        if path is None:
            return
        text = path.read_bytes() if path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        lines = [loads(line, f"{path} line {k}", DataError) for k, line in enumerate(whole.splitlines(), 1)]
        if lines and lines[0] != wanted:
            raise DataError(str(path), f"a study with {lines[0]}", f"one with {wanted}", "another folder for --out")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(whole or dumps(wanted) + b"\n")
        self.rows = lines[1:]

    def add(self, row: Any) -> None:
        """Keep a row, in the file too."""
        self.rows.append(row)
        if self.path is not None:
            with self.path.open("ab") as file:
                file.write(dumps(row) + b"\n")
