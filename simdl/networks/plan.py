"""The plan of a network, decided before its class is made: its ports, its memory, the layout of its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from simdl.block import Block
from simdl.declarations import Input, Output, Shape, State
from simdl.errors import NetworkError
from simdl.methods import Tick, reading
from simdl.networks.layers import find_layers, forward_names
from simdl.networks.layout import Layout, refuse_ambiguous
from simdl.networks.ports import (
    Ins,
    Outs,
    Scaling,
    check_free,
    flat_result,
    inputs_of,
    is_array,
    outputs_of,
    sizes_of,
)  # fmt: skip
from simdl.networks.window import Window

if TYPE_CHECKING:
    from simdl.networks.boxes import Boxes
    from simdl.networks.card import ModelCard
    from simdl.networks.classes import Classes
    from simdl.networks.feature import Feature

    Result = Classes | Boxes

EDGES = ("level", "rising", "falling", "either")
POLICIES = ("propagate", "hold", "fail")
BROKEN = "input_or_output"


@dataclass
class Plan:
    """The ports of one network, what it remembers between ticks, and how its inputs are laid out."""

    where: str
    inputs: dict[str, Input]
    outputs: dict[str, Output]
    stack: bool
    window: Window | None = None
    card: ModelCard | None = None
    taps: dict[str, str] = field(default_factory=dict)  # port -> path of the layer inside the module
    memory: dict[str, State] = field(default_factory=dict)
    extra_inputs: dict[str, Input] = field(default_factory=dict)  # reset, x0
    flags: dict[str, Output] = field(default_factory=dict)  # ok
    reset: str | None = None
    recurrence: Any = None  # a Recurrence, or the names of states that the module takes and returns
    result: Result | None = None
    layouts: dict[str, Layout] = field(default_factory=dict)  # by input
    nan: str = "propagate"

    @property
    def sizes(self) -> list[int] | None:
        """How many features each input holds; None while a shape is open."""
        return sizes_of(self.inputs)

    @property
    def array(self) -> bool:
        """Whether the module gets arrays as they are, and not rows of features."""
        return not self.stack or any(is_array(one.shape) for one in self.inputs.values())

    def scaling(self) -> Scaling:
        card = self.card
        if card is None:
            return Scaling([None] * len(self.inputs), [None] * len(self.outputs))
        return Scaling(card.inputs, card.outputs)

    def prepared(self, args: Sequence[Tensor]) -> list[Tensor]:
        """The module's arguments, from those of the ports in the module's type."""
        if not self.layouts:
            return list(args)
        found = []
        for (name, one), value in zip(self.inputs.items(), args):
            layout = self.layouts.get(name)
            found.append(layout.prepared(value, one.dtype == torch.uint8) if layout else value)
        return found

    def returned(self, result: Any, lanes: int) -> tuple[Tensor, ...]:
        """What the module returned, as tensors for the outputs."""
        if self.result is not None:
            return self.result.tensors(result, lanes, self.where)
        return flat_result(result, list(self.outputs), self.where)

    def check(self, raw: Any) -> None:
        """Raise NetworkError where what the module returned for samples is not what the result promises."""
        check = getattr(self.result, "check", None)  # spreads and quantiles promise nothing
        if check is not None:
            check(raw, self.where)

    def add_policy(self, nan: str, shapes: Sequence[Shape | None] | None) -> None:
        """What is done about NaN; shapes: of the outputs and tapped layers, None while they are open."""
        if nan not in POLICIES:
            raise NetworkError(self.where, f"nan={nan!r}", "one of", names=POLICIES, wrong=str(nan))
        self.nan = nan
        if nan == "hold":
            if shapes is None:
                name = next(iter(self.inputs))
                raise NetworkError(f"{self.where}.{name}", 'an open shape and nan="hold"', "its shape",
                                   f"inputs={{{name!r}: Input(shape=(n,))}}")  # fmt: skip
            held = {**self.outputs, **{name: Output() for name in self.taps}}
            for (name, one), shape in zip(held.items(), shapes):
                self.memory.setdefault(f"last_{name}", _last(name, one, shape))
            if "ok" not in self.outputs:
                self.flags.setdefault("ok", Output(dtype="bool", initial=False, doc="what it saw and said is finite"))
        elif nan == "fail":
            # A lane fails when a state is not finite; the message names the state.
            self.memory[BROKEN] = State(0.0, shape=(), doc="NaN once what it saw or said was not finite")

    def remember_window(self, shapes: Sequence[Shape]) -> None:
        """States for a window; shapes: of the outputs and tapped layers, which are held between evaluations."""
        window, sizes = self.window, self.sizes
        if window is None or sizes is None:
            return
        if self.array:
            raise NetworkError(self.where, "a window of arrays", "rows of features")
        self.memory["history"] = State(shape=(window.length, sum(sizes)), doc="the last samples")
        self.memory["ticks"] = State(0, dtype="int64", doc="ticks since the start or the last reset")
        if window.holds:
            held = {**self.outputs, **{name: Output() for name in self.taps}}
            for (name, one), shape in zip(held.items(), shapes):
                self.memory[f"last_{name}"] = _last(name, one, shape)
        self.flags["ok"] = Output(dtype="bool", initial=False, doc="the window is full")

    def add_reset(self, reset: str | None) -> None:
        if reset is None:
            return
        if reset not in EDGES:
            raise NetworkError(self.where, f"reset={reset!r}", "one of", names=EDGES, wrong=str(reset))
        if not self.memory:
            raise NetworkError(self.where, "reset= of a network without memory", "a Window or Recurrent")
        self.reset = reset
        self.extra_inputs["reset"] = Input(dtype="bool", shape=(), doc="per lane: forget what was seen")
        if reset != "level":
            self.memory["reset_before"] = State(0, dtype="bool", doc="reset at the last tick")

    def namespace(self, base: type[Block], **methods: Any) -> dict[str, Any]:
        """The body of the network's class."""
        taps = {name: Output(doc=f"of the layer {path}") for name, path in self.taps.items()}
        parts: list[Mapping[str, Any]] = [self.inputs, self.extra_inputs, self.outputs, taps, self.flags, self.memory]
        check_free([name for part in parts for name in part], base, self.where)
        ports: dict[str, Any] = {name: one for part in parts for name, one in part.items()}
        step = Tick(reading(_step, [*self.inputs, *self.extra_inputs, *self.memory]))
        return {
            **ports, "step": step, **methods, "_made_from": base, "__module__": base.__module__,
            "__doc__": base.__doc__, "__qualname__": base.__qualname__,
        }  # fmt: skip


