"""The smallest experiment found that still shows what a larger one shows: parts are left out while it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tests.reference.expression import Expression, names
from tests.reference.spec import Experiment, Leaf, Nest

NUMBER: Expression = ("const", 0.25)


def reduce(experiment: Experiment, fails: Callable[[Experiment], bool], seconds: float = 200.0) -> Experiment:
    """Apply simplifications while `fails` says that the fault is still there, for at most so long."""
    end, improved = time.monotonic() + seconds, True
    while improved:
        improved, index = False, 0
        while index < len(attempts := list(simpler(experiment))) and time.monotonic() < end:
            try:
                shows = fails(attempts[index])
            except Exception:  # what was left out was needed
                shows = False
            if shows:
                experiment, improved = attempts[index], True
            else:
                index += 1
    return experiment


def simpler(experiment: Experiment) -> Iterator[Experiment]:
    """Experiments a little simpler, the boldest first."""
    for root in _nests(experiment.root):
        yield replace(experiment, root=root)
    for shorter in (experiment.until // 2, experiment.until * 3 // 4):
        if shorter >= 10_000_000:
            yield replace(experiment, until=shorter // 1_000_000 * 1_000_000)
    if experiment.set:
        yield replace(experiment, set={})
    for name, given in experiment.inputs.items():
        if isinstance(given, tuple):
            yield replace(experiment, inputs={**experiment.inputs, name: given[1][0]})
            for k in range(1, len(given[0])):
                fewer = tuple(tuple(part[:k] + part[k + 1 :]) for part in given)
                yield replace(experiment, inputs={**experiment.inputs, name: fewer})
        if not _reads(experiment.root, lambda read, name=name: read == name):
            inputs = {other: value for other, value in experiment.inputs.items() if other != name}
            kept = tuple(other for other in experiment.root.inputs if other != name)
            yield replace(experiment, inputs=inputs, root=replace(experiment.root, inputs=kept))


def _nests(nest: Nest) -> Iterator[Nest]:
    for child in nest.children:
        others = tuple(other for other in nest.children if other is not child)
        wires = {target: wire for target, wire in nest.wires.items() if target.partition(".")[0] != child.name}
        yield _without(
            replace(nest, children=others, wires=wires), lambda read, gone=child.name: read.partition(".")[0] == gone
        )
    for name in nest.inputs if nest.name else ():
        if not _reads(nest, lambda read, name=name: read == name):
            yield replace(nest, inputs=tuple(other for other in nest.inputs if other != name))
    for name in nest.outputs:
        if nest.name == "" or len(nest.outputs) > 1:
            yield replace(nest, outputs={k: v for k, v in nest.outputs.items() if k != name})
    for index, child in enumerate(nest.children):
        if child.conditions:
            for k in range(len(child.conditions)):
                yield _put(nest, index, replace(child, conditions=child.conditions[:k] + child.conditions[k + 1 :]))
        if isinstance(child, Nest):
            for smaller in _nests(child):
                put = _put(nest, index, smaller)
                lost = [f"{child.name}.{name}" for name in child.inputs if name not in smaller.inputs]
                yield replace(put, wires={k: v for k, v in put.wires.items() if k not in lost})
        else:
            for less, gone in _leaves(child):
                put = _put(nest, index, less)
                put = replace(put, wires={k: v for k, v in put.wires.items() if k != f"{child.name}.{gone}"})
                yield _without(put, lambda read, port=f"{child.name}.{gone}": read == port)
    for target, wire in nest.wires.items():
        for less in _expressions(wire):
            yield replace(nest, wires={**nest.wires, target: less})
    for index, child in enumerate(nest.children):
        for k, condition in enumerate(child.conditions):
            for signal in _expressions(condition.signal, condition=True):
                changed = (*child.conditions[:k], replace(condition, signal=signal), *child.conditions[k + 1 :])
                yield _put(nest, index, replace(child, conditions=changed))


def _put(nest: Nest, index: int, child: Leaf | Nest) -> Nest:
    return replace(nest, children=(*nest.children[:index], child, *nest.children[index + 1 :]))


def _leaves(leaf: Leaf) -> Iterator[tuple[Leaf, str]]:
    """Leaves with less in them, and the name that is gone (or "")."""
    for field, plain in (("latency", 0), ("offset", 0), ("stream", None), ("initial", {}), ("first", 0.0)):
        if getattr(leaf, field) != plain:
            yield replace(leaf, **{field: plain}), ""
    for field in ("methods", "joint", "crossings", "outputs", "states", "inputs", "params", "noises"):
        for gone in getattr(leaf, field):
            yield _less(leaf, gone), gone
    for field in ("tick", "hit", "derivative", "joint"):
        for name, expression in getattr(leaf, field).items():
            for less in _expressions(expression):
                yield replace(leaf, **{field: {**getattr(leaf, field), name: less}}), ""
    for name, (expression, before) in leaf.methods.items():
        for less in _expressions(expression):
            yield replace(leaf, methods={**leaf.methods, name: (less, before)}), ""
    for name, crossing in leaf.crossings.items():
        for less in _expressions(crossing.guard):
            yield replace(leaf, crossings={**leaf.crossings, name: replace(crossing, guard=less)}), ""


def _less(leaf: Leaf, gone: str) -> Leaf:
    """The leaf without one declaration; what read it reads a number."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(inner) for key, inner in value.items() if key != gone}
        return _number(value, lambda read: read == gone) if isinstance(value, tuple) else value

    plain = "inputs params states outputs noises initial derivative tick hit joint".split()
    fields: dict[str, Any] = {name: clean(getattr(leaf, name)) for name in plain}
    fields["methods"] = {
        name: (_number(expression, lambda read: read == gone), before)
        for name, (expression, before) in leaf.methods.items() if name != gone
    }  # fmt: skip
    fields["crossings"] = {
        name: replace(crossing, guard=clean(crossing.guard), reset=clean(crossing.reset))
        for name, crossing in leaf.crossings.items() if name != gone
    }  # fmt: skip
    return replace(leaf, **fields)


