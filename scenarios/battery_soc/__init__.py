"""A battery's state of charge, estimated by a network on which the battery management relies.

cell, ocv                   the plant: an aged NMC cell
cycles, charger             how the car is driven and charged
sensors, features           what is measured, and the rows of statistics every 10 s
controller, system          the management, and the loop
estimators, kalman, network what may fill the slot `sensor`
recipe, scenario            training; what varies and what must hold
signature, monitoring       the sensor under watch; monitor: fitting it, and what it is worth when sensors fail
cards/                      networks that ship with it
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "SCENARIO":
        from simdl.scenarios.battery_soc.scenario import SCENARIO

        return SCENARIO
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
