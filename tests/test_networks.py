"""Networks as blocks: named ports, casts at the ports, exactness, windows, rates, and errors that say what to do."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from simdl import Block, Diagram, Input, Output, Param, Simulator, State, derivative, simulate, tick
from simdl.errors import NetworkError, ProbeError, SimdlError
from simdl.networks import Callback, Network, Window
from simdl.networks.call import LANES, LARGER, Call


def mlp(*widths: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b), nn.Tanh()]
    return nn.Sequential(*layers[:-1]).to(dtype)


def rows(lanes: int, features: int, seed: int = 1) -> Tensor:
    return torch.randn(lanes, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Integrator(Block):
    u = Input()
    x = State(1.0)
    gain: Param = Param(1.0)

    @derivative(x)
    def motion(self, u, gain):
        return gain * u


class Held(Diagram):
    """A network as the controller of x' = u."""

    y = Output()

    def __init__(self, module: nn.Module, **options: Any) -> None:
        self.plant = Integrator()
        self.net = Network(module, inputs=("x",), outputs=("u",), **{"period": "100 ms", **options})
        self.net.x = self.plant.x
        self.plant.u = self.net.u
        self.y = self.plant.x


# -- what it computes -------------------------------------------------------------------------------------------------


def test_columns_are_the_inputs_in_their_order_and_outputs_are_split_by_name() -> None:
    module = nn.Linear(3, 2).double()
    net = Network(module, inputs=("a", "b", "c"), outputs=("p", "q"), period="1 s")
    x = rows(5, 3)
    found = net.step(*x.unbind(1))
    assert torch.allclose(torch.stack((found["p"], found["q"]), 1), module(x), rtol=1e-13, atol=1e-15)


def test_module_runs_in_its_own_type_and_outputs_in_that_of_the_run() -> None:
    seen: list[torch.dtype] = []
    module = nn.Linear(1, 1)
    module.register_forward_pre_hook(lambda part, args: seen.append(args[0].dtype))
    net = Network(module, inputs=("x",), outputs=("y",), period="1 s")
    for dtype in (torch.float64, torch.float32):
        assert net.step(torch.ones(2, dtype=dtype))["y"].dtype == dtype
    assert set(seen) == {torch.float32}


def test_closed_loop_of_a_linear_network_has_its_closed_form() -> None:
    """u = -k x held over T gives x(nT) = (1 - k T)^n."""
    module = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(module.weight, -2.0)
    run = simulate(Held(module), until=1.0)
    assert abs(float(run.final["plant.x"][0]) - 0.8**10) < 1e-14


def test_network_is_evaluated_at_ticks_only() -> None:
    calls: list[int] = []
    module = nn.Linear(1, 1)
    model = Held(module)
    simulator = Simulator(model)
    simulator.step()
    module.register_forward_hook(lambda *_: calls.append(1))
    simulator.run_until(1.0)
    assert len(calls) == 10  # t = 0.1 … 1.0; forty Runge-Kutta steps with four stages lie between


def test_array_input_is_given_as_it_is() -> None:
    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 4 * 4, 1))
    net = Network(module, inputs={"image": Input(shape=(3, 6, 6), dtype="uint8")}, outputs=("y",), period="1 s")
    image = torch.randint(0, 255, (4, 3, 6, 6), dtype=torch.uint8)
    assert torch.allclose(net.step(image)["y"], module(image.float())[:, 0].double(), rtol=1e-5)


def test_vector_inputs_and_outputs_are_concatenated_and_cut() -> None:
    module = nn.Linear(4, 3).double()
    net = Network(
        module, inputs={"v": Input(shape=(3,)), "i": Input(shape=())},
        outputs={"soc": Output(shape=()), "limits": Output(shape=(2,))}, period="1 s",
    )  # fmt: skip
    v, i = rows(6, 3), rows(6, 1, 2)[:, 0]
    found, wanted = net.step(v, i), module(torch.cat((v, i[:, None]), 1))
    assert torch.allclose(found["soc"], wanted[:, 0]) and torch.allclose(found["limits"], wanted[:, 1:])


