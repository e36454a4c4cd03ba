"""The monitor: a state machine that equals one written in plain Python, in both engines, lane by lane."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from simdl import Block, Callback, Diagram, Input, Monitor, Network, Output, Recurrent, State, output, simulate, tick
from simdl.errors import NetworkError, SimdlError
from simdl.networks import Cause
from simdl.networks.ood import KNN, Energy, InputBox, Mahalanobis
from simdl.slots import Slot, swap

ENGINES = ("torch", "native")
NAN, INF = 1e6, 2e6
SHOWN = ("value", "healthy", "cause", "found", "score", "since")


def box(high: float = 1.0) -> InputBox:
    """The score is |x| / high."""
    return InputBox().fit(torch.tensor([[-high], [high]], dtype=torch.float64))


class Spoiled(Block):
    """y = u, but NaN for NAN and infinite for INF, which no input of a run may be."""

    u = Input()

    @output
    def y(self, u):
        return torch.where(u == NAN, torch.nan, torch.where(u == INF, torch.inf, u))


class Watched(Diagram):
    """A monitor whose every input comes from outside, one number each."""

    x, result, fallback, captured = Input(default=0.0), Input(default=0.0), Input(default=NAN), Input(default=1e9)
    ok, rearm = Input(default=1.0), Input(default=0.0)
    value, healthy, cause, found, score, since = Output(), Output(), Output(), Output(), Output(), Output()

    def __init__(self, scorer: Any = None, **options: Any) -> None:
        self.monitor = Monitor(scorer, **{"period": 1, **options})
        self.spoilt = [Spoiled(period=1) for _ in range(3)]
        for one, source in zip(self.spoilt, (self.x, self.result, self.fallback), strict=True):
            one.u = source
        self.monitor.inputs = [self.spoilt[0].y]
        self.monitor.result, self.monitor.fallback = self.spoilt[1].y, self.spoilt[2].y
        self.monitor.captured, self.monitor.ok, self.monitor.rearm = self.captured, self.ok > 0.5, self.rearm > 0.5
        for name in SHOWN:
            setattr(self, name, getattr(self.monitor, name))


def played(model: Watched, engine: str = "torch", set: Any = None, **signals: Any) -> dict[str, Tensor]:
    """The monitor's outputs (lanes, ticks) for signals (ticks,) or (lanes, ticks), one sample a second."""
    given = {
        name: torch.as_tensor(values, dtype=torch.float64).nan_to_num(nan=NAN, posinf=INF)
        for name, values in signals.items()
    }
    length = max(values.shape[-1] for values in given.values())
    times = torch.arange(length, dtype=torch.float64)
    inputs = {name: (times, values) for name, values in given.items()}
    run = simulate(model, length - 1, inputs=inputs, set=set, engine=engine)
    assert not run.status, run.status
    return {name: run[name].values for name in SHOWN}


