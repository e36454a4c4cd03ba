"""Text in pictures: how wide it is, how it is cut, and how names of anybody's making become harmless."""

from __future__ import annotations

import unicodedata
from functools import cache
from html import escape

# Advances of DejaVu Sans in thousandths of the size: wider than what most systems set, so that nothing overflows.
_WIDTHS = {
    **dict.fromkeys("il'|", 290), **dict.fromkeys("jI.,:;! ", 330), **dict.fromkeys("ftr()[]-/\\\"", 410),
    **dict.fromkeys("mwMW%@", 980), **dict.fromkeys("ABCDGHNOQRUVX&", 730), **dict.fromkeys("+=<>~^−·→≤≥", 840),
    "…": 1000,
}  # fmt: skip
_NARROW, _USUAL, _WIDE = 0, 640, 1000
# Characters that reorder the text around them: a name could make a picture say what it does not.
_BIDI = frozenset((*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C))


@cache
def width(text: str, size: float, bold: bool = False) -> float:
    """An upper estimate of the width of a line of text in pixels."""
    total = 0
    for character in text:
        if character in _WIDTHS:
            total += _WIDTHS[character]
        elif unicodedata.combining(character):
            total += _NARROW
        else:
            total += _WIDE if ord(character) > 0x2E80 or unicodedata.east_asian_width(character) in "WF" else _USUAL
    return total * size / 1000 * (1.1 if bold else 1.0)


def short(text: object, most: int = 26) -> str:
    """One line, without what cannot be printed, cut in the middle where it is long.

    >>> short("a_very_long_name_of_a_block_indeed", 15)
    'a_very_…_indeed'
    """
    line = " ".join(visible(text).split())
    return line if len(line) <= most else f"{line[: (most - 1) // 2]}…{line[-(most - 1 - (most - 1) // 2) :]}"


def visible(text: object) -> str:
    r"""Text in which characters that XML refuses, and those that reorder their surroundings, are spelt out.

    >>> visible("a\x00b\u202ec")
    'a\\u0000b\\u202ec'
    """
    return "".join(_spelt(character) for character in str(text))


def _spelt(character: str) -> str:
    code = ord(character)
    if character in "\n\t":
        return character
    nothing = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    if nothing or code in _BIDI or unicodedata.category(character) in ("Cc", "Cs", "Co"):
        return f"\\u{code:04x}"
    return character


def xml(text: object) -> str:
    """Text for XML and HTML, in elements and in attributes."""
    return escape(visible(text), quote=True)
