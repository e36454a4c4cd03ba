"""Settings shared by all tests: one thread for torch, Hypothesis profiles, and the engine of runs that name none."""

from __future__ import annotations

import ctypes
import os
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests import exporters

exporters.read_once()

# Two workers with as many threads each as the machine has cores are slower than two with one.
torch.set_num_threads(1)

settings.register_profile("dev", deadline=None)
settings.register_profile(
    "ci", deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# Programs that tests give to other tools; not tests, and some are wrong on purpose.
collect_ignore_glob = ["programs/*"]

_decided: Counter[str] = Counter()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine", choices=("native",), help="run natively, however short, all that names no engine and can be"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--engine") != "native":
        return
    from simdl import Simulator, simulate
    from simdl.engine import choice
    from simdl.engine.native.cache import load
    from simdl.engine.native.engine import Native

    choice.WORTH = 0.0
    for function in (simulate, Simulator.__init__):
        function.__kwdefaults__["engine"] = "auto"

    def little(self: Native, source: str) -> Any:
        library = load(source, flags=("-O0",))  # each test has a model of its own, which runs once
        library.run.argtypes = [ctypes.c_void_p]
        return library

    Native.load = little  # type: ignore[method-assign]
    decide = Simulator._runs_natively

    def counted(self: Simulator, end: int) -> bool:
        before, found = self.asked, decide(self, end)
        if before == "auto" and self.asked != "auto":
            _decided[f"torch: {self.why}"] += 1
        elif before == "auto" and found:
            _decided["native"] += 1
        return found

    Simulator._runs_natively = counted  # type: ignore[method-assign]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Unless another --dist is asked for, each worker takes half of the tests in order, and then half of what the
    other has left: what a module prepares is prepared once, and both end together."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _decided:
        terminalreporter.section("engines")
        for text, count in _decided.most_common():
            terminalreporter.line(f"{count:5} {text}")


@pytest.fixture
def lightly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile models without optimisation, which changes no bit: each is compiled for one short run."""
    from simdl.engine.native.cache import load

    def quick(source: str, check: Any = None, flags: Any = ()) -> ctypes.CDLL:
        return load(source, check=check, flags=("-O0",))

    for module in ("engine", "adjoint"):
        monkeypatch.setattr(f"simdl.engine.native.{module}.load", quick)


@pytest.fixture
def interrupts() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where whoever started the tests lets it be ignored."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, old)
