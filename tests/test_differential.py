"""Both engines against the interpreter on random diagrams, and torch against itself where nothing may change."""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, note, settings, strategies as st

from simdl import RK4, Run
from simdl.simulate import finished, simulator_for
from tests.reference.build import build, inputs_of, paths_of
from tests.reference.choices import Choices
from tests.reference.compare import compare, difference, fair, run
from tests.reference.corners import CORNERS
from tests.reference.draw import experiment as drawn, experiments
from tests.reference.interpreter import interpret
from tests.reference.model import Model, join
from tests.reference.native import Batch
from tests.reference.spec import Experiment
from tests.reference.variants import INNER, movable, split

random_models = settings(
    derandomize=True, deadline=None, database=None, phases=(Phase.generate, Phase.shrink), print_blob=False,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.mark.slow
@given(experiments())
@settings(random_models, max_examples=100)
def test_the_engine_agrees_with_the_interpreter(model: Experiment) -> None:
    found = compare(model)
    assume(found.verdict != "unfair")
    note(repr(model))
    assert found.verdict == "agree", found.why


@pytest.mark.parametrize("name", CORNERS)
def test_the_engine_agrees_in_the_corners(name: str) -> None:
    assert difference(interpret(CORNERS[name]), run(CORNERS[name]))[0] == ""


@pytest.fixture(scope="module")
def corners() -> Batch:
    """The corners, compiled together."""
    return Batch(list(CORNERS.values()))


@pytest.mark.parametrize("name", CORNERS)
def test_the_native_engine_agrees_in_the_corners(name: str, corners: Batch) -> None:
    assert difference(interpret(CORNERS[name]), corners.run(CORNERS[name]))[0] == ""


@pytest.mark.slow
def test_the_native_engine_agrees_with_the_interpreter_however_much_the_compiler_optimises() -> None:
    """Bit for bit the same with more optimisation, and for a processor without fused multiplication."""
    models = [drawn(Choices.seeded(11, case)) for case in range(6)]
    batch = Batch(models)
    plain = [batch.run(model) for model in models]
    for model, one in zip(models, plain):
        found = compare(model, lambda _, run=one: run)  # type: ignore[misc]
        assert found.verdict != "differ", f"{found.why}\n{model!r}"
    for flags in (("-O3",), ("-O2", "-march=x86-64")):
        batch.compile(*flags)
        for model, one in zip(models, plain):
            assert_same(one, batch.run(model))


def simulated(model: Experiment, order: random.Random | None = None, **options: Any) -> Run:
    """A run of the experiment, everything recorded on one grid beside; whether its steps are short is not asked."""
    given_: dict[str, Any] = dict(inputs=inputs_of(model), set=model.set, ids=[model.lane], engine="torch")
    chosen = given_ | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = simulator_for(
            build(model.root, order), f"{model.until} ns", record=paths_of(model), seed=model.seed,
            solver=RK4(max_step=f"{model.max_step} ns"), every="5 ms", **chosen,
        )  # fmt: skip
        made.check_accuracy = False
        made.run_until(f"{model.until} ns")
    return finished(made)


def assert_same(one: Run, other: Run, lane: int = 0, of: int = 0, moved: tuple[str, ...] = ()) -> None:
    """Traces, final states and crossings of lane `lane` of one run are those of lane `of` of the other, bit for bit."""

    def there(path: str) -> str:
        return f"{INNER}.{path}" if path.partition(".")[0] in moved else path

    for path, trace in one.traces.items():
        twin = other.traces[there(path)]
        assert torch.equal(trace.t, twin.t), path
        assert torch.equal(trace.values[lane], twin.values[of]), path
    for path, value in one.final.items():
        assert torch.equal(value[lane], other.final[there(path)][of]), path
    events = [(t, there(path)) for number, t, path in one.events if number == lane]
    assert events == [(t, path) for number, t, path in other.events if number == of]


@given(experiments(), st.integers(0, 1000))
@settings(random_models, max_examples=25)
def test_the_order_of_declaration_changes_nothing(model: Experiment, seed: int) -> None:
    note(repr(model))
    assert_same(simulated(model), simulated(model, random.Random(seed)))


@given(experiments(), st.randoms(use_true_random=False))
@settings(random_models, max_examples=25)
def test_moving_blocks_into_a_diagram_changes_nothing(model: Experiment, chance: random.Random) -> None:
    names = movable(model)
    assume(names)
    chosen = set(chance.sample(names, chance.randint(1, len(names))))
    note(f"{model!r}\nmoved: {sorted(chosen)}")
    assert_same(simulated(model), simulated(split(model, chosen)), moved=tuple(chosen))


@given(experiments(), st.randoms(use_true_random=False), st.booleans())
@settings(random_models, max_examples=25)
def test_a_lane_alone_is_a_lane_in_a_batch(model: Experiment, chance: random.Random, alike: bool) -> None:
    """Three lanes with parameters, inputs and noise of their own, or all the same."""
    lanes_alone(model, chance, 3, alike, "torch")


@pytest.mark.slow
@pytest.mark.usefixtures("lightly")
@given(experiments(), st.randoms(use_true_random=False))
@settings(random_models, max_examples=4)
def test_a_lane_alone_is_a_lane_in_vectors(model: Experiment, chance: random.Random) -> None:
    """Natively eleven lanes that share a schedule fill a vector and a part of one; alone, there is none. Torch does the
    same with all of them."""
    leaves = Model(model.root).leaves.values()
    assume(not any(leaf.crossings or leaf.hit or leaf.edges for leaf in leaves))
    assume(fair(model, interpret(model)) == "")
    together, options = lanes_alone(model, chance, 11, False, "native")
    expected = simulated(model, engine="torch", **options)
    for path, trace in expected.traces.items():
        torch.testing.assert_close(together.traces[path].values, trace.values, rtol=1e-11, atol=1e-11, msg=path)


def lanes_alone(
    model: Experiment, chance: random.Random, count: int, alike: bool, engine: str
) -> tuple[Run, dict[str, Any]]:
    """Hold three lanes alone to the bits they have among others; the run of all, and what was given to it."""
    ids = [model.lane] * count if alike else [chance.randrange(10**6) for _ in range(count)]
    known = Model(model.root)
    names = [join(path, name) for path, leaf in known.leaves.items() for name in leaf.params]
    names += [join(path, name) for path, leaf in known.leaves.items() for name in leaf.states if not leaf.initial]
    varied = dict.fromkeys(names[:0] if alike else chance.sample(names, min(len(names), 4)))
    sets = [{**model.set, **{name: chance.uniform(-0.5, 0.5) for name in varied}} for _ in range(count)]
    plain = inputs_of(model)
    inputs = [
        {name: value if isinstance(value, tuple) or alike else chance.uniform(-1, 1) for name, value in plain.items()}
        for _ in range(count)
    ]
    note(f"{model!r}\n{sets}\n{inputs}\n{ids}")
    lanes = {name: torch.tensor([one[name] for one in sets], dtype=torch.float64) for name in sets[0]}
    driven = {
        name: value if isinstance(value, tuple) else torch.tensor([one[name] for one in inputs], dtype=torch.float64)
        for name, value in plain.items()
    }
    options: dict[str, Any] = dict(ids=ids, set=lanes, inputs=driven)
    together = simulated(model, engine=engine, **options)
    for lane in (0, 1, count - 1):
        alone = simulated(model, engine=engine, ids=[ids[lane]], set=sets[lane], inputs=inputs[lane])
        assert_same(together, alone, lane=lane)
    return together, options
