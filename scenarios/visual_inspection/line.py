"""The line: parts on the belt as SimPy processes, from the upstream station to the air jet, and what they become."""

from dataclasses import dataclass

import numpy as np

from simdl import Block, Input, Output, Param, output
from simdl.computer import Process
from simdl.scenarios.visual_inspection.gate import LEAD, LENGTH, WINDOWS
from simdl.scenarios.visual_inspection.parts import DEFECTS, LOOK, draw

NEAR = 1e-5  # m: a part is there when it is as near as this
STANDING, LOOK_AGAIN = 1e-3, 0.1  # m/s, s
GRIP = 0.002  # m of a part that the jet must hit to blow it off
COUNTS = ("passed", "good", "escaped", "rejected", "false_rejects", "defective")
INPUTS = {
    "flow": Input(unit="1/s"),
    "fraction": Input(),
    "pitch": Input(unit="m"),
    "travel": Input(unit="m"),
    "speed": Input(unit="m/s"),
    "windows": Input((WINDOWS, 2), unit="m"),
}
OUTPUTS = {
    "barrier": Output((), dtype="int64", initial=0, doc="1 while a part breaks the light barrier at the camera"),
    "number": Output((), dtype="int64", initial=0, doc="parts that have come to the barrier"),
    "look": Output((LOOK,), doc="of the part that came last"),
    "defect": Output(labels=DEFECTS, doc="of the part that came last"),
    "gate": Output((), dtype="int64", initial=0, doc="1 while a part breaks the light barrier before the nozzle"),
    "reached": Output((), dtype="int64", initial=0, doc="parts that have come to that barrier"),
    **{name: Output((), dtype="int64", initial=0) for name in COUNTS},
}


class Supply(Block):
    """What the upstream station sends: so many parts a second, this part of them defective, no nearer than `pitch`."""

    flow: Param = Param(3.0, unit="1/s", low=0.01)
    fraction: Param = Param(0.08, low=0.0, high=1.0)
    pitch: Param = Param(1.05 * LENGTH, unit="m", low=LENGTH, doc="the smallest distance between centres")
    parts, defective, nearest = Output(unit="1/s"), Output(), Output(unit="m")

    @output(parts, defective, nearest)
    def send(self, flow, fraction, pitch):
        return flow, fraction, pitch


@dataclass(frozen=True)
class Parts:
    """The process of the line: `Process(Parts(...), INPUTS, OUTPUTS)`.

    The distance between parts is the smallest one or, with exponential gaps, speed / flow on the mean. Each part is a
    process of its own: when the belt has carried its front to the barrier it shows its look, its number and its defect,
    and breaks the barrier until its end has passed; `distance` further its front breaks the barrier of the gate; when
    its end has passed the nozzle it is counted, as blown off if the jet has hit GRIP of it. family: of `parts`.
    """

    family: int = 0
    distance: float = 0.05

    def __call__(self, env, ports):
        at = ports["travel"] + 0.1
        while True:
            yield from carried(env, ports, at)
            env.process(self.part(env, ports, at))
            mean = ports["speed"] / ports["flow"] - ports["pitch"]
            at += ports["pitch"] + ports.random.exponential(max(mean, 0.0))

    def part(self, env, ports, at):
        """One part, whose front is at the barrier."""
        bad = ports.random.random() < ports["fraction"]
        defect = int(ports.random.integers(1, len(DEFECTS))) if bad else 0
        ports["look"], ports["defect"] = draw(ports.random, self.family, defect), defect
        ports["number"] += 1
        ports["barrier"] = 1
        end = min(LENGTH, self.distance)
        yield from carried(env, ports, at + 0.9 * end)
        ports["barrier"] = 0
        yield from carried(env, ports, at + self.distance)
        ports["reached"] += 1
        ports["gate"] = 1
        yield from carried(env, ports, at + self.distance + 0.9 * LENGTH)
        ports["gate"] = 0
        front = at + self.distance + LEAD
        yield from carried(env, ports, front + LENGTH)
        blown = bool(np.any(hit(ports["windows"], front) >= GRIP))
        ports["passed"] += 1
        ports["defective"] += bad
        for name, yes in (("good", not bad and not blown), ("escaped", bad and not blown), ("rejected", blown),
                          ("false_rejects", not bad and blown)):  # fmt: skip
            ports[name] += yes


def carried(env, ports, target):
    """Wait until the belt has travelled to `target`, m: look again when it should be there, until it is.

    A belt that stands is looked at again after LOOK_AGAIN."""
    while (left := target - ports["travel"]) > NEAR:
        speed = ports["speed"]
        yield env.timeout(max(left / speed, 1e-9) if speed > STANDING else LOOK_AGAIN)


def hit(windows, front):
    """How much of a part the jet hits in each of its windows, m; front: the travel at which its front is there."""
    begin, end = np.maximum(windows[:, 0], front), np.minimum(windows[:, 1], front + LENGTH)
    return np.maximum(end - begin, 0.0)


def line(family: int = 0, distance: float = 0.05) -> Process:
    """The line as a block."""
    return Process(Parts(family, distance), INPUTS, OUTPUTS)
