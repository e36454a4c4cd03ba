"""What looks wrong about a network: warnings, each a line of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from simdl.clock import Duration, clock, rate_text
from simdl.networks.card import ModelCard
from simdl.networks.evaluation import watch
from simdl.networks.imported import Imported
from simdl.networks.network import Network
from simdl.networks.reach import receptive_field

SATURATED = 0.99  # of the range of a tanh or sigmoid
_BOUNDED = (nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardsigmoid, nn.Softsign)


def warnings_of(
    block: Network, card: ModelCard | None, about: Imported | None, dtype: torch.dtype | None, inputs: list[Tensor],
    period: Duration | None,
) -> Iterator[str]:  # fmt: skip
    if card is None:
        yield "no model card: units, rate, normalisation and the range of the inputs are not known"
    else:
        yield from _unscaled(block, card)
        asked = None if period is None else clock(period, None, None, "--period")
        if asked is not None and (asked.numerator, asked.denominator) != (card.clock.numerator, card.clock.denominator):
            yield f"made for a tick every {rate_text(card.clock)}, and to be run every {rate_text(asked)}"
        if any(feature.low is None or feature.high is None for feature in card.inputs):
            names = ", ".join(f.name for f in card.inputs if f.low is None or f.high is None)
            yield f"no box for {names}: what lies outside of the training data cannot be told"
    if dtype is not None and dtype != torch.float32:
        yield f"weights in {str(dtype).removeprefix('torch.')}, not float32"
    if about is not None and about.check is not None and not about.check.agrees:
        yield f"the converted network {about.check}"
    for path, part in block.module.named_modules():
        if isinstance(part, nn.RNNBase) and part.bidirectional:
            yield f"{path or 'it'} is bidirectional: within a window it sees later samples"
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and not part.track_running_stats:
            yield f"{path} normalises over the batch: lanes are not apart"
    window = block._plan.window
    if window is not None:
        reach = receptive_field(block.module)
        if 1 < reach < window.length and not any(isinstance(p, nn.Linear) for p in block.module.modules()):
            yield f"its convolutions see {reach} of the {window.length} samples in the window"
    if any(not torch.isfinite(p).all() for p in block.module.parameters()):
        yield "weights that are not finite"
    yield from _units(block, inputs)


def _unscaled(block: Network, card: ModelCard) -> Iterator[str]:
    """Inputs whose box is far from unit size and that nothing normalises: no scale in the card, no buffer inside."""
    inner = any("mean" in name or "norm" in name for name, _ in block.module.named_buffers())
    inner = inner or any("norm" in type(part).__name__.lower() for part in block.module.modules())
    for feature in card.inputs:
        if feature.mean != 0.0 or feature.std != 1.0 or inner or feature.low is None or feature.high is None:
            continue
        low, high = torch.as_tensor(feature.low).double(), torch.as_tensor(feature.high).double()
        centre, half = float(((low + high) / 2).abs().max()), float(((high - low) / 2).max())
        if centre > 5 * max(half, 1e-12) or half > 10 or half < 0.05:
            yield (f"{feature.name} is not normalised, and lies between {float(low.min()):.4g} and "
                   f"{float(high.max()):.4g}")  # fmt: skip


def _units(block: Network, inputs: list[Tensor]) -> Iterator[str]:
    """Units that never move, or stand at their limits, over the card's box (or -1 to 1 without a card)."""
    low: dict[str, Tensor] = {}
    counts: dict[str, tuple[int, int]] = {}

    def keep(path: str, part: nn.Module, args: Any, result: Any) -> None:
        if not isinstance(result, Tensor) or result.ndim < 2 or not result.is_floating_point():
            return
        value = result.detach().movedim(-1, 1) if result.ndim == 3 else result.detach()
        flat = value.reshape(value.shape[0], value.shape[1], -1)
        if isinstance(part, nn.ReLU):
            active = (flat > 0).any(0).any(-1)
            low[path] = low.get(path, torch.zeros_like(active)) | active
        elif isinstance(part, _BOUNDED):
            lowest, highest = (0.0, 1.0) if isinstance(part, nn.Sigmoid | nn.Hardsigmoid) else (-1.0, 1.0)
            where = (flat - (lowest + highest) / 2).abs() * 2 / (highest - lowest)
            stuck = (where > SATURATED).all(0).all(-1)
            counts[path] = (int(stuck.sum()), len(stuck))

    watch(block, inputs, keep)
    box = "over the card's box" if block._plan.card is not None else "for inputs from -1 to 1"
    for path, active in low.items():
        dead = int((~active).sum())
        if dead:
            yield f"{path}: {dead} of {len(active)} ReLUs are zero {box}"
    for path, (stuck, size) in counts.items():
        if stuck:
            yield f"{path}: {stuck} of {size} units are saturated {box}"
