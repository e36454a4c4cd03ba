"""Progress for people: a bar on a terminal, nothing in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Progress:
    """Something that counts: `advance` it, `note` what is being done."""

    def advance(self, amount: float = 1.0) -> None:
        """Count on."""

    def note(self, text: str) -> None:
        """Say what is being done now."""


class _Bar(Progress):
    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task, self._shown = bar, task, 0.0
        self._pending = 0.0

    def advance(self, amount: float = 1.0) -> None:
        self._pending += amount
        if time.monotonic() - self._shown > 0.1:
            self._bar.advance(self._task, self._pending)
            self._pending, self._shown = 0.0, time.monotonic()

    def note(self, text: str) -> None:
        self._bar.update(self._task, description=text)

    def close(self) -> None:
        self._bar.advance(self._task, self._pending)


@contextmanager
def progress(title: str, total: float, shown: bool | None = None, unit: str = "") -> Iterator[Progress]:
    """A progress bar with remaining time, and with a unit the rate; silent in CI, in pipes and with shown=False."""
    if shown is None:
        shown = sys.stderr.isatty() and not os.environ.get("CI")
    if not shown:
        yield Progress()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress as Rich,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """How many a second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.3g} {unit}/s" if speed else "", no_wrap=True)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("left"), TimeRemainingColumn())  # fmt: skip
    with Rich(*columns, *([Rate()] if unit else []), console=Console(stderr=True), transient=False) as rich:
        bar = _Bar(rich, rich.add_task(title, total=total))
        try:
            yield bar
        finally:
            bar.close()
