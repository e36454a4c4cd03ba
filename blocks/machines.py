"""Electric motors, and the heat in them."""

import torch

from simdl import Block, Diagram, Input, Output, Param, State, derivative, output


class DCMotor(Block):
    """L i' = voltage - R i - k omega,  J omega' = k i - b omega - load.

    Parameters: the motor of the Control Tutorials for MATLAB and Simulink (University of Michigan), with one k for
    torque and back voltage.

    >>> from simdl import RK4, simulate
    >>> run = simulate(DCMotor(), 5, inputs={"voltage": 1.0}, solver=RK4(max_step=0.01))
    >>> round(float(run["omega"].at(5)), 4)  # k / (R b + k^2), nearly
    0.0999
    """

    voltage, load = Input(unit="V"), Input(unit="N m", default=0.0)
    resistance: Param = Param(1.0, unit="ohm")
    inductance: Param = Param(0.5, unit="H", low=1e-12)
    k: Param = Param(0.01, unit="N m/A")
    inertia: Param = Param(0.01, unit="kg m^2", low=1e-12)
    friction: Param = Param(0.1, unit="N m s/rad")
    i, omega, theta = State(0.0, unit="A"), State(0.0, unit="rad/s"), State(0.0, unit="rad")

    @derivative(i, omega, theta)
    def motion(self, i, omega, voltage, load, resistance, inductance, k, inertia, friction):
        return (voltage - resistance * i - k * omega) / inductance, (k * i - friction * omega - load) / inertia, omega


class PMSM(Block):
    """A permanent-magnet synchronous motor in rotor coordinates; amplitude-invariant transform, w = pairs omega.

    Ld id' = vd - R id + w Lq iq,  Lq iq' = vq - R iq - w (Ld id + psi)
    torque = 3/2 pairs (psi + (Ld - Lq) id) iq,  J omega' = torque - load - (friction + iron) omega

    R and psi follow the temperatures of winding and magnet, linearly from 20 degC. `iron` stands for losses in the
    iron, which brake like friction. Schroder, Elektrische Antriebe (2009). pairs, R, Ld, Lq and psi are the defaults of
    gym-electric-motor; inertia, friction, iron are chosen; +0.39 %/K is copper, -0.1 %/K typical of NdFeB magnets.

    >>> from simdl import RK4, simulate
    >>> steady = {"vd": -18.0, "vq": 20.7, "load": 14.15}  # 50 A along q at 100 rad/s
    >>> run = simulate(PMSM(), 0.1, inputs=steady, set={"iq": 50.0, "omega": 100.0}, solver=RK4(1e-4), every=0.1)
    >>> round(float(run["torque"].at(0.1)), 6), round(float(run["omega"].at(0.1)), 6)
    (14.85, 100.0)
    """

    vd, vq, load = Input(unit="V"), Input(unit="V"), Input(unit="N m", default=0.0)
    winding, magnet = Input(unit="degC", default=20.0), Input(unit="degC", default=20.0)
    pairs: Param = Param(3.0)
    resistance: Param = Param(0.018, unit="ohm")
    ld: Param = Param(0.37e-3, unit="H", low=1e-12)
    lq: Param = Param(1.2e-3, unit="H", low=1e-12)
    psi: Param = Param(0.066, unit="Wb")
    inertia: Param = Param(0.01, unit="kg m^2", low=1e-12)
    friction: Param = Param(0.002, unit="N m s/rad")
    iron: Param = Param(0.005, unit="N m s/rad")
    per_kelvin_copper: Param = Param(0.0039, unit="1/K")
    per_kelvin_magnet: Param = Param(-0.001, unit="1/K")
    id, iq = State(0.0, unit="A"), State(0.0, unit="A")
    omega, theta = State(0.0, unit="rad/s"), State(0.0, unit="rad")

    @derivative(id, iq, omega, theta)
    def motion(self, id, iq, omega, vd, vq, load, winding, magnet, pairs, resistance, ld, lq, psi, inertia, friction,
               iron, per_kelvin_copper, per_kelvin_magnet):  # fmt: skip
        r, psi = warm(resistance, per_kelvin_copper, winding), warm(psi, per_kelvin_magnet, magnet)
        w = pairs * omega
        turning = 1.5 * pairs * (psi + (ld - lq) * id) * iq
        return ((vd - r * id + w * lq * iq) / ld, (vq - r * iq - w * (ld * id + psi)) / lq,
                (turning - load - (friction + iron) * omega) / inertia, omega)  # fmt: skip

    @output(unit="N m")
    def torque(self, id, iq, magnet, pairs, ld, lq, psi, per_kelvin_magnet):
        return 1.5 * pairs * (warm(psi, per_kelvin_magnet, magnet) + (ld - lq) * id) * iq

    @output(unit="W")
    def copper_loss(self, id, iq, winding, resistance, per_kelvin_copper):
        return 1.5 * warm(resistance, per_kelvin_copper, winding) * (id**2 + iq**2)

    @output(unit="W")
    def iron_loss(self, omega, iron):
        return iron * omega**2


