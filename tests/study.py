"""A small study for the tests of the command line and of reports: a room, its heater, and a slot for a sensor."""

from __future__ import annotations

import torch

from simdl import Block, Diagram, Input, Noise, Output, Param, State, derivative, output, tick
from simdl.scenario import Scenario
from simdl.space import Choice, Normal, Uniform


class Room(Block):
    """C dT/dt = P - G (T - outside)."""

    heat = Input(unit="W")
    capacity: Param = Param(2e5, unit="J/K")
    loss: Param = Param(40.0, unit="W/K")
    outside: Param = Param(5.0, unit="degC")
    fails: Param = Param(0.0)
    temperature = State(15.0, unit="degC")

    @derivative(temperature)
    def balance(self, temperature, heat, capacity, loss, outside, fails):
        # Lanes with fails = 2 run into the logarithm of a negative number.
        trouble = torch.where(fails > 1.5, torch.log(16.0 - temperature), torch.zeros_like(temperature))
        return (heat - loss * (temperature - outside)) / capacity + trouble


class Heater(Block):
    """On below the set point, off above it; `bias` is a fault of its thermometer."""

    measured = Input(unit="degC")
    setpoint: Param = Param(20.0, unit="degC")
    power: Param = Param(1500.0, unit="W")
    heat = Output(unit="W")
    noise = Noise()

    @tick
    def switch(self, measured, setpoint, power, noise):
        return dict(heat=torch.where(measured + 0.05 * noise < setpoint, power, torch.zeros_like(power)))


class Thermometer(Block):
    """Reads the temperature, wrong by `bias`."""

    actual = Input(unit="degC")
    bias: Param = Param(0.0, unit="K")
    fault: Param = Param(0.0)
    reading = Output(unit="degC")

    @output
    def reading(self, actual, bias, fault):
        return actual + bias + 3.0 * fault


class House(Diagram):
    temperature = Output(unit="degC")

    def __init__(self):
        self.room = Room()
        self.thermometer = Thermometer(period="30 s")
        self.heater = Heater(period="30 s")
        self.thermometer.actual = self.room.temperature
        self.heater.measured = self.thermometer.reading
        self.room.heat = self.heater.heat
        self.temperature = self.room.temperature


STUDY = Scenario(
    name="tests.study:STUDY",
    title="A heated room <script>alert(1)</script>",
    diagram=House,
    until="30 min",
    every="30 s",
    space={
        "room.loss": Uniform(20.0, 60.0),
        "room.outside": Normal(5.0, 5.0),
        "thermometer.fault": Choice((0.0, 1.0), (0.9, 0.1)),
    },
    requirements={
        "warm": "eventually[0:1500](temperature > 19)",
        "not hot": "always(temperature < 22.5)",
        "after heating": "always((temperature > 30) implies eventually[0:60](heater.heat < 1))",
    },
    groups={"a faulty thermometer": "thermometer.fault"},
    quick={"until": "26 min"},
)
