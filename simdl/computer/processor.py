"""Processors: cores that jobs share, with a clock of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from simdl.clock import Duration, nanoseconds
from simdl.computer.energy import Battery, Frequency
from simdl.computer.policy import FixedPriority, Policy
from simdl.errors import ModelError, SimdlError


@dataclass(frozen=True)
class Processor:
    """One or more equal cores under one policy.

    context_switch: used by a core whenever it begins a job other than the one it last ran, a resumed one included.
    drift, offset: of its clock; local time is offset + (1 + drift) t. Tasks are released at local times; deadlines and
    `Sleep` are measured by it too, computations take true time.
    frequencies: the levels of all its cores; it begins with the first, and a body changes it by Scale. battery: what it
    runs on, other processors with it.

    >>> clock = Processor("cpu", drift=50e-6, offset="1 ms")
    >>> clock.local(1_000_000_000), clock.true(1_001_050_000)
    (1001050000, 1000000000)
    """

    name: str
    cores: int = 1
    policy: Policy = field(default_factory=FixedPriority)
    context_switch: Duration = 0
    drift: float | Fraction = 0
    offset: Duration = 0
    frequencies: Sequence[Frequency] = ()
    battery: Battery | None = None

    @property
    def speed(self) -> Fraction:
        """Local seconds in a second, exactly as written: 50e-6 is 1/20000."""
        return 1 + (self.drift if isinstance(self.drift, Fraction) else Fraction(str(self.drift)))

    def local(self, ns: int) -> int:
        """What its clock shows, whole ns, at a time."""
        speed = self.speed
        return nanoseconds(self.offset) + ns * speed.numerator // speed.denominator

    def true(self, ns: int) -> int:
        """The first time at which its clock shows at least `ns`."""
        speed = self.speed
        return -((nanoseconds(self.offset) - ns) * speed.denominator // speed.numerator)

    def later(self, ns: int, span: int) -> int:
        """The time at which its clock has gone on by `span` ns since `ns`."""
        return self.true(self.local(ns) + span) if self.speed != 1 else ns + span

    @property
    def skewed(self) -> bool:
        """Whether its clock is not the true time."""
        return self.speed != 1 or nanoseconds(self.offset) != 0

    def faults(self) -> list[SimdlError]:
        found: list[SimdlError] = []
        if not isinstance(self.name, str) or not self.name:
            found.append(ModelError("processor", f"name={self.name!r}", "a name"))
        if not isinstance(self.cores, int) or isinstance(self.cores, bool) or self.cores < 1:
            return [*found, ModelError(f"{self.name}: cores", f"{self.cores!r}", "a whole number, at least 1")]
        odd = [one for one in self.frequencies if not isinstance(one, Frequency)]
        if odd:
            return [*found, ModelError(f"{self.name}: frequencies", f"{odd[0]!r}", "levels: [Frequency(0.5)]")]
        if not isinstance(self.policy, Policy):
            return [*found, ModelError(self.name, f"policy={self.policy!r}", "a policy such as FixedPriority()")]
        try:
            if nanoseconds(self.context_switch, f"{self.name}: context_switch") < 0:
                found.append(ModelError(self.name, f"context_switch={self.context_switch!r}", "at least 0"))
            nanoseconds(self.offset, f"{self.name}: offset")
            if not 0 < self.speed < 2:
                found.append(ModelError(self.name, f"drift={self.drift!r}", "between -1 and 1: 50e-6 is 50 ppm fast"))
            found.extend(self.policy.faults(self.name, self.cores))
            found.extend(fault for one in self.frequencies for fault in one.faults(self.name))
            if len({one.factor for one in self.frequencies}) < len(self.frequencies):
                found.append(ModelError(f"{self.name}: frequencies", "two with one factor", "a factor for each"))
            if self.battery is not None and not self.frequencies:
                found.append(ModelError(f"{self.name}: battery", "nothing uses it", "powers", "frequencies=[...]"))
        except SimdlError as fault:
            found.append(fault)
        except ValueError:
            found.append(ModelError(self.name, f"drift={self.drift!r}", "a finite number"))
        return found
