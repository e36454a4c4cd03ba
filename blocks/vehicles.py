"""Road vehicles: along the road, and across it with one wheel for each axle."""

import torch

from simdl import Block, Input, Param, State, derivative, output
from simdl.blocks.routing import pick

STANDSTILL = 0.1  # m/s, below which rolling resistance and brakes fade out, so that a car at rest stays there


class LongitudinalVehicle(Block):
    """m v' = drive - brake - m g (Cr + sin(slope)) - rho Cd A v^2 / 2, drive = throttle a T(a v), a = ratio / radius.

    The engine limits what the throttle asks: T(w) = peak (1 - beta (w / best - 1)^2), not below zero. Rolling
    resistance and brake change sign with the speed, as tanh(v / 0.1 m/s). Equations and parameters: the cruise control
    of Astrom & Murray, Feedback Systems (2008), section 3.1; the brake is an addition. `gear` counts from 1.

    >>> from simdl import RK4, simulate
    >>> run = simulate(LongitudinalVehicle(), 200, inputs={"throttle": 0.16875}, set={"v": 25.0}, solver=RK4(1.0))
    >>> 20.0 < float(run["v"].at(200)) < 21.0  # 16.9 % of throttle holds 20 m/s in fourth gear
    True
    """

    throttle, brake = Input(), Input(unit="N", default=0.0)
    slope, gear = Input(unit="rad", default=0.0), Input(dtype="int64", default=4)
    mass: Param = Param(1600.0, unit="kg", low=1e-12)
    ratios: Param = Param([40.0, 25.0, 16.0, 12.0, 10.0], unit="1/m")
    peak: Param = Param(190.0, unit="N m")
    best: Param = Param(420.0, unit="rad/s", low=1e-12)
    beta: Param = Param(0.4)
    drag: Param = Param(0.32)
    area: Param = Param(2.4, unit="m^2")
    density: Param = Param(1.3, unit="kg/m^3")
    rolling: Param = Param(0.01)
    gravity: Param = Param(9.8, unit="m/s^2")
    x, v = State(0.0, unit="m"), State(0.0, unit="m/s")

    @derivative(x, v)
    def motion(self, v, throttle, brake, slope, gear, mass, ratios, peak, best, beta, drag, area, density, rolling,
               gravity):  # fmt: skip
        drive = self.drive_force(v, throttle, gear, ratios, peak, best, beta)
        resisting = (mass * gravity * rolling + brake) * torch.tanh(v / STANDSTILL)
        air = density * drag * area * v * v.abs() / 2
        return v, (drive - resisting - air) / mass - gravity * torch.sin(slope)

    @output(unit="N")
    def force(self, v, throttle, gear, ratios, peak, best, beta):
        return self.drive_force(v, throttle, gear, ratios, peak, best, beta)

    def drive_force(self, v, throttle, gear, ratios, peak, best, beta):
        ratio = pick(ratios, (gear - 1).clamp(0, ratios.shape[1] - 1))
        torque = peak * (1 - beta * (ratio * v / best - 1) ** 2)
        return throttle.clamp(0.0, 1.0) * ratio * torque.clamp(min=0.0)


class KinematicBicycle(Block):
    """Wheels that roll without slip: x' = v cos(psi + b), y' = v sin(psi + b), psi' = v sin(b) / rear.

    b = atan(rear tan(steer) / (front + rear)) is the direction of the centre of mass; `front` and `rear` are its
    distances from the axles. Rajamani, Vehicle Dynamics and Control (2012), section 2.2, with the car of chapter 3.

    >>> from simdl import RK4, simulate
    >>> run = simulate(KinematicBicycle(), 10, inputs={"speed": 10.0, "steer": 0.0}, solver=RK4(max_step=1.0))
    >>> round(float(run["x"].at(10)), 9)
    100.0
    """

    speed, steer = Input(unit="m/s"), Input(unit="rad")
    front: Param = Param(1.1, unit="m", low=1e-12)
    rear: Param = Param(1.58, unit="m", low=1e-12)
    x, y, psi = State(0.0, unit="m"), State(0.0, unit="m"), State(0.0, unit="rad")

    @derivative(x, y, psi)
    def motion(self, psi, speed, steer, front, rear):
        b = torch.atan(rear * torch.tan(steer) / (front + rear))
        return speed * torch.cos(psi + b), speed * torch.sin(psi + b), speed * torch.sin(b) / rear


