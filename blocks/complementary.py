"""Complementary filters: a fast, drifting source for the high frequencies, a slow, noisy one for the low."""

import torch

from simdl import Block, Input, Output, Param, State, tick
from simdl.blocks.attitude import conjugate, cross, dot, product, rotate
from simdl.blocks.vector import direction


class ComplementaryFilter(Block):
    """y = a (y + T speed) + (1 - a) slow, a = tau / (tau + T); y = slow at the first tick.

    `speed` is the derivative of what `slow` measures: a gyroscope and an inclinometer, an inertial speed and a GNSS
    position. Below 1 / tau, y follows `slow`, above it the integral of `speed`; a constant error b of the speed leaves
    tau b. Higgins, IEEE Trans. Aerospace and Electronic Systems 11 (1975) 321.

    >>> from simdl import simulate
    >>> angle = ComplementaryFilter(tau=1.0, period=0.01)
    >>> run = simulate(angle, 20, inputs={"speed": 0.1, "slow": 2.0})  # a drift of 0.1 a second, an angle of 2
    >>> round(float(run["y"].at(20)), 6)
    2.1
    """

    speed, slow, y = Input(), Input(), Output()
    tau: Param = Param(1.0, unit="s", low=0.0)
    last, started = State(0.0), State(False, dtype="bool")

    @tick
    def blend(self, speed, slow, last, started, tau, dt):
        keep = tau / (tau + dt)
        y = torch.where(started, keep * (last + dt * speed) + (1 - keep) * slow, slow)
        return dict(y=y, last=y, started=torch.ones_like(started))


class AttitudeFilter(Block):
    """Attitude from a gyroscope and an accelerometer: Mahony's filter on unit quaternions, with the gyroscope's bias.

    q (w, x, y, z) turns vectors of the body into the world, z up. With a the measured direction of the specific force
    (up, at rest) and v = q* z q the expected one: e = a x v, omega = gyro - bias + kp e, bias = bias - T ki e, and q is
    turned by omega T exactly. The heading is that of the gyroscope alone. `roll`, `pitch` and `yaw` are the angles of
    q = yaw about z, then pitch about y, then roll about x.
    Mahony, Hamel & Pflimlin, IEEE Trans. Automatic Control 53 (2008).

    >>> from simdl import simulate
    >>> level = AttitudeFilter(kp=2.0, period="10 ms")
    >>> run = simulate(level, 10, inputs={"gyro": [0.0, 0.0, 0.0], "accel": [0.0, 4.905, 8.4957]})  # rolled by 30 deg
    >>> round(float(run["roll"].at(10)) * 57.29578, 2)
    30.0
    """

    gyro, accel = Input(shape=(3,), unit="rad/s"), Input(shape=(3,), unit="m/s^2")
    q = Output(initial=[1.0, 0.0, 0.0, 0.0])
    roll, pitch, yaw = Output(unit="rad"), Output(unit="rad"), Output(unit="rad")
    kp: Param = Param(1.0, unit="1/s")
    ki: Param = Param(0.0, unit="1/s^2")
    attitude, bias = State([1.0, 0.0, 0.0, 0.0]), State([0.0, 0.0, 0.0], unit="rad/s")

    @tick
    def step(self, gyro, accel, attitude, bias, kp, ki, dt):
        kp, ki, dt = kp.unsqueeze(1), ki.unsqueeze(1), dt.unsqueeze(1).to(gyro.dtype)
        up = torch.zeros_like(accel) + torch.tensor([0.0, 0.0, 1.0], dtype=accel.dtype, device=accel.device)
        measured = accel / torch.sqrt(dot(accel, accel)).clamp(min=1e-12)
        error = cross(measured, rotate(conjugate(attitude), up))
        q = turned(attitude, (gyro - bias + kp * error) * dt)
        w, x, y, z = q.unbind(1)
        roll = direction(1 - 2 * (x * x + y * y), 2 * (w * x + y * z))
        pitch = torch.asin((2 * (w * y - z * x)).clamp(-1.0, 1.0))
        yaw = direction(1 - 2 * (y * y + z * z), 2 * (w * z + x * y))
        return dict(q=q, roll=roll, pitch=pitch, yaw=yaw, attitude=q, bias=bias - ki * error * dt)


def turned(q, angle):
    """q turned by a rotation vector of the body (lanes, 3), of unit length."""
    half = 0.5 * torch.sqrt(dot(angle, angle) + 1e-30)
    found = product(q, torch.cat([torch.cos(half), 0.5 * angle * torch.sin(half) / half], dim=1))
    return found / torch.sqrt(dot(found[:, 1:], found[:, 1:]) + found[:, :1] ** 2)
