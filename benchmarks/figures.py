"""Figures of the results: PNG files beside the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.page import number
from benchmarks.results import Results, middle

# Okabe & Ito's palette, told apart by markers as well.
COLOURS = ("#000000", "#7f7f7f", "#D55E00", "#E69F00", "#0072B2", "#009E73", "#56B4E9", "#CC79A7", "#8a6d00", "#4b4b9f")
MARKERS = "osD^vP*X<>"


def draw(results: Results, folder: Path) -> list[tuple[str, str]]:
    """Write what there is to see; (file name, description) of each figure."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    made = []
    for name, text, build in (
        ("single.png", "One lane: processor time by tool", _single),
        ("lanes.png", "Many lanes: lane-steps per second of processor time by number of lanes", _lanes),
        ("cold.png", "Cold start: seconds to the first result by tool", _cold),
    ):
        figure = build(results, plt)
        if figure is not None:
            figure.savefig(folder / name, dpi=130, facecolor="white", metadata={"Software": None})
            plt.close(figure)
            made.append((name, text))
    return made


def _title(results: Results, tool: str) -> str:
    return str(results.data["tools"].get(tool, {}).get("title", tool))


def _style(results: Results, tool: str) -> dict[str, Any]:
    place = list(results.data["tools"]).index(tool) if tool in results.data["tools"] else 0
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}


def _plain(axes: Any, steps: tuple[float, ...]) -> None:
    """Numbers instead of powers at the ticks of a log axis, none at the small ones, where they would overlap."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _bars(results: Results, plt: Any, rows: list[tuple[str, float, float, float]], label: str, unit: float) -> Any:
    """Horizontal bars on a log axis with the value at the end of each, fastest on top."""
    rows = sorted(rows, key=lambda row: -row[1])
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.36 * len(rows)), layout="constrained")
    for place, (tool, value, low, high) in enumerate(rows):
        colour = "#D55E00" if tool.startswith("simdl") else "#000000" if tool == "c" else "#9db7cc"
        axes.barh(place, value * unit, height=0.62, color=colour)
        axes.plot([low * unit, high * unit], [place, place], color="#333333", linewidth=1.2)
        axes.annotate(number(value * unit), (max(value, high) * unit, place), (4, 0), textcoords="offset points",
                      va="center", fontsize=9)  # fmt: skip
    axes.set_yticks(range(len(rows)), [_title(results, row[0]) for row in rows])
    axes.set_xscale("log")
    _plain(axes, (1.0,))
    least, most = min(r[2] for r in rows) * unit, max(r[3] for r in rows) * unit
    axes.set_xlim(least / 2, most * 3)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.set_xlabel(label)
    return figure, axes


def _single(results: Results, plt: Any) -> Any:
    cases = results.cases("W1")
    entries = results.ok(cases[-1]) if cases else {}
    if not entries:
        return None
    rows = [(tool, middle(e["cpu"]), min(e["cpu"]), max(e["cpu"])) for tool, e in entries.items()]
    figure, axes = _bars(results, plt, rows, "processor time [ms], log scale; lines: least to most", 1e3)
    axes.set_title(f"W1: cart-pole and network at 50 Hz, {cases[-1].until:g} s, one lane", loc="left", fontsize=11)
    return figure


def _lanes(results: Results, plt: Any) -> Any:
    cases = [case for case in results.cases("W2") if case.threads == 1]
    if not any(results.ok(case) for case in cases):
        return None
    types = list(dict.fromkeys(case.dtype for case in cases))
    figure, panels = plt.subplots(
        1, len(types), figsize=(5 * len(types), 4.6), sharey=True, squeeze=False, layout="constrained"
    )
    seen: dict[str, Any] = {}
    for axes, dtype in zip(panels[0], types):
        for tool in results.data["tools"]:
            points = [
                (case.lanes, case.lane_steps / middle(results.ok(case)[tool]["cpu"]))
                for case in cases
                if case.dtype == dtype and tool in results.ok(case)
            ]
            if points:
                (line,) = axes.plot(*zip(*points), label=_title(results, tool), markersize=6, linewidth=1.4,
                                    **_style(results, tool))  # fmt: skip
                seen.setdefault(_title(results, tool), line)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(f"W2, {dtype}, one thread", loc="left", fontsize=11)
        axes.set_xlabel("lanes")
        axes.grid(alpha=0.3)
    panels[0][0].set_ylabel("lane-steps per second of processor time [1/s]")
    figure.legend(seen.values(), seen.keys(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _cold(results: Results, plt: Any) -> Any:
    cases = results.cases("W6")
    found = {case.cached: results.ok(case) for case in cases}
    tools = [tool for tool in results.data["tools"] if any(tool in entries for entries in found.values())]
    if not tools:
        return None
    figure, axes = plt.subplots(figsize=(8, 1.6 + 0.36 * len(tools)), layout="constrained")
    looks = {False: ("D", "#D55E00", "new model, empty cache"), True: ("o", "#0072B2", "new process, filled cache")}
    for cached, (marker, colour, label) in looks.items():
        points = [(middle(found[cached][tool]["wall"]), place) for place, tool in enumerate(reversed(tools))
                  if tool in found.get(cached, {})]  # fmt: skip
        if points:
            axes.plot(*zip(*points), marker, color=colour, label=label, markersize=8)
    for place, tool in enumerate(reversed(tools)):
        ends = [middle(found[c][tool]["wall"]) for c in found if tool in found[c]]
        axes.plot([min(ends), max(ends)], [place, place], color="#999999", linewidth=1.2, zorder=0)
    axes.set_yticks(range(len(tools)), [_title(results, tool) for tool in reversed(tools)])
    axes.set_xscale("log")
    _plain(axes, (1.0, 2.0, 5.0))
    axes.set_ylim(-0.7, len(tools) - 0.3)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("start of the process to the first result, less the import of the tool [s], wall clock, log scale")
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    axes.set_title("W6: cart-pole and network, cold", loc="left", fontsize=11)
    return figure
