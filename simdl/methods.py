"""The decorators that say what a block's methods compute.

A method's argument names are what it reads: inputs, states, parameters, noise, `t` and `dt`. Values are tensors
(lanes, *shape). Methods are pure: they return new values and change nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, overload

from simdl.declarations import Declaration, Output, State, _Readable, check_initial
from simdl.errors import ModelError
from simdl.port import Kind

Function = Callable[..., Any]


class Method:
    """A function of a block with what it reads (argument names) and, where its decorator says so, what it returns."""

    kind = "method"

    def __init__(self, function: Function, returns: tuple[Declaration, ...] = ()) -> None:
        self.function, self.returns_declared = function, returns
        self.name = function.__name__
        parameters = list(inspect.signature(function).parameters.values())
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
            raise ModelError(self.name, "*args or **kwargs", "named arguments: they are what the method reads")
        self.reads = tuple(p.name for p in parameters[1:])

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @property
    def returns(self) -> tuple[str, ...]:
        return tuple(declaration.name for declaration in self.returns_declared)

    def __get__(self, block: object, owner: type | None = None) -> Any:
        return self if block is None else self.function.__get__(block, owner)


class Initial(Method):
    kind = "initial"


class Derivative(Method):
    kind = "derivative"


class Tick(Method):
    kind = "tick"


class Hit(Method):
    """first: of the first hit, in seconds, inf for none; or the name of a parameter that gives it in ns, in each lane
    its own.

    wake: names of inputs from held outputs that give the time of a further hit, ns; none if not after the last one.
    few: it is given the lanes alone that are due; else it may be given all, and what it returns of others is dropped.

    Beside what `hit` says it may return `failed`, a mapping from places of lanes that fail to the reason.
    """

    kind = "hit"
    first: float | str = 0.0
    wake: tuple[str, ...] = ()
    few = False


class Edges(Method):
    kind = "edges"


class OutputsMethod(Method):
    kind = "output"


class OutputMethod(_Readable):
    """A method that is an output: its value is what it returns."""

    kind: Kind = "output"
    shape = None
    initial = None

    def __init__(self, function: Function, unit: str = "", dtype: str | None = None, initial: Any = None) -> None:
        self.method = OutputsMethod(function, (self,))
        declared = Output(unit=unit, dtype=dtype)
        self.unit, self.dtype, self.initial, self.doc = unit, declared.dtype, initial, inspect.getdoc(function) or ""

    def check_name(self, owner: str, name: str) -> None:
        super().check_name(owner, name)
        if self.initial is not None:
            check_initial(f"{owner}.{name}", self.initial, self.dtype)


class Crossing(_Readable):
    """A guard: it fires, per lane, when its value falls to zero or below. `@guard.reset` says what then changes."""

    kind: Kind = "crossing"

    def __init__(self, function: Function, rest: State | None = None) -> None:
        self.method = Method(function)
        self.rest, self.doc = rest, inspect.getdoc(function) or ""
        self.resets: Method | None = None

    def reset(self, function: Function) -> Method:
        """Declare the reset map: it returns a dict of new state values."""
        if self.resets is not None:
            raise ModelError(self.name, "a second reset", "one reset map for a crossing")
        self.resets = Method(function)
        return self.resets


def initial(function: Function) -> Initial:
    """A method that returns a dict of initial states, from parameters and inputs."""
    return Initial(function)


def derivative(*states: State) -> Callable[[Function], Derivative]:
    """A method that returns the time derivatives of these states, in this order."""
    if not states or not all(isinstance(state, State) for state in states):
        raise ModelError(
            "@derivative", f"{states}", "the states it gives the derivatives of: @derivative(theta, omega)"
        )
    return lambda function: Derivative(function, states)


def tick(function: Function) -> Tick:
    """A method run once at each tick of the block's clock; it returns a dict of outputs and new states."""
    return Tick(function)


@overload
def hit(first: Function, /) -> Hit: ...
@overload
def hit(first: float | str = 0.0, *, outputs: tuple[Output, ...] = ()) -> Callable[[Function], Hit]: ...
def hit(first: float | str | Function = 0.0, *, outputs: tuple[Output, ...] = ()) -> Any:
    """A method run at times only its lane can tell. It returns a dict of outputs and states, and `next`: the seconds
    to its next hit (inf for never). `first` is the time of the first hit in seconds, or the name of an int64 parameter
    that gives it in ns.

    outputs: those that it returns; needed in a block with several hits, each of which has times of its own."""
    if callable(first):
        return Hit(first)

    def decorate(function: Function) -> Hit:
        method = Hit(function, outputs)
        method.first = first
        return method

    return decorate


def edges(function: Function) -> Edges:
    """A source's method that returns the time in seconds of its next edge strictly after `t` (inf for none).

    It reads `t` and parameters only. No integration step crosses an edge."""
    return Edges(function)


@overload
def output(first: Function, /) -> OutputMethod: ...
@overload
def output(*, unit: str = "", dtype: str | None = None, initial: Any = None) -> Callable[[Function], OutputMethod]: ...
@overload
def output(first: Output, /, *outputs: Output) -> Callable[[Function], OutputsMethod]: ...
def output(
    first: Any = None, /, *outputs: Output, unit: str = "", dtype: str | None = None, initial: Any = None
) -> Any:
    """A method that is an output, or with declared outputs, `@output(u, v)`, one that returns their values in order.

    It depends, at the same instant, exactly on the inputs it reads."""
    if first is None:
        return lambda function: OutputMethod(function, unit, dtype, initial)
    if isinstance(first, Output):
        return lambda function: OutputsMethod(function, (first, *outputs))
    return OutputMethod(first)


@overload
def crossing(function: Function, /) -> Crossing: ...
@overload
def crossing(*, rest: State | None = None) -> Callable[[Function], Crossing]: ...
def crossing(function: Function | None = None, /, *, rest: State | None = None) -> Any:
    """A guard that fires when it falls through zero.

    rest: a mode set to 1 when a lane has spent its budget of firings between two instants or hits (a ball at rest)."""
    if function is None:
        return lambda function: Crossing(function, rest)
    return Crossing(function, rest)


def reading(method: Callable[[Any, dict[str, Any]], Any], names: Iterable[str], parts: Iterable[Any] = ()) -> Function:
    """A method whose signature says that it reads these names; it is given their values in a dict.

    parts: functions and values that it is put together of; a model's hash counts their text, and that of `method`."""

    def step(self: Any, *args: Any, **values: Any) -> Any:
        return method(self, {**dict(zip(names, args)), **values})

    names = list(names)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in ("self", *names)]
    step.__dict__.update(__signature__=inspect.Signature(parameters), parts=(method, *parts))
    return step
