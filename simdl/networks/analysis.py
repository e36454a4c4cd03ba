"""What a network is made of, what it costs, how far back it sees, and what looks wrong about it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from simdl.clock import SECOND, Duration, clock
from simdl.networks.call import kind_of, training
from simdl.networks.card import ModelCard, rate_text
from simdl.networks.imported import Imported
from simdl.networks.layers import first_width
from simdl.networks.network import Network
from simdl.networks.onnx.executors import Executed
from simdl.networks.onnx.program import Program
from simdl.networks.opening import open_network
from simdl.networks.products import Counter, Graphs, Row, graph_rows, node_rows, weight_products

SAMPLES = 256
REPEATS = 200
SATURATED = 0.99  # of the range of a tanh or sigmoid
_BOUNDED = (nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardsigmoid, nn.Softsign)


@dataclass(frozen=True)
class LayerRow:
    """One part of a network: its path, kind, output shape of one lane, parameters of its own, and multiply-accumulates
    and bytes of output of one evaluation for one lane. macs: None where they are not counted. In programs of
    torch.export and ONNX files parts are calls that use weights or make products."""

    path: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    macs: int | None
    bytes: int


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
    inputs = _inputs(block, SAMPLES)
    rows, samples = _layers(block, module, inputs)
    macs, unknown = _macs(block, inputs)
    parameters = list({id(p): p for p in module.parameters()}.values())
    tensors = [*parameters, *{id(b): b for b in module.buffers()}.values()]
    recurrent = plan.recurrence is not None
    ticking = card.clock if card is not None else block.clock
    if card is None and about is not None and period is None:
        ticking = None
    reach = _reach(block, samples)
    windowed = plan.window is not None or (reach or 1) > 1
    seconds = None
    if ticking is not None and reach is not None:
        seconds = float(Fraction(ticking.numerator, ticking.denominator * SECOND) * (reach - 1))
    dtype = kind_of(module)[0]
    return Analysis(
        source=about.source if about else str(block), format=about.format if about else "block",
        kind="recurrent" if recurrent else "window" if windowed else "feed-forward",
        dtype=str(dtype).removeprefix("torch.") if dtype else "none", inputs=_ports(plan.inputs, card and card.inputs),
        outputs=_ports(plan.outputs, card and card.outputs), period=rate_text(ticking) if ticking else "",
        layers=tuple(rows), parameters=sum(p.numel() for p in parameters), macs=None if unknown else macs,
        weight_bytes=sum(t.numel() * t.element_size() for t in tensors),
        activation_bytes=sum(row.bytes for row in rows), receptive_ticks=reach, receptive_seconds=seconds,
        latency=tuple(_latency(block, lanes, max(3, repeats // (1 if lanes == 1 else 10))) for lanes in (1, 1000)),
        warnings=tuple(_warnings(block, card, about, dtype, inputs, period)), not_counted=tuple(sorted(unknown)),
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


def _inputs(block: Network, count: int) -> list[Tensor]:
    """Values of the ports: from the card's box, else from its mean and spread; uniform, the same each time."""
    features = {feature.name: feature for feature in (block._plan.card.inputs if block._plan.card else ())}
    generator = torch.Generator().manual_seed(0)
    dtype = kind_of(block.module)[0] or torch.get_default_dtype()
    found = []
    for name, one in block._plan.inputs.items():
        width = first_width(block.module) if one.shape is None else None
        shape = (count, *(one.shape if one.shape is not None else () if width in (None, 1) else (width,)))
        value = 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1
        feature = features.get(name)
        if feature is not None:
            mean, std = _like(feature.mean, shape), _like(feature.std, shape)
            low = mean - 2 * std if feature.low is None else _like(feature.low, shape)
            high = mean + 2 * std if feature.high is None else _like(feature.high, shape)
            value = low + (high - low) * (value + 1) / 2
        whole = one.dtype is not None and not one.dtype.is_floating_point
        found.append(torch.zeros(shape, dtype=one.dtype) if whole else value.to(dtype))
    return found


def _like(number: Any, shape: tuple[int, ...]) -> Tensor:
    value = torch.as_tensor(number, dtype=torch.float64)
    if value.ndim == 1 and len(shape) > 2:
        size = math.prod(shape[1:])
        return value.reshape(shape[1:]) if value.numel() == size else value.reshape(-1, *(1,) * (len(shape) - 2))
    return value.reshape(()) if value.numel() == 1 else value


