"""A simdl diagram from a spec: classes made at run time, with methods whose signatures name what they read."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterable
from typing import Any

import torch

from simdl import (
    Block,
    Diagram,
    Input,
    Noise,
    Output,
    Param,
    State,
    crossing,
    derivative,
    edges,
    enabled,
    hit,
    initial,
    output,
    resettable,
    tick,
    triggered,
)
from tests.reference.expression import SIGNALS, TENSORS, Expression, evaluate, reads
from tests.reference.model import join
from tests.reference.spec import Condition, Experiment, Leaf, Nest

CONDITIONS = {"enabled": enabled, "resettable": resettable, "triggered": triggered}


def method(expressions: Iterable[Expression], finish: Callable[[list[Any]], Any], name: str) -> Callable[..., Any]:
    """A method of a block: its arguments are the names read; `finish` makes what it returns of the values."""
    expressions = list(expressions)
    arguments = reads(*expressions)

    def compute(self: object, *given: torch.Tensor, **named: torch.Tensor) -> Any:
        values = dict(zip(arguments, given), **named)
        computed = [evaluate(expression, values.__getitem__, TENSORS) for expression in expressions]
        some = next(iter(values.values()), torch.zeros(1, dtype=torch.float64))
        return finish([_filled(value, some) for value in computed])

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    compute.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(argument, kind) for argument in ("self", *arguments)]
    )
    compute.__name__ = name
    return compute


def _filled(value: Any, like: torch.Tensor) -> torch.Tensor:
    """A number as a tensor with a value for each lane."""
    if isinstance(value, torch.Tensor) and value.ndim:
        return value
    return torch.as_tensor(value, dtype=torch.float64) + torch.zeros_like(like, dtype=torch.float64)


def _dict(named: dict[str, Expression], name: str) -> Callable[..., Any]:
    keys = list(named)
    return method(named.values(), lambda values: dict(zip(keys, values)), name)


def _one(expression: Expression, name: str) -> Callable[..., Any]:
    return method([expression], lambda values: values[0], name)


def leaf_class(leaf: Leaf) -> type[Block]:
    """The class of a leaf."""
    members: dict[str, Any] = {}
    for name, default in leaf.inputs.items():
        members[name] = Input(default=default)
    members |= {name: Param(0.0) for name in leaf.params}
    members |= {name: State(value) for name, value in leaf.states.items()}
    members |= {name: Output(initial=value) for name, value in leaf.outputs.items()}
    members |= {name: Noise(distribution=kind) for name, kind in leaf.noises.items()}
    if leaf.initial:
        members["_begin"] = initial(_dict(leaf.initial, "_begin"))
    if leaf.derivative:
        states = [members[name] for name in leaf.derivative]
        members["_flow"] = derivative(*states)(method(leaf.derivative.values(), tuple, "_flow"))
    if leaf.tick:
        members["_step"] = tick(_dict(leaf.tick, "_step"))
    if leaf.hit:
        members["_step"] = hit(first=leaf.first)(_dict(leaf.hit, "_step"))
    if leaf.edges:
        members["_edges"] = edges(_one(leaf.edges, "_edges"))
    for name, (expression, before) in leaf.methods.items():
        members[name] = output(initial=before)(_one(expression, name))
    if leaf.joint:
        outputs = [members[name] for name in leaf.joint]
        members["_joint"] = output(*outputs)(method(leaf.joint.values(), tuple, "_joint"))
    for name, guard in leaf.crossings.items():
        members[name] = crossing(rest=members[guard.rest] if guard.rest else None)(_one(guard.guard, name))
        if guard.reset is not None:
            members[f"_{name}_reset"] = members[name].reset(_dict(guard.reset, f"_{name}_reset"))
    return type(f"Leaf{leaf.name.title()}", (Block,), members)


def _leaf(leaf: Leaf, read: Callable[[str], Any]) -> Block:
    fields: dict[str, Any] = {name: evaluate(value, read, SIGNALS) for name, value in leaf.params.items()}
    if leaf.period is not None:
        fields["period"] = f"{leaf.period} ns"
    if leaf.rate is not None:
        fields["rate"] = leaf.rate
    if leaf.offset:
        fields["offset"] = f"{leaf.offset} ns"
    if leaf.latency:
        fields["latency"] = f"{leaf.latency} ns"
    if leaf.stream:
        fields["stream"] = leaf.stream
    return leaf_class(leaf)(**fields)


def nest_class(nest: Nest, root: bool, order: random.Random | None) -> type[Diagram]:
    """The class of a nest; its constructor names the children, wires them and sets their conditions.

    order: shuffles what may be declared in any order.
    """
    members: dict[str, Any] = {name: Input() for name in nest.inputs}
    members |= {name: Output() for name in nest.outputs}
    members |= {name: Param(value[1] if root else 0.0) for name, value in nest.params.items()}

    def construct(self: Any, **values: Any) -> None:
        for name, value in values.items():
            setattr(self, name, value)

        def read(name: str) -> Any:
            found = self
            for label in name.split("."):
                found = getattr(found, label)
            return found

        for child in _shuffled(nest.children, order):
            made = _nest(child, read, order) if isinstance(child, Nest) else _leaf(child, read)
            setattr(self, child.name, made)
        for target, source in _shuffled(nest.wires.items(), order):
            label, _, name = target.partition(".")
            setattr(getattr(self, label), name, evaluate(source, read, SIGNALS))
        for child in _shuffled(nest.children, order):
            for condition in child.conditions:
                _apply(condition, getattr(self, child.name), read)
        for name, shown in nest.outputs.items():
            setattr(self, name, evaluate(shown, read, SIGNALS))

    members["__init__"] = construct
    return type(f"Nest{(nest.name or 'root').title()}", (Diagram,), members)


def _shuffled(items: Iterable[Any], order: random.Random | None) -> list[Any]:
    items = list(items)
    if order:
        order.shuffle(items)
    return items


def _nest(nest: Nest, read: Callable[[str], Any], order: random.Random | None) -> Diagram:
    values = {name: evaluate(value, read, SIGNALS) for name, value in nest.params.items()}
    return nest_class(nest, False, order)(**values)


def _apply(condition: Condition, child: Any, read: Callable[[str], Any]) -> None:
    name = "outputs" if condition.kind == "enabled" else "edge"
    options: dict[str, Any] = {name: getattr(condition, name)}
    if condition.period is not None:
        options["period"] = f"{condition.period} ns"
    CONDITIONS[condition.kind](child, evaluate(condition.signal, read, SIGNALS), **options)


def build(root: Nest, order: random.Random | None = None) -> Diagram:
    """The diagram of a root nest; with `order`, declared in a random order."""
    return nest_class(root, True, order)()


def inputs_of(experiment: Experiment) -> dict[str, Any]:
    """External inputs as `simulate` takes them."""
    return {
        name: tuple(map(list, given)) if isinstance(given, tuple) else given
        for name, given in experiment.inputs.items()
    }


def paths_of(experiment: Experiment) -> list[str]:
    """All outputs and states of all leaves, and all outputs of nests."""

    def below(path: str, nest: Nest) -> Iterable[str]:
        yield from (join(path, name) for name in nest.outputs)
        for child in nest.children:
            here = join(path, child.name)
            if isinstance(child, Nest):
                yield from below(here, child)
            else:
                yield from (f"{here}.{name}" for name in child.ports)

    return list(below("", experiment.root))
