"""Lines of JSON that notice when a byte of them has changed.

A sealed line is the canonical JSON of a record (sorted keys, no spaces, ASCII) that carries its own `check`: the
first 16 hex digits of the SHA-256 of the record without it. A line is accepted only if sealing what it says gives
the very same bytes, so no changed byte goes unseen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from simdl.errors import DataError, SimdlError

LONGEST = 64 * 2**20  # bytes of one document or line
DEEPEST = 64  # nested lists and objects


def dumps(value: object) -> bytes:
    """Canonical JSON. NaN and infinities are refused (ValueError): JSON has no word for them."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def loads(data: bytes, where: str, error: type[SimdlError] = DataError) -> Any:
    """Read JSON strictly: size and depth are bounded, keys occur once, numbers are finite."""
    if len(data) > LONGEST:
        raise error(where, f"{len(data)} bytes of JSON", f"at most {LONGEST}")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) < len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"the key {next(n for n in names if names.count(n) > 1)!r} occurs twice")
        return record

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is not a number of JSON")

    def finite(text: str) -> float:
        if abs(number := float(text)) == float("inf"):
            raise ValueError(f"{text} is too large a number")
        return number

    try:
        value = json.loads(data, object_pairs_hook=once, parse_constant=refuse, parse_float=finite)
    except RecursionError:
        raise error(where, "JSON nested too deeply", f"at most {DEEPEST} levels") from None
    except (ValueError, UnicodeDecodeError) as fault:
        raise error(where, f"not readable as JSON: {fault}") from None
    if any(depth > DEEPEST for depth in _depths(value)):
        raise error(where, "JSON nested too deeply", f"at most {DEEPEST} levels")
    return value


def _depths(value: Any) -> Iterator[int]:
    level, depth = [value], 0
    while level:
        yield depth
        depth += 1
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]


def seal(record: dict[str, Any]) -> bytes:
    """The line for a record, with its check and the newline."""
    check = hashlib.sha256(dumps(record)).hexdigest()[:16]
    return dumps({**record, "check": check}) + b"\n"


def unseal(line: bytes, where: str) -> dict[str, Any]:
    """The record of a sealed line. DataError when any byte of it is not as written."""
    record = loads(line, where)
    if not isinstance(record, dict) or not isinstance(record.pop("check", None), str):
        raise DataError(where, "a line without its check", fix="restore the file from a copy")
    if seal(record) != line:
        raise DataError(where, "the line has changed since it was written", fix="restore the file from a copy")
    return record
