"""Mailboxes: values that jobs put and take, in order, with the time at which they were put."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from simdl.computer.waiting import Waiting
from simdl.errors import ModelError

if TYPE_CHECKING:
    from simdl.computer.job import Job
    from simdl.computer.kernel import Kernel

FULL = ("wait", "drop", "replace")


class Mail(NamedTuple):
    """What a job takes: the value, and when it was put, ns."""

    value: Any
    put: int


@dataclass(frozen=True, eq=False)
class Mailbox:
    """A queue of values, first in first out. room: None for any number.

    `put = yield Put(box, value)` says whether the value is in; `mail = yield Take(box)` waits for one and gives a Mail;
    `Take(box, wait=False)` gives None when there is none. full: what a Put does that finds no room: "wait", "drop" the
    new value, or "replace" the oldest one. The most urgent job that waits goes first.
    """

    name: str
    room: int | None = 1
    full: str = "wait"

    def __post_init__(self) -> None:
        where = f"mailbox {self.name}"
        if self.room is not None and (not isinstance(self.room, int) or self.room < 1):
            raise ModelError(where, f"room={self.room!r}", "at least 1, or None for any number")
        if self.full not in FULL:
            raise ModelError(where, f"full={self.full!r}", "what a full box does", names=FULL, wrong=self.full)

    def open(self, kernel: Kernel) -> Box:
        return Box(self, kernel)


class Box:
    """A mailbox in one lane."""

    def __init__(self, mailbox: Mailbox, kernel: Kernel) -> None:
        self.mailbox, self.kernel, self.name = mailbox, kernel, mailbox.name
        self.mails: deque[Mail] = deque()
        self.takers, self.putters = Waiting(mailbox.name, kernel), Waiting(mailbox.name, kernel)

    def put(self, job: Job, value: Any) -> bool | None:
        """Whether a value is in; None when the job waits for room."""
        mail, box = Mail(value, self.kernel.now), self.mailbox
        taker = self.takers.pop()
        if taker is not None:
            self.kernel.again(taker[0], mail)
            return True
        if box.room is not None and len(self.mails) >= box.room:
            if box.full == "wait":
                self.putters.add(job, mail)
                return None
            if box.full == "drop":
                return False
            self.mails.popleft()
        self.mails.append(mail)
        return True

    def take(self, job: Job, wait: bool) -> tuple[bool, Mail | None]:
        """Whether the job goes on, and with what."""
        if self.mails:
            mail = self.mails.popleft()
            putter = self.putters.pop()
            if putter is not None:
                self.mails.append(putter[1])
                self.kernel.again(putter[0], True)
            return True, mail
        if wait:
            self.takers.add(job)
        return not wait, None
