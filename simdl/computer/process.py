"""A discrete-event plant as a block: SimPy processes of arrivals, queues and machines that read and drive ports."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import simpy
import torch
from torch import Tensor

from simdl.block import Block
from simdl.clock import SECOND, Duration, nanoseconds
from simdl.computer.environment import Environment
from simdl.computer.history import History, Look, Shown, plain, stepped
from simdl.computer.raised import raised
from simdl.declarations import Input, Output, Param, State
from simdl.errors import ModelError, RunError
from simdl.methods import Hit, reading
from simdl.port import Port
from simdl.random import stream_key

OWN = ("t", "dt", "next", "entry", "due", "begun", "lane", "of_seed", "wake")
"""Names that no port of a process may have."""
Start = Callable[[simpy.Environment, "Ports"], Any]


class Ports:
    """What a process sees of the diagram: `ports["speed"]` reads an input, `ports["count"] = 3` drives an output.

    Inputs have the values that readers find at the time of the event. random: a numpy generator of this lane alone.
    """

    def __init__(
        self, env: simpy.Environment, inputs: Sequence[str], outputs: Mapping[str, Any], random: np.random.Generator,
        where: str, sees_changes: bool,
    ) -> None:  # fmt: skip
        self.env, self.random = env, random
        self._where, self._sees_changes = where, sees_changes
        self._looked = False  # at an input
        self._inputs = {name: k for k, name in enumerate(inputs)}
        self._outputs = dict(outputs)
        self._look_at: Look  # at the present value of an input
        self._waiting: list[tuple[Callable[[Ports], bool], simpy.Event]] = []

    def __getitem__(self, name: str) -> Any:
        if name in self._inputs:
            self._looked = True
            return self._look_at(self._inputs[name])
        if name not in self._outputs:  # SimPy makes what a process raises again from its text, so no SimdlError
            raise KeyError(f"no port {name!r}; there are {', '.join([*self._inputs, *self._outputs])}")
        return self._outputs[name]

    def __setitem__(self, name: str, value: float) -> None:
        if name not in self._outputs:
            raise KeyError(f"no output {name!r}; there are {', '.join(self._outputs)}")
        if not (math.isfinite(value) if isinstance(value, int | float) else np.isfinite(np.asarray(value)).all()):
            raise ValueError(f"output {name!r} is set to {value}, which is not finite")
        self._outputs[name] = value

    def wait(self, condition: Callable[[Ports], bool]) -> simpy.Event:
        """An event for `yield`: it happens when the condition holds, which is looked at whenever the block wakes.

        Raises RunError for a condition of inputs in a process without `every=`: their changes do not wake it.
        """
        event = self.env.event()
        self._waiting.append((condition, event))
        return event

    def _look(self) -> bool:
        """Let what waits for a condition that holds go on."""
        ready = []
        for condition, event in self._waiting:
            self._looked = False
            if condition(self):
                ready.append((condition, event))
            elif self._looked and not self._sees_changes:
                raise RunError(self._where, "ports.wait for a condition of inputs, whose changes do not wake it",
                               "a process that wakes to look", 'Process(..., every="1 ms")')  # fmt: skip
        self._waiting = [pair for pair in self._waiting if pair not in ready]
        for _, event in ready:
            event.succeed()
        return bool(ready)


class _Lane:
    """The SimPy environment of one lane."""

    def __init__(self, block: Process, lane: int, seed: int) -> None:
        self.block, self.where = block, f"{block}: lane {lane}"
        self.env = Environment()
        key = stream_key(seed, f"{block.stream or block.path}.process")
        random = np.random.Generator(np.random.Philox(key=[key % 2**64, lane % 2**64]))
        self.ports = Ports(self.env, block._inputs, block._first, random, self.where, block._every > 0)
        self.started = False

    def advance(self, ns: int, look: Look) -> tuple[Shown, int]:
        """Do what is due at ns; the outputs, and when to come back, ns."""
        env, ports, block = self.env, self.ports, self.block
        ports._look_at = look
        try:
            if not self.started:
                self.started = True
                made = block._begin(env, ports)
                if inspect.isgenerator(made):
                    env.process(cast(Any, made))
            env.advance(ns, ports._look, self.where)
        except RunError:
            raise
        except Exception as error:
            when = f"at t = {ns / SECOND:g} s"
            raise raised(self.where, "its process", error, when, "catch it in the process") from error
        outputs = tuple(ports._outputs[name] for name in block._outputs)
        later = env.due
        if block._every:
            later = min(later, ns - ns % block._every + block._every)
        return outputs, later


class Process(Block):
    """SimPy processes as a block, in every lane its own.

    start: a generator function `line(env, ports)` that is the process, or a function that starts processes, stores and
    resources with `env.process(...)`; env is a `simpy.Environment` in seconds. inputs, outputs: names, or declarations
    by name. every: wake also at multiples of this time, so that `ports.wait(condition)` sees inputs that change.

    The block is evaluated at the times of its own events, and its outputs are held between. Delays are rounded to whole
    ns one by one, so that times do not drift. It runs in the torch engine. After a reset of its lane the process begins
    again, at env.now = 0. A snapshot holds the number of an entry in the history of what a lane has read: restoring one
    runs the process again from the start on what was read, which takes as long as its events take.
    A lane whose process raises, or drives an output to what is not finite, fails with the cause; the others go on.

    >>> def machine(env, ports):
    ...     while True:
    ...         yield env.timeout(0.5)
    ...         ports["parts"] = ports["parts"] + 1
    >>> from simdl import Diagram, Output, RK4, simulate
    >>> class Plant(Diagram):
    ...     parts = Output()
    ...     def __init__(self):
    ...         self.machine = Process(machine, outputs=("parts",))
    ...         self.parts = self.machine.parts
    >>> float(simulate(Plant(), until=1.75)["parts"].values[0, -1])
    3.0
    """

    if TYPE_CHECKING:
        _begin: Start
        _inputs: tuple[str, ...]
        _outputs: tuple[str, ...]
        _first: dict[str, Any]
        _every: int
        _history: History

        def __init__(
            self, start: Start, inputs: Any = (), outputs: Any = (), every: Duration | None = None,
            stream: str | None = None,
        ) -> None: ...  # fmt: skip

        def __getattr__(self, name: str) -> Port: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    else:

        def __new__(cls, start=None, inputs=(), outputs=(), every=None, **options):
            if "_made_from" in vars(cls):
                return object.__new__(cls)
            if not callable(start):
                raise ModelError(cls.__name__, f"{start!r}", "a function of a SimPy environment and ports")
            ins, outs = _declared(inputs, Input), _declared(outputs, Output)
            for name in [*ins, *outs]:
                if name in OWN or name in ins and name in outs:
                    why = "the block's own" if name in OWN else "an input and an output"
                    raise ModelError(f"{cls.__name__}: port {name!r}", why, "another name")
            body = _namespace(ins, outs)
            kind = type(cls)
            named = {name: getattr(cls, name) for name in ("__doc__", "__module__", "__qualname__")}
            return object.__new__(kind(cls.__name__, (cls,), {**body, **named, "_made_from": cls}))

        def __init__(self, start, inputs=(), outputs=(), every=None, *, stream=None):
            ins, outs = _declared(inputs, Input), _declared(outputs, Output)
            first = {name: plain(torch.as_tensor(one.initial).expand(one.shape or ())) for name, one in outs.items()}
            wake = 0 if every is None else nanoseconds(every, f"{self}: every")
            if every is not None and wake < 1:
                raise ModelError(str(self), f"every={every!r}", "a positive time")
            vars(self).update(_begin=start, _inputs=tuple(ins), _outputs=tuple(outs), _first=first, _every=wake)
            vars(self).update(_history=History(lambda lane, seed: _Lane(self, lane, seed)))
            self.stream = stream

    def lane_settings(self, ids: Tensor, seed: int) -> Mapping[str, Tensor]:
        return self._history.settings(ids, seed)

    def hashed(self) -> Sequence[Any]:
        return (self._begin, self._inputs, self._outputs, self._every)

    def __deepcopy__(self, memo: dict[int, Any]) -> Process:
        made: Process = object.__new__(type(self))
        memo[id(self)] = made
        from copy import deepcopy

        for name, value in vars(self).items():
            if name != "_history":
                vars(made)[name] = value if name == "_begin" else deepcopy(value, memo)
        vars(made)["_history"] = History(lambda lane, seed: _Lane(made, lane, seed))
        return made

    def __reduce__(self) -> Any:
        left = {name: value for name, value in vars(self).items() if name not in ("_history", "_compiled")}
        cls: Any = type(self)
        ports = [{n: d for n, d in cls.declared().items() if n in names} for names in (self._inputs, self._outputs)]
        return _remade, (cls._made_from, *ports), left

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _history=History(lambda lane, seed: _Lane(self, lane, seed)))


def _remade(cls: type[Process], inputs: Any, outputs: Any) -> Process:
    """A process read back from a pickle; its attributes follow."""
    made: Any = cls
    found: Process = made.__new__(made, len, inputs, outputs)
    return found


def _declared(given: Any, kind: type[Input] | type[Output]) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return dict(given)
    return {name: kind(()) for name in ((given,) if isinstance(given, str) else given)}


def _namespace(inputs: Mapping[str, Input], outputs: Mapping[str, Output]) -> dict[str, Any]:
    shown = [*outputs]

    def wake(self: Process, values: dict[str, Tensor]) -> dict[str, Any]:
        lanes, driven, state = stepped(self._history, values, [values[name] for name in inputs])
        kept = {}
        for k, name in enumerate(shown):
            before = values[f"{name}_kept"]
            rows = [torch.as_tensor(one[k]).to(before).expand(before.shape[1:]) for one in driven]
            kept[name] = before.index_copy(0, lanes, torch.stack(rows)) if rows else before
        return {**kept, **{f"{name}_kept": value for name, value in kept.items()}, **state}

    kept: dict[str, Any] = {}
    for name, one in outputs.items():
        kept[f"{name}_kept"] = State(one.initial, shape=one.shape or None, doc=f"{name} as last driven")
        kept[f"{name}_kept"].dtype = one.dtype
    woken = Hit(reading(wake, [*inputs, *kept, "entry", "due", "begun", "lane", "of_seed", "t"]), ())
    woken.few = True
    return {
        **inputs, **outputs, **kept,
        "entry": State(0, dtype="int64", doc="the place in the history of what was read"),
        "due": State(0, dtype="int64", doc="when it wakes next, ns"),
        "begun": State(0, dtype="int64", doc="when it began, ns: 0, or at the latest reset"),
        "lane": Param(0, dtype="int64", doc="the number of the lane"),
        "of_seed": Param(0, dtype="int64", doc="the seed of the run"),
        "wake": woken,
    }  # fmt: skip
