"""The command: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.cases import WORKLOADS, Case, cases
from benchmarks.environment import Tool, ensure, machine, tools, versions
from benchmarks.measure import Runner
from benchmarks.results import BASE, Results


def main(words: list[str] | None = None) -> int:
    """Install, measure, write tables and figures; 130 after Ctrl-C, with everything finished kept."""
    known = tools()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=WORKLOADS, metavar="W", help="workloads")
    parser.add_argument("--tools", nargs="+", choices=known, default=list(known), metavar="TOOL", help="tools")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="thread counts of W2")
    parser.add_argument("--rounds", type=int, help="runs of each tool in a case (7; 3 with --quick)")
    parser.add_argument("--quick", action="store_true", help="few lanes, short horizons: does all run and agree?")
    parser.add_argument("--out", type=Path, help="folder of the results (results/benchmarks; build/… with --quick)")
    parser.add_argument("--again", action="store_true", help="measure what is finished again")
    parser.add_argument("--no-pin", action="store_true", help="let the system choose the processors")
    parser.add_argument("--list", action="store_true", help="show workloads, cases and tools, and do nothing")
    parser.add_argument("--page", action="store_true", help="only write the page and the figures again")
    given = parser.parse_args(words)
    chosen = [known[name] for name in known if name in given.tools]
    wanted = cases([w for w in WORKLOADS if w in given.only], given.threads, given.quick)
    if given.list:
        print(*(case.key for case in wanted), sep="\n")
        print(*(f"{tool.name:16} {tool.title}{': ' + tool.note if tool.note else ''}" for tool in chosen), sep="\n")
        return 0
    out = given.out or Path("build/benchmarks/quick" if given.quick else "results/benchmarks")
    results = Results(out)
    if not given.page:
        try:
            _measure(results, chosen, wanted, given)
        except KeyboardInterrupt:
            results.save()
            print(f"\nstopped; the same command goes on from {results.path}", file=sys.stderr)
            return 130
    _write(results, out)
    return 0


def _measure(results: Results, chosen: list[Tool], wanted: list[Case], given: argparse.Namespace) -> None:
    start = time.perf_counter()
    results.data["machine"] = machine()
    there = []
    for tool in chosen:
        print(f"{tool.name}: environment", flush=True)
        reason = ensure(tool)
        results.data["tools"][tool.name] = {"title": tool.title, "note": tool.note, "reason": reason,
                                            "versions": {} if reason else versions(tool)}  # fmt: skip
        there += [] if reason else [tool]
        if reason:
            print(f"  {reason}")
    results.save()
    if given.again:
        for case in wanted:
            for tool in there:
                results.data["measurements"].get(case.key, {}).pop(tool.name, None)
    rounds = given.rounds or (3 if given.quick else 7)
    runner = Runner(results, rounds, not given.no_pin, lambda text: print(text, flush=True))
    if all(tool.name != BASE for tool in there):
        there.insert(0, tools()[BASE])
    for number, case in enumerate(wanted, 1):
        print(f"[{number}/{len(wanted)}, {time.perf_counter() - start:.0f} s] {case.key}", flush=True)
        runner.case(case, there)


def _write(results: Results, out: Path) -> None:
    from benchmarks.figures import draw
    from benchmarks.page import page

    figures = draw(results, out)
    (out / "README.md").write_text(page(results, figures))
    print(f"wrote {out / 'README.md'}")


if __name__ == "__main__":
    sys.exit(main())
