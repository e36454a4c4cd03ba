"""The scenario: what varies from lane to lane, and what must hold."""

from pathlib import Path

from simdl import RK4, Scenario, Uniform
from simdl.scenarios.latency_budget.loop import Balance
from simdl.scenarios.latency_budget.machine import machine

CARD = Path(__file__).parent / "cards" / "controller"

SPACE = {
    "plant.theta": Uniform(-0.15, 0.15),
    "plant.omega": Uniform(-0.3, 0.3),
    "plant.x": Uniform(-0.3, 0.3),
    "plant.pole": Uniform(0.08, 0.12),
    "plant.half": Uniform(0.4, 0.6),
    "plant.cart": Uniform(0.9, 1.1),
}

UP = 0.4  # rad

REQUIREMENTS = {
    "stays up": f"always[0:10](abs(angle) < {UP})",
    "stays on the track": "always[0:10](abs(position) < 1.0)",
    "settles within 6 s": "always[6:10](abs(angle) < 0.05)",
}


def diagram() -> Balance:
    return Balance(CARD)


SCENARIO = Scenario(
    name="latency_budget",
    title="A pole balanced by a network that shares an accelerator: how late may it be?",
    diagram=diagram,
    until="10 s",
    every="10 ms",
    space=SPACE,
    requirements=REQUIREMENTS,
    record=("angle", "position", "force", "cost"),
    defaults={"controller": CARD},
    solver=RK4(max_step="5 ms"),
    computer=machine(load=0.3),
)
