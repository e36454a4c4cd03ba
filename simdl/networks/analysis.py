"""What a network is made of, what it costs, how far back it sees, and what looks wrong about it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from simdl.clock import SECOND, Duration, rate_text
from simdl.networks.call import kind_of
from simdl.networks.evaluation import drawn, evaluated
from simdl.networks.imported import Imported
from simdl.networks.network import Network
from simdl.networks.opening import open_network
from simdl.networks.parts import LayerRow, layer_rows, multiply_accumulates
from simdl.networks.reach import reach
from simdl.networks.warnings import warnings_of

SAMPLES = 256
REPEATS = 200


@dataclass(frozen=True)
class Latency:
    """Seconds of one evaluation in eager torch, on this machine, one thread or as many as torch has."""

    lanes: int
    median: float
    p99: float
    threads: int


@dataclass(frozen=True)
class Analysis:
    """macs: of one tick and one lane, None when not_counted names operators with products that are not counted;
    weight_bytes: parameters and buffers; activation_bytes: the outputs of all layers
    for one lane; receptive: how far back an output looks, in ticks (None: without limit; the samples of a window that
    is a port count as ticks) and seconds (None without a period); warnings: what looks wrong."""

    source: str
    format: str
    kind: str
    dtype: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    period: str
    layers: tuple[LayerRow, ...]
    parameters: int
    macs: int | None
    weight_bytes: int
    activation_bytes: int
    receptive_ticks: int | None
    receptive_seconds: float | None
    latency: tuple[Latency, ...]
    warnings: tuple[str, ...]
    not_counted: tuple[str, ...] = ()

    def twin(self) -> dict[str, Any]:
        return {"schema": "simdl-network-1", **asdict(self)}


def analyse(
    path: str | Path, *, period: Duration | None = None, repeats: int = REPEATS, **options: Any
) -> Analysis:  # fmt: skip
    """Analyse what `open_network` reads. period: the time between ticks it is meant to run at; options: as there."""
    found = open_network(path, **options)
    return analyse_network(found, period=period, repeats=repeats)


def analyse_network(given: Network | Imported, *, period: Duration | None = None, repeats: int = REPEATS) -> Analysis:
    """Analyse a block, or a network that was opened. Nothing in it changes.

    Multiply-accumulates count matrix products, convolutions and attention as torch's own counter does, and recurrent
    layers by their products; element-wise work is not counted.
    """
    about = given if isinstance(given, Imported) else None
    block = given if isinstance(given, Network) else _block(given, period)
    plan, module, card = block._plan, block.module, block._plan.card
    inputs = drawn(block, SAMPLES)
    rows, samples = layer_rows(block, inputs)
    macs, unknown = multiply_accumulates(block, inputs)
    parameters = list({id(p): p for p in module.parameters()}.values())
    tensors = [*parameters, *{id(b): b for b in module.buffers()}.values()]
    recurrent = plan.recurrence is not None
    ticking = card.clock if card is not None else block.clock
    if card is None and about is not None and period is None:
        ticking = None
    seen = reach(block, samples)
    windowed = plan.window is not None or (seen or 1) > 1
    seconds = None
    if ticking is not None and seen is not None:
        seconds = float(Fraction(ticking.numerator, ticking.denominator * SECOND) * (seen - 1))
    dtype = kind_of(module)[0]
    return Analysis(
        source=about.source if about else str(block), format=about.format if about else "block",
        kind="recurrent" if recurrent else "window" if windowed else "feed-forward",
        dtype=str(dtype).removeprefix("torch.") if dtype else "none", inputs=_ports(plan.inputs, card and card.inputs),
        outputs=_ports(plan.outputs, card and card.outputs), period=rate_text(ticking) if ticking else "",
        layers=tuple(rows), parameters=sum(p.numel() for p in parameters), macs=None if unknown else macs,
        weight_bytes=sum(t.numel() * t.element_size() for t in tensors),
        activation_bytes=sum(row.bytes for row in rows), receptive_ticks=seen, receptive_seconds=seconds,
        latency=tuple(_latency(block, lanes, max(3, repeats // (1 if lanes == 1 else 10))) for lanes in (1, 1000)),
        warnings=tuple(warnings_of(block, card, about, dtype, inputs, period)), not_counted=tuple(sorted(unknown)),
    )  # fmt: skip


def _block(found: Imported, period: Duration | None) -> Network:
    if "card" in found.options:
        return found.block()
    return found.block(**({"triggered": True} if period is None else {"period": period}))


def _ports(declared: Any, features: Any) -> tuple[str, ...]:
    units = {feature.name: feature.unit for feature in features or ()}
    texts = []
    for name, one in declared.items():
        unit = units.get(name) or one.unit
        texts.append(f"{name}{f' [{unit}]' if unit else ''}{f' {list(one.shape)}' if one.shape else ''}")
    return tuple(texts)


def _latency(block: Network, lanes: int, repeats: int) -> Latency:
    inputs = [value.repeat(-(-lanes // len(value)), *(1,) * (value.ndim - 1))[:lanes] for value in drawn(block, 64)]
    times = []
    for k in range(repeats + 3):
        begin = time.perf_counter()
        evaluated(block, inputs)
        if k >= 3:  # the first calls measure how the module may be called
            times.append(time.perf_counter() - begin)
    sorted_times = torch.tensor(times, dtype=torch.float64)
    median, p99 = (float(torch.quantile(sorted_times, q)) for q in (0.5, 0.99))
    return Latency(lanes, median, p99, torch.get_num_threads())
