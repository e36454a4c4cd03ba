"""The scenario: what varies from car to car, what must hold, and the recipe of its network."""

from pathlib import Path

from simdl import RK4, Choice, LogUniform, Normal, Scenario, Uniform
from simdl.codesign import Design, Stratum
from simdl.scenarios.battery_soc import estimators, recipe
from simdl.scenarios.battery_soc.network import INPUTS
from simdl.scenarios.battery_soc.system import BatteryLoop

CARDS = Path(__file__).parent / "cards"
WARMUP = 300  # s, before an estimate is judged and before the car charges

SPACE = {
    # where and how the car is driven
    "ambient": Uniform(-20.0, 45.0),
    "trips.style": Choice((0.0, 1.0, 2.0)),
    "vehicle.mass": Uniform(1300.0, 2000.0),
    "vehicle.cells": Uniform(1300.0, 2900.0),
    "vehicle.drag": Uniform(0.55, 0.8),
    "vehicle.rolling": Uniform(0.008, 0.013),
    "charge_at": Uniform(-600.0, 4800.0),
    "charge_for": Uniform(600.0, 2700.0),
    "plan.rest": Uniform(30.0, 300.0),
    "charger.most": Uniform(1.5, 7.0),
    # the cell: spread of production, history, age
    "initial_soc": Uniform(0.2, 0.95),
    "guess_error": Normal(0.0, 0.1, -0.3, 0.3),
    "cell.initial_hysteresis": Uniform(-1.0, 1.0),
    "cell.initial_current": Uniform(-0.4, 0.8),
    "cell.initial_warmth": Uniform(0.0, 8.0),
    "age": Uniform(0.0, 1.0),
    "material": Uniform(0.08, 0.15),
    "imbalance": Uniform(-0.02, 0.02),
    "slippage": Uniform(0.015, 0.045),
    "cell.series_growth": Uniform(0.25, 0.75),
    "cell.transfer_growth": Uniform(0.5, 1.3),
    "cell.diffusion_growth": Uniform(0.3, 0.9),
    "cell.spread": Normal(1.0, 0.04, 0.88, 1.12),
    "cell.capacity_spread": Normal(1.0, 0.01, 0.97, 1.03),
    "cell.loop": Uniform(0.006, 0.014),
    "cell.heat_capacity": Uniform(60.0, 85.0),
    "cell.exchange": LogUniform(0.04, 0.12),
    # the sensors
    "volts.bias": Normal(0.0, 0.0015, -0.0045, 0.0045),
    "volts.gain": Normal(1.0, 0.0003, 0.9991, 1.0009),
    "volts.wander": Uniform(0.0, 0.001),
    "volts.noise": Uniform(0.001, 0.003),
    "amps.bias": Normal(0.0, 0.02, -0.06, 0.06),
    "amps.gain": Normal(1.0, 0.004, 0.988, 1.012),
    "amps.wander": Uniform(0.0, 0.02),
    "amps.noise": Uniform(0.01, 0.05),
    "degrees.bias": Normal(0.0, 0.8, -2.4, 2.4),
    "degrees.noise": Uniform(0.05, 0.3),
    # one car in twenty has a sensor that fails on the way
    "faulty": Choice((0.0, 1.0), (0.95, 0.05)),
    "fault_at": Uniform(600.0, 3000.0),
    "voltage_jump": Uniform(-0.05, 0.05),
    "current_jump": Uniform(-1.5, 1.5),
}

REQUIREMENTS = {
    "error below 5 % after warm-up": f"always[{WARMUP}:3600](abs(error) < 0.05)",
    "recovers within 10 min": "eventually[0:480](always[0:120](abs(error) < 0.03))",
    "never charged above 95 %": "always[0:3600](current < -0.1 implies soc < 0.95)",
    "never discharged below 5 %": "always[0:3600](current > 0.1 implies soc > 0.05)",
}
QUICK = {
    "error below 5 % after warm-up": f"always[{WARMUP}:900](abs(error) < 0.05)",
    "recovers within 10 min": "eventually[0:480](always[0:120](abs(error) < 0.03))",
    "never charged above 95 %": "always[0:900](current < -0.1 implies soc < 0.95)",
    "never discharged below 5 %": "always[0:900](current > 0.1 implies soc > 0.05)",
}

ROWS = (
    "statistics.voltage",
    "statistics.current",
    "statistics.temperature",
    "statistics.spread",
    "statistics.slope",
    "statistics.charge",
)


def diagram() -> BatteryLoop:
    return BatteryLoop(estimators.coulomb())


def evaluate(campaign):
    """Root of the mean square and largest error in per cent, per lane, after the warm-up."""
    error = campaign["error"]
    late = 100.0 * error.values[:, error.t >= WARMUP]
    return {"RMSE [%]": late.square().mean(1).sqrt(), "worst error [%]": late.abs().amax(1)}


def feedforward() -> Path:
    return CARDS / "feedforward"


def ridge() -> Path:
    return CARDS / "ridge"


SCENARIO = Scenario(
    name="battery_soc",
    title="A battery's state of charge, estimated by a network on which the battery management relies",
    diagram=diagram,
    until="3600 s",
    every="10 s",
    space=SPACE,
    requirements=REQUIREMENTS,
    record=("soc", "estimate", "error", "voltage", "current", "temperature"),
    groups={"sensor fault": "faulty"},
    defaults={"sensor": CARDS / "recurrent"},
    solver=RK4(max_step="1 s"),
    design=Design(
        slot="sensor",
        driver="Coulomb counting",
        inputs=dict(zip(INPUTS, ROWS, strict=True)),
        targets={"soc": "cell.soc"},
        every="10 s",
        train=recipe.train,
        baselines={
            "Coulomb counting": estimators.coulomb,
            "ridge regression": ridge,
            "feed-forward network": feedforward,
            "EKF, new cell": estimators.new_cell,
            "EKF, resistance too": estimators.joint,
            "EKF, true parameters": estimators.true,
        },
        evaluate=evaluate,
        strata={
            "ambient temperature": Stratum("ambient", (0.0, 15.0, 30.0), "degC"),
            "age": Stratum("age", (0.25, 0.5, 0.75)),
        },
        figure=("soc", "estimate", "current", "voltage"),
        lanes=3000,
        check=1000,
        search=500,
        worst=100,
        seconds=150.0,
        quick=dict(
            lanes=256,
            check=200,
            search=64,
            worst=32,
            seconds=10.0,
            baselines={"Coulomb counting": estimators.coulomb, "EKF, new cell": estimators.new_cell},
        ),
    ),
    quick=dict(until="900 s", requirements=QUICK),
)
