"""Whether a network is used as its card says: names, units, shapes and rate, all mismatches in one error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from simdl.clock import Clock, rate_text
from simdl.declarations import Input, Output
from simdl.errors import NetworkError

if TYPE_CHECKING:
    from simdl.networks.card import ModelCard
    from simdl.networks.feature import Feature


def check_card(
    card: ModelCard, inputs: Mapping[str, Input], outputs: Mapping[str, Output], clock: Clock | None, allow_rate: bool,
    where: str,
) -> None:  # fmt: skip
    """Raise one NetworkError for everything in which the ports and the clock differ from the card."""
    faults = [*_ports("input", card.inputs, inputs), *_ports("output", card.outputs, outputs)]
    if not allow_rate:
        faults += _rate(card, clock)
    if faults:
        raise NetworkError(where, "is not used as its model card says:\n    " + "\n    ".join(faults), str(card))


def _ports(kind: str, features: tuple[Feature, ...], ports: Mapping[str, Input] | Mapping[str, Output]) -> list[str]:
    faults = []
    names = [feature.name for feature in features]
    missing = [name for name in names if name not in ports]
    unknown = [name for name in ports if name not in names]
    if missing:
        faults.append(f"{kind} {', '.join(missing)}: in the card, not among the ports")
    if unknown:
        faults.append(f"{kind} {', '.join(unknown)}: not in the card, which has {', '.join(names)}")
    for feature in features:
        port = ports.get(feature.name)
        if port is None:
            continue
        if port.unit and feature.unit and port.unit != feature.unit:
            faults.append(f"{kind} {feature.name}: in {port.unit}, trained in {feature.unit}")
        if port.shape is not None and port.shape != feature.shape:
            faults.append(f"{kind} {feature.name}: shape {port.shape}, trained with {feature.shape}")
    return faults


def _rate(card: ModelCard, clock: Clock | None) -> list[str]:
    if clock is None:
        return [f"no clock, trained every {rate_text(card.clock)}: give period=, or allow_rate=True"]
    if (clock.numerator, clock.denominator) == (card.clock.numerator, card.clock.denominator):
        return []
    return [f"every {rate_text(clock)}, trained every {rate_text(card.clock)}: "
            "give it its samples (simdl.networks.Resampled), retrain, or say allow_rate=True"]  # fmt: skip
