"""The estimators that need no training: counting charge, and three extended Kalman filters."""

import torch

from simdl import Block, Diagram, Input, Output, State, tick
from simdl.scenarios.battery_soc.controller import CAPACITY
from simdl.scenarios.battery_soc.kalman import NEW, Kalman

LOOP = 0.010  # V, hysteresis of a typical cell
FRESH = 5.05  # A h, what a new cell holds between the voltages that define empty and full

# Found by a random search of three rounds on 500 training lanes, to the least RMSE after five minutes.
NEW_CELL = dict(
    guess_deviation=0.0767,
    relaxation_deviation=0.00462,
    soc_walk=1.79e-5,
    voltage_walk=0.00107,
    volt_noise=0.0385,
    current_noise=0.0716,
)
JOINT = dict(
    guess_deviation=0.069,
    relaxation_deviation=0.00355,
    soc_walk=1.25e-4,
    voltage_walk=1.21e-4,
    volt_noise=0.0407,
    current_noise=0.00741,
    scale_deviation=0.108,
    scale_walk=4.92e-4,
)
TRUE = dict(
    guess_deviation=0.311,
    relaxation_deviation=0.0129,
    soc_walk=2.91e-6,
    voltage_walk=5.07e-5,
    volt_noise=0.0374,
    current_noise=0.01,
)


class CoulombCounting(Block):
    """soc = guess - sum I dt / (3600 C): as good as its start and its current sensor, and blind to both."""

    guess, charge = Input(), Input(unit="A s")
    used = State(0.0, unit="A s")
    soc = Output()

    @tick
    def count(self, guess, charge, used):
        used = used + charge
        return dict(used=used, soc=guess - used / (3600 * CAPACITY))


class Filter(Diagram):
    """A Kalman filter at 1 Hz that believes in a new cell."""

    voltage, current, temperature = Input(unit="V"), Input(unit="A"), Input(unit="degC")
    guess, soc = Input(), Output()

    def __init__(self, **tuning) -> None:
        self.kalman = Kalman(period="1 s", **tuning)
        self.kalman.voltage, self.kalman.current = self.voltage, self.current
        self.kalman.temperature, self.kalman.guess = self.temperature, self.guess
        self.kalman.capacity, self.kalman.loop = FRESH, LOOP
        self.kalman.window = torch.tensor(NEW, dtype=torch.float64)
        self.kalman.scales = torch.ones(3, dtype=torch.float64)
        self.soc = self.kalman.soc


class TrueFilter(Diagram):
    """A Kalman filter that knows this very cell: the bound for the others."""

    voltage, current, temperature = Input(unit="V"), Input(unit="A"), Input(unit="degC")
    capacity, window, scales = Input(unit="A h"), Input(shape=(4,)), Input(shape=(3,))
    guess, loop, soc = Input(), Input(unit="V"), Output()

    def __init__(self, **tuning) -> None:
        self.kalman = Kalman(period="1 s", **tuning)
        for name in ("voltage", "current", "temperature", "guess", "capacity", "window", "scales", "loop"):
            setattr(self.kalman, name, getattr(self, name))
        self.soc = self.kalman.soc


def coulomb() -> CoulombCounting:
    return CoulombCounting(period="10 s")


def new_cell() -> Filter:
    return Filter(**NEW_CELL)


def joint() -> Filter:
    return Filter(**JOINT)


def true() -> TrueFilter:
    return TrueFilter(**TRUE)
