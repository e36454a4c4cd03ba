"""The page of the study: the figure, a table, and what is in it."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from simdl.scenarios.latency_budget import cost
from simdl.scenarios.latency_budget.figure import draw
from simdl.scenarios.latency_budget.linear import delay_margins
from simdl.scenarios.latency_budget.measurement import Point

UNITS = {"stays up": "rad", "stays on the track": "m", "settles within 6 s": "rad"}
WEIGHTS = dict(zip(("x²/m²", "v²/(m/s)²", "θ²/rad²", "ω²/(rad/s)²"), cost.STATES)) | {"F²/N²": cost.FORCE}


def table(points: Sequence[Point]) -> str:
    """As Markdown."""
    names = list(points[0].margins)
    heads = ["computer", "load", "delay, ms", "response, ms: median", "99 %", "lanes in which all hold, %", "fallen",
             "cost, to that without delay", *(f"margin: {name}, {UNITS[name]}" for name in names)]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for point in points:
        load, delay = point.given.get("load", 0.0), 1e3 * point.given.get("sensing", 0.0)
        mid, late = (1e3 * one for one in point.responses)
        held, low, high = (100 * one for one in point.rate)
        row = [
            point.series, f"{load:.2f}", f"{delay:.0f}", f"{mid:.1f}", f"{late:.1f}",
            f"{held:.0f} ({low:.0f} to {high:.0f})", f"{point.fallen}", _relative(point.cost),
            *("fallen" if math.isinf(mid) else f"{mid:+.3f}" for _, mid, _ in point.margins.values()),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _relative(cost: tuple[float, float, float]) -> str:
    low, mid, high = ("∞" if math.isinf(one) else f"{one:.2f}" for one in cost)
    return f"{mid} ({low} to {high})"


def write(points: Sequence[Point], folder: Path, command: str, versions: Sequence[str]) -> None:
    """README.md with the table, and margins.png."""
    folder.mkdir(parents=True, exist_ok=True)
    own = min(point.responses[0] for point in points)
    margins = delay_margins(points[0].lanes, points[0].seed) - own
    low, middle, high = (1e3 * one for one in np.percentile(margins, (0, 50, 100)))
    draw(points, folder / "margins.png", margins.tolist())
    weights = " + ".join(f"{weight:g} {name}" for name, weight in WEIGHTS.items())
    text = f"""# How late may the controller be?

![What load, delay and jitter do to response times, cost, margin, and lanes that hold](margins.png)

{points[0].lanes} lanes at each point: different poles, starts and noise, the same ones at every point. The controller
asks for 4.8 ms of the computer every 20 ms.

- **Lanes in which all hold**: every requirement for 10 s; in brackets the Clopper-Pearson interval of 95 %.
- **Fallen**: lanes in which the pole went past the horizontal.
- **Cost**: J = mean over 10 s of {weights},
  the weights of the regulator that the network imitates; in each lane to J of the same lane without any delay. Median
  over the lanes, in brackets the quartiles; a lane that has fallen counts as infinitely dear.
- **Linear delay margin**, hatched: the constant delay before inference that these poles bear by linear theory, with the
  network's Jacobian at the top: {low:.0f} to {high:.0f} ms, median {middle:.0f}, beside the computer's {1e3 * own:.1f}.
- **Margins**: by how much a requirement holds, negative where it does not; median over the lanes.

{table(points)}

Made by `{command}` with {", ".join(versions)}.
"""
    (folder / "README.md").write_text(text, encoding="utf-8")
