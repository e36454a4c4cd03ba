"""Accelerators (GPU, NPU): requests wait in one queue, run in batches that nothing interrupts, and are copied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simdl.blocks.limits import whole_number
from simdl.clock import Duration, nanoseconds
from simdl.errors import ModelError

if TYPE_CHECKING:
    from simdl.computer.job import Job
    from simdl.computer.kernel import Kernel, Timer


@dataclass(frozen=True)
class Accelerator:
    """A device that runs requests without pre-emption.

    streams: how many batches run at once. batch: the most requests in one; window: how long the oldest request waits
    for more of them (a full batch starts at once). time: the time of a batch as a function of its size; by default the
    longest of its requests. copy: into the device, of each request; copy_back: out of it. overlap: copies have an
    engine for each direction, one copy at a time, beside the streams; otherwise a stream copies all of its batch
    itself. order: "fifo", or "priority" of the tasks.
    """

    name: str
    streams: int = 1
    batch: int = 1
    window: Duration = 0
    time: Callable[[int], Duration] | None = None
    copy: Duration = 0
    copy_back: Duration = 0
    overlap: bool = False
    order: str = "fifo"

    def __post_init__(self) -> None:
        whole_number(f"{self.name}: streams", self.streams)
        whole_number(f"{self.name}: batch", self.batch)
        if self.time is not None and not callable(self.time):
            raise ModelError(f"{self.name}: time", f"{self.time!r}", "a function of how many requests a batch has",
                             "Run(accelerator, time) says how long one takes")  # fmt: skip
        if self.order not in ("fifo", "priority"):
            raise ModelError(self.name, f"order={self.order!r}", '"fifo" or "priority"')
        for what in ("window", "copy", "copy_back"):
            if nanoseconds(getattr(self, what), f"{self.name}: {what}") < 0:
                raise ModelError(self.name, f"{what}={getattr(self, what)!r}", "at least 0")

    def open(self, kernel: Kernel) -> Device:
        return Device(self, kernel)


class Device:
    """The accelerator of one lane."""

    rank = 1

    def __init__(self, accelerator: Accelerator, kernel: Kernel) -> None:
        self.accelerator, self.kernel, self.name = accelerator, kernel, accelerator.name
        self.streams: tuple[object, ...] | None = tuple(range(accelerator.streams))
        self.window = nanoseconds(accelerator.window)
        self.copies = {"copy": nanoseconds(accelerator.copy), "copy back": nanoseconds(accelerator.copy_back)}
        self.engine_free = {"copy": 0, "copy back": 0}
        self.free = list(range(accelerator.streams))
        self.waiting: list[tuple[Any, int, Job, int]] = []  # (order, when, job, time)
        self.segments: list[tuple[Any, tuple[Job, ...], str, int, int]] = []
        self.number = 0
        self.dirty = False

    def request(self, job: Job, ns: int) -> None:
        """A job asks for a run of this length; it goes on when that is done and copied back."""
        if self.accelerator.overlap and self.copies["copy"]:
            self._copy("copy", job, self._queue, ns)
        else:
            self._join(job, ns)

    def _copy(self, way: str, job: Job, then: Callable[[Any], None], ns: int = 0) -> None:
        begin = max(self.kernel.now, self.engine_free[way])
        end = self.engine_free[way] = begin + self.copies[way]
        self.segments.append((way, (job,), way, begin, end))
        self.kernel.after(end - self.kernel.now, 0, then, (job, ns))

    def _queue(self, timer: Timer) -> None:
        self._join(*timer.of)

    def _join(self, job: Job, ns: int) -> None:
        order = job.priority if self.accelerator.order == "priority" else 0
        self.number += 1
        self.waiting.append(((order, self.number), self.kernel.now, job, ns))
        self.kernel.touch(self)
        if self.window:
            self.kernel.after(self.window, 2, self._look)

    def _look(self, timer: Timer) -> None:
        self.kernel.touch(self)

    def dispatch(self) -> None:
        """Start batches on free streams: full ones, and those whose oldest request has waited long enough."""
        self.dirty = False
        now, most = self.kernel.now, self.accelerator.batch
        while self.free and self.waiting:
            oldest = min(when for _, when, _, _ in self.waiting)
            if len(self.waiting) < most and now < oldest + self.window:
                return
            self.waiting.sort(key=lambda one: one[0])
            taken, self.waiting = self.waiting[:most], self.waiting[most:]
            self._start(taken)

    def _start(self, taken: list[tuple[Any, int, Job, int]]) -> None:
        stream, now = self.free.pop(0), self.kernel.now
        jobs = tuple(job for _, _, job, _ in taken)
        time = self.accelerator.time
        run = max(ns for *_, ns in taken) if time is None else nanoseconds(time(len(taken)), f"{self.name}: time")
        before, after = (0, 0) if self.accelerator.overlap else (self.copies["copy"], self.copies["copy back"])
        begin = now
        for what, length in (("copy", before * len(taken)), ("run", run), ("copy back", after * len(taken))):
            if length:
                self.segments.append((stream, jobs, what, begin, begin + length))
            begin += length
        self.kernel.after(begin - now, 0, self._done, (stream, jobs))

    def _done(self, timer: Timer) -> None:
        stream, jobs = timer.of
        self.free.append(stream)
        self.free.sort()
        self.kernel.touch(self)
        for job in jobs:
            if self.accelerator.overlap and self.copies["copy back"]:
                self._copy("copy back", job, self._back)
            else:
                self.kernel.again(job)

    def _back(self, timer: Timer) -> None:
        self.kernel.again(timer.of[0])