def _expressions(expression: Expression, condition: bool = False) -> Iterator[Expression]:
    """Simpler expressions: a part of it, a number, or one of its parts made simpler."""
    logical = ("gt", "and", "or", "not")
    parts = [part for part in expression[1:] if isinstance(part, tuple)]
    if not condition:
        if expression[0] not in ("const", "read"):
            yield from (part for part in parts if part[0] not in logical)
        if expression[0] != "const":
            yield NUMBER
    else:
        yield from (part for part in parts if part[0] in logical)
    for index, part in enumerate(expression):
        if isinstance(part, tuple):
            for less in _expressions(part, condition=part[0] in logical):
                yield (*expression[:index], less, *expression[index + 1 :])


def _number(expression: Expression, gone: Callable[[str], bool]) -> Expression:
    """The expression with a number for what is gone."""
    if expression[0] == "read":
        return NUMBER if gone(expression[1]) else expression
    return tuple(_number(part, gone) if isinstance(part, tuple) else part for part in expression)


def _without(nest: Nest, gone: Callable[[str], bool]) -> Nest:
    """The nest with a number, or no condition, wherever it read what is gone."""
    children = tuple(
        replace(child, conditions=tuple(
            rule for rule in child.conditions if not any(map(gone, names(rule.signal)))
        )) for child in nest.children
    )  # fmt: skip
    wires = {target: _number(wire, gone) for target, wire in nest.wires.items()}
    outputs = {name: _number(shown, gone) for name, shown in nest.outputs.items()}
    outputs = {name: shown for name, shown in outputs.items() if shown[0] != "const"}
    return replace(nest, children=children, wires=wires, outputs=outputs)


def _reads(nest: Nest, wanted: Callable[[str], bool]) -> bool:
    expressions = [*nest.wires.values(), *nest.outputs.values()]
    expressions += [rule.signal for child in nest.children for rule in child.conditions]
    return any(wanted(name) for expression in expressions for name in names(expression))
