"""The computer of the loop: the controller's network shares an accelerator with other networks."""

import math
from dataclasses import dataclass
from typing import Any

from simdl import ModelError
from simdl.computer import (
    Accelerator,
    Compute,
    Computer,
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

OTHER = 0.008  # s, the inference of each of the other requests


@dataclass(frozen=True)
class Control:
    """The body of the control task; a class, so that it can be sent to another process."""

    npu: Accelerator
    work: Any
    way: Any = None

    def __call__(self, job):
        yield Read("controller")
        if self.way is not None:
            yield Sleep(self.way)
        yield Compute("0.4 ms")
        yield Run(self.npu, self.work)
        yield Compute("0.2 ms")
        yield Write("controller")


@dataclass(frozen=True)
class Other:
    """The body of every other request."""

    npu: Accelerator

    def __call__(self, job):
        yield Compute("0.1 ms")
        yield Run(self.npu, OTHER)


def machine(
    inference: float = 0.004, jitter: float = 0.25, load: float = 0.5, order: str = "fifo", sensing: float = 0.0,
    wander: float = 0.0,
) -> Computer:  # fmt: skip
    """Two processors, one for the control task and one for the tasks of others, and the accelerator that they share.

    The control task reads the sensors every 20 ms, prepares for 0.4 ms, queues for the accelerator, and writes after
    0.2 ms more. inference: the mean time of its network there, s, spread evenly by `jitter` of it to both sides. load:
    the part of the accelerator's time that others ask for; each of their requests takes 8 ms, and they come at random
    times (Poisson). order: "fifo", or "priority" of the control task before the others. sensing: a delay, s, between
    reading and computing, such as that of a camera; it spreads evenly by `wander`, s, to both sides. Up to eight jobs
    of the control task may be under way at once.

    Raises ModelError for times and loads that cannot be.
    """
    given = {"inference": inference, "load": load, "sensing": sensing, "wander": wander}
    for name, value in given.items():
        if not 0 <= value < math.inf:
            raise ModelError(f"machine: {name}", f"{value!r}", "a finite number of at least 0")
    if not 0 <= jitter <= 1:
        raise ModelError("machine: jitter", f"{jitter!r}", "a part of the inference time, 0 to 1")
    if wander > sensing:
        raise ModelError("machine: wander", f"{wander!r} s about a delay of {sensing!r} s", "at most the delay")
    cpu, second = (Processor(name, policy=FixedPriority(), context_switch="5 us") for name in ("cpu", "cpu of others"))
    npu = Accelerator("npu", copy="0.2 ms", order=order)
    work = Between(*(round(inference * (1 + s * jitter), 9) for s in (-1, 1))) if jitter else inference

    way = Between(round(sensing - wander, 9), round(sensing + wander, 9)) if wander else round(sensing, 9)

    control = Control(npu, work, way if sensing else None)
    tasks = [Task("control", cpu, period="20 ms", priority=1, body=control, runs=["controller"], instances=8)]
    if load > 0:
        gaps = Exponential(round(OTHER / load, 9))
        tasks.append(Task("others", second, arrivals=gaps, priority=2, body=Other(npu), instances=64))
    return Computer(tasks)
