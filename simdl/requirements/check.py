"""What can be said against a requirement before a run: unknown names, unlike units, windows between the samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from simdl.errors import RequirementError
from simdl.port import Port
from simdl.requirements.evaluation import span
from simdl.requirements.grammar import COMPARISONS
from simdl.requirements.lexer import pointed
from simdl.requirements.tree import Node, Requirement, walk

_ALIKE = {*COMPARISONS, "add", "sub", "minimum", "maximum", "where", "hypot", "clamp", "mod"}
_SAME = {"neg", "abs", "getitem", "relu", "floor", "ceil", "round"}


def check_names(root: Requirement, names: Iterable[str]) -> None:
    """Raises RequirementError for a signal that is not among the names, pointing into the text it was read from."""
    known = set(names)
    for node in walk(root):
        if node.op == "signal" and node.path not in known:
            found = f"no signal {node.path!r}"
            if node.origin is not None:
                found += f"\n{pointed(node.origin.text, node.origin.position)}"
            raise RequirementError("requirement", found, "a recorded signal", names=sorted(known), wrong=node.path)


def check_windows(root: Requirement, every: int) -> None:
    """Raises RequirementError for a window between two samples."""
    for node in walk(root):
        if node.window is not None:
            span(node, every)


def check_units(root: Requirement, units: Mapping[str, str]) -> None:
    """Raises RequirementError for signals of unlike units that are compared, added or chosen between.

    Numbers have no unit and fit everywhere; so do products, whose unit is not worked out, and signals without one.
    """
    unit: dict[int, str] = {}
    for node in walk(root):
        own = ""
        if node.op == "signal":
            own = units.get(node.path) or (node.value.unit if isinstance(node.value, Port) else "")
        elif node.op in _ALIKE:
            own = _common(node, unit)
        elif node.op in _SAME:
            own = unit[id(node.args[0])]
        unit[id(node)] = "" if isinstance(node, Requirement) else own


def _common(node: Node, unit: dict[int, str]) -> str:
    found = {unit[id(arg)]: arg for arg in node.args if unit[id(arg)]}
    if len(found) > 1:
        what = " and ".join(f"{arg} in {name}" for name, arg in found.items())
        raise RequirementError(f"requirement {node}", what, "one unit", "multiply by the factor between them")
    return next(iter(found), "")
