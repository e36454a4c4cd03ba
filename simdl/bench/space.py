"""The conditions of a bench: the scenario's own, its faults in every lane, and a space wider than it was made for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from simdl.space import LogUniform, Normal, Uniform

if TYPE_CHECKING:
    from simdl.scenario import Scenario

WIDER = 0.5  # of the range, half of it at each end
NOMINAL, STRANGE = "as drawn", "out of distribution"


@dataclass(frozen=True)
class Condition:
    """A scenario under a condition, with what that means in words."""

    name: str
    text: str
    scenario: Scenario


def conditions(scenario: Scenario) -> list[Condition]:
    """The scenario as it is; each of its groups (such as a sensor fault) in every lane; and its space widened."""
    found = [Condition(NOMINAL, "the scenario's own space", scenario)]
    for name, parameter in scenario.groups.items():
        space = {path: what for path, what in scenario.space.items() if path != parameter}
        forced = replace(scenario, space=space, set={**scenario.set, parameter: 1.0})
        found.append(Condition(name, f"{parameter} = 1 in every lane", forced))
    space = widened(scenario.space, _limits(scenario))
    if space != dict(scenario.space):
        text = f"every range {100 * WIDER:g} % wider, except on the other side of zero or of a parameter's limits"
        found.append(Condition(STRANGE, text, replace(scenario, space=space)))
    return found


def widened(
    space: Mapping[str, Any], limits: Mapping[str, tuple[float, float]] | None = None, by: float = WIDER
) -> dict[str, Any]:
    """A space whose ranges are wider by this part of themselves; a range on one side of zero stays there.

    limits: path -> (low, high) that a parameter may take. Choices stay as they are.

    >>> widened({"a": Uniform(-1.0, 1.0), "b": Uniform(1.0, 2.0), "c": Normal(0.0, 2.0)})
    {'a': Uniform(low=-1.5, high=1.5, shape=()), 'b': Uniform(low=0.75, high=2.25, shape=()), 'c': Normal(mean=0.0, std=3.0, low=-inf, high=inf, shape=())}
    """  # noqa: E501
    found: dict[str, Any] = {}
    for path, what in space.items():
        least, most = (limits or {}).get(path, (-math.inf, math.inf))
        if isinstance(what, Uniform):
            low, high = _wider(what.low, what.high, by)
            what = replace(what, low=max(low, least), high=min(high, most))
        elif isinstance(what, LogUniform):
            low, high = (math.exp(x) for x in _wider(math.log(what.low), math.log(what.high), by, False))
            what = replace(what, low=max(low, least), high=min(high, most))
        elif isinstance(what, Normal):
            low, high = what.low, what.high
            if math.isfinite(low) and math.isfinite(high):
                low, high = _wider(low, high, by)
            what = replace(what, std=what.std * (1 + by), low=max(low, least), high=min(high, most))
        found[path] = what
    return found


def _wider(low: float, high: float, by: float, signed: bool = True) -> tuple[float, float]:
    more = by * (high - low) / 2
    first, last = low - more, high + more
    if signed and low >= 0:
        first = max(first, low / 2)
    if signed and high <= 0:
        last = min(last, high / 2)
    return first, last


def _limits(scenario: Scenario) -> dict[str, tuple[float, float]]:
    """What the parameters' declarations allow."""
    from simdl.compile import compile_model
    from simdl.declarations import Param

    model = compile_model(scenario.build())
    found = {}
    for path in scenario.space:
        owner, _, name = path.rpartition(".")
        block: Any = model.root
        for part in owner.split(".") if owner else ():
            block = getattr(block, part, None)
        one = type(block).declared().get(name) if block is not None and hasattr(type(block), "declared") else None
        if isinstance(one, Param):
            low, high = getattr(one, "low", None), getattr(one, "high", None)
            found[path] = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
    return found
