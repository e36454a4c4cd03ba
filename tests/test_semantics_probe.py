"""S16: the compile probe refuses methods that mix lanes, mutate, branch on tensors or remember, all in one error."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from simdl import (
    Block,
    Diagram,
    Input,
    ModelError,
    Output,
    Param,
    ProbeError,
    State,
    compile_model,
    crossing,
    derivative,
    initial,
    output,
    simulate,
    tick,
)
from simdl.blocks import Constant, Gain


class Inside(Diagram):
    """A vector source and a block that reads it."""

    def __init__(self, block: Block, size: int | None = 3) -> None:
        self.source = Constant(value=[1.0, 2.0, 4.0][:size] if size else 1.5)
        self.block = block
        if "u" in type(block).declared():
            self.block.u = self.source.y  # type: ignore[attr-defined]


def refused(block: Block, *texts: str, size: int | None = 3) -> None:
    with pytest.raises(ProbeError) as error:
        compile_model(Inside(block, size))
    for text in ("block", *texts):
        assert text in str(error.value), str(error.value)


class U(Block):
    u = Input()


class TestLanes:
    def test_squeeze_away_of_the_lane(self) -> None:
        """With one lane and one feature, (1, 1) becomes a number."""

        class Squeeze(U):
            @output
            def y(self, u):  # type: ignore[no-untyped-def]
                return (2 * u).squeeze()

        refused(Squeeze(), "block.y", "squeeze", size=1)

    def test_squeeze_of_a_named_dimension_is_fine(self) -> None:
        class Squeeze(U):
            @output
            def y(self, u):  # type: ignore[no-untyped-def]
                return u.squeeze(-1)

        compile_model(Inside(Squeeze(), 1))

    def test_a_network_that_forgets_the_lane(self) -> None:
        class Net(U):
            @output
            def y(self, u):  # type: ignore[no-untyped-def]
                return u.sum()

        refused(Net(), "block.y", "one lane moves the others")

    def test_mean_over_lanes(self) -> None:
        class Mean(U):
            @output
            def y(self, u):  # type: ignore[no-untyped-def]
                return u - u.mean(dim=0)

        refused(Mean(), "block.y", "one lane moves the others", "dim 0")

    def test_transposed_features(self) -> None:
        """Three features and three lanes have the same shape: only other numbers of lanes tell."""

        class Transposed(U):
            @output
            def y(self, u):  # type: ignore[no-untyped-def]
                return u.T

        refused(Transposed(), "block.y")

    def test_a_vector_that_is_taken_for_lanes(self) -> None:
        class Fixed(U):
            @output
            def y(self, u):  # type: ignore[no-untyped-def]
                return u[:, 0] * torch.tensor([1.0, 2.0, 3.0])

        refused(Fixed(), "block.y")

    def test_batch_statistics(self) -> None:
        class Norm(U):
            def __init__(self, **settings: Any) -> None:
                super().__init__(**settings)
                self.norm = nn.BatchNorm1d(3).double()

            @output
            def y(self, u):  # type: ignore[no-untyped-def]
                return self.norm(u)

        refused(Norm(), "block.y")

    def test_in_eval_mode_they_are_fine(self) -> None:
        class Norm(U):
            def __init__(self, **settings: Any) -> None:
                super().__init__(**settings)
                self.norm = nn.BatchNorm1d(3).double().eval()

            @output
            def y(self, u):  # type: ignore[no-untyped-def]
                return self.norm(u)

        compile_model(Inside(Norm()))

    def test_a_wrong_number_of_lanes(self) -> None:
        class One(U):
            @output
            def y(self, u):  # type: ignore[no-untyped-def]
                return torch.cat([u, u])

        refused(One(), "block.y", "lanes first")


class TestPurity:
    def test_if_on_a_tensor(self) -> None:
        class Branch(U):
            @output
            def y(self, u):  # type: ignore[no-untyped-def]
                return u if u[:, 0] > 0 else -u

        refused(Branch(), "block.y", "branches on a tensor", "torch.where(condition, a, b)")

    def test_in_place_change_of_an_argument(self) -> None:
        class Add(U):
            @output
            def y(self, u):  # type: ignore[no-untyped-def]
                u += 1
                return u

        refused(Add(), "block.y", "in place", "x = x + 1")

    def test_in_place_change_of_what_was_made_inside_is_fine(self) -> None:
        class Add(U):
            @output
            def y(self, u):  # type: ignore[no-untyped-def]
                y = u * 2
                y += 1
                return y

        compile_model(Inside(Add()))

    def test_hidden_state(self) -> None:
        class Remember(U):
            def __init__(self, **settings: Any) -> None:
                super().__init__(**settings)
                self.calls = 0

            @output
            def y(self, u):  # type: ignore[no-untyped-def]
                vars(self)["calls"] += 1
                return u * self.calls

        refused(Remember(), "block.y", "two calls with the same arguments differ", "State()")

    def test_own_random_numbers(self) -> None:
        class Random(U):
            y = Output()

            @tick
            def step(self, u):  # type: ignore[no-untyped-def]
                return dict(y=u + torch.rand(3))

        refused(Random(period=1), "block.step: block.y", "Noise()")


class TestReturns:
    def test_a_tick_returns_a_dict(self) -> None:
        class Bare(Block):
            y = Output()

            @tick
            def step(self, t):  # type: ignore[no-untyped-def]
                return t

        refused(Bare(period=1), "block.step", "returned Tensor", "dict")

    def test_of_outputs_and_states_only(self) -> None:
        class Misspelt(Block):
            speed = Output()

            @tick
            def step(self, t):  # type: ignore[no-untyped-def]
                return dict(sped=t)

        refused(Misspelt(period=1), "returned 'sped'", "did you mean: speed")

    def test_a_derivative_of_each_state_in_order(self) -> None:
        class Two(Block):
            x, v = State(0.0), State(0.0)

            @derivative(x, v)
            def flow(self, x, v):  # type: ignore[no-untyped-def]
                return v

        refused(Two(), "block.flow", "2 values")

    def test_a_derivative_has_the_shape_of_its_state(self) -> None:
        class Wrong(Block):
            x = State([0.0, 0.0])

            @derivative(x)
            def flow(self, x):  # type: ignore[no-untyped-def]
                return x[:, 0]

        refused(Wrong(), "block.flow", "(2,)")

    def test_no_value_and_text(self) -> None:
        class Nothing(U):
            @output
            def y(self, u):  # type: ignore[no-untyped-def]
                return None

        refused(Nothing(), "block.y", "NoneType None")

    def test_what_a_method_raises_is_shown_with_what_it_read(self) -> None:
        class Wrong(U):
            k: Param = Param([[1.0, 2.0], [3.0, 4.0]])

            @output
            def y(self, u, k):  # type: ignore[no-untyped-def]
                return k @ u.unsqueeze(-1)

        refused(Wrong(), "block.y", "u (3, 3), k (3, 2, 2)", "lanes first")

    def test_a_declared_shape_is_kept(self) -> None:
        class Shaped(Block):
            y = Output(shape=(2,))

            @tick
            def step(self, t):  # type: ignore[no-untyped-def]
                return dict(y=torch.zeros(len(t), 3))

        refused(Shaped(period=1), "the shape (3,)", "(2,)")

    def test_a_guard_is_a_number(self) -> None:
        class Guard(Block):
            x = State([1.0, 2.0])

            @derivative(x)
            def flow(self, x):  # type: ignore[no-untyped-def]
                return -x

            @crossing
            def zero(self, x):  # type: ignore[no-untyped-def]
                return x

        refused(Guard(), "block.zero")


def test_all_faults_in_one_error_with_their_paths() -> None:
    class Bad(U):
        @output
        def y(self, u):  # type: ignore[no-untyped-def]
            return u.mean(0)

    class Worse(U):
        @output
        def y(self, u):  # type: ignore[no-untyped-def]
            return u if u.sum() > 0 else -u

    class Model(Diagram):
        def __init__(self) -> None:
            self.source = Constant(value=[1.0, 2.0])
            self.bad, self.worse = Bad(), Worse()
            self.bad.u, self.worse.u = self.source.y, self.source.y

    with pytest.raises(ModelError) as error:
        simulate(Model(), 1)
    assert "worse.y" in str(error.value)


def test_faults_of_the_same_stage_come_together() -> None:
    class Bad(U):
        @output
        def y(self, u):  # type: ignore[no-untyped-def]
            return u - u.mean(0)

    class Model(Diagram):
        def __init__(self) -> None:
            self.source = Constant(value=[1.0, 2.0])
            self.first, self.second = Bad(), Bad()
            self.first.u, self.second.u = self.source.y, self.source.y

    with pytest.raises(ModelError) as error:
        simulate(Model(), 1)
    assert "first.y" in str(error.value) and "second.y" in str(error.value) and "2 faults" in str(error.value)


def test_shapes_are_inferred_from_what_drives() -> None:
    class Model(Diagram):
        y = Output()

        def __init__(self) -> None:
            self.source, self.gain = Constant(value=[1.0, 2.0, 3.0]), Gain(k=2.0)
            self.gain.u = self.source.y
            self.y = self.gain.y[1:]

    run = simulate(Model(), 0, lanes=4)
    assert run["y"].values.shape == (4, 1, 2) and run["y"].values[3, 0].tolist() == [4, 6]


def test_an_initial_method_gives_a_state_its_shape() -> None:
    class Buffer(Block):
        window = State(0.0)

        @initial
        def empty(self):  # type: ignore[no-untyped-def]
            return dict(window=torch.zeros(1, 5))

        @output
        def y(self, window):  # type: ignore[no-untyped-def]
            return window.sum(dim=1)

        @tick
        def shift(self, window, t):  # type: ignore[no-untyped-def]
            return dict(window=torch.cat([window[:, 1:], t.unsqueeze(1)], dim=1))

    run = simulate(Buffer(period=1), 3, lanes=2)
    assert run.final["window"].tolist() == [[0, 0, 1, 2, 3]] * 2
