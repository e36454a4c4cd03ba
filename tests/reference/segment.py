"""From one instant to the next: equal Runge-Kutta steps, cut where a guard falls to zero or a hit is due (S10, S11)."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING

from tests.reference.moment import Key, Moment

if TYPE_CHECKING:
    from tests.reference.interpreter import Lane

BUDGET = 64  # firings of a crossing between two instants or hits
ZERO = 1e-9  # what a guard that fired here and now may be off from zero
States = dict[Key, float]


class Exhausted(Exception):
    """A crossing without a mode to rest in has spent its budget."""


class Segment:
    """The continuous part of a lane between instants."""

    def __init__(self, lane: Lane) -> None:
        self.lane, self.model = lane, lane.model
        self.derived = [
            (path, name, what) for path in self.model.paths for name, what in self.model.leaves[path].derivative.items()
        ]
        self.guards = [(path, name) for path in self.model.paths for name in self.model.leaves[path].crossings]
        self.guards.sort(key=lambda guard: ".".join(guard))
        self.at = Fraction(0)  # where the lane is, in ns
        self.end = Fraction(-1)  # of the segment; none yet
        self.fresh: set[Key] = set()  # guards that fired here and now
        self.fired: Counter[Key] = Counter()

    def integrate(self, start: int, end: int) -> dict[Key, bool]:
        """Bring the lane from one instant to the next; which guards are then armed."""
        lane = self.lane
        self.at, self.end = Fraction(start), Fraction(end)
        count = -(-(end - start) // lane.experiment.max_step)
        for j in range(1, count + 1):
            grid = start + Fraction(j * (end - start), count)
            while self.at < grid:
                hit = min((time for time in lane.hits.values() if self.at < time < end), default=end)
                self._step(min(grid, Fraction(hit)))
                if self.at == hit < end:
                    self._hit(hit)
        return self.armed()

    def settle_after(self, now: int, armed: dict[Key, bool]) -> None:
        """Fire what an instant has pushed to zero or below."""
        self.at, self.end = Fraction(now), Fraction(-1)
        self.fired.clear()
        self._settle([], armed)

    def _hit(self, now: int) -> None:
        armed = self.armed()
        self.fired.clear()
        firing = frozenset(path for path, time in self.lane.hits.items() if time == now)
        self.lane.commit(self._moment(self.lane.states, self.at, firing))
        self._settle([], armed)

    def _step(self, end: Fraction) -> None:
        """One step of the method to `end`, or to the first crossing before it."""
        lane, length = self.lane, end - self.at
        armed = self.armed()
        arrived = self._advance(lane.states, length)
        falling = [guard for guard in self.guards if armed[guard] and self._guard(guard, arrived, end) <= 0]
        if not falling:
            self.at = end
            self._arrive(arrived)
            return
        roots = {guard: self._locate(guard, length) for guard in falling}
        first = min(roots.values())
        tied = [guard for guard in falling if roots[guard] <= first + 1e-12]
        states = self._advance(lane.states, length * Fraction(first))
        self.at += length * Fraction(first)
        self._arrive(states)
        self._settle(tied, self.armed())

    def _arrive(self, states: States) -> None:
        for key, value in states.items():
            self.lane.states[key] = self.lane.disturbed(value)
        self.fresh.clear()

    def _locate(self, guard: Key, length: Fraction) -> float:
        """The part of the step after which the guard has fallen to zero, to the last bit."""
        above, below = 0.0, 1.0
        first = self._flow(self._start(self.lane.states), self.at)
        while above < (middle := (above + below) / 2) < below:
            part = length * Fraction(middle)
            if self._guard(guard, self._advance(self.lane.states, part, first), self.at + part) <= 0:
                below = middle
            else:
                above = middle
        return below

    # Events.

    def _settle(self, fired: list[Key], armed: dict[Key, bool]) -> None:
        """Fire these guards, and then whatever guard that was armed is pushed to zero or below by what happened."""
        if not fired:
            fired = self._pushed(armed, ())
        while fired:
            for guard in fired:
                self._fire(guard)
            pushed = self._pushed(armed, fired)
            armed = self.armed()
            fired = pushed

    def _pushed(self, armed: dict[Key, bool], but: tuple[()] | list[Key]) -> list[Key]:
        """Guards that were armed and are not above zero now; one that fired here is at zero all the same."""
        return [
            guard for guard in self.guards
            if armed.get(guard) and guard not in but and self._awake(guard)
            and self._now(guard) <= (-ZERO if guard in self.fresh else 0)
        ]  # fmt: skip

    def _fire(self, guard: Key) -> None:
        """The reset map, then the blocks that this crossing triggers."""
        lane, (path, name) = self.lane, guard
        crossing = self.model.leaves[path].crossings[name]
        self.fired[guard] += 1
        self.fresh.add(guard)
        if self.fired[guard] > BUDGET:
            if crossing.rest is None:
                raise Exhausted(f"{path}.{name}")
            lane.states[path, crossing.rest] = 1.0
            return
        t = lane.seconds(self.at)
        lane.record.events.append((t, f"{path}.{name}"))
        moment = self._moment(lane.states, self.at)
        changes = {key: moment.method(path, what) for key, what in (crossing.reset or {}).items()}
        for key, value in changes.items():
            lane.states[path, key] = lane.disturbed(value)
        firing = set()
        for other in self.model.paths:
            rule = self.model.trigger(other)
            if rule is not None and self.model.crossing(rule) == guard:
                firing.add(other)
        if firing:
            lane.commit(self._moment(lane.states, self.at, frozenset(firing)))

    def armed(self) -> dict[Key, bool]:
        """By guard: whether it is above zero, or at zero and rising."""
        return {guard: self._armed(guard) for guard in self.guards}

    def _armed(self, guard: Key) -> bool:
        if not self._awake(guard):
            return False
        value = self._now(guard)
        if value == 0 or (guard in self.fresh and abs(value) <= ZERO):
            return self._slope(guard) > 0
        return value > 0

    def _awake(self, guard: Key) -> bool:
        path, name = guard
        rest = self.model.leaves[path].crossings[name].rest
        return self.lane.enabled(path) and not (rest and self.lane.states[path, rest])

    def _slope(self, guard: Key) -> float:
        """The guard's derivative along the flow, by a central difference: only its sign matters."""
        flow = self._flow(self.lane.states, self.at)
        small = 1e-7
        sides = []
        for side in (small, -small):
            states = {key: self.lane.states[key] + side * rate for key, rate in flow.items()}
            sides.append(self._guard(guard, states, self.at + Fraction(side) * 10**9))
        return (sides[0] - sides[1]) / (2 * small)

    def _now(self, guard: Key) -> float:
        return self._guard(guard, {}, self.at)

    def _guard(self, guard: Key, states: States, at: Fraction) -> float:
        path, name = guard
        moment = self._moment({**self.lane.states, **states}, at)
        return moment.method(path, self.model.leaves[path].crossings[name].guard)

    # The method.

    def _moment(self, states: States, at: Fraction, firing: frozenset[str] = frozenset()) -> Moment:
        """All values then; up to the segment's end nothing sees what begins there."""
        return Moment(self.lane, self.lane.seconds(at), states, firing, left=at == self.end)

    def _flow(self, states: States, at: Fraction) -> States:
        """The derivative of every continuous state; zero where its lane is disabled."""
        moment = self._moment({**self.lane.states, **states}, at)
        return {
            (path, name): moment.method(path, what) if self.lane.enabled(path) else 0.0
            for path, name, what in self.derived
        }

    def _start(self, states: States) -> States:
        return {(path, name): states[path, name] for path, name, _ in self.derived}

    def _advance(self, states: States, length: Fraction, first: States | None = None) -> States:
        """The continuous states after one classical Runge-Kutta step of this length; first: the slopes at its start."""
        start = self._start(states)
        h, at = self.lane.seconds(length), self.at

        def shifted(part: float, slopes: States) -> States:
            return {key: value + part * h * slopes[key] for key, value in start.items()}

        k1 = self._flow(start, at) if first is None else first
        k2 = self._flow(shifted(0.5, k1), at + length / 2)
        k3 = self._flow(shifted(0.5, k2), at + length / 2)
        k4 = self._flow(shifted(1.0, k3), at + length)
        return {key: x + h / 6 * (k1[key] + 2 * k2[key] + 2 * k3[key] + k4[key]) for key, x in start.items()}
