"""The computers of the line: a camera, a processor with a shared accelerator, and the gate's controller."""

from dataclasses import dataclass
from typing import Any

from simdl.computer import (
    Accelerator,
    Compute,
    Computer,
    Edge,
    Exponential,
    FixedPriority,
    Processor,
    Read,
    Run,
    Sleep,
    Task,
    Uniform as Between,
    Write,
)
from simdl.errors import ModelError

OTHER = (0.015, 0.02)  # s, between which the inference of each of the other requests lies
EXPOSE = "12 ms"  # exposure and transfer of a picture
SCAN = 0.004  # s, the cycle of the gate's controller


@dataclass(frozen=True)
class Expose:
    """The camera: the light barrier fires it, and its picture is there when it has been transferred."""

    def __call__(self, job):
        yield Read("camera")
        yield Compute(EXPOSE)
        yield Write("camera")


@dataclass(frozen=True)
class Inspect:
    """A picture is prepared, looked at by the network on the accelerator, and the verdict written."""

    npu: Accelerator
    work: Any

    def __call__(self, job):
        yield Read("vision")
        yield Compute("2 ms")
        yield Run(self.npu, self.work)
        yield Compute("0.5 ms")
        yield Write("vision")


@dataclass(frozen=True)
class Scan:
    """The controller sees a part at the gate at its next cycle, and decides within a millisecond."""

    wait: Any

    def __call__(self, job):
        yield Sleep(self.wait)
        yield Read("gate")
        yield Compute("1 ms")
        yield Write("gate")


@dataclass(frozen=True)
class Other:
    """A request of another network."""

    npu: Accelerator
    work: Any

    def __call__(self, job):
        yield Run(self.npu, self.work)


def machine(load: float = 0.4, order: str = "fifo", inference: float = 0.01) -> Computer:
    """The computers of the line, which run beside it.

    load: the part of the accelerator's time that others ask for; each of their requests takes 15 to 20 ms, and they
    come at random times (Poisson). order: of the accelerator's queue: "fifo", or "priority" of the inspection before
    the others. inference: of the inspection's network, s.
    """
    if not 0 <= load < 1:
        raise ModelError("machine", f"load={load!r}", "at least 0, below 1: others leave some of the accelerator")
    camera, cpu, plc = Processor("camera"), Processor("cpu", policy=FixedPriority()), Processor("plc")
    npu = Accelerator("npu", copy="0.2 ms", order=order)
    inspect, scan = Inspect(npu, inference), Scan(Between(0, SCAN))
    tasks = [
        Task("expose", camera, trigger=Edge("line.barrier"), body=Expose(), runs=["camera"]),
        Task("inspect", cpu, trigger="expose", priority=1, body=inspect, runs=["vision"], instances=8),
        Task("gate", plc, trigger=Edge("line.gate"), body=scan, runs=["gate"]),
    ]
    if load > 0:
        gaps = Exponential(round(sum(OTHER) / 2 / load, 9))
        other = Other(npu, Between(*OTHER))
        tasks.append(Task("others", Processor("host"), arrivals=gaps, priority=2, body=other, instances=64))
    return Computer(tasks, live=True)
