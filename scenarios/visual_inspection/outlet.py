"""The outlet: which parts the jet has blown off, and what becomes of the others."""

import numpy as np

from simdl import Input, Output
from simdl.computer import Process
from simdl.scenarios.visual_inspection.gate import LENGTH, RING, WINDOWS
from simdl.scenarios.visual_inspection.line import carried

GRIP = 0.002  # m of a part that the jet must hit to blow it off
LOOK = 0.09  # m of travel between looks for new parts, less than what lies between barrier and nozzle
COUNTS = ("passed", "good", "escaped", "rejected", "false_rejects", "defective")
INPUTS = {
    "number": Input(dtype="int64"),
    "fronts": Input((RING,), unit="m"),
    "kinds": Input((RING,), dtype="int64"),
    "windows": Input((WINDOWS, 2), unit="m"),
    "travel": Input(unit="m"),
    "speed": Input(unit="m/s"),
}
OUTPUTS = {name: Output((), dtype="int64", initial=0) for name in COUNTS}


def leave(env, ports):
    """The process of the outlet: each part is followed to the nozzle and counted when its end has passed.

    It is blown off if one window of the jet hits GRIP of it. Then it is rejected, by mistake if nothing is wrong with
    it; else it comes out, good, or escaped if something is wrong: passed = good + escaped + rejected.
    """
    known = 0
    while True:
        while known < ports["number"]:
            known += 1
            env.process(_part(env, ports, float(ports["fronts"][known % RING]), int(ports["kinds"][known % RING])))
        yield from carried(env, ports, ports["travel"] + LOOK)


def _part(env, ports, front, kind):
    yield from carried(env, ports, front + LENGTH)
    blown, bad = bool(np.any(hit(ports["windows"], front) >= GRIP)), kind > 0
    ports["passed"] += 1
    ports["defective"] += bad
    ports["rejected"] += blown
    ports["good"] += not bad and not blown
    ports["escaped"] += bad and not blown
    ports["false_rejects"] += not bad and blown


def hit(windows, front):
    """How much of a part the jet hits in each of its windows, m; front: the travel at which its front is there."""
    begin, end = np.maximum(windows[:, 0], front), np.minimum(windows[:, 1], front + LENGTH)
    return np.maximum(end - begin, 0.0)


def outlet() -> Process:
    """The outlet as a block."""
    return Process(leave, INPUTS, OUTPUTS)
