"""`simdl network`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from simdl.cli.options import Time, options
from simdl.cli.terminal import document, session


@click.command("network")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--period", type=Time(), help="The time between ticks it is meant to run at.")
@click.option("--factory", help="Of a card whose network is made by Python code: package:function.")
@click.option("--sandbox", is_flag=True, help="Try the file in a child process with limits of memory and time first.")
@options()
def command(file: Path, period: Any, factory: str | None, sandbox: bool) -> None:
    """What the network in FILE is: layers, size, cost, how far back it looks, latency here, and what looks wrong.

    FILE is a card's folder, .safetensors with a card, .pt2, .onnx, .keras, .h5, .nnet or .polar.
    """
    from simdl.hub import know_architectures
    from simdl.networks.analysis import analyse

    know_architectures(file)
    more: dict[str, Any] = {"factory": factory} if factory else {}
    if sandbox:
        from simdl.networks import open_network

        open_network(file, sandbox=True, **more)
    found = analyse(file, period=period, **more)
    if session().json:
        document(found.twin())
        return
    from simdl.report.parts import Table

    every = f" every {found.period}" if found.period else ""
    click.echo(f"{found.source} ({found.format}, {found.kind}, {found.dtype}): {', '.join(found.inputs)} -> "
               f"{', '.join(found.outputs)}{every}\n")  # fmt: skip
    rows = [[row.path, row.kind, " x ".join(map(str, row.shape)) or "1", row.parameters,
             "not counted" if row.macs is None else row.macs, row.bytes]
            for row in found.layers]  # fmt: skip
    click.echo(Table.of("", ["layer", "kind", "output", "parameters", "MACs", "bytes"], rows).to_text())
    reach = "without limit" if found.receptive_ticks is None else f"{found.receptive_ticks} ticks"
    reach += f" ({found.receptive_seconds:g} s)" if found.receptive_seconds is not None else ""
    macs = f"not counted: {', '.join(found.not_counted)}" if found.macs is None else (
        f"{found.macs} multiply-accumulates a tick and lane")  # fmt: skip
    click.echo(f"\nparameters {found.parameters}, {macs}")
    click.echo(f"memory: weights {_size(found.weight_bytes)}, activations of a lane {_size(found.activation_bytes)}")
    click.echo(f"looks back: {reach}")
    for one in found.latency:
        click.echo(f"latency of {one.lanes} {'lane' if one.lanes == 1 else 'lanes'} here, eager, {one.threads} thread"
                   f"{'' if one.threads == 1 else 's'}: median {1e3 * one.median:.3g} ms, p99 {1e3 * one.p99:.3g} ms",
                   )  # fmt: skip
    for text in found.warnings:
        click.echo(click.style("warning: ", fg="yellow") + text)


def _size(count: int) -> str:
    return f"{count} B" if count < 1024 else f"{count / 1024:.4g} KiB" if count < 2**20 else f"{count / 2**20:.4g} MiB"
