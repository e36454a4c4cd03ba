"""What a bus does to messages that it has carried: loss, bursts of loss, delay that reorders, copies."""

from __future__ import annotations

from dataclasses import dataclass

from simdl.clock import Duration, nanoseconds
from simdl.errors import ModelError


def _chance(where: str, **chances: float) -> None:
    for name, value in chances.items():
        if not 0 <= value <= 1:
            raise ModelError(where, f"{name}={value!r}", "a probability, 0 to 1")


@dataclass(frozen=True)
class Loss:
    """Each message is lost with this probability, independently."""

    probability: float

    def __post_init__(self) -> None:
        _chance("Loss", probability=self.probability)


@dataclass(frozen=True)
class BurstLoss:
    """Gilbert and Elliott's channel: a good and a bad state, changed before each message with these probabilities.

    Share of the bad state: to_bad / (to_bad + to_good); mean stay in it: 1 / to_good messages. Starts in that share.
    Gilbert (1960), Bell Syst. Tech. J. 39; Elliott (1963), ibid. 42.
    """

    to_bad: float
    to_good: float
    good: float = 0.0  # probability of loss in the good state
    bad: float = 1.0

    def __post_init__(self) -> None:
        _chance("BurstLoss", to_bad=self.to_bad, to_good=self.to_good, good=self.good, bad=self.bad)
        if self.to_bad + self.to_good == 0:
            raise ModelError("BurstLoss", "to_bad and to_good are 0", "one above 0")

    @property
    def rate(self) -> float:
        """The probability that a message is lost."""
        share = self.to_bad / (self.to_bad + self.to_good)
        return share * self.bad + (1 - share) * self.good


@dataclass(frozen=True)
class Reorder:
    """A message is late by `delay` with this probability, so that later ones can overtake it."""

    probability: float
    delay: Duration

    def __post_init__(self) -> None:
        _chance("Reorder", probability=self.probability)
        if nanoseconds(self.delay, "Reorder: delay") < 0:
            raise ModelError("Reorder", f"delay={self.delay!r}", "at least 0")


@dataclass(frozen=True)
class Duplicate:
    """A message arrives a second time `after` later with this probability."""

    probability: float
    after: Duration

    def __post_init__(self) -> None:
        _chance("Duplicate", probability=self.probability)
        if nanoseconds(self.after, "Duplicate: after") < 0:
            raise ModelError("Duplicate", f"after={self.after!r}", "at least 0")


Fault = Loss | BurstLoss | Reorder | Duplicate


class Channel:
    """Faults in turn, applied to messages in the order of their transfer; two draws each."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self.faults = faults
        self.bad: dict[int, bool] = {}

    def delays(self, draws: list[float]) -> list[int]:
        """Delays, ns, of the copies of a message that arrive: none when it is lost. draws: 2 for each fault."""
        found = [0]
        for place, fault in enumerate(self.faults):
            first, second = draws[2 * place : 2 * place + 2]
            if isinstance(fault, Loss) and first < fault.probability:
                found = []
            if isinstance(fault, BurstLoss):
                if place not in self.bad:
                    bad = first < fault.to_bad / (fault.to_bad + fault.to_good)
                else:
                    bad = first >= fault.to_good if self.bad[place] else first < fault.to_bad
                self.bad[place] = bad
                if second < (fault.bad if bad else fault.good):
                    found = []
            if isinstance(fault, Reorder) and first < fault.probability:
                found = [delay + nanoseconds(fault.delay) for delay in found]
            if isinstance(fault, Duplicate) and first < fault.probability:
                found += [delay + nanoseconds(fault.after) for delay in found]
        return found
