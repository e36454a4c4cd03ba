"""One small diagram for each sensor, with what `simulate` needs to run it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simdl import RK4, Diagram, connect
from simdl.blocks import (
    ADC,
    GPS,
    IMU,
    AbsoluteEncoder,
    Accelerometer,
    BetaThermistor,
    Constant,
    Gyroscope,
    IncrementalEncoder,
    InertialSensor,
    Integrator,
    JitteredSample,
    Quadrotor,
    Ramp,
    SensorChain,
    Sine,
    SpecificForce,
    StatisticalDetector,
    SteinhartHart,
    Thermistor,
)

Case = tuple[Diagram, dict[str, Any]]


class Seen(Diagram):
    """A block with its inputs driven by sources (blocks or numbers)."""

    def __init__(self, block: Any, sources: dict[str, Any]) -> None:
        self.sources = [source for source in sources.values() if not isinstance(source, int | float)]
        self.block = block
        for name, source in sources.items():
            connect(source if isinstance(source, int | float) else source.y, getattr(block, name))


class Flight(Diagram):
    """A tumbling quadrotor, and what its inertial unit and its receiver say."""

    def __init__(self) -> None:
        self.rotors, self.push = Constant(value=[1500.0, 1520.0, 1510.0, 1530.0]), Constant(value=[1.0, 0.0, -2.0])
        self.body, self.imu, self.gps = Quadrotor(), IMU(period="10 ms", latency="2 ms"), GPS(rate=20, latency="70 ms")
        self.body.rotors = self.rotors.y
        self.imu.acceleration, self.imu.attitude = self.push.y, self.body.attitude
        self.imu.rates = self.body.rates
        self.gps.position, self.gps.velocity = self.body.position, self.body.velocity


class Traffic(Diagram):
    """Three cars, one of them driving away, the last not there at all."""

    def __init__(self) -> None:
        self.cars = Integrator(start=[[30.0, 5.0], [120.0, -20.0], [10.0, 0.0]])
        self.speed, self.there = Constant(value=[[0.0, 0.0], [40.0, 0.0], [0.0, 0.0]]), Constant(value=[1.0, 1.0, 0.0])
        self.radar = StatisticalDetector(maximum=6, range_growth=0.01, angle_growth=1e-4, alarms=1.5, period="50 ms")
        self.cars.u, self.radar.targets, self.radar.present = self.speed.y, self.cars.y, self.there.y > 0.5


def case(block: Any, record: str, until: float = 0.5, **sources: Any) -> Case:
    options = dict(until=until, every=until / 50, seed=11, solver=RK4(max_step=0.01))
    return Seen(block, sources), options | dict(record=[f"block.{name}" for name in record.split()])


def flight(record: str) -> Case:
    start = {"body.rates": [2.0, -1.0, 0.5], "body.velocity": [3.0, 0.0, 1.0]}
    return Flight(), dict(until=0.5, every=0.01, seed=11, set=start, solver=RK4(max_step=0.01), record=record.split())


VECTOR = [0.5, -1.2, 9.0]
ERRORS: dict[str, Any] = dict(
    matrix=[[1.01, 0.002, 0.0], [0.0, 0.99, 0.001], [0.0, 0.003, 1.0]], bias=[0.01, -0.02, 0.0], step=0.001,
    walk=0.01, period="10 ms",
)  # fmt: skip

CASES: dict[str, Callable[[], Case]] = {
    "SensorChain": lambda: case(
        SensorChain(gain=1.02, bias=0.01, walk=0.05, noise=0.02, step=0.01, low=-0.8, high=0.8, dropout=0.2,
                    jitter=1e-4, period="10 ms", latency="15 ms"),
        "y valid stamp", u=Sine(frequency=2.0),
    ),
    "ADC": lambda: case(
        ADC(bits=8, low=-1.0, high=0.9, noise=0.005, period="5 ms"), "y code", u=Sine(frequency=3.0)
    ),
    "JitteredSample": lambda: case(JitteredSample(cycle=0.03, jitter=2e-3), "y", u=Sine(frequency=3.0)),
    "InertialSensor": lambda: case(
        InertialSensor(white=0.01, instability=0.02, tau=0.5, limit=8.0, **ERRORS), "y", u=Constant(value=VECTOR)
    ),
    "Gyroscope": lambda: case(Gyroscope(**ERRORS), "y", u=Constant(value=VECTOR)),
    "Accelerometer": lambda: case(Accelerometer(**ERRORS), "y", u=Constant(value=VECTOR)),
    "SpecificForce": lambda: case(
        SpecificForce(), "y", acceleration=Constant(value=VECTOR), attitude=Constant(value=[0.9, 0.1, -0.2, 0.3])
    ),
    "IMU": lambda: flight("imu.force imu.turn"),
    "GPS": lambda: flight("gps.fix gps.speed gps.valid"),
    "IncrementalEncoder": lambda: case(
        IncrementalEncoder(lines=50, period="5 ms"), "count speed a b", theta=Sine(amplitude=2.0, frequency=1.5)
    ),
    "AbsoluteEncoder": lambda: case(
        AbsoluteEncoder(bits=8, zero=0.1, eccentricity=0.02, noise=0.005, period="5 ms"), "code angle",
        theta=Ramp(slope=30.0, bias=-4.0),
    ),
    "BetaThermistor": lambda: case(BetaThermistor(), "voltage", temperature=Ramp(slope=200.0, bias=-20.0)),
    "Thermistor": lambda: case(Thermistor(), "voltage", temperature=Ramp(slope=200.0, bias=-20.0)),
    "SteinhartHart": lambda: case(SteinhartHart(period="10 ms"), "temperature", voltage=Ramp(slope=8.0, bias=0.5)),
    "StatisticalDetector": lambda: (Traffic(), dict(
        until=1.0, every=0.05, seed=11, solver=RK4(max_step=0.05),
        record=[f"radar.{name}" for name in ("distance", "angle", "mask", "source", "count")],
    )),
}  # fmt: skip
