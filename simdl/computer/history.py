"""The history of what programs of lanes have read, by which a program is brought back to where a snapshot left it."""

from __future__ import annotations

import weakref
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from simdl.clock import FOREVER, SECOND
from simdl.errors import LaneError, RunError

Look = Callable[[int], Any]
"""The present value of the k-th thing that a program may read."""
Shown = tuple[Any, ...]


class Program(Protocol):
    """What runs in one lane: told the time, it looks at what it reads, and says what it shows and when to come back."""

    def advance(self, ns: int, look: Look) -> tuple[Shown, int]: ...


class Track:
    """What one lane has read: a tree of entries, each a time and what was looked at then; entry 0 is the start."""

    def __init__(self) -> None:
        self.parents, self.times, self.children = array("q", [-1]), array("q", [0]), array("q", [-1])
        self.others: dict[int, list[int]] = {}  # further children, of an entry from which runs have gone apart
        self.read: list[tuple[Any, ...]] = [()]  # k, value, k, value, …
        self.latest: dict[int, Any] = {}
        self.at = 0
        self.program: Program | None = None  # at the entry `at`
        self.failed: Program | None = None  # one that has raised
        self.shown: tuple[Shown, int] = ((), 0)

    def find(self, parent: int, ns: int, look: Look) -> int:
        """The entry after a parent at which the same was read; -1 when there is none."""
        first = self.children[parent]
        following: list[int] = [] if first < 0 else [first, *self.others.get(parent, ())]
        for one in following:
            read = self.read[one]
            if self.times[one] == ns and all(same(look(read[i]), read[i + 1]) for i in range(0, len(read), 2)):
                return one
        return -1

    def add(self, parent: int, ns: int, read: Mapping[int, Any]) -> int:
        """A new entry. What has the value it had before is kept once."""
        new = len(self.parents)
        if self.children[parent] < 0:
            self.children[parent] = new
        else:
            self.others.setdefault(parent, []).append(new)
        kept: list[Any] = []
        for k, value in read.items():
            before = self.latest.get(k)
            if before is None or type(before) is not type(value) or not same(before, value):
                before = self.latest[k] = value
            kept += (k, before)
        old = self.read[parent]
        same_as_before = len(old) == len(kept) and all(a is b for a, b in zip(old, kept))
        self.parents.append(parent)
        self.times.append(ns)
        self.children.append(-1)
        self.read.append(old if same_as_before else tuple(kept))
        return new

    def way(self, entry: int) -> list[int]:
        """The entries from the start to this one."""
        found: list[int] = []
        while entry > 0:
            found.append(entry)
            entry = self.parents[entry]
        return found[::-1]


class History:
    """Tracks of lanes, by lane and seed.

    A program cannot be copied, so each lane has one, at one entry. Asked to go on from there it does; asked to go on
    from elsewhere (a restored snapshot, a fork) it is made anew and told again what was read on the way. Two runs that
    read the same share their entries. Only what a program has looked at is kept, until the simulators of its lane are
    gone and another run begins.
    """

    def __init__(self, make: Callable[[int, int], Program]) -> None:
        self.make = make
        self.tracks: dict[tuple[int, int], Track] = {}
        self.users: Counter[tuple[int, int]] = Counter()
        self.left: list[list[tuple[int, int]]] = []
        self.replayed = 0  # entries that were told again

    def settings(self, ids: Tensor, seed: int) -> Mapping[str, Tensor]:
        """The parameters `lane` and `of_seed` of a run, whose tracks are kept as long as its lane numbers are."""
        while self.left:
            self.users.subtract(self.left.pop())
        for who in [who for who in self.tracks if self.users[who] <= 0]:
            del self.tracks[who]
        self.users = +self.users
        lanes = [(lane, seed) for lane in ids.tolist()]
        self.users.update(lanes)
        weakref.finalize(ids, self.left.append, lanes)
        return {"lane": ids.to(torch.int64), "of_seed": torch.full_like(ids, seed, dtype=torch.int64)}

    def advance(self, lane: int, seed: int, entry: int, ns: int, look: Look) -> tuple[int, Shown, int]:
        """Go on from an entry: the new entry, what the program shows, and when to come back, ns."""
        track = self.tracks.setdefault((lane, seed), Track())
        if entry >= len(track.parents):
            raise RunError(f"lane {lane}, seed {seed}", "a snapshot of a simulator that is gone",
                           "what it has read", "keep the simulator as long as its snapshots")  # fmt: skip
        following = track.find(entry, ns, look)
        program = track.program
        if following >= 0 and program is not None and track.at == following:
            return (following, *track.shown)
        if program is None or track.at != entry:
            program = self._replayed(lane, seed, track, entry)
        track.program, track.failed = None, program  # one that raises is not gone on with
        read: dict[int, Any] = {}

        def noted(k: int) -> Any:
            if k not in read:
                read[k] = look(k)
            return read[k]

        track.shown = program.advance(ns, noted)
        track.at = following if following >= 0 else track.add(entry, ns, read)
        track.program, track.failed = program, None
        return (track.at, *track.shown)

    def _replayed(self, lane: int, seed: int, track: Track, entry: int) -> Program:
        program = self.make(lane, seed)
        for one in track.way(entry):
            read = track.read[one]
            program.advance(track.times[one], dict(zip(read[::2], read[1::2])).__getitem__)
            self.replayed += 1
        return program