def expected(x: Any, result: Any, fallback: Any, captured: Any, ok: Any, rearm: Any, **p: Any) -> dict[str, list[Any]]:
    """One lane, from the words of the docstring alone."""
    tripped, begun, bad, last, before, gap, left_at = False, False, 0, 0.0, 0.0, 0.0, -1
    trip_at, sound_since, causes = 0, 0, 0
    past: list[float] = []
    out: dict[str, list[Any]] = {name: [] for name in SHOWN}
    for k, y in enumerate(result):
        score = abs(x[k])
        found = 0
        if not math.isfinite(y) or not math.isfinite(x[k]):
            found |= 1
        score = score if math.isfinite(score) else 1e30
        if score > p["box"]:
            found |= 2
        if score > (p["threshold"] - p["hysteresis"] if tripped else p["threshold"]):
            found |= 4
        if y < p["low"] or y > p["high"]:
            found |= 8
        if begun and abs(y - before) > p["slope"]:
            found |= 16
        if k - captured[k] > p["oldest"]:
            found |= 32
        if not ok[k]:
            found |= 64
        bad = bad + 1 if found else 0
        if found:
            sound_since = k
        was, trips, back = tripped, False, False
        if not tripped and (found & (1 | 32 | 64) or bad >= p["trip"]):
            tripped, trips, trip_at, causes = True, True, k, found
        elif tripped and not found and k - sound_since >= p["release"] and (rearm[k] or not p["latch"]):
            tripped, back = False, True
        elif tripped:
            causes |= found
        difference = y - fallback[k]
        newest = difference if math.isfinite(difference) else past[-1] if past else 0.0
        oldest = past[0] if past else 0.0
        if back or not begun:
            past = [newest] * max(1, p["lookback"])
        elif not tripped:
            past = [*past[1:], newest]
        target = fallback[k] if tripped else y
        if trips or back:
            gap = (oldest if trips and p["lookback"] else last - target) if begun else 0.0
            left_at = k
        gap = gap if math.isfinite(gap) else 0.0
        moved = k - left_at + 1
        blend = p["blend"] if tripped else p["blend_back"]
        fade = 0.0 if blend == 0 else max(0.0, 1 - moved / blend)
        rest = max(abs(gap) * fade, max(0.0, abs(gap) - p["slew"] * moved))
        value = target + math.copysign(rest, gap)
        value = value if math.isfinite(value) else last
        since = k - trip_at if tripped and was else 0
        for name, one in zip(SHOWN, (value, not tripped, causes if tripped else 0, found, score, since), strict=True):
            out[name].append(one)
        last = value
        if math.isfinite(y):
            begun, before = True, y
    return out


NORMAL = dict(
    threshold=1.5, hysteresis=0.5, trip=2, release=3, low=-5.0, high=5.0, slope=3.0, oldest=4.0, blend=0.0,
    blend_back=0.0, slew=math.inf,
)  # fmt: skip


def monitor_of(latch: bool = False, lookback: int = 0, **parameters: Any) -> Watched:
    return Watched(box(), box=box(1.8), latch=latch, lookback=lookback, **{**NORMAL, **parameters})


number = st.floats(-4.0, 4.0).map(lambda v: round(v, 3))
sample = st.one_of(number, number, number, st.just(math.nan), st.sampled_from([9.0, -9.0, math.inf]))
tick_of = st.fixed_dictionaries({
    "x": st.sampled_from([0.0, 0.5, 0.9, 1.2, 1.6, 2.0, math.nan]), "result": sample,
    "fallback": st.one_of(number, number, st.just(math.nan)), "age": st.sampled_from([0, 0, 0, 0, 3, 9]),
    "ok": st.sampled_from([1.0, 1.0, 1.0, 0.0]), "rearm": st.sampled_from([0.0, 1.0]),
})  # fmt: skip
parameters_of = st.fixed_dictionaries({
    "trip": st.integers(1, 4), "release": st.integers(0, 4), "blend": st.sampled_from([0.0, 3.0, math.inf]),
    "blend_back": st.sampled_from([0.0, 4.0]), "slew": st.sampled_from([math.inf, 0.5, 0.0]),
    "hysteresis": st.sampled_from([0.0, 0.5]),
})  # fmt: skip


def signals_of(ticks: list[dict[str, float]]) -> dict[str, list[float]]:
    made = {name: [one[name] for one in ticks] for name in ticks[0]}
    made["captured"] = [k - age for k, age in enumerate(made.pop("age"))]
    return made


@given(st.lists(tick_of, min_size=2, max_size=25), parameters_of, st.booleans(), st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_it_is_the_state_machine_that_it_says(
    ticks: list[dict[str, float]], parameters: dict[str, Any], latch: bool, lookback: int
) -> None:
    signals = signals_of(ticks)
    found = played(monitor_of(latch, lookback, **parameters), **signals)
    wanted = expected(**signals, **{**NORMAL, **parameters}, latch=latch, lookback=lookback, box=1.8)
    for name in SHOWN:
        assert found[name][0].tolist() == pytest.approx(wanted[name], rel=1e-9, abs=1e-9), name


def random_signals(lanes: int, length: int, seed: int = 0) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)

    def uniform() -> Tensor:
        return torch.rand(lanes, length, generator=g, dtype=torch.float64)

    result = (2.0 * uniform() - 1.0).cumsum(1)
    result = torch.where(uniform() < 0.03, torch.nan, result)
    fallback = torch.where(uniform() < 0.05, torch.nan, result.nan_to_num() + 1)
    return {
        "x": 2.0 * uniform() ** 3, "result": result, "fallback": fallback,
        "captured": torch.arange(length) - torch.where(uniform() < 0.03, 9.0, 0.0), "ok": (uniform() > 0.03).double(),
        "rearm": (uniform() > 0.7).double(),
    }  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("latch, lookback", [(False, 0), (True, 2)])
