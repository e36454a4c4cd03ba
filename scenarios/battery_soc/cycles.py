"""Driving: stochastic micro-trips like UDDS, US06 and HWFET, and the vehicle that turns speed into cell power."""

import torch

from simdl import Block, Input, Noise, Output, Param, State, tick

# Columns: urban (UDDS), aggressive (US06), highway (HWFET). A trip is a chain of legs; each has a target speed and a
# duration; a leg is followed by a stop with some probability, otherwise by the next leg.
CRUISE = (10.0, 25.0, 22.5)  # m/s, mean target speed
SCATTER = (4.5, 9.5, 2.2)  # m/s, its standard deviation
LEG = (32.0, 40.0, 90.0)  # s, mean duration of a leg, exponential
STOP = (0.62, 0.28, 0.06)  # probability that a leg ends in a stop
IDLE = (17.0, 9.0, 6.0)  # s, mean duration of a stop, exponential
HASTE = (1.1, 2.4, 0.8)  # m/s2, acceleration towards the target
BRAKE = (1.3, 2.4, 1.0)  # m/s2, deceleration towards the target
WAVER = (0.6, 1.0, 0.5)  # m/s, slow wandering of speed about the target


class MicroTrips(Block):
    """A speed trace at 1 Hz, a Markov chain of legs and stops; `style` 0 urban, 1 aggressive, 2 highway.

    The speed follows target + wander with the acceleration of the style; wander is a Gauss-Markov process (12 s).
    """

    style: Param = Param(0.0)
    speed, target, left, wander = (
        State(0.0, unit="m/s"),
        State(0.0, unit="m/s"),
        State(0.0, unit="s"),
        State(0.0, unit="m/s"),
    )
    acceleration = Output(unit="m/s2")
    draw = Noise(shape=(4,))

    @tick
    def go(self, speed, target, left, wander, draw, style, dt):
        def of(row):
            return torch.where(style < 0.5, row[0], torch.where(style < 1.5, row[1], row[2])).to(speed.dtype)

        chance, length, level, push = (
            torch.special.ndtr(draw[:, 0]),
            torch.special.ndtr(draw[:, 1]),
            draw[:, 2],
            draw[:, 3],
        )
        over = left <= 0
        stop = over & (target > 0) & (chance < of(STOP))
        fresh = (of(CRUISE) + of(SCATTER) * level).clamp(3.0, 37.0)
        target = torch.where(over, torch.where(stop, 0.0, fresh), target)
        left = torch.where(over, -torch.log(length.clamp(min=1e-6)) * torch.where(stop, of(IDLE), of(LEG)), left)
        wander = 0.92 * wander + 0.39 * of(WAVER) * push
        moving = target > 0
        left = left - dt * (moving | (speed <= 0)).to(speed.dtype)  # a stop lasts from standstill on
        goal = (target + wander * moving).clamp(min=0.0)
        ahead = (1 - speed / 60.0) * of(HASTE)  # power-limited at high speed
        change = (goal - speed).clamp(-of(BRAKE) * dt, ahead * dt)
        return dict(speed=speed + change, acceleration=change / dt, target=target, left=left, wander=wander)


class Vehicle(Block):
    """Longitudinal model: the electrical power one cell must deliver (> 0) or may take back (< 0).

    P = v (m a + m g c_r + rho/2 c_d A v^2), through the drive's efficiency both ways, plus heating or cooling.
    """

    speed = Input(unit="m/s")
    acceleration = Input(unit="m/s2")
    ambient = Input(unit="degC")
    power = Output(unit="W")
    mass: Param = Param(1600.0, unit="kg")
    cells: Param = Param(2000.0)
    drag: Param = Param(0.65, unit="m2")
    rolling: Param = Param(0.010)
    efficiency: Param = Param(0.88)
    recovery: Param = Param(0.65)

    @tick
    def pull(self, speed, acceleration, ambient, mass, cells, drag, rolling, efficiency, recovery):
        force = mass * (1.05 * acceleration + 9.81 * rolling * (speed > 0.1)) + 0.6 * drag * speed**2
        wheel = force * speed
        blend = (speed / 5.0).clamp(max=1.0)  # recuperation fades out below 5 m/s
        drive = torch.where(wheel > 0, wheel / efficiency, wheel * recovery * blend)
        cabin = 300.0 + (60.0 * (ambient - 21.0).abs()).clamp(max=2500.0)
        return dict(power=(drive + cabin) / cells)
