"""The parts of a network: the shape, parameters and multiply-accumulates of each, and of all together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from simdl.networks.evaluation import watch
from simdl.networks.network import Network
from simdl.networks.onnx.executors import Executed
from simdl.networks.onnx.program import Program
from simdl.networks.products import Counter, Row, graph_rows, node_rows, weight_products


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


def layer_rows(block: Network, inputs: Sequence[Tensor]) -> tuple[list[LayerRow], set[int]]:
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

    with node_rows(block.module) as (nodes, _):
        watch(block, [value[:lanes] for value in inputs], keep)
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


def multiply_accumulates(block: Network, inputs: Sequence[Tensor]) -> tuple[int, set[str]]:
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
            watch(block, [value[:lanes] for value in inputs], lambda *_: None)
    finally:
        for handle in handles:
            handle.remove()
    return (total + counter.macs) // lanes, unknown | counter.unknown