def test_many_lanes_with_parameters_of_their_own(engine: str, latch: bool, lookback: int) -> None:
    model, signals = monitor_of(latch, lookback, blend=4.0, slew=2.0), random_signals(13, 60)
    trips = torch.arange(13) % 4 + 1.0
    found = played(model, engine, set={model.monitor.trip: trips}, **signals)
    healthy = found["healthy"].double().mean()
    assert 0.05 < healthy < 0.95
    for lane in range(13):
        own = {name: values[lane].tolist() for name, values in signals.items()}
        parameters = {**NORMAL, "trip": float(trips[lane]), "blend": 4.0, "slew": 2.0}
        wanted = expected(**own, **parameters, latch=latch, lookback=lookback, box=1.8)
        for name in SHOWN:
            assert found[name][lane].tolist() == pytest.approx(wanted[name], rel=1e-9, abs=1e-9), (lane, name)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_lane_alone_is_the_lane_in_the_batch(engine: str) -> None:
    rows = torch.randn(200, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for scorer in (Mahalanobis().fit(rows), KNN(bank=32).fit(rows), Energy().fit(rows)):
        model, signals = Watched(scorer, threshold=1.2, trip=2, blend=3.0, lookback=2), random_signals(9, 40)
        batch = played(model, engine, **signals)
        for lane in (0, 5, 8):
            alone = played(model, engine, **{name: values[lane : lane + 1] for name, values in signals.items()})
            assert all(torch.equal(alone[name][0], batch[name][lane]) for name in SHOWN)


class TestHysteresis:
    @given(st.lists(st.floats(0, 3), min_size=2, max_size=30), st.integers(1, 4), st.integers(0, 4))
    @settings(max_examples=60, deadline=None)
    def test_no_trip_without_a_row_of_findings_and_no_release_without_a_quiet_time(
        self, x: list[float], trip: int, release: int
    ) -> None:
        model = Watched(box(), threshold=1.5, hysteresis=0.5, trip=trip, release=release)
        healthy = played(model, x=x, result=[0.0] * len(x))["healthy"][0].tolist()
        before = True
        for k, now in enumerate(healthy):
            if before and not now:
                assert k + 1 >= trip and all(v > 1.5 for v in x[k + 1 - trip : k + 1])
            if now and not before:
                assert all(v <= 1.0 for v in x[k - max(release, 1) + 1 : k + 1])
            if not before and not now:
                assert x[k] > 1.0 or any(v > 1.0 for v in x[max(0, k - release + 1) : k + 1])
            before = now

    def test_more_patience_never_alarms_more(self) -> None:
        x = random_signals(40, 80)["x"]
        alarms = [
            int((~played(Watched(box(), threshold=1.0, trip=n), x=x, result=torch.zeros(80))["healthy"]).sum())
            for n in (1, 2, 3, 5)
        ]
        assert alarms == sorted(alarms, reverse=True) and alarms[0] > alarms[-1]

    def test_a_score_between_the_levels_keeps_what_there_was(self) -> None:
        x = [0.0, 1.2, 1.6, 1.2, 1.2, 0.9, 1.2]
        healthy = played(Watched(box(), threshold=1.5, hysteresis=0.5), x=x, result=[0.0] * 7)["healthy"]
        assert healthy[0].tolist() == [1, 1, 0, 0, 0, 1, 1]


class TestFallback:
    def test_without_a_fallback_the_last_value_stays(self) -> None:
        found = played(Watched(high=5.0), result=[1.0, 2.0, 9.0, 9.0, 3.0])
        assert found["value"][0].tolist() == [1.0, 2.0, 2.0, 2.0, 3.0]

    def test_nan_is_never_let_through(self) -> None:
        found = played(Watched(trip=9), result=[math.nan, 1.0, math.nan, 2.0], fallback=[math.nan, 7.0, 7.0, math.nan])
        assert found["value"][0].tolist() == [0.0, 1.0, 7.0, 2.0]
        assert found["healthy"][0].tolist() == [0, 1, 0, 1]
        assert found["found"][0].tolist() == [Cause.NAN, 0, Cause.NAN, 0]

    def test_a_bumpless_switch_goes_on_from_the_last_trusted_value(self) -> None:
        # A counter that is 10 too low, of the same slope: with blend=inf nothing but the fault is left out.
        result, fallback = [10.0, 11.0, 99.0, 99.0, 99.0], [0.0, 1.0, 2.0, 3.0, 4.0]
        found = played(Watched(high=50.0, blend=math.inf, lookback=1), result=result, fallback=fallback)
        assert found["value"][0].tolist() == [10.0, 11.0, 12.0, 13.0, 14.0]

    def test_lookback_forgets_what_came_just_before_the_trip(self) -> None:
        result = [10.0, 10.0, 10.0, 13.0, 14.0, 99.0]  # misled two ticks before it was noticed
        found = played(Watched(high=50.0, blend=math.inf, lookback=3), result=result, fallback=[0.0] * 6)
        assert found["value"][0].tolist() == [10.0, 10.0, 10.0, 13.0, 14.0, 10.0]

    @given(st.floats(0.1, 2.0), st.floats(-9.0, 9.0))
    @settings(max_examples=40, deadline=None)
    def test_slew_bounds_every_step_of_the_value(self, slew: float, other: float) -> None:
        x = [0.0] * 3 + [2.0] * 20 + [0.0] * 20
        found = played(Watched(box(), threshold=1.0, slew=slew), x=x, result=[5.0] * 43, fallback=[other] * 43)
        steps = found["value"][0].diff().abs()
        assert float(steps.max()) <= slew + 1e-12
        assert found["healthy"][0].sum() == 23

    def test_blend_is_linear_and_ends(self) -> None:
        x = [0.0, 2.0, 2.0, 2.0, 2.0, 2.0]
        found = played(Watched(box(), threshold=1.0, blend=4.0), x=x, result=[8.0] * 6, fallback=[0.0] * 6)
        assert found["value"][0].tolist() == [8.0, 6.0, 4.0, 2.0, 0.0, 0.0]

    def test_a_latched_monitor_waits_for_rearm(self) -> None:
        x, rearm = [0.0, 2.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 1.0, 0.0]
        found = played(Watched(box(), threshold=1.0, latch=True), x=x, result=[0.0] * 6, rearm=rearm)
        assert found["healthy"][0].tolist() == [1, 0, 0, 0, 1, 1]


class TestAge:
    @given(st.integers(0, 12), st.lists(st.booleans(), min_size=3, max_size=25))
    @settings(max_examples=40, deadline=None)
    def test_it_trips_exactly_when_the_result_is_older_than_allowed(self, oldest: int, arrives: list[bool]) -> None:
        captured, last = [], 0
        for k, new in enumerate(arrives):
            last = k if new else last
            captured.append(float(last))
        found = played(Watched(oldest=oldest), captured=captured, result=[0.0] * len(arrives))
        assert found["healthy"][0].tolist() == [k - c <= oldest for k, c in enumerate(captured)]

    def test_the_age_itself_may_be_wired(self) -> None:
        class Aged(Diagram):
            age, healthy = Input(), Output()

            def __init__(self) -> None:
                self.monitor = Monitor(oldest=0.5, period=1)
                self.monitor.inputs, self.monitor.result, self.monitor.age = [self.age], 0.0, self.age
                self.healthy = self.monitor.healthy

        run = simulate(Aged(), 2, inputs={"age": ([0.0, 1.0, 2.0], [0.5, 0.6, 0.1])})
        assert run["healthy"].values[0].tolist() == [1, 0, 1]


class Drifting(Block):
    """x = t, and b = -t: a network leaves its box after a second."""

    x, b = Output(), Output()
    n = State(0.0)

    @tick
    def step(self, n):
        return dict(n=n + 1, x=n, b=-n)


class Loop(Diagram):
    """Whatever maps x and b to y, fed by Drifting."""

    y, healthy, cause = Output(), Output(), Output()

    def __init__(self, inside: Any) -> None:
        self.source, self.inside = Drifting(period=1), inside
        self.inside.x, self.inside.b = self.source.x, self.source.b
        self.y, self.healthy, self.cause = self.inside.y, self.inside.healthy, self.inside.cause


class Copy(Block):
    x, y = Input(), Output()

    @tick
    def step(self, x):
        return dict(y=-x)


def net(**options: Any) -> Network:
    torch.manual_seed(0)
    return Network(nn.Linear(2, 1), inputs=("x", "b"), outputs=("y",), **{"period": 1, **options})


def two() -> InputBox:
    return InputBox().fit(torch.tensor([[0.0, 0.0], [1.0, -1.0]]))


def three() -> InputBox:
    return InputBox().fit(torch.tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 2.0]]))


