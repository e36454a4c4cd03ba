"""Scenarios: a diagram with what varies, how long it runs and what must hold, addressed by name."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from simdl.clock import Duration
from simdl.errors import UsageError

if TYPE_CHECKING:
    from simdl.campaign import Campaign
    from simdl.codesign import Design
    from simdl.diagram import Diagram
    from simdl.requirements import Requirement
    from simdl.result import Run
    from simdl.slots import Slot


@dataclass(frozen=True)
class Scenario:
    """A study that anybody can repeat.

    diagram: makes the system, with its slots. until, every: horizon and recording grid. space: path -> distribution.
    requirements: name -> STL, as text over the diagram's paths or as a Requirement. record: what campaigns record.
    groups: name -> a drawn 0/1 parameter whose lanes are reported apart. networks: slot -> what is in it now.
    defaults: slot -> what is in it when nobody says otherwise. quick: fields to replace for a quick look.
    engine: as for `simulate`; "auto" is decided for each campaign as a whole. computer: what the loop runs on, with
    `.on(diagram, horizon)`: a `simdl.computer.Computer` or Replay; put under the diagram once its slots are filled.
    """

    name: str
    title: str
    diagram: Callable[[], Diagram]
    until: Duration
    every: Duration
    space: Mapping[str, Any] = field(default_factory=dict)
    requirements: Mapping[str, str | Requirement] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    record: tuple[str, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    solver: Any = None
    design: Design | None = None
    quick: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "auto"
    computer: Any = None

    def __repr__(self) -> str:
        return f"<Scenario {self.name}: {self.title}>"

    @property
    def slots(self) -> dict[str, Slot]:
        """The places for networks, by name."""
        from simdl.slots import slots_of

        return slots_of(self.diagram())

    def swap(self, **networks: Any) -> Scenario:
        """The same scenario with other networks in its slots: blocks, modules, card folders, `.pt2` files or
        "package:factory". Raises NetworkError naming every way in which one does not fit."""
        known = self.slots
        for name in networks:
            if name not in known:
                raise UsageError(f"{self.name}.swap", f"no slot {name!r}", names=known, wrong=name)
        swapped = replace(self, networks={**self.networks, **networks})
        swapped.build()
        return swapped

    def build(self) -> Diagram:
        """The diagram with its slots filled, on its computer."""
        from simdl.slots import swap

        chosen = {**self.defaults, **self.networks}
        diagram = self.diagram()
        filled = swap(diagram, **chosen) if chosen else diagram
        if self.computer is None:
            return filled
        on_computer: Diagram = self.computer.on(filled, horizon=self.until)
        return on_computer

    def quickly(self) -> Scenario:
        """The scenario for a quick look: a shorter horizon, as its author chose it."""
        return replace(self, **self.quick) if self.quick else self

    def run(self, *, seed: int = 0, lane: int = 0, set: Mapping[Any, Any] | None = None, **options: Any) -> Run:
        """One lane, drawn from the space, with every output recorded."""
        import torch

        from simdl.engine.arguments import whole

        whole("lane", lane, 0)
        whole("seed", seed, 0)
        found: Run = self._job(self.build(), seed, set).simulate(torch.tensor([lane]), record=None, **options)[0]
        return found

    def campaign(
        self, lanes: int = 1000, *, seed: int = 0, set: Mapping[Any, Any] | None = None, **options: Any
    ) -> Campaign:
        """Many lanes, checked against the requirements; options as for `monte_carlo`."""
        from simdl.campaign import monte_carlo
        from simdl.engine.arguments import mapping

        return monte_carlo(
            self.build(),
            self.space,
            lanes=lanes,
            until=options.pop("until", self.until),
            every=self.every,
            inputs=self.inputs,
            set={**self.set, **mapping("set", set)},
            seed=seed,
            record=options.pop("record", self.record or None),
            requirements=options.pop("requirements", self.requirements),
            solver=self.solver,
            engine=options.pop("engine", self.engine),
            **options,
        )

    def _job(self, diagram: Diagram, seed: int, settings: Mapping[Any, Any] | None) -> Any:
        import torch

        from simdl.campaign.shard import Job
        from simdl.engine.arguments import mapping

        return Job(
            diagram, self.until, self.space, self.inputs, {**self.set, **mapping("set", settings)}, self.record or None,
            self.every, {}, seed, torch.float64, self.solver, True, engine=self.engine,
        )  # fmt: skip

    def describe(self, engine: bool = False) -> str:
        """What the scenario is: title, horizon, what varies, what must hold, its slots, and the compiled schedule; with
        `engine` also what the native engine would run in C, and what it would call in torch."""
        until, every = (x if isinstance(x, str) else f"{x} s" for x in (self.until, self.every))
        lines = [f"{self.name}: {self.title}", f"until {until}, recorded every {every}", "", "varies:"]
        lines += [f"  {path}: {distribution}" for path, distribution in self.space.items()] or ["  nothing"]
        lines += ["", "must hold:"]
        lines += [f"  {name}: {text}" for name, text in self.requirements.items()] or ["  nothing"]
        diagram = self.build()
        from simdl.slots import slots_of

        lines += ["", "slots:"]
        lines += [f"  {name}: {slot}" for name, slot in slots_of(diagram).items()] or ["  none"]
        if self.computer is not None:
            from simdl.computer.describe import describe
            from simdl.computer.placed import computer_of

            computer = computer_of(diagram)
            lines += ["", "computer:"]
            lines += [f"  {line}" for line in describe(computer).splitlines()] if computer else ["  times of a log"]
        lines += ["", diagram.describe()]
        return "\n".join([*lines, "", self.partition(diagram)] if engine else lines)

    def partition(self, diagram: Diagram | None = None) -> str:
        """What the native engine would run in C, and what it would call in torch, as text; compiles nothing."""
        from simdl.compile import compile_model
        from simdl.engine.native.partition import partition

        return partition(compile_model(diagram or self.build()), self.solver)


def names() -> dict[str, str]:
    """The scenarios that ship with simdl: name -> title. Reads a table only."""
    return {name: str(entry["title"]) for name, entry in _index().items()}


def scenario(name: str) -> Scenario:
    """A scenario by name, or "package.module:attribute" for one of your own. Raises UsageError when there is none."""
    index = _index()
    if name in index:
        target = str(index[name]["scenario"])
    elif ":" in name:
        target = name
    else:
        raise UsageError("scenario", f"{name!r} is not a scenario", "a name below, or package.module:attribute",
                         "run `simdl list`", index, name)  # fmt: skip
    module, _, attribute = target.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"scenario {name}", str(error), "an importable module with that attribute") from error
    if callable(found) and not isinstance(found, Scenario):
        found = found()
    if not isinstance(found, Scenario):
        raise UsageError(f"scenario {name}", f"{type(found).__name__}", "a Scenario, or a function that returns one")
    return found


def _index() -> dict[str, dict[str, Any]]:
    text = files("simdl.scenarios").joinpath("index.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
