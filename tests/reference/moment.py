"""All values of one lane at one time, each computed when it is first asked for, and once.

The order of evaluation is thus whatever the dependences demand; nothing is sorted beforehand. A moment is either an
instant (clocks tick, conditions are read) or a time between instants: a stage of a step, a crossing, a hit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tests.reference.expression import FLOATS, Expression, evaluate
from tests.reference.model import Rule, join
from tests.reference.noise import draw

if TYPE_CHECKING:
    from tests.reference.interpreter import Lane

Key = tuple[str, str]


class Loop(Exception):
    """A value that depends on itself at one instant."""


class Moment:
    """Values at time t (s): raw states as given, held values of the lane, and `firing` leaves ticking now.

    at: the time in ns when this is an instant, else None; left: sources with edges show the piece before t.
    """

    def __init__(
        self, lane: Lane, t: float, states: Mapping[Key, float], firing: frozenset[str] = frozenset(),
        at: int | None = None, left: bool = False,
    ) -> None:  # fmt: skip
        self.lane, self.model, self.states, self.firing = lane, lane.model, states, firing
        self.t, self.at, self.left = t, at, left
        self.freezes: dict[Key, float] = {}
        self._known: dict[tuple[Any, ...], Any] = {}

    def _once(self, key: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        if key not in self._known:
            self._known[key] = Loop
            self._known[key] = compute()
        if self._known[key] is Loop:
            raise Loop(str(key))
        return self._known[key]

    # Signals: wires and what they lead to.

    def signal(self, scope: str, expression: Expression) -> Any:
        """The value of wiring inside a nest."""
        return evaluate(expression, lambda name: self.read(scope, name), FLOATS)

    def read(self, scope: str, name: str) -> Any:
        return self._once(("read", scope, name), lambda: self._read(scope, name))

    def _read(self, scope: str, name: str) -> Any:
        nest = self.model.nests[scope]
        if name in nest.params:
            return self.param(scope, name)
        if name in nest.inputs:
            return self.input(scope, name)
        path, _, port = join(scope, name).rpartition(".")
        return self.port(path, port)

    def port(self, path: str, name: str) -> float:
        """What a reader of an output, a state or a nest's output sees."""
        return self._once(("port", path, name), lambda: self._port(path, name))

    def _port(self, path: str, name: str) -> float:
        if path in self.model.nests:
            return self.signal(path, self.model.nests[path].outputs[name])
        leaf = self.model.leaves[path]
        if name in leaf.inputs:
            return self.input(path, name)
        if name in leaf.states:
            return self._state_port(path, name)
        if self.masked(path):
            return leaf.before(name)
        if self.model.continuous(path):
            return self._continuous(path, name)
        if leaf.latency == 0 and self.ticks(path) and self.computes(path, name):
            return self.output(path, name)
        return self.lane.held[path, name]

    def _state_port(self, path: str, name: str) -> float:
        if self.model.continuous(path) or self.ticks(path):
            return self.state(path, name)
        return self.lane.held[path, name]

    def _continuous(self, path: str, name: str) -> float:
        """An output method in continuous time; frozen from the instant at which its lane was disabled (S17)."""
        if self.enabled(path):
            return self.method(path, self.model.leaves[path].computed[name])
        if (path, name) not in self.lane.frozen:
            self.freezes[path, name] = self.method(path, self.model.leaves[path].computed[name])
            return self.freezes[path, name]
        return self.lane.frozen[path, name]

    # Methods of leaves: the names they read.

    def method(self, path: str, expression: Expression) -> float:
        return evaluate(expression, lambda name: self.argument(path, name), FLOATS)

    def argument(self, path: str, name: str) -> float:
        leaf = self.model.leaves[path]
        if name == "t":
            return math.nextafter(self.t, -math.inf) if self.left and leaf.edges else self.t
        if name == "dt":
            return float(leaf.clocked) / 1e9 if leaf.clocked else self.t - self.lane.last.get(path, 0.0)
        if name in leaf.states:
            return self.state(path, name)
        if name in leaf.params:
            return self.param(path, name)
        if name in leaf.noises:
            stream = f"{leaf.stream or path}.{name}"
            return draw(leaf.noises[name], self.lane.seed, stream, self.lane.number, self.index(path))
        return self.input(path, name)

    def state(self, path: str, name: str) -> float:
        """A state before this moment's commit: its initial value where the lane is reset now."""
        return self.lane.initial[path, name] if self.resets(path) else self.states[path, name]

    def input(self, path: str, name: str) -> float:
        if not path:
            return self.lane.external[name]
        driver = self.model.driver(path, name)
        if driver is None:
            default = self.model.leaves[path].inputs[name]
            assert default is not None, f"{path}.{name} is not driven"
            return default
        return self._once(("input", path, name), lambda: self.signal(*driver))

    def param(self, path: str, name: str) -> float:
        where = join(path, name)
        if where in self.lane.set:
            return self.lane.set[where]
        owner = self.model.leaves.get(path) or self.model.nests[path]
        scope = path.rpartition(".")[0]
        return float(evaluate(owner.params[name], lambda other: self.param(scope, other), FLOATS))

    # Ticks.

    def index(self, path: str) -> int:
        """The tick's number: of its clock, or of this lane's own count for hits and triggers."""
        ticks = self.model.ticks_at(path, self.at) if self.at is not None else None
        return self.lane.count[path] if ticks is None else ticks

    def ticks(self, path: str) -> bool:
        """Whether a leaf ticks now and its lane is enabled."""
        return self._once(("ticks", path), lambda: self.due(path) and self.enabled(path))

    def due(self, path: str) -> bool:
        """Whether a leaf would tick now if its lane is enabled."""
        rule = self.model.trigger(path)
        if rule is not None and self.at is not None:
            return self.model.crossing(rule) is None and self.edge(rule)
        return path in self.firing

    def step(self, path: str) -> dict[str, float]:
        """What the tick or hit of a leaf returns."""
        step = self.model.leaves[path].step
        return self._once(("step", path), lambda: {name: self.method(path, what) for name, what in step.items()})

    def computes(self, path: str, name: str) -> bool:
        """Whether a tick of the leaf gives this output a new value."""
        leaf = self.model.leaves[path]
        return name in leaf.step or name in leaf.computed

    def output(self, path: str, name: str) -> float:
        """An output computed at a tick: by the tick, or by its own method from its own arguments alone (S5)."""
        leaf = self.model.leaves[path]
        if name in leaf.step:
            return self.step(path)[name]
        return self._once(("output", path, name), lambda: self.method(path, leaf.computed[name]))

    # Conditions.

    def enabled(self, path: str) -> bool:
        return self._once(
            ("enabled", path), lambda: all(self.condition(rule) for rule in self.model.rules_of(path, "enabled"))
        )

    def masked(self, path: str) -> bool:
        """Whether readers see `initial` because a condition with outputs="initial" is false."""
        rules = self.model.rules_of(path, "enabled")
        return any(rule.condition.outputs == "initial" and not self.condition(rule) for rule in rules)

    def resets(self, path: str) -> bool:
        if self.at is None or not self.model.rules_of(path, "resettable"):
            return False
        return any(self.edge(rule) for rule in self.model.rules_of(path, "resettable"))

    def edge(self, rule: Rule) -> bool:
        """Whether a condition has its edge at this instant."""
        now, before = self.condition(rule), self.lane.conditions[rule.number]
        rises, falls = now and not before, before and not now
        return {"rising": rises, "falling": falls, "either": rises or falls}[rule.condition.edge]

    def condition(self, rule: Rule) -> bool:
        """The condition at this instant, or as it was at the last one."""
        if self.at is None or (rule.condition.period and self.at % rule.condition.period):
            return self.lane.conditions[rule.number]
        if self.model.crossing(rule) is not None:
            return False
        return bool(self._once(("rule", rule.number), lambda: self.signal(rule.scope, rule.condition.signal)))