def test_outputs_may_be_a_tuple_or_a_dict_by_name() -> None:
    class Two(nn.Module):
        def __init__(self, named: bool) -> None:
            super().__init__()
            self.named = named

        def forward(self, x: Tensor) -> Any:
            low, high = x.amin(1), x.amax(1)
            return {"high": high, "low": low} if self.named else (low, high)

    for named in (False, True):
        found = Network(Two(named), inputs=("a", "b"), outputs=("low", "high"), period="1 s").step(
            torch.tensor([1.0, 5.0]), torch.tensor([2.0, 4.0])
        )
        assert found["low"].tolist() == [1.0, 4.0] and found["high"].tolist() == [2.0, 5.0]


def test_arguments_of_forward_name_the_ports() -> None:
    class Physics(nn.Module):
        def forward(self, voltage: Tensor, current: Tensor) -> Tensor:
            return voltage * current

    net = Network(Physics(), outputs=("power",), period="1 s")
    assert [n for n, d in type(net).declared().items() if isinstance(d, Input)] == ["voltage", "current"]
    assert net.step(torch.tensor([3.0]), torch.tensor([2.0]))["power"].tolist() == [6.0]


def test_typed_form_declares_its_ports() -> None:
    class Sensor(Network):
        """State of charge from voltage and current."""

        voltage = Input(unit="V")
        current = Input(unit="A")
        soc = Output()

    sensor = Sensor(mlp(2, 8, 1), period="10 s")
    assert (sensor.voltage.unit, sensor.soc.path, str(sensor.clock)) == ("V", "soc", "10 s")
    assert type(sensor).__name__ == "Sensor" and isinstance(sensor, Sensor)
    assert Sensor(mlp(2, 4, 1), period="1 s").step(torch.zeros(2), torch.zeros(2))["soc"].shape == (2,)


def test_activations_are_ports() -> None:
    module = mlp(2, 5, 1)
    net = Network(module, inputs=("a", "b"), outputs=("y",), period="1 s", activations=("1",))
    x = rows(40, 2)
    found = net.step(*x.unbind(1))["layer_1"]
    assert found.shape == (40, 5)
    assert torch.allclose(found, module[1](module[0](x.float())).double(), atol=1e-6)
    assert not module[1]._forward_hooks


def test_module_is_in_evaluation_mode_during_the_call_only() -> None:
    module = nn.Sequential(nn.Linear(2, 64), nn.Dropout(0.5), nn.Linear(64, 1))
    module[0].eval()
    net = Network(module, inputs=("a", "b"), outputs=("y",), period="1 s")
    x = rows(3, 2)
    assert torch.equal(net.step(*x.unbind(1))["y"], net.step(*x.unbind(1))["y"])
    assert [part.training for part in module] == [False, True, True] and module.training


def test_module_is_put_back_when_it_fails() -> None:
    class Bad(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.abs().max() > 1:
                raise RuntimeError("too much")
            return x

    module = Bad()
    net = Network(module, inputs=("x",), outputs=("y",), period="1 s")
    with pytest.raises(RuntimeError, match="too much"):
        net.step(torch.tensor([2.0]))
    assert module.training


def test_gradients_reach_weights_and_inputs_and_no_padded_row_adds_to_them() -> None:
    module = mlp(2, 7, 1, dtype=torch.float64)
    net = Network(module, inputs=("a", "b"), outputs=("y",), period="1 s")
    x = rows(3, 2).requires_grad_()
    net.step(*x.unbind(1))["y"].sum().backward()
    found = [p.grad.clone() for p in (*module.parameters(), x)]
    module.zero_grad()
    y = x.detach().requires_grad_()
    module(y).sum().backward()
    for a, b in zip(found, [p.grad for p in (*module.parameters(), y)]):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-15)


def test_weights_trained_through_the_loop_get_the_gradient_of_the_closed_form() -> None:
    module = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(module.weight, -2.0)
    run = simulate(Held(module), until=1.0, grad=True)
    run.final["plant.x"].sum().backward()
    assert abs(float(module.weight.grad) - 10 * 0.8**9 * 0.1) < 1e-12  # d/dw (1 + w T)^10


def test_a_module_swapped_in_place_is_used_at_once() -> None:
    module = nn.Linear(1, 1)
    net = Network(module, inputs=("x",), outputs=("y",), period="1 s")
    before = net.step(torch.ones(1))["y"]
    with torch.no_grad():
        module.bias += 1.0
    assert float((net.step(torch.ones(1))["y"] - before).detach()) == pytest.approx(1.0, abs=1e-6)