class DynamicBicycle(Block):
    """Sideslip and yaw with tyre forces proportional to slip, for a given forward speed of more than about 1 m/s.

    m (v' + speed r) = Ff + Fr,  inertia r' = front Ff - rear Fr
    Ff = 2 Cf (steer - (v + front r) / speed),  Fr = 2 Cr (-(v - rear r) / speed)

    v is the speed to the left, r the yaw rate; small angles of slip and steer. Equations and parameters (stiffness of
    one tyre): Rajamani, Vehicle Dynamics and Control (2012), sections 2.3 and 3.1.

    >>> from simdl import RK4, simulate
    >>> run = simulate(DynamicBicycle(), 5, inputs={"speed": 20.0, "steer": 0.01}, solver=RK4(max_step=0.01))
    >>> gain = 20.0 / (2.68 + 0.00176 * 20.0**2)  # it understeers, because its mass sits in front
    >>> abs(float(run["r"].at(5)) / (0.01 * gain) - 1) < 0.001
    True
    """

    speed, steer = Input(unit="m/s"), Input(unit="rad")
    mass: Param = Param(1573.0, unit="kg", low=1e-12)
    inertia: Param = Param(2873.0, unit="kg m^2", low=1e-12)
    front: Param = Param(1.1, unit="m")
    rear: Param = Param(1.58, unit="m")
    front_stiffness: Param = Param(80e3, unit="N/rad")
    rear_stiffness: Param = Param(80e3, unit="N/rad")
    x, y, psi = State(0.0, unit="m"), State(0.0, unit="m"), State(0.0, unit="rad")
    v, r = State(0.0, unit="m/s"), State(0.0, unit="rad/s")

    @derivative(x, y, psi, v, r)
    def motion(self, psi, v, r, speed, steer, mass, inertia, front, rear, front_stiffness, rear_stiffness):
        at_front = 2 * front_stiffness * (steer - (v + front * r) / speed)
        at_rear = 2 * rear_stiffness * (rear * r - v) / speed
        return (*moved(psi, v, r, speed), (at_front + at_rear) / mass - speed * r,
                (front * at_front - rear * at_rear) / inertia)  # fmt: skip


class PacejkaBicycle(Block):
    """Sideslip and yaw with tyres that saturate, for a given forward speed of more than about 1 m/s.

    F = D N sin(C atan(B a - E (B a - atan(B a)))), with the load N of each axle at rest and its slip angle a:
    steer - atan((v + front r) / speed) in front, -atan((v - rear r) / speed) behind.
    m (v' + speed r) = Ff cos(steer) + Fr,  inertia r' = front Ff cos(steer) - rear Fr.

    Pacejka, Tire and Vehicle Dynamics (2012), chapters 1 and 4; body of Rajamani (2012) as `DynamicBicycle`. B, C, D
    and E are values commonly quoted for dry tarmac, not those of one tyre: the friction is D.

    >>> from simdl import RK4, simulate
    >>> run = simulate(PacejkaBicycle(), 5, inputs={"speed": 20.0, "steer": [0.05, 0.1]}, solver=RK4(max_step=0.01))
    >>> [round(x, 1) for x in (20.0 * run["r"].at(5) / 9.81).tolist()]  # in g: near its limit, the tyre gives no more
    [0.8, 1.0]
    """

    speed, steer = Input(unit="m/s"), Input(unit="rad")
    mass: Param = Param(1573.0, unit="kg", low=1e-12)
    inertia: Param = Param(2873.0, unit="kg m^2", low=1e-12)
    front: Param = Param(1.1, unit="m")
    rear: Param = Param(1.58, unit="m")
    B: Param = Param(10.0, unit="1/rad")
    C: Param = Param(1.9)
    D: Param = Param(1.0)
    E: Param = Param(0.97)
    gravity: Param = Param(9.81, unit="m/s^2")
    x, y, psi = State(0.0, unit="m"), State(0.0, unit="m"), State(0.0, unit="rad")
    v, r = State(0.0, unit="m/s"), State(0.0, unit="rad/s")

    @derivative(x, y, psi, v, r)
    def motion(self, psi, v, r, speed, steer, mass, inertia, front, rear, B, C, D, E, gravity):
        load = D * mass * gravity / (front + rear)
        slip = steer - torch.atan((v + front * r) / speed)
        at_front = load * rear * magic_formula(slip, B, C, E) * torch.cos(steer)
        at_rear = load * front * magic_formula(torch.atan((rear * r - v) / speed), B, C, E)
        return (*moved(psi, v, r, speed), (at_front + at_rear) / mass - speed * r,
                (front * at_front - rear * at_rear) / inertia)  # fmt: skip


def magic_formula(slip, B, C, E):
    """The force of a tyre in units of its greatest, for a slip angle in radians."""
    stretched = B * slip
    return torch.sin(C * torch.atan(stretched - E * (stretched - torch.atan(stretched))))


def moved(psi, v, r, speed):
    """The rates of x, y and psi of a body with heading psi that moves forwards with `speed` and to the left with v."""
    cos, sin = torch.cos(psi), torch.sin(psi)
    return speed * cos - v * sin, speed * sin + v * cos, r
