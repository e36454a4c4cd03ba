"""Finite state machines: supervisors, sequences, fallback logic. Every lane is in a state of its own."""

from typing import ClassVar

import torch
from torch import Tensor

from simdl import Block, ModelError, Output, State
from simdl.blocks.transitions import Chart, memory
from simdl.methods import Tick, reading
from simdl.port import Signal


class StateMachine(Block):
    """A finite state machine: derive from it; declare `states` (the first is where it starts) and transitions.

    At a tick, the transitions out of the present state are tried in the order of their declaration, and the first whose
    condition holds is taken, at most one in a tick. Then the exit action of the old state is done and the entry action
    of the new one; without a transition, the during action. At the first tick it enters its first state and tries no
    transition. Conditions and actions read inputs, states, parameters, `t`, `elapsed` (the seconds since the entry)
    and the machine's own outputs as they last were. An output keeps its value until an action sets it.
    `active` is the index of the state after the tick; `machine.within("idle", "off")` is a condition for other blocks.

    >>> from simdl import Input, Param, simulate
    >>> from simdl.blocks import on_entry, on_exit, transition
    >>> class Heater(StateMachine):
    ...     states = "idle", "heating", "fault"
    ...     temperature, power = Input(unit="degC"), Output(unit="W")
    ...     limit: Param = Param(60.0, unit="s")
    ...     tired = transition("heating", "fault", after=limit)
    ...     @transition("idle", "heating", after="10 s")
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
    chart: ClassVar[Chart]

    def __init_subclass__(cls, **options):
        cls.chart = chart = Chart.of(cls, StateMachine)
        for name in chart.kept:
            setattr(cls, f"last_{name}", memory(getattr(cls, name), f"last_{name}"))

        states = [n for kind in reversed(cls.__mro__) for n, d in vars(kind).items() if isinstance(d, State)]
        cls.step = Tick(reading(cls._step, dict.fromkeys(("t", *states, *chart.names())), chart.parts()))
        super().__init_subclass__(**options)

    def within(self, *states: str) -> Signal:
        """A condition: the machine is in one of these states."""
        found: Signal | None = None
        for name in states:
            k = self.chart.index(name)
            here = (self.active > k - 0.5) & (self.active < k + 0.5)
            found = here if found is None else found | here
        if found is None:
            raise ModelError(f"{self}.within", "no state", "at least one", names=self.states)
        return found

    def _step(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        chart, begun, t = self.chart, values["begun"], values["t"]
        seen = values | {name: values[f"last_{name}"] for name in chart.kept} | {"elapsed": t - values["entered"]}
        going, target = chart.taken(self, seen, begun)
        changed = going | ~begun
        chart.act(self, "exit", going, values["present"], seen)
        chart.act(self, "during", ~changed, values["present"], seen)
        seen["elapsed"] = torch.where(changed, 0.0, seen["elapsed"])
        chart.act(self, "entry", changed, target, seen)
        own = {name: seen[name] for name in chart.settable}
        own |= {f"last_{name}": seen[name] for name in chart.kept}
        entered = torch.where(changed, t, values["entered"])
        return {**own, "active": target, "present": target, "entered": entered, "begun": torch.ones_like(begun)}
