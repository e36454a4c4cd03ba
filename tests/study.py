"""A small study for the tests of the command line and of reports: a room, its heater, and a slot for a sensor.

The thermometer reads 2.5 K too much: with the raw reading the room stays cold, with a network that learnt it, not.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from simdl import Block, Diagram, Input, Noise, Output, Param, Slot, State, derivative, output, tick
from simdl.codesign import Design, Stratum
from simdl.learn import fit
from simdl.networks import Feature, ModelCard, save
from simdl.scenario import Scenario
from simdl.space import Choice, Normal, Uniform

SENSOR = Slot("sensor", {"measured": Input(unit="degC")}, {"estimate": Output(unit="degC")}, period="30 s",
              doc="What the heater takes for the temperature.")  # fmt: skip


class Room(Block):
    """C dT/dt = P - G (T - outside). With trouble > 1.5 it takes the logarithm of a negative number above 16 degC."""

    heat = Input(unit="W")
    capacity: Param = Param(2e5, unit="J/K")
    loss: Param = Param(40.0, unit="W/K")
    outside: Param = Param(5.0, unit="degC")
    trouble: Param = Param(0.0)
    temperature = State(15.0, unit="degC")

    @derivative(temperature)
    def balance(self, temperature, heat, capacity, loss, outside, trouble):
        wrong = torch.where(trouble > 1.5, torch.log(16.0 - temperature), torch.zeros_like(temperature))
        return (heat - loss * (temperature - outside)) / capacity + 0.0 * wrong


class Probe(Block):
    """Reads 2.5 K too much, 3 K more with a fault, and noise."""

    actual = Input(unit="degC")
    fault: Param = Param(0.0)
    measured = Output(unit="degC")
    noise = Noise()

    @tick
    def read(self, actual, fault, noise):
        return dict(measured=actual + 2.5 + 3.0 * fault + 0.05 * noise)


class Raw(Block):
    """Takes the reading as it is."""

    measured = Input(unit="degC")

    @output
    def estimate(self, measured):
        return measured


class Heater(Block):
    """On below the set point, off above it."""

    estimate = Input(unit="degC")
    setpoint: Param = Param(20.0, unit="degC")
    power: Param = Param(1500.0, unit="W")
    heat = Output(unit="W")

    @tick
    def switch(self, estimate, setpoint, power):
        return dict(heat=torch.where(estimate < setpoint, power, torch.zeros_like(power)))


class House(Diagram):
    temperature, estimate = Output(unit="degC"), Output(unit="degC")

    def __init__(self):
        self.room = Room()
        self.probe = Probe(period="30 s")
        self.sensor = SENSOR.place(Raw(period="30 s"))
        self.heater = Heater(period="30 s")
        self.probe.actual = self.room.temperature
        self.sensor.measured = self.probe.measured
        self.heater.estimate = self.sensor.estimate
        self.room.heat = self.heater.heat
        self.temperature = self.room.temperature
        self.estimate = self.sensor.estimate


def learn(data, stop, folder, training):
    """A network of one neuron and a constant: all that there is to learn."""
    torch.manual_seed(training.seed)
    from simdl.networks.architecture import mlp

    module = mlp(1, 1, hidden=(4,))
    sound = torch.cat([one.param("probe.fault") for one in data]) < 0.5
    x = torch.cat([one.signal("measured") for one in data])[sound][..., None].float()
    y = torch.cat([one.signal("temperature") for one in data])[sound][..., None].float()
    x, y = x.flatten(0, 1), y.flatten(0, 1)
    center, scale = x.mean(), x.std()
    fit(module, ((x - center) / scale, (y - center) / scale), epochs=training.epochs or 30, batch=256, rate=2e-2,
        seed=training.seed, checkpoint=folder / "training", progress=training.progress)  # fmt: skip
    box = {"unit": "degC", "mean": float(center), "std": float(scale)}
    card = ModelCard(name="room sensor", factory="mlp", kwargs={"inputs": 1, "outputs": 1, "hidden": [4]},
                     inputs=(Feature(name="measured", **box),), outputs=(Feature(name="estimate", **box),),
                     sample_time_ns=30 * 10**9, metrics={"lanes": float(sum(map(len, data)))})  # fmt: skip
    save(folder, module, card)
    (folder / "history.jsonl").write_bytes((folder / "training" / "log.jsonl").read_bytes())
    return folder


def merits(campaign):
    error = campaign["estimate"].values - campaign["temperature"].values
    return {"error": error.square().mean(1).sqrt()}


STUDY = Scenario(
    name="tests.study:STUDY",
    title="A heated room",
    diagram=House,
    until="30 min",
    every="30 s",
    space={
        "room.loss": Uniform(20.0, 60.0),
        "room.outside": Normal(5.0, 5.0),
        "probe.fault": Choice((0.0, 1.0), (0.95, 0.05)),
    },
    requirements={
        "warm": "eventually[0:1500](temperature > 18.5)",
        "not hot": "always(temperature < 22.5)",
        "after heating": "always((temperature > 30) implies eventually[0:60](heater.heat < 1))",
    },
    record=("temperature", "estimate", "heater.heat"),
    groups={"a faulty probe": "probe.fault"},
    quick={"until": "26 min"},
    design=Design(
        slot="sensor",
        driver="raw",
        inputs={"measured": "probe.measured"},
        targets={"temperature": "temperature"},
        every="30 s",
        train=learn,
        baselines={"raw": lambda: Raw(period="30 s")},
        evaluate=merits,
        strata={"outside temperature": Stratum("room.outside", (0.0, 10.0), "degC")},
        units={"error": "K"},
        figure=("temperature", "estimate", "heater.heat"),
        lanes=40, check=60, search=30, worst=5, seconds=20.0, epochs=30,
        quick={"lanes": 20, "check": 30, "search": 10, "worst": 3, "epochs": 10},
    ),
)  # fmt: skip

BARE = replace(STUDY, name="tests.study:BARE", design=None, requirements={}, groups={})
TROUBLE = replace(
    STUDY, name="tests.study:TROUBLE", space={**STUDY.space, "room.trouble": Choice((0.0, 2.0), (0.9, 0.1))}
)
NOT_A_STUDY = 3


def good():
    """A sensor that knows."""

    class Known(Block):
        measured = Input(unit="degC")

        @output
        def estimate(self, measured):
            return measured - 2.5

    return Known(period="30 s")


def wrong():
    """A sensor for another slot."""

    class Other(Block):
        voltage = Input(unit="V")

        @output
        def charge(self, voltage):
            return voltage

    return Other(period="30 s")


