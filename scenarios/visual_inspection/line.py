"""The line: parts on the belt as SimPy processes, from the upstream station to the light barriers they break."""

from dataclasses import dataclass

from simdl import Block, Input, Output, Param, output
from simdl.computer import Process
from simdl.scenarios.visual_inspection.gate import LEAD, LENGTH, RING
from simdl.scenarios.visual_inspection.parts import DEFECTS, LOOK, draw

NEAR = 1e-4  # m: a part is there when it is as near as this
ABOUT = 2e-3  # m: the same, where no more than that it is past matters
NEAREST = 1.2 * LENGTH  # m from part to part: nearer, a part's neighbours are in its picture, and the jet hits them
STANDING, LOOK_AGAIN = 1e-3, 0.1  # m/s, s
INPUTS = {
    "flow": Input(unit="1/s"),
    "fraction": Input(),
    "pitch": Input(unit="m"),
    "travel": Input(unit="m"),
    "speed": Input(unit="m/s"),
}
OUTPUTS = {
    "barrier": Output((), dtype="int64", initial=0, doc="1 while a part breaks the light barrier at the camera"),
    "number": Output((), dtype="int64", initial=0, doc="parts that have come to the barrier"),
    "look": Output((LOOK,), doc="of the part that came last"),
    "defect": Output(labels=DEFECTS, doc="of the part that came last"),
    "kinds": Output((RING,), dtype="int64", initial=[0] * RING, doc="what is wrong with part k, at k modulo RING"),
    "gate": Output((), dtype="int64", initial=0, doc="1 while a part breaks the light barrier before the nozzle"),
    "reached": Output((), dtype="int64", initial=0, doc="parts that have come to that barrier"),
    "fronts": Output((RING,), unit="m", doc="travel at which the front of part k is at the nozzle, at k modulo RING"),
}


class Supply(Block):
    """What the upstream station sends: so many parts a second, this part of them defective, no nearer than `pitch`."""

    flow: Param = Param(3.0, unit="1/s", low=0.01)
    fraction: Param = Param(0.08, low=0.0, high=1.0)
    pitch: Param = Param(1.25 * LENGTH, unit="m", low=NEAREST, doc="the smallest distance between centres")
    parts, defective, nearest = Output(unit="1/s"), Output(), Output(unit="m")

    @output(parts, defective, nearest)
    def send(self, flow, fraction, pitch):
        return flow, fraction, pitch


@dataclass(frozen=True)
class Parts:
    """The process of the line: `Process(Parts(...), INPUTS, OUTPUTS)`.

    The distance between parts is the smallest one or, with exponential gaps, speed / flow on the mean. Each part is a
    process of its own: when the belt has carried its front to the barrier it shows its look, its number and its defect,
    and breaks the barrier until most of it has passed; `distance` further it does so with the barrier of the gate.
    family: of `parts`.
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
        """One part, whose front is at the barrier when the belt has travelled to `at`."""
        bad = ports.random.random() < ports["fraction"]
        defect = int(ports.random.integers(1, len(DEFECTS))) if bad else 0
        ports["look"], ports["defect"] = draw(ports.random, self.family, defect), defect
        ports["number"] += 1
        place = ports["number"] % RING
        ports["kinds"] = put(ports["kinds"], place, defect)
        ports["fronts"] = put(ports["fronts"], place, at + self.distance + LEAD)
        ports["barrier"] = 1
        yield from carried(env, ports, at + 0.9 * min(LENGTH, self.distance), ABOUT)
        ports["barrier"] = 0
        yield from carried(env, ports, at + self.distance)
        ports["reached"] += 1
        ports["gate"] = 1
        yield from carried(env, ports, at + self.distance + 0.9 * LENGTH, ABOUT)
        ports["gate"] = 0


def put(ring, place, value):
    """A ring with another value at a place."""
    made = ring.copy()
    made[place] = value
    return made


def carried(env, ports, target, near=NEAR):
    """Wait until the belt has travelled to `target`, m: look again when it should be there, until it is, or `near`.

    A belt that stands is looked at again after LOOK_AGAIN."""
    while (left := target - ports["travel"]) > near:
        speed = ports["speed"]
        yield env.timeout(max(left / speed, 1e-9) if speed > STANDING else LOOK_AGAIN)


def line(family: int = 0, distance: float = 0.05) -> Process:
    """The line as a block."""
    return Process(Parts(family, distance), INPUTS, OUTPUTS)
