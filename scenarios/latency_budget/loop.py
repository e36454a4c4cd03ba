"""The closed loop: a pole balanced on a cart by a network that reads noisy sensors."""

import torch

from simdl import Block, Diagram, Input, Noise, Output, Param, Slot, tick
from simdl.blocks import CartPole
from simdl.scenarios.latency_budget.cost import Cost

PERIOD = "20 ms"
FORCE = 12.0  # N, the most that the motor gives

CONTROLLER = Slot(
    "controller",
    inputs={
        "x": Input(unit="m"),
        "v": Input(unit="m/s"),
        "theta": Input(unit="rad"),
        "omega": Input(unit="rad/s"),
    },
    outputs={"force": Output(unit="N")},
    period=PERIOD,
    doc="position and speed of the cart, angle and rate of the pole, as measured; the force on the cart",
)


class Sensors(Block):
    """Position, speed, angle and rate, each with white noise, at every tick."""

    x, v = Input(unit="m"), Input(unit="m/s")
    theta, omega = Input(unit="rad"), Input(unit="rad/s")
    seen_x, seen_v = Output(unit="m"), Output(unit="m/s")
    seen_theta, seen_omega = Output(unit="rad"), Output(unit="rad/s")
    noise: Param = Param([2e-3, 1e-2, 2e-3, 2e-2], doc="of each, in its unit")
    w = Noise(shape=(4,))

    @tick
    def measure(self, x, v, theta, omega, w, noise):
        error = noise * w
        return dict(
            seen_x=x + error[:, 0],
            seen_v=v + error[:, 1],
            seen_theta=theta + error[:, 2],
            seen_omega=omega + error[:, 3],
        )


class Motor(Block):
    """The force that was asked for, within what the motor gives."""

    asked = Input(unit="N")
    force = Output(unit="N")
    most: Param = Param(FORCE, unit="N", low=0.0)

    @tick
    def limit(self, asked, most):
        return dict(force=torch.minimum(torch.maximum(asked, -most), most))


class Balance(Diagram):
    """Sensors every 5 ms, a network every 20 ms, a motor every millisecond, and the pole.

    Nothing here says how long the network takes, nor what it shares its computer with: see `machine`. cost: the
    integral of what `Cost` weighs.
    """

    angle, position = Output(unit="rad"), Output(unit="m")
    force, cost = Output(unit="N"), Output(unit="s")

    def __init__(self, controller) -> None:
        self.plant = CartPole()
        self.sensors = Sensors(period="5 ms")
        self.controller = CONTROLLER.place(controller)
        self.motor = Motor(period="1 ms")
        self.sensors.x, self.sensors.v = self.plant.x, self.plant.v
        self.sensors.theta, self.sensors.omega = self.plant.theta, self.plant.omega
        self.controller.x, self.controller.v = self.sensors.seen_x, self.sensors.seen_v
        self.controller.theta, self.controller.omega = self.sensors.seen_theta, self.sensors.seen_omega
        self.motor.asked = self.controller.force
        self.plant.force = self.motor.force
        self.price = Cost()
        self.price.x, self.price.v = self.plant.x, self.plant.v
        self.price.theta, self.price.omega = self.plant.theta, self.plant.omega
        self.price.force = self.motor.force
        self.angle, self.position, self.force = self.plant.theta, self.plant.x, self.motor.force
        self.cost = self.price.total
