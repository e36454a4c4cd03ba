"""A spec with its paths resolved: what a path names, what drives an input, which conditions enclose a leaf."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tests.reference.expression import Expression
from tests.reference.spec import Condition, Leaf, Nest


@dataclass(frozen=True)
class Rule:
    """A condition, and the path of the nest in which its signal is read ("" for the root)."""

    number: int
    scope: str
    condition: Condition


def join(*labels: str) -> str:
    return ".".join(label for label in labels if label)


def scope_of(path: str) -> str:
    """The path of the nest that holds it.

    >>> scope_of("n0.b1"), scope_of("b1")
    ('n0', '')
    """
    return path.rpartition(".")[0]


class Model:
    """Everything of a spec by path."""

    def __init__(self, root: Nest) -> None:
        self.nests: dict[str, Nest] = {"": root}
        self.leaves: dict[str, Leaf] = {}
        self.rules: list[Rule] = []
        self.enclosing: dict[str, tuple[Rule, ...]] = {}  # of a leaf: its own and those of all nests around it
        self._collect("", root, ())
        self.paths = sorted(self.leaves)
        self._drivers: dict[tuple[str, str], tuple[str, Expression]] = {}  # by the path and name of the input
        for scope, nest in self.nests.items():
            for target, wire in nest.wires.items():
                label, _, name = target.partition(".")
                self._drivers[join(scope, label), name] = (scope, wire)
        self._rules: dict[tuple[str, str], tuple[Rule, ...]] = {}  # by the path of the leaf and the kind
        for path, rules in self.enclosing.items():
            for rule in rules:
                key = (path, rule.condition.kind)
                self._rules[key] = (*self._rules.get(key, ()), rule)

    def _collect(self, path: str, nest: Nest, around: tuple[Rule, ...]) -> None:
        for child in nest.children:
            below, rules = join(path, child.name), around
            for condition in child.conditions:
                self.rules.append(Rule(len(self.rules), path, condition))
                rules = (*rules, self.rules[-1])
            if isinstance(child, Nest):
                self.nests[below] = child
                self._collect(below, child, rules)
            else:
                self.leaves[below] = child
                self.enclosing[below] = rules

    def driver(self, path: str, name: str) -> tuple[str, Expression] | None:
        """The wire to an input of a leaf or nest, with the nest it is read in; None when nothing drives it."""
        return self._drivers.get((path, name))

    def rules_of(self, path: str, kind: str) -> tuple[Rule, ...]:
        return self._rules.get((path, kind), ())

    def trigger(self, path: str) -> Rule | None:
        """The condition that makes a leaf tick, if it has one in place of a clock."""
        return next(iter(self.rules_of(path, "triggered")), None)

    def continuous(self, path: str) -> bool:
        """Whether a leaf's outputs follow its inputs at all times: it has no clock, no hits and no trigger."""
        leaf = self.leaves[path]
        return not leaf.step and leaf.clocked is None and self.trigger(path) is None

    def crossing(self, rule: Rule) -> tuple[str, str] | None:
        """The leaf and crossing that a trigger names, or None when its signal is a held one."""
        if rule.condition.signal[0] != "read":
            return None
        path, _, name = join(rule.scope, rule.condition.signal[1]).rpartition(".")
        return (path, name) if path in self.leaves and name in self.leaves[path].crossings else None

    def ticks_at(self, path: str, ns: int) -> int | None:
        """The index of the tick of a leaf's clock at this time, tick k being at offset + k periods rounded to ns."""
        leaf = self.leaves[path]
        return index(leaf.clocked, leaf.offset, ns) if leaf.clocked else None


def index(period: Fraction, offset: int, ns: int) -> int | None:
    """Which tick of a clock is at this time.

    >>> index(Fraction(10**9, 30), 0, 33_333_333), index(Fraction(10**9, 30), 0, 33_333_334)
    (1, None)
    """
    nearest = round((ns - offset) / period)
    return nearest if nearest >= 0 and offset + round(nearest * period) == ns else None
