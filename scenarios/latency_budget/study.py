"""The margins of the loop against latency, jitter and load."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from simdl.computer import Computer
from simdl.scenarios.latency_budget.machine import machine
from simdl.scenarios.latency_budget.scenario import SCENARIO

LOADS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.75)
DELAYS = (0.0, 0.02, 0.04, 0.06, 0.07, 0.08, 0.09, 0.1)
FALLEN = -0.4  # rad: a pole that has fallen turns on and on, and is drawn here
SEEN = 10  # lanes whose schedules are looked at


@dataclass(frozen=True)
class Sized:
    """A computer whose tables are always of one size, so that the loop is compiled once for all of them."""

    computer: Computer

    def on(self, diagram, horizon):
        return self.computer.on(diagram, horizon, most=700, pending=9)


@dataclass(frozen=True)
class Point:
    """One computer: its parameters, the response times of the control task (s), the margins (lanes,) by requirement."""

    given: dict[str, Any]
    responses: np.ndarray
    margins: dict[str, Any]

    @property
    def held(self) -> float:
        """The part of the lanes in which every requirement holds."""
        return float(np.mean(np.min([m for m in self.margins.values()], axis=0) > 0))

    @property
    def worst(self) -> dict[str, float]:
        return {name: float(m.min()) for name, m in self.margins.items()}


def measure(lanes: int, seed: int = 0, progress: bool | None = None, **given) -> Point:
    """A campaign on `machine(**given)`."""
    computer = machine(**given)
    campaign = replace(SCENARIO, computer=Sized(computer)).campaign(lanes, seed=seed, progress=progress)
    schedules = [computer.schedule("10 s", seed, lane) for lane in range(min(lanes, SEEN))]
    responses = np.concatenate([one.responses("control") for one in schedules])
    return Point(given, responses / 1e9, {name: m.numpy() for name, m in campaign.margins.items()})


def sweep(lanes: int, seed: int = 0, say=print) -> dict[str, list[Point]]:
    """Load by order of the queue, and constant and wandering delay, in turn."""
    found: dict[str, list[Point]] = {}
    for name, given in (
        ("first come, first served", [dict(load=load) for load in LOADS]),
        ("controller first", [dict(load=load, order="priority") for load in LOADS]),
        ("constant delay", [dict(load=0.0, jitter=0.0, sensing=delay) for delay in DELAYS]),
        ("delay ± half", [dict(load=0.0, jitter=0.0, sensing=delay, wander=delay / 2) for delay in DELAYS]),
    ):
        found[name] = []
        for one in given:
            point = measure(lanes, seed, progress=False, **one)
            found[name].append(point)
            late = np.percentile(point.responses, 99) * 1e3
            say(f"{name}: {one}: 99 % of responses within {late:.1f} ms, all hold in {100 * point.held:.0f} % of lanes")
    return found


def table(found: dict[str, list[Point]]) -> str:
    """As Markdown."""
    names = list(next(iter(found.values()))[0].margins)
    lines = ["| computer | load | delay, ms | response, ms: median | 99 % | lanes in which all hold | worst margin: "
             + " | ".join(names) + " |", "|---|" + "---:|" * (5 + len(names))]  # fmt: skip
    for name, points in found.items():
        for point in points:
            mid, late = np.percentile(point.responses, [50, 99]) * 1e3
            worst = " | ".join(f"{point.worst[n]:+.3f}" for n in names)
            load, delay = point.given.get("load", 0), 1e3 * point.given.get("sensing", 0)
            row = [name, f"{load:.2f}", f"{delay:.0f}", f"{mid:.1f}", f"{late:.1f}", f"{100 * point.held:.0f} %", worst]
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def figure(found: dict[str, list[Point]], path: Path) -> None:
    """Two panels: lanes that hold, and the worst margin of staying up, against load and against delay."""
    from matplotlib.figure import Figure

    page = Figure(figsize=(9, 6.4), layout="constrained")
    axes = page.subplots(2, 2, sharex="col", sharey="row")
    styles = {"first come, first served": ("#0072b2", "o-"), "controller first": ("#d55e00", "s--"),
              "constant delay": ("#0072b2", "o-"), "delay ± half": ("#d55e00", "s--")}  # fmt: skip
    for name, points in found.items():
        column = 0 if points[-1].given.get("load") else 1
        x = [p.given["load"] if column == 0 else 1e3 * p.given["sensing"] for p in points]
        colour, style = styles[name]
        axes[0, column].plot(x, [100 * p.held for p in points], style, color=colour, label=name)
        axes[1, column].plot(x, [max(p.worst["stays up"], FALLEN) for p in points], style, color=colour, label=name)
    for column, label in enumerate(("load that others put on the accelerator", "delay before inference, ms")):
        axes[1, column].set_xlabel(label)
        axes[1, column].axhline(0, color="0.4", linewidth=0.8)
        axes[0, column].legend(frameon=False)
    axes[0, 0].set_ylabel("lanes in which all requirements hold, %")
    axes[1, 0].set_ylabel(f"worst margin of staying up, rad\n({FALLEN:g}: it has fallen)")
    page.savefig(path, dpi=120)


def write(found: dict[str, list[Point]], folder: Path, command: str, versions: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    figure(found, folder / "margins.png")
    text = ["# How late may the controller be?", "", "![margins](margins.png)", "", table(found), "",
            f"Made by `{command}` with {', '.join(versions)}.", ""]  # fmt: skip
    (folder / "README.md").write_text("\n".join(text), encoding="utf-8")
