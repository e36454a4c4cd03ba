"""The closed loop: a cell in a car, its sensors, an estimator in a slot, and the management that believes it."""

import torch

from simdl import Block, Diagram, Input, Output, Param, State, tick
from simdl.scenarios.battery_soc.cell import Cell
from simdl.scenarios.battery_soc.charger import Charger, Plan
from simdl.scenarios.battery_soc.controller import CAPACITY, Manager
from simdl.scenarios.battery_soc.cycles import MicroTrips, Vehicle
from simdl.scenarios.battery_soc.features import BlockStatistics, Sums
from simdl.scenarios.battery_soc.sensors import Channel
from simdl.slots import Slot

SENSOR = Slot(
    "sensor",
    inputs={
        "voltage": Input(unit="V"),
        "current": Input(unit="A"),
        "temperature": Input(unit="degC"),
        "mean_voltage": Input(unit="V"),
        "mean_current": Input(unit="A"),
        "mean_temperature": Input(unit="degC"),
        "spread": Input(unit="A"),
        "slope": Input(unit="ohm"),
        "charge": Input(unit="A s"),
        "guess": Input(),
    },
    outputs={"soc": Output()},
    period="10 s",
    truth={
        "capacity": Input(unit="A h"),
        "window": Input(shape=(4,)),
        "scales": Input(shape=(3,)),
        "loop": Input(unit="V"),
    },
    doc="readings at 1 Hz, the charge remembered from the last drive (wrong by some per cent), and statistics of "
    "the last 10 s; the state of charge is a fraction of what is usable",
)


class Between(Block):
    """The estimate at 1 Hz: what the slot said at its last tick (every 10 s), less the charge counted since.

    soc = soc_k - (q - q_k) / (3600 C), with q the running sum of the measured current and C the nominal capacity.
    """

    estimate = Input()
    sums = Input(shape=(6,))
    every: Param = Param(10.0, unit="s")
    anchor, counted = State(0.5), State(0.0, unit="A s")
    soc = Output()

    @tick
    def count(self, estimate, sums, anchor, counted, t, every):
        fresh = torch.remainder(t, every) < 0.5
        anchor = torch.where(fresh, estimate, anchor)
        counted = torch.where(fresh, sums[:, 2], counted)
        return dict(anchor=anchor, counted=counted, soc=anchor - (sums[:, 2] - counted) / (3600 * CAPACITY))


class Truth(Block):
    """What only a bound may know: capacity, electrode windows and resistance factors of this very cell."""

    capacity, x_empty, x_span = Input(unit="A h"), Input(), Input()
    y_empty, y_span, series, transfer, diffusion = Input(), Input(), Input(), Input(), Input()
    window, scales = Output(shape=(4,)), Output(shape=(3,))

    @tick
    def look(self, x_empty, x_span, y_empty, y_span, series, transfer, diffusion):
        return dict(
            window=torch.stack((x_empty, x_span, y_empty, y_span), -1),
            scales=torch.stack((series, transfer, diffusion), -1),
        )


class BatteryLoop(Diagram):
    """Drive or charge, measure, estimate, and limit the current by the estimate.

    Sensors, driving, charging and management run at 1 Hz, the estimator every 10 s on what was measured since; the
    management's command takes effect a second later. At full age (1) both electrodes have lost `material` of their
    substance (apart by `imbalance`) and the cell `material + slippage` of its lithium. `faulty` (0 or 1) lets the
    voltage and current sensors fail at `fault_at`: the voltage reading jumps by `voltage_jump`, the current reading by
    `current_jump`.
    """

    ambient: Param = Param(25.0, unit="degC")
    initial_soc: Param = Param(0.6)
    guess_error: Param = Param(0.1)
    age: Param = Param(0.0, low=0.0, high=1.0)
    material: Param = Param(0.0, low=0.0)
    imbalance: Param = Param(0.0)
    slippage: Param = Param(0.0)
    charge_at: Param = Param(2400.0, unit="s")
    charge_for: Param = Param(1200.0, unit="s")
    faulty: Param = Param(0.0)
    fault_at: Param = Param(1800.0, unit="s")
    voltage_jump: Param = Param(0.03, unit="V")
    current_jump: Param = Param(0.5, unit="A")
    soc, estimate, error = Output(), Output(), Output()
    voltage, current, temperature = Output(unit="V"), Output(unit="A"), Output(unit="degC")
    channel = Channel  # the kind of its sensors

    def __init__(self, estimator) -> None:
        second, channel = "1 s", self.channel
        never = 1e9 * (1 - self.faulty)
        self.cell = Cell(
            age=self.age,
            initial_soc=self.initial_soc,
            lithium_rate=self.material + self.slippage,
            negative_rate=self.material - self.imbalance / 2,
            positive_rate=self.material + self.imbalance / 2,
        )
        self.trips, self.vehicle = MicroTrips(period=second), Vehicle(period=second)
        self.plan = Plan(period=second, begin=self.charge_at, end=self.charge_at + self.charge_for)
        self.charger = Charger(period=second)
        self.volts = channel(period=second, step=0.001, fault_at=self.fault_at + never, fault_jump=self.voltage_jump)
        self.amps = channel(period=second, step=0.01, fault_at=self.fault_at + never, fault_jump=self.current_jump)
        self.degrees = channel(period=second, step=0.25)
        self.sums, self.statistics = Sums(period=second), BlockStatistics(period="10 s")
        self.truth = Truth(period="1 h")
        self.sensor = SENSOR.place(estimator)
        self.between = Between(period=second)
        self.manager = Manager(period=second, latency=second)

        self.cell.current, self.cell.ambient = self.manager.current, self.ambient
        self.volts.value, self.amps.value = self.cell.voltage, self.manager.current
        self.degrees.value = self.cell.temperature
        self.vehicle.speed, self.vehicle.acceleration = self.trips.speed, self.trips.acceleration
        self.vehicle.ambient = self.ambient
        self.charger.voltage, self.charger.plugged = self.volts.reading, self.plan.plugged

        self.sums.voltage, self.sums.current = self.volts.reading, self.amps.reading
        self.sums.temperature = self.degrees.reading
        self.statistics.sums = self.sums.total
        self.sensor.voltage, self.sensor.current = self.volts.reading, self.amps.reading
        self.sensor.temperature = self.degrees.reading
        self.sensor.mean_voltage, self.sensor.mean_current = self.statistics.voltage, self.statistics.current
        self.sensor.mean_temperature = self.statistics.temperature
        self.sensor.spread, self.sensor.slope = self.statistics.spread, self.statistics.slope
        self.sensor.charge = self.statistics.charge
        for name in ("capacity", "x_empty", "x_span", "y_empty", "y_span", "series", "transfer", "diffusion"):
            setattr(self.truth, name, getattr(self.cell, name))
        self.sensor.guess = (self.initial_soc + self.guess_error).clamp(0.02, 0.98)
        self.sensor.capacity = self.cell.capacity
        self.sensor.window, self.sensor.scales = self.truth.window, self.truth.scales
        self.sensor.loop = self.cell.loop

        self.between.estimate, self.between.sums = self.sensor.soc, self.sums.total
        self.manager.soc = self.between.soc
        self.manager.voltage, self.manager.temperature = self.volts.reading, self.degrees.reading
        self.manager.power, self.manager.request = self.vehicle.power, self.charger.wanted
        self.manager.plugged, self.manager.driving = self.plan.plugged, self.plan.driving

        self.soc, self.estimate = self.cell.soc, self.between.soc
        self.error = self.between.soc - self.cell.soc
        self.voltage, self.current = self.volts.reading, self.amps.reading
        self.temperature = self.cell.temperature
