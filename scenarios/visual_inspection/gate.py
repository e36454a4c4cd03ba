"""The gate: a controller that decides when a part comes up to the air jet, and the windows in which the jet blows."""

import torch

from simdl import Block, Input, Output, Param, State, output, tick

RING = 16  # parts whose verdicts are kept: more than fit between camera and nozzle
WINDOWS = 4  # of the jet, that are kept
LENGTH = 0.03  # m, of a part along the belt
LEAD = 0.02  # m from the gate's barrier to the nozzle
UNKNOWN, GOOD, BAD = 0, 1, 2


class Gate(Block):
    """Looks up the verdict of the part that has come up to the gate, and lets the jet blow at a bad one.

    Parts come in the order in which they were counted at the first barrier: the k-th here is number k. Its verdict is
    unknown when the ring of verdicts does not name it: then `careful` decides, 1 (fail-safe) takes it for bad, 0
    (fail-open) for good; later verdicts change nothing. The jet blows while the part is in front of the nozzle and
    `margin` before and after, in terms of the encoder's travel, but no earlier than the valve can open.
    """

    reached = Input(dtype="int64", doc="how many parts have come up to the gate")
    numbers = Input((RING,), dtype="int64", doc="of the parts whose verdicts are known")
    verdicts = Input((RING,), dtype="int64")
    travel, speed = Input(unit="m"), Input(unit="m/s")
    careful: Param = Param(1.0, low=0.0, high=1.0)
    margin: Param = Param(0.006, unit="m", low=0.0, high=LEAD)
    valve: Param = Param(0.01, unit="s", low=0.0, doc="from the decision to the jet")
    done = State(0, dtype="int64", doc="parts that were decided")
    missed = State(0, dtype="int64")
    kept = State([[-1.0, -1.0]] * WINDOWS)
    known = State([0] * RING, dtype="int64")
    windows = Output((WINDOWS, 2), unit="m", initial=[[-1.0, -1.0]] * WINDOWS, doc="of travel, in which the jet blows")
    late = Output((), dtype="int64", initial=0, doc="parts that came up to the gate without a verdict")
    verdict = Output(labels=("unknown", "good", "bad"), doc="of the part that came last")
    judged = Output((RING,), dtype="int64", initial=[0] * RING, doc="the verdict on part k, at k modulo RING")

    @tick
    def decide(self, reached, numbers, verdicts, travel, speed, careful, margin, valve, done, missed, kept, known):
        fresh = reached > done
        mine = (numbers == reached.unsqueeze(1)) & (reached > 0).unsqueeze(1)
        verdict = torch.where(mine, verdicts, 0).amax(1)
        unknown = verdict == UNKNOWN
        fire = fresh & ((verdict == BAD) | (unknown & (careful > 0.5)))
        begin = travel + torch.maximum(LEAD - margin, speed * valve)
        window = torch.stack((begin, travel + LEAD + LENGTH + margin), -1).unsqueeze(1)
        kept = torch.where(fire[:, None, None], torch.cat((kept[:, 1:], window), 1), kept)
        missed = missed + (fresh & unknown).to(torch.int64)
        here = torch.arange(RING, device=reached.device) == (reached % RING).unsqueeze(1)
        known = torch.where(here & fresh.unsqueeze(1), verdict.unsqueeze(1), known)
        return dict(
            done=torch.maximum(done, reached), missed=missed, kept=kept, known=known,
            windows=kept, late=missed, verdict=verdict, judged=known,
        )  # fmt: skip


class Valve(Block):
    """The air jet: 1 while the belt's travel is within a window."""

    windows, travel = Input((WINDOWS, 2), unit="m"), Input(unit="m")

    @output
    def jet(self, windows, travel):
        at = travel.unsqueeze(1)
        return ((at >= windows[:, :, 0]) & (at < windows[:, :, 1])).any(1).to(travel.dtype)