# -- exact ------------------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    features=st.integers(1, 20), hidden=st.integers(1, 40), outputs=st.integers(1, 3), lanes=st.integers(1, 150),
    double=st.booleans(), data=st.data(),
)  # fmt: skip
def test_a_lane_alone_equals_the_lane_in_the_batch(
    features: int, hidden: int, outputs: int, lanes: int, double: bool, data: st.DataObject
) -> None:  # fmt: skip
    module = mlp(features, hidden, hidden, outputs, dtype=torch.float64 if double else torch.float32)
    names = tuple(f"y{i}" for i in range(outputs))
    net = Network(module, inputs={"x": Input(shape=(features,))}, outputs=names, period="1 s")
    x = rows(lanes, features)
    batch = net.step(x)
    picked = data.draw(st.lists(st.integers(0, lanes - 1), min_size=1, max_size=5, unique=True))
    some = net.step(x[picked])
    for place, lane in enumerate(picked):
        alone = net.step(x[lane : lane + 1])
        for name in names:
            assert torch.equal(alone[name][0], batch[name][lane]) and torch.equal(some[name][place], batch[name][lane])


def test_a_lane_alone_equals_the_lane_in_the_campaign_through_the_loop() -> None:
    model = Held(mlp(1, 33, 33, 1))
    gains = torch.linspace(-1, 1, 70, dtype=torch.float64)
    batch = simulate(model, until=2.0, set={"plant.gain": gains}).final["plant.x"]
    assert batch.unique().numel() == 70
    for lane in (0, 31, 37, 69):
        alone = simulate(model, until=2.0, set={"plant.gain": gains[lane : lane + 1]}).final["plant.x"]
        assert torch.equal(batch[lane], alone[0])


def test_calls_of_exact_mode_have_a_few_fixed_numbers_of_rows() -> None:
    sizes: list[int] = []
    module = nn.Linear(2, 1)
    net = Network(module, inputs=("a", "b"), outputs=("y",), period="1 s")
    net.step(*rows(2000, 2).unbind(1))  # measures
    module.register_forward_pre_hook(lambda part, args: sizes.append(args[0].shape[0]))
    for lanes in (1, 31, 32, 33, 100, 3000):
        assert net.step(*rows(lanes, 2).unbind(1))["y"].shape == (lanes,)
    assert set(sizes) <= {LANES, *LARGER} and sizes[:4] == [LANES] * 4


def test_larger_calls_are_used_only_where_they_give_the_same_bits() -> None:
    def body(bad: int) -> Any:
        return lambda x: (x * (1.0 + 1e-6 * (x.shape[0] == bad)),)

    x = rows(3000, 3)
    for bad in (LARGER[0], LARGER[1]):
        sizes: list[int] = []
        call = Call(body(bad), nn.Identity())
        inner = call.body
        call(x)
        call.body = lambda x, inner=inner, sizes=sizes: (sizes.append(x.shape[0]), *inner(x))[1:]
        assert torch.equal(call(x)[0], x) and bad not in sizes and len(sizes) < 3000 / LANES


def test_chunk_bounds_the_lanes_of_a_call() -> None:
    sizes: list[int] = []
    module = nn.Linear(2, 1)
    module.register_forward_pre_hook(lambda part, args: sizes.append(args[0].shape[0]))
    for mode in ("exact", "fast"):
        net = Network(module, inputs=("a", "b"), outputs=("y",), period="1 s", mode=mode, chunk=10)
        x = rows(25, 2)
        sizes.clear()
        found = net.step(*x.unbind(1))["y"]
        assert max(sizes) == 10
        assert torch.allclose(found, module(x.float())[:, 0].double(), atol=1e-6)


def test_a_body_whose_rows_never_agree_is_called_lane_by_lane() -> None:
    """A stand-in for a kernel whose result depends on the row: then only single rows are the same in any batch."""
    module = nn.Identity()
    call = Call(lambda x: (x + torch.arange(x.shape[0], dtype=x.dtype)[:, None],), module)
    x = rows(5, 3)
    assert torch.equal(call(x)[0], x)


def test_batch_statistics_are_refused_by_the_probe() -> None:
    module = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    with pytest.raises(SimdlError):
        simulate(Held(module, train=True, mode="fast"), until=0.2)


