"""Linearisation of blocks and functions, by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from simdl.block import Block
from simdl.clock import Duration
from simdl.declarations import Input, Output, Param, State, as_tensor
from simdl.errors import ModelError
from simdl.linear import LinearModel, jacobian
from simdl.methods import Method, OutputMethod
from simdl.port import Signal

Point = Mapping[str, Any] | Sequence[float] | Tensor


def linearise(
    system: Block | Callable[[Tensor, Tensor], Tensor],
    x0: Point,
    u0: Point = (),
    *,
    outputs: Callable[[Tensor, Tensor], Tensor] | None = None,
    period: Duration | None = None,
) -> LinearModel:
    """The linear model of a block, or of a function f(x, u) -> x' or x⁺, around a point, by automatic differentiation.

    x0, u0: values by name, or all in order of declaration, flattened. A function takes and gives (lanes, n), and
    `outputs` is its y(x, u), all states when not given. With `period`, a block or function in continuous time is
    sampled with its input held (zero-order hold). A block with a period, such as a network, is linearised over one
    tick, its outputs as that tick computes them, and has no other period.

    >>> model = linearise(lambda x, u: torch.sin(x) + 2 * u, [0.0], [0.0])
    >>> model.A.tolist(), model.B.tolist()
    ([[1.0]], [[2.0]])
    """
    if not isinstance(system, Block):
        n, point = _vector(x0).shape[1], torch.cat([_vector(x0), _vector(u0)], 1)
        show = outputs if outputs is not None else _states
        moved = jacobian(lambda z: system(z[:, :n], z[:, n:]), point)[1][0]
        shown = jacobian(lambda z: show(z[:, :n], z[:, n:]), point)[1][0]
        return _finish(moved, shown, n, period, None, (), (), ())
    flat = _Flat(system)
    point = torch.cat([flat.pack(flat.states, x0), flat.pack(flat.inputs, u0)], 1)
    moved, shown = (jacobian(function, point)[1][0] for function in (flat.move, flat.show))
    names = (flat.names(flat.states), flat.names(flat.inputs), flat.names_of_outputs(point))
    return _finish(moved, shown, len(names[0]), period, flat.dt, *names)


def _finish(
    moved: Tensor, shown: Tensor, n: int, period: Duration | None, dt: float | None, *names: tuple[str, ...]
) -> LinearModel:
    a, b, c, d = (part.detach() for part in (moved[:, :n], moved[:, n:], shown[:, :n], shown[:, n:]))
    model = LinearModel(a, b, c, d, dt, *names)
    return model if period is None else model.sampled(period)


def _states(x: Tensor, u: Tensor) -> Tensor:
    return x


def _vector(values: Any) -> Tensor:
    return as_tensor(values if isinstance(values, Tensor) else list(values)).double().reshape(1, -1)


class _Flat:
    """A block as functions of one vector: its states, then its inputs."""

    def __init__(self, block: Block) -> None:
        self.block, self.dt = block, None if block.clock is None else block.clock.period
        self.fixed: dict[str, Any] = {"t": torch.zeros(1, dtype=torch.float64)}
        self.states: dict[str, Tensor] = {}
        self.inputs: dict[str, Tensor] = {}
        if self.dt is not None:
            self.fixed["dt"] = torch.full((1,), self.dt, dtype=torch.float64)
        for name, declaration in type(block).declared().items():
            if isinstance(declaration, State):
                self._put(self.states, name, as_tensor(declaration.initial))
            elif isinstance(declaration, Input):
                start = 0.0 if declaration.default is None else declaration.default
                self._put(self.inputs, name, as_tensor(start).expand(declaration.shape or ()))
            elif isinstance(declaration, Param):
                value = block.settings[name]
                if isinstance(value, Signal):
                    raise ModelError(f"{block}.{name}", f"{value}", "a number", "linearise a block of its own")
                self.fixed[name] = self._typed(name, as_tensor(value)).unsqueeze(0)
        for method in type(block).methods("initial"):
            known = {**self.fixed, **{n: v.unsqueeze(0) for n, v in self.inputs.items()}}
            for name, value in method.function(block, **{n: known[n] for n in method.reads}).items():
                self._put(self.states, name, as_tensor(value)[0])

    def _typed(self, name: str, value: Tensor) -> Tensor:
        declared = getattr(type(self.block).declared()[name], "dtype", None)
        return value.to(declared or (value.dtype if value.dtype == torch.bool else torch.float64))

    def _put(self, values: dict[str, Tensor], name: str, value: Tensor) -> None:
        """Keep a value: numbers among what is moved, conditions and counts as they are."""
        value = self._typed(name, value)
        if value.is_floating_point():
            values[name] = value.double()
        else:
            self.fixed[name] = value.unsqueeze(0)

    def pack(self, values: dict[str, Tensor], point: Point) -> Tensor:
        """A point as a vector (1, n); what it does not name keeps its initial value."""
        if isinstance(point, Mapping):
            declared = type(self.block).declared()
            for name, value in point.items():
                if name in values or isinstance(declared.get(name), State | Input) and name in self.fixed:
                    self._put(values, name, as_tensor(value))
                else:
                    raise ModelError(
                        f"linearise({self.block})", f"a value of {name!r}", "a state in x0, an input in u0",
                        names=values, wrong=name,
                    )  # fmt: skip
            return torch.cat([torch.zeros(1, 0).double(), *(v.reshape(1, -1) for v in values.values())], 1)
        vector, size = _vector(point), sum(v.numel() for v in values.values())
        if vector.shape[1] != size:
            raise ModelError(f"linearise({self.block})", f"{vector.shape[1]} values", f"{size}: {', '.join(values)}")
        return vector

    def names(self, values: dict[str, Tensor]) -> tuple[str, ...]:
        return tuple(n if v.ndim == 0 else f"{n}.{k}" for n, v in values.items() for k in range(v.numel()))

    def names_of_outputs(self, point: Tensor) -> tuple[str, ...]:
        return self.names({n: v[0] for n, v in self._outputs(self._values(point)).items()})

    def move(self, point: Tensor) -> Tensor:
        """The derivatives, or the states after the tick."""
        values, found = self._values(point), dict[str, Tensor]()
        for method in type(self.block).methods("derivative"):
            returned = self._call(method, values)
            found.update(zip(method.returns, returned if isinstance(returned, tuple | list) else (returned,)))
        for method in type(self.block).methods("tick"):
            found.update(self._call(method, values))
        stay = 0.0 if self.dt is None else 1.0
        return self._join([found.get(n, stay * values[n]) for n in self.states], point)

    def show(self, point: Tensor) -> Tensor:
        return self._join(list(self._outputs(self._values(point)).values()), point)

    def _outputs(self, values: dict[str, Any]) -> dict[str, Tensor]:
        """The outputs, and the states when there are none."""
        block, found = type(self.block), dict[str, Tensor]()
        for method in block.methods("output"):
            returned = self._call(method, values)
            found.update(zip(method.returns, returned if isinstance(returned, tuple | list) else (returned,)))
        for method in block.methods("tick"):
            found.update(self._call(method, values))
        names = [n for n, d in block.declared().items() if isinstance(d, Output | OutputMethod) and n in found]
        return {n: found[n] for n in names} or {n: values[n] for n in self.states}

    def _call(self, method: Method, values: dict[str, Any]) -> Any:
        missing = [name for name in method.reads if name not in values]
        if missing:
            raise ModelError(f"linearise({self.block})", f"{method.name} reads {', '.join(missing)}",
                             "states, single inputs and parameters")  # fmt: skip
        return method.function(self.block, **{name: values[name] for name in method.reads})

    def _values(self, point: Tensor) -> dict[str, Any]:
        found, at = dict(self.fixed), 0
        for name, value in (*self.states.items(), *self.inputs.items()):
            part = point[:, at : at + value.numel()]
            found[name], at = part.reshape(1, *value.shape), at + value.numel()
        return found

    def _join(self, values: list[Tensor], point: Tensor) -> Tensor:
        return torch.cat([point[:, :0], *((v + 0 * point[:, 0]).reshape(1, -1) if v.ndim == 1 else v.reshape(1, -1)
                                          for v in values)], 1)  # fmt: skip
