"""`python -m tests.reference`: compare random models, keep count in a file, go on where the last run stopped.

    python -m tests.reference --count 1000 --seed 0          models 0 to 999 of seed 0
    python -m tests.reference --seed 0 --case 84             one of them: printed, and shrunk when it differs
    python -m tests.reference --engine native --workers 2    the native engine, in batches that compile together

The exit status is 0 when no model differs, 1 when one does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.reference import spec
from tests.reference.choices import Choices
from tests.reference.compare import Verdict
from tests.reference.draw import experiment
from tests.reference.judge import TOGETHER, parts, verdicts
from tests.reference.reduce import reduce
from tests.reference.spec import Experiment


def minimal(model: Experiment, why: str, engine: str) -> Experiment:
    """The simplest experiment found that differs in the same kind of way: a value, a crossing, or an error."""

    def fails(attempt: Experiment) -> bool:
        found = verdicts([attempt], engine)[0]
        return found.verdict == "differ" and _kind(found.why) == _kind(why)

    return reduce(model, fails)


def _kind(why: str) -> str:
    """The name of an error, or "value", "crossing", …"""
    word = why.split()[0].rstrip(":") if why else ""
    return word if word.endswith("Error") or word in ("crossing", "final", "status") else "value"


def digest(engine: str) -> str:
    """A digest of the engine, the interpreter and the generator: a count says something about these alone."""
    root = Path(__file__).parents[2]
    parts = "block clock declarations diagram methods port random simulate".split()
    files = [root / "simdl" / f"{part}.py" for part in parts]
    for folder in ("simdl/compile", "simdl/engine", "tests/reference"):
        files += sorted((root / folder).glob("*.py"))
    if engine == "native":
        files += sorted((root / "simdl/engine/native").glob("*.[hp]*"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


class Tally:
    """How far a seed has come with this code, in a file that is replaced at once."""

    def __init__(self, path: Path, seed: int, engine: str) -> None:
        self.path = path
        self.state: dict[str, Any] = {
            "seed": seed, "engine": engine, "code": digest(engine), "reached": 0, "agree": 0, "unfair": 0,
            "instants": 0, "events": 0, "worst": 0.0, "differ": {},
        }  # fmt: skip
        if path.exists():
            old = json.loads(path.read_text())
            if old["seed"] != seed:
                raise SystemExit(f"{path} counts seed {old['seed']}, not {seed}: give another --out")
            if old.get("engine") != engine:
                raise SystemExit(f"{path} counts the engine {old.get('engine')}, not {engine}: give another --out")
            if old.get("code") == self.state["code"]:
                self.state = old
            else:
                print(f"{path} counts other code: starting over", file=sys.stderr)

    def add(self, case: int, found: Verdict) -> None:
        state = self.state
        if found.verdict == "differ":
            state["differ"][str(case)] = found.why
            return
        state["differ"].pop(str(case), None)
        state[found.verdict] += 1
        if found.verdict == "agree":
            state["instants"] += found.instants
            state["events"] += found.events
            state["worst"] = max(state["worst"], found.worst)

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.state, indent=1) + "\n")
        os.replace(new, self.path)

    def __str__(self) -> str:
        s = self.state
        return (
            f"{s['engine']}: reached N = {s['reached']} of seed {s['seed']}: {s['agree']} agree to 1e-12 "
            f"(worst {s['worst']:.1e}, {s['instants']} instants, {s['events']} crossings), "
            f"{s['unfair']} amplify rounding too much to compare, "
            f"{len(s['differ'])} differ"
        )


def many(tally: Tally, count: int, seed: int, stop: bool, engine: str, workers: int) -> None:
    """Compare up to `count` models; those that differed the last time first."""
    state, saved = tally.state, time.monotonic()
    cases = [*map(int, state["differ"]), *range(state["reached"], count)]
    for part, found in parts(cases, seed, engine, workers):
        for case, one in zip(part, found):
            tally.add(case, one)
            state["reached"] = max(state["reached"], case + 1)
            if one.verdict == "differ":
                print(f"case {case} differs: {one.why.splitlines()[0]}", flush=True)
        differs = any(one.verdict == "differ" for one in found)
        if time.monotonic() - saved > 10 or differs:
            tally.save()
            saved = time.monotonic()
            print(tally, file=sys.stderr, flush=True)
        if stop and differs:
            break
    tally.save()


def show(model: Experiment, name: str, small: bool, engine: str) -> bool:
    """Print an experiment, its verdict, and when it differs the smallest one that does; whether it does not."""
    found = verdicts([model], engine)[0]
    print(f"\n{name}: {found.verdict}  {found.why}")
    if found.verdict == "differ" and small:
        model = minimal(model, found.why, engine)
        print("smallest:", verdicts([model], engine)[0].why)
    print(f"{model!r}\nagain: python -m tests.reference {name}, or --spec with a file of the lines above")
    return found.verdict != "differ"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reference", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="how many models in all (1000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=list(TOGETHER), default="torch")
    parser.add_argument("--workers", type=int, default=1, help="processes (1)")
    parser.add_argument("--out", type=Path, help="the file that keeps count (build/reference/ENGINE-SEED.json)")
    parser.add_argument("--case", type=int, help="only this model, printed")
    parser.add_argument("--spec", type=Path, help="only the experiment printed in this file")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first that differs")
    parser.add_argument("--no-shrink", action="store_true", help="print what differs as it is")
    given = parser.parse_args()
    engine = given.engine
    if given.spec:
        text = given.spec.read_text()
        model = eval(text, {**vars(spec), "inf": math.inf})  # data printed by this program
        return int(not show(model, f"--engine {engine} --spec {given.spec}", not given.no_shrink, engine))
    if given.case is not None:
        model = experiment(Choices.seeded(given.seed, given.case))
        name = f"--engine {engine} --seed {given.seed} --case {given.case}"
        return int(not show(model, name, not given.no_shrink, engine))
    tally = Tally(given.out or Path(f"build/reference/{engine}-{given.seed}.json"), given.seed, engine)
    many(tally, given.count, given.seed, not given.keep_going, engine, given.workers)
    if tally.state["differ"]:
        first = min(map(int, tally.state["differ"]))
        model = experiment(Choices.seeded(given.seed, first))
        show(model, f"--engine {engine} --seed {given.seed} --case {first}", not given.no_shrink, engine)
    print(tally)
    return int(bool(tally.state["differ"]))


if __name__ == "__main__":
    sys.exit(main())
