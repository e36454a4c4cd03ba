"""The same system written in another way: what must not change any result."""

from __future__ import annotations

from dataclasses import replace

from tests.reference.expression import Expression, rename
from tests.reference.spec import Experiment, Leaf, Nest

INNER = "inner"


def split(experiment: Experiment, chosen: set[str]) -> Experiment:
    """The experiment with some leaves of its root moved into a diagram of their own, noise streams kept.

    What enters the new diagram enters through inputs; what others read of it they read by the longer path.
    """
    root = experiment.root
    moved = tuple(_kept(child) for child in root.children if child.name in chosen)
    stay = tuple(child for child in root.children if child.name not in chosen)

    def longer(name: str) -> str:
        return f"{INNER}.{name}" if name.partition(".")[0] in chosen else name

    inside: dict[str, Expression] = {}
    outside: dict[str, Expression] = {}
    for target, wire in root.wires.items():
        label, _, name = target.partition(".")
        if label in chosen:
            entry = f"{label}_{name}"
            inside[target] = ("read", entry)
            outside[f"{INNER}.{entry}"] = rename(wire, longer)
        else:
            outside[target] = rename(wire, longer)
    params: dict[str, Expression] = {name: ("read", name) for name in root.params}
    entries = tuple(entry.removeprefix(f"{INNER}.") for entry in outside if entry.startswith(f"{INNER}."))
    nest = Nest(INNER, inputs=entries, children=moved, wires=inside, params=params)
    stay = tuple(
        replace(child, conditions=tuple(replace(rule, signal=rename(rule.signal, longer)) for rule in child.conditions))
        for child in stay
    )
    outputs = {name: rename(shown, longer) for name, shown in root.outputs.items()}
    new = replace(root, children=(*stay, nest), wires=outside, outputs=outputs)
    return replace(experiment, root=new, set={longer(path): value for path, value in experiment.set.items()})


def movable(experiment: Experiment) -> list[str]:
    """The leaves of the root without conditions of their own: a condition is read where the leaf is named."""
    return [child.name for child in experiment.root.children if isinstance(child, Leaf) and not child.conditions]


def _kept(child: Leaf | Nest) -> Leaf | Nest:
    """The leaf with its noise under the name it had."""
    assert isinstance(child, Leaf)
    return replace(child, stream=child.stream or child.name) if child.noises else child
