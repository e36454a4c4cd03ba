"""Small plants to try things on."""

import torch

from simdl import Block, Input, Param, State, crossing, derivative, initial, output


class Pendulum(Block):
    """A damped pendulum driven by a torque at its pivot; theta = 0 hangs down.

    m l^2 theta'' = torque - damping theta' - m g l sin(theta).

    >>> from simdl import RK4, simulate
    >>> swing = Pendulum(damping=0.0)
    >>> run = simulate(swing, 1, inputs={"torque": 0.0}, set={"theta": 0.5}, solver=RK4(max_step=0.01))
    >>> energy = run["energy"].values[0]
    >>> bool((energy - energy[0]).abs().max() < 1e-7)
    True
    """

    torque = Input(unit="N m")
    mass: Param = Param(1.0, unit="kg", low=1e-12)
    length: Param = Param(1.0, unit="m", low=1e-12)
    damping: Param = Param(0.1, unit="N m s/rad")
    gravity: Param = Param(9.81, unit="m/s^2")
    theta, omega = State(0.0, unit="rad"), State(0.0, unit="rad/s")

    @derivative(theta, omega)
    def motion(self, theta, omega, torque, mass, length, damping, gravity):
        return omega, (torque - damping * omega) / (mass * length**2) - gravity / length * torch.sin(theta)

    @output(unit="J")
    def energy(self, theta, omega, mass, length, gravity):
        return mass * length * (length * omega**2 / 2 + gravity * (1 - torch.cos(theta)))


class CartPole(Block):
    """A pole hinged on a cart without friction, pushed by a force; theta = 0 stands up.

    A uniform pole of half length l: l (4/3 - m cos^2 / M) theta'' = g sin - cos (F + m l theta'^2 sin) / M, with M the
    mass of both. Barto, Sutton & Anderson (1983), without friction; Florian (2007).

    >>> from simdl import RK4, simulate
    >>> run = simulate(CartPole(), 1, inputs={"force": 0.0}, set={"theta": 0.1}, solver=RK4(max_step=0.01))
    >>> float(run["theta"].at(1)) > 1.0  # it falls
    True
    """

    force = Input(unit="N")
    cart: Param = Param(1.0, unit="kg", low=1e-12)
    pole: Param = Param(0.1, unit="kg", low=0.0)
    half: Param = Param(0.5, unit="m", low=1e-12)
    gravity: Param = Param(9.81, unit="m/s^2")
    x, v = State(0.0, unit="m"), State(0.0, unit="m/s")
    theta, omega = State(0.0, unit="rad"), State(0.0, unit="rad/s")

    @derivative(x, v, theta, omega)
    def motion(self, v, theta, omega, force, cart, pole, half, gravity):
        sin, cos, total = torch.sin(theta), torch.cos(theta), cart + pole
        push = (force + pole * half * omega**2 * sin) / total
        turn = (gravity * sin - cos * push) / (half * (4.0 / 3.0 - pole * cos**2 / total))
        return v, push - pole * half * turn * cos / total, omega, turn


class BouncingBall(Block):
    """A ball falling on a floor: h'' = -g; at h = 0 the speed becomes -restitution v.

    The first impact is at t1 = sqrt(2 height / g); the bounces gather at t1 (1 + e) / (1 - e), from where on it rests.

    >>> from simdl import RK4, simulate
    >>> run = simulate(BouncingBall(), 3, every=1, solver=RK4(max_step=0.1))
    >>> [round(t, 6) for lane, t, path in run.events][:3]
    [0.451524, 1.083657, 1.52615]
    >>> float(run["resting"].at(3))
    1.0
    """

    restitution: Param = Param(0.7, low=0.01, high=1.0)
    gravity: Param = Param(9.81, unit="m/s^2", low=1e-12)
    height: Param = Param(1.0, unit="m", low=0.0)
    h, v = State(1.0, unit="m"), State(0.0, unit="m/s")
    resting = State(0.0)

    @initial
    def drop(self, height):
        return dict(h=height)

    @derivative(h, v)
    def fall(self, v, resting, gravity):
        return torch.where(resting > 0, 0.0, v), torch.where(resting > 0, 0.0, -gravity)

    @crossing(rest=resting)
    def floor(self, h):
        return h

    @floor.reset
    def bounce(self, v, restitution):
        return dict(v=-restitution * v)
