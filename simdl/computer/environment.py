"""SimPy's environment, its times kept in whole nanoseconds."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from typing import Any

import simpy
from simpy.events import NORMAL, EventPriority

from simdl.clock import FOREVER, SECOND
from simdl.errors import LaneError

MOST = 100_000  # events or steps at one time


class Environment(simpy.Environment):
    """As SimPy's, in seconds for those who use it. Each delay is rounded to whole ns, so that times never drift.

    >>> env = Environment()
    >>> def tick():
    ...     for _ in range(3):
    ...         yield env.timeout(0.1)
    ...         print(env.now)
    >>> _ = env.process(tick())
    >>> while env.due < FOREVER:
    ...     env.step()
    0.1
    0.2
    0.3
    """

    _now: Any
    _queue: Any
    _eid: Any

    def __init__(self) -> None:
        super().__init__()
        self._now = 0  # ns

    @property
    def now(self) -> float:
        """The time, s."""
        return int(self._now) / SECOND

    @property
    def due(self) -> int:
        """When the next event happens, ns."""
        return int(self._queue[0][0]) if self._queue else FOREVER

    def peek(self) -> float:
        """When the next event happens, s; inf when there is none."""
        return self.due / SECOND if self._queue else float("inf")

    def schedule(self, event: simpy.Event, priority: EventPriority = NORMAL, delay: float = 0) -> None:
        if delay != delay:
            raise ValueError("a delay that is not a number")
        ns = round(delay * SECOND) if delay < (FOREVER - self._now) / SECOND else FOREVER - self._now
        heappush(self._queue, (self._now + ns, priority, next(self._eid), event))

    def advance(self, ns: int, more: Callable[[], bool], where: str) -> None:
        """Everything up to a time, ns, which it is then; more: whether something else is to be done then.

        Raises LaneError where there is no end of events at one time."""
        at, spent = -1, 0
        while True:
            if self.due > ns:
                self._now = max(self._now, ns)
                if not more():
                    return
            at, spent = (at, spent + 1) if self.due == at else (self.due, 1)
            if spent > MOST:
                raise LaneError(where, f"{MOST} events at one time, {at} ns", "time that goes on",
                                "a timeout of at least 1 ns in a process that repeats")  # fmt: skip
            self.step()
