"""From a diagram back to the computer that its blocks run on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simdl.computer.live import Live, LiveLane
from simdl.computer.schedule import Schedule
from simdl.computer.timetable import Timetables
from simdl.declared import Declared
from simdl.errors import ModelError

if TYPE_CHECKING:
    from simdl.computer.computer import Computer


def computer_of(diagram: Declared) -> Computer | None:
    """The computer that a diagram was put on; None for a diagram without one, and for one that a log drives."""
    for block in diagram.leaves():
        if "_placement" in vars(block):
            timetable: Any = vars(block)["_placement"].timetable
            found: Computer | None = getattr(getattr(timetable, "scheduler", timetable), "computer", None)
            return found
    return None


def schedule_of(diagram: Declared, lane: int = 0, seed: int = 0) -> Schedule:
    """What the computer of a lane does. Of a live computer: what it did in the latest run, or until the lane failed.

    Raises ModelError for a diagram without a computer, or a lane of a live one that has not run since.
    """
    if computer_of(diagram) is None:
        raise ModelError("schedule_of", f"{diagram}", "a diagram on a computer", "Computer(...).on(diagram)")
    timetable = next(vars(one)["_placement"].timetable for one in diagram.leaves() if "_placement" in vars(one))
    if isinstance(timetable, Timetables):
        known = timetable.scheduler.schedule(timetable.horizon or 0, seed, lane)
        assert isinstance(known, Schedule)
        return known
    assert isinstance(timetable, Live)
    users = timetable.history.users  # lanes of runs; compiling tries a lane too
    track = timetable.history.tracks.get((lane, seed)) if (lane, seed) in users else None
    program = None if track is None else track.program or track.failed
    if not isinstance(program, LiveLane):
        ran = sorted(users)
        raise ModelError("schedule_of", f"lane {lane}, seed {seed}", "one that has run", names=list(map(str, ran)))
    return program.kernel.schedule()
