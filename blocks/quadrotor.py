"""A quadrotor as a rigid body."""

import torch

from simdl import Block, Input, Param, State, derivative, output
from simdl.blocks.attitude import conjugate, cross, rotate, turning


class Quadrotor(Block):
    """A rigid body with four rotors on an X; position up is z, attitude a quaternion (w, x, y, z) from body to world.

    position' = velocity,  m velocity' = rotate(attitude, (0, 0, sum f)) - (0, 0, m g) - drag velocity
    attitude' = attitude (0, rates) / 2,  J rates' = torque - rates x J rates

    Rotor k at speed w_k lifts f_k = kf w_k^2 and drags with km w_k^2; rotors 0 ... 3 sit front right, back right, back
    left, front left (x forward, y left), at `arm` from the centre:
    torque = (arm (-f0 - f1 + f2 + f3) / sqrt 2, arm (-f0 + f1 + f2 - f3) / sqrt 2, km (w0^2 - w1^2 + w2^2 - w3^2)).

    Mahony, Kumar & Corke, IEEE Robotics & Automation Magazine 19 (2012) 20. Parameters: Crazyflie 2 of Forster (ETH
    2015) as in gym-pybullet-drones, kf = 3.16e-10 N/rpm^2 and km = 7.94e-12 N m/rpm^2; drag is chosen, zero.

    >>> from simdl import RK4, simulate
    >>> hover = (0.027 * 9.81 / 4 / 2.8816e-8) ** 0.5
    >>> run = simulate(Quadrotor(), 1, inputs={"rotors": [hover] * 4}, solver=RK4(max_step=0.01))
    >>> bool(run["position"].at(1).abs().max() < 1e-3)
    True
    """

    rotors = Input(shape=(4,), unit="rad/s")
    mass: Param = Param(0.027, unit="kg", low=1e-12)
    inertia: Param = Param([1.4e-5, 1.4e-5, 2.17e-5], unit="kg m^2", low=1e-12)
    arm: Param = Param(0.0397, unit="m")
    kf: Param = Param(2.8816e-8, unit="N s^2/rad^2")
    km: Param = Param(7.2404e-10, unit="N m s^2/rad^2")
    drag: Param = Param(0.0, unit="N s/m")
    gravity: Param = Param(9.81, unit="m/s^2")
    position, velocity = State([0.0, 0.0, 0.0], unit="m"), State([0.0, 0.0, 0.0], unit="m/s")
    attitude, rates = State([1.0, 0.0, 0.0, 0.0]), State([0.0, 0.0, 0.0], unit="rad/s")

    @derivative(position, velocity, attitude, rates)
    def motion(self, velocity, attitude, rates, rotors, mass, inertia, arm, kf, km, drag, gravity):
        f0, f1, f2, f3 = (kf.unsqueeze(1) * rotors**2).unbind(dim=1)
        side, none = arm / 2**0.5, torch.zeros_like(f0)
        torque = torch.stack([side * (f2 + f3 - f0 - f1), side * (f1 + f2 - f0 - f3),
                              km / kf * (f0 - f1 + f2 - f3)], dim=1)  # fmt: skip
        lift = rotate(attitude, torch.stack([none, none, f0 + f1 + f2 + f3], dim=1))
        weight = torch.stack([none, none, gravity], dim=1)
        return (velocity, (lift - drag.unsqueeze(1) * velocity) / mass.unsqueeze(1) - weight, turning(attitude, rates),
                (torque - cross(rates, inertia * rates)) / inertia)  # fmt: skip

    @output(unit="m/s^2")
    def specific_force(self, velocity, attitude, rotors, mass, kf, drag):
        """What an accelerometer at the centre feels: lift and drag over mass, in the body."""
        f0, f1, f2, f3 = (kf.unsqueeze(1) * rotors**2).unbind(dim=1)
        lift = f0 + f1 + f2 + f3
        up = torch.stack([torch.zeros_like(lift), torch.zeros_like(lift), lift], dim=1)
        return (up - rotate(conjugate(attitude), drag.unsqueeze(1) * velocity)) / mass.unsqueeze(1)
