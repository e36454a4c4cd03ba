"""What the body of a task yields: the segments of its jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from simdl.clock import Duration
from simdl.computer.times import Distribution

if TYPE_CHECKING:
    from simdl.computer.accelerator import Accelerator
    from simdl.computer.bus import Bus
    from simdl.computer.job import Job
    from simdl.computer.lock import Lock
    from simdl.computer.mailbox import Mailbox

    Time = Duration | Distribution | Callable[[Job], Duration]


@dataclass(frozen=True, init=False)
class Read:
    """The inputs of blocks are read now and the blocks evaluated; all that the task runs when none is named.

    In live mode its value is what they gave: of a block whose only output is a number, that number; of another block or
    a diagram a mapping from outputs to numbers. An array is given where it is named by its path, as in
    `Read("net.scores")`, as numpy's. For several names, a tuple.
    """

    blocks: tuple[str, ...]

    def __init__(self, *blocks: str) -> None:
        object.__setattr__(self, "blocks", blocks)


@dataclass(frozen=True, init=False)
class Write:
    """What blocks computed at this job's last read of them is shown now; all that the task runs when none is named."""

    blocks: tuple[str, ...]

    def __init__(self, *blocks: str) -> None:
        object.__setattr__(self, "blocks", blocks)


@dataclass(frozen=True)
class Compute:
    """Use the core for this long; the task's execution time when none is given."""

    time: Time | None = None


@dataclass(frozen=True)
class Run:
    """Use an accelerator: the job leaves its core and goes on when the result is copied back."""

    accelerator: Accelerator
    time: Time


@dataclass(frozen=True)
class Send:
    """Send what a block computed at this job's last read; it is shown when the message arrives. The job goes on.

    bits: of payload. identifier: CAN's, the smaller wins (the task's priority when not given). to: the receiving port
    of a switch. data: the payload's bytes, where a bus counts stuff bits exactly. newest: its receiver drops it, and
    each copy of it, where what is shown was read as late or later, as one that looks at sequence numbers does.
    """

    bus: Bus
    block: str
    bits: int = 64
    identifier: int | None = None
    to: str = ""
    data: bytes | None = None
    newest: bool = False


@dataclass(frozen=True)
class Scale:
    """The processor of the job goes on at the frequency of this factor."""

    factor: float | Fraction


@dataclass(frozen=True)
class Sleep:
    """Leave the core for this long."""

    time: Time


@dataclass(frozen=True)
class Raise:
    """Release the tasks that an event triggers, and let every job go on that waits for it."""

    event: str


@dataclass(frozen=True)
class Wait:
    """Leave the core until an event is raised, a task of that name ends a job, or the message of a block arrives."""

    event: str


@dataclass(frozen=True)
class Acquire:
    """Hold a lock, or leave the core until it is free."""

    lock: Lock


@dataclass(frozen=True)
class Release:
    """Give a lock back: the most urgent job that waits for it has it now."""

    lock: Lock


@dataclass(frozen=True)
class Put:
    """Put a value into a mailbox; its value is whether it is in. A full box may make the job wait."""

    box: Mailbox
    value: Any = None


@dataclass(frozen=True)
class Take:
    """Take the oldest mail of a mailbox: its value is a Mail (value, put). Waits for one, or gives None at once."""

    box: Mailbox
    wait: bool = True


Instruction = Read | Write | Compute | Run | Scale | Send | Sleep | Raise | Wait | Acquire | Release | Put | Take
Answer = Any
