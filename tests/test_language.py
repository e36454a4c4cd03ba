"""The language: declarations, methods, assignment as wiring, parameters, formulas, nesting, description."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from simdl import (
    RK4,
    Block,
    Diagram,
    Input,
    Inputs,
    ModelError,
    Noise,
    Output,
    Param,
    State,
    compile_model,
    connect,
    crossing,
    derivative,
    edges,
    hit,
    initial,
    output,
    simulate,
    stack,
    tick,
)
from simdl.blocks import PI, Constant, Gain, Hold, Integrator, Pendulum, SampleClock, Sine, Step, Sum
from simdl.port import Formula, Port


class Servo(Diagram):
    r, y = Input(), Output(unit="rad")

    def __init__(self, kp: float = 4.0) -> None:
        self.plant = Pendulum(mass=1.3)
        self.pi = PI(period="20 ms", latency="10 ms", kp=kp)
        self.pi.e = self.r - self.plant.theta
        self.plant.torque = self.pi.u
        self.y = self.plant.theta


class TestDeclarations:
    def test_a_method_may_read_what_is_declared(self) -> None:
        class Everything(Block):
            u, many, y = Input(), Inputs(), Output()
            k: Param = Param(2.0)
            x = State(1.0)
            w = Noise()

            @initial
            def begin(self, k, u):  # type: ignore[no-untyped-def]
                return dict(x=k + u)

            @tick
            def step(self, u, many, k, x, w, t, dt):  # type: ignore[no-untyped-def]
                return dict(x=x + dt, y=u + k + t + sum(many) + 0 * w)

        class Model(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.block = Everything(period=0.5)
                self.block.u = 1.0
                self.block.many = [10.0, 20.0]
                self.y = self.block.y

        run = simulate(Model(), 1)
        assert run["y"].values.tolist() == [[33, 33.5, 34]] and run.final["block.x"].tolist() == [4.5]

    @pytest.mark.parametrize("kind", ["derivative", "output", "crossing", "edges", "initial"])
    def test_what_a_method_may_not_read_is_refused_with_the_class(self, kind: str) -> None:
        bad = {"derivative": "w", "output": "w", "crossing": "w", "edges": "u", "initial": "t"}[kind]
        decorators: dict[str, Any] = {"output": output, "crossing": crossing, "edges": edges, "initial": initial}
        x = State(0.0)
        function = eval(f"lambda self, {bad}: 0.0")
        function.__name__ = "method"
        method = derivative(x)(function) if kind == "derivative" else decorators[kind](function)
        with pytest.raises(ModelError) as error:
            type("Bad", (Block,), dict(u=Input(), w=Noise(), x=x, method=method))
        assert f"Bad.method: reads {bad!r}" in str(error.value)

    def test_a_misspelt_argument_names_the_nearest(self) -> None:
        with pytest.raises(ModelError, match=r"reads 'thta'(.|\n)*did you mean: theta"):

            class Bad(Block):
                theta = State(0.0)

                @output
                def y(self, thta):  # type: ignore[no-untyped-def]
                    return thta

    def test_all_faults_of_a_class_come_together(self) -> None:
        with pytest.raises(ModelError) as error:

            class Bad(Block):
                x = State(0.0)

                @tick
                def step(self, y):  # type: ignore[no-untyped-def]
                    return dict(x=y)

                @output
                def z(self, q):  # type: ignore[no-untyped-def]
                    return q

        assert "2 faults" in str(error.value) and "'y'" in str(error.value) and "'q'" in str(error.value)

    @pytest.mark.parametrize(
        "name", ["t", "dt", "next", "period", "rate", "latency", "offset", "stream", "path", "self"]
    )
    def test_reserved_names(self, name: str) -> None:
        with pytest.raises(ModelError, match=f"{name!r} is a reserved name"):
            type("Bad", (Block,), {name: State(0.0)})

    def test_a_reserved_name_of_a_method(self) -> None:
        with pytest.raises(ModelError, match="'rate' is a reserved name"):

            class Bad(Block):
                x = State(0.0)

                @derivative(x)
                def rate(self, x):  # type: ignore[no-untyped-def]
                    return x

    def test_one_declaration_has_one_name(self) -> None:
        with pytest.raises(ModelError, match="'b' and 'a' are one declaration"):

            class Bad(Block):
                a = b = State(0.0)

    @pytest.mark.parametrize(("members", "text"), [
        (dict(a=tick(lambda self: {}), b=tick(lambda self: {})), "both @tick"),
        (dict(a=tick(lambda self: {}), b=hit(lambda self: {})), "both @tick and @hit"),
    ])  # fmt: skip
    def test_methods_that_exclude_each_other(self, members: dict[str, Any], text: str) -> None:
        with pytest.raises(ModelError, match=text):
            type("Bad", (Block,), members)

    def test_two_derivatives_of_a_state(self) -> None:
        with pytest.raises(ModelError, match="x: two derivatives"):

            class Bad(Block):
                x = State(0.0)

                @derivative(x)
                def one(self, x):  # type: ignore[no-untyped-def]
                    return x

                @derivative(x)
                def two(self, x):  # type: ignore[no-untyped-def]
                    return x

    def test_stars_are_refused(self) -> None:
        with pytest.raises(ModelError, match=r"\*args or \*\*kwargs"):

            class Bad(Block):
                @output
                def y(self, *args):  # type: ignore[no-untyped-def]
                    return args

    def test_a_derived_class_inherits_and_replaces(self) -> None:
        class Stiff(Pendulum):
            spring: Param = Param(3.0)

            @output
            def energy(self, theta, spring):  # type: ignore[no-untyped-def]
                return spring * theta

        assert set(Stiff.declared()) == {*Pendulum.declared(), "spring"}
        run = simulate(Stiff(), 0, inputs={"torque": 0.0}, set={"theta": 2.0}, solver=RK4(max_step=0.1))
        assert float(run["energy"].at(0)) == 6.0

    def test_an_output_that_nothing_computes(self) -> None:
        class Empty(Block):
            y = Output()

        with pytest.raises(ModelError, match="y: an output that no method computes"):
            simulate(Empty(), 1)

    def test_a_tick_without_a_clock(self) -> None:
        with pytest.raises(ModelError, match=r'a @tick without a clock(.|\n)*PI\(period="10 ms"\)'):
            simulate(PI(), 1, inputs={"e": 0.0})

    def test_latency_needs_ticks_and_is_not_negative(self) -> None:
        with pytest.raises(ModelError, match="latency='1 ms' without a period"):
            Gain(latency="1 ms")
        with pytest.raises(ModelError, match="latency=-1"):
            PI(period=1, latency=-1)


def _counting(kind: str, initial: Any, dtype: str) -> type[Block]:
    class Counting(Block):
        if kind == "State":
            n = State(initial, dtype=dtype)
        elif kind == "Output":
            n = Output(initial=initial, dtype=dtype)
        else:

            @output(initial=initial, dtype=dtype)
            def n(self):
                return torch.zeros(1)

    return Counting


class TestInitialValues:
    """What a declared type cannot hold is refused where it is written, as in a parameter and in set=."""

    @pytest.mark.parametrize("kind", ["State", "Output", "output"])
    @pytest.mark.parametrize(
        ("initial", "dtype", "found", "expected"),
        [(2.5, "int64", "2.5", "a whole number (int64)"), ([1, 2.5], "int32", "2.5", "a whole number (int32)"),
         (300, "uint8", "300", "a whole number (uint8)"), (-1, "uint8", "-1", "a whole number (uint8)"),
         (math.nan, "int64", "nan", "a whole number (int64)"), (math.inf, "int8", "inf", "a whole number (int8)"),
         (torch.tensor([0.0, 0.5]), "int16", "0.5", "a whole number (int16)"), (2, "bool", "2", "true or false"),
         ("one", "int64", "'one'", "a number or an array of numbers")],
    )  # fmt: skip
    def test_are_of_the_declared_type(self, kind: str, initial: Any, dtype: str, found: str, expected: str) -> None:
        with pytest.raises(ModelError) as caught:
            _counting(kind, initial, dtype)
        error = caught.value
        assert (error.where, error.found, error.expected) == ("Counting.n", f"initial={found}", expected)

    @pytest.mark.parametrize("kind", ["State", "Output", "output"])
    @pytest.mark.parametrize(
        ("initial", "dtype"), [(2.0, "int64"), (True, "int64"), (255, "uint8"), (1, "bool"), ([1.0, 2], "int32"),
                               (0.1, "float32"), (math.inf, "float64")],
    )  # fmt: skip
    def test_that_fit_are_taken(self, kind: str, initial: Any, dtype: str) -> None:
        assert _counting(kind, initial, dtype)().n.name == "n"


class TestParams:
    def test_defaults_values_and_references(self) -> None:
        gain = Gain(k=3)
        assert gain.settings == {"k": 3}
        assert isinstance(gain.k, Port) and gain.k.kind == "param"
        gain.k = 4.0
        assert float(simulate(gain, 0, inputs={"u": 1.0})["y"].at(0)) == 4.0

    @pytest.mark.parametrize(("build", "text"), [
        (lambda: Pendulum(mas=1.0), "no parameter 'mas'(.|\n)*did you mean: mass"),
        (lambda: Pendulum(mass="x"), "mass: 'x'"),
        (lambda: Pendulum(mass=math.nan), "mass: NaN"),
        (lambda: Pendulum(mass=-1.0), "at least 1e-12 kg"),
        (lambda: Pendulum(perid=1.0), "did you mean: period"),
        (lambda: Pendulum(1.0), "positional"),
    ])  # fmt: skip
    def test_wrong_ones_are_refused_where_they_are_written(self, build: Any, text: str) -> None:
        with pytest.raises((ModelError, TypeError), match=text):
            build()

    def test_one_without_a_default_must_be_given(self) -> None:
        class Needs(Block):
            k: Param = Param()

            @output
            def y(self, k):  # type: ignore[no-untyped-def]
                return k

        with pytest.raises(ModelError, match=r"Needs.k: no value(.|\n)*Needs\(k=...\)"):
            Needs()
        assert float(simulate(Needs(k=2), 0)["y"].at(0)) == 2.0

    def test_a_mask_passes_parameters_on(self) -> None:
        class Inner(Diagram):
            y = Output()
            k: Param = Param(1.0)

            def __init__(self, k: Any = 1.0) -> None:
                self.gain = Gain(k=self.k * 2.0)
                self.gain.u = 1.0
                self.y = self.gain.y

        class Outer(Diagram):
            y = Output()
            scale: Param = Param(5.0)

            def __init__(self) -> None:
                self.inner = Inner(k=self.scale + 1.0)
                self.y = self.inner.y

        outer = Outer()
        assert float(simulate(outer, 0)["y"].at(0)) == 12.0
        assert simulate(outer, 0, set={outer.scale: torch.tensor([0.0, 1.0])})["y"].at(0).tolist() == [2, 4]
        assert simulate(outer, 0, set={"inner.k": 10.0})["y"].at(0).tolist() == [20]

    def test_arguments_of_a_constructor_bind_to_parameters_of_their_name(self) -> None:
        class Loop(Diagram):
            k: Param = Param(1.0, high=10.0)

            def __init__(self, k: float = 1.0) -> None:
                self.gain = Gain(k=self.k)
                self.gain.u = 1.0

        assert float(simulate(Loop(k=3.0), 0)["gain.y"].at(0)) == 3.0
        with pytest.raises(ModelError, match="at most 10"):
            Loop(k=11.0)

    def test_a_signal_is_no_parameter(self) -> None:
        with pytest.raises(ModelError, match="is a signal"):
            Gain(k=Sine().y)

    def test_setting_a_parameter_does_not_recompile(self) -> None:
        servo = Servo()
        model = compile_model(servo)
        servo.pi.kp = 5.0
        assert compile_model(servo) is model
        servo.pi.latency = "20 ms"
        assert compile_model(servo) is not model


class TestPaths:
    def test_blocks_and_ports_have_paths(self) -> None:
        servo = Servo()
        assert servo.plant.path == "plant" and servo.pi.u.path == "pi.u" and servo.y.path == "y"
        assert repr(servo.pi.u) == "pi.u" and servo.y.unit == "rad" and "PI pi" in repr(servo.pi)

    def test_nested_lists_and_dicts(self) -> None:
        class Car(Diagram):
            def __init__(self) -> None:
                self.wheels = [Gain(k=float(k)) for k in range(4)]
                self.axles = {"front": Sum(), "rear": Sum()}
                for wheel in self.wheels:
                    wheel.u = 1.0
                self.axles["front"].u = [self.wheels[0].y, self.wheels[1].y]
                self.axles["rear"].u = [self.wheels[2].y, self.wheels[3].y]

        class Fleet(Diagram):
            def __init__(self) -> None:
                self.car = Car()

        run = simulate(Fleet(), 0)
        assert float(run["car.wheels.3.y"].at(0)) == 3.0 and float(run["car.axles.rear.y"].at(0)) == 5.0

    def test_ports_are_equal_when_they_are_the_same(self) -> None:
        servo = Servo()
        assert servo.pi.u == servo.pi.u and servo.pi.u != servo.pi.e and servo.pi.u != Servo().pi.u
        assert {servo.pi.u: 1}[servo.pi.u] == 1


class TestFormulas:
    @pytest.mark.parametrize(("build", "wanted"), [
        (lambda a, b: a + b - 1, 4.0), (lambda a, b: 2 * a / b, 4 / 3), (lambda a, b: a**b, 8.0),
        (lambda a, b: -a % b, 1.0), (lambda a, b: 1 - a, -1.0), (lambda a, b: 6 / a, 3.0), (lambda a, b: 2.0**a, 4.0),
        (lambda a, b: abs(a - b), 1.0), (lambda a, b: torch.where(a > b, a, b), 3.0),
        (lambda a, b: torch.sin(a), math.sin(2)), (lambda a, b: torch.maximum(a, b), 3.0),
        (lambda a, b: torch.clamp(b, 0.0, 2.5), 2.5), (lambda a, b: torch.atan2(a, b), math.atan2(2, 3)),
        (lambda a, b: torch.minimum(a, torch.tensor(1.0)), 1.0), (lambda a, b: stack(a, b)[1], 3.0),
        (lambda a, b: torch.where((a > 1) & ~(b > 5) | (a < 0), 1.0, 0.0), 1.0),
        (lambda a, b: (stack(a, b) * 2.0)[0], 4.0),
        (lambda a, b: stack(a, b) @ torch.tensor([1.0, 10.0]).double(), 32.0),
        (lambda a, b: (torch.tensor([[1.0, 0.0], [5.0, 1.0]]).double() @ stack(a, b))[1], 13.0),
        (lambda a, b: stack(a, b) @ stack(b, a), 12.0),
    ])  # fmt: skip
    def test_operators_and_functions(self, build: Any, wanted: float) -> None:
        class Model(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.a, self.b = Constant(value=2.0), Constant(value=3.0)
                self.y = build(self.a.y, self.b.y)

        assert float(simulate(Model(), 0)["y"].at(0)) == pytest.approx(wanted, abs=1e-15)

    def test_a_scalar_goes_with_every_element_of_a_vector(self) -> None:
        class Model(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.a, self.b = Constant(value=2.0), Constant(value=[3.0, 4.0, 5.0])
                self.y = self.a.y * self.b.y

        model = Model()
        run = simulate(model, 0, set={model.a.value: torch.tensor([1.0, 2.0, 3.0])})
        assert run["y"].at(0).tolist() == [[3, 4, 5], [6, 8, 10], [9, 12, 15]]

    def test_signals_have_no_truth_value(self) -> None:
        gain = Gain()
        for signal in (gain.y, gain.y > 1, gain.y + 1):
            with pytest.raises(TypeError, match=r"torch.where\(condition, a, b\)"):
                bool(signal)
        with pytest.raises(TypeError, match="has no truth value"):
            max(gain.y, gain.u)  # type: ignore[type-var]

    def test_signals_have_no_length(self) -> None:
        with pytest.raises(TypeError, match="signal of unknown length"):
            list(Gain().y)

    def test_functions_that_are_none_of_ours(self) -> None:
        with pytest.raises(ModelError, match="torch.fft_fft|torch.cumsum"):
            torch.cumsum(Gain().y, 0)  # type: ignore[call-overload]

    def test_a_formula_reads_as_it_was_written(self) -> None:
        servo = Servo()
        assert repr(servo.r - 2 * servo.y) == "(Servo.r - (2 * Servo.y))"
        assert isinstance(servo.r - servo.y, Formula)


class TestWiring:
    def test_connect_is_assignment(self) -> None:
        class Model(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.source, self.gain = Constant(value=2.0), Gain(k=3.0)
                connect(self.source.y, self.gain.u)
                connect(self.gain.y, Diagram.__getattribute__(self, "y"))

        assert float(simulate(Model(), 0)["y"].at(0)) == 6.0

    def test_from_outside(self) -> None:
        class Empty(Diagram):
            def __init__(self) -> None:
                self.source, self.gain = Constant(value=2.0), Gain(k=3.0)

        model = Empty()
        model.gain.u = model.source.y
        assert float(simulate(model, 0)["gain.y"].at(0)) == 6.0

    def test_through_ports_of_nested_diagrams(self) -> None:
        class Double(Diagram):
            u, y = Input(), Output()

            def __init__(self) -> None:
                self.gain = Gain(k=2.0)
                self.gain.u = self.u
                self.y = self.gain.y

        class Eight(Diagram):
            u, y = Input(), Output()

            def __init__(self) -> None:
                self.a, self.b, self.c = Double(), Double(), Double()
                self.a.u, self.b.u, self.c.u = self.u, self.a.y, self.b.y
                self.y = self.c.y

        assert float(simulate(Eight(), 0, inputs={"u": 1.0})["y"].at(0)) == 8.0

    def test_straight_through(self) -> None:
        class Through(Diagram):
            u, y = Input(), Output()

            def __init__(self) -> None:
                self.y = self.u

        assert float(simulate(Through(), 0, inputs={"u": 3.0})["y"].at(0)) == 3.0

    def test_an_input_with_a_default_needs_no_wire(self) -> None:
        class Block1(Block):
            u = Input(default=7.0)

            @output
            def y(self, u):  # type: ignore[no-untyped-def]
                return u

        class Model(Diagram):
            def __init__(self) -> None:
                self.block = Block1()

        assert float(simulate(Model(), 0)["block.y"].at(0)) == 7.0

    def test_a_block_alone_is_a_model(self) -> None:
        gain = Gain(k=2.0)
        assert float(simulate(gain, 0, inputs={gain.u: 4.0})[gain.y].at(0)) == 8.0

    def test_blocks_kept_in_no_diagram_are_no_part(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                unused = Gain()
                assert unused.path == ""
                self.used = Constant()

        assert list(compile_model(Model()).blocks) == ["used"]

    def test_two_instances_do_not_share(self) -> None:
        first, second = Servo(), Servo(kp=1.0)
        first.pi.kp = 9.0
        assert second.pi.settings["kp"] == 1.0 and first.pi.wires is not second.pi.wires


class TestDescribe:
    def test_shows_rates_order_reads_and_edges_between_rates(self) -> None:
        text = Servo().describe()
        lines = text.splitlines()
        assert any("pi" in line and "PI" in line and "20 ms" in line and "10 ms" in line for line in lines)
        assert any("plant" in line and "continuous" in line and "theta, omega" in line for line in lines)
        assert any("plant.theta -> pi" in line and "sampled at 20 ms" in line for line in lines)
        assert any("pi.u -> plant" in line and "10 ms after its tick" in line for line in lines)

    def test_shows_conditions_hits_and_rational_rates(self) -> None:
        from simdl import enabled

        class Model(Diagram):
            def __init__(self) -> None:
                self.gate, self.hold = Step(at=1.0), Hold(rate=30)
                self.hold.u = self.gate.y
                self.clock = enabled(SampleClock(period=1), when=self.hold.y > 0.5)
                self.hits = Hits()

        text = Model().describe()
        assert "30 Hz" in text and "hits" in text and "enabled by" in text

    def test_an_integrator_of_a_constant_has_no_edge(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.integrator = Integrator()
                self.integrator.u = 1.0

        assert "no edges between rates" in Model().describe()


class Hits(Block):
    y = Output()

    @hit
    def fire(self, t):  # type: ignore[no-untyped-def]
        return dict(y=t, next=0.1)
