"""Finite state machines: supervisors, sequences, fallback logic. Every lane is in a state of its own."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from simdl import Block, ModelError, Output, Param, State, tick
from simdl.blocks.arithmetic import spread
from simdl.methods import Tick
from simdl.port import Signal

ANY = "*"


class Transition:
    """A way from one state to another: taken when its condition holds and its times fit. As a decorator it takes the
    condition, a method that returns a bool; without one, only its times count."""

    def __init__(self, source, target, after=None, before=None):
        self.sources = (source,) if isinstance(source, str) else tuple(source)
        self.target, self.after, self.before, self.condition = target, after, before, None

    def __call__(self, condition: Callable[..., Any]) -> "Transition":
        self.condition = condition
        return self


class Action:
    """What is done on entry to a state, on exit from it, or during it."""

    def __init__(self, when, state, function):
        self.when, self.state, self.function = when, state, function


def transition(source: str | tuple[str, ...], target: str, *, after=None, before=None) -> Transition:
    """A transition of a StateMachine, from one state or several; source "*" is any state but the target.

    after, before: it is taken only when the machine has been in its state for at least, or for less than, so many
    seconds; numbers, or parameters of the block.
    """
    return Transition(source, target, after, before)


def on_entry(state: str) -> Callable[[Callable[..., Any]], Action]:
    """A method of a StateMachine done at the tick at which it enters a state: it returns a dict, as a tick does."""
    return lambda function: Action("entry", state, function)


def on_exit(state: str) -> Callable[[Callable[..., Any]], Action]:
    """A method done at the tick at which a StateMachine leaves a state, before the entry of the next."""
    return lambda function: Action("exit", state, function)


def during(state: str) -> Callable[[Callable[..., Any]], Action]:
    """A method done at every tick at which a StateMachine stays in a state."""
    return lambda function: Action("during", state, function)


class StateMachine(Block):
    """A finite state machine: derive from it; declare `states` (the first is where it starts) and transitions.

    At a tick, the transitions out of the present state are tried in the order of their declaration, and the first whose
    condition holds is taken, at most one in a tick. Then the exit action of the old state is done and the entry action
    of the new one; without a transition, the during action. At the first tick it enters its first state and tries no
    transition. Conditions and actions read inputs, states, parameters, `t`, `elapsed` (the seconds since the entry)
    and the machine's own outputs as they last were. An output keeps its value until an action sets it.
    `active` is the index of the state after the tick; `machine.within("idle", "off")` is a condition for other blocks.

    >>> from simdl import Input, simulate
    >>> class Heater(StateMachine):
    ...     states = "idle", "heating", "fault"
    ...     temperature, power = Input(unit="degC"), Output(unit="W")
    ...     limit: Param = Param(60.0, unit="s")
    ...     tired = transition("heating", "fault", after=limit)
    ...     @transition("idle", "heating", after=10.0)
    ...     def cold(self, temperature): return temperature < 18.0
    ...     @transition("heating", "idle")
    ...     def warm(self, temperature): return temperature > 22.0
    ...     @on_entry("heating")
    ...     def start(self): return dict(power=1000.0)
    ...     @on_exit("heating")
    ...     def stop(self): return dict(power=0.0)
    >>> run = simulate(Heater(period=10), 90, inputs={"temperature": 15.0})
    >>> run["active"].values.tolist(), run["power"].at(70).item(), run["power"].at(80).item()
    ([[0, 1, 1, 1, 1, 1, 1, 2, 2, 2]], 0.0, 0.0)
    """

    states: ClassVar[tuple[str, ...]] = ()
    active = Output(dtype="int64", initial=0)
    present, entered = State(0, dtype="int64"), State(0.0, unit="s", dtype="float64")
    begun = State(False, dtype="bool")
    step: ClassVar[Tick]
    _transitions: ClassVar[dict[str, Transition]] = {}
    _actions: ClassVar[dict[str, Action]] = {}
    _kept: ClassVar[tuple[str, ...]] = ()  # the outputs that actions set
    _settable: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options):
        rules: dict[str, Transition | Action] = {}
        for base in reversed(cls.__mro__):
            rules |= {n: m for n, m in vars(base).items() if isinstance(m, Transition | Action)}
        cls._transitions = {n: r for n, r in rules.items() if isinstance(r, Transition)}
        cls._actions = {n: r for n, r in rules.items() if isinstance(r, Action)}
        for name, rule in rules.items():
            _check(cls, name, rule)
        kept = {n: d for base in reversed(cls.__mro__) for n, d in vars(base).items() if type(d) is Output}
        kept.pop("active")
        for name, output in kept.items():
            last = State(output.initial, shape=output.shape, unit=output.unit)
            last.dtype = output.dtype
            last.__set_name__(cls, f"last_{name}")
            setattr(cls, f"last_{name}", last)
        cls._kept = tuple(kept)
        own = [n for base in cls.__mro__ if base not in StateMachine.__mro__ for n, d in vars(base).items()
               if isinstance(d, State) and n.removeprefix("last_") not in kept]  # fmt: skip
        cls._settable = (*kept, *own)
        states = [n for base in reversed(cls.__mro__) for n, d in vars(base).items() if isinstance(d, State)]
        reads = dict.fromkeys(("t", *states))
        for rule in rules.values():
            for name in _arguments(rule):
                if name != "elapsed":
                    reads[f"last_{name}" if name in kept else name] = None
            times = (rule.after, rule.before) if isinstance(rule, Transition) else ()
            for time in (time for time in times if isinstance(time, Param)):
                time.dtype = time.dtype or torch.float64  # 0.3 in float32 is later than a tick at 0.3
                reads[time.name] = None

        def step(self, **values):
            return self._step(values)

        names = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in ("self", *reads)]
        step.__dict__["__signature__"] = inspect.Signature(names)
        step.__dict__["parts"] = (cls.states, *(part for rule in rules.values() for part in _parts(rule)))
        cls.step = tick(step)
        super().__init_subclass__(**options)

    def within(self, *states: str) -> Signal:
        """A condition: the machine is in one of these states."""
        found: Signal | None = None
        for name in states:
            k = _index(type(self), name)
            here = (self.active > k - 0.5) & (self.active < k + 0.5)
            found = here if found is None else found | here
        if found is None:
            raise ModelError(f"{self}.within", "no state", "at least one", names=self.states)
        return found

    def _step(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        present, begun, t = values["present"], values["begun"], values["t"]
        seen = dict(values)
        for name in self._kept:
            seen[name] = seen.pop(f"last_{name}")
        seen["elapsed"] = t - values["entered"]
        going, target = torch.zeros_like(begun), present
        for rule in self._transitions.values():
            to = self.states.index(rule.target)
            taken = present != to if rule.sources == (ANY,) else _among(present, self.states, rule.sources)
            taken = taken & begun & ~going
            if rule.after is not None:
                taken = taken & (seen["elapsed"] > _seconds(rule.after, values) - 0.5e-9)
            if rule.before is not None:
                taken = taken & (seen["elapsed"] < _seconds(rule.before, values) - 0.5e-9)
            if rule.condition is not None:
                taken = taken & self._call(rule.condition, seen)
            going, target = going | taken, torch.where(taken, to, target)
        changed = going | ~begun
        self._act("exit", going, present, seen)
        self._act("during", ~changed, present, seen)
        seen["elapsed"] = torch.where(changed, 0.0, seen["elapsed"])
        self._act("entry", changed, target, seen)
        own = {n: seen[n] for n, d in type(self).declared().items() if isinstance(d, State) and n in seen}
        own |= {f"last_{name}": seen[name] for name in self._kept} | {name: seen[name] for name in self._kept}
        entered = torch.where(changed, t, values["entered"])
        return {**own, "active": target, "present": target, "entered": entered, "begun": torch.ones_like(begun)}

    def _act(self, when: str, mask: Tensor, place: Tensor, seen: dict[str, Tensor]) -> None:
        """Do the actions of a kind in the lanes of the mask, each in those that are in its state."""
        for name, action in self._actions.items():
            if action.when != when:
                continue
            here = mask & (place == self.states.index(action.state))
            for key, value in self._call(action.function, seen).items():
                if key not in self._settable:
                    found, names = f"returned {key!r}", self._settable
                    raise ModelError(f"{self}.{name}", found, "its outputs and states", names=names, wrong=key)
                old = seen[key]
                seen[key] = torch.where(spread(here, old), value, old).to(old.dtype)

    def _call(self, function, seen: dict[str, Tensor]):
        return function(self, **{name: seen[name] for name in list(inspect.signature(function).parameters)[1:]})


def _check(cls, name, rule):
    given = (*rule.sources, rule.target) if isinstance(rule, Transition) else (rule.state,)
    for state in given[1:] if given[0] == ANY and len(given) == 2 else given:
        _index(cls, state, name)


def _among(present: Tensor, states: tuple[str, ...], names: tuple[str, ...]) -> Tensor:
    found = torch.zeros_like(present, dtype=torch.bool)
    for name in names:
        found = found | (present == states.index(name))
    return found


def _index(cls, state, name=""):
    if state not in cls.states:
        where = f"{cls.__name__}.{name}" if name else cls.__name__
        raise ModelError(where, f"no state {state!r}", "one of", names=cls.states, wrong=str(state))
    return cls.states.index(state)


def _arguments(rule):
    function = rule.condition if isinstance(rule, Transition) else rule.function
    return list(inspect.signature(function).parameters)[1:] if function is not None else []


def _parts(rule):
    """What a model's hash is made of."""
    if isinstance(rule, Action):
        return rule.when, rule.state, rule.function
    return rule.sources, rule.target, str(rule.after), str(rule.before), rule.condition or ""


def _seconds(time, values):
    return values[time.name] if isinstance(time, Param) else float(time)
