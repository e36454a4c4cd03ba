"""What bodies, processes and functions of jobs raise, as the failure of their lane."""

from __future__ import annotations

import traceback
from pathlib import Path

import simpy

from simdl.errors import LaneError

OURS = (str(Path(__file__).parent), str(Path(str(simpy.__file__)).parent))


def raised(where: str, what: str, error: Exception, when: str, fix: str) -> LaneError:
    """A lane's error for what its user's code raised, with the lines of that code that led there, outermost first."""
    found = f"{what} raised {type(error).__name__}: {error}, {when}"
    return LaneError(where, "\n    ".join([found, *lines(error)]), "one that goes on", fix)


def lines(error: BaseException) -> list[str]:
    """Where an exception came from, without the frames of SimPy and of this package."""
    while type(error.__cause__) is type(error):  # SimPy raises what a process raises again
        error = error.__cause__
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{one.filename}:{one.lineno}, in {one.name}: {one.line}" for one in frames
            if not one.filename.startswith(OURS)]  # fmt: skip