class TestAround:
    @pytest.mark.parametrize("engine", ENGINES)
    def test_a_network_a_monitor_and_a_fallback_in_one_line(self, engine: str) -> None:
        made = Monitor.around(net(), Copy(period=1), box=two())
        assert list(type(made).declared()) == ["x", "b", "y", "healthy", "score", "cause", "since"]
        run = simulate(Loop(made), 3, engine=engine, record=["y", "healthy", "cause", "inside.network.y"])
        inside = run["inside.network.y"].values[0]
        assert run["healthy"].values[0].tolist() == [1, 1, 0, 0]
        assert run["y"].values[0].tolist() == pytest.approx([*inside[:2].tolist(), -2.0, -3.0])
        assert run["cause"].values[0].tolist() == [0, 0, Cause.BOX, Cause.BOX]

    def test_copies_and_pickles_are_the_same_diagram(self) -> None:
        loop = Loop(Monitor.around(net(), Copy(period=1), box=two()))
        wanted = simulate(loop, 3)["y"].values
        for other in (copy.deepcopy(loop), pickle.loads(pickle.dumps(loop))):
            assert torch.equal(simulate(other, 3)["y"].values, wanted)

    def test_it_fits_the_slot_that_its_network_fits(self) -> None:
        slot = Slot("net", {"x": Input(), "b": Input()}, {"y": Output()}, period=1)

        class Stock(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.source, self.place = Drifting(period=1), slot.place(Copy(period=1))
                self.place.x, self.place.b = self.source.x, self.source.b
                self.y = self.place.y

        made = swap(Stock(), net=Monitor.around(net(), Copy(period=1), box=two()))
        assert simulate(made, 3)["y"].values[0, 2:].tolist() == [-2.0, -3.0]

    def test_several_outputs_are_checked_and_replaced_together(self) -> None:
        network = Network(nn.Linear(2, 2), inputs=("x", "b"), outputs=("u", "v"), period=1)
        made = Monitor.around(network, 7.0, box=two())

        class Both(Diagram):
            u, v = Output(), Output()

            def __init__(self) -> None:
                self.source, self.inside = Drifting(period=1), made
                self.inside.x, self.inside.b = self.source.x, self.source.b
                self.u, self.v = self.inside.u, self.inside.v

        run = simulate(Both(), 2)
        assert run["u"].values[0, 2] == run["v"].values[0, 2] == 7.0 != run["u"].values[0, 1]

    def test_activations_and_hidden_states_may_be_watched(self) -> None:
        module = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        network = Network(module, inputs=("x", "b"), outputs=("y",), period=1, activations=("1",))
        scorer = InputBox().fit(torch.tensor([[-0.9] * 3, [0.9] * 3]))
        run = simulate(Loop(Monitor.around(network, 0.0, box=scorer, watch=("layer_1",))), 30)
        assert run["healthy"].values[0, 0] == 1 and run["healthy"].values[0, -1] == 0

        recurrent = Recurrent(nn.GRU(2, 4, batch_first=True), head=nn.Linear(4, 1), inputs=("x", "b"), outputs=("y",),
                              period=1, warmup=5)  # fmt: skip
        scorer = InputBox().fit(torch.tensor([[-1.0] * 4, [1.0] * 4]))
        run = simulate(Loop(Monitor.around(recurrent, -1.0, box=scorer, watch=("h",))), 8)
        assert run["healthy"].values[0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]  # the network's own `ok`
        assert run["y"].values[0, :5].tolist() == [-1.0] * 5 and run["cause"].values[0, 0] == Cause.NOT_OK

    @pytest.mark.parametrize("make, text", [
        (lambda: Monitor.around(net(), watch=("z",)), "no port 'z'"),
        (lambda: Monitor.around(net(), outputs=("z",)), "no output 'z'"),
        (lambda: Monitor.around(net(), Drifting(period=1)), "the fallback has no output y"),
        (lambda: Monitor.around(Loop(Monitor.around(net()))), "wire a Monitor by hand"),
        (lambda: Monitor.around(Network(nn.Linear(2, 1), inputs=("x", "b"), outputs=("score",), period=1)),
         "two ports of one name"),
        (lambda: Monitor(Mahalanobis(), period=1), "a fitted scorer"),
        (lambda: Monitor(Mahalanobis().fit(torch.randn(9, 2)), period=1), "without a threshold"),
        (lambda: Monitor(lookback=-1, period=1), "a whole number of ticks"),
        (lambda: Monitor(trip=0, period=1), "at least 1"),
        (lambda: Monitor(treshold=1.0, period=1), "did you mean: threshold"),
    ])  # fmt: skip
    def test_errors_say_what_to_do(self, make: Any, text: str) -> None:
        with pytest.raises(SimdlError, match=text):
            make()

    @pytest.mark.parametrize("make, texts", [
        (lambda: Monitor(scorer=three(), box=two(), period=1), ("a scorer of 3 features and a box of 2",)),
        (lambda: Monitor.around(net(), scorer=three()), ("rows of 2 features", "expected: 3,")),
        (lambda: Monitor.around(net(), box=three()), ("rows of 2 features", "expected: 3,", "the box InputBox")),
        (lambda: Monitor.around(net(), box=two(), watch=("x",)), ("rows of 1 features", "expected: 2,")),
        (lambda: Monitor.around(Network(nn.Linear(2, 1), period=1), box=three()), ("rows of 2 features", "3,")),
        (lambda: Monitor(low=1.0, high=-1.0, period=1), ("low=1.0 above high=-1.0", "low <= high", "fix:")),
        (lambda: Monitor(low=torch.tensor([0.0, 2.0]), high=1.0, period=1), ("low <= high",)),
        (lambda: Monitor(low=[0.0, 2.0], high=1.0, period=1), ("low=[0.0, 2.0] above high=1.0",)),
        (lambda: Monitor(low=[0.0, 2.0], high=[1.0] * 3, period=1), ("low of shape (2,), high of shape (3,)",)),
        (lambda: Monitor(hysteresis=-0.1, period=1), ("hysteresis=-0.1", "zero or more", "fix:")),
        (lambda: Monitor(hysteresis=math.nan, period=1), ("hysteresis=nan", "zero or more")),
        (lambda: Monitor(hysteresis=math.inf, period=1), ("hysteresis=inf", "a finite number")),
        (lambda: Monitor(box(), hysteresis=1.5, period=1), ("hysteresis=1.5 above threshold=1.0", "at most")),
        (lambda: Monitor.around(net(), math.nan), ("fallback: nan", "a finite number", "fix:")),
        (lambda: Monitor.around(net(), math.inf), ("fallback: inf",)),
        (lambda: Monitor.around(net(), "abc"), ("fallback: 'abc'", "a block, a finite number, or None", "fix:")),
    ])  # fmt: skip
    def test_nonsense_is_refused_when_it_is_made(self, make: Any, texts: tuple[str, ...]) -> None:
        with pytest.raises(NetworkError) as error:
            make()
        assert all(text in str(error.value) for text in texts), error.value

    def test_a_wired_row_of_another_width_is_refused(self) -> None:
        class Wired(Diagram):
            value, x = Output(), Input(shape=(3,))

            def __init__(self) -> None:
                self.monitor = Monitor(box=two(), period=1)
                self.monitor.inputs, self.monitor.result = [self.x], 1.0
                self.value = self.monitor.value

        with pytest.raises(NetworkError, match="monitor.inputs: rows of 3 features\n.*expected: 2, "):
            Wired()

    @pytest.mark.parametrize("engine", ENGINES)
    def test_a_row_whose_width_is_open_is_refused_when_it_is_known(self, engine: str) -> None:
        class Wired(Diagram):
            value, x = Output(), Input()

            def __init__(self) -> None:
                self.monitor = Monitor(box=two(), period=1)
                self.monitor.inputs, self.monitor.result = [self.x * 1.0], 1.0
                self.value = self.monitor.value

        with pytest.raises(SimdlError, match="monitor.inputs: rows of 1 features\n.*expected: 2, "):
            simulate(Wired(), 1, inputs={"x": 0.0}, engine=engine)

    def test_a_finite_fallback_is_asked_for_where_one_is_wired(self) -> None:
        class Wired(Diagram):
            def __init__(self) -> None:
                self.monitor = Monitor(period=1)
                self.monitor.fallback = math.nan

        with pytest.raises(NetworkError, match="monitor.fallback: nan"):
            Wired()

    def test_a_pickle_holds_no_compiled_model(self) -> None:
        loop = Loop(Monitor.around(net(), Copy(period=1), box=two()))
        vars(loop.inside)["_compiled"] = lambda: None  # as a run of it alone leaves one
        assert "_compiled" not in vars(pickle.loads(pickle.dumps(loop)).inside)

    def test_any_python_model_may_be_watched(self) -> None:
        model = Callback(lambda: None, predict=lambda _, x: x[:, :1], inputs=("x", "b"), outputs=("y",), period=1)
        run = simulate(Loop(Monitor.around(model, 0.5, high=1.0)), 3)
        assert run["y"].values[0].tolist() == [0.0, 1.0, 0.5, 0.5]


def test_a_vector_result_is_checked_in_every_element() -> None:
    class Vector(Diagram):
        value, cause = Output(), Output()

        def __init__(self) -> None:
            self.source = Drifting(period=1)
            self.monitor = Monitor(low=[-9.0, -1.5], high=9.0, slope=[9.0, 0.5], start=[0.0, 0.0], period=1)
            from simdl import stack

            both = stack(self.source.x, self.source.b)
            self.monitor.inputs, self.monitor.result, self.monitor.fallback = [self.source.x], both, both * 0.5
            self.value, self.cause = self.monitor.value, self.monitor.cause

    run = simulate(Vector(), 2)
    assert run["cause"].values[0].tolist() == [0, Cause.SLOPE, Cause.SLOPE | Cause.BOUNDS]
    assert run["value"].values[0].tolist() == [[0.0, 0.0], [0.5, -0.5], [1.0, -1.0]]


def test_gradients_pass_through_a_healthy_monitor() -> None:
    network = net()
    run = simulate(Loop(Monitor.around(network, 0.0, box=InputBox().fit(torch.tensor([[-9.0, -9.0], [9.0, 9.0]])))), 3,
                   grad=True)  # fmt: skip
    run["y"].values.sum().backward()
    weight = network.module.weight.grad
    assert weight is not None and weight.flatten().tolist() == [6.0, -6.0]


def test_a_network_of_nan_does_not_fail_the_lane() -> None:
    module = nn.Linear(2, 1)
    nn.init.constant_(module.weight, math.nan)
    network = Network(module, inputs=("x", "b"), outputs=("y",), period=1)
    run = simulate(Loop(Monitor.around(network, 3.0)), 2)
    assert not run.status and run["y"].values[0].tolist() == [3.0, 3.0, 3.0]
    with pytest.raises(NetworkError):
        Monitor.around(network, 3.0, scorer=Energy(), period=1)
