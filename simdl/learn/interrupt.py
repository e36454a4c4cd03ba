"""Ctrl-C and SIGTERM as a request: the batch is finished, the state saved, and only then the program stops."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simdl.learn.history import History


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop and did, between two batches. `history` is what was reached; the text tells how to
    go on. A KeyboardInterrupt, so that whatever called `fit` stops too."""

    def __init__(self, text: str, history: History) -> None:
        super().__init__(text)
        self.history = history


class Request:
    """Whether somebody asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def requests() -> Iterator[Request]:
    """Catch the first SIGINT or SIGTERM within the block; the second acts as it would have. Main thread only."""
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before: dict[signal.Signals, Any] = {}

    def ask(number: int, frame: FrameType | None) -> None:
        request.signal = signal.Signals(number)
        for which, handler in before.items():
            signal.signal(which, handler)
        print("stopping after this batch; once more stops at once", file=sys.stderr, flush=True)

    try:
        for which in (signal.SIGINT, signal.SIGTERM):
            before[which] = signal.signal(which, ask)
        yield request
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)
