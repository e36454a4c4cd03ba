"""The history of what programs of lanes have read, by which a program is brought back to where a snapshot left it."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np


class Program(Protocol):
    """What runs in one lane: it is told the time and what it reads, and says what it shows and when to come back."""

    def advance(self, ns: int, values: tuple[Any, ...]) -> tuple[tuple[Any, ...], int]: ...


class History:
    """A tree of what was read: an entry is a time and values, after its parent; entry 0 is the start of every lane.

    A program cannot be copied, so each lane has one, at one entry. Asked to go on from there it does; asked to go on
    from elsewhere (a restored snapshot, a fork) it is made anew and told again what was read on the way. Two runs that
    read the same share their entries.
    """

    def __init__(self, make: Callable[[int, int], Program]) -> None:
        self.make = make
        self.parents, self.times = array("q", [-1]), array("q", [0])
        self.values: list[tuple[Any, ...]] = [()]
        self.found: dict[Any, int] = {}
        self.running: dict[tuple[int, int], tuple[int, Program]] = {}
        self.shown: dict[tuple[int, int], tuple[tuple[Any, ...], int]] = {}
        self.replayed = 0  # entries that were told again

    def advance(
        self, lane: int, seed: int, entry: int, ns: int, values: tuple[Any, ...]
    ) -> tuple[int, tuple[Any, ...], int]:
        """Go on from an entry: the new entry, what the program shows, and when to come back, ns."""
        who = (lane, seed)
        following = self._entry(who, entry, ns, values)
        at, program = self.running.get(who, (-1, None))
        if program is None or at not in (entry, following):
            program = self._replayed(lane, seed, entry)
            at = entry
        if at == entry:
            self.running.pop(who, None)  # a program that raises is not gone on with
            self.shown[who] = program.advance(ns, values)
            self.running[who] = (following, program)
        return (following, *self.shown[who])

    def _entry(self, who: tuple[int, int], parent: int, ns: int, values: tuple[Any, ...]) -> int:
        key = (who, parent, ns, tuple(v.tobytes() if isinstance(v, np.ndarray) else v for v in values))
        if key not in self.found:
            self.found[key] = len(self.parents)
            self.parents.append(parent)
            self.times.append(ns)
            self.values.append(values)
        return self.found[key]

    def _replayed(self, lane: int, seed: int, entry: int) -> Program:
        program = self.make(lane, seed)
        way: list[int] = []
        while entry > 0:
            way.append(entry)
            entry = self.parents[entry]
        for one in reversed(way):
            program.advance(self.times[one], self.values[one])
            self.replayed += 1
        return program
