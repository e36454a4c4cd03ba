"""A model's hash tells apart whatever computes something else."""

from __future__ import annotations

from typing import Any

from simdl import (
    RK4,
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
    simulate,
)
from simdl.blocks import Delay, StateMachine, transition
from simdl.compile.digest import digest
from simdl.computer import Computer, Measured, Process, Processor, Read, Sleep, Task, Uniform, Write
from tests.computer_loop import Loop


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


def on_computer(execution: Any = "1 ms", live: bool = False, body: Any = None) -> str:
    task = Task("control", Processor("cpu"), period="20 ms", execution=execution, runs=["pi"], body=body)
    return digest(compile_model(Computer([task], live=live).on(Loop(), horizon=1)))


def test_the_computer_that_a_loop_runs_on_counts() -> None:
    def waiting(time: str) -> Any:
        def body(job: Any) -> Any:
            yield Read("pi")
            yield Sleep(time)
            yield Write("pi")

        return body

    found = [on_computer(time, live) for live in (False, True) for time in ("1 ms", "2 ms", Uniform("1 ms", "2 ms"))]
    found += [on_computer(body=waiting(time)) for time in ("1 ms", "2 ms")]
    found += [on_computer(Measured([0.001, times])) for times in (0.002, 0.003)]
    assert len(set(found)) == len(found)
    assert found[0] == on_computer("1 ms") and found[-3] == on_computer(body=waiting("2 ms"))


def test_the_processes_of_a_block_count() -> None:
    def every(pause: float) -> str:
        def line(env: Any, ports: Any) -> Any:
            while True:
                yield env.timeout(pause)
                ports["made"] += 1

        class Plant(Diagram):
            made = Output()

            def __init__(self) -> None:
                self.line = Process(line, outputs=["made"])
                self.made = self.line.made

        plant = Plant()
        known = digest(compile_model(plant))
        simulate(plant, until=0.5, solver=RK4(max_step=0.1))
        assert digest(compile_model(plant)) == known
        return known

    assert every(0.1) == every(0.1) != every(0.2)