def stepped(
    history: History, values: Mapping[str, Tensor], columns: Sequence[Tensor], stamps: Sequence[Tensor] = ()
) -> tuple[Tensor, list[Shown], dict[str, Any]]:
    """Let the programs of the lanes that are due go on.

    A program's time is 0 where its lane begins, and where it begins again after a reset. columns: what they may look
    at, lanes first; stamps: times of the run, ns, at which lanes are due before the time they said, looked at after the
    columns as times of the program. Returns which lanes have gone on, what each shows, and `entry`, `due`, `begun` and
    `next` of all lanes, with `failed` where programs have raised a LaneError: these show nothing, and wake no more.
    """
    t, entry, due = values["t"], values["entry"], values["due"]
    now = torch.round(t * SECOND).to(torch.int64)
    begun = torch.where(entry == 0, now, values["begun"])
    mask = due <= now  # below: of a lane that was reset
    for stamp in stamps:
        mask = mask | (stamp == now)
    lanes = mask.nonzero()[:, 0]
    own = now - begun
    rows = torch.stack([lanes, values["lane"][lanes], values["of_seed"][lanes], entry[lanes], own[lanes]], 1).tolist()
    columns = [one.detach() for one in (*columns, *(stamp - begun for stamp in stamps))]
    found: list[tuple[int, Shown, int]] = []
    failed: dict[int, str] = {}
    for i, lane, seed, number, ns in rows:
        try:
            found.append(history.advance(lane, seed, number, ns, lambda k, i=i: plain(columns[k][i])))  # type: ignore[misc]
        except LaneError as error:
            failed[i] = f"{error.where}: {error.found}"
            found.append((number, (), FOREVER))
    new = torch.tensor([(number, later) for number, _, later in found], dtype=torch.int64, device=t.device)
    new = new.reshape(-1, 2)
    later = torch.where(new[:, 1] >= FOREVER, FOREVER, new[:, 1] + begun[lanes])
    following = due.index_copy(0, lanes, later)
    wait = (following - now).double() / SECOND
    state: dict[str, Any] = {
        "entry": entry.index_copy(0, lanes, new[:, 0]), "due": following, "begun": begun,
        "next": torch.where(following >= FOREVER, torch.full_like(wait, torch.inf), wait),
    }  # fmt: skip
    if failed:
        state["failed"] = failed
        good = [place for place, row in enumerate(rows) if row[0] not in failed]
        lanes, found = lanes[good], [found[place] for place in good]
    return lanes, [shown for _, shown, _ in found], state


def plain(value: Tensor) -> Any:
    """A number, or an array of its own."""
    return value.item() if value.ndim == 0 else value.cpu().numpy().copy()


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal bit for bit, apart from the sign of zero and the kind of NaN."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")
    return bool(a == b or (a != a and b != b))
