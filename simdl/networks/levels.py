"""The levels that a monitor compares with, checked when it is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from simdl.errors import NetworkError
from simdl.networks.ood.energy import Energy
from simdl.networks.ood.scorer import Scorer
from simdl.port import Port, Signal


def check_levels(options: Mapping[str, Any], scorer: Scorer | None) -> None:
    """Raise NetworkError for bounds that nothing is between, and a hysteresis that no score gets below."""
    known = {name: options[name] for name in ("low", "high", "hysteresis", "threshold")
             if name in options and _are_numbers(options[name])}  # fmt: skip
    low, high = (torch.as_tensor(known.get(name, edge)) for name, edge in (("low", -math.inf), ("high", math.inf)))
    if low.ndim and high.ndim and low.shape != high.shape:
        raise NetworkError("Monitor", f"low of shape {tuple(low.shape)}, high of shape {tuple(high.shape)}",
                           "numbers, or both of the shape of the result")  # fmt: skip
    if bool((low > high).any()):
        raise NetworkError("Monitor", f"low={known.get('low')} above high={known.get('high')}", "low <= high",
                           "exchange them: the result is found where it is outside of low to high")  # fmt: skip
    band = torch.as_tensor(known.get("hysteresis", 0.0))
    threshold = torch.as_tensor(known.get("threshold", math.inf))
    if bool((~(band >= 0) | band.isinf()).any()):
        raise NetworkError("Monitor", f"hysteresis={known['hysteresis']}", "a finite number, zero or more",
                           "a part of the threshold, such as hysteresis=0.1 * threshold")  # fmt: skip
    signed = scorer is None or isinstance(scorer, Energy)  # all other scores are zero or more
    if not signed and bool((band > threshold).any()):
        raise NetworkError("Monitor", f"hysteresis={known['hysteresis']} above threshold={known.get('threshold')}",
                           "at most the threshold", "a smaller one: no score gets below threshold - hysteresis, so the "
                           "monitor would never go back")  # fmt: skip


def _are_numbers(value: Any) -> bool:
    """Whether it is numbers and not a signal; what is neither, the parameter itself refuses."""
    if isinstance(value, Signal | str):
        return False
    try:
        return not torch.as_tensor(value).is_complex()
    except (TypeError, ValueError, RuntimeError):
        return False


def width_of(source: Any) -> int | None:
    """How many features a wired signal has; None while its shape is open."""
    if isinstance(source, Port):
        shape = getattr(type(source.owner).declared().get(source.name), "shape", None)
        return None if shape is None else math.prod(shape)
    if isinstance(source, Tensor):
        return source.numel()
    return 1 if isinstance(source, int | float) else None
