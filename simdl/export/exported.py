"""Exporting a network, and comparing what was written with what it was written from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

import simdl
from simdl.data.durable import write_file
from simdl.errors import NetworkError
from simdl.export.executor import Executor, open_executor
from simdl.export.formats import write
from simdl.export.kind import check_format
from simdl.export.step import FilePort, Step, network_of
from simdl.networks.comparison import Comparison, compare_outputs
from simdl.networks.described import NEXT

if TYPE_CHECKING:
    from simdl.export.step import Exportable

SAMPLES, LANES, TICKS = 64, 4, 300


@dataclass(frozen=True)
class Exported:
    """A network in a file of another format.

    path, format; inputs, outputs, states: its ports, states being both inputs and, with "_next" behind their names,
    outputs; period: the time between ticks, "" when it has no clock; normalised: whether the card's normalisation is in
    the file; single: comparison of one tick on 64 samples; stepwise: of 300 ticks that feed their states back, None for
    a network without states. Both None when it was not checked.
    """

    path: Path
    format: str
    inputs: tuple[FilePort, ...]
    outputs: tuple[FilePort, ...]
    states: tuple[FilePort, ...]
    period: str
    normalised: bool
    single: Comparison | None = None
    stepwise: Comparison | None = None
    card: Mapping[str, Any] | None = field(default=None, repr=False)

    def executor(self) -> Executor:
        """The file, opened by ONNX Runtime, torch or a C compiler: a function of arrays by name."""
        return open_executor(self.path, self.inputs, self.outputs, self.states)

    def twin(self) -> dict[str, Any]:
        checks = {name: None if one is None else {**asdict(one), "agrees": one.agrees}
                  for name, one in (("single", self.single), ("stepwise", self.stepwise))}  # fmt: skip
        return {
            "schema": "simdl-export-1", "file": self.path.name, "format": self.format, "period": self.period,
            "normalised": self.normalised, "inputs": [one.twin() for one in self.inputs],
            "outputs": [one.twin() for one in self.outputs], "states": [one.twin() for one in self.states],
            "next": {one.name: one.name + NEXT for one in self.states}, "checks": checks, "card": self.card,
            "versions": {"simdl": simdl.__version__, "torch": torch.__version__},
        }  # fmt: skip

    def __str__(self) -> str:
        def side(ports: Sequence[FilePort], end: str = "") -> str:
            return ", ".join(f"{one.name}{end}{f' [{one.unit}]' if one.unit else ''}"
                             f"{list(one.shape) if one.shape else ''}" for one in ports)  # fmt: skip

        every = f" every {self.period}" if self.period else ""
        lines = [f"{self.path} ({self.format}): {side(self.inputs)} -> {side(self.outputs)}{every}"]
        if self.states:
            after = ", ".join(one.name + NEXT for one in self.states)
            lines.append(f"  states: {side(self.states)}; after a tick as {after}")
        lines.append(f"  {'inputs are normalised' if self.normalised else 'nothing is normalised'} in the file")
        checks = (("one tick", self.single), ("step by step", self.stepwise))
        lines += [f"  {name}: {one}" for name, one in checks if one]
        return "\n".join(lines)


def export(
    network: Exportable, path: str | Path, *, normalise: bool = True, check: bool = True, ticks: int = TICKS,
    **options: Any,
) -> Exported:  # fmt: skip
    """Write one tick of a network to a file: .onnx, .pt2 or .c; the ports' names, units and states to path.json.

    network: a Network or Recurrent block, a diagram with one in it, an nn.Module, or a path that `open_network` reads.
    normalise: whether the card's normalisation becomes part of the file. check: compare the file, run by ONNX Runtime,
    torch or what a C compiler made of it, with the block: one tick on 64 samples, and `ticks` ticks that feed states
    back. options: of Network or Recurrent (inputs=, outputs=, period=) for what is no block yet.

    ONNX and .pt2 take any number of lanes, the first axis of everything; C takes one. Values are in the module's float
    type. States (hidden state, samples in a window, tick count) are inputs, and outputs named `<state>_next`.
    Raises NetworkError when the format cannot hold the network, and when the file computes something else.
    """
    path = Path(path)
    kind = check_format(path)
    step = Step(network_of(network, options), normalise)
    write(step, path)
    made = Exported(path, kind, step.inputs, step.outputs, step.states, step.rate, step.normalised,
                    card=json.loads(step.card.to_json()) if step.card else None)  # fmt: skip
    if check:
        executor = made.executor()
        single = compare_single(step, executor).check(str(path))
        stepwise = compare_stepwise(step, executor, ticks).check(str(path)) if step.states else None
        made = replace(made, single=single, stepwise=stepwise)
    text = json.dumps(made.twin(), indent=1, allow_nan=False) + "\n"
    write_file(path.with_name(path.name + ".json"), text.encode())
    return made


def compare_single(step: Step, executor: Executor, count: int = SAMPLES) -> Comparison:
    """One tick from states that a few ticks left."""
    states = step.start(count)
    with torch.no_grad():
        for k in range(3):
            states = list(step(*step.samples(count, seed=k + 1), *states)[len(step.outputs) :])
        values = [*step.samples(count), *states]
        wanted = step(*values)
    found = _run(executor, values)
    return compare_outputs(found, dict(zip(_names(step), wanted)), f"{step.where} in torch")


def compare_stepwise(step: Step, executor: Executor, ticks: int = TICKS, lanes: int = LANES) -> Comparison:
    """Many ticks, each side feeding back its own states: differences may grow."""
    if ticks < 1:
        raise NetworkError("export", f"ticks={ticks}", "at least 1")
    rows = [value.reshape(ticks, lanes, *value.shape[1:]) for value in step.samples(ticks * lanes, seed=9)]
    generator = torch.Generator().manual_seed(3)
    order = torch.randperm(ticks, generator=generator)  # samples are sorted by size where there is no card
    mine, theirs = step.start(lanes), step.start(lanes)
    wanted: list[list[Tensor]] = []
    given: list[list[Tensor]] = []
    with torch.no_grad():
        for k in order.tolist():
            inputs = [row[k] for row in rows]
            result = list(step(*inputs, *mine))
            mine = result[len(step.outputs) :]
            other = list(_run(executor, [*inputs, *theirs]).values())
            theirs = other[len(step.outputs) :]
            wanted.append(result)
            given.append(other)
    reference = {name: torch.cat(column) for name, column in zip(_names(step), zip(*wanted))}
    found = {name: torch.cat(column) for name, column in zip(_names(step), zip(*given))}
    return compare_outputs(found, reference, f"{step.where} in torch, {ticks} ticks of {lanes} lanes")


def _run(executor: Executor, values: Sequence[Tensor]) -> dict[str, Tensor]:
    named = {one.name: value.numpy() for one, value in zip(executor.taken, values)}
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in executor(named).items()}


def _names(step: Step) -> list[str]:
    return [one.name for one in (*step.outputs, *step.states)]
