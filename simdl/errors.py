"""Every error simdl raises on purpose.

SimdlError
├── ModelError           a block or diagram that cannot be built
│   ├── ClockError       a time, period or rate that is not representable
│   ├── LoopError        outputs that depend on themselves at one instant
│   └── ProbeError       a method that mixes lanes, mutates, or is impure
├── RunError             a run that cannot start or go on
│   ├── LaneError        one lane that cannot: it fails, and the others go on
│   ├── CompileError     a C compiler that is absent or fails; the run can go on in torch
│   └── LoweringError    what the native engine cannot lower to C: it then runs in torch
├── RequirementError     a requirement that cannot be read or checked
├── DataError            shards, manifests, windows
├── NetworkError         modules, model cards, slots
└── UsageError           the command line
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable
from typing import Any, Self


class SimdlError(Exception):
    """An error for people: where, what was found, what was expected, how to fix it, which names exist."""

    def __init__(
        self, where: str, found: str, expected: str = "", fix: str = "", names: Iterable[str] = (), wrong: str = ""
    ) -> None:
        self.where, self.found, self.expected, self.fix = where, found, expected, fix
        self.names = tuple(names)
        lines = [f"{where}: {found}"]
        if expected:
            lines.append(f"  expected: {expected}")
        near = difflib.get_close_matches(wrong, self.names, n=1) if wrong else []
        if near:
            lines.append(f"  did you mean: {near[0]}")
        if fix:
            lines.append(f"  fix: {fix}")
        if self.names:
            lines.append(f"  names: {', '.join(self.names)}")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), str(self), vars(self))  # pickled in workers, copied by `moved`

    def moved(self, old: str, new: str) -> Self:
        """The same error with its place named anew, where the place begins with `old`: a block got its path later."""
        if self.where != old and not self.where.startswith(old + "."):
            return self
        other = copy.copy(self)
        other.where = new + self.where[len(old) :]
        other.args = (other.where + str(self)[len(self.where) :],)
        return other


def _restored(kind: type[SimdlError], text: str, fields: dict[str, Any]) -> SimdlError:
    error = kind.__new__(kind)
    error.args = (text,)
    vars(error).update(fields)
    return error


class ModelError(SimdlError):
    """A block or diagram that cannot be built."""

    @classmethod
    def collect(cls, model: str, faults: list[SimdlError]) -> ModelError:
        """One error for all faults found; a single fault is returned as it is."""
        if len(faults) == 1 and isinstance(faults[0], ModelError):
            return faults[0]
        error = cls(model, f"{len(faults)} faults", fix="\n\n".join(["each of these:", *map(str, faults)]))
        error.faults = tuple(faults)
        return error

    faults: tuple[SimdlError, ...] = ()


class ClockError(ModelError):
    """A time, period or rate that is not representable."""


class LoopError(ModelError):
    """Outputs that depend on themselves at one instant."""


class ProbeError(ModelError):
    """A method that mixes lanes, mutates its arguments, or is impure."""


class RunError(SimdlError):
    """A run that cannot start or go on."""


class LaneError(RunError):
    """A lane that cannot go on: raised by what runs in one lane, it ends that lane and no other."""


class LoweringError(RunError):
    """What the native engine cannot lower to C."""


class CompileError(RunError):
    """A C compiler that is absent or fails; the run can go on in torch."""


class RequirementError(SimdlError):
    """A requirement that cannot be read or checked."""


class DataError(SimdlError):
    """Shards, manifests and windows."""


class NetworkError(SimdlError):
    """Modules, model cards and slots."""


class UsageError(SimdlError):
    """The command line."""
