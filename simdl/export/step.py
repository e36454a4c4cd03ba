"""One tick of a network as a function: ports and states in, ports and states out, which is what files can hold."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from simdl.clock import Clock, rate_text
from simdl.errors import NetworkError
from simdl.networks.call import kind_of
from simdl.networks.comparison import samples_of
from simdl.networks.described import NEXT, DescribedPort, Description
from simdl.networks.imported import Imported
from simdl.networks.ports import Scaling
from simdl.slots.copying import copied

if TYPE_CHECKING:
    from pathlib import Path

    from simdl.networks.network import Network

    Exportable = Network | nn.Module | Imported | str | Path


@dataclass(frozen=True)
class FilePort:
    """An input, output or state of an exported file: its name there, the shape of one lane, its type and unit.

    initial: of a state, one lane's value.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    unit: str = ""
    initial: Tensor | None = None

    def twin(self) -> dict[str, Any]:
        found = {"name": self.name, "shape": list(self.shape), "dtype": str(self.dtype).removeprefix("torch."),
                 "unit": self.unit}  # fmt: skip
        return found if self.initial is None else {**found, "initial": self.initial.tolist()}


class Step(nn.Module):
    """(*inputs, *states) -> (*outputs, *states after the tick), everything (lanes, *shape), in the module's type.

    network: a block; the step holds a copy of it with the same weights. normalise: whether the card's normalisation is
    part of the function; without it ports hold normalised values. A recurrent network's hidden state and tick count are
    states, as are the samples in a window; `reset` and `x0` are left to whoever holds the states.
    """

    def __init__(self, network: Network, normalise: bool = True) -> None:
        super().__init__()
        plan = network._plan
        self.module = network.module
        block = copied(network)
        scaling = plan.scaling() if normalise else Scaling([None] * len(plan.inputs), [None] * len(plan.outputs))
        vars(block).update(_scaling=scaling)  # with no memory of other runs
        object.__setattr__(self, "block", block)  # not as a part: the weights are those of `module`
        where = str(network)
        dtype = kind_of(network.module)[0] or torch.get_default_dtype()
        if dtype not in (torch.float32, torch.float64):
            raise NetworkError(where, f"weights in {dtype}", "float32 or float64", "module.float()")
        self.dtype, self.where, self.clock, self.card = dtype, where, network.clock, plan.card
        self.normalised = normalise and any((*scaling.inputs, *scaling.outputs))
        own = plan.scaling()
        # Ports hold values in units, but where the normalisation of a card was left out.
        self._units = normalise or not any((*own.inputs, *own.outputs))
        for name, one in plan.inputs.items():
            if one.shape is None:
                raise NetworkError(f"{where}.{name}", "an input of open shape", "its shape",
                                   f"inputs={{{name!r}: Input(shape=(n,))}}")  # fmt: skip
        self.inputs = tuple(
            FilePort(name, tuple(one.shape or ()), one.dtype or dtype, one.unit if self._units else "")
            for name, one in plan.inputs.items()
        )
        self.states = tuple(
            self._state(name, one) for name, one in plan.memory.items() if name != "reset_before"
        )  # fmt: skip
        names = [*plan.outputs, *plan.taps, *plan.flags]
        self._names = (*names, *(one.name for one in self.states))
        with torch.no_grad():
            values = self._run(self.example(2))
        units = {name: one.unit for name, one in plan.outputs.items()} if self._units else {}
        self.outputs = tuple(
            FilePort(name, tuple(value.shape[1:]), value.dtype, units.get(name, ""))
            for name, value in zip(names, values)
        )
        # torch.export and torch.onnx take names from the signature.
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [inspect.Parameter(one.name, kind) for one in (*self.inputs, *self.states)]

        def forward(*values: Tensor, **named: Tensor) -> tuple[Tensor, ...]:
            return self._run([*values, *(named[p.name] for p in parameters[len(values) :])])

        forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        self.forward = forward
        self.training = False  # its own flag only: `Call` puts the parts into their mode, and programs refuse eval()

    def _state(self, name: str, one: Any) -> FilePort:
        initial = torch.as_tensor(one.initial)
        dtype = one.dtype or (self.dtype if initial.is_floating_point() else initial.dtype)
        dtype = self.dtype if dtype.is_floating_point else dtype
        shape = tuple(one.shape) if one.shape is not None else tuple(initial.shape)
        return FilePort(name, shape, dtype, initial=initial.to(dtype).expand(shape).contiguous())

    def _run(self, values: list[Tensor]) -> tuple[Tensor, ...]:
        block: Any = vars(self)["block"]
        count = len(self.inputs)
        memory = {one.name: value for one, value in zip(self.states, values[count:])}
        found = block._evaluate(list(values[:count]), memory)
        kinds = {one.name: one.dtype for one in self.states}
        return tuple(found[name].to(kinds[name]) if name in kinds else found[name] for name in self._names)

    @property
    def input_names(self) -> list[str]:
        return [one.name for one in (*self.inputs, *self.states)]

    @property
    def output_names(self) -> list[str]:
        return [*(one.name for one in self.outputs), *(one.name + NEXT for one in self.states)]

    @property
    def rate(self) -> str:
        """The time between ticks as one would write it; "" without a clock."""
        clock: Clock | None = self.clock
        return "" if clock is None else rate_text(clock)

    def description(self) -> str:
        """What goes into the file, so that `open_network` gives back the same ports, states and rate."""
        clock: Clock | None = self.clock
        features = {feature.name: feature for feature in (self.card.inputs if self.card and self._units else ())}
        boxes: dict[str, dict[str, Any]] = {name: {"low": one.low, "high": one.high} for name, one in features.items()
                                            if one.high is not None}  # fmt: skip
        ports = [tuple(DescribedPort(**one.twin(), **boxes.get(one.name, {})) for one in side)
                 for side in (self.inputs, self.outputs, self.states)]  # fmt: skip
        return Description(
            normalised=self.normalised, period=self.rate,
            clock=None if clock is None else (clock.numerator, clock.denominator),
            inputs=ports[0], outputs=ports[1], states=ports[2],
        ).model_dump_json(exclude_none=True)  # fmt: skip

    def start(self, lanes: int) -> list[Tensor]:
        """The initial states."""
        return [one.initial.expand(lanes, *one.shape).clone() for one in self.states if one.initial is not None]

    def example(self, lanes: int, seed: int = 0) -> list[Tensor]:
        """Inputs and initial states to call the step with."""
        return [*(one[-lanes:] for one in self.samples(max(lanes, 8), seed)), *self.start(lanes)]

    def samples(self, count: int, seed: int = 0) -> list[Tensor]:
        """Inputs (count, *shape) as the card says they are: mean and spread, within its box; else of growing size."""
        drawn = samples_of([one.shape for one in self.inputs], count, seed)
        features = {feature.name: feature for feature in (self.card.inputs if self.card else ())}
        found = []
        for one, value in zip(self.inputs, drawn):
            feature = features.get(one.name)
            if not one.dtype.is_floating_point:
                found.append((value > 0).to(one.dtype))
                continue
            value = value.double()
            if feature is not None:
                low, high, mean, std = (_shaped(n, one.shape) for n in
                                        (feature.low, feature.high, feature.mean, feature.std))  # fmt: skip
                if low is not None and high is not None:
                    generator = torch.Generator().manual_seed(seed + len(found) + 1)
                    value = low + (high - low) * torch.rand(value.shape, generator=generator, dtype=torch.float64)
                    if not self.normalised and mean is not None and std is not None:
                        value = (value - mean) / std
                elif self.normalised and mean is not None and std is not None:
                    value = mean + std * value.clamp(-4, 4)
            found.append(value.to(one.dtype))
        return found


