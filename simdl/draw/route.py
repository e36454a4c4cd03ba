"""Lines in the gaps between ranks: each turns on a track of its own, chosen so that few cross and none lie on others.

Two lines that exchange their places cannot both turn once: one of them takes two tracks, with a free place between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

TRACK = 9.0
SAME = 5.0  # lines nearer than this look like one


@dataclass(eq=False)
class Net:
    """What one source needs in one gap: the places of its ends on both sides.

    track, leave: where its left and its right ends turn, -1 where it runs straight; between: the place at which it goes
    from the one to the other when they differ.
    """

    left: set[float] = field(default_factory=set)
    right: set[float] = field(default_factory=set)
    track: int = -1
    leave: int = -1
    between: float | None = None

    @property
    def straight(self) -> bool:
        return len(self.left) == 1 and self.left == self.right

    def turns(self, a: float, b: float, from_left: bool = True, to_left: bool = False) -> list[tuple[int, float]]:
        """(track, place) at each turn of a line from an end at `a` to an end at `b`."""
        if a == b:
            return []
        first, last = (self.track if from_left else self.leave), (self.track if to_left else self.leave)
        if first == last or self.between is None:
            return [(first, a), (first, b)]
        return [(first, a), (first, self.between), (last, self.between), (last, b)]


@dataclass(eq=False)
class Turn:
    """One vertical piece: of a net, with its ends on both sides."""

    net: Net
    left: list[float]
    right: list[float]
    track: int = -1

    def __post_init__(self) -> None:
        self.low, self.high = min(*self.left, *self.right), max(*self.left, *self.right)


def tracks(nets: Sequence[Net]) -> int:
    """Give every net that turns its tracks, counted from the left; returns how many there are."""
    turns = [Turn(net, sorted(net.left), sorted(net.right)) for net in nets if not net.straight]
    taken = sorted(y for net in nets for y in net.left | net.right)
    while clashing := _number(turns):
        whole, turns = turns, []
        for turn in whole:
            if turn not in clashing:
                turns.append(turn)
                continue
            turn.net.between = between = _free(turn, taken)
            taken.append(between)
            turns += [Turn(turn.net, turn.left, [between]), Turn(turn.net, [between], turn.right)]
    for turn in turns:
        net = turn.net
        split = net.between is not None
        if not split or turn.right == [net.between]:
            net.track = turn.track
        if not split or turn.left == [net.between]:
            net.leave = turn.track
    return 1 + max((turn.track for turn in turns), default=-1)


def _number(turns: Sequence[Turn]) -> set[Turn]:
    """Give each turn a track; returns those to be cut in two: one of each pair that lie on each other."""
    must: list[list[int]] = [[] for _ in turns]  # those that have to be right of it
    should: list[list[int]] = [[] for _ in turns]  # and those for which that saves crossings
    beside: list[list[int]] = [[] for _ in turns]
    active: list[int] = []
    for j in sorted(range(len(turns)), key=lambda i: (turns[i].low, i)):
        active = [i for i in active if turns[i].high + SAME > turns[j].low]
        for i in active:
            beside[i].append(j)
            beside[j].append(i)
            for a, b in ((i, j), (j, i)):
                if _clashes(turns[b], turns[a]):
                    must[a].append(b)
                elif _crossed(turns[a], turns[b]) < _crossed(turns[b], turns[a]):
                    should[a].append(b)
        active.append(j)
    for turn in turns:
        turn.track = -1
    for place in _ordered(must, should):
        turns[place].track = 1 + max((turns[other].track for other in beside[place]), default=-1)
    cut: set[Turn] = set()
    for i, turn in enumerate(turns):
        for other in (turns[j] for j in beside[i]):
            if turn.track < other.track and not {turn, other} & cut and _clashes(turn, other):
                cut.update([one for one in (turn, other) if one.net.between is None][:1])
    return cut


def _crossed(a: Turn, b: Turn) -> int:
    """How many crossings there are with `a` left of `b`."""
    return sum(b.low < y < b.high for y in a.right) + sum(a.low < y < a.high for y in b.left)


def _clashes(a: Turn, b: Turn) -> bool:
    """Whether lines would lie on each other if `a` were left of `b`."""
    return a.net is not b.net and any(abs(y - z) < SAME for y in a.right for z in b.left)


def _free(turn: Turn, taken: Sequence[float]) -> float:
    """A place near the middle of a turn that is no line's."""
    middle = (turn.low + turn.high) / 2
    steps = (sign * SAME * k / 2 for k in range(len(taken) * 4 + 4) for sign in (1, -1))
    return next(round(middle + s, 2) for s in steps if all(abs(middle + s - y) >= SAME for y in taken))


def _ordered(must: Sequence[Sequence[int]], should: Sequence[Sequence[int]]) -> list[int]:
    """An order in which everything comes before what must follow it, if there is one, and mostly before what should."""
    hard, soft = [0] * len(must), [0] * len(must)
    for after, before in ((must, hard), (should, soft)):
        for others in after:
            for other in others:
                before[other] += 1
    left = dict.fromkeys(range(len(must)))
    found = []
    while left:
        place = min(left, key=lambda i: (hard[i], soft[i]))
        del left[place]
        found.append(place)
        for after, before in ((must, hard), (should, soft)):
            for other in after[place]:
                before[other] -= 1
    return found
