"""Requirements that come up again and again, each made of the operators."""

from __future__ import annotations

from typing import Any

from simdl.clock import Duration, nanoseconds, period_text
from simdl.errors import RequirementError
from simdl.port import Formula, Port
from simdl.requirements.formula import make, node, number
from simdl.requirements.operators import Condition, Within, always, changes, eventually, implies, window
from simdl.requirements.text import words
from simdl.requirements.tree import Requirement

Quantity = Port | Formula | float | str
"""A signal, a formula, a number, or text of one."""


def bounds(
    signal: Quantity, low: Quantity | None = None, high: Quantity | None = None, within: Within | None = None
) -> Requirement:
    """The signal stays between two bounds, one of which may be missing; the bounds are allowed values.

    >>> print(bounds("theta", -1.3, 1.3))
    always(theta >= -1.3 and theta <= 1.3)
    """
    if low is None and high is None:
        raise RequirementError("bounds", "neither low nor high", "at least one of them")
    parts = [_compare("ge", signal, low)] if low is not None else []
    parts += [_compare("le", signal, high)] if high is not None else []
    made = make("and", parts)
    if low is not None and high is not None:
        stays = f"stays between {_show(low)} and {_show(high)}"
    else:
        stays = f"stays at {f'least {_show(low)}' if low is not None else f'most {_show(high)}'}"
    assert isinstance(made, Requirement)
    return _say(always(made, within), f"{_show(signal)} {stays}{_during(within)}")


def respond(trigger: Condition, response: Condition, within: Within) -> Requirement:
    """Whenever the trigger holds, the response holds at some time of the window after it.

    Untested in lanes where the trigger never holds early enough for the window to fit into the run. For "becomes
    true" give `rise(trigger)`, for "has been true for T" `always(trigger, for_=T)`.

    >>> print(respond("brake > 0.5", "speed < 1", within=4))
    always(brake > 0.5 implies eventually[0:4](speed < 1))
    """
    phi = always(implies(trigger, eventually(response, within)))
    return _say(phi, f"whenever {_show(trigger)}, then {_show(response)}{_during(within)}")


def settle(
    signal: Quantity, to: Quantity, tolerance: float, within: Duration, for_: Duration | None = None
) -> Requirement:
    """The signal comes within a tolerance of a value, in time, and stays there: for a while, or to the end of the run.

    >>> print(settle("y", to=1.0, tolerance=0.02, within=3, for_=0.5))
    eventually[0:3](always[0:0.5](abs(y - 1) <= 0.02))
    """
    near = _compare("le", make("abs", [make("sub", [number(signal), number(to)])]), tolerance)
    stays = f"for {_time(for_)}" if for_ is not None else "to the end"
    text = f"{_show(signal)} is within {tolerance:g} of {_show(to)} before {_time(within)} and stays so {stays}"
    return _say(eventually(always(near, for_=for_), within), text)


def overshoot(signal: Quantity, reference: Quantity, at_most: float, start: Quantity = 0.0) -> Requirement:
    """The signal never passes its reference by more than `at_most` (in its own unit), coming from `start`.

    >>> print(overshoot("y", 1.0, at_most=0.1))
    always(y - 1 <= 0.1)
    """
    end, begin = number(reference), number(start)
    past = make("sub", [number(signal), end])
    if end.op == begin.op == "const":
        if end.value < begin.value:
            past = make("sub", [end, number(signal)])
    else:
        past = make("mul", [past, make("sign", [make("sub", [end, begin])])])
    text = f"{_show(signal)} passes {_show(reference)} by at most {at_most:g}"
    return _say(always(_compare("le", past, at_most)), text)


def no_chatter(signal: Condition, changes_: int, per: Duration) -> Requirement:
    """The signal (a boolean, a mode, a condition) changes at most this often in any stretch of that length.

    >>> print(no_chatter("relay", 3, per=1))
    always(changes[0:1](relay) <= 3)
    """
    counted = _compare("le", changes(signal, per), changes_)  # type: ignore[arg-type]
    return _say(always(counted), f"{_show(signal)} changes at most {changes_} times in any {_time(per)}")


def _compare(op: str, left: Any, right: Any) -> Requirement:
    made = make(op, [left, right])
    assert isinstance(made, Requirement)
    return made


def _say(phi: Requirement, text: str) -> Requirement:
    return Requirement(phi.op, phi.args, phi.value, phi.window, words=text)


def _show(x: Any) -> str:
    return words(node(x))


def _time(duration: Duration) -> str:
    return period_text(nanoseconds(duration))


def _during(within: Within | None) -> str:
    if within is None:
        return ""
    over = window(within)
    if over.stop is None:
        return f" from {period_text(over.start)} on"
    if over.start == 0:
        return f" within {period_text(over.stop)}"
    return f" from {period_text(over.start)} to {period_text(over.stop)} later"