@pytest.mark.parametrize("window", [None, Window(3, hop=2, fill="hold", flat=True)])
def test_a_network_can_be_recorded_as_a_graph_for_any_number_of_lanes(window: Window | None) -> None:
    """What the native engine does: no guard on the number of lanes, and no loop over blocks of lanes."""
    net = Network(mlp(2 if window is None else 6, 5, 1), window=window, inputs=("a", "b"), outputs=("y",), period="1 s")

    def values(lanes: int) -> dict[str, Tensor]:
        found = dict(zip("ab", rows(lanes, 2).unbind(1)))
        if window is not None:
            found |= {"history": torch.randn(lanes, 3, 2).double(), "ticks": torch.arange(lanes),
                      "last_y": torch.randn(lanes).double()}  # fmt: skip
        return found

    names = list(values(1))
    with torch.no_grad():
        graph = make_fx(
            lambda *given: net.step(**dict(zip(names, given))), tracing_mode="symbolic", _allow_non_fake_inputs=True
        )(*values(5).values())
        for lanes in (1, 7, 100):
            given = values(lanes)
            found, wanted = graph(*given.values()), net.step(**given)
            assert all(torch.allclose(found[n].double(), wanted[n].double(), atol=1e-6) for n in wanted)


# -- windows ----------------------------------------------------------------------------------------------------------


class Mean(nn.Module):
    """The mean and the first and last sample of a window."""

    def forward(self, x: Tensor) -> Tensor:  # (lanes, length, 1)
        return torch.stack((x.mean((1, 2)), x[:, 0, 0], x[:, -1, 0]), 1)


class Ramp(Diagram):
    """A window over k = 1, 2, 3, … at ticks."""

    y, first, last, ok = Output(), Output(), Output(), Output()

    def __init__(self, window: Window, reset: bool = False) -> None:
        self.count = Count(period="1 s")
        self.net = Network(
            Mean(), inputs={"k": Input(shape=())}, outputs=("mean", "first", "last"), period="1 s", window=window,
            reset="rising" if reset else None,
        )  # fmt: skip
        self.net.k = self.count.k
        if reset:
            self.net.reset = (self.count.k > 5.5) & (self.count.k < 7.5)
        self.y, self.first, self.last, self.ok = self.net.mean, self.net.first, self.net.last, self.net.ok


class Count(Block):
    k = Output()
    n = State(0.0)

    @tick
    def count(self, n):
        return dict(n=n + 1, k=n + 1)


def ramp(window: Window, reset: bool = False) -> tuple[list[float], list[float], list[bool]]:
    run = simulate(Ramp(window, reset), until=9.0, every=1.0)
    return run["y"].values[0].tolist(), run["first"].values[0].tolist(), run["ok"].values[0].bool().tolist()


def test_window_of_zeros_fills_from_the_first_tick() -> None:
    mean, first, ok = ramp(Window(4, fill="zeros"))
    assert mean == [0.25, 0.75, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5]
    assert first == [0, 0, 0, 1, 2, 3, 4, 5, 6, 7] and ok == [False] * 3 + [True] * 7


def test_window_that_holds_repeats_the_first_sample() -> None:
    mean, first, _ = ramp(Window(4, fill="hold"))
    assert mean[:4] == [1.0, 1.25, 1.75, 2.5] and first == [1, 1, 1, 1, 2, 3, 4, 5, 6, 7]


def test_window_that_is_not_ready_keeps_the_initial_output() -> None:
    mean, _, ok = ramp(Window(4, fill="not_ready"))
    assert mean == [0, 0, 0, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5] and ok == [False] * 3 + [True] * 7


def test_hop_evaluates_every_so_many_ticks_and_holds() -> None:
    assert ramp(Window(4, hop=3, fill="zeros"))[0] == [0.25, 0.25, 0.25, 2.5, 2.5, 2.5, 5.5, 5.5, 5.5, 8.5]
    assert ramp(Window(4, hop=3))[0] == [0, 0, 0, 2.5, 2.5, 2.5, 5.5, 5.5, 5.5, 8.5]


def test_reset_empties_the_window_once_at_its_rising_edge() -> None:
    mean, _, ok = ramp(Window(2), reset=True)  # k = 6 and 7 ask for a reset, 7 is no edge
    assert mean[4:] == [4.5, 0.0, 6.5, 7.5, 8.5, 9.5] and ok[4:] == [True, False, True, True, True, True]