def _last(name: str, one: Output, shape: Shape | None) -> State:
    """Memory of an output."""
    dtype = None if one.dtype is None else str(one.dtype).removeprefix("torch.")
    return State(one.initial, shape=shape, dtype=dtype, doc=f"{name} of the last evaluation")


def _step(self: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = self._step(values)
    return found


def plan_ports(
    cls: type[Block], module: Any, inputs: Ins | None, outputs: Outs | None, card: ModelCard | None, stack: bool | None,
    result: Result | None = None,
) -> Plan:  # fmt: skip
    """The ports: those declared in the class, those given, those of the card, or "x" and "y", in this order."""
    where = cls.__name__
    if isinstance(module, type) and issubclass(module, nn.Module):
        raise NetworkError(where, f"the class {module.__name__}", f"a module: {module.__name__}(...)")
    if not isinstance(module, nn.Module):
        fix = f"{where}.from_card(path) reads a module with its card" if isinstance(module, str) else ""
        raise NetworkError(where, f"{module!r}", "an nn.Module", fix)
    typed_in = {n: copy(d) for n, d in cls.declared().items() if isinstance(d, Input)}
    typed_out = {n: copy(d) for n, d in cls.declared().items() if isinstance(d, Output)}
    for given, typed, what in ((inputs, typed_in, "inputs"), (outputs, typed_out, "outputs")):
        if given and typed:
            raise NetworkError(where, f"{what}= beside the declared {', '.join(typed)}", "one of them")
    ins, outs = typed_in or inputs_of(inputs, where), typed_out or outputs_of(outputs, where)
    if card is not None:
        ins = _as_on_card(ins or {f.name: f.input() for f in card.inputs}, card.inputs)
        outs = _as_on_card(outs or {f.name: f.output() for f in card.outputs}, card.outputs)
        stack = card.stack if stack is None else stack
        result = result or card.result()
    if result is not None:
        outs = _as_result(outs, result.outputs(), where)
    needed = forward_names(module)
    if not ins and len(needed) > 1 and stack is not True:
        ins, stack = inputs_of(needed, where), False
    plan = Plan(where, ins or inputs_of("x", where), outs or outputs_of("y", where), stack is not False, card=card,
                result=result)  # fmt: skip
    if plan.stack and len(plan.inputs) > 1:
        for name, one in plan.inputs.items():
            one.shape = () if one.shape is None else one.shape
            if is_array(one.shape):
                found = f"an array of shape {one.shape} among other inputs"
                fix = "stack=False gives the module each input by itself"
                raise NetworkError(f"{where}.{name}", found, "rows of features", fix)
    return plan


def _as_result(outs: dict[str, Output], made: dict[str, Output], where: str) -> dict[str, Output]:
    """The outputs of a classifier or detector, under their own names or those given in their order."""
    if not outs:
        return made
    if len(outs) != len(made):
        raise NetworkError(where, f"outputs {', '.join(outs)}", f"names for {', '.join(made)}, or no outputs=")
    for (name, one), ours in zip(outs.items(), made.values()):
        if one.shape not in (None, ours.shape):
            raise NetworkError(f"{where}.{name}", f"shape {one.shape}", f"shape {ours.shape}: {ours.doc}")
        one.shape, one.dtype, one.labels, one.initial = ours.shape, ours.dtype, ours.labels, ours.initial
    return outs


def plan_layouts(plan: Plan, module: nn.Module, layout: Layout | Mapping[str, Layout] | None) -> None:
    """Layouts by input, of the card where none is given. Raises NetworkError for arrays that could be laid out in more
    than one way."""
    arrays = [name for name, one in plan.inputs.items() if is_array(one.shape)]
    if layout is None and plan.card is not None:
        layout = {f.name: f.layout.layout() for f in plan.card.inputs if f.layout is not None}
    if isinstance(layout, Layout):
        if len(arrays) != 1:
            found = f"one layout for {', '.join(arrays) or 'inputs that are no arrays'}"
            fix = f"layout={{{(arrays or list(plan.inputs))[0]!r}: Layout(...)}}, and Input(shape=...)"
            raise NetworkError(f"{plan.where}: layout", found, "an input of two or more axes", fix)
        layout = {arrays[0]: layout}
    for name, one in (layout or {}).items():
        if name not in plan.inputs:
            raise NetworkError(f"{plan.where}: layout", f"no input {name!r}", "an input", names=plan.inputs, wrong=name)
        if not isinstance(one, Layout):
            raise NetworkError(f"{plan.where}.{name}", f"layout {one!r}", 'Layout("hwc", "chw", ...)')
        one.check(plan.inputs[name].shape, f"{plan.where}.{name}")
    plan.layouts = dict(layout or {})
    if len(arrays) == 1 and not plan.layouts and plan.stack:
        refuse_ambiguous(module, plan.inputs[arrays[0]].shape, f"{plan.where}.{arrays[0]}")


def _as_on_card(declared: Mapping[str, Any], features: Sequence[Feature]) -> dict[str, Any]:
    """Declarations in the card's order, with its shapes and units where they say nothing."""
    for feature in features:
        one = declared.get(feature.name)
        if one is not None:
            one.shape = feature.shape if one.shape is None else one.shape
            one.unit = one.unit or feature.unit
    names = [feature.name for feature in features]
    known = [name for name in names if name in declared]
    return {name: declared[name] for name in [*known, *(n for n in declared if n not in names)]}


def plan_taps(module: nn.Module, activations: Sequence[str], where: str) -> dict[str, str]:
    """Ports for layers: `_` for dots, and `layer_` before a digit."""
    layers = find_layers(module)
    taps: dict[str, str] = {}
    for name in [activations] if isinstance(activations, str) else activations:
        if name not in layers:
            raise NetworkError(f"{where}: activations", f"no layer {name!r}", "a layer", names=layers, wrong=name)
        port = name.replace(".", "_")
        taps[port if port.isidentifier() else f"layer_{port}"] = name
    return taps
