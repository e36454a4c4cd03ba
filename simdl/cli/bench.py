"""`simdl bench`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from simdl.cli.interruption import heeded
from simdl.cli.options import options
from simdl.cli.request import Request, check_network
from simdl.cli.terminal import outcome, session, tell

LANES = 200


@click.command("bench")
@click.argument("scenarios", nargs=-1)
@click.option("--network", "network", required=True, metavar="NETWORK", help="What to rank: a card's folder, "
              ".safetensors with a card, .pt2, .onnx, .keras, .h5, .nnet, .polar, or package:function.")  # fmt: skip
@options("lanes", "seed", "quick", "out", "workers", "engine")
def command(
    scenarios: tuple[str, ...], network: str, lanes: int | None, seed: int, quick: bool, out: Path | None, workers: int,
    engine: str,
) -> int:  # fmt: skip
    """Rank a network closed loop in every slot of SCENARIOS that it fits (all that ship, when none is named).

    Beside it run the network that ships and the scenario's baselines: as the scenario draws its lanes, with its faults
    in every lane, and drawn from a wider space. Writes one page, the scorecard.

    Interrupted, it keeps the lanes that are done; the same command goes on.
    """
    from simdl.scenario import names, scenario

    check_network(network, f"--network {network}")
    for name in scenarios:
        if ":" not in name and name not in names():
            scenario(name)  # which says so
    from simdl.bench import Seat, bench
    from simdl.hub import know_architectures
    from simdl.report import bench_report

    know_architectures(network)
    asked = lanes or (LANES // 10 if quick else LANES)
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # last: a module here shadows none that is installed
    words = ["simdl", "bench", *scenarios, "--network", network, "--lanes", str(asked), "--seed", str(seed)]
    words += (["--quick"] if quick else []) + (["--engine", engine] if engine != "auto" else [])
    words += ["--workers", str(workers)] if workers > 1 else []
    folder = out or Path("runs") / "bench" / _label(network, scenarios, seed, quick)
    speak = session()
    speak.resume = shlex.join([*words, "--out", str(folder)])
    with heeded() as go_on:

        def begin(text: str) -> None:
            go_on()
            tell(text)

        board = bench(network, scenarios or None, lanes=asked, seed=seed, out=folder / "lanes", quick=quick,
                      workers=workers, engine=engine, progress=speak.progress, tell=begin)  # fmt: skip
        go_on()

    def replay(seat: Seat, lane: int) -> str:
        return Request("run", seat.scenario.name, seed, None, lane, {}, {seat.slot: network}, quick=quick).command()

    report = bench_report(board, command=shlex.join(words), replay=replay, resume=speak.resume)
    tables = [table.to_text() for table in report.tables() if table.title == "Ranking"]
    return outcome(report, report.save(folder / "report.html"), [], "\n\n".join(tables))


def _label(network: str, scenarios: tuple[str, ...], seed: int, quick: bool) -> str:
    import hashlib

    path = Path(network)
    content = b""
    for file in sorted(path.iterdir()) if path.is_dir() else [path] if path.is_file() else []:
        content += file.read_bytes() if file.is_file() else b""
    text = repr((network, scenarios, seed, quick)).encode()
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in path.name) or "network"
    return f"{name}-{hashlib.sha256(text + hashlib.sha256(content).digest()).hexdigest()[:8]}"
