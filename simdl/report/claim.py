"""What a count of passed lanes allows one to say, and what it does not."""

from __future__ import annotations

CONFIDENCE = 0.95


def interval(passed: int, lanes: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The Clopper–Pearson interval of a rate: it holds the true rate with at least this confidence.

    Of `lanes` independent draws, `passed` passed (Biometrika 26, 1934). Exact, so rather too wide than too narrow.

    >>> low, high = interval(1000, 1000)
    >>> round(low, 5), high
    (0.99632, 1.0)
    """
    if not 0 <= passed <= lanes:
        raise ValueError(f"{passed} of {lanes} lanes")
    if lanes == 0:
        return 0.0, 1.0
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = 0.0 if passed == 0 else float(beta.ppf(tail, passed, lanes - passed + 1))
    high = 1.0 if passed == lanes else float(beta.ppf(1 - tail, passed + 1, lanes - passed))
    return low, high


def share(value: float, digits: int = 2) -> str:
    """A share as a percentage that never rounds to a whole it is not.

    >>> share(0.99632), share(1.0), share(0.999999), share(0.000001), share(0.0)
    ('99.63 %', '100 %', '> 99.99 %', '< 0.01 %', '0 %')
    """
    least = 10.0**-digits
    percent = 100 * value
    if 0 < percent < least:
        return f"< {least:.{digits}f} %"
    if 100 - least < percent < 100:
        return f"> {100 - least:.{digits}f} %"
    return f"{percent:.{digits}f}".rstrip("0").rstrip(".") + " %"


LIMITS = (
    "An interval says how often lanes drawn from this space pass in this model. It says nothing about values outside "
    "the space, about a system that differs from the model, or about the rarest case: a search for one is another "
    "method. Lanes that failed to run count as not passed; lanes in which a requirement was never put to the test are "
    "left out of its rate."
)
