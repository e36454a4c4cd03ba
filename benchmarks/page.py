"""The results as a page: tables, what did not take part and why, versions, commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

from benchmarks import cases as definitions
from benchmarks.cases import Case
from benchmarks.results import Entry, Results, middle, ratio

MODELS = {"ball": "ball", "van_der_pol": "Van der Pol"}
Cell = Callable[[Case, Entry], str]


def number(value: float) -> str:
    """Three digits, plain where it is readable."""
    if value >= 1e5 or value < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def span(values: list[float], scale: float = 1e3) -> str:
    """Median and range, in ms by default."""
    low, high = number(scale * min(values)), number(scale * max(values))
    return f"{number(scale * middle(values))} ({low}–{high})"


def relative(entry: Entry) -> str:
    """Times scalar C."""
    found = ratio(entry)
    return "–" if found is None else f"{number(found)}×"


def table(head: Iterable[str], rows: Iterable[Iterable[str]], words: bool = False) -> str:
    """Markdown; the first column to the left, the others to the right unless they hold words."""
    head = list(head)
    rule = "|".join(["---"] + ["---" if words else "---:"] * (len(head) - 1))
    cells = [" | ".join(one.replace("|", "/") for one in row) for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {row} |" for row in cells)])


def lanes(case: Case) -> str:
    """1 lane, 1000 lanes."""
    return f"{case.lanes} lane{'s' if case.lanes > 1 else ''}"


class Page:
    """Builds the sections from results."""

    def __init__(self, results: Results) -> None:
        self.results, self.tools = results, results.data["tools"]

    def title(self, tool: str) -> str:
        return str(self.tools.get(tool, {}).get("title", tool))

    def across(self, cases: list[Case], label: Callable[[Case], str], cell: Cell) -> str:
        """A row for each tool that has a time in any of the cases, a column for each case."""
        found = {case.key: self.results.ok(case) for case in cases}
        names = [tool for tool in self.tools if any(tool in entries for entries in found.values())]

        def row(tool: str) -> list[str]:
            return [cell(c, found[c.key][tool]) if tool in found[c.key] else "–" for c in cases]

        return table(["", *map(label, cases)], [[self.title(tool), *row(tool)] for tool in names])

    def single(self) -> str:
        text = []
        for case in self.results.cases("W1"):
            entries = self.results.ok(case)
            rows = [
                [self.title(tool), span(entry["cpu"]), number(1e3 * middle(entry["wall"])), relative(entry),
                 f"{entry['deviation']:.0e}"]
                for tool, entry in sorted(entries.items(), key=lambda pair: middle(pair[1]["cpu"]))
            ]  # fmt: skip
            text.append(f"{case.until:g} s, {case.lane_steps} steps; end values within {case.tolerance:.0e}.\n\n"
                        + table(["", "CPU ms, median (least–most)", "wall ms", "to C", "deviation"], rows))  # fmt: skip
        return "\n\n".join(text)

    def many(self) -> str:
        text, found = [], self.results.cases("W2")
        for dtype, threads in dict.fromkeys((case.dtype, case.threads) for case in found):
            cases = [case for case in found if (case.dtype, case.threads) == (dtype, threads)]
            clock = "cpu" if threads == 1 else "wall"
            text.append(f"**{dtype}, {threads} thread{'s'[: threads - 1]}**: lane-steps per second of "
                        f"{'processor' if clock == 'cpu' else 'wall-clock'} time.")  # fmt: skip
            text.append(self.across(cases, lambda c: f"{c.lanes} × {c.until:g} s",
                                    lambda c, e, clock=clock: number(c.lane_steps / middle(e[clock]))))  # fmt: skip
            if threads == 1:
                text += ["CPU time to that of scalar C:",
                         self.across(cases, lambda c: f"{c.lanes}", lambda _, e: relative(e))]  # fmt: skip
        largest = [case for case in found if case.lanes == max(c.lanes for c in found) and case.threads == 1]
        if largest:
            text += [f"Largest resident memory with {largest[0].lanes} lanes, MiB (noise included):",
                     self.across(largest, lambda c: c.dtype, lambda _, e: f"{e['peak'] / 2**20:.0f}")]  # fmt: skip
        return "\n\n".join(text)

    def adaptive(self) -> str:
        cases = self.results.cases("W3")
        return self.across(cases, lambda c: f"{MODELS[c.model]}, {lanes(c)}: CPU ms; to C",
                           lambda _, e: f"{number(1e3 * middle(e['cpu']))}; {relative(e)}")  # fmt: skip

    def gradients(self) -> str:
        cases = self.results.cases("W4")
        return self.across(
            cases, lambda c: f"{lanes(c)}: CPU ms; lane-steps/s; extra MiB",
            lambda c, e: f"{span(e['cpu'])}; {number(c.lane_steps / middle(e['cpu']))}; {e['extra'] / 2**20:.0f}",
        )  # fmt: skip

    def scenario(self) -> str:
        return self.across(self.results.cases("W5"), lambda c: f"{lanes(c)}: CPU s",
                           lambda _, e: span(e["cpu"], 1.0))  # fmt: skip

    def cold(self) -> str:
        names = {False: "new: wall s; CPU s", True: "from the cache: wall s; CPU s"}
        return self.across(self.results.cases("W6"), lambda c: names[c.cached],
                           lambda _, e: f"{number(middle(e['wall']))}; {number(middle(e['cpu']))}")  # fmt: skip

    def absent(self) -> str:
        """Who did not install, failed or disagreed; what was never written for a tool is left out."""
        rows = [[self.title(tool), "all", about["reason"]] for tool, about in self.tools.items() if about.get("reason")]
        grouped: dict[tuple[str, str, str], list[str]] = {}
        for key, entries in self.results.data["measurements"].items():
            for tool, entry in entries.items():
                if entry["status"] != "ok" and entry["reason"] != "not written for this tool":
                    workload, rest = key.split(" ", 1)
                    grouped.setdefault((tool, workload, f"{entry['status']}: {entry['reason']}"), []).append(rest)
        for (tool, workload, reason), keys in grouped.items():
            where = keys[0] if len(keys) == 1 else f"{len(keys)} cases"
            rows.append([self.title(tool), f"{workload}, {where}", reason])
        return table(["", "case", "why"], rows, words=True) if rows else "Nobody."

    def versions(self) -> str:
        def text(about: dict[str, Any]) -> str:
            return ", ".join(f"{name} {number}" for name, number in about.get("versions", {}).items()) or "–"

        rows = [[self.title(tool), text(about), about.get("note") or "–"] for tool, about in self.tools.items()]
        return table(["", "versions", "how"], rows, words=True)


def page(results: Results, figures: list[tuple[str, str]]) -> str:
    """The README of the results; figures: (file name, what it shows)."""
    made = Page(results)
    m = results.data["machine"]
    about = (f"{m.get('processor')}, {m.get('cores')} cores, {m.get('memory GiB')} GiB, {m.get('system')}, "
             f"{m.get('compiler')}, Python {m.get('python')}, simdl at {m.get('commit')}"
             f"{' with changes that are not committed' if m.get('changed since') else ''}")  # fmt: skip
    sections = [
        ("W1: one lane of a closed loop", made.single, "W1"),
        ("W2: many lanes", made.many, "W2"),
        ("W3: adaptive steps and impacts", made.adaptive, "W3"),
        ("W4: gradients with respect to the network", made.gradients, "W4"),
        ("W5: validation of the scenario battery_soc", made.scenario, "W5"),
        ("W6: cold start", made.cold, "W6"),
    ]
    text = [
        "# Benchmarks",
        "Made by `python -m benchmarks` ([how](../../benchmarks/README.md)); numbers: [results.json](results.json). "
        "Runs of all tools of a case take turns (A B C A B C …), each in a process of its own pinned to as many "
        "processors as it has threads; times are medians of processor time unless said otherwise, of 7 turns (5 in W6, "
        "fewer where a tool takes minutes). A time counts only when the tool's end values agree with a plain NumPy "
        "reference. `to C` is relative to the hand-written scalar C that took turns with it.",
        f"{about}. Page of {date.today().isoformat()}.",
        *(f"![{what}]({name})" for name, what in figures),
    ]
    for head, section, workload in sections:
        if results.cases(workload):
            text += [f"## {head}", section()]
    text += [
        "## Not in the tables", made.absent(), "## Tools", made.versions(), "## Definitions",
        (definitions.__doc__ or "").partition("\n\n")[2].strip(),
        "## Again", "```sh\n.venv/bin/python -m benchmarks                 # everything; goes on where it was stopped\n"
        ".venv/bin/python -m benchmarks --only W1 --again\n.venv/bin/python -m benchmarks --quick          "
        "# does every tool run and agree?\n```",
    ]  # fmt: skip
    return "\n\n".join(text) + "\n"
