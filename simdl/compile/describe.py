"""The compiled schedule as text: what runs when, reads what, and through which delays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simdl.clock import period_text

if TYPE_CHECKING:
    from simdl.compile.model import Model
    from simdl.compile.node import Node


def describe(model: Model) -> str:
    """One line a block in order of execution, then every edge between rates with its delay."""
    rows = [("block", "kind", "rate", "latency", "type", "reads", "states")]
    order: dict[str, None] = {}
    lanes = [("hit", i) for i in range(len(model.hits))]
    lanes += [("trigger", r.index) for r in model.regions if r.kind == "triggered"]
    for i in range(len(model.clocks)):
        for node in model.instant(frozenset([i]), ()):
            order.setdefault(node.block)
    order |= dict.fromkeys(model.blocks)
    order.pop("", None) if "" not in model.blocks else None
    for path in [p for p in order if p in model.blocks]:
        block = model.blocks[path]
        nodes = [n for n in model.graph.nodes if n.block == path and n.kind != "hold"]
        reads = sorted(
            {
                k.split(":")[0]
                for n in nodes
                for k in n.keys
                if not k.startswith(f"{path}.") and not k.startswith("dt:") and " = " not in k
            }
        )
        states = [
            k.rpartition(".")[2]
            for k in (*model.continuous, *model.discrete, *model.modes)
            if model.values[k].block == path
        ]
        dtypes = {
            str(model.values[w].dtype or "float").removeprefix("torch.")
            for n in nodes
            for w in n.writes
            if w in model.values
        }
        rows.append(
            (
                path or model.name,
                type(block).__name__,
                _rate(model, nodes, path),
                period_text(block.latency_ns) if block.latency_ns else "-",
                ", ".join(sorted(dtypes)) or "-",
                ", ".join(reads) or "-",
                ", ".join(states) or "-",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * w for w in widths))
    edges = list(_edges(model))
    lines += ["", "edges between rates:" if edges else "no edges between rates", *edges]
    if model.regions:
        lines += ["", "conditions:"]
        lines += [
            f"  {r.path}: {r.kind} by {r.signal}" + (f", outputs {r.outputs}" if r.kind == "enabled" else "")
            for r in model.regions
        ]
    return "\n".join(lines)


def _rate(model: Model, nodes: list[Node], path: str) -> str:
    for node in nodes:
        if isinstance(node.clock, int):
            return str(model.clocks[node.clock])
        if isinstance(node.clock, tuple):
            return "hits" if node.clock[0] == "hit" else "triggered"
    return "continuous"


def _edges(model: Model) -> list[str]:
    found: dict[str, None] = {}
    for node in model.graph.nodes:
        if not node.block and node.kind != "formula":
            continue
        for key in node.keys:
            source = model.graph.producer.get(key)
            value = model.values.get(key)
            if value is None or value.owner is None or value.block == node.block:
                continue
            delayed = next((n for n in model.graph.nodes if key in n.writes and n.delay), None)
            producer = source or delayed
            if producer is None or (producer.clock == node.clock and not producer.delay):
                continue
            if producer.clock is None and isinstance(node.clock, int):
                how = "sampled at its ticks"
            elif producer.clock is None:
                continue
            else:
                how = "held" + (f", {period_text(producer.delay)} after its tick" if producer.delay else "")
            found[f"  {key} -> {node.path.split(':')[0]}: {how}"] = None
    return list(found)
