"""Lines in the gaps between ranks: each has a track of its own, chosen so that few cross and none lie on each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

TRACK = 9.0
SAME = 5.0  # lines nearer than this look like one


@dataclass(eq=False)
class Net:
    """What one source needs in one gap: the places of its ends on both sides; track is -1 where it runs straight."""

    left: set[float] = field(default_factory=set)
    right: set[float] = field(default_factory=set)
    track: int = -1

    @property
    def straight(self) -> bool:
        return len(self.left) == 1 and self.left == self.right

    @property
    def low(self) -> float:
        return min(self.left | self.right)

    @property
    def high(self) -> float:
        return max(self.left | self.right)


def tracks(nets: Sequence[Net]) -> int:
    """Give every net that turns a track, counted from the left; returns how many there are."""
    turning = [net for net in nets if not net.straight]
    spans = [(net.low, net.high, sorted(net.left), sorted(net.right)) for net in turning]
    after: list[list[int]] = [[] for _ in turning]
    beside: list[list[int]] = [[] for _ in turning]
    by_low = sorted(range(len(turning)), key=lambda i: (spans[i][0], i))
    active: list[int] = []
    for j in by_low:
        active = [i for i in active if spans[i][1] + SAME > spans[j][0]]
        for i in active:
            beside[i].append(j)
            beside[j].append(i)
            costs = _cost(spans[i], spans[j]), _cost(spans[j], spans[i])
            if costs[0] < costs[1]:
                after[i].append(j)
            elif costs[1] < costs[0]:
                after[j].append(i)
        active.append(j)
    ordered = _ordered(after)
    for place in ordered:
        turning[place].track = 1 + max((turning[other].track for other in beside[place]), default=-1)
    return 1 + max((net.track for net in turning), default=-1)


Span = tuple[float, float, list[float], list[float]]


def _cost(a: Span, b: Span) -> int:
    """What it costs to have `a` left of `b`: crossings, and very much for lines on top of each other."""
    crossed = sum(b[0] < y < b[1] for y in a[3]) + sum(a[0] < y < a[1] for y in b[2])
    return crossed + 1000 * sum(abs(y - z) < SAME for y in a[3] for z in b[2])


def _ordered(after: Sequence[Sequence[int]]) -> list[int]:
    """A topological order; where wishes contradict each other, that of the walk."""
    state = [0] * len(after)
    found: list[int] = []
    for start in range(len(after)):
        if state[start]:
            continue
        state[start] = 1
        stack = [(start, iter(after[start]))]
        while stack:
            node, rest = stack[-1]
            other = next((o for o in rest if not state[o]), None)
            if other is None:
                found.append(node)
                stack.pop()
            else:
                state[other] = 1
                stack.append((other, iter(after[other])))
    return found[::-1]
