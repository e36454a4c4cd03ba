"""One small diagram for each plant, with what `simulate` needs to run it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from simdl import RK4, Diagram, connect
from simdl.blocks import (
    PMSM,
    TORA,
    BatteryCell,
    BatteryPack,
    BouncingBall,
    BuckConverter,
    CartPole,
    Constant,
    DCMotor,
    DoublePendulum,
    DynamicBicycle,
    Epileptor,
    FrameTransform,
    HeatedPMSM,
    HeatExchanger,
    JansenRit,
    KinematicBicycle,
    LongitudinalVehicle,
    MagneticLevitation,
    MassSpringDamper,
    MotorHeat,
    PacejkaBicycle,
    Pendulum,
    Pulse,
    Quadrotor,
    Room,
    Sine,
    Step,
    TwoTanks,
)

Case = tuple[Diagram, dict[str, Any]]


class Plant(Diagram):
    """A block with its inputs driven by sources (blocks or numbers)."""

    def __init__(self, block: Any, sources: dict[str, Any]) -> None:
        self.sources = [source for source in sources.values() if not isinstance(source, int | float)]
        self.block = block
        for name, source in sources.items():
            connect(source if isinstance(source, int | float) else source.y, getattr(block, name))


def case(
    block: Any, until: float, step: float, record: str, start: dict[str, Any] | None = None, **sources: Any
) -> Case:
    """`record` and `start` name states and outputs of the block; `step` is that of the solver."""
    return Plant(block, sources), dict(
        until=until, every=until / 10, solver=RK4(max_step=step), record=[f"block.{name}" for name in record.split()],
        set={f"block.{name}": value for name, value in (start or {}).items()},
    )  # fmt: skip


def quadrotor() -> Case:
    tilted = dict(attitude=[0.9, 0.1, -0.2, 0.3], rates=[1.0, -0.5, 2.0], velocity=[1.0, 0.0, -1.0])
    rotors = Constant(value=[1500.0, 1520.0, 1510.0, 1530.0])
    record = "position velocity attitude rates specific_force"
    return case(Quadrotor(drag=0.01), 0.5, 0.01, record, tilted, rotors=rotors)


def pack() -> Case:
    cells = BatteryPack(capacity=[[0.85, 0.8], [0.9, 0.7]], growth=[[1.0, 1.2], [1.0, 1.5]], start=0.9)
    return case(cells, 60.0, 1.0, "soc v_short v_long voltage voltages currents", current=Pulse(cycle=20.0, high=1.5))


STEADY = dict(vd=-18.0, vq=20.7, load=14.15)

CASES: dict[str, Callable[[], Case]] = {
    "Pendulum": lambda: case(Pendulum(), 1.0, 0.02, "theta omega energy", dict(theta=1.0), torque=Sine(amplitude=3.0)),
    "CartPole": lambda: case(CartPole(), 1.0, 0.02, "x v theta omega", dict(theta=0.2), force=Sine(amplitude=5.0)),
    "DoublePendulum": lambda: case(
        DoublePendulum(damping=0.02), 1.0, 0.02, "theta1 theta2 omega1 omega2 energy", dict(theta1=1.3, theta2=-0.4),
        torque1=Sine(amplitude=0.3), torque2=Step(at=0.5, after=-0.1),
    ),
    "MassSpringDamper": lambda: case(MassSpringDamper(), 2.0, 0.05, "x v energy", force=Step(at=0.7)),
    "TORA": lambda: case(TORA(), 2.0, 0.05, "x v theta omega", dict(x=0.65, theta=-0.3), u=Sine(frequency=0.5)),
    "MagneticLevitation": lambda: case(
        MagneticLevitation(), 0.05, 0.001, "h v i", dict(h=0.0101), voltage=Step(at=0.02, before=7.0, after=7.1)
    ),
    "BouncingBall": lambda: case(BouncingBall(height=0.4), 1.0, 0.05, "h v resting"),
    "LongitudinalVehicle": lambda: case(
        LongitudinalVehicle(), 10.0, 0.05, "x v force", dict(v=1.0), throttle=Step(at=5.0, before=0.8, after=0.0),
        brake=Step(at=5.0, after=6000.0), slope=Sine(amplitude=0.05, frequency=0.1), gear=2,
    ),
    "KinematicBicycle": lambda: case(
        KinematicBicycle(), 2.0, 0.05, "x y psi", speed=8.0, steer=Sine(amplitude=0.3, frequency=0.5)
    ),
    "DynamicBicycle": lambda: case(
        DynamicBicycle(), 2.0, 0.02, "x y psi v r", speed=20.0, steer=Sine(amplitude=0.05, frequency=0.5)
    ),
    "PacejkaBicycle": lambda: case(
        PacejkaBicycle(D=0.7), 2.0, 0.02, "x y psi v r", speed=20.0, steer=Sine(amplitude=0.15, frequency=0.5)
    ),
    "DCMotor": lambda: case(DCMotor(), 1.0, 0.01, "i omega theta", voltage=Sine(amplitude=5.0), load=Step(at=0.5)),
    "PMSM": lambda: case(
        PMSM(), 0.01, 1e-4, "id iq omega theta torque copper_loss iron_loss", dict(omega=100.0, iq=40.0),
        winding=120.0, magnet=80.0, **STEADY,
    ),
    "MotorHeat": lambda: case(
        MotorHeat(), 1000.0, 20.0, "winding stator rotor", copper=Pulse(cycle=400.0, high=2000.0), iron=200.0,
        rotor_loss=50.0, coolant=60.0,
    ),
    "HeatedPMSM": lambda: case(
        HeatedPMSM(), 0.01, 2e-4, "omega torque winding stator magnet", {"motor.omega": 100.0, "heat.winding": 90.0},
        coolant=50.0, **STEADY,
    ),
    "Room": lambda: case(
        Room(), 7200.0, 120.0, "air wall", heating=Pulse(cycle=1800.0, high=1500.0), gains=Step(at=3600.0, after=300.0),
        outside=Sine(amplitude=5.0, frequency=1 / 86400),
    ),
    "HeatExchanger": lambda: case(
        HeatExchanger(cells=6), 30.0, 0.5, "hot cold hot_out cold_out", hot_in=Step(at=10.0, before=100.0, after=80.0),
        cold_in=30.0, cold_rate=Sine(amplitude=200.0, frequency=0.05, bias=800.0),
    ),
    "TwoTanks": lambda: case(
        TwoTanks(), 60.0, 0.5, "h1 h2 outflow", dict(h1=1.0, h2=2.0), pump=Step(at=30.0, before=1.0, after=4.0)
    ),
    "BuckConverter": lambda: case(
        BuckConverter(resistance=0.05), 5e-5, 1e-6, "i v source_current", dict(i=5.0, v=15.0),
        duty=Pulse(cycle=1e-5, duty=0.536, high=1.0),
    ),
    "BatteryCell": lambda: case(
        BatteryCell(growth=1.3), 100.0, 1.0, "soc v_short v_long voltage", dict(soc=0.6),
        current=Pulse(cycle=30.0, high=1.0, low=-0.4),
    ),
    "BatteryPack": pack,
    "FrameTransform": lambda: case(
        FrameTransform(attitude=[0.9, 0.1, -0.2, 0.3], origin=[1.0, 0.0, 0.5]), 1.0, 0.1, "y back",
        u=Constant(value=[1.0, 2.0, 3.0]),
    ),
    "Quadrotor": quadrotor,
    "Epileptor": lambda: case(
        Epileptor(), 0.03, 1e-4, "x1 y1 z x2 y2 g field", fast=Sine(amplitude=0.5, frequency=50.0), slow=0.1
    ),
    "JansenRit": lambda: case(
        JansenRit(), 0.2, 1e-3, "y0 y1 y2 eeg", afferent=Sine(amplitude=0.05, frequency=5.0, phase=math.pi / 2)
    ),
}  # fmt: skip
