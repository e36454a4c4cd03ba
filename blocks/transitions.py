"""The rules of a state machine: transitions between its states, and actions on entry, on exit and in between."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from simdl import Input, ModelError, Output, Param, State
from simdl.blocks.arithmetic import spread
from simdl.clock import Duration, nanoseconds, seconds
from simdl.declarations import Inputs
from simdl.declared import Declared

ANY = "*"


class Transition:
    """A way from one state to another: taken when its condition holds and its times fit. As a decorator it takes the
    condition, a method that returns a bool; without one, only its times count."""

    def __init__(self, source, target, after=None, before=None):
        self.sources = (source,) if isinstance(source, str) else tuple(source)
        self.target, self.function = target, None
        self.after, self.before = (t if t is None or isinstance(t, Param) else duration(t) for t in (after, before))

    def __call__(self, condition: Callable[..., Any]) -> "Transition":
        self.function = condition
        return self


class Action:
    """What is done on entry to a state, on exit from it, or during it."""

    def __init__(self, when: str, state: str, function: Callable[..., Any]) -> None:
        self.when, self.state, self.function = when, state, function


def transition(
    source: str | tuple[str, ...], target: str, *, after: Duration | Param | None = None,
    before: Duration | Param | None = None,
) -> Transition:  # fmt: skip
    """A transition of a StateMachine, from one state or several; source "*" is any state but the target.

    after, before: it is taken only when the machine has been in its state for at least, or for less than, so long:
    times such as 10.0 or "10 s", or parameters of the block.
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


@dataclass(frozen=True)
class Chart:
    """The states and rules of a kind of machine. `kept` are the outputs that actions set; they are states as well."""

    name: str
    states: tuple[str, ...]
    transitions: Mapping[str, Transition]
    actions: Mapping[str, Action]
    kept: tuple[str, ...]
    settable: tuple[str, ...]

    @classmethod
    def of(cls, machine: type[Declared], base: type[Declared]) -> "Chart":
        """The chart of a class derived from `base`. Raises ModelError for states and names that are not there."""
        members = {n: m for kind in reversed(machine.__mro__) for n, m in vars(kind).items()}
        own = {n: m for n, m in members.items() if vars(base).get(n) is not m and not n.startswith("last_")}
        kept = tuple(n for n, m in own.items() if type(m) is Output)
        chart = cls(
            machine.__name__, members["states"],
            {n: m for n, m in own.items() if isinstance(m, Transition)},
            {n: m for n, m in own.items() if isinstance(m, Action)},
            kept, (*kept, *(n for n, m in own.items() if isinstance(m, State))),
        )  # fmt: skip
        for one in chart.transitions.values():
            for time in (one.after, one.before):
                if isinstance(time, Param):
                    time.dtype = time.dtype or torch.float64  # 0.3 in float32 is later than a tick at 0.3
        states = chart.states
        if isinstance(states, str) or len(set(states)) < len(states):
            raise ModelError(f"{chart.name}.states", f"{states!r}", 'names, each once, such as "idle", "heating"')
        known = [n for n, m in own.items() if isinstance(m, Input | Inputs | Param | State | Output)]
        for name, rule in chart.rules().items():
            for state in chart.mentioned(rule):
                chart.index(state, name)
            for read in reads(rule):
                if read not in (*known, "t", "dt", "elapsed"):
                    wanted = "inputs, states, parameters and outputs of the machine, t, dt and elapsed"
                    raise ModelError(f"{chart.name}.{name}", f"reads {read!r}", wanted, names=known, wrong=read)
        return chart

    def rules(self) -> dict[str, "Transition | Action"]:
        return {**self.transitions, **self.actions}

    def mentioned(self, rule: Transition | Action) -> tuple[str, ...]:
        if isinstance(rule, Action):
            return (rule.state,)
        return (rule.target,) if rule.sources == (ANY,) else (*rule.sources, rule.target)

    def index(self, state: str, name: str = "") -> int:
        """The number of a state. Raises ModelError with the near names."""
        if state not in self.states:
            where = f"{self.name}.{name}" if name else self.name
            raise ModelError(where, f"no state {state!r}", "one of", names=self.states, wrong=str(state))
        return self.states.index(state)

    def names(self) -> list[str]:
        """What the rules read: an output that actions set, as it last was, is the state last_…"""
        found: dict[str, None] = {}
        for rule in self.rules().values():
            times = (rule.after, rule.before) if isinstance(rule, Transition) else ()
            for name in (*reads(rule), *(time.name for time in times if isinstance(time, Param))):
                if name != "elapsed":
                    found[f"last_{name}" if name in self.kept else name] = None
        return list(found)

    def parts(self) -> tuple[Any, ...]:
        """What a model's hash is made of."""
        found: list[Any] = [self.states]
        for rule in self.rules().values():
            if isinstance(rule, Action):
                found += [rule.when, rule.state, rule.function]
            else:
                found += [rule.sources, rule.target, str(rule.after), str(rule.before), rule.function or ""]
        return tuple(found)

    def taken(self, machine: Any, seen: dict[str, Tensor], begun: Tensor) -> tuple[Tensor, Tensor]:
        """Whether a transition is taken, and where to: the first that holds, in the order of declaration."""
        present, elapsed = seen["present"], seen["elapsed"]
        going, target = torch.zeros_like(begun), present
        for name, rule in self.transitions.items():
            to = self.index(rule.target)
            here = present != to if rule.sources == (ANY,) else torch.zeros_like(begun)
            for source in rule.sources if rule.sources != (ANY,) else ():
                here = here | (present == self.index(source))
            here = here & begun & ~going
            if rule.after is not None:
                here = here & (elapsed > limit(rule.after, seen) - 0.5e-9)
            if rule.before is not None:
                here = here & (elapsed < limit(rule.before, seen) - 0.5e-9)
            if rule.function is not None:
                held = called(machine, rule.function, seen)
                if held.dtype != torch.bool:
                    raise ModelError(f"{machine}.{name}", f"a condition of type {str(held.dtype)[6:]}", "true or false",
                                     "compare it, as in elapsed > 3.0")  # fmt: skip
                here = here & held
            going, target = going | here, torch.where(here, to, target)
        return going, target

    def act(self, machine: Any, when: str, mask: Tensor, place: Tensor, seen: dict[str, Tensor]) -> None:
        """Do the actions of a kind in the lanes of the mask, each in those that are in its state."""
        for name, action in self.actions.items():
            if action.when != when:
                continue
            here = mask & (place == self.index(action.state))
            for key, value in called(machine, action.function, seen).items():
                if key not in self.settable:
                    found = f"returned {key!r}"
                    raise ModelError(
                        f"{machine}.{name}", found, "its outputs and states", names=self.settable, wrong=key
                    )
                old = seen[key]
                seen[key] = torch.where(spread(here, old), value, old).to(old.dtype)


def memory(output: Output, name: str) -> State:
    """The state that keeps an output until an action sets it."""
    last = State(output.initial, shape=output.shape, unit=output.unit)
    last.dtype, last.name = output.dtype, name
    return last


def duration(time: Duration) -> float:
    """A time in seconds."""
    return seconds(nanoseconds(time, "transition"))


def limit(time: float | Param, seen: dict[str, Tensor]) -> Any:
    return seen[time.name] if isinstance(time, Param) else time


def reads(rule: Transition | Action) -> list[str]:
    return list(inspect.signature(rule.function).parameters)[1:] if rule.function is not None else []


def called(machine: Any, function: Callable[..., Any], seen: dict[str, Tensor]) -> Any:
    return function(machine, **{name: seen[name] for name in list(inspect.signature(function).parameters)[1:]})
