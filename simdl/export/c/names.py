"""Names in generated C: numbers with a little text of a safe alphabet; nothing that a user wrote reaches the compiler
as it is."""

from __future__ import annotations

import re

from simdl.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def mangled(index: int, text: str) -> str:
    """An identifier, unique by its number: b<index>_[a-z0-9_]{0..24}.

    >>> mangled(3, 'x; system("ls");//')
    'b3_x_system_ls'
    """
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower().encode("ascii", "replace").decode("ascii"))
    return f"b{index}_{plain.strip('_')[:24]}"


def prefix(name: str | None, path: str) -> str:
    """The word that the functions and files begin with: the one given, or one from the path. Raises UsageError for
    one that is not [a-z][a-z0-9_]*, of 32 letters at most."""
    if name is None:
        plain = re.sub(r"[^a-z0-9]+", "_", path.lower().encode("ascii", "replace").decode("ascii")).strip("_")
        return f"simdl_{plain}"[:32].rstrip("_") if plain else "simdl_part"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError("export_c: name", f"{str(name)[:60]!r}", "lower-case letters, digits and _, 32 at most, a "
                         "letter first")  # fmt: skip
    return name
