"""The compiled schedule as text: what runs when, reads what, and through which delays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from simdl.clock import period_text

if TYPE_CHECKING:
    from simdl.compile.model import Model
    from simdl.compile.node import ClockId, Node

SHOWN = 6  # names of what a block reads


def describe(model: Model) -> str:
    """One line a block in order of execution, every edge between rates with its delay, and the conditions."""
    rows: list[tuple[str, ...]] = [("block", "kind", "rate", "latency", "type", "reads", "states")]
    rows += [_row(model, path) for path in _order(model)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * w for w in widths))
    edges = list(dict.fromkeys(_edges(model)))
    lines += ["", "edges between rates:" if edges else "no edges between rates", *edges]
    remarks = [f"  {path or model.name}: {text}" for path in _order(model) for text in model.blocks[path].remarks()]
    if remarks:
        lines += ["", "inside blocks:", *remarks]
    if model.regions:
        lines += ["", "conditions:"]
    for region in model.regions:
        outputs = f", outputs {region.outputs}" if region.kind == "enabled" else f", {region.edge}"
        lines.append(f"  {region.path}: {region.kind} by {region.signal.removeprefix(region.path + ': ')}{outputs}")
    return "\n".join(lines)


def _order(model: Model) -> list[str]:
    """The blocks in the order in which an instant with all clocks would run them."""
    order: dict[str, None] = {}
    for i in range(len(model.clocks)):
        order |= dict.fromkeys(node.block for node in model.instant(frozenset([i]), ()))
    order |= dict.fromkeys(model.blocks)
    return [path for path in order if path in model.blocks]


def _nodes(model: Model) -> list[Node]:
    graph = model.graph
    return [*graph.nodes, *graph.derivatives, *graph.crossings, *graph.resets.values()]


def _row(model: Model, path: str) -> tuple[str, ...]:
    block = model.blocks[path]
    nodes = [n for n in _nodes(model) if n.block == path and n.kind != "hold"]
    states = [k for k in (*model.continuous, *model.discrete, *model.modes) if model.values[k].block == path]
    written = [w for n in nodes for w in n.writes if w in model.values and n.kind != "crossing"]
    dtypes = {str(model.values[key].dtype or "float").removeprefix("torch.") for key in (*written, *states)}
    reads = {key for n in nodes for key in _sources(model, n) if model.values[key].block != path}
    return (
        path or model.name,
        type(block).__name__,
        _rate(model, next((n.clock for n in nodes if n.clock is not None), None)),
        period_text(block.latency_ns) if block.latency_ns else "-",
        ", ".join(sorted(dtypes)) or "-",
        _few(sorted(reads)) or "-",
        ", ".join(key.rpartition(".")[2] for key in states) or "-",
    )


def _few(names: list[str]) -> str:
    """Some of many names."""
    return ", ".join(names if len(names) <= SHOWN else [*names[: SHOWN - 1], f"and {len(names) - SHOWN + 1} more"])


def _rate(model: Model, clock: ClockId | None) -> str:
    if isinstance(clock, tuple):
        return "hits" if clock[0] == "hit" else "triggered"
    return "continuous" if clock is None else str(model.clocks[clock])


def _sources(model: Model, node: Node) -> Iterator[str]:
    """The ports that a node reads, through the formulas on its wires."""
    stack = list(node.keys)
    while stack:
        key = stack.pop()
        value = model.values.get(key)
        if value is None or value.kind in ("param", "constant", "noise"):
            continue
        producer = model.graph.producer.get(key)
        if producer is not None and producer.kind == "formula":
            stack.extend(producer.keys)
        elif value.owner is not None:
            yield key


def _edges(model: Model) -> Iterator[str]:
    for node in _nodes(model):
        if not node.block or node.kind == "hold":
            continue
        for key in _sources(model, node):
            value = model.values[key]
            if value.block == node.block:
                continue
            writer = next((n for n in model.graph.nodes if key in n.writes), None)
            clock = writer.clock if writer is not None else None
            if clock == node.clock and not (writer is not None and writer.delay):
                continue
            if clock is None:
                how = f"sampled at {_rate(model, node.clock)}" if value.kind != "external" else "read at its ticks"
            else:
                how = f"{_rate(model, clock)}, held"
                if writer is not None and writer.delay:
                    how += f", {period_text(writer.delay)} after its tick"
            yield f"  {key} -> {node.block or model.name}: {how}"
