"""The study: computers in four series, measured one after the other; an interrupted study goes on."""

import json
import math
import multiprocessing
import signal
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simdl import UsageError
from simdl.progress import progress
from simdl.scenarios.latency_budget.measurement import Numbers, Point, costs, measure

LOADS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75)
DELAYS = (0.0, 0.02, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1)
SERIES: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "first come, first served": tuple({"load": load} for load in LOADS),
    "controller first": tuple({"load": load, "order": "priority"} for load in LOADS),
    "constant delay": tuple({"load": 0.0, "jitter": 0.0, "sensing": delay} for delay in DELAYS),
    "delay ± half": tuple({"load": 0.0, "jitter": 0.0, "sensing": delay, "wander": delay / 2} for delay in DELAYS),
}
"""Name -> computers, as `machine` takes them: the load of others by the order of the queue, and delays without load."""


def study(
    lanes: int, seed: int = 0, kept: Path | None = None, series: Mapping[str, Any] = SERIES, shown: bool | None = None,
    workers: int = 1,
) -> list[Point]:  # fmt: skip
    """The points of all series, each over the same lanes and noise.

    kept: a file to which points are written as they are found; those in it are not measured again. Raises UsageError
    when it is of other lanes or another seed, and KeyboardInterrupt with what is done. shown: the progress bar.
    workers: processes, each with points of its own.
    """
    points = _read(kept, lanes, seed) if kept is not None and kept.exists() else []
    known = {(point.series, json.dumps(point.given)) for point in points}
    wanted = [(name, given) for name, computers in series.items() for given in computers]
    left = [(name, given) for name, given in wanted if (name, json.dumps(given)) not in known]
    try:
        with progress("latency_budget", len(left) * lanes, shown, "lanes") as bar:
            undelayed = costs(None, lanes, seed)[1] if left else np.zeros(lanes)
            with closing(_measured(left, lanes, seed, undelayed, workers)) as measured:
                for point in measured:
                    points.append(point)
                    if kept is not None:
                        with kept.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(_plain(asdict(point))) + "\n")
                    bar.advance(lanes)
                    bar.note(f"latency_budget: {len(points)} of {len(wanted)} points")
    except KeyboardInterrupt as stop:
        where = f" and kept in {kept}; the same command goes on" if kept is not None else ""
        raise KeyboardInterrupt(f"{len(points)} of {len(wanted)} points are measured{where}") from stop
    order = {(name, json.dumps(given)): k for k, (name, given) in enumerate(wanted)}
    return sorted(
        (point for point in points if (point.series, json.dumps(point.given)) in order),
        key=lambda point: order[point.series, json.dumps(point.given)],
    )


def _measured(
    left: Sequence[tuple[str, Mapping[str, Any]]], lanes: int, seed: int, undelayed: Numbers, workers: int
) -> Generator[Point, None, None]:
    if workers == 1 or len(left) < 2:
        yield from (measure(name, given, lanes, seed, undelayed) for name, given in left)
        return
    context = multiprocessing.get_context("spawn")  # forking after torch has started threads hangs
    with ProcessPoolExecutor(min(workers, len(left)), context, _begin) as pool:
        jobs = [pool.submit(measure, name, given, lanes, seed, undelayed) for name, given in left]
        try:
            for job in as_completed(jobs):
                yield job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and cancels what has not begun
    torch.set_num_threads(1)


def _plain(value: Any) -> Any:
    """JSON has no infinity: it is null."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read(kept: Path, lanes: int, seed: int) -> list[Point]:
    points = []
    for number, line in enumerate(kept.read_text(encoding="utf-8").splitlines(), 1):
        try:
            one = json.loads(line)
            cost = tuple(math.inf if value is None else value for value in one["cost"])
            margins = {name: tuple(-math.inf if value is None else value for value in values)
                       for name, values in one["margins"].items()}  # fmt: skip
            points.append(Point(**{**one, "responses": tuple(one["responses"]), "cost": cost, "margins": margins}))
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(
                f"{kept}: line {number}", f"not a point: {error}", "what this study writes", "delete the file"
            ) from error
    others = {(point.lanes, point.seed) for point in points} - {(lanes, seed)}
    if others:
        many, other = min(others)
        raise UsageError(
            f"{kept}", f"points of {many} lanes, seed {other}", f"{lanes} lanes, seed {seed}",
            "another folder, or delete the file",
        )  # fmt: skip
    return points
