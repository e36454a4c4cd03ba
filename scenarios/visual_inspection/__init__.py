"""Parts on a conveyor, inspected by a network on a shared accelerator: what escapes, and what is thrown away?

parts, look, shape, rendering   what a part is, what can be wrong with it, and how it looks
camera, photographs, sheet      its picture, in the loop and for training
belt, line, gate, outlet        the conveyor, parts on it as SimPy processes, the air jet, and what becomes of parts
system, machine                 the closed loop with the slot `inspector`, and the computers that run it
oracle                          an inspector that knows the truth, as a bound
network, recipe, judging        the network that ships, how it was trained, and how good it is
transfer, transfer_page         a new part with few labels: fine-tuned, from scratch, and on frozen features
scenario                        what varies and what must hold
study, figure                   escapes, false rejects and throughput against load and line rate
cards/                          the network that ships with it
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "SCENARIO":
        from simdl.scenarios.visual_inspection.scenario import SCENARIO

        return SCENARIO
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
