"""The inspection: parts on a belt, a camera, a network in a slot, and a gate with an air jet."""

import torch

from simdl import Block, Diagram, Input, Output, Param, Slot, State, tick
from simdl.errors import ModelError
from simdl.scenarios.visual_inspection.belt import Belt
from simdl.scenarios.visual_inspection.camera import Camera
from simdl.scenarios.visual_inspection.gate import BAD, GOOD, LEAD, LENGTH, RING, Gate, Valve
from simdl.scenarios.visual_inspection.line import NEAREST, Supply, line
from simdl.scenarios.visual_inspection.network import PERIOD
from simdl.scenarios.visual_inspection.outlet import COUNTS, outlet
from simdl.scenarios.visual_inspection.parts import DEFECTS
from simdl.scenarios.visual_inspection.rendering import SIZE

FARTHEST = (RING - 2) * NEAREST - LEAD - LENGTH  # m from barrier to barrier: all parts on the way fit into the rings

INSPECTOR = Slot(
    "inspector",
    inputs={"image": Input((SIZE, SIZE), dtype="uint8")},
    outputs={"predicted": Output(labels=DEFECTS), "scores": Output((len(DEFECTS),))},
    period=PERIOD,
    truth={"defect": Input(dtype="int64")},
    doc="a picture of a part from above; what it shows, and the probability of each",
)


class Ticket(Block):
    """Puts verdict and number of a part together: bad when the network gives `ok` less than the threshold.

    The verdicts of the latest parts stand in a ring, number k at k modulo its length.
    """

    number = Input(dtype="int64")
    scores = Input((len(DEFECTS),))
    threshold: Param = Param(0.83, low=0.0, high=1.0, doc="of the score of `ok`: that of the card")
    who = State([0] * RING, dtype="int64")
    what = State([0] * RING, dtype="int64")
    numbers = Output((RING,), dtype="int64", initial=[0] * RING)
    verdicts = Output((RING,), dtype="int64", initial=[0] * RING)

    @tick
    def enter(self, number, scores, threshold, who, what):
        here = torch.arange(RING, device=number.device) == (number % RING).unsqueeze(1)
        verdict = torch.where(scores[:, 0] < threshold, BAD, GOOD).unsqueeze(1)
        who, what = torch.where(here, number.unsqueeze(1), who), torch.where(here, verdict, what)
        return dict(who=who, what=what, numbers=who, verdicts=what)


class Truth(Block):
    """What is wrong with the part in the picture, which only a bound may know."""

    number = Input(dtype="int64")
    kinds = Input((RING,), dtype="int64")
    defect = Output((), dtype="int64", initial=0)

    @tick
    def look(self, number, kinds):
        return dict(defect=torch.gather(kinds, 1, (number % RING).unsqueeze(1)).squeeze(1))


class Vision(Diagram):
    """What one job of the vision task runs: the network, and the ticket that keeps the number with what it said."""

    image, number = Input((SIZE, SIZE), dtype="uint8"), Input(dtype="int64")
    kinds = Input((RING,), dtype="int64")
    predicted = Output(labels=DEFECTS)
    scores = Output((len(DEFECTS),))
    numbers, verdicts = Output((RING,), dtype="int64"), Output((RING,), dtype="int64")

    def __init__(self, inspector) -> None:
        self.truth, self.ticket = Truth(period=PERIOD), Ticket(period=PERIOD)
        self.inspector = INSPECTOR.place(inspector)
        self.truth.number, self.truth.kinds = self.number, self.kinds
        self.inspector.image, self.inspector.defect = self.image, self.truth.defect
        self.ticket.number, self.ticket.scores = self.number, self.inspector.scores
        self.predicted, self.scores = self.inspector.predicted, self.inspector.scores
        self.numbers, self.verdicts = self.ticket.numbers, self.ticket.verdicts


class Inspection(Diagram):
    """Parts come down a belt; a camera takes the picture of each, a network looks at it, and a jet blows off bad ones.

    Camera, vision and gate are run by tasks, see `machine`: nothing here says how long that takes. Without a computer
    they tick at their nominal period, which is too seldom for a line at work. `distance`: from the camera's light
    barrier to the gate's, m.
    """

    passed, good, escaped = Output(), Output(), Output()
    rejected, false_rejects, defective = Output(), Output(), Output()
    late = Output()
    jet = Output()

    def __init__(self, inspector, distance: float = 0.05, family: int = 0) -> None:
        if not LENGTH <= distance <= FARTHEST:
            raise ModelError("Inspection", f"distance={distance!r} m", f"from {LENGTH} to {FARTHEST:.2f} m: the gate "
                             f"has room for {RING} parts between camera and nozzle")  # fmt: skip
        self.belt, self.supply = Belt(), Supply()
        self.line = line(family, distance)
        self.camera = Camera(period=PERIOD)
        self.vision = Vision(inspector)
        self.gate, self.valve, self.outlet = Gate(period=PERIOD), Valve(), outlet()

        self.line.flow, self.line.fraction = self.supply.parts, self.supply.defective
        self.line.pitch = self.supply.nearest
        self.line.travel, self.line.speed = self.belt.travel, self.belt.speed
        self.camera.look, self.camera.number = self.line.look, self.line.number
        self.camera.speed = self.belt.speed
        self.vision.image, self.vision.number = self.camera.image, self.camera.taken
        self.vision.kinds = self.line.kinds
        self.gate.reached = self.line.reached
        self.gate.numbers, self.gate.verdicts = self.vision.numbers, self.vision.verdicts
        self.gate.travel, self.gate.speed = self.belt.travel, self.belt.speed
        self.valve.windows, self.valve.travel = self.gate.windows, self.belt.travel
        self.outlet.number, self.outlet.fronts, self.outlet.kinds = self.line.number, self.line.fronts, self.line.kinds
        self.outlet.travel, self.outlet.speed = self.belt.travel, self.belt.speed
        self.outlet.windows, self.outlet.judged = self.gate.windows, self.gate.judged
        for name in COUNTS:
            setattr(self, name, getattr(self.outlet, name))
        self.late, self.jet = self.gate.late, self.valve.jet
