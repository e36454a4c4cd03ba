"""The charge sensor under watch: a monitor around the network, and sensor faults that it was never trained on."""

from pathlib import Path

import torch

from simdl import Diagram, Input, Monitor, Network, Noise, Output, Param, State, tick
from simdl.networks.ood import InputBox, load_scorer
from simdl.scenarios.battery_soc import estimators
from simdl.scenarios.battery_soc.network import INPUTS
from simdl.scenarios.battery_soc.sensors import Channel
from simdl.scenarios.battery_soc.signature import Signature
from simdl.scenarios.battery_soc.system import BatteryLoop

CARDS = Path(__file__).parent / "cards"
FALLBACKS = ("count", "latched", "filter")
TRIP, RELEASE, LOOKBACK = 2, 120.0, 6  # ticks, s, ticks


class FaultyChannel(Channel):
    """A channel that from `begin` on for `duration` reads quantise(gain_fault x + jump + ramp (t - begin) + burst w), x
    being what a sound one would read, or, with `freeze`, what it read last.
    """

    begin: Param = Param(1e9, unit="s")
    duration: Param = Param(1e9, unit="s")
    gain_fault: Param = Param(1.0)
    jump: Param = Param(0.0)
    ramp: Param = Param(0.0, doc="per hour")
    burst: Param = Param(0.0)
    freeze: Param = Param(0.0)
    shown = State(0.0)
    extra = Noise()

    @tick
    def measure(
        self, value, drift, w, extra, shown, t, dt, gain, bias, wander, noise, step, begin, duration, gain_fault, jump,
        ramp, burst, freeze,
    ):  # fmt: skip
        sound = torch.round((gain * value + bias + drift + noise * w[:, 0]) / step) * step
        failed = gain_fault * sound + jump + ramp * (t - begin) / 3600 + burst * extra
        failed = torch.where(freeze > 0, shown, torch.round(failed / step) * step)
        reading = torch.where((t >= begin) & (t < begin + duration), failed, sound)
        return dict(reading=reading, shown=reading, drift=drift + wander * (dt / 3600) ** 0.5 * w[:, 1])


class FaultyLoop(BatteryLoop):
    """The loop of the scenario with sensors that can fail in every way."""

    channel = FaultyChannel

    def __init__(self, estimator) -> None:
        super().__init__(estimator)


class Watched(Diagram):
    """The recurrent network with a filter beside it, the signature of the measurements, and a monitor.

    scorer: of rows of Signature, with a threshold; box: an InputBox of them. fallback: "count", the charge counted on
    from what the network said a minute before the trip; "filter", the Kalman filter that estimates resistance too.
    """

    voltage, current, temperature = Input(unit="V"), Input(unit="A"), Input(unit="degC")
    mean_voltage, mean_current, mean_temperature = Input(unit="V"), Input(unit="A"), Input(unit="degC")
    spread, slope, charge = Input(unit="A"), Input(unit="ohm"), Input(unit="A s")
    guess = Input()
    soc = Output()

    def __init__(self, scorer, box=None, fallback="count") -> None:
        self.network = Network.from_card(CARDS / "recurrent")
        self.filter, self.counter = estimators.joint(), estimators.coulomb()
        self.signature = Signature(period="1 s")
        counts, latch = fallback != "filter", fallback == "latched"
        carry = dict(blend=float("inf"), blend_back=60.0, lookback=LOOKBACK, latch=latch) if counts else {}
        self.monitor = Monitor(scorer, box, period="10 s", trip=TRIP, release=RELEASE, low=-0.05, high=1.05, **carry)
        for name in INPUTS:
            setattr(self.network, name, getattr(self, name))
        for name in ("voltage", "current", "temperature"):
            setattr(self.filter, name, getattr(self, name))
            setattr(self.signature, name, getattr(self, name))
        self.filter.guess = self.counter.guess = self.guess
        self.counter.charge = self.charge
        self.signature.estimate, self.signature.other = self.network.soc, self.filter.soc
        self.monitor.inputs, self.monitor.result = [self.signature.row], self.network.soc
        self.monitor.fallback = self.counter.soc if counts else self.filter.soc
        self.soc = self.monitor.value


def watched(fallback: str = "count") -> Watched:
    """The watched network with the scorer and box that ship."""
    box = load_scorer(CARDS / "monitor", name="box")
    assert isinstance(box, InputBox)
    return Watched(load_scorer(CARDS / "monitor"), box, fallback)
