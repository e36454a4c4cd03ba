"""Ctrl-C in a job of several stages: each keeps its own work when it is interrupted, and no further one begins."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def heeded() -> Iterator[Callable[[], None]]:
    """Within the block, Ctrl-C acts as before and is remembered; what is given raises KeyboardInterrupt after one.

    A campaign that is interrupted returns the lanes that it has: whoever goes on with them must ask here first.
    """
    asked = False

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield check
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield check
    except Exception as error:
        if asked:  # a stage stumbled over what an interrupted one left
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