def _evaluated(block: Network, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """One tick, with full windows where there are any."""
    lanes = inputs[0].shape[0]
    plan = block._plan
    memory = {}
    for name, one in plan.memory.items():
        first = torch.as_tensor(one.initial)
        shape = tuple(one.shape) if one.shape is not None else tuple(first.shape)
        first = first.to(one.dtype or (inputs[0].dtype if first.is_floating_point() else first.dtype))
        memory[name] = first.expand(lanes, *shape).clone()
    window = plan.window
    if window is not None:
        memory["ticks"] = torch.full_like(memory["ticks"], window.length - 1)
        row = torch.cat([v.flatten(1) if v.ndim > 1 else v[:, None] for v in inputs], -1)
        order = [torch.roll(row, k, 0) for k in range(window.length)]
        memory["history"] = torch.stack(order, 1).to(memory["history"].dtype)
    memory.pop("reset_before", None)
    with torch.no_grad():
        found: dict[str, Tensor] = block._evaluate(list(inputs), memory)
    return found


@contextmanager
def _watched(module: nn.Module, keep: Any) -> Iterator[None]:
    """Calls keep(path, part, args, result) for every leaf of a module; a traced program is one."""
    handles, inside = [], set[nn.Module]()
    for path, part in module.named_modules(remove_duplicate=True):
        if isinstance(part, Graphs):
            inside.update(one for one in part.modules() if one is not part)
        if part not in inside and (isinstance(part, Graphs) or not any(True for _ in part.children())):
            hook = lambda p, args, result, path=path: keep(path, p, args, result)  # noqa: E731
            handles.append(part.register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _once(block: Network, inputs: Sequence[Tensor], keep: Any) -> None:
    """One evaluation in one call of the module, however `Call` would cut it, with every leaf watched."""
    call = block._call
    kept = call.mode, call.chunk, call.only
    call.mode, call.chunk = "fast", None
    if call.only == inputs[0].shape[0]:
        call.only = None
    try:
        with training(block.module, False), _watched(block.module, keep):
            _evaluated(block, inputs)
    finally:
        call.mode, call.chunk, call.only = kept


def _layers(block: Network, module: nn.Module, inputs: Sequence[Tensor]) -> tuple[list[LayerRow], set[int]]:
    """A row for each part, and the lengths of the sequences that calls in graphs go along."""
    rows: list[LayerRow] = []
    samples: set[int] = set()
    lanes = block._call.only or 1

    def put(path: str, kind: str, tensors: Sequence[Tensor], parameters: int, macs: int | None) -> None:
        shape = tuple(tensors[0].shape[1:]) if tensors else (0,)
        size = sum(one.numel() * one.element_size() for one in tensors)
        rows.append(LayerRow(path or "(itself)", kind, shape, parameters, None if macs is None else macs // lanes,
                             size // lanes))  # fmt: skip

    def keep(path: str, part: nn.Module, args: Any, result: Any) -> None:
        if isinstance(part, fx.GraphModule):
            put_rows(graph_rows(part, args)[0], path)
        elif not isinstance(part, Program):
            own = sum(p.numel() for p in part.parameters(recurse=False))
            seen = any(row.path == path for row in rows)  # a part that is used twice has its weights once
            put(path, type(part).__name__, list(_flat(result)), 0 if seen else own,
                None if isinstance(part, Executed) else _part_macs(part, args))  # fmt: skip

    def put_rows(found: Sequence[Row], path: str = "") -> None:
        for one in found:
            put(".".join(filter(None, (path, one.name))), one.kind, one.results, one.parameters, one.macs)
            samples.update(() if one.samples is None else (one.samples,))

    with node_rows(module) as (nodes, _):
        _once(block, [value[:lanes] for value in inputs], keep)
    put_rows(nodes)
    return rows, samples


def _flat(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _flat(one)
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _flat(one)


def _part_macs(part: nn.Module, args: Any) -> int | None:
    if isinstance(part, nn.RNNBase | nn.RNNCellBase):
        return _recurrent_macs(part, args[0])
    hooks, part_hooks = part._forward_hooks, type(part._forward_hooks)()
    part._forward_hooks = part_hooks
    try:
        with torch.no_grad(), Counter() as counter:
            part(*args)
    except Exception:  # a leaf that wants keywords: its products stay in the total
        return 0
    finally:
        part._forward_hooks = hooks
    return None if counter.unknown else counter.macs


def _recurrent_macs(part: nn.RNNBase | nn.RNNCellBase, x: Tensor) -> int:
    samples = x.shape[0] * x.shape[1] if isinstance(part, nn.RNNBase) and x.ndim == 3 else x.shape[0]
    return weight_products([p for name, p in part.named_parameters() if name.startswith("weight")], samples)


def _macs(block: Network, inputs: Sequence[Tensor]) -> tuple[int, set[str]]:
    """Of one lane: what torch counts, with recurrent layers by their products; and operators that are not counted."""
    lanes = block._call.only or 2
    total = 0
    unknown: set[str] = set()
    before: list[tuple[int, set[str]]] = []
    own = [p for p in block.module.modules() if isinstance(p, nn.RNNBase | nn.RNNCellBase | fx.GraphModule | Executed)]
    inner = {one for part in own for one in part.modules() if one is not part}

    def begin(part: nn.Module, args: Any) -> None:
        before.append((counter.macs, set(counter.unknown)))

    def end(part: nn.Module, args: Any, result: Any) -> None:
        nonlocal total
        if isinstance(part, fx.GraphModule):
            rows, more = graph_rows(part, args)
            total += sum(row.macs or 0 for row in rows)
            unknown.update(more)
        elif isinstance(part, Executed):
            unknown.add("what ONNX Runtime computes")
        else:
            total += _recurrent_macs(part, args[0])  # type: ignore[arg-type]
        macs, names = before.pop()  # torch counts these, or not, by platform: take what stands outside of them
        total -= counter.macs - macs
        counter.unknown = names

    handles = [h for part in own if part not in inner
               for h in (part.register_forward_pre_hook(begin), part.register_forward_hook(end))]  # fmt: skip
    try:
        with Counter() as counter:
            _once(block, [value[:lanes] for value in inputs], lambda *_: None)
    finally:
        for handle in handles:
            handle.remove()
    return (total + counter.macs) // lanes, unknown | counter.unknown


def _reach(block: Network, samples: set[int]) -> int | None:
    """How many ticks an output sees, the present one included; None when there is no end.

    samples: lengths of sequences in the module; a port that holds one is a window made outside.
    """
    if block._plan.recurrence is not None:
        return None
    window = block._plan.window
    if window is None:
        ports = {one.shape[axis] for one in block._plan.inputs.values() if one.shape is not None and len(one.shape) == 2
                 for axis in (0, 1)}  # fmt: skip
        return max((size for size in samples & ports), default=1)
    return window.length + window.hop - 1


def receptive_field(module: nn.Module) -> int:
    """Samples along time that one output of a chain of 1-D convolutions and poolings sees.

    r = 1 + sum_i d_i (k_i - 1) prod_{j < i} s_j, over kernels k, dilations d and strides s in order.

    >>> receptive_field(nn.Sequential(nn.Conv1d(1, 1, 3), nn.Conv1d(1, 1, 3, dilation=2)))
    7
    """
    reach, stride = 1, 1
    for part in module.modules():
        if isinstance(part, nn.Conv1d | nn.MaxPool1d | nn.AvgPool1d):
            kernel, step = _one(part.kernel_size), _one(part.stride)
            reach += _one(getattr(part, "dilation", 1)) * (kernel - 1) * stride
            stride *= step
    return reach


def _one(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple) else value)


def _latency(block: Network, lanes: int, repeats: int) -> Latency:
    inputs = [value.repeat(-(-lanes // len(value)), *(1,) * (value.ndim - 1))[:lanes] for value in _inputs(block, 64)]
    times = []
    for k in range(repeats + 3):
        begin = time.perf_counter()
        _evaluated(block, inputs)
        if k >= 3:  # the first calls measure how the module may be called
            times.append(time.perf_counter() - begin)
    sorted_times = torch.tensor(times, dtype=torch.float64)
    median, p99 = (float(torch.quantile(sorted_times, q)) for q in (0.5, 0.99))
    return Latency(lanes, median, p99, torch.get_num_threads())


def _warnings(
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

    _once(block, inputs, keep)
    box = "over the card's box" if block._plan.card is not None else "for inputs from -1 to 1"
    for path, active in low.items():
        dead = int((~active).sum())
        if dead:
            yield f"{path}: {dead} of {len(active)} ReLUs are zero {box}"
    for path, (stuck, size) in counts.items():
        if stuck:
            yield f"{path}: {stuck} of {size} units are saturated {box}"
