"""Neural state space: a network as the right-hand side of a differential or difference equation."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from simdl.block import Block
from simdl.clock import Duration
from simdl.declarations import Input, Output, State
from simdl.errors import NetworkError
from simdl.methods import Derivative, OutputsMethod, Tick, reading
from simdl.networks.call import Call, Mode
from simdl.networks.ports import check_free

Scales = Mapping[str, tuple[float, float]]


class NeuralStateSpace(Block):
    """dx/dt = scale f(x, u) / time, or with a period x(k+1) = x(k) + scale f(x, u); y = g(x, u).

    module: f, an nn.Module of (lanes, states + inputs), the states first, each normalised by its `scales`, a (mean,
    standard deviation) by name; it returns (lanes, states) in the same scale. time: seconds, of the derivative's scale,
    so that f is of order one. output: g, of the same row, that returns (lanes, outputs) in the scales of the outputs;
    through=False gives it the states only, so that outputs do not depend on inputs at the same instant.
    residual=False: x(k+1) = mean + scale f(x, u). period or rate make it discrete.

    States are numbers, readable as ports and settable as `set={"theta": ...}`; `states` are names, or initial values or
    State declarations by name. Gradients flow through it: simulate(..., grad=True).
    Raises NetworkError for a module of another width.

    >>> from simdl import RK4, simulate
    >>> f = torch.nn.Linear(2, 1, bias=False).double()
    >>> _ = f.weight.data.copy_(torch.tensor([[-1.0, 1.0]]))
    >>> lag = NeuralStateSpace(f, states={"x": 1.0}, inputs=("u",))  # dx/dt = u - x
    >>> round(float(simulate(lag, 1, inputs={"u": 0.0}, solver=RK4(max_step=0.01))["x"].at(1)), 6)
    0.367879
    """

    if TYPE_CHECKING:
        module: ClassVar[nn.Module]
        output: ClassVar[nn.Module | None]

        def __getattr__(self, name: str) -> Any: ...

    else:

        def __new__(cls, module=None, *args, **options):
            if "_made_from" in vars(cls):
                return object.__new__(cls)
            return cls._made(*args, **options)

        def __init__(
            self, module, states=(), inputs=(), outputs=(), output=None, *, scales=None, time=1.0, residual=True,
            through=True, mode="exact", period=None, rate=None, **values,
        ):  # fmt: skip
            self._assign({"period": period, "rate": rate, **values})
            self._start(module, output, dict(scales or {}), float(time), residual, through, mode)

    @classmethod
    def _made(
        cls, states: Any = (), inputs: Any = (), outputs: Any = (), output: nn.Module | None = None, *,
        through: bool = True, period: Duration | None = None, rate: Duration | None = None, **options: Any,
    ) -> NeuralStateSpace:  # fmt: skip
        where = cls.__name__
        x = {name: one if isinstance(one, State) else State(one, shape=()) for name, one in _by_name(states).items()}
        u = {n: copy.copy(one) if isinstance(one, Input) else Input(()) for n, one in _by_name(inputs).items()}
        y = {n: copy.copy(one) if isinstance(one, Output) else Output(()) for n, one in _by_name(outputs).items()}
        if not x:
            raise NetworkError(where, "no states", 'their names: states=("theta", "omega")')
        if bool(y) != (output is not None):
            raise NetworkError(where, "outputs without output=, or the other way", "both",
                               "states can be read without: block.theta")  # fmt: skip
        ports: dict[str, Any] = {**u, **x, **y}
        if len(ports) < len(u) + len(x) + len(y):
            raise NetworkError(where, "two ports of one name", "one name each")
        check_free(ports, cls, where)
        for name, one in ports.items():
            one.name = name
        read = [*x, *u]
        if period is None and rate is None:
            ports["flow"] = Derivative(reading(_flow, read), tuple(x.values()))
        else:
            ports["step"] = Tick(reading(_step, read))
        if y:
            ports["read"] = OutputsMethod(reading(_read, read if through else list(x)), tuple(y.values()))
        kind: Any = type(cls)
        body = {**ports, "_made_from": cls, "_names": (list(x), list(u), list(y)), "__module__": cls.__module__,
                "__doc__": cls.__doc__, "_remake": (x, u, y, through, period, rate)}  # fmt: skip
        made = kind(cls.__name__, (cls,), body)
        return cast(NeuralStateSpace, object.__new__(made))

    def _start(
        self, module: nn.Module, output: nn.Module | None, scales: dict[str, tuple[float, float]], time: float,
        residual: bool, through: bool, mode: Mode,
    ) -> None:  # fmt: skip
        x, u, y = self._names
        where = str(self)
        for name, (_, deviation) in scales.items():
            if name not in (*x, *u, *y):
                raise NetworkError(where, f"a scale for {name!r}", "a port", names=[*x, *u, *y], wrong=name)
            if not deviation > 0:
                raise NetworkError(f"{where}.{name}", f"scale {deviation!r}", "a standard deviation above zero")
        if not time > 0:
            raise NetworkError(where, f"time={time!r}", "seconds, above zero")
        self._set_scales(scales)
        vars(self).update(module=module, output=output, time=time, residual=residual, through=through)
        for name, net, ins, outs in (
            ("module", module, [*x, *u], x),
            ("output", output, [*x, *u] if through else x, y),
        ):
            if net is None:
                continue
            if not isinstance(net, nn.Module):
                raise NetworkError(f"{where}: {name}", f"{net!r:.60}", "an nn.Module")
            dtype = next((p.dtype for p in net.parameters()), torch.get_default_dtype())
            try:
                with torch.no_grad():
                    shape = tuple(net(torch.zeros(2, len(ins), dtype=dtype)).shape)
            except (RuntimeError, AttributeError, IndexError) as error:
                raise NetworkError(f"{where}: {name}", f"it fails on (2, {len(ins)}): {error}",
                                   f"rows of {', '.join(ins)}") from error  # fmt: skip
            if shape != (2, len(outs)):
                raise NetworkError(f"{where}: {name}", f"it returns (lanes, {', '.join(map(str, shape[1:]))})",
                                   f"(lanes, {len(outs)}): {', '.join(outs)}")  # fmt: skip
            vars(self)[f"_{name}_call"] = Call(_body_of(net), net, mode, where=where)

    def _set_scales(self, scales: Scales) -> None:
        vars(self)["scales"] = {name: scales.get(name, (0.0, 1.0)) for names in self._names for name in names}

    def _row(self, values: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
        parts = [(values[name] - self.scales[name][0]) / self.scales[name][1] for name in names]
        return torch.stack(parts, -1)

    def _rates(self, values: dict[str, Tensor]) -> list[Tensor]:
        x, u, _ = self._names
        (rates,) = self._module_call(self._row(values, [*x, *u]))
        rates = rates.to(values[x[0]].dtype)
        return [self.scales[name][1] * rate for name, rate in zip(x, rates.unbind(-1))]

    def __deepcopy__(self, memo: dict[int, Any]) -> NeuralStateSpace:
        made = object.__new__(type(self))
        memo[id(self)] = made
        for name, value in vars(self).items():
            vars(made)[name] = copy.deepcopy(value, memo)
        return made

    def __reduce__(self) -> Any:
        return _remade, (self._made_from, self._remake), self.__getstate__()


def _flow(self: Any, values: dict[str, Tensor]) -> Any:
    rates = tuple(rate / self.time for rate in self._rates(values))
    return rates if len(rates) > 1 else rates[0]


def _step(self: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
    names = self._names[0]
    return {
        name: change + (values[name] if self.residual else self.scales[name][0])
        for name, change in zip(names, self._rates(values))
    }


def _read(self: Any, values: dict[str, Tensor]) -> Any:
    x, u, y = self._names
    (found,) = self._output_call(self._row(values, [*x, *u] if self.through else x))
    found = found.to(values[x[0]].dtype)
    outputs = tuple(self.scales[name][0] + self.scales[name][1] * value for name, value in zip(y, found.unbind(-1)))
    return outputs if len(outputs) > 1 else outputs[0]


class _body_of:
    """A function of rows that calls a module, which can be copied and pickled."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, row: Tensor) -> tuple[Tensor, ...]:
        return (self.module(row),)


def _by_name(given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return dict(given)
    return dict.fromkeys([given] if isinstance(given, str) else given, 0.0)


def _remade(base: type[NeuralStateSpace], remake: tuple[Any, ...]) -> NeuralStateSpace:
    x, u, y, through, period, rate = remake
    return base._made(x, u, y, nn.Identity() if y else None, through=through, period=period, rate=rate)
