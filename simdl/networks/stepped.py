"""A module that takes its states and returns them, as a block: exported files that are opened again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from simdl.declarations import Shape, State
from simdl.errors import NetworkError
from simdl.networks.call import kind_of, training
from simdl.networks.layers import static_lanes
from simdl.networks.network import Network
from simdl.networks.plan import Plan, plan_ports
from simdl.networks.ports import Ins, Outs, split_result

if TYPE_CHECKING:
    from simdl.networks.network import Policy


class Stepped(Network):
    """A module `forward(*inputs, *states) -> (*outputs, *states after the tick)`, everything (lanes, *shape).

    states: declarations by name, in the order of the module's arguments, with their shapes and initial values; they are
    ports: recorded, restored, and with `reset=` set back per lane. inputs, outputs: with their shapes. The other
    arguments are those of Network, without card, window, activations, stack, result and layout.

    Raises NetworkError for a module that does not take or return them.

    >>> import torch
    >>> from simdl import Input, Output, State
    >>> class Sum(torch.nn.Module):
    ...     def forward(self, x, total):
    ...         return total + x, total + x
    >>> net = Stepped(Sum(), inputs={"x": Input(())}, outputs={"y": Output(())}, states={"total": State(0.0, shape=())},
    ...               period="1 s")
    >>> list(net.declared())
    ['x', 'y', 'total']
    """

    if TYPE_CHECKING:
        states: Mapping[str, State]
    else:

        def __init__(
            self, module, inputs=None, outputs=None, reset=None, mode="exact", chunk=None, train=False, triggered=False,
            allow_rate=False, nan="propagate", *, states=None, period=None, rate=None, **values,
        ):  # fmt: skip
            self._start(module, mode, chunk, train, triggered, allow_rate, period, rate, values)

    @classmethod
    def _planned(  # type: ignore[override]
        cls, module: Any, inputs: Ins | None = None, outputs: Outs | None = None, reset: str | None = None, *,
        states: Mapping[str, State] | None = None, nan: Policy = "propagate", **options: Any,
    ) -> Plan:  # fmt: skip
        plan = plan_ports(cls, module, inputs, outputs, None, False)
        if not states:
            raise NetworkError(plan.where, "no states", "states= by name", "Network(module, ...) has none")
        for name, port in plan.inputs.items():
            if port.shape is None:
                raise NetworkError(f"{plan.where}.{name}", "an input of open shape", "its shape")
        for name, state in states.items():
            if state.shape is None:
                raise NetworkError(f"{plan.where}.{name}", "a state of open shape", "State(initial, shape=(n,))")
        plan.memory.update(states)
        plan.recurrence = tuple(states)
        plan.add_policy(nan, _tried(module, plan))
        plan.add_reset(reset)
        return plan

    def _evaluate(self, inputs: list[Tensor], memory: dict[str, Tensor]) -> dict[str, Tensor]:
        names: tuple[str, ...] = self._plan.recurrence
        results = self._call(*inputs, *(memory[name] for name in names))
        count = len(results) - len(names)
        after = {name: value.to(memory[name]) for name, value in zip(names, results[count:])}
        return {**after, **self._named(results[:count], inputs)}

    def _body(self, *args: Tensor) -> tuple[Tensor, ...]:
        return _called(self.module, self._plan, args)


def _called(module: Any, plan: Plan, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What the module returns, in the order outputs, states; arguments of whole numbers in their own types."""
    declared: list[Any] = [*plan.inputs.values(), *(plan.memory[name] for name in plan.recurrence)]
    given = [
        value if one.dtype is None or one.dtype.is_floating_point else value.to(one.dtype)
        for one, value in zip(declared, args)
    ]
    result = module(*given)
    count = len(plan.outputs) + len(plan.recurrence)
    if not isinstance(result, tuple | list) or len(result) != count:
        found = f"{len(result)} values" if isinstance(result, tuple | list) else type(result).__name__
        names = ", ".join((*plan.outputs, *plan.recurrence))
        raise NetworkError(plan.where, f"the module returned {found}", f"{count} tensors: {names}")
    return tuple(result)


def _tried(module: nn.Module, plan: Plan) -> list[Shape | None]:
    """Calls the module for some lanes; the shapes of the outputs."""
    lanes = static_lanes(module) or 2
    dtype, device = kind_of(module)
    kind = dtype or torch.get_default_dtype()
    states = [plan.memory[name] for name in plan.recurrence]
    args = [torch.zeros((lanes, *(one.shape or ())), dtype=one.dtype or kind, device=device)
            for one in plan.inputs.values()]  # fmt: skip
    for one in states:
        first = torch.as_tensor(one.initial, dtype=one.dtype or kind, device=device)
        args.append(first.expand(one.shape or ()).expand(lanes, *(one.shape or ())).clone())
    try:
        with torch.no_grad(), training(module, False):
            results = _called(module, plan, tuple(args))
    except NetworkError:
        raise
    except Exception as error:
        shown = ", ".join(str(tuple(one.shape)) for one in args)
        raise NetworkError(plan.where, f"the module fails on {shown}: {error}", "a module that takes its inputs and "
                           "states in this order") from error  # fmt: skip
    for name, state, after in zip(plan.recurrence, states, results[len(plan.outputs) :]):
        if tuple(after.shape) != (lanes, *(state.shape or ())):
            raise NetworkError(f"{plan.where}.{name}", f"it becomes {tuple(after.shape)} for {lanes} lanes",
                               f"({', '.join(map(str, ('lanes', *(state.shape or ()))))})")  # fmt: skip
    values = split_result(results[: len(plan.outputs)], plan.outputs, lanes, plan.where)
    for declared, value in zip(plan.outputs.values(), values):
        declared.shape = tuple(value.shape[1:])
    return [tuple(value.shape[1:]) for value in values]
