"""The figures of the study: rates against load and line rate, a busy second of the computers, what the camera saw."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch

from simdl import Param, simulate
from simdl.computer import schedule_of
from simdl.computer.plot import gantt
from simdl.networks import Network
from simdl.scenarios.visual_inspection.machine import machine
from simdl.scenarios.visual_inspection.parts import DEFECTS
from simdl.scenarios.visual_inspection.photographs import photographs
from simdl.scenarios.visual_inspection.scenario import CARD, SCENARIO
from simdl.scenarios.visual_inspection.study import FLOW, FRACTION, LEVEL, LOAD, Point, kinds as by_kind, table
from simdl.scenarios.visual_inspection.system import Inspection, Ticket

COLOURS = {"fail-open": "#d55e00", "fail-safe": "#0072b2"}
MARKS = {"fail-open": "s-", "fail-safe": "o-"}
FIRST, LATE = "#009e73", "#444444"
KINDS = ("#e69f00", "#56b4e9", "#cc79a7", "#000000")
HEADS = {"load": "load that others put on the accelerator", "flow": "parts a second"}


def rates(points: Sequence[Point], path: Path) -> None:
    """Late verdicts, escapes, waste and throughput against load and against line rate, with their bands."""
    from matplotlib.figure import Figure

    page = Figure(figsize=(9, 10.5), layout="constrained")
    sweeps = [sweep for sweep in HEADS if any(p.sweep == sweep for p in points)]
    axes = page.subplots(4, len(sweeps), sharex="col", sharey="row", squeeze=False)
    for column, sweep in enumerate(sweeps):
        line = [p for p in points if p.sweep == sweep and p.order == "fifo"]
        x = [p.at for p in line]
        _banded(axes[0, column], x, [p.late() for p in line], "^-", LATE, "first come, first served")
        for policy, colour in COLOURS.items():
            label = f"first come, first served; {policy}"
            _banded(axes[1, column], x, [p.escaped(policy) for p in line], MARKS[policy], colour, label)
            _banded(axes[2, column], x, [p.thrown(policy) for p in line], MARKS[policy], colour, label)
            _banded(axes[3, column], x, [p.minute(policy) for p in line], MARKS[policy], colour, label)
        first = [p for p in points if p.sweep == sweep and p.order == "priority"]
        if first:
            safe = [(p.late(), p.escaped("fail-safe"), p.thrown("fail-safe"), p.minute("fail-safe")) for p in first]
            for axis, found in zip(axes[:, column], zip(*safe)):
                _banded(axis, [p.at for p in first], found, "x--", FIRST, "inspection first; fail-safe")
    for row, text in enumerate(("verdicts that come too late, %", "bad parts that escape, %",
                                "good parts thrown away, %", "good parts a minute")):  # fmt: skip
        axes[row, 0].set_ylabel(text)
        axes[row, 0].set_ylim(bottom=0)
    fixed = {"load": f"{FLOW:g} parts a second", "flow": f"load {LOAD:g}"}
    for column, sweep in enumerate(sweeps):
        axes[0, column].set_title(fixed[sweep], fontsize=10)
        axes[3, column].set_xlabel(HEADS[sweep])
    axes[0, 0].legend(frameon=False, fontsize=8)
    axes[1, 0].legend(frameon=False, fontsize=8)
    page.savefig(path, dpi=110)


def kinds(points: Sequence[Point], path: Path) -> None:
    """Escapes by kind of defect against load, for both policies."""
    from matplotlib.figure import Figure

    page = Figure(figsize=(9, 3.6), layout="constrained")
    line = [p for p in points if p.sweep == "load" and p.order == "fifo"]
    for axis, policy in zip(page.subplots(1, 2), COLOURS):
        for k, (colour, mark) in enumerate(zip(KINDS, ("o-", "s--", "^-.", "x:")), 1):
            _banded(axis, [p.at for p in line], [p.escaped(policy, k) for p in line], mark, colour, DEFECTS[k])
        axis.set_title(policy, fontsize=10)
        axis.set_xlabel(HEADS["load"])
        axis.set_ylabel("bad parts that escape, %")
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False, fontsize=8)
    page.savefig(path, dpi=110)


def _banded(axis: Any, x: Sequence[float], found: Sequence[Any], mark: str, colour: str, label: str) -> None:
    """A line through numbers, or through fractions with their bands, in per cent."""
    if found and isinstance(found[0], tuple):
        found, low, high = ([100 * v for v in one] for one in zip(*found))
        axis.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
    axis.plot(x, found, mark, color=colour, label=label, markersize=4)


def second(path: Path, load: float = 0.65, start: float = 3.0, seed: int = 3) -> None:
    """A second of the computers of one line."""
    from matplotlib.figure import Figure

    loop = machine(load).on(Inspection(CARD))
    simulate(loop, until=start + 1, seed=seed, every=1, solver=SCENARIO.solver, set={"supply.flow": 5.0})
    page = Figure(figsize=(10, 3.2), layout="constrained")
    gantt(schedule_of(loop, 0, seed), start, start + 1, page.subplots())
    page.savefig(path, dpi=110)


def seen(path: Path, each: int = 8, seed: int = 11) -> None:
    """Pictures of parts by what is wrong with them, the score of `ok`, and what becomes of them."""
    from matplotlib.figure import Figure

    images, labels = photographs(40 * each, 0, seed, defective=0.8)
    network: Any = Network.from_card(CARD)
    scores = network.step(images)["scores"].detach()
    page = Figure(figsize=(1.1 * each, 1.35 * len(DEFECTS)), layout="constrained")
    limit = float(torch.as_tensor(cast(Param, Ticket.declared()["threshold"]).value))
    for row, axes in enumerate(page.subplots(len(DEFECTS), each)):
        for axis, k in zip(axes, (labels == row).nonzero()[:, 0].tolist()):
            ok = float(scores[k, 0])
            wrong = (ok < limit) != (row > 0)
            axis.imshow(images[k], cmap="gray", vmin=0, vmax=255)
            axis.set_title(f"{ok:.2f}" + (" wrong" if wrong else ""), fontsize=8, fontweight="bold" if wrong else None)
            axis.set_xticks([])
            axis.set_yticks([])
        axes[0].set_ylabel(DEFECTS[row])
    page.suptitle(f"score of ok; a part below {limit:g} is blown off", fontsize=9)
    page.savefig(path, dpi=110)


def write(points: Sequence[Point], folder: Path, command: str, versions: Sequence[str]) -> None:
    """README.md with the table, and the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    rates(points, folder / "rates.png")
    kinds(points, folder / "kinds.png")
    second(folder / "second.png")
    seen(folder / "seen.png")
    text = ["# What escapes, and what is thrown away?", "", "![rates](rates.png)", "",
            f"{100 * FRACTION:.0f} % of the parts are bad. Bands are of {100 * LEVEL:.0f} %: Clopper-Pearson, for as "
            "many parts as would scatter like the lanes do. Without a verdict in time a part is blown off (fail-safe) "
            "or comes out (fail-open); both are counted on the same parts.", "",
            "![escapes by kind of defect](kinds.png)", "", by_kind(points), "",
            "![a second of the computers](second.png)", "", "![what the network says](seen.png)", "", table(points), "",
            f"Made by `{command}` with {', '.join(versions)}.", ""]  # fmt: skip
    (folder / "README.md").write_text("\n".join(text), encoding="utf-8")
