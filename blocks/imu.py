"""Inertial sensors: gyroscopes, accelerometers, and both in one housing."""

import math

import torch

from simdl import Block, Diagram, Input, Noise, Output, Param, State, output, tick
from simdl.blocks.attitude import conjugate, rotate
from simdl.blocks.noise import ALLAN, forgetting
from simdl.blocks.nonlinear import quantised
from simdl.blocks.vector import apply
from simdl.clock import Duration

DEGREE, STANDARD_GRAVITY = math.pi / 180, 9.80665


class InertialSensor(Block):
    """Three axes in one frame: y = limit(quantise(matrix u + bias + b + d + white w / sqrt T)), sampled every T.

    `matrix` holds scale factors (1 + error) on its diagonal and misalignment (small angles) beside it. What moves is
    given as data sheets do, in points of the Allan deviation at s seconds: white / sqrt s; the bias b, a Gauss-Markov
    process that forgets in `tau` and peaks at 0.664 instability (s = 1.89 tau); the walk d, walk sqrt(s / 3). So at s
    the variance is white^2 / s + walk^2 s / 3 + Q (1 - tau / (2 s) (3 - 4 exp(-s / tau) + exp(-2 s / tau))) / s with
    Q = tau (0.664 instability / 0.437)^2. IEEE Std 952-1997, annex C. b is as likely at the start as later, d is 0.

    >>> from simdl import simulate
    >>> gyro = InertialSensor(matrix=[[1.01, 0.0, 0.0], [0.002, 1.0, 0.0], [0.0, 0.0, 1.0]], period="10 ms")
    >>> [round(x, 9) for x in simulate(gyro, 0, inputs={"u": [1.0, 0.5, 0.0]})["y"].at(0)[0].tolist()]
    [1.01, 0.502, 0.0]
    """

    u, y = Input(shape=(3,)), Output()
    matrix: Param = Param([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    bias: Param = Param([0.0, 0.0, 0.0])
    white: Param = Param(0.0, low=0.0)
    instability: Param = Param(0.0, low=0.0)
    tau: Param = Param(100.0, unit="s", low=1e-9)
    walk: Param = Param(0.0, low=0.0)
    step: Param = Param(0.0, low=0.0)
    limit: Param = Param(math.inf, low=0.0)
    b, d, started = State([0.0, 0.0, 0.0]), State([0.0, 0.0, 0.0]), State(False, dtype="bool")
    w = Noise(shape=(3, 3))

    @tick
    def measure(self, u, b, d, started, w, dt, matrix, bias, white, instability, tau, walk, step, limit):
        each = [one.unsqueeze(1) for one in (white, instability, tau, walk, step, limit, dt)]  # for three axes
        white, instability, tau, walk, step, limit, dt = each
        b = forgetting(b, w[:, 0], ALLAN * instability, tau, dt, started.unsqueeze(1))
        raw = apply(matrix, u) + bias + b + d + white / dt**0.5 * w[:, 1]
        y = torch.minimum(torch.maximum(quantised(raw, step), -limit), limit)
        return dict(y=y, b=b, d=d + walk * dt**0.5 * w[:, 2], started=torch.ones_like(started))


class Gyroscope(InertialSensor):
    """An `InertialSensor` of turn rates in rad/s.

    Defaults: Xsens MTi-1, 0.007 deg/s/sqrt Hz, 10 deg/h, limit 2000 deg/s; tau is chosen, 100 s, and walk 0.

    >>> from simdl import simulate
    >>> y = simulate(Gyroscope(period="10 ms"), 5, inputs={"u": [0.0, 0.0, 0.0]}, seed=1)["y"].values
    >>> 0.0010 < float(y.std()) < 0.0014  # 0.007 deg/s sqrt(100 Hz)
    True
    """

    u, y = Input(shape=(3,), unit="rad/s"), Output(unit="rad/s")
    white: Param = Param(0.007 * DEGREE, unit="rad/s/sqrt(Hz)", low=0.0)
    instability: Param = Param(10.0 * DEGREE / 3600, unit="rad/s", low=0.0)
    limit: Param = Param(2000.0 * DEGREE, unit="rad/s", low=0.0)
    bias: Param = Param([0.0, 0.0, 0.0], unit="rad/s")
    walk: Param = Param(0.0, unit="rad/s/sqrt(s)", low=0.0)
    step: Param = Param(0.0, unit="rad/s", low=0.0)


class Accelerometer(InertialSensor):
    """An `InertialSensor` of specific force in m/s^2: at rest it shows gravity, upwards; falling, nothing.

    Defaults: Xsens MTi-1, 120 ug/sqrt Hz, 0.03 mg, limit 16 g; tau is chosen, 100 s, and walk 0.

    >>> from simdl import simulate
    >>> y = simulate(Accelerometer(period="10 ms"), 5, inputs={"u": [0.0, 0.0, 9.8]}, seed=1)["y"].values
    >>> 0.010 < float(y[..., 2].std()) < 0.014  # 120 ug sqrt(100 Hz)
    True
    """

    u, y = Input(shape=(3,), unit="m/s^2"), Output(unit="m/s^2")
    white: Param = Param(120e-6 * STANDARD_GRAVITY, unit="m/s^2/sqrt(Hz)", low=0.0)
    instability: Param = Param(0.03e-3 * STANDARD_GRAVITY, unit="m/s^2", low=0.0)
    limit: Param = Param(16.0 * STANDARD_GRAVITY, unit="m/s^2", low=0.0)
    bias: Param = Param([0.0, 0.0, 0.0], unit="m/s^2")
    walk: Param = Param(0.0, unit="m/s^2/sqrt(s)", low=0.0)
    step: Param = Param(0.0, unit="m/s^2", low=0.0)


class SpecificForce(Block):
    """What an ideal accelerometer feels: y = rotate(attitude*, acceleration + (0, 0, gravity)), in the body.

    `acceleration` is of the body in the world, z up; `attitude` a quaternion (w, x, y, z) from body to world.

    >>> from simdl import simulate
    >>> upside_down = {"acceleration": [0.0, 0.0, 0.0], "attitude": [0.0, 1.0, 0.0, 0.0]}
    >>> simulate(SpecificForce(), 0, inputs=upside_down)["y"].at(0)[0, 2].item()
    -9.81
    """

    acceleration, attitude = Input(shape=(3,), unit="m/s^2"), Input(shape=(4,))
    gravity: Param = Param(9.81, unit="m/s^2")

    @output(unit="m/s^2")
    def y(self, acceleration, attitude, gravity):
        zero = torch.zeros_like(gravity)
        return rotate(conjugate(attitude), acceleration + torch.stack([zero, zero, gravity], dim=1))


class IMU(Diagram):
    """An `Accelerometer` and a `Gyroscope` in one housing, sampled together; errors are set on the two.

    >>> from simdl import simulate
    >>> imu = IMU(period="10 ms")
    >>> at_rest = {"acceleration": [0.0] * 3, "attitude": [1.0, 0.0, 0.0, 0.0], "rates": [0.0, 0.0, 0.5]}
    >>> run = simulate(imu, 0, inputs=at_rest, set={"gyroscope.white": 0.0, "gyroscope.instability": 0.0})
    >>> run["turn"].at(0)[0].tolist(), round(float(run["force"].at(0)[0, 2]), 1)
    ([0.0, 0.0, 0.5], 9.8)
    """

    acceleration, attitude = Input(shape=(3,), unit="m/s^2"), Input(shape=(4,))
    rates = Input(shape=(3,), unit="rad/s")
    force, turn = Output(unit="m/s^2"), Output(unit="rad/s")

    def __init__(self, period: Duration = "10 ms", latency: Duration | None = None) -> None:
        self.ideal = SpecificForce()
        self.accelerometer = Accelerometer(period=period, latency=latency)
        self.gyroscope = Gyroscope(period=period, latency=latency)
        self.ideal.acceleration, self.ideal.attitude = self.acceleration, self.attitude
        self.accelerometer.u, self.gyroscope.u = self.ideal.y, self.rates
        self.force, self.turn = self.accelerometer.y, self.gyroscope.y
