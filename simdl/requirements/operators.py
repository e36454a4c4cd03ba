"""The Python form of a requirement: always, eventually, until, and the connectives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from simdl.clock import Duration, nanoseconds
from simdl.errors import ClockError, RequirementError
from simdl.port import Formula, Port
from simdl.requirements.formula import condition, make
from simdl.requirements.tree import Requirement, Window

Condition = Requirement | Formula | Port | str
"""A requirement, a comparison of signals, a boolean signal, or text."""
Within = Duration | tuple[Duration, Duration | None]
"""The times meant, counted from now: the first `b` seconds, or (a, b); (a, None) lasts to the end of the trace."""


def requirement(phi: Condition) -> Requirement:
    """The requirement that a text, a comparison of signals or a boolean signal stands for; a requirement is returned.

    >>> requirement("always[0:10](abs(theta) < 1.3)").horizon
    10.0

    Raises RequirementError, with the position in the text, for what cannot be read.
    """
    return condition(phi)


def always(phi: Condition, within: Within | None = None, for_: Duration | None = None) -> Requirement:
    """phi holds at every time of the window; without one, to the end of the trace. `for_=T` means `within=T`.

    >>> print(always("abs(y) < 0.15", for_="500 ms"))
    always[0:0.5](abs(y) < 0.15)
    """
    if within is not None and for_ is not None:
        raise RequirementError("always", f"both within={within!r} and for_={for_!r}", "one of them")
    return _requirement("always", (phi,), within if for_ is None else for_)


def eventually(phi: Condition, within: Within | None = None) -> Requirement:
    """phi holds at some time of the window; without one, at some time before the trace ends.

    >>> print(eventually(always("abs(y) < 0.15", for_=0.5), within=3))
    eventually[0:3](always[0:0.5](abs(y) < 0.15))
    """
    return _requirement("eventually", (phi,), within)


def until(phi: Condition, psi: Condition, within: Within | None = None) -> Requirement:
    """psi holds at some time of the window, and phi at every time from now until just before.

    >>> print(until("charging", "soc > 0.9", within=3600))
    charging until[0:3600] soc > 0.9
    """
    return _requirement("until", (phi, psi), within)


def implies(phi: Condition, psi: Condition) -> Requirement:
    """psi holds whenever phi does: below `always`, phi is the trigger, and without one the verdict is *untested*.

    >>> print(always(implies("brake > 0", eventually("v < 0.1", within=4))))
    always(brake > 0 implies eventually[0:4](v < 0.1))
    """
    return _requirement("implies", (phi, psi))


def iff(phi: Condition, psi: Condition) -> Requirement:
    """phi holds exactly when psi does."""
    return _requirement("iff", (phi, psi))


def rise(phi: Condition) -> Requirement:
    """phi becomes true: it holds now and did not hold one sample earlier. True at time 0 if phi is."""
    return _requirement("rise", (phi,))


def fall(phi: Condition) -> Requirement:
    """phi becomes false: it does not hold now and held one sample earlier. True at time 0 if phi is false."""
    return _requirement("fall", (phi,))


def negate(phi: Condition) -> Requirement:
    """phi does not hold: `~phi`."""
    return _requirement("not", (phi,))


def all_of(*phis: Condition) -> Requirement:
    """Every one holds: `phi & psi`."""
    return join("and", phis)


def any_of(*phis: Condition) -> Requirement:
    """At least one holds: `phi | psi`."""
    return join("or", phis)


def changes(signal: Formula | Port | str, within: Within) -> Formula:
    """How often a signal changes its value in a window: a number, to be compared.

    The samples k of the window (the start left out) whose value differs from that of sample k - 1 are counted.

    >>> print(always(changes("relay", within=1) <= 3))
    always(changes[0:1](relay) <= 3)
    """
    return Formula("changes", signal, window(within))


def window(within: Within) -> Window:
    """The window of a `within=`. Raises RequirementError for one that ends before it starts, or lies in the past."""
    start, stop = within if isinstance(within, tuple) else (0, within)
    try:
        return Window.checked(nanoseconds(start), None if stop is None else nanoseconds(stop))
    except (ClockError, RequirementError) as error:
        raise RequirementError(f"within={within!r}", error.found, error.expected, error.fix) from error


def join(op: str, phis: Iterable[Any]) -> Requirement:
    """The conjunction ("and") or disjunction ("or") of one or more conditions."""
    found = make(op, tuple(phis))
    assert isinstance(found, Requirement)
    return found


def _requirement(op: str, phis: tuple[Any, ...], within: Within | None = None) -> Requirement:
    timed = op in ("always", "eventually", "until")
    over = (Window(0, None) if within is None else window(within)) if timed else None
    found = make(op, phis, window=over)
    assert isinstance(found, Requirement)
    return found
