"""Runs of all tools of a case in turns, after their trajectories have been checked."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.cases import Case
from benchmarks.data import Data
from benchmarks.environment import BUILD, Tool
from benchmarks.process import Child
from benchmarks.reference import Outcome, disagreement, is_known, reference
from benchmarks.results import BASE, Entry, Results, middle

SHORTEST = 0.02  # seconds that one measurement takes at least, by repetition
LONGEST = 60.0  # seconds after which a tool gets no more rounds in a case
SLOW = 10.0  # seconds of the first run from which on the second is not for warming up
LEAST = 3  # rounds that count as a measurement when a person interrupts


@dataclass
class Runner:
    """How cases are measured. rounds: runs of each tool; pin: keep children on their processors."""

    results: Results
    rounds: int = 7
    pin: bool = True
    say: Callable[[str], None] = print

    def __post_init__(self) -> None:
        self.data = Data(BUILD / "data")
        self.log = BUILD / "children.log"
        BUILD.mkdir(parents=True, exist_ok=True)

    def case(self, case: Case, tools: list[Tool]) -> None:
        """Measure the tools that are not finished; C takes its turns with them, for the ratios."""
        todo = []
        for tool in tools:
            if not tool.has(case.model):
                self.results.put(case, tool.name, {"status": "skipped", "reason": "not written for this tool"})
            elif not self.results.finished(case, tool.name):
                todo.append(tool)
        if not todo:
            self.say("  nothing left to do")
            self.results.save()
            return
        if not is_known(case):
            todo = [tool for tool in tools if tool.has(case.model)]  # they are compared with each other
        self.data.prepare(case)
        base = [tool for tool in tools if tool.name == BASE and tool not in todo and tool.has(case.model)]
        try:
            (self._cold if case.workload == "W6" else self._warm)(case, base + todo, {tool.name for tool in todo})
        finally:
            self.results.save()

    def _start(self, tool: Tool, case: Case, cache: Path) -> Child:
        return Child(tool.name, tool.python, threads=case.threads, pin=self.pin, cache=cache, log=self.log)

    def _checked(self, child: Child, case: Case, tool: Tool, wanted: Outcome | None) -> tuple[Entry, Outcome | None]:
        """Prepare and run once: an entry without times, and the end values."""
        ready = child.prepare(case.to_json(), self.data.folder, tool.imports)
        if "skip" in ready:
            return {"status": "skipped", "reason": ready["skip"]}, None
        if "error" in ready:
            return {"status": "failed", "reason": ready["error"]}, None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "end.npz"
            first = child.run(save=path)
            if "error" in first:
                return {"status": "failed", "reason": first["error"]}, None
            with np.load(path) as file:
                outcome = {name: file[name] for name in file.files}
        entry = {"status": "ok", "prepare": ready["prepare"], "first": first["wall"], "age": first["age"],
                 "import": ready["import"], "import_cpu": ready["import_cpu"], "peak": first["peak"],
                 "extra": max(0, first["peak"] - first["before"])}  # fmt: skip
        if wanted is not None:
            deviation = disagreement(outcome, wanted)
            entry["deviation"] = deviation if math.isfinite(deviation) else None
            if not deviation <= case.tolerance:
                entry |= {"status": "disagrees", "reason": f"deviates by {deviation:.1e}, allowed {case.tolerance:.0e}"}
        return entry, outcome

    def _warm(self, case: Case, tools: list[Tool], keep: set[str]) -> None:
        wanted = reference(case, self.data)
        with ExitStack() as stack:
            running: dict[str, tuple[Child, int]] = {}
            entries: dict[str, Entry] = {}
            for tool in tools:
                child = stack.enter_context(self._start(tool, case, BUILD / "cache"))
                entry, outcome = self._checked(child, case, tool, wanted)
                entries[tool.name] = entry
                wanted = outcome if wanted is None else wanted
                self._tell(tool.name, entry)
                if entry["status"] != "ok":
                    if tool.name in keep:
                        self.results.put(case, tool.name, entry)
                    continue
                again = {"wall": entry["first"]} if entry["first"] > SLOW else child.run()
                if "error" in again:
                    entries[tool.name] = {"status": "failed", "reason": again["error"]}
                    continue
                running[tool.name] = child, max(1, min(1000, math.ceil(SHORTEST / max(again["wall"], 1e-6))))
                entry |= {"cpu": [], "wall": [], "repeat": running[tool.name][1], "spent": 0.0}
            try:
                self._turns(running, entries)
            finally:
                self._keep(case, entries, keep)

    def _turns(self, running: dict[str, tuple[Child, int]], entries: dict[str, Entry]) -> None:
        """A B C A B C …; a tool that has used up its time takes no more turns."""
        for number in range(self.rounds):
            self.say(f"  round {number + 1} of {self.rounds}")
            for name, (child, repeat) in running.items():
                entry = entries[name]
                if entry["status"] != "ok" or entry["spent"] > LONGEST:
                    continue
                start = time.perf_counter()
                found = child.run(repeat)
                entry["spent"] += time.perf_counter() - start
                if "error" in found:
                    entry |= {"status": "failed", "reason": found["error"]}
                    continue
                entry["cpu"].append(found["cpu"])
                entry["wall"].append(found["wall"])
                entry["peak"] = max(entry["peak"], found["peak"])
                entry["extra"] = max(entry["extra"], found["peak"] - found["before"])

    def _keep(self, case: Case, entries: dict[str, Entry], keep: set[str]) -> None:
        """Take over what has rounds enough; called after an interruption too."""
        enough = min(LEAST, self.rounds)
        base = entries.get(BASE, {})
        for name, entry in entries.items():
            if name not in keep:
                continue
            rounds = len(entry.get("cpu", ()))
            if entry["status"] == "ok":
                if rounds < enough and entry.get("spent", 0.0) <= LONGEST:
                    continue
                if base.get("status") == "ok" and base.get("cpu"):
                    entry["base"] = middle(base["cpu"])
                self.say(f"  {name}: {1e3 * middle(entry['cpu']):.4g} ms of CPU")
            self.results.put(case, name, entry)

    def _cold(self, case: Case, tools: list[Tool], keep: set[str]) -> None:
        """New processes, each with a cache of its own: empty, or left by a process before."""
        wanted = reference(case, self.data)
        entries: dict[str, Entry] = {}
        try:
            for number in range(min(self.rounds, 5)):
                self.say(f"  round {number + 1}")
                for tool in tools:
                    before = entries.get(tool.name)
                    if before is not None and before["status"] != "ok":
                        continue
                    entry = self._cold_once(case, tool, wanted)
                    if before is None or entry["status"] != "ok":
                        entries[tool.name] = entry
                        self._tell(tool.name, entry)
                    else:
                        before["cpu"] += entry["cpu"]
                        before["wall"] += entry["wall"]
        finally:
            self._keep(case, entries, keep)

    def _cold_once(self, case: Case, tool: Tool, wanted: Outcome | None) -> Entry:
        folder = Path(tempfile.mkdtemp(prefix="cold-", dir=BUILD))
        entry: Entry = {}
        try:
            for _ in range(2 if case.cached else 1):
                with self._start(tool, case, folder) as child:
                    entry, _ = self._checked(child, case, tool, wanted)
                    wall = time.perf_counter() - child.started
                if entry["status"] != "ok":
                    return entry
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return entry | {"cpu": [entry["age"] - entry["import_cpu"]], "wall": [wall - entry["import"]]}

    def _tell(self, name: str, entry: Entry) -> None:
        reason = entry.get("reason") or f"agrees, {entry.get('deviation') or 0:.1e}"
        self.say(f"  {name}: {entry['status']}, {reason}")
