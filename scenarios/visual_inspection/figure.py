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
from simdl.scenarios.visual_inspection.study import ORDERS, Point, table
from simdl.scenarios.visual_inspection.system import Inspection, Ticket

COLOURS = {"fail-safe": "#0072b2", "fail-open": "#d55e00"}
STYLES = {"fifo": "o-", "priority": "s--"}
PANELS = (("late", "verdicts that are late, %"), ("escaped", "bad parts that escape, %"),
          ("false_rejects", "good parts thrown away, %"))  # fmt: skip


def rates(points: Sequence[Point], path: Path) -> None:
    """Four rows: late, escaped and thrown away in per cent with their bands, and good parts a minute."""
    from matplotlib.figure import Figure

    page = Figure(figsize=(9, 10), layout="constrained")
    axes = page.subplots(4, 2, sharex="col", sharey="row")
    for column, sweep in enumerate(("load", "flow")):
        for order, label in ORDERS.items():
            for policy, colour in COLOURS.items():
                line = [p for p in points if (p.sweep, p.order, p.policy) == (sweep, order, policy)]
                x = [p.at for p in line]
                for row, (name, _) in enumerate(PANELS if line else ()):
                    value, low, high = ([100 * v for v in one] for one in zip(*(p.rate(name) for p in line)))
                    axes[row, column].plot(
                        x, value, STYLES[order], color=colour, label=f"{label}, {policy}", markersize=4
                    )
                    axes[row, column].fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
                if line:
                    minutes = [p.minute for p in line]
                    axes[3, column].plot(
                        x, minutes, STYLES[order], color=colour, label=f"{label}, {policy}", markersize=4
                    )
    for row, (_, text) in enumerate((*PANELS, ("", "good parts a minute"))):
        axes[row, 0].set_ylabel(text)
        axes[row, 0].set_ylim(bottom=0)
    axes[3, 0].set_xlabel("load that others put on the accelerator (3 parts a second)")
    axes[3, 1].set_xlabel("parts a second (load 0.5)")
    axes[0, 0].legend(frameon=False, fontsize=8)
    axes[0, 1].legend(frameon=False, fontsize=8)
    page.savefig(path, dpi=110)


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
    second(folder / "second.png")
    seen(folder / "seen.png")
    text = ["# What escapes, and what is thrown away?", "", "![rates](rates.png)", "",
            "Bands are Clopper-Pearson intervals of 95 %.", "", "![a second of the computers](second.png)", "",
            "![what the network says](seen.png)", "", table(list(points)), "",
            f"Made by `{command}` with {', '.join(versions)}.", ""]  # fmt: skip
    (folder / "README.md").write_text("\n".join(text), encoding="utf-8")
