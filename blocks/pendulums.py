"""Pendulums: one arm, two arms, and one on a cart."""

import torch

from simdl import Block, Input, Param, State, derivative, output


class Pendulum(Block):
    """A damped pendulum driven by a torque at its pivot; theta = 0 hangs down (stands up, with gravity < 0).

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


class DoublePendulum(Block):
    """Two point masses on massless rods, a motor at each joint; both angles from the vertical, theta = 0 stands up.

    With d = theta1 - theta2 and M = m1 + m2:

    M l1^2 theta1'' + m2 l1 l2 (cos(d) theta2'' + sin(d) theta2'^2) - M g l1 sin(theta1) = torque1 - damping theta1'
    m2 l2^2 theta2'' + m2 l1 l2 (cos(d) theta1'' - sin(d) theta1'^2) - m2 g l2 sin(theta2) = torque2 - damping theta2'

    With gravity < 0 it hangs at zero. The parameters are those of the benchmark of the ARCH-COMP competition (category
    AINNCS): m = l = 0.5, damping 0, g = 1, without units there.

    >>> from simdl import RK4, simulate
    >>> run = simulate(DoublePendulum(), 2, set={"theta1": 0.5}, solver=RK4(max_step=0.01))
    >>> energy = run["energy"].values[0]
    >>> bool((energy - energy[0]).abs().max() < 1e-7)
    True
    """

    torque1, torque2 = Input(unit="N m", default=0.0), Input(unit="N m", default=0.0)
    m1: Param = Param(0.5, unit="kg", low=1e-12)
    m2: Param = Param(0.5, unit="kg", low=1e-12)
    l1: Param = Param(0.5, unit="m", low=1e-12)
    l2: Param = Param(0.5, unit="m", low=1e-12)
    damping: Param = Param(0.0, unit="N m s/rad")
    gravity: Param = Param(1.0, unit="m/s^2")
    theta1, theta2 = State(0.0, unit="rad"), State(0.0, unit="rad")
    omega1, omega2 = State(0.0, unit="rad/s"), State(0.0, unit="rad/s")

    @derivative(theta1, theta2, omega1, omega2)
    def motion(self, theta1, theta2, omega1, omega2, torque1, torque2, m1, m2, l1, l2, damping, gravity):
        sin, cos, both = torch.sin(theta1 - theta2), torch.cos(theta1 - theta2), m1 + m2
        right1 = torque1 - damping * omega1 + both * gravity * l1 * torch.sin(theta1) - m2 * l1 * l2 * sin * omega2**2
        right2 = torque2 - damping * omega2 + m2 * gravity * l2 * torch.sin(theta2) + m2 * l1 * l2 * sin * omega1**2
        a, b, c = both * l1**2, m2 * l1 * l2 * cos, m2 * l2**2  # the mass matrix ((a, b), (b, c))
        inverse = 1.0 / (a * c - b**2)
        return omega1, omega2, (c * right1 - b * right2) * inverse, (a * right2 - b * right1) * inverse

    @output(unit="J")
    def energy(self, theta1, theta2, omega1, omega2, m1, m2, l1, l2, gravity):
        moving = (m1 + m2) * (l1 * omega1) ** 2 / 2 + m2 * (l2 * omega2) ** 2 / 2
        moving = moving + m2 * l1 * l2 * torch.cos(theta1 - theta2) * omega1 * omega2
        return moving + gravity * ((m1 + m2) * l1 * torch.cos(theta1) + m2 * l2 * torch.cos(theta2))
