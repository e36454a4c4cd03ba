"""Which values of a spec depend on which at one instant, and whether that is legal (S5, S6).

On the safe side of the specification: a condition counts as an input of every port of what it encloses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from math import gcd

from tests.reference.expression import Expression, names, reads
from tests.reference.model import Model, Rule, join
from tests.reference.spec import Leaf, Nest

Node = tuple[str, str]
Ticking = tuple[int | str, int]  # period in ns (a rate as text) and offset: what decides which ticks coincide


def legal(root: Nest) -> bool:
    """Whether no value depends on itself, for every set of clocks that can tick together."""
    model = Model(root)
    clocks = {path: _ticking(leaf) for path, leaf in model.leaves.items() if leaf.clocked}
    distinct = sorted(set(clocks.values()), key=str)
    together = [
        set(chosen)
        for size in range(len(distinct) + 1)
        for chosen in combinations(distinct, size)
        if all(_coincide(a, b) for a, b in combinations(chosen, 2))
    ]
    largest = [chosen for chosen in together if not any(chosen < other for other in together)]
    ports = [(path, name) for path, leaf in model.leaves.items() for name in (*leaf.ports, *leaf.inputs, "@tick")]
    if not _acyclic(ports, lambda node: _starts(model, node)):
        return False
    sets = [{path for path in clocks if clocks[path] in chosen} for chosen in largest]
    return all(_acyclic(ports, lambda node, ticking=ticking: _needs(model, node, ticking)) for ticking in sets)


def _ticking(leaf: Leaf) -> Ticking:
    return (leaf.period or f"{leaf.rate} Hz", leaf.offset)


def _coincide(a: Ticking, b: Ticking) -> bool:
    if isinstance(a[0], str) or isinstance(b[0], str):
        return True
    return (a[1] - b[1]) % gcd(a[0], b[0]) == 0


def _acyclic(nodes: Iterable[Node], needs: Callable[[Node], Iterator[Node]]) -> bool:
    done: set[Node] = set()
    open_: set[Node] = set()

    def visit(node: Node) -> bool:
        if node in done:
            return True
        if node in open_:
            return False
        open_.add(node)
        if not all(visit(other) for other in needs(node)):
            return False
        open_.remove(node)
        done.add(node)
        return True

    return all(visit(node) for node in nodes)


def _starts(model: Model, node: Node) -> Iterator[Node]:
    """What a value depends on at the start, when `@initial` runs: held outputs are at their initial values."""
    path, name = node
    leaf = model.leaves[path]
    if name in leaf.inputs:
        yield from _driver(model, path, name)
    elif name in leaf.states:  # one @initial may give any of them
        yield from _methods(model, path, *leaf.initial.values())
    elif name in leaf.computed and model.continuous(path):
        together = leaf.joint.values() if name in leaf.joint else (leaf.computed[name],)
        yield from _methods(model, path, *together)
        yield from ((path, state) for state in reads(*together) if state in leaf.states)


def _needs(model: Model, node: Node, ticking: set[str]) -> Iterator[Node]:
    """What a port of a leaf, or its tick, depends on at the same instant."""
    path, name = node
    leaf = model.leaves[path]
    free = leaf.clocked is None
    if name in leaf.inputs:
        yield from _driver(model, path, name)
        return
    for rule in model.enclosing[path]:
        yield from _condition(model, rule)
    if name == "@tick":
        if free or path in ticking:
            yield from _methods(model, path, *leaf.step.values())
            for what in leaf.computed.values():
                yield from _methods(model, path, what)
    elif name in leaf.states or leaf.latency or not (free or path in ticking):
        return
    elif name in leaf.outputs and name not in leaf.joint:  # of the tick, even where the tick leaves it as it was
        yield from _methods(model, path, *leaf.step.values())
    elif name in leaf.joint:
        yield from _methods(model, path, *leaf.joint.values())
    elif name in leaf.computed:
        yield from _methods(model, path, leaf.computed[name])


def _condition(model: Model, rule: Rule) -> Iterator[Node]:
    if model.crossing(rule) is None:
        yield from _signal(model, rule.scope, rule.condition.signal)


def _methods(model: Model, path: str, *expressions: Expression) -> Iterator[Node]:
    """The ports that the inputs read by these expressions lead to."""
    for name in reads(*expressions):
        if name in model.leaves[path].inputs:
            yield (path, name)


def _driver(model: Model, path: str, name: str) -> Iterator[Node]:
    """The ports that the wire to an input of a leaf or nest reads."""
    driver = model.driver(path, name) if path else None
    if driver is not None:
        yield from _signal(model, *driver)


def _signal(model: Model, scope: str, expression: Expression) -> Iterator[Node]:
    for name in names(expression):
        yield from _name(model, scope, name)


def _name(model: Model, scope: str, name: str) -> Iterator[Node]:
    nest = model.nests[scope]
    if name in nest.params:
        return
    if name in nest.inputs:
        yield from _driver(model, scope, name)
        return
    path, _, port = join(scope, name).rpartition(".")
    if path in model.nests:
        yield from _signal(model, path, model.nests[path].outputs[port])
    else:
        yield (path, port)
