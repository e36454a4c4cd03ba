"""Wiring faults: each told with its path, what was found, what was expected, the fix and the names; all at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from simdl import Block, Diagram, Input, LoopError, ModelError, Output, compile_model, connect, output, simulate
from simdl.blocks import PI, Constant, Gain, Hold, Pendulum, Sum
from simdl.port import Port


def fault(model: Any, *texts: str) -> str:
    """The text of the error of a model that cannot be compiled."""
    with pytest.raises(ModelError) as error:
        compile_model(model() if isinstance(model, type) else model)
    for text in texts:
        assert text in str(error.value), str(error.value)
    return str(error.value)


class TestInputs:
    def test_unconnected(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.plant, self.sum = Pendulum(), Sum()

        fault(Model, "plant.torque: not connected", "a signal or a number", "assign plant.torque = ...",
              "sum.u: not connected", "assign sum.u = [a, b]", "2 faults")  # fmt: skip

    def test_unconnected_inside_a_nested_diagram(self) -> None:
        class Inner(Diagram):
            u, y = Input(), Output()

            def __init__(self) -> None:
                self.gain = Gain()
                self.gain.u = self.u
                self.y = self.gain.y

        class Model(Diagram):
            def __init__(self) -> None:
                self.inner = Inner()

        fault(Model, "inner.u: not connected")

    def test_driven_twice_names_both_sources(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.a, self.b, self.gain = Constant(), Constant(), Gain()
                self.gain.u = self.a.y
                self.gain.u = self.b.y

        fault(Model, "gain.u: driven twice, by a.y and by b.y", "one source", "add the signals")

    def test_driven_from_inside_and_from_outside(self) -> None:
        class Inner(Diagram):
            u, y = Input(), Output()

            def __init__(self) -> None:
                self.u = 1.0
                self.y = self.u

        class Model(Diagram):
            def __init__(self) -> None:
                self.inner = Inner()
                self.inner.u = 2.0

        fault(Model, "inner.u: an own input driven from inside", "inside, read them")

    @pytest.mark.parametrize(("source", "text"), [
        ("x", "'x'"), (None, "None"), ([1.0], "[1.0]"), (Gain, "Gain"), (object(), "object"),
    ])  # fmt: skip
    def test_driven_by_what_is_no_signal(self, source: Any, text: str) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.gain = Gain()
                self.gain.u = source

        fault(Model, "gain.u: ", text, "a signal or a number")

    def test_driven_by_a_block_names_its_outputs(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.a, self.gain = Constant(), Gain()
                self.gain.u = self.a  # type: ignore[assignment]

        fault(Model, "gain.u: the block a", "such as .y", "names: y")

    def test_driven_by_itself(self) -> None:
        class Through(Diagram):
            u, y = Input(), Output()

            def __init__(self) -> None:
                self.y = self.u

        class Model(Diagram):
            def __init__(self) -> None:
                self.a, self.b = Through(), Through()
                self.a.u, self.b.u = self.b.y, self.a.y

        with pytest.raises(ModelError) as error:
            compile_model(Model())
        assert "wired to itself" in str(error.value) and isinstance(error.value, LoopError | ModelError)


class TestNames:
    def test_misspelt_port_in_a_constructor_is_collected(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.pi, self.gain = PI(period=1), Gain()
                self.pi.e = self.gain.yy  # type: ignore[attr-defined]
                self.gain.u = self.pi.uu  # type: ignore[attr-defined]

        text = fault(Model, "gain: no port 'yy'", "pi: no port 'uu'", "did you mean: u")
        assert "names: e, u, kp, ki" in text

    def test_misspelt_input_is_collected(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.plant = Pendulum()
                self.plant.torqe = 1.0  # type: ignore[attr-defined]

        fault(Model, "plant: no port 'torqe'", "did you mean: torque", "plant.torque: not connected")

    def test_misspelt_port_outside_is_an_attribute_error_at_once(self) -> None:
        plant = Pendulum()
        with pytest.raises(AttributeError, match="did you mean: theta"):
            plant.thet  # type: ignore[attr-defined]  # noqa: B018
        with pytest.raises(ModelError, match="names: .*omega"):
            plant.thet  # type: ignore[attr-defined]  # noqa: B018

    def test_misspelt_own_port_of_a_diagram(self) -> None:
        class Model(Diagram):
            speed = Output()

            def __init__(self) -> None:
                self.a = Constant()
                self.sped = self.a.y

        fault(Model, "speed: an output that nothing is assigned to", "self.speed = ...")


class TestOutputs:
    def test_assigned_from_outside(self) -> None:
        class Model(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.a = Constant()
                self.y = self.a.y

        model = Model()
        model.y = 2.0
        fault(model, "Model.y: an output driven from outside", "in the diagram's own __init__")

    def test_assigned_twice(self) -> None:
        class Model(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.a = Constant()
                self.y = self.a.y
                self.y = 3.0

        fault(Model, "y: driven twice")

    def test_output_of_a_leaf_block_is_no_input(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.a, self.gain = Constant(), Gain()
                self.gain.u = 1.0
                connect(self.a.y, self.gain.y)

        with pytest.raises(ModelError):
            compile_model(Model())


class TestPlaces:
    def test_a_block_is_in_one_place(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.a = Constant()
                self.b = self.a

        fault(Model, "b: the block a of", "make a second block")

    def test_a_port_of_a_block_that_is_not_part(self) -> None:
        class Model(Diagram):
            def __init__(self) -> None:
                self.gain = Gain()
                self.gain.u = Constant().y

        fault(Model, "gain.u", "Constant.y: a port of a block outside this model", "assign the block to an attribute")

    def test_connect_to_what_is_no_input(self) -> None:
        with pytest.raises(ModelError, match=r"connect\(source, block.input\)"):
            connect(Constant().y, 3.0)  # type: ignore[arg-type]
        with pytest.raises(ModelError, match="is not an input"):
            connect(Constant().y, Gain().k)

    def test_noise_crossings_and_bundles_are_no_sources(self) -> None:
        from tests.test_semantics_lanes import Draw

        class Model(Diagram):
            def __init__(self) -> None:
                self.draw, self.gain = Draw(period=1), Gain()
                self.gain.u = self.draw.w

        fault(Model, "reads draw.w, a noise source", "an output, a state or a parameter")

    def test_a_model_must_be_one(self) -> None:
        for thing in (3, "servo", None, Pendulum):
            with pytest.raises(ModelError, match="a Diagram, a Block or a compiled model"):
                simulate(thing, 1)  # type: ignore[arg-type]


class TestShapes:
    def test_a_vector_into_a_scalar_input(self) -> None:
        class Scalar(Block):
            u = Input(shape=())

            @output
            def y(self, u):  # type: ignore[no-untyped-def]
                return u

        class Model(Diagram):
            def __init__(self) -> None:
                self.source, self.scalar = Constant(value=[1.0, 2.0]), Scalar()
                self.scalar.u = self.source.y

        fault(Model, "scalar.u", "(2,)", "()")

    def test_a_float_into_a_bool_input(self) -> None:
        class Flag(Block):
            on = Input(dtype="bool")

            @output
            def y(self, on):  # type: ignore[no-untyped-def]
                return ~on

        class Model(Diagram):
            def __init__(self) -> None:
                self.source, self.flag = Constant(value=0.5), Flag()
                self.flag.on = self.source.y

        fault(Model, "flag.on", "bool")

    def test_formulas_of_unequal_shapes_show_what_they_read(self) -> None:
        class Model(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.a, self.b = Constant(value=[1.0, 2.0]), Constant(value=[1.0, 2.0, 3.0])
                self.y = self.a.y + self.b.y

        fault(Model, "(a.y + b.y)", "(3, 2)", "(3, 3)")


def test_all_faults_of_a_model_in_one_error() -> None:
    class Inner(Diagram):
        u, y = Input(), Output()

        def __init__(self) -> None:
            self.gain = Gain()
            self.gain.u = "x"  # type: ignore[assignment]

    class Model(Diagram):
        def __init__(self) -> None:
            self.inner, self.plant, self.hold = Inner(), Pendulum(), Hold(period=1)
            self.hold.u = self.plant.thta  # type: ignore[attr-defined]
            self.plant.torque = self.hold.y
            self.plant.torque = 1.0

    text = fault(Model, "inner.gain.u: 'x'", "plant: no port 'thta'", "plant.torque: driven twice",
                 "inner.u: not connected", "inner.y: an output that nothing is assigned to", "5 faults")  # fmt: skip
    assert text.startswith("Model: ") and "faults" in text.splitlines()[0]


def test_one_fault_is_raised_as_itself() -> None:
    class Model(Diagram):
        def __init__(self) -> None:
            self.plant = Pendulum()

    with pytest.raises(ModelError) as error:
        compile_model(Model())
    assert error.value.where == "plant.torque" and error.value.found == "not connected"
    assert error.value.faults == ()


def test_ports_and_tensors_do_not_mix_silently() -> None:
    port = Gain().y
    assert isinstance(port, Port)
    assert isinstance(torch.tensor(2.0) * port, type(2.0 * port))


@pytest.mark.parametrize("name", ["theta", "energy"])
def test_a_state_or_an_output_cannot_be_assigned(name: str) -> None:
    class Model(Diagram):
        def __init__(self) -> None:
            self.plant = Pendulum()
            self.plant.torque = 0.0
            setattr(self.plant, name, 1.0)

    fault(Model, f"plant.{name}: assigned, but it is", "which its block computes")


def test_errors_survive_pickling() -> None:
    """Campaign workers send them to the parent."""
    import pickle

    class Model(Diagram):
        def __init__(self) -> None:
            self.plant = Pendulum()

    with pytest.raises(ModelError) as error:
        compile_model(Model())
    again = pickle.loads(pickle.dumps(error.value))
    assert type(again) is ModelError and str(again) == str(error.value) and again.where == "plant.torque"
