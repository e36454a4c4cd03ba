"""The scenario: what varies from line to line, and what must hold."""

from pathlib import Path

from simdl import RK4, LogUniform, Scenario, Uniform
from simdl.scenarios.visual_inspection.machine import machine
from simdl.scenarios.visual_inspection.system import Inspection

CARD = Path(__file__).parent / "cards" / "inspector"

SPACE = {
    "supply.flow": Uniform(2.0, 4.0),
    "supply.fraction": Uniform(0.05, 0.12),
    "belt.target": Uniform(0.45, 0.55),
    "belt.eccentricity": Uniform(0.0, 1e-3),
    "camera.gain": Uniform(0.93, 1.07),
    "camera.reading": LogUniform(0.004, 0.009),
    "gate.valve": Uniform(0.008, 0.012),
}


REQUIREMENTS = {  # counts allow for one part of bad luck
    "no verdict is late": "always(late < 0.5)",
    "at most one escape, and one in twenty": "always(escaped < 1.5 + 0.05 * defective)",
    "false rejects below 8 %": "always(false_rejects < 1.5 + 0.08 * passed)",
    "good parts come out": "always(good > 0.9 * (passed - defective) - 1)",
}
FEW = {**SPACE, "supply.fraction": Uniform(0.25, 0.35)}  # in ten seconds too there are bad parts enough to judge by


def diagram() -> Inspection:
    return Inspection(CARD)


SCENARIO = Scenario(
    name="visual_inspection",
    title="Parts on a conveyor, inspected by a network that shares an accelerator: what escapes, what is thrown away?",
    diagram=diagram,
    until="60 s",
    every="1 s",
    space=SPACE,
    requirements=REQUIREMENTS,
    record=("passed", "good", "escaped", "rejected", "false_rejects", "defective", "late", "vision.predicted"),
    defaults={"inspector": CARD},
    solver=RK4(max_step="1 s"),
    quick={"until": "10 s", "space": FEW},
    engine="torch",
    computer=machine(load=0.4, order="priority"),
)
