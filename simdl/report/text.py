"""Values as text for people: numbers in four digits, names of anybody's making made harmless to read."""

from __future__ import annotations

import math
from typing import Any

from simdl.draw.text import visible

LONGEST = 2000  # characters of one text; a name may be as long as its author likes, a page may not


def clean(text: object) -> str:
    r"""Text without control characters or characters that reorder it, cut at 2000 characters.

    >>> clean("abc\x00\u202edef")
    'abc\\u0000\\u202edef'
    """
    found = str(text)
    if len(found) > LONGEST:
        found = f"{found[:LONGEST]}… ({len(found) - LONGEST} more characters)"
    return visible(found)


def number(value: float) -> str:
    """A number as a person reads it: four digits, "none" when there is no number.

    >>> number(0.00012345), number(1234567), number(float("nan")), number(-float("inf")), number(12)
    ('0.0001234', '1234567', 'none', '-∞', '12')
    """
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "none"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.4g}" if value != round(value) or abs(value) >= 1e6 else f"{value:.0f}"


def shown(value: Any) -> str:
    """A cell of a table as text."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, int | float) else clean(value)


def plain(value: Any) -> Any:
    """A cell as JSON has it: NaN is null, infinities are "inf" and "-inf", what is not a number is text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else str(value)
    return clean(value)


def quantity(name: str, unit: str) -> str:
    """A name with its unit, as on axes and in the heads of columns.

    >>> quantity("current", "A"), quantity("SOC", "")
    ('current [A]', 'SOC')
    """
    return f"{name} [{unit}]" if unit else name
