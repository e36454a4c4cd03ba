"""The command line that does something again, quoted for a shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def command(
    verb: str, scenario: str, *, networks: Mapping[str, Any] | None = None, set: Mapping[str, Any] | None = None,
    rest: Iterable[str] = (), **options: Any,
) -> str:  # fmt: skip
    """`simdl VERB SCENARIO` with its options; those that are None or False are left out.

    A network that was made in Python has no name on a command line: it is written as `--network slot=(...)`, which
    the shell refuses, so that nobody repeats another run by mistake.

    >>> command("run", "my study", lane=3, seed=0, quick=False, set={"plant.mass": 2.0})
    "simdl run 'my study' --lane 3 --seed 0 --set plant.mass=2.0"
    """
    words = ["simdl", verb, scenario]
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            words.append(flag)
        elif value is not None and value is not False:
            words += [flag, str(value)]
    line = shlex.join(words)
    for path, value in (set or {}).items():
        line += " --set " + shlex.quote(f"{path}={value}")
    for slot, network in (networks or {}).items():
        known = isinstance(network, str | Path)
        line += f" --network {shlex.quote(f'{slot}={network}')}" if known else f" --network {slot}=(made in Python)"
    return " ".join([line, *map(shlex.quote, rest)])
