"""What escapes, is thrown away and comes out, against the load of the accelerator and the rate of the line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta

from simdl import Grid
from simdl.progress import progress as progress_bar
from simdl.scenarios.visual_inspection.gate import BAD, GOOD, UNKNOWN
from simdl.scenarios.visual_inspection.journal import Journal
from simdl.scenarios.visual_inspection.machine import machine
from simdl.scenarios.visual_inspection.outlet import TABLE
from simdl.scenarios.visual_inspection.parts import DEFECTS, OK
from simdl.scenarios.visual_inspection.scenario import CARD, SCENARIO
from simdl.scenarios.visual_inspection.transfer import weights_of

LOADS = (0.0, 0.3, 0.5, 0.65, 0.8, 0.9)
FLOWS = (2.0, 4.0, 8.0, 12.0)  # parts a second
FLOW, LOAD = 3.0, 0.5  # where the other sweep stands
FRACTION = 0.3  # of the parts in the study are bad, so that there are escapes to count
ORDERS = {"fifo": "first come, first served", "priority": "inspection first"}
POLICIES = {"fail-open": (BAD,), "fail-safe": (BAD, UNKNOWN)}  # the verdicts with which a part is blown off
LEVEL = 0.95  # of confidence


@dataclass(frozen=True)
class Point:
    """What was counted: the sweep ("load" or "flow"), its value, the order of the queue, how long a lane ran, s, and
    for each lane the parts by verdict at the gate and defect, as rows of 15 numbers.

    A verdict does not depend on what the gate does without one, so that both policies are counted on the same parts.
    """

    sweep: str
    at: float
    order: str
    seconds: int
    lanes: tuple[tuple[int, ...], ...]

    @property
    def tables(self) -> np.ndarray:
        """(lanes, verdicts, defects)"""
        return np.array(self.lanes, dtype=np.int64).reshape(-1, *TABLE)

    @property
    def parts(self) -> int:
        return int(self.tables.sum())

    def late(self) -> tuple[float, float, float]:
        """The fraction of parts without a verdict at the gate, and its band."""
        return fraction(self.tables[:, UNKNOWN].sum(1), self.tables.sum((1, 2)))

    def escaped(self, policy: str, defect: int | None = None) -> tuple[float, float, float]:
        """The fraction of the bad parts, or of those with one defect, that come out."""
        bad = self.tables[:, :, OK + 1 :] if defect is None else self.tables[:, :, [defect]]
        out = [verdict for verdict in (UNKNOWN, GOOD, BAD) if verdict not in POLICIES[policy]]
        return fraction(bad[:, out].sum((1, 2)), bad.sum((1, 2)))

    def thrown(self, policy: str) -> tuple[float, float, float]:
        """The fraction of the good parts that are blown off."""
        good = self.tables[:, :, OK]
        return fraction(good[:, POLICIES[policy]].sum(1), good.sum(1))

    def minute(self, policy: str) -> float:
        """Good parts that come out in a minute."""
        good = self.tables[:, :, OK].sum(0)
        out = good.sum() - good[list(POLICIES[policy])].sum()
        return float(60 * out / (self.seconds * len(self.lanes)))


def fraction(count: np.ndarray, of: np.ndarray) -> tuple[float, float, float]:
    """Counts over lanes as a fraction, with a band of LEVEL for lanes that differ from each other.

    Clopper-Pearson for as many independent parts as would scatter like the lanes do (Korn and Graubard 1998).
    """
    total = float(of.sum())
    if not total:
        return 0.0, 0.0, 1.0
    p, lanes = float(count.sum() / total), len(of)
    plain = p * (1 - p) / total
    scatter = float(((count - p * of) ** 2).sum()) / total**2 * lanes / max(lanes - 1, 1)
    n = total / max(1.0, scatter / plain) if plain else total
    k, tail = p * n, (1 - LEVEL) / 2
    low = float(beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    high = float(beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return p, low, high


def measure(sweep: str, values: Sequence[float], load: float, order: str, lanes: int, seconds: int, seed: int):
    """A campaign of so many lanes for each value; its points. values: flows, or the load alone."""
    space: dict[str, Any] = {k: v for k, v in SCENARIO.space.items() if k not in ("supply.flow", "supply.fraction")}
    fixed = {"supply.fraction": FRACTION, "gate.careful": 1.0}
    if sweep == "flow":
        space["supply.flow"] = Grid(tuple(values))
    else:
        fixed["supply.flow"] = FLOW
    asked = replace(SCENARIO, computer=machine(load, order), space=space, set=fixed)
    campaign = asked.campaign(lanes * len(values), seed=seed, until=seconds, record=("outlet.decided",),
                              requirements={}, progress=False)  # fmt: skip
    if not campaign.complete:
        raise KeyboardInterrupt
    tables = campaign["outlet.decided"].values[:, -1].flatten(1).tolist()
    return [Point(sweep, value, order, seconds, tuple(map(tuple, tables[k :: len(values)])))
            for k, value in enumerate(values)]  # fmt: skip


def sweep(
    lanes: int, seconds: int, seed: int = 0, kept: Path | None = None, say: Callable[[str], None] = print,
    loads: Sequence[float] = LOADS, flows: Sequence[float] = FLOWS, progress: bool | None = None,
) -> list[Point]:  # fmt: skip
    """All points: loads, first come, first served, and the least and the most with the inspection first; line rates at
    LOAD, first come, first served.

    kept: a file of the points found so far, from which an interrupted study goes on.
    Raises DataError when it is of another request."""
    request = {"lanes": lanes, "seconds": seconds, "seed": seed, "network": weights_of(CARD)}
    journal = Journal(kept, request)
    points = [Point(**{**row, "lanes": tuple(map(tuple, row["lanes"]))}) for row in journal.rows]
    jobs = [("load", load, load, "fifo") for load in loads]
    jobs += [("load", load, load, "priority") for load in dict.fromkeys((loads[0], loads[-1]))]  # flat between
    jobs += [("flow", flow, LOAD, "fifo") for flow in flows]
    found: list[Point] = []
    with progress_bar("study", len(jobs), progress) as bar:
        for kind, value, load, order in jobs:
            mine = [p for p in points if (p.sweep, p.at, p.order) == (kind, value, order)]
            if not mine:
                together = flows if kind == "flow" else (value,)
                mine = measure(kind, together, load, order, lanes, seconds, seed)
                points += mine
                for point in mine:
                    journal.add(asdict(point))
                    say(told(point))
            found += [p for p in mine if p.at == value]
            bar.advance()
    return found


def told(point: Point) -> str:
    """A point in a line."""
    rates = [f"{policy} {100 * point.escaped(policy)[0]:.1f} % of the bad escape, "
             f"{100 * point.thrown(policy)[0]:.1f} % of the good are thrown away" for policy in POLICIES]  # fmt: skip
    late = f"{100 * point.late()[0]:.1f} % late"
    return "; ".join([f"{point.sweep} {point.at:g}, {ORDERS[point.order]}: {point.parts} parts, {late}", *rates])


def table(points: Sequence[Point]) -> str:
    """As Markdown; fractions in per cent, with their bands."""
    lines = ["| sweep | value | queue | parts | late, % | without a verdict | bad parts that escape, % | good parts "
             "thrown away, % | good parts a minute |", "|---|---:|---|---:|---:|---|---:|---:|---:|"]  # fmt: skip
    for point in points:
        for policy in POLICIES:
            rates = [percent(point.escaped(policy)), percent(point.thrown(policy)), f"{point.minute(policy):.0f}"]
            row = [point.sweep, f"{point.at:g}", ORDERS[point.order], f"{point.parts}", percent(point.late()), policy]
            lines.append(f"| {' | '.join(row + rates)} |")
    return "\n".join(lines)


def kinds(points: Sequence[Point]) -> str:
    """Escapes by kind of defect where no verdict is late and where many are, as Markdown."""
    lines = ["| load | without a verdict | " + " | ".join(f"{name}, %" for name in DEFECTS[1:]) + " |",
             "|---:|---|" + "---:|" * (len(DEFECTS) - 1)]  # fmt: skip
    for point in (p for p in points if p.sweep == "load" and p.order == "fifo"):
        for policy in POLICIES:
            cells = [percent(point.escaped(policy, k)) for k in range(1, len(DEFECTS))]
            lines.append(f"| {point.at:g} | {policy} | {' | '.join(cells)} |")
    return "\n".join(lines)


def percent(rate: tuple[float, float, float]) -> str:
    value, low, high = (100 * x for x in rate)
    return f"{value:.1f} ({low:.1f} to {high:.1f})"
