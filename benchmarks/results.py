"""What has been measured, in one JSON file that is written after every case."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cases import Case

BASE = "c"  # the tool that ratios are relative to
Entry = dict[str, Any]


class Results:
    """`results.json` of a folder: machine, tools (versions, or why one is absent), cases, measurements.

    measurements: key of a case -> tool -> entry. An entry has `status`: "ok", "disagrees", "skipped" or "failed",
    with a `reason`; an ok one has `cpu` and `wall`, seconds of each run, `base`, the median CPU seconds of scalar C in
    the same alternation, `deviation` from the reference, `peak` and `extra` bytes, `prepare` seconds.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "results.json"
        self.data: dict[str, Any] = {"machine": {}, "tools": {}, "cases": {}, "measurements": {}}
        if self.path.exists():
            self.data |= json.loads(self.path.read_text())

    def save(self) -> None:
        """Write the file in one go."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.data, indent=1, allow_nan=False) + "\n")
        part.replace(self.path)

    def put(self, case: Case, tool: str, entry: Entry) -> None:
        """Keep what was found; call save() when a case is done."""
        self.data["cases"][case.key] = case.to_json()
        self.data["measurements"].setdefault(case.key, {})[tool] = entry

    def get(self, case: Case | str, tool: str) -> Entry:
        """An entry, or an empty one."""
        key = case if isinstance(case, str) else case.key
        found: Entry = self.data["measurements"].get(key, {}).get(tool, {})
        return found

    def finished(self, case: Case, tool: str) -> bool:
        """Whether there is nothing left to do: failures are tried again, everything else stays."""
        same = self.data["cases"].get(case.key) == case.to_json()
        return same and self.get(case, tool).get("status") in ("ok", "disagrees", "skipped")

    def cases(self, workload: str) -> list[Case]:
        """The cases measured so far, in their order."""
        found = [Case(**one) for one in self.data["cases"].values() if one["workload"] == workload]
        return sorted(found, key=lambda c: (c.model, c.dtype != "float64", c.threads, c.lanes, c.cached))

    def ok(self, case: Case) -> dict[str, Entry]:
        """Tool -> entry of those whose time counts."""
        found = self.data["measurements"].get(case.key, {})
        return {tool: entry for tool, entry in found.items() if entry["status"] == "ok"}


def middle(values: Iterable[float]) -> float:
    """The median."""
    return float(median(values))


def ratio(entry: Entry) -> float | None:
    """CPU time relative to scalar C run in turns with it."""
    return middle(entry["cpu"]) / entry["base"] if entry.get("base") else None
