"""A recurrent module as a block: its hidden state is declared state."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from simdl.clock import SECOND, Duration, clock, nanoseconds
from simdl.declarations import Input, Output, State
from simdl.errors import NetworkError
from simdl.methods import Initial, reading
from simdl.networks.network import Network
from simdl.networks.plan import Plan, plan_ports
from simdl.networks.ports import Ins, Outs, split_result
from simdl.networks.recurrence import Recurrence

if TYPE_CHECKING:
    from simdl.networks.call import Mode
    from simdl.networks.card import ModelCard
    from simdl.networks.network import Policy
    from simdl.networks.plan import Result

_TYPES = {torch.float32: "float32", torch.float64: "float64"}


class Recurrent(Network):
    """A recurrent module stepped once a tick; its hidden state is visible, recorded, restored and reset per lane.

    module: an nn.RNN, nn.GRU or nn.LSTM of any depth or a cell, with `head=` applied to its output; a module
    `forward(x, state) -> (y, state)`; or a module `forward(x) -> y` with recurrent layers inside. It takes sequences
    (lanes, samples, features), or (samples, lanes, features) with batch_first=False; sequence=False: single samples
    (lanes, features). At construction stepping is compared with a whole sequence (within 1e-4 of the largest output in
    float32, 1e-10 in float64); `deviation` is what was found.
    States are ports: `h` (and `c` of an LSTM) of shape (layers, hidden), or `<layer>_h` for several layers.
    warmup: a time ("300 s"); the output `ok` becomes true at the first tick that is this much later than the first one,
    or than the last reset. Without it that of the card, else `ok` is true from the first tick.
    x0: the initial state of one lane, a tensor or tuple as forward takes it but without an axis for lanes; or "input":
    ports `x0` (`x0_h`, `x0_c`), read at the start and at a reset.
    reset: "level", "rising", "falling" or "either": adds the input `reset`, a bool that per lane restarts the state
    before this tick's sample is seen.
    result: Classes(labels) makes predicted, scores and confidence of what the module (or its head) returns.
    The other arguments are those of Network, without window, activations, stack and layout.

    Raises NetworkError for bidirectional layers, dropout in training mode, and modules that cannot be stepped.

    >>> import torch
    >>> gru = torch.nn.GRU(2, 8, batch_first=True)
    >>> net = Recurrent(gru, head=torch.nn.Linear(8, 1), inputs=("v", "i"), outputs=("soc",), period="1 s")
    >>> list(net.declared())
    ['v', 'i', 'soc', 'ok', 'h', 'ticks']
    """

    if TYPE_CHECKING:
        head: Any = None
        warmup: Duration | None = None
        x0: Any = None
        batch_first: bool | None = None
        sequence: bool = True
        warmup_ticks: ClassVar[int]
    else:
        warmup_ticks = 0

        def __init__(
            self, module, inputs=None, outputs=None, card=None, reset=None, mode="exact", chunk=None, train=False,
            triggered=False, allow_rate=False, result=None, nan="propagate", *, head=None, warmup=None,
            x0=None, batch_first=None, sequence=True, period=None, rate=None, **values,
        ):  # fmt: skip
            self._begin(module, mode, chunk, train, triggered, allow_rate, period, rate, head, warmup, values)

    @classmethod
    def _planned(  # type: ignore[override]
        cls, module: Any, inputs: Ins | None = None, outputs: Outs | None = None, card: ModelCard | None = None,
        reset: str | None = None, *, head: nn.Module | None = None, x0: Any = None, batch_first: bool | None = None,
        sequence: bool = True, result: Result | None = None, nan: Policy = "propagate", **options: Any,
    ) -> Plan:  # fmt: skip
        plan = plan_ports(cls, module, inputs, outputs, card, True, result)
        if plan.array:
            raise NetworkError(plan.where, "an array as input", "rows of features")
        sizes = plan.sizes
        if sizes is None:
            name, only = next(iter(plan.inputs.items()))
            layer = next((part for part in module.modules() if isinstance(part, nn.RNNBase | nn.RNNCellBase)), None)
            if layer is None:
                fix = f"inputs={{{name!r}: Input(shape=(n,))}}"
                raise NetworkError(f"{plan.where}.{name}", "an input of open shape", "its shape", fix)
            only.shape = () if layer.input_size == 1 else (layer.input_size,)
            sizes = [layer.input_size]
        start = None if isinstance(x0, str) else x0
        found = Recurrence(module, sum(sizes), head, start, batch_first, sequence, plan.where)
        plan.recurrence = found
        taken = {*plan.inputs, *plan.outputs}
        if taken & set(found.names):
            found.names = [f"hidden_{name}" for name in found.names]
        for name, shape, first in zip(found.names, found.shapes, found.initial):
            # The network's own type, so that a state goes through a tick without being rounded.
            dtype = _TYPES.get(first.dtype)
            plan.memory[name] = State(first, shape=shape, dtype=dtype, doc="hidden state")
        plan.memory["ticks"] = State(0, dtype="int64", doc="ticks since the start or the last reset")
        plan.flags["ok"] = Output(dtype="bool", initial=False, doc="warmed up")
        if isinstance(x0, str):
            cls._read_x0(plan, x0)
        cls._shape_outputs(plan)
        plan.add_policy(nan, [one.shape for one in plan.outputs.values()])
        plan.add_reset(reset)
        return plan

    @staticmethod
    def _read_x0(plan: Plan, x0: str) -> None:
        if x0 != "input":
            raise NetworkError(f"{plan.where}: x0", f"{x0!r}", 'a tensor, a tuple of tensors, or "input"')
        found: Recurrence = plan.recurrence
        for name, shape in zip(found.names, found.shapes):
            port = "x0" if len(found.names) == 1 else f"x0_{name}"
            plan.extra_inputs[port] = Input(shape=shape, doc=f"initial value of {name}")

    @staticmethod
    def _shape_outputs(plan: Plan) -> None:
        found: Recurrence = plan.recurrence
        result = found.sample()
        if plan.result is not None:
            plan.check(result)
            result = plan.returned(result, 2)
        for declared, value in zip(plan.outputs.values(), split_result(result, plan.outputs, 2, plan.where)):
            declared.shape = tuple(value.shape[1:])

    @classmethod
    def _methods_of(cls, plan: Plan) -> dict[str, Any]:
        ports = [name for name in plan.extra_inputs if name != "reset"]
        if not ports:
            return {}

        def begin(self: Recurrent, values: dict[str, Tensor]) -> dict[str, Tensor]:
            names: Sequence[str] = plan.recurrence.names
            return {state: values[port] for state, port in zip(names, ports)}

        return {"start": Initial(reading(begin, ports))}

    def _begin(
        self, module: nn.Module, mode: Mode, chunk: int | None, train: bool, triggered: bool, allow_rate: bool,
        period: Duration | None, rate: Duration | None, head: nn.Module | None, warmup: Duration | None,
        values: dict[str, Any],
    ) -> None:  # fmt: skip
        if head is not None:
            module = nn.ModuleDict({"recurrent": module, "head": head})  # so that block.module has all weights
        self._start(module, mode, chunk, train, triggered, allow_rate, period, rate, values)
        vars(self).update(warmup_ticks=self._count_warmup(warmup, triggered))

    def _count_warmup(self, warmup: Duration | None, triggered: bool) -> int:
        card = self._plan.card
        if warmup is None and card is not None:
            ns = card.warmup_ns
        else:
            ns = nanoseconds(warmup if warmup is not None else 0, f"{self}: warmup")
        if ns < 0:
            raise NetworkError(f"{self}: warmup", f"{warmup!r}", "zero or more")
        if ns and triggered:
            raise NetworkError(f"{self}: warmup", "a warm-up time of a network on a trigger", "a period")
        ticking = clock(self.period, self.rate, self.offset, str(self))
        if ticking is None:
            return 0
        return -(-ns * ticking.denominator // ticking.numerator)

    @property
    def deviation(self) -> float | None:
        """The largest difference found between stepping and a whole sequence, relative to the largest output."""
        found: Recurrence = self._plan.recurrence
        return found.deviation

    @property
    def warmup_seconds(self) -> float:
        """The time from the first tick to the first one with `ok`."""
        ticking = self.clock
        if ticking is None:
            return 0.0
        return float(Fraction(self.warmup_ticks * ticking.numerator, ticking.denominator * SECOND))

    def _fresh(self, name: str, values: dict[str, Tensor], like: Tensor) -> Tensor:
        for port in (f"x0_{name}", "x0"):
            if port in self._plan.extra_inputs and name != "ticks":
                return values[port].to(like)
        return super()._fresh(name, values, like)

    def _evaluate(self, inputs: list[Tensor], memory: dict[str, Tensor]) -> dict[str, Tensor]:
        found: Recurrence = self._plan.recurrence
        states = [memory[name] for name in found.names]
        results = self._call(*self._arguments(inputs), *states)
        after = results[len(results) - len(states) :]
        new = {name: value.to(state) for name, value, state in zip(found.names, after, states)}
        ticks = memory["ticks"]
        outputs = self._named(results[: len(results) - len(states)], inputs)
        return {**new, **outputs, "ticks": ticks + 1, "ok": ticks >= self.warmup_ticks}

    def _body(self, *args: Tensor) -> tuple[Tensor, ...]:
        found: Recurrence = self._plan.recurrence
        outputs, states = found.step(args[0], args[1:])
        if self._plan.result is not None:
            outputs = self._plan.returned(outputs, args[0].shape[0])
        return (*outputs, *states)
