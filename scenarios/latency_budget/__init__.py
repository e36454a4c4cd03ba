"""How late may a controller be? A pole balanced by a network that shares an accelerator with others.

loop           the plant, its sensors, the slot `controller`, the motor
cost           the quadratic cost, a signal of the loop
machine        the computer: tasks, a processor, an accelerator, the load that others put on it
recipe         how the network that ships was trained
scenario       what varies and what must hold
measurement    response times, lanes that hold, cost and margins of the loop on one computer
study          the computers that are measured, one after the other
figure, page   what the study shows
cards/         the network that ships with it
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "SCENARIO":
        from simdl.scenarios.latency_budget.scenario import SCENARIO

        return SCENARIO
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
