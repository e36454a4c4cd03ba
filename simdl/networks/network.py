"""A torch module as a block that ticks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import torch
from torch import Tensor, nn

from simdl.block import Block
from simdl.clock import Duration
from simdl.errors import NetworkError
from simdl.networks.call import Call, Mode, is_traced, kind_of
from simdl.networks.copying import with_its_class
from simdl.networks.guard import check_card
from simdl.networks.layers import refuse_dropout, static_lanes, tapped
from simdl.networks.layout import Layout
from simdl.networks.plan import BROKEN, Plan, plan_layouts, plan_ports, plan_taps
from simdl.networks.ports import Ins, Outs, Scaling, is_array, run_dtype, split_result, stacked
from simdl.networks.trial import try_module
from simdl.networks.window import Window
from simdl.port import Port

if TYPE_CHECKING:
    from pathlib import Path

    from simdl.networks.card import ModelCard
    from simdl.networks.plan import Result

    class _Options(Block, kw_only=False):
        """The arguments of a network, for editors and type checkers: the module first, then words."""

        module: Any
        inputs: Ins | None = None
        outputs: Outs | None = None
        card: ModelCard | None = None
        window: Window | None = None
        activations: Sequence[str] = ()
        reset: str | None = None
        stack: bool | None = None
        mode: Mode = "exact"
        chunk: int | None = None
        train: bool = False
        triggered: bool = False
        allow_rate: bool = False
        result: Result | None = None
        layout: Layout | Mapping[str, Layout] | None = None
        nan: Policy = "propagate"

else:

    class _Options(Block):
        module = card = window = None
        mode, train = "exact", False


Policy = Literal["propagate", "hold", "fail"]


class Network(_Options):
    """A torch module evaluated at ticks and held between.

    module: an `nn.Module`; it is called with (lanes, features), the inputs in their order as columns, in its own type
    and on its own device, in evaluation mode. One input of shape (c, h, w) is given as it is.
    inputs, outputs: names, or declarations by name; without them those of the card, else "x" and "y". The module
    returns (lanes, outputs), a tuple of tensors, or a dict by name.
    period or rate, offset, latency: as of any block. A network has a clock of its own; a network that gives the
    derivative of a state (a neural ODE) is a Block with @derivative that calls the module.
    card: names, units, normalisation and rate to keep; another rate is refused unless `allow_rate`.
    window: see Window; adds the output `ok`. reset: "level", "rising", "falling" or "either": adds the input `reset`, a
    bool that per lane empties the window. activations: paths of layers whose outputs become ports ("enc.act" is the
    port `enc_act`, "0" is `layer_0`).
    stack: False gives the module each input by itself: forward(voltage, current).
    result: what the module returns is made into: Classes(labels) or Boxes(...); see Classifier and Detector.
    layout: how an array input is scaled, resized and turned: see Layout; by name where there are several.
    nan: "propagate": outputs are what the module returns, and a lane fails where NaN reaches a state;
    "hold": a tick whose inputs or outputs are not finite is as if it had not been: outputs and memory stay, and the
    output `ok` is false; "fail": the lane fails at such a tick, with the path of the network, even where it hides it.
    mode: "exact": a lane alone equals the lane in any batch bit for bit; "fast": all lanes in one call. chunk: lanes a
    call. train: training mode during the call. triggered: no clock; it runs in a triggered subsystem.

    Typed form: `class Sensor(Network): voltage = Input(unit="V"); soc = Output()`, then `Sensor(module, period="1 s")`.

    Raises NetworkError for ports that do not fit the module, and for a network without a clock.

    >>> import torch
    >>> net = Network(torch.nn.Linear(2, 1), inputs=("voltage", "current"), outputs=("soc",), period="1 s")
    >>> net.step(torch.zeros(3), torch.zeros(3))["soc"].shape
    torch.Size([3])
    """

    if TYPE_CHECKING:
        _plan: ClassVar[Plan]
        _call: ClassVar[Call]
        _scaling: ClassVar[Scaling]

        def __getattr__(self, name: str) -> Port: ...

    else:

        def __new__(cls, module=None, *args, **options):
            if "_made_from" in vars(cls):  # a copy of a block whose class exists
                return object.__new__(cls)
            plan = cls._planned(module, *args, **options)
            block = object.__new__(_class_of(cls, plan))
            vars(block)["_plan"] = plan
            return block

        def __init__(
            self, module, inputs=None, outputs=None, card=None, window=None, activations=(), reset=None, stack=None,
            mode="exact", chunk=None, train=False, triggered=False, allow_rate=False, result=None, layout=None,
            nan="propagate", *, period=None, rate=None, **values,
        ):  # fmt: skip
            self._start(module, mode, chunk, train, triggered, allow_rate, period, rate, values)

    @classmethod
    def _planned(
        cls, module: Any, inputs: Ins | None = None, outputs: Outs | None = None, card: ModelCard | None = None,
        window: Window | None = None, activations: Sequence[str] = (), reset: str | None = None,
        stack: bool | None = None, *, result: Result | None = None,
        layout: Layout | Mapping[str, Layout] | None = None, nan: Policy = "propagate", **options: Any,
    ) -> Plan:  # fmt: skip
        plan = plan_ports(cls, module, inputs, outputs, card, stack, result)
        plan_layouts(plan, module, layout)
        plan.window = window or (card.windowed() if card else None)
        if not isinstance(plan.window, Window | None):
            raise NetworkError(plan.where, f"window={window!r}", "Window(length=32)")
        layer = next((part for part in module.modules() if isinstance(part, nn.RNNBase)), None)
        if layer is not None and plan.window is None and not any(is_array(i.shape) for i in plan.inputs.values()):
            found = f"an {type(layer).__name__} inside, whose state would be forgotten at every tick"
            fix = "Recurrent(module, ...), or window=Window(length=...)"
            raise NetworkError(plan.where, found, "a network without memory", fix)
        plan.taps = plan_taps(module, activations, plan.where)
        shapes = try_module(module, plan)
        plan.remember_window(shapes or ())
        plan.add_policy(nan, shapes)
        plan.add_reset(reset)
        return plan

    @classmethod
    def _methods_of(cls, plan: Plan) -> dict[str, Any]:
        """Further methods of a network's class."""
        return {}

    def _start(
        self, module: nn.Module, mode: Mode, chunk: int | None, train: bool, triggered: bool, allow_rate: bool,
        period: Duration | None, rate: Duration | None, values: dict[str, Any],
    ) -> None:  # fmt: skip
        plan, card = self._plan, self._plan.card
        where = plan.where
        if triggered and (period is not None or rate is not None):
            raise NetworkError(where, "triggered=True and a period", "one of them: its own clock, or a trigger")
        if card is not None and period is None and rate is None and not triggered:
            period, rate = (None, 1 / card.period) if card.clock.rational else (card.period, None)
        if period is None and rate is None and not triggered:
            fix = (
                f'{where}(module, period="10 ms"). A network that gives the derivative of a state (a neural ODE) is a '
                "Block with @derivative that calls the module"
            )
            raise NetworkError(where, "no period: a network does not inherit continuous time", "period= or rate=", fix)
        self._assign({"period": period, "rate": rate, **values})
        if train:
            refuse_dropout(module, where)
        call = Call(self._body, module, mode, chunk, train, where, only=static_lanes(module))
        vars(self).update(module=module, card=card, window=plan.window, mode=mode, train=train)
        vars(self).update(_call=call, _scaling=plan.scaling())
        if card is not None:
            check_card(card, plan.inputs, plan.outputs, self.clock, allow_rate, where)

    @classmethod
    def from_card(cls, path: str | Path, *, factory: Any = None, **options: Any) -> Self:
        """The network that a card describes, with its weights, at the card's rate.

        path: a folder, a card (JSON) or its weights; factory: needed when the card names Python code that does not come
        with simdl: see `simdl.networks.load`. options: as of the constructor.
        """
        from simdl.networks.store import load

        module, card = load(path, factory=factory)
        made: type[Network] = cls
        if card.kind == "recurrent" and cls is Network:
            from simdl.networks.recurrent import Recurrent

            made = Recurrent
        return cast(Self, made(module, card=card, **options))

    def _step(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """One tick: values by name in, outputs and new memory out."""
        plan = self._plan
        inputs = [values[name] for name in plan.inputs]
        memory = {name: values[name] for name in plan.memory}
        new: dict[str, Tensor] = {}
        if plan.reset is not None:
            due = now = values["reset"].bool()
            if plan.reset != "level":
                due = _edge(plan.reset, memory.pop("reset_before").bool(), now)
                new["reset_before"] = now
            memory = {n: _where(due, self._fresh(n, values, state), state) for n, state in memory.items()}
        found = self._evaluate(inputs, memory)
        return {**new, **(found if plan.nan == "propagate" else self._guarded(inputs, memory, found))}

    def _guarded(
        self, inputs: list[Tensor], memory: dict[str, Tensor], found: dict[str, Tensor]
    ) -> dict[str, Tensor]:  # fmt: skip
        """What a tick computed, where what it saw and said is finite."""
        plan = self._plan
        names = (*plan.outputs, *plan.taps)
        seen = [*inputs, *(found[name] for name in names)]
        fine = torch.ones_like(seen[0].flatten(1)[:, 0] if seen[0].ndim > 1 else seen[0], dtype=torch.bool)
        for value in seen:
            if value.is_floating_point():
                fine = fine & torch.isfinite(value).reshape(value.shape[0], -1).all(1)
        if plan.nan == "fail":
            state = memory[BROKEN]
            return {**found, BROKEN: torch.where(fine, state, torch.nan)}
        kept = {name: _where(fine, found.get(name, old).to(old), old) for name, old in memory.items()}
        outputs = {n: _where(fine, found[n], memory[f"last_{n}"].to(found[n])) for n in names}
        kept |= {f"last_{n}": value for n, value in outputs.items()}
        return {**found, **kept, **outputs, "ok": found["ok"] & fine if "ok" in found else fine}

    def remarks(self) -> list[str]:
        plan, (dtype, _) = self._plan, kind_of(cast(nn.Module, self.module))
        found = []
        if dtype not in (None, torch.float64):
            name = str(dtype).removeprefix("torch.")
            found.append(f"computes in {name}: values of float64 are rounded to it at its inputs")
        found += [f"{name}: {layout}" for name, layout in plan.layouts.items()]
        found += [] if plan.result is None else [str(plan.result)]
        return found if plan.nan == "propagate" else [*found, f'nan="{plan.nan}"']

    def _fresh(self, name: str, values: dict[str, Tensor], like: Tensor) -> Tensor:
        """The initial value of a state."""
        return torch.as_tensor(self._plan.memory[name].initial).to(like).expand_as(like)

    def _evaluate(self, inputs: list[Tensor], memory: dict[str, Tensor]) -> dict[str, Tensor]:
        plan, window = self._plan, self._plan.window
        if window is None:
            return self._named(self._call(*self._arguments(inputs)), inputs)
        ticks, dtype = memory["ticks"], run_dtype(inputs)
        history = window.push(memory["history"].to(dtype), stacked(inputs, dtype), ticks)
        due = window.due(ticks)
        new = {"history": history, "ticks": ticks + 1, "ok": window.full(ticks)}
        if window.holds and _none_due(due):
            results = {name: memory[f"last_{name}"] for name in (*plan.outputs, *plan.taps)}
        else:
            row = self._scaling.normalised(history, plan.sizes or [])
            results = self._named(self._call(row.flatten(1) if window.flat else row), inputs)
            if window.holds:
                results = {n: _where(due, v, memory[f"last_{n}"].to(v)) for n, v in results.items()}
        if window.holds:
            new |= {f"last_{name}": value for name, value in results.items()}
        return {**new, **results}

    def _arguments(self, inputs: list[Tensor]) -> list[Tensor]:
        """What the module is called with, normalised, in the run's type."""
        dtype, scaling = run_dtype(inputs), self._scaling
        if self._plan.array or inputs[0].ndim > 2:
            return [scaling.input(i, v.to(dtype) if scaling.inputs[i] else v) for i, v in enumerate(inputs)]
        sizes = [1 if value.ndim == 1 else value.shape[1] for value in inputs]
        return [scaling.normalised(stacked(inputs, dtype), sizes)]

    def _body(self, *args: Tensor) -> tuple[Tensor, ...]:
        """The module's outputs and tapped layers, lanes first."""
        plan, module = self._plan, cast(nn.Module, self.module)
        given, lanes = plan.prepared(args), args[0].shape[0]
        if not plan.taps:
            return plan.returned(module(*given), lanes)
        with tapped(module, plan.taps) as seen:
            outputs = plan.returned(module(*given), lanes)
        return (*outputs, *(seen[port] for port in plan.taps))

    def _named(self, tensors: tuple[Tensor, ...], inputs: list[Tensor]) -> dict[str, Tensor]:
        """Outputs by name, denormalised, in the run's type and on its device."""
        plan, like, dtype = self._plan, inputs[0], run_dtype(inputs)
        count = len(tensors) - len(plan.taps)
        outputs = split_result(tensors[:count], plan.outputs, like.shape[0], str(self))
        found: dict[str, Tensor] = {}
        for name, value in zip((*plan.outputs, *plan.taps), (*outputs, *tensors[count:])):
            found[name] = value.to(device=like.device, dtype=dtype if value.is_floating_point() else value.dtype)
        return {
            name: self._scaling.output(index, value) if index < len(outputs) else value
            for index, (name, value) in enumerate(found.items())
        }

    __deepcopy__ = with_its_class

    def __reduce__(self) -> Any:
        return _remade, (vars(type(self))["_made_from"], self._plan), self.__getstate__()


def _class_of(base: type[Network], plan: Plan) -> type[Network]:
    """The class of one network: its ports are declarations like those of any block."""
    kind: Any = type(base)
    return cast(type[Network], kind(base.__name__, (base,), plan.namespace(base, **base._methods_of(plan))))


def _remade(base: type[Network], plan: Plan) -> Network:
    """A network read back from a pickle; its state follows."""
    made = _class_of(base, plan)
    return made.__new__(made)


def _where(mask: Tensor, value: Tensor, other: Tensor) -> Tensor:
    """By lane: mask (lanes,), values (lanes, *shape)."""
    return torch.where(mask.reshape(-1, *(1,) * (value.ndim - 1)), value, other)


def _edge(edge: str, before: Tensor, now: Tensor) -> Tensor:
    if edge == "either":
        return now ^ before
    return now & ~before if edge == "rising" else before & ~now


def _none_due(due: Tensor) -> bool:
    """Whether the module need not be called: only to save time, and never where a graph is recorded."""
    return not is_traced(due) and due.device.type == "cpu" and not bool(due.any())
