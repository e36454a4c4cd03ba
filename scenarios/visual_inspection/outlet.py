"""The outlet: which parts the jet has blown off, and what becomes of the others."""

import numpy as np

from simdl import Input, Output
from simdl.computer import Process
from simdl.scenarios.visual_inspection.gate import LENGTH, RING, WINDOWS
from simdl.scenarios.visual_inspection.line import ABOUT, carried
from simdl.scenarios.visual_inspection.parts import DEFECTS

GRIP = 0.002  # m of a part that the jet must hit to blow it off
LOOK = 0.07  # m of travel between looks for new parts, less than from barrier to nozzle
INPUTS = {
    "number": Input(dtype="int64"),
    "fronts": Input((RING,), unit="m"),
    "kinds": Input((RING,), dtype="int64"),
    "judged": Input((RING,), dtype="int64"),
    "windows": Input((WINDOWS, 2), unit="m"),
    "travel": Input(unit="m"),
    "speed": Input(unit="m/s"),
}
COUNTS = ("passed", "good", "escaped", "rejected", "false_rejects", "defective")
TABLE = 3, len(DEFECTS)
OUTPUTS = {
    **{name: Output((), dtype="int64", initial=0) for name in COUNTS},
    "decided": Output(TABLE, dtype="int64", initial=np.zeros(TABLE), doc="parts by verdict at the gate and defect"),
}


def leave(env, ports):
    """The process of the outlet: one part after the other is awaited, and counted when its end has passed the nozzle.

    It is blown off if one window of the jet hits GRIP of it. Then it is rejected, by mistake if nothing is wrong with
    it; else it comes out, good, or escaped if something is wrong: passed = good + escaped + rejected.
    """
    known = 0
    while True:
        while known >= ports["number"]:
            yield from carried(env, ports, ports["travel"] + LOOK, ABOUT)
        known += 1
        front, kind = float(ports["fronts"][known % RING]), int(ports["kinds"][known % RING])
        yield from carried(env, ports, front + LENGTH)
        blown = bool(np.any(hit(ports["windows"], front) >= GRIP))
        count(ports, kind, int(ports["judged"][known % RING]), blown)


def count(ports, kind, verdict, blown):
    """A part with this defect and this verdict at the gate, blown off or not."""
    bad = kind > 0
    ports["passed"] += 1
    ports["defective"] += bad
    ports["rejected"] += blown
    ports["good"] += not bad and not blown
    ports["escaped"] += bad and not blown
    ports["false_rejects"] += not bad and blown
    here = np.zeros(TABLE, dtype=np.int64)
    here[verdict, kind] = 1
    ports["decided"] = ports["decided"] + here


def hit(windows, front):
    """How much of a part the jet hits in each of its windows, m; front: the travel at which its front is there."""
    begin, end = np.maximum(windows[:, 0], front), np.minimum(windows[:, 1], front + LENGTH)
    return np.maximum(end - begin, 0.0)


def outlet() -> Process:
    """The outlet as a block."""
    return Process(leave, INPUTS, OUTPUTS)
