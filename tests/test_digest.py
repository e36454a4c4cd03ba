"""A model's hash tells apart whatever computes something else."""

from __future__ import annotations

from typing import Any

from simdl import (
    Block,
    Diagram,
    Input,
    Output,
    Param,
    State,
    compile_model,
    crossing,
    derivative,
    initial,
)
from simdl.blocks import Delay, StateMachine, transition
from simdl.compile.digest import digest


class Heater(StateMachine):
    states = "idle", "heating", "fault"
    temperature = Input(unit="degC")
    limit: Param = Param(0.5, unit="s")
    tired = transition("heating", "fault", after=limit)

    @transition("idle", "heating")
    def cold(self, temperature):  # type: ignore[no-untyped-def]
        return temperature < 18.0


class Delayed(Diagram):
    u, y = Input(), Output()

    def __init__(self, length: int) -> None:
        self.delay = Delay(length, period=0.5)
        self.delay.u = self.u
        self.y = self.delay.y


def test_a_hash_sees_every_method_of_a_block() -> None:
    """Initial values, derivatives, guards and reset maps count as outputs and ticks do."""

    def made(start: Any, flow: Any, guard: Any, jump: Any) -> str:
        class Body(Block):
            x = State(0.0)
            begin = initial(start)
            motion = derivative(x)(flow)
            floor = crossing(guard)
            bounce = floor.reset(jump)

        return digest(compile_model(Body()))

    plain: list[Any] = [lambda self: dict(x=1.0), lambda self, x: -x, lambda self, x: x, lambda self, x: dict(x=-x)]
    other: list[Any] = [
        lambda self: dict(x=2.0),
        lambda self, x: -2 * x,
        lambda self, x: 2 * x,
        lambda self, x: dict(x=-x / 2),
    ]
    found = {made(*plain)} | {made(*plain[:k], other[k], *plain[k + 1 :]) for k in range(4)}
    assert len(found) == 5 and made(*plain) in found


def test_a_hash_tells_lengths_and_kinds_apart() -> None:
    """Two models that differ only in an argument of a block's constructor are not the same."""

    def found(length: int) -> str:
        return digest(compile_model(Delayed(length)))

    assert found(2) == found(2) != found(3)


def test_a_model_s_hash_sees_conditions_and_times() -> None:
    class Colder(Heater):
        @transition("idle", "heating")
        def cold(self, temperature):  # type: ignore[no-untyped-def]
            return temperature < 16.0

    class Patient(Heater):
        tired = transition("heating", "fault", after=0.7)

    def found(kind: Any) -> str:
        kind.__qualname__ = "Heater"  # so that only what they do differs
        return digest(compile_model(kind(period=0.1)))

    assert found(Heater) == found(Heater)
    assert len({found(Heater), found(Colder), found(Patient)}) == 3
