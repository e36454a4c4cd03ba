"""Fast restart: a run made ready once and repeated, without paying for preparation again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from simdl.clock import SECOND, Duration, seconds
from simdl.compile import Model
from simdl.compile.graph import raw
from simdl.declared import Declared
from simdl.engine.arguments import horizon
from simdl.engine.simulator import Simulator
from simdl.result import Run, Trace
from simdl.simulate import finished, simulator_for

if TYPE_CHECKING:
    from simdl.engine.native.launch import Launch
    from simdl.engine.native.memory import Blocks


class Prepared:
    """A run that can be repeated: `run()` gives what `simulate` would give, bit for bit.

    With the native engine everything but the loop itself is done once: compiling, checking and packing what was given,
    the table of instants. What is given to `run` replaces what was given before, for that run.

    >>> from simdl.blocks import Pendulum
    >>> from simdl import RK4, prepare
    >>> pendulum = prepare(Pendulum(), 1, inputs={"torque": 0.0}, solver=RK4(max_step=0.01), every=0.1, engine="torch")
    >>> first, second = pendulum.run(), pendulum.run(set={"theta": 0.5})
    >>> float(first["theta"].values[0, 0]), float(second["theta"].values[0, 0])
    (0.0, 0.5)
    """

    def __init__(self, model: Declared | Model, until: Duration, **options: Any) -> None:
        self.model, self.until, self.options = model, until, options
        self.end = horizon(until)
        self.simulator = self._simulator({})
        self.engine, self.why = self.simulator.decide(self.end)
        self._launch: Launch | None = None
        if self.engine == "native" and not self.simulator.grad:  # each run is a node of its own of a graph of gradients
            self._ready()

    def _ready(self) -> None:
        self._launch = self.simulator.launch(self.end)
        self._image = self._launch.blocks.bytes.copy()
        self._fresh = True
        self._signals = self._described(self._launch)

    def _simulator(self, changes: Mapping[str, Any]) -> Simulator:
        options = dict(self.options)
        for name in ("set", "inputs"):
            if changes.get(name):
                options[name] = {**(options.get(name) or {}), **changes[name]}
        if changes.get("seed") is not None:
            options["seed"] = changes["seed"]
        return simulator_for(self.model, self.until, **options)

    def run(
        self, *, set: Mapping[Any, Any] | None = None, inputs: Mapping[Any, Any] | None = None, seed: int | None = None
    ) -> Run:
        """Run from t = 0 to the end. Raises as `simulate` does."""
        if set or inputs or seed is not None or self._launch is None:
            simulator = self._simulator({"set": set, "inputs": inputs, "seed": seed})
            simulator.asked = self.engine
            simulator.run_until(self.until)
            return finished(simulator)
        if any(a is not b for a, b in zip_longest(self._launch.native.networks(), self._launch.built.networks)):
            self._ready()  # a layer or a parameter was replaced
        launch = self._launch
        launch.refresh()
        if not self._fresh:
            launch.rewind(self._image)
        self._fresh = False
        outs = launch.fire()
        if launch.context.accuracy:
            launch.tell_accuracy()
            launch.context.accuracy = 0  # of one run is enough
        return self._result(launch, outs)

    def _result(self, launch: Launch, outs: dict[str, Any]) -> Run:
        simulator = self.simulator
        traces = {
            path: Trace(path, t, launch.columns(outs[key][1], outs[key][2]).transpose(0, 1), kind, unit,
                        self.simulator.model.labels(path))  # fmt: skip
            for path, key, t, kind, unit in self._signals
        }
        status = simulator.state.status | launch.status()
        simulator.failing.raise_if_strict(status)
        return Run(
            simulator.model, traces, seconds(self.end), simulator.lanes, simulator.setup.seed, "native", status,
            tuple(launch.events()), simulator.accuracy, _Final(simulator, launch.blocks), self.why,
        )  # fmt: skip

    def _described(self, launch: Launch) -> list[tuple[str, str, Tensor, Literal["held", "smooth"], str]]:
        """What is the same of each recorded signal in every run: path, key, times, kind and unit."""
        recorder, model = self.simulator.recorder, self.simulator.model
        times = {key: torch.from_numpy(ns / SECOND) for key, ns, *_ in launch.recorded}
        return [(path, key, times[key], recorder.kind(key), model.unit(path)) for path, key in recorder.paths.items()]


class _Final(Mapping[str, Tensor]):
    """The states at the end, unpacked when they are asked for."""

    def __init__(self, simulator: Simulator, blocks: Blocks) -> None:
        self._simulator, self._blocks = simulator, blocks
        self._data = blocks.bytes.copy().view(blocks.data.dtype)

    def __iter__(self) -> Iterator[str]:
        model = self._simulator.model
        return iter([*model.continuous, *model.discrete, *model.modes])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getitem__(self, key: str) -> Tensor:
        model, blocks = self._simulator.model, self._blocks
        value = model.values[key]
        shape = tuple(value.shape or ())
        kept, blocks.data = blocks.data, self._data
        try:
            if key in model.continuous:
                return blocks.get_rows("y")[self._simulator.instants.rows[key]].T.reshape(-1, *shape)
            name = raw(key) if key in model.discrete else key
            return blocks.get(f"raw:{name}", shape, self._simulator.setup.type_of(value))
        finally:
            blocks.data = kept


def prepare(model: Declared | Model, until: Duration, **options: Any) -> Prepared:
    """Make a run ready, to be repeated; arguments are those of `simulate`."""
    return Prepared(model, until, **options)


__all__ = ["Prepared", "prepare"]
