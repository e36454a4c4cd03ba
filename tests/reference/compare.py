"""An engine and the interpreter side by side: the same model, what readers saw at every instant, the same crossings."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from simdl import RK4, Run, Simulator
from simdl.engine.accuracy import CHECKED
from simdl.simulate import finished
from tests.reference.build import build, inputs_of, paths_of
from tests.reference.interpreter import Event, Record, interpret
from tests.reference.segment import Exhausted
from tests.reference.spec import Experiment

TOLERANCE = 1e-12
JIGGLE = 1e-10
Runner = Callable[[Experiment], Run]
AMPLIFIED = 1e-8  # what a disturbance of JIGGLE may grow to in a fair comparison: a hundredfold


@dataclass(frozen=True)
class Verdict:
    """How a comparison ended: "agree", "differ", or "unfair" for a model that amplifies rounding; and why."""

    verdict: str
    why: str = ""
    instants: int = 0
    events: int = 0
    worst: float = 0.0


def simulator(experiment: Experiment, engine: str = "torch", every: str | None = None) -> Simulator:
    """The experiment before its start, everything recorded at its ticks and instants, or on a grid.

    The steps of `simulate`, which would record a model without clocks at a thousandth of the run instead.
    """
    torch.set_num_threads(1)
    made = Simulator(
        build(experiment.root), inputs=inputs_of(experiment), set=experiment.set, record=paths_of(experiment),
        every=every, seed=experiment.seed, ids=torch.tensor([experiment.lane]), lanes=1,
        solver=RK4(max_step=f"{experiment.max_step} ns"), engine=engine, threads=1,
    )  # fmt: skip
    made._checked = CHECKED  # whether steps are too long for accuracy is not the question
    return made


def run(experiment: Experiment) -> Run:
    """The experiment on the torch engine."""
    made = simulator(experiment)
    made.run_until(f"{experiment.until} ns")
    return finished(made)


def fair(experiment: Experiment, record: Record) -> str:
    """Why no comparison to 1e-12 means anything, or nothing."""
    other = interpret(experiment, JIGGLE)
    if [path for _, path in record.events] != [path for _, path in other.events]:
        return "crossings change with rounding"
    for path, values in record.values.items():
        for a, b in zip(values, other.values[path]):
            if not math.isfinite(a) or abs(a - b) > AMPLIFIED * max(1.0, abs(a)):
                return f"{path} amplifies rounding"
    return ""


def compare(experiment: Experiment, runner: Runner = run) -> Verdict:
    """Run an experiment both ways and hold every value, at every instant, to 1e-12 of max(1, |value|)."""
    try:
        record = interpret(experiment)
    except Exhausted as error:
        return Verdict("unfair", f"{error} spends its budget")
    try:
        why, worst = difference(record, runner(experiment))
    except Exception as error:
        return Verdict("differ", f"{type(error).__name__}: {error}")
    unfair = fair(experiment, record) if why else ""
    if unfair:
        return Verdict("unfair", f"{unfair}; {why}")
    return Verdict("differ" if why else "agree", why, len(record.times), len(record.events), worst)


def difference(record: Record, found: Run, lane: int = 0) -> tuple[str, float]:
    """The first difference in time, or an empty text; and the largest relative one."""
    if found.status:
        return f"status {dict(found.status)}", math.inf
    worst, first = 0.0, (math.inf, "")
    for path, values in record.values.items():
        trace = found.traces[path]
        samples = dict(zip((round(float(t) * 1e9) for t in trace.t), trace.values[lane].tolist()))
        if trace.values[lane].ndim != 1:
            return f"{path} has the shape {tuple(trace.values.shape)}", math.inf
        latest = math.nan
        for ns, expected in zip(record.times, values):
            held = [samples[time] for time in samples if time <= ns] if trace.kind == "held" else []
            latest = held[-1] if held else samples.get(ns, math.nan)
            off = abs(latest - expected) / max(1.0, abs(expected))
            if not off <= TOLERANCE:
                first = min(first, (ns, f"{path} at {ns / 1e9} s: engine {latest!r}, interpreter {expected!r}"))
            worst = max(worst, math.inf if math.isnan(off) else off)
    for path, expected in record.final.items():
        off = abs(float(found.final[path][lane]) - expected) / max(1.0, abs(expected))
        if not off <= TOLERANCE:
            first = min(first, (math.inf, f"final {path}: engine {float(found.final[path][lane])!r}, not {expected!r}"))
        worst = max(worst, off)
    events = [(t, path) for number, t, path in found.events if number == lane]
    first = min(first, _events(record.events, events))
    return first[1], worst


def _events(expected: list[Event], found: list[Event]) -> tuple[float, str]:
    """The first crossing that differs. Firings of one crossing closer than the tolerance count once: that is where a
    bouncing ball comes to rest, after however many more."""
    expected, found = _apart(expected), _apart(found)
    for (t, path), (time, other) in zip(expected, found):
        if path != other or abs(t - time) > TOLERANCE * max(1.0, abs(t)):
            return t * 1e9, f"crossing {other} at {time!r} s, interpreter {path} at {t!r} s"
    if len(expected) != len(found):
        longer, who = (expected, "the interpreter") if len(expected) > len(found) else (found, "the engine")
        t, path = longer[min(len(expected), len(found))]
        return t * 1e9, f"crossing {path} at {t!r} s only in {who}"
    return math.inf, ""


def _apart(events: list[Event]) -> list[Event]:
    last: dict[str, float] = {}
    kept = []
    for t, path in events:
        if t - last.get(path, -math.inf) > TOLERANCE:
            kept.append((t, path))
        last[path] = t
    return kept
