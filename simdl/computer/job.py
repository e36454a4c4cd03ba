"""One job of a task: the record that stays, and where it is while it is under way."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from simdl.errors import RunError

if TYPE_CHECKING:
    from simdl.computer.cores import Core
    from simdl.computer.kernel import Kernel
    from simdl.computer.task import Task


class Job:
    """A job; times in ns, None until they happen.

    arrival: when it was asked for, jitter not counted; release: when it became ready, later where it had jitter or
    waited for the job before; start, end: of its code. reads: (block, when); writes: (block, when, captured: when what
    is shown was read). status: done, missed (done late), skipped, killed, unfinished. degraded: it ran the cheaper
    variant; overrun: it used more than its budget; used: of the core, ns.
    """

    __slots__ = (
        "task", "index", "arrival", "release", "start", "end", "deadline", "status", "degraded", "overrun", "used",
        "reads", "writes", "priority", "turn", "seen", "remaining", "body", "core", "last_core", "key", "order",
        "silent", "ordinal", "looks", "budget_left", "kernel", "device", "answer",
        "own", "held", "waiting", "step", "cheaper",
    )  # fmt: skip

    def __init__(self, task: Task, index: int, arrival: int, deadline: int | None, order: int, kernel: Kernel) -> None:
        self.task, self.index, self.arrival, self.deadline = task, index, arrival, deadline
        self.release: int | None = None
        self.start: int | None = None
        self.end: int | None = None
        self.status = "unfinished"
        self.degraded = self.overrun = self.silent = False
        self.used = self.turn = self.ordinal = self.looks = 0
        self.remaining: int | Fraction = 0  # of its computation, at factor 1
        self.reads: list[tuple[str, int]] = []
        self.writes: list[tuple[str, int, int]] = []
        self.seen: dict[str, int] = {}
        self.priority = task.priority
        self.body: Any = None
        self.answer: Any = None
        self.core: Core | None = None
        self.last_core: Core | None = None
        self.key: Any = None
        self.own: Any = None  # its key without that of locks
        self.order, self.kernel = order, kernel
        self.budget_left: int | None = None
        self.device: Any = None
        self.cheaper: Any = None  # the Degrade whose execution time it takes
        self.held: list[Any] = []  # locks, and what it waits for, off its core
        self.waiting: Any = None
        self.step: Any = None  # what it has yielded and does when it is back on its core

    @property
    def variant(self) -> int:
        """What it runs: 0 for the whole, 1 for what `late=Degrade(...)` says, 2 for what `over=Degrade(...)` says."""
        return 0 if self.cheaper is None else 1 if self.cheaper is self.task.late else 2

    @property
    def response(self) -> int | None:
        """From arrival to end, ns."""
        return None if self.end is None else self.end - self.arrival

    @property
    def where(self) -> str:
        """What errors call it."""
        return f"lane {self.kernel.lane}: task {self.task.name}: job {self.index}"

    @property
    def now(self) -> int:
        """The time, ns."""
        return self.kernel.now

    @property
    def local(self) -> int:
        """What its processor's clock shows, ns."""
        return self.task.on.local(self.kernel.now)

    def value(self, name: str) -> Any:
        """The newest value of a name in live mode. Raises KeyError for what nobody has given.

        Raises RunError where the computer does not run beside a loop.
        """
        if not self.kernel.live:
            raise RunError(self.where, f"value({name!r}) before a loop runs",
                           "a loop that tells it",
                           "it needs live=True: Computer(tasks, live=True).on(diagram)")  # fmt: skip
        if name not in self.kernel.values:
            raise KeyError(f"no value {name!r} at {self.now} ns; there are {', '.join(self.kernel.values) or 'none'}")
        return self.kernel.values[name]

    def __repr__(self) -> str:
        return f"<job {self.index} of {self.task.name}: {self.status}, {self.arrival} to {self.end} ns>"
