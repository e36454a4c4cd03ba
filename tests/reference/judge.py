"""Comparing many random models: with a limit of time for each, on either engine, in several processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from tests.reference.choices import Choices
from tests.reference.compare import Runner, Verdict, compare, run
from tests.reference.draw import experiment
from tests.reference.spec import Experiment

LIMIT = 120  # s for one model: a hundred times what one takes
TOGETHER = {"torch": 5, "native": 25}  # models that a process takes at once


def limited(model: Experiment, runner: Runner = run) -> Verdict:
    """The comparison, or that it came to no end."""

    def late(*_: object) -> None:
        raise TimeoutError(f"no end after {LIMIT} s")

    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, late)
        signal.alarm(LIMIT)
    try:
        return compare(model, runner)
    except TimeoutError as error:
        return Verdict("differ", f"TimeoutError: {error}")
    finally:
        if hasattr(signal, "SIGALRM"):
            signal.alarm(0)


def verdicts(models: Sequence[Experiment], engine: str) -> list[Verdict]:
    """The comparisons of some models, in this process."""
    if engine == "torch":
        return [limited(model) for model in models]
    from tests.reference.native import Batch

    batch = Batch(models)
    return [limited(model, batch.run) for model in models]


def numbered(cases: Sequence[int], seed: int, engine: str) -> list[Verdict]:
    """The comparisons of the models of these numbers."""
    return verdicts([experiment(Choices.seeded(seed, case)) for case in cases], engine)


def alone(cases: Sequence[int], seed: int, engine: str) -> list[Verdict]:
    """The same, each in a process that may die or hang in C."""
    found = []
    for case in cases:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            future = pool.submit(numbered, [case], seed, engine)
            try:
                found.append(future.result()[0])
            except BrokenProcessPool:
                found.append(Verdict("differ", "ProcessError: the process died"))
    return found


def parts(cases: Sequence[int], seed: int, engine: str, workers: int) -> Iterator[tuple[Sequence[int], list[Verdict]]]:
    """The verdicts of some models at a time, in order."""
    size = TOGETHER[engine]
    work = [cases[i : i + size] for i in range(0, len(cases), size)]
    if workers == 1 and engine == "torch":
        yield from ((part, numbered(part, seed, engine)) for part in work)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        futures = [(part, pool.submit(numbered, part, seed, engine)) for part in work]
        try:
            for part, future in futures:
                try:
                    found = future.result()
                except BrokenProcessPool:
                    found = alone(part, seed, engine)
                yield part, found
        finally:
            pool.shutdown(cancel_futures=True)
