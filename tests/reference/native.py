"""Many experiments on the native engine, compiled together: one C file for a batch, its headers read once.

The results do not depend on how much the compiler optimises (a test compares), so a batch takes little of it.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from typing import Any

from simdl import Run, Simulator
from simdl.clock import nanoseconds
from simdl.engine.native.compiler import compile_library, find_compiler, why_no_compiler
from simdl.engine.native.engine import Native
from simdl.engine.native.folder import temporary
from simdl.engine.native.library import open_library
from simdl.engine.native.program import header
from simdl.simulate import finished
from tests.reference.compare import simulator
from tests.reference.spec import Experiment

HEADERS = ("mathematics.h", "kernels.h")
_NAMED = re.compile(r"^(?:[\w()]+ )+\**(\w+)\(.*\)$|^} (\w+);$|^static const \w+ (\w+)\[|^#define (\w+)", re.MULTILINE)
_NUMBERS = re.compile(r"^enum \{(.*)\};$", re.MULTILINE)


class Part:
    """One program of a batch, as the engine calls a library."""

    def __init__(self) -> None:
        self.run: Any = None


class Batch:
    """Experiments whose programs share a library; `run(experiment)` runs one, however often."""

    def __init__(self, experiments: Sequence[Experiment], *flags: str) -> None:
        self.experiments = experiments
        self.failures: dict[int, Exception] = {}
        self.simulators: dict[int, Simulator] = {}
        self.parts: dict[int, tuple[str, Part]] = {}
        for i, experiment in enumerate(experiments):
            try:
                self.simulators[i], self.parts[i] = _prepared(experiment)
            except Exception as error:  # for whoever asks for this one
                self.failures[i] = error
        self.starts = {i: simulator.snapshot() for i, simulator in self.simulators.items()}
        self.compile(*flags)

    def compile(self, *flags: str) -> None:
        """Compile the programs, which are traced once, with these flags from now on."""
        library = open_library(_compiled({i: source for i, (source, _) in self.parts.items()}, flags))
        for i, (_, part) in self.parts.items():
            part.run = library[f"run_{i}"]
            part.run.argtypes = [ctypes.c_void_p]

    def run(self, experiment: Experiment) -> Run:
        """Run an experiment of the batch. Raises what tracing it raised."""
        i = self.experiments.index(experiment)
        if i in self.failures:
            raise self.failures[i]
        simulator = self.simulators[i]
        simulator.restore(self.starts[i])
        simulator.run_until(f"{experiment.until} ns")
        return finished(simulator)


def run(experiment: Experiment) -> Run:
    """One experiment on the native engine."""
    return Batch([experiment]).run(experiment)


def _prepared(experiment: Experiment) -> tuple[Simulator, tuple[str, Part]]:
    part = Part()

    class Apart(Native):
        """Leaves its source to be compiled with others."""

        def load(self, source: str) -> Any:
            return part

    made = simulator(experiment, "native")
    native = Apart(made)
    native.prepare(nanoseconds(f"{experiment.until} ns"))
    made._native = native
    return made, (native.source, part)


def _compiled(sources: dict[int, str], flags: Sequence[str]) -> bytes:
    compiler = find_compiler()
    assert compiler is not None, why_no_compiler()
    text = ["#define W 1", *map(header, HEADERS), *(apart(source, i) for i, source in sources.items())]
    return compile_library(compiler, "\n".join(text), (*compiler.flags, "-O0", *flags), temporary())


def apart(source: str, number: int) -> str:
    """A program without its headers, under names of its own."""
    for name in HEADERS:
        assert header(name) in source
        source = source.replace(header(name), "")
    source = source.removeprefix("#define W 1\n")
    names = {name for groups in _NAMED.findall(source) for name in groups[:3] if name}
    names |= {name.strip() for group in _NUMBERS.findall(source) for name in group.split(",")}
    macros = {groups[3] for groups in _NAMED.findall(source) if groups[3]}
    before = [f"#define {name} {name}_{number}" for name in sorted(names)]
    after = [f"#undef {name}" for name in sorted(names | macros)]
    return "\n".join([*before, source, *after])
