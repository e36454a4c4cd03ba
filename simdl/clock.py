"""Exact time: int64 nanoseconds, converted once, never accumulated."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from simdl.errors import ClockError

Duration = str | int | float | Fraction | Decimal
"""A time as decimal text with a unit ("20 ms"), or a number of seconds."""

SECOND = 1_000_000_000
FOREVER = 2**62
LONGEST = 9_200_000_000 * SECOND

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": SECOND, "min": 60 * SECOND, "h": 3600 * SECOND}
_TEXT = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(ns|us|µs|ms|s|min|h)\s*")
_RATE = re.compile(r"\s*(\d+\.?\d*|\.\d+)(?:/(\d+))?\s*(Hz|kHz|MHz)?\s*")


def nanoseconds(time: Duration, where: str = "time") -> int:
    """The whole nanoseconds of a time.

    A float within 4 ulp of a whole nanosecond is that nanosecond. Raises ClockError for anything else.

    >>> nanoseconds("20 ms"), nanoseconds(0.1), nanoseconds("1.5 us")
    (20000000, 100000000, 1500)
    """
    whole = "a whole number of nanoseconds"
    if isinstance(time, bool) or not isinstance(time, str | int | float | Fraction | Decimal):
        raise ClockError(where, f"{time!r} is not a time", 'text such as "20 ms", or a number of seconds')
    if isinstance(time, str):
        match = _TEXT.fullmatch(time)
        if not match:
            raise ClockError(
                where, f"{time!r} is not a time", 'a decimal number and a unit, such as "20 ms"', names=_UNITS
            )
        exact = Fraction(Decimal(match[1])) * _UNITS[match[2]]
    elif isinstance(time, float):
        if not math.isfinite(time):
            raise ClockError(where, f"{time!r} s is not finite", whole)
        exact = Fraction(time) * SECOND
        if abs(exact - round(exact)) <= 4 * Fraction(math.ulp(time)) * SECOND:
            exact = Fraction(round(exact))
    else:
        exact = Fraction(time) * SECOND
    if exact.denominator != 1:
        raise ClockError(
            where, f"{time!r} is {float(exact):.6g} ns", whole, "for a frequency such as 30 Hz give rate=30"
        )
    if abs(exact) > LONGEST:
        raise ClockError(where, f"{time!r} is too long", "at most 9.2e9 s")
    return int(exact)


def seconds(ns: int) -> float:
    """The float64 nearest to a count of nanoseconds: equal to the decimal literal one would write."""
    return ns / SECOND


@dataclass(frozen=True, order=True)
class Clock:
    """Ticks k = 0, 1, … at offset + round(k * numerator / denominator) nanoseconds."""

    numerator: int
    denominator: int = 1
    offset: int = 0

    @property
    def rational(self) -> bool:
        return self.denominator != 1

    @property
    def period(self) -> float:
        """The nominal period in seconds."""
        return self.numerator / (self.denominator * SECOND)

    def at(self, k: int) -> int:
        """The time of tick k in ns."""
        return self.offset + (2 * k * self.numerator + self.denominator) // (2 * self.denominator)

    def index(self, ns: int) -> int | None:
        """The tick at exactly this time, or None."""
        k = self.first(ns)
        return k if self.at(k) == ns else None

    def first(self, ns: int) -> int:
        """The first tick at or after this time."""
        if ns <= self.offset:
            return 0
        k = max(0, (ns - self.offset) * self.denominator // self.numerator - 1)
        while self.at(k) < ns:
            k += 1
        return k

    def after(self, ns: int) -> int:
        """The time of the first tick strictly after this one."""
        return self.at(self.first(ns + 1))

    def coincides(self, other: Clock) -> bool:
        """Whether some tick of both falls on one instant; rational clocks count as always doing so."""
        if self.rational or other.rational:
            return True
        return (self.offset - other.offset) % math.gcd(self.numerator, other.numerator) == 0

    def __str__(self) -> str:
        text = f"{SECOND * self.denominator / self.numerator:g} Hz" if self.rational else period_text(self.numerator)
        return text + (f" + {period_text(self.offset)}" if self.offset else "")


def period_text(ns: int) -> str:
    """A time in its largest unit that gives a short number.

    >>> period_text(20_000_000)
    '20 ms'
    """
    for unit in ("s", "ms", "us"):
        if ns and ns % (_UNITS[unit] // 1000 if unit != "us" else 1) == 0 and abs(ns) >= _UNITS[unit]:
            return f"{ns / _UNITS[unit]:.12g} {unit}"
    return f"{ns} ns" if ns else "0 s"


def rate_text(clock: Clock) -> str:
    """A clock's period as one would write it.

    >>> rate_text(Clock(10**9)), rate_text(Clock(10**9, 30))
    ('1 s', '1/30 s (30 Hz)')
    """
    if not clock.rational:
        return period_text(clock.numerator)
    frequency = Fraction(SECOND * clock.denominator, clock.numerator)
    return f"1/{frequency} s ({frequency} Hz)" if frequency.denominator == 1 else f"{1 / float(frequency):.9g} s"


def clock(
    period: Duration | None = None, rate: Duration | None = None, offset: Duration | None = None, where: str = "clock"
) -> Clock | None:
    """The clock of a period or of a rate, or None when neither is given.

    Raises ClockError for both at once, for a period that is not positive and for an offset outside [0, period).
    """
    if period is not None and rate is not None:
        raise ClockError(where, f"both period={period!r} and rate={rate!r}", "one of them")
    if period is None and rate is None:
        if offset is not None:
            raise ClockError(where, f"offset={offset!r} without a period", "period= or rate= beside it")
        return None
    if period is not None:
        exact = Fraction(nanoseconds(period, f"{where}: period"))
    else:
        exact = SECOND / _hertz(rate, where)
    start = nanoseconds(offset, f"{where}: offset") if offset is not None else 0
    if exact < 1:
        raise ClockError(where, f"a period of {float(exact):g} ns", "at least 1 ns")
    if not 0 <= start < exact:
        raise ClockError(where, f"offset={offset!r}", f"at least 0 and below the period of {float(exact) / SECOND:g} s")
    return Clock(exact.numerator, exact.denominator, start)


def _hertz(rate: Duration | None, where: str) -> Fraction:
    if isinstance(rate, str):
        match = _RATE.fullmatch(rate)
        if match:
            scale = {"Hz": 1, "kHz": 1000, "MHz": 10**6, None: 1}[match[3]]
            return Fraction(match[1]) / int(match[2] or 1) * scale
    elif isinstance(rate, int | float | Fraction | Decimal) and not isinstance(rate, bool) and 0 < rate < math.inf:
        return Fraction(rate)
    raise ClockError(where, f"rate={rate!r}", 'a positive frequency such as 30, Fraction(30000, 1001) or "30 Hz"')
