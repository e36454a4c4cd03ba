"""One lane of a model, run instant by instant in the order of S4: publish, evaluate, record, commit, integrate.

No tensors, no lanes, no schedule: what takes a fast engine care is done here in the plainest way that the
specification allows. `jiggle` disturbs every computed state by about that relative size; a model whose results then
move by much more is no fair comparison, because rounding differs legally between implementations.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from tests.reference.expression import FLOATS, evaluate
from tests.reference.model import Model
from tests.reference.moment import Key, Moment
from tests.reference.segment import Segment
from tests.reference.spec import Experiment

Event = tuple[float, str]


@dataclass
class Record:
    """What readers saw at each instant, by path of the port, and the crossings that fired."""

    times: list[int] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    final: dict[str, float] = field(default_factory=dict)  # raw states after the last commit


class Lane:
    """Everything that changes while one lane runs."""

    def __init__(self, experiment: Experiment, jiggle: float = 0.0) -> None:
        self.experiment, self.model = experiment, Model(experiment.root)
        self.seed, self.number, self.set = experiment.seed, experiment.lane, experiment.set
        self._jiggle, self._disturb = jiggle, random.Random(1)
        self.record = Record()
        self.external: dict[str, float] = {}
        self.held: dict[Key, float] = {}
        self.frozen: dict[Key, float] = {}
        self.queues: dict[str, list[tuple[int, dict[str, float]]]] = {path: [] for path in self.model.paths}
        self.conditions = [False] * len(self.model.rules)
        self.count: Counter[str] = Counter()  # ticks so far of leaves without a clock
        self.last: dict[str, float] = {}  # and the time of the last one, in s
        hitting = {path: leaf.first for path, leaf in self.model.leaves.items() if leaf.hit}
        self.hits: dict[str, float] = {path: round(first * 1e9) for path, first in hitting.items()}  # the next, in ns
        self.initial: dict[Key, float] = {}
        self.states: dict[Key, float] = {}

    def disturbed(self, value: float) -> float:
        return value + self._jiggle * self._disturb.uniform(-1, 1) * max(1.0, abs(value)) if self._jiggle else value

    # The run.

    def run(self) -> Record:
        segment = Segment(self)
        self._listen(0)
        self._begin()
        before: int | None = None
        for now in self.instants():
            armed: dict[Key, bool] = {}
            if before is not None:
                armed = segment.integrate(before, now)
            self._instant(now)
            if now != self.experiment.until:
                segment.settle_after(now, armed)
            before = now
        self.record.final = {f"{path}.{name}": value for (path, name), value in self.states.items()}
        return self.record

    def instants(self) -> Iterator[int]:
        """Ticks, releases, samplings of conditions, edges of sources and inputs, 0 and until, in order (S2)."""
        until = self.experiment.until
        times = {0, until}
        for leaf in self.model.leaves.values():
            if leaf.clocked:
                ticks = [leaf.offset + round(k * leaf.clocked) for k in range(int(until / leaf.clocked) + 2)]
                times.update(ticks)
                times.update(tick + leaf.latency for tick in ticks)
            if leaf.edges:
                times.update(_edges(leaf.edges, until))
        for rule in self.model.rules:
            if rule.condition.period:
                times.update(range(0, until, rule.condition.period))
        for given in self.experiment.inputs.values():
            if isinstance(given, tuple):
                times.update(round(time * 1e9) for time in given[0])
        return iter(sorted(time for time in times if 0 <= time <= until))

    def _begin(self) -> None:
        """Initial values: `@initial` in the order of what they read, everything held at its own (S9)."""
        for path, leaf in self.model.leaves.items():
            for name in leaf.outputs.keys() | leaf.methods.keys():
                self.held[path, name] = leaf.before(name)
        start = _Start(self)
        for path, leaf in self.model.leaves.items():
            for name in leaf.states:
                self.initial[path, name] = self.disturbed(start.state(path, name))
                self.held[path, name] = self.initial[path, name]
        self.states = dict(self.initial)

    def _listen(self, now: int) -> None:
        """External inputs as they are now: held values from their times on, the first one from the start."""
        for name, given in self.experiment.inputs.items():
            if isinstance(given, tuple):
                times, values = given
                past = [value for time, value in zip(times, values) if round(time * 1e9) <= now]
                self.external[name] = past[-1] if past else values[0]
            else:
                self.external[name] = given

    # One instant.

    def _instant(self, now: int) -> None:
        self._listen(now)
        self._publish(now)
        firing = {path for path, time in self.hits.items() if time == now}
        firing |= {path for path in self.model.paths if self.model.ticks_at(path, now) is not None}
        moment = Moment(self, now / 1e9, self.states, frozenset(firing), at=now)
        self._record(now, moment)
        self.commit(moment)

    def _publish(self, now: int) -> None:
        for path, queue in self.queues.items():
            while queue and queue[0][0] <= now:
                for name, value in queue.pop(0)[1].items():
                    self.held[path, name] = value

    def _record(self, now: int, moment: Moment) -> None:
        self.record.times.append(now)
        for path, leaf in self.model.leaves.items():
            for name in leaf.ports:
                self.record.values.setdefault(f"{path}.{name}", []).append(moment.port(path, name))
        for path, nest in self.model.nests.items():
            for name, shown in nest.outputs.items():
                port = f"{path}.{name}" if path else name
                self.record.values.setdefault(port, []).append(float(moment.signal(path, shown)))

    def commit(self, moment: Moment) -> None:
        """Everything that changes at this moment, at once: all is computed before anything is written."""
        states, held = {}, {}
        for path, leaf in self.model.leaves.items():
            if moment.resets(path):
                states.update({(path, name): self.initial[path, name] for name in leaf.states})
            if moment.masked(path):
                held.update({(path, name): leaf.before(name) for name in leaf.outputs.keys() | leaf.methods.keys()})
            if not moment.ticks(path):
                continue
            held.update({(path, name): moment.state(path, name) for name in leaf.states})
            step = moment.step(path)
            states.update({(path, name): self.disturbed(step[name]) for name in leaf.states if name in step})
            named = [name for name in (*leaf.outputs, *leaf.methods) if moment.computes(path, name)]
            fresh = {name: self.disturbed(moment.output(path, name)) for name in named}
            if leaf.latency:
                assert moment.at is not None
                self.queues[path].append((moment.at + leaf.latency, fresh))
            else:
                held.update({(path, name): value for name, value in fresh.items()})
        conditions = [moment.condition(rule) for rule in self.model.rules]
        enabled = {path: moment.enabled(path) for path in self.model.paths}
        due = [path for path in self.model.paths if moment.due(path)]
        # Hits and triggers run on in a disabled lane as a clock does: their times, their noise, and dt (S17).
        nexts = {path: moment.step(path)["next"] for path in self.hits if path in moment.firing}
        self.states.update(states)
        self.held.update(held)
        self.conditions = conditions
        self.frozen.update(moment.freezes)
        self.frozen = {key: value for key, value in self.frozen.items() if not enabled[key[0]]}
        for path in self.model.paths:
            if self.model.leaves[path].clocked is None and path in due:
                self.count[path] += 1
        self.last.update({path: moment.t for path in due})
        for path, delay in nexts.items():
            wait = max(1, round(delay * 1e9)) if delay < math.inf else math.inf
            self.hits[path] = round(moment.t * 1e9) + wait

    def enabled(self, path: str) -> bool:
        """Whether a leaf is enabled until the next instant."""
        return all(self.conditions[rule.number] for rule in self.model.rules_of(path, "enabled"))

    def seconds(self, ns: Fraction) -> float:
        return float(ns / 1_000_000_000)


class _Start(Moment):
    """Time 0 before anything ran: a state is its declared initial value, or what `@initial` computes."""

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane, 0.0, {})

    def state(self, path: str, name: str) -> float:
        leaf = self.model.leaves[path]
        if name in leaf.initial:
            return self._once(("initial", path, name), lambda: self.method(path, leaf.initial[name]))
        return leaf.states[name]

    def _state_port(self, path: str, name: str) -> float:
        return self.state(path, name)

    def enabled(self, path: str) -> bool:
        return True

    def masked(self, path: str) -> bool:
        return False


def _edges(expression: tuple[object, ...], until: int) -> Iterator[int]:
    """The edges that a source declares: each strictly after the one before, in ns."""
    t = evaluate(expression, lambda _: 0.0, FLOATS)
    while t * 1e9 <= until:
        yield round(t * 1e9)
        now = t
        t = evaluate(expression, lambda _, now=now: now, FLOATS)


def interpret(experiment: Experiment, jiggle: float = 0.0) -> Record:
    """Run an experiment.

    >>> from tests.reference.spec import Leaf, Nest
    >>> fall = Leaf("b", states={"x": 1.0}, derivative={"x": ("scale", -1.0, ("read", "x"))})
    >>> record = interpret(Experiment(Nest("", children=(fall,)), until=10**9, max_step=10**7))
    >>> record.times, [round(x, 9) for x in record.values["b.x"]]
    ([0, 1000000000], [1.0, 0.367879441])
    """
    return Lane(experiment, jiggle).run()
