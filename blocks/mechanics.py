"""Masses that move along a line, or nearly so."""

import torch

from simdl import Block, Input, Param, State, crossing, derivative, initial, output


class MassSpringDamper(Block):
    """m x'' = force - damping x' - stiffness x.

    Parameters: the mass-spring-damper of the Control Tutorials for MATLAB and Simulink (University of Michigan),
    1 kg, 0.2 N s/m, 1 N/m: a period of 6.3 s and a damping ratio of 0.1.

    >>> from simdl import RK4, simulate
    >>> run = simulate(MassSpringDamper(stiffness=2.0, damping=1.0), 50, inputs={"force": 1.0}, solver=RK4(0.05))
    >>> round(float(run["x"].at(50)), 6)
    0.5
    """

    force = Input(unit="N")
    mass: Param = Param(1.0, unit="kg", low=1e-12)
    damping: Param = Param(0.2, unit="N s/m")
    stiffness: Param = Param(1.0, unit="N/m")
    x, v = State(0.0, unit="m"), State(0.0, unit="m/s")

    @derivative(x, v)
    def motion(self, x, v, force, mass, damping, stiffness):
        return v, (force - damping * v - stiffness * x) / mass

    @output(unit="J")
    def energy(self, x, v, mass, stiffness):
        return (mass * v**2 + stiffness * x**2) / 2


class TORA(Block):
    """A translational oscillator with a rotating actuator: x'' = -x + coupling sin(theta), theta'' = u.

    The cascade form of a cart on a spring that carries an eccentric rotor, without units: Jankovic, Fontaine &
    Kokotovic, IEEE Trans. Control Systems Technology 4 (1996) 292, with a coupling of 0.1.

    >>> from simdl import RK4, simulate
    >>> run = simulate(TORA(), 1, inputs={"u": 0.0}, set={"x": 1.0}, solver=RK4(max_step=0.01))
    >>> round(float(run["x"].at(1)), 6)  # theta = 0: cos(1), a plain oscillator
    0.540302
    """

    u = Input()
    coupling: Param = Param(0.1)
    x, v, theta, omega = State(0.0), State(0.0), State(0.0), State(0.0)

    @derivative(x, v, theta, omega)
    def motion(self, x, v, theta, omega, u, coupling):
        return v, -x + coupling * torch.sin(theta), omega, u


class MagneticLevitation(Block):
    """A ball below an electromagnet; h is the gap, downwards: m h'' = m g - k i^2 / h, L i' = voltage - R i.

    It hangs where i^2 = m g h / k, unstably. Equations (a force that falls with 1 / h) and parameters: the magnetic
    ball of the state-space pages of the Control Tutorials for MATLAB and Simulink (University of Michigan). A ball
    that reaches the magnet has left the model.

    >>> from simdl import RK4, simulate
    >>> run = simulate(MagneticLevitation(), 0.1, inputs={"voltage": 7.0}, solver=RK4(max_step=0.001))
    >>> round(float(run["h"].at(0.1)), 9)
    0.01
    """

    voltage = Input(unit="V")
    mass: Param = Param(0.05, unit="kg", low=1e-12)
    k: Param = Param(1e-4, unit="N m/A^2")
    inductance: Param = Param(0.01, unit="H", low=1e-12)
    resistance: Param = Param(1.0, unit="ohm")
    gravity: Param = Param(9.8, unit="m/s^2")
    h, v, i = State(0.01, unit="m"), State(0.0, unit="m/s"), State(7.0, unit="A")

    @derivative(h, v, i)
    def motion(self, h, v, i, voltage, mass, k, inductance, resistance, gravity):
        return v, gravity - k * i**2 / (mass * h), (voltage - resistance * i) / inductance


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
