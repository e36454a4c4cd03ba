"""What escapes, is thrown away and comes out, against the load of the accelerator and the rate of the line."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from scipy.stats import binomtest

from simdl import Choice
from simdl.scenarios.visual_inspection.machine import machine
from simdl.scenarios.visual_inspection.scenario import SCENARIO

LOADS = (0.0, 0.3, 0.5, 0.65, 0.8, 0.9)
FLOWS = (1.0, 2.0, 4.0, 6.0, 8.0, 10.0)  # parts a second
NAMES = ("passed", "good", "escaped", "rejected", "false_rejects", "defective", "late")
POLICIES = {0.0: "fail-open", 1.0: "fail-safe"}
FRACTION = 0.2  # of the parts in the study are bad, so that there are escapes to count
ORDERS = {"fifo": "first come, first served", "priority": "inspection first"}


@dataclass(frozen=True)
class Point:
    """Counts pooled over lanes: the sweep ("load" or "flow"), its value, the order of the queue, what an unknown part
    counts as, and the time of all lanes together, s."""

    sweep: str
    at: float
    order: str
    policy: str
    seconds: float
    passed: int
    good: int
    escaped: int
    rejected: int
    false_rejects: int
    defective: int
    late: int

    def rate(self, name: str) -> tuple[float, float, float]:
        """Fraction and its Clopper-Pearson bounds: of the bad parts that escape, of the good ones that are thrown away,
        of all whose verdict is late."""
        of = {"escaped": self.defective, "false_rejects": self.passed - self.defective, "late": self.passed}[name]
        count = min(getattr(self, name), of)
        if of == 0:
            return 0.0, 0.0, 1.0
        bounds = binomtest(count, of).proportion_ci(0.95, "exact")
        return count / of, float(bounds.low), float(bounds.high)

    @property
    def minute(self) -> float:
        """Good parts that come out in a minute."""
        return 60 * self.good / self.seconds


def measure(sweep: str, values: tuple[float, ...], load: float, order: str, lanes: int, seconds: int, seed: int):
    """A campaign of which half the lanes are fail-safe: its points. values: flows of the lanes, or the load alone."""
    space = {**SCENARIO.space, "gate.careful": Choice(tuple(POLICIES)), "supply.fraction": FRACTION}
    space["supply.flow"] = Choice(values) if sweep == "flow" else 3.0
    fixed = {path: value for path, value in space.items() if isinstance(value, float)}
    drawn = {path: value for path, value in space.items() if path not in fixed}
    study = replace(SCENARIO, computer=machine(load, order), space=drawn, set=fixed)
    campaign = study.campaign(lanes, seed=seed, until=seconds, record=NAMES, requirements={}, progress=False)
    careful, flows = campaign.drawn["gate.careful"], campaign.drawn.get("supply.flow")
    points = []
    for value in values:
        for number, policy in POLICIES.items():
            mine = careful == number
            if sweep == "flow":
                mine = mine & (flows == value)
            counts = {name: int(campaign[name].values[mine, -1].sum()) for name in NAMES}
            points.append(Point(sweep, value, order, policy, seconds * int(mine.sum()), **counts))
    return points


def sweep(lanes: int, seconds: int, seed: int = 0, kept: Path | None = None, say: Callable[[str], None] = print):
    """All points: load by order of the queue, and line rates at a load of 0.5, first come, first served.

    kept: a file of the points found so far, from which an interrupted study goes on."""
    points = [Point(**json.loads(line)) for line in kept.read_text().splitlines()] if kept and kept.exists() else []
    jobs: list[tuple[str, tuple[float, ...], float, str, int]]
    jobs = [("load", (load,), load, order, lanes) for order in ORDERS for load in LOADS]
    jobs.append(("flow", FLOWS, 0.5, "fifo", lanes * len(FLOWS) // 4))
    for kind, values, load, order, count in jobs:
        if any((p.sweep, p.at, p.order) == (kind, values[0], order) for p in points):
            continue
        new = measure(kind, values, load, order, count, seconds, seed)
        points += new
        if kept:
            with kept.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(asdict(point)) + "\n" for point in new)
        for point in new:
            late, escaped, thrown = (100 * point.rate(name)[0] for name in ("late", "escaped", "false_rejects"))
            say(f"{kind} {point.at:g}, {ORDERS[order]}, {point.policy}: {point.passed} parts, late {late:.1f} %, "
                f"escaped {escaped:.1f} %, good thrown away {thrown:.1f} %, {point.minute:.0f} good/min")  # fmt: skip
    return points


def table(points: list[Point]) -> str:
    """As Markdown; fractions in per cent, with the bounds of 95 %."""
    lines = ["| sweep | value | queue | without a verdict | parts | late, % | bad parts that escape, % | good parts "
             "thrown away, % | good parts a minute |", "|---|---:|---|---|---:|---:|---:|---:|---:|"]  # fmt: skip
    for point in points:
        parts = [f"{100 * x:.1f} ({100 * low:.1f} to {100 * high:.1f})"
                 for x, low, high in (point.rate(name) for name in ("late", "escaped", "false_rejects"))]  # fmt: skip
        row = [point.sweep, f"{point.at:g}", ORDERS[point.order], point.policy, f"{point.passed}", *parts,
               f"{point.minute:.0f}"]  # fmt: skip
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)