class MotorHeat(Block):
    """Three lumps of heat: winding, stator and rotor with its magnets; the coolant takes heat from the stator.

    Cw Tw' = copper - Gws (Tw - Ts),  Cr Tr' = rotor - Gsr (Tr - Ts)
    Cs Ts' = iron + Gws (Tw - Ts) + Gsr (Tr - Ts) - Gc (Ts - coolant)

    The structure is that of Wallscheid & Bocker, IEEE Trans. Energy Conversion 31 (2016) 354, with their two stator
    nodes lumped; the values are chosen for a machine of some 50 kW.

    >>> from simdl import RK4, simulate
    >>> run = simulate(MotorHeat(), 20000, inputs={"copper": 1000.0, "coolant": 60.0}, solver=RK4(max_step=20.0))
    >>> [round(float(run[name].at(20000)), 2) for name in ("winding", "stator", "rotor")]  # 60 + P / Gc, + P / Gws
    [92.5, 67.5, 67.5]
    """

    copper, iron, rotor_loss = Input(unit="W"), Input(unit="W", default=0.0), Input(unit="W", default=0.0)
    coolant = Input(unit="degC", default=20.0)
    winding_capacity: Param = Param(4e3, unit="J/K", low=1e-12)
    stator_capacity: Param = Param(12e3, unit="J/K", low=1e-12)
    rotor_capacity: Param = Param(8e3, unit="J/K", low=1e-12)
    winding_to_stator: Param = Param(40.0, unit="W/K")
    rotor_to_stator: Param = Param(10.0, unit="W/K")
    stator_to_coolant: Param = Param(1000.0 / 7.5, unit="W/K")
    winding, stator, rotor = State(20.0, unit="degC"), State(20.0, unit="degC"), State(20.0, unit="degC")

    @derivative(winding, stator, rotor)
    def flow(self, winding, stator, rotor, copper, iron, rotor_loss, coolant, winding_capacity, stator_capacity,
             rotor_capacity, winding_to_stator, rotor_to_stator, stator_to_coolant):  # fmt: skip
        from_winding, from_rotor = winding_to_stator * (winding - stator), rotor_to_stator * (rotor - stator)
        away = stator_to_coolant * (stator - coolant)
        return ((copper - from_winding) / winding_capacity, (iron + from_winding + from_rotor - away) / stator_capacity,
                (rotor_loss - from_rotor) / rotor_capacity)  # fmt: skip


class HeatedPMSM(Diagram):
    """A `PMSM` whose losses heat its `MotorHeat`, whose temperatures change its resistance and flux.

    >>> from simdl import RK4, simulate
    >>> steady = {"vd": -18.0, "vq": 20.7, "load": 14.15}
    >>> start = {"motor.iq": 50.0, "motor.omega": 100.0}
    >>> run = simulate(HeatedPMSM(), 0.2, inputs=steady, set=start, solver=RK4(max_step=2e-4), every=0.1)
    >>> 67.0 < 4e3 * float(run["winding"].at(0.2) - 20.0) / 0.2 < 68.0  # 3/2 R iq^2, in W
    True
    """

    vd, vq, load = Input(unit="V"), Input(unit="V"), Input(unit="N m", default=0.0)
    coolant = Input(unit="degC", default=20.0)
    omega, torque = Output(unit="rad/s"), Output(unit="N m")
    winding, stator, magnet = Output(unit="degC"), Output(unit="degC"), Output(unit="degC")

    def __init__(self) -> None:
        self.motor, self.heat = PMSM(), MotorHeat()
        self.motor.vd, self.motor.vq, self.motor.load = self.vd, self.vq, self.load
        self.motor.winding, self.motor.magnet = self.heat.winding, self.heat.rotor
        self.heat.copper, self.heat.iron = self.motor.copper_loss, self.motor.iron_loss
        self.heat.coolant = self.coolant
        self.omega, self.torque = self.motor.omega, self.motor.torque
        self.winding, self.stator, self.magnet = self.heat.winding, self.heat.stator, self.heat.rotor


def warm(at_20, per_kelvin, temperature: torch.Tensor):
    """A parameter given at 20 degC, at a temperature in degC."""
    return at_20 * (1 + per_kelvin * (temperature - 20.0))
