"""One shard of a campaign: some lanes, drawn, run and checked, in this process or in another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from simdl.campaign.statistics import Summary, summarised
from simdl.clock import nanoseconds
from simdl.declared import Declared
from simdl.engine.arguments import horizon
from simdl.engine.choice import why_not, worth_compiling
from simdl.engine.solver import Solver
from simdl.errors import CompileError, LoweringError
from simdl.port import Formula, Port, Signal
from simdl.requirements import Requirement, Verdict
from simdl.result import Run, Trace
from simdl.simulate import simulate, simulator_for
from simdl.space import draw

FIRST = 4  # lanes by which an engine is chosen, as many as are tried in both


@dataclass(frozen=True)
class Shard:
    """The results of some lanes: drawn values, margins, verdicts, failures, and if they are kept the traces."""

    ids: Tensor
    drawn: Mapping[str, Tensor]
    margins: Mapping[str, Tensor]
    verdicts: Mapping[str, Tensor]
    decided: Mapping[str, Tensor]  # the time in s at which each margin is attained
    status: Mapping[int, tuple[float, str]]
    traces: Mapping[str, Trace] = field(default_factory=dict)
    stored: Any = None  # what the sink returned
    summaries: Mapping[str, Summary] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """What every shard of a campaign has in common. Picklable when the diagram is.

    engine: of every lane, however many run together; why: what decided it; threads: of the native engine."""

    model: Declared
    until: Any
    space: Mapping[str, Any]
    inputs: Mapping[str, Any]
    settings: Mapping[str, Any]
    record: tuple[Any, ...] | None
    every: Any
    requirements: Mapping[str, Requirement]
    seed: int
    dtype: torch.dtype
    solver: Solver | None
    keep: bool
    sink: Callable[[Run, Tensor, Mapping[str, Tensor]], Any] | None = None
    engine: str = "auto"
    why: str = ""
    threads: int | None = None
    statistics: bool = False

    def decided(self, ids: Tensor) -> Job:
        """The same with its engine decided, for these lanes in all: so that shards, processes and a resumption change
        nothing. Compiles what they need. Raises LoweringError and CompileError for engine="native"."""
        if self.engine == "torch" or not len(ids):
            return self
        part = ids[:FIRST]
        _, settings, inputs = self.given(part)
        simulator = simulator_for(
            self.model, self.until, ids=part, inputs=inputs, set=settings, record=self.record, every=self.every,
            seed=self.seed, dtype=self.dtype, solver=self.solver, engine=self.engine, threads=self.threads,
        )  # fmt: skip
        end = horizon(self.until)
        many = self.engine == "auto" and not why_not(simulator) and worth_compiling(simulator, end, len(ids))
        if many:
            simulator.asked = "native"
        try:
            engine, why = simulator.decide(end)
        except (LoweringError, CompileError) as error:
            if not many:
                raise
            engine, why = "torch", str(error).replace("\n", "; ")
        return replace(self, engine=engine, why=why)

    def run(self, ids: Tensor, progress: Callable[[float], None] | None = None) -> Shard:
        """Draw, simulate and check these lanes."""
        run, drawn = self.simulate(ids, progress=progress)
        margins, verdicts, decided = {}, {}, {}
        for name, found in check(run, self.requirements, self.every).items():
            margins[name], verdicts[name] = found.values.detach(), found.verdict
            decided[name] = torch.where(found.at >= 0, found.at * found.every, torch.nan)
        status = {int(ids[lane]): why for lane, why in run.status.items()}
        stored = self.sink(run, ids, drawn) if self.sink is not None else None
        signals = run.traces if self.statistics else {}
        summaries = {path: summarised(trace, ids, status) for path, trace in signals.items()}
        return Shard(ids, drawn, margins, verdicts, decided, status, run.traces if self.keep else {}, stored, summaries)

    def simulate(self, ids: Tensor, **options: Any) -> tuple[Run, dict[str, Tensor]]:
        """The run of these lanes alone, and what was drawn for them."""
        drawn, settings, inputs = self.given(ids)
        record = options.pop("record", self.record)
        engine = options.pop("engine", "auto" if "solver" in options else self.engine)
        run = simulate(
            self.model, self.until, lanes=len(ids), inputs=inputs, set=settings, record=record,
            every=options.pop("every", self.every), seed=self.seed, dtype=self.dtype,
            solver=options.pop("solver", self.solver), ids=ids, engine=engine, threads=self.threads, **options,
        )  # fmt: skip
        return run, drawn

    def given(self, ids: Tensor) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
        """Drawn values, settings and inputs of these lanes; what is set is not drawn."""
        fixed = {name if isinstance(name, str) else name.path for name in (*self.settings, *self.inputs)}
        space = {name: one for name, one in self.space.items() if name not in fixed}
        values = draw(space, self.seed, ids)
        settings = {**self.settings}
        inputs = dict(self.inputs)
        declared = type(self.model).declared()
        for name, value in values.items():
            target = inputs if name in declared and declared[name].kind == "input" else settings
            target[name] = value
        drawn = {name: v for name, v in values.items() if isinstance(v, Tensor)}
        return drawn, settings, inputs


def check(run: Run, requirements: Mapping[str, Requirement], every: Any) -> dict[str, Any]:
    """The margins of a run, by name of requirement."""
    found = {}
    failed = run.failed if run.status else None
    for name, requirement in requirements.items():
        samples = nanoseconds(run.until) // nanoseconds(every) + 1
        found[name] = requirement.margin(lambda s: run[s].values, every, samples, failed=failed)
    return found


def signals_of(requirements: Mapping[str, Requirement]) -> list[Signal | str]:
    """Every port or path that requirements read, once."""
    seen: dict[Any, None] = {}
    for requirement in requirements.values():
        for signal in requirement.signals():
            for one in signal.ports() if isinstance(signal, Formula) else (signal,):
                seen[one] = None
    return list(seen)


__all__ = ["Job", "Port", "Shard", "Verdict", "check", "signals_of"]