def _shaped(number: Any, shape: tuple[int, ...]) -> Tensor | None:
    """A number of a card for one lane; a list belongs to the elements, or to the first axis."""
    if number is None:
        return None
    value = torch.as_tensor(number, dtype=torch.float64)
    if value.ndim == 1 and value.numel() == 1 and not shape:
        return value.reshape(())
    if value.ndim == 1 and len(shape) > 1:
        size = 1
        for n in shape:
            size *= n
        return value.reshape(shape) if value.numel() == size else value.reshape(-1, *(1,) * (len(shape) - 1))
    return value


def network_of(given: Exportable, options: Mapping[str, Any]) -> Network:
    """The block to export: a network, a module with its ports, or anything that `open_network` reads.

    options: of Network or Recurrent, for what is no block yet.
    """
    from pathlib import Path

    from simdl.declared import Declared
    from simdl.networks.network import Network
    from simdl.networks.recurrent import Recurrent

    if isinstance(given, str | Path):
        from simdl.networks.opening import open_network

        given = open_network(given)
    if isinstance(given, Network):
        if options:
            raise NetworkError("export", f"{', '.join(options)} for a block that has its ports", "the block alone")
        return given
    clocked = {"period", "rate"} & set(options)
    if isinstance(given, Imported):
        free: dict[str, Any] = {} if clocked or "card" in given.options or given.described else {"triggered": True}
        return given.block(**free, **options)
    if isinstance(given, nn.Module):
        recurrent = any(isinstance(part, nn.RNNBase | nn.RNNCellBase) for part in given.modules())
        kind: Any = Recurrent if recurrent and "window" not in options else Network
        made: Network = kind(given, **({} if clocked else {"triggered": True}), **options)
        return made
    if isinstance(given, Declared):
        return network_in(given)
    raise NetworkError("export", f"{type(given).__name__}", "a Network or Recurrent block, an nn.Module, or a path")


def network_in(block: Any) -> Network:
    """The one network in a block or diagram. Raises NetworkError when there is none, or more than one."""
    from simdl.diagram import Diagram
    from simdl.networks.network import Network

    found: list[Network] = []
    waiting = [block]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Network):
            found.append(one)
        elif isinstance(one, Diagram):
            waiting += list(one.children())
    if len(found) != 1:
        names = ", ".join(map(str, found)) or "none"
        raise NetworkError(f"{block}", f"{len(found)} networks in it ({names})", "one Network or Recurrent",
                           "name the block: export(diagram.controller, path)")  # fmt: skip
    return found[0]