def test_window_may_be_flat() -> None:
    module = nn.Linear(6, 1).double()
    net = Network(module, inputs=("a", "b"), outputs=("y",), period="1 s", window=Window(3, fill="zeros", flat=True))
    found = net.step(
        torch.tensor([1.0]).double(), torch.tensor([2.0]).double(), history=torch.zeros(1, 3, 2).double(),
        ticks=torch.zeros(1, dtype=torch.int64),
    )  # fmt: skip
    assert torch.allclose(found["y"], module(torch.tensor([[0, 0, 0, 0, 1.0, 2.0]]).double())[:, 0])


# -- errors -----------------------------------------------------------------------------------------------------------

TWO = {"inputs": ("a", "b"), "outputs": ("y",), "period": "1 s"}
CASES: list[tuple[str, Any, dict[str, Any], str]] = [
    ("no clock", mlp(2, 4, 1), {**TWO, "period": None}, r"does not inherit continuous time[\s\S]*@derivative"),
    ("too few inputs", mlp(3, 4, 1), TWO, r"fails on \(2, 2\), from a, b[\s\S]*one input for each feature"),
    ("too many outputs", mlp(2, 4, 1), {**TWO, "outputs": ("p", "q")}, r"\(lanes, 1\) for 2 outputs"),
    ("a class", nn.Linear, TWO, r"the class Linear[\s\S]*Linear\(\.\.\.\)"),
    ("a path", "net.pt", TWO, "from_card"),
    ("a recurrent layer", nn.LSTM(2, 3), TWO, r"LSTM[\s\S]*Recurrent"),
    ("a reserved name", mlp(2, 4, 1), {**TWO, "inputs": ("a", "t")}, "'t'"),
    ("a name of the class", mlp(2, 4, 1), {**TWO, "inputs": ("a", "module")}, "module"),
    ("a name twice", mlp(2, 4, 1), {**TWO, "inputs": ("a", "a")}, "'a' twice"),
    ("one name on both sides", mlp(2, 4, 1), {**TWO, "outputs": ("a",)}, "'a' names two ports"),
    ("no name", mlp(2, 4, 1), {**TWO, "inputs": ("a", "b c")}, "'b c' is no name"),
    ("an unknown layer", mlp(2, 4, 1), {**TWO, "activations": ("9",)}, r"no layer '9'[\s\S]*0, 1, 2"),
    ("an unknown mode", mlp(2, 4, 1), {**TWO, "mode": "exakt"}, "did you mean: exact"),
    ("an unknown word", mlp(2, 4, 1), {**TWO, "perid": "1 s"}, "perid"),
    ("reset without memory", mlp(2, 4, 1), {**TWO, "reset": "rising"}, "without memory"),
    ("an unknown edge", mlp(8, 4, 1), {**TWO, "window": Window(4, flat=True), "reset": "up"}, "rising"),
    ("no whole nanoseconds", mlp(2, 4, 1), {**TWO, "period": 1 / 30}, "rate=30"),
    ("chunk of nothing", mlp(2, 4, 1), {**TWO, "chunk": 0}, "chunk=0"),
    ("a trigger with a period", mlp(2, 4, 1), {**TWO, "triggered": True}, "one of them"),
    ("an array among others", mlp(2, 4, 1), {**TWO, "inputs": {"a": Input(shape=(2, 2)), "b": Input()}}, "stack=False"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "options", "message"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_errors_say_what_to_do(module: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SimdlError, match=message):
        Network(module, **options)


def test_a_module_that_squeezes_lanes_away_is_refused() -> None:
    class Squeeze(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sum(0)

    with pytest.raises(NetworkError, match="lanes first"):
        Network(Squeeze(), inputs=("a", "b", "c"), outputs=("y",), period="1 s")


def test_an_impure_module_is_refused_by_the_probe() -> None:
    class Counter(nn.Module):
        n = 0.0

        def forward(self, x: Tensor) -> Tensor:
            self.n += 1.0
            return x + self.n

    with pytest.raises(ProbeError, match="two calls with the same arguments differ"):
        simulate(Held(Counter()), until=0.2)


def test_window_arguments_are_checked() -> None:
    for options in ({"length": 0}, {"length": 3, "hop": 0}, {"length": 3, "fill": "zero"}, {"length": 2.5}):
        with pytest.raises(NetworkError, match="Window"):
            Window(**options)  # type: ignore[arg-type]


# -- copies -----------------------------------------------------------------------------------------------------------


def test_copies_and_pickles_compute_the_same_and_own_their_weights() -> None:
    net = Network(mlp(2, 5, 1), activations=("0",), **TWO)  # type: ignore[arg-type]
    x = rows(4, 2).unbind(1)
    wanted = net.step(*x)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert all(torch.equal(other.step(*x)[name], value) for name, value in wanted.items())
        assert type(other).declared().keys() == type(net).declared().keys() and other.clock == net.clock
        with torch.no_grad():
            other.module[0].bias += 1.0
    assert torch.equal(net.step(*x)["y"], wanted["y"])


def test_a_network_that_has_run_is_pickled_without_what_was_compiled_for_it() -> None:
    net = Network(mlp(2, 5, 1), **TWO)  # type: ignore[arg-type]
    names = [name for name, one in type(net).declared().items() if isinstance(one, Input)]
    given = dict.fromkeys(names, 0.5)
    before = simulate(net, 1, inputs=given)
    after = simulate(pickle.loads(pickle.dumps(net)), 1, inputs=given)
    assert torch.equal(before["y"].values, after["y"].values)


# -- callbacks --------------------------------------------------------------------------------------------------------


def test_callback_runs_any_python_model_in_the_loop() -> None:
    class Gain(Diagram):
        y = Output()

        def __init__(self) -> None:
            self.plant = Integrator()
            self.model = Callback(
                lambda: {"gain": -2.0}, lambda x: x.reshape(-1, 1), lambda model, x: model["gain"] * x,
                inputs="x", outputs="u", period="100 ms",
            )  # fmt: skip
            self.model.x = self.plant.x
            self.plant.u = self.model.u
            self.y = self.plant.x

    assert abs(float(simulate(Gain(), until=1.0).final["plant.x"][0]) - 0.8**10) < 1e-14


def test_callback_loads_once_and_says_what_does_not_fit() -> None:
    loads: list[int] = []
    double = Callback(lambda: loads.append(1), predict=lambda model, x: 2 * x, inputs="x", outputs="y", period="1 s")
    for _ in range(3):
        assert double.step(torch.tensor([1.5]))["y"].tolist() == [3.0]
    assert loads == [1]
    wide = Callback(lambda: None, predict=lambda model, x: x, inputs=("a", "b"), outputs=("y", "z", "q"), period="1 s")
    with pytest.raises(NetworkError, match=r"\(lanes, 2\) for 3 outputs"):
        simulate(Wired(wide), until=1.0)
    with pytest.raises(NetworkError, match="no period"):
        Callback(lambda: None, predict=lambda model, x: x, inputs="x", outputs="y")


def missing_file() -> Any:
    with open("/nowhere/model.pkl") as file:
        return file.read()


def divided(model: Any, x: Any) -> Any:
    return 1 // 0


def test_what_load_raises_names_the_block_and_the_function() -> None:
    with pytest.raises(NetworkError, match="Callback: load: missing_file raised FileNotFoundError: .*nowhere") as error:
        Callback(missing_file, predict=lambda model, x: x, inputs="x", outputs="y", period="1 s")
    assert isinstance(error.value.__cause__, FileNotFoundError)


@pytest.mark.parametrize("engine", ["torch", "native"])
@pytest.mark.parametrize("name", ["preprocess", "predict", "postprocess"])
def test_what_a_function_raises_names_the_block_and_the_function(name: str, engine: str) -> None:
    fine = {"preprocess": lambda a, b: a, "predict": lambda model, x: x, "postprocess": lambda y: y}
    raising = divided if name == "predict" else lambda *values: 1 // 0
    net = Callback(lambda: None, inputs=("a", "b"), outputs="y", period="1 s", **{**fine, name: raising})
    with pytest.raises(SimdlError, match=rf"block: {name}: .* raised ZeroDivisionError: ") as error:
        simulate(Wired(net), until=1.0, engine=engine)
    assert isinstance(error.value, NetworkError) and (name != "predict" or "divided raised" in str(error.value))


class Wired(Diagram):
    y = Output()

    def __init__(self, block: Block) -> None:
        self.block = block
        self.block.a = 1.0
        self.block.b = 2.0
        self.y = self.block.y
