"""A network at another rate than the loop's: given its own samples, it says what it says at its own rate."""

from __future__ import annotations

import copy
import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from simdl import Block, Diagram, Input, Output, resettable, simulate
from simdl.blocks import Constant, Hold, Ramp, Sine
from simdl.compile import compile_model
from simdl.compile.digest import digest
from simdl.errors import NetworkError
from simdl.networks import Classifier, ModelCard, Network, Recurrent, Resampled, Window, save
from simdl.networks.architecture import lstm

MAKE: Any = Resampled
RECURRENT: Any = Recurrent
NETWORK: Any = Network
CLASSIFIER: Any = Classifier


class Filter(nn.Module):
    """h(j + 1) = a h(j) + b u(j), y = h(j + 1) + d u(j), in float64."""

    def __init__(self, a: float = 0.7, b: float = 0.4, d: float = -0.2) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([a, b, d], dtype=torch.float64))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        a, b, d = self.weights
        h = x.new_zeros(x.shape[0]) if state is None else state
        rows = []
        for k in range(x.shape[1]):
            h = a * h + b * x[:, k, 0]
            rows.append(h + d * x[:, k, 0])
        return torch.stack(rows, 1)[..., None], h


def filtered(u: np.ndarray) -> np.ndarray:
    """What the filter says of its own samples."""
    h, said = 0.0, []
    for x in u:
        h = 0.7 * h + 0.4 * x
        said.append(h - 0.2 * x)
    return np.array(said)


def a_filter(period: str = "20 ms") -> Recurrent:
    found: Recurrent = RECURRENT(Filter(), inputs={"u": Input(())}, outputs=("y",), period=period)
    return found


def a_gru(period: str = "20 ms", **options: Any) -> Recurrent:
    torch.manual_seed(1)
    module, head = nn.GRU(1, 5, batch_first=True), nn.Linear(5, 1)
    found: Recurrent = RECURRENT(module, head=head, inputs=("u",), outputs=("y",), period=period, **options)
    return found


class Restarted(Diagram):
    """A network that forgets when a signal rises."""

    def __init__(self, net: Any) -> None:
        self.net, self.clock = net, Ramp()
        self.net.u = 1.0
        resettable(self.net, self.clock.y > 0.35, period="50 ms")


class Fed(Diagram):
    """A network, and beside it a source: directly, or sampled and held."""

    def __init__(self, source: Block, net: Any, hold: str | None = None) -> None:
        self.source, self.net = copy.deepcopy(source), net
        signal = self.source.y
        if hold is not None:
            self.hold = Hold(period=hold)
            self.hold.u = signal
            signal = self.hold.y
        self.net.u = signal


def said(diagram: Diagram, until: Any, every: Any, *names: str, **options: Any) -> list[Tensor]:
    options = {"engine": "torch", **options}
    run = simulate(diagram, until, every=every, record=[f"net.{name}" for name in names], **options)
    return [run[f"net.{name}"].values for name in names]


def test_at_its_own_rate_it_is_the_network_bit_for_bit() -> None:
    source = Sine(frequency=1.3)
    nets = a_gru(), MAKE(a_gru(), period="20 ms")
    a, b = (said(Fed(source, net), 1, 0.02, "y", "ok", "h") for net in nets)
    assert all(torch.equal(x, y) for x, y in zip(a, b))


@settings(max_examples=12, deadline=None)
@given(loop=st.integers(1, 60), own=st.integers(7, 60))
def test_of_straight_inputs_it_says_what_the_network_says_at_its_own_rate(loop: int, own: int) -> None:
    net = MAKE(a_filter(f"{own} ms"), period=f"{loop} ms")
    assert net.ratio == Fraction(loop, own)
    (y,) = said(Fed(Ramp(slope=3.0), net), f"{12 * loop} ms", f"{loop} ms", "y")
    t = np.arange(12 * loop // own + 1) * own * 1e-3
    exact = filtered(3.0 * t)
    last = [k * loop // own for k in range(13)]  # the newest sample at each tick
    np.testing.assert_allclose(y[0].numpy(), exact[last], rtol=0, atol=1e-12)


@pytest.mark.parametrize("loop", ["15 ms", "50 ms", "100 ms"])
def test_held_inputs_are_those_that_the_network_reads_of_a_slower_block(loop: str) -> None:
    source = Sine(frequency=1.7)
    net = Fed(source, MAKE(a_gru(), period=loop, between="hold"))
    own = Fed(source, a_gru(), hold=loop)
    for a, b in zip(said(net, 3, loop, "y", "ok"), said(own, 3, loop, "y", "ok")):
        assert torch.equal(a, b)


@pytest.mark.parametrize("window", [
    Window(4), Window(4, fill="hold"), Window(4, fill="zeros", flat=True), Window(3, hop=2), Window(1, hop=3),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("loop", ["15 ms", "50 ms"])
def test_windows_go_over_its_own_samples(window: Window, loop: str) -> None:
    torch.manual_seed(2)
    wide = window.length if window.flat else 1
    module = nn.Linear(wide, 1) if window.flat else nn.Sequential(nn.Flatten(), nn.Linear(window.length, 1))

    def net() -> Network:
        found: Network = NETWORK(module, inputs={"u": Input(())}, outputs=("y",), period="20 ms", window=window)
        return found

    source = Sine(frequency=1.7, bias=0.3)
    a = said(Fed(source, MAKE(net(), period=loop, between="hold")), 1.5, loop, "y", "ok")
    b = said(Fed(source, net(), hold=loop), 1.5, loop, "y", "ok")
    assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])


def test_the_warm_up_takes_the_time_that_the_card_says() -> None:
    net = MAKE(a_gru(warmup="100 ms"), period="30 ms")
    (ok,) = said(Fed(Constant(value=1.0), net), 0.3, 0.03, "ok")
    assert ok[0].tolist() == [k * 30 // 20 * 20 >= 100 for k in range(11)]


def test_an_lstm_at_twice_its_rate_is_far_off_and_with_its_own_samples_near() -> None:
    """Trained every 40 ms, in a loop of 80 ms: both say the same of a slow sine, but for what lines leave out."""
    torch.manual_seed(4)
    module = nn.LSTM(1, 12, batch_first=True)
    head = nn.Linear(12, 1)
    with torch.no_grad():
        module.weight_ih_l0 *= 3.0

    def net(period: str) -> Recurrent:
        found: Recurrent = RECURRENT(module, head=head, inputs=("u",), outputs=("y",), period=period)
        return found

    source = Sine(frequency=0.5)
    (truth,) = said(Fed(source, net("40 ms")), 8, 0.08, "y")
    (wrong,) = said(Fed(source, net("80 ms")), 8, 0.08, "y")
    (right,) = said(Fed(source, MAKE(net("40 ms"), period="80 ms")), 8, 0.08, "y")
    size = float((truth - truth.mean()).square().mean().sqrt())
    off = [float((one - truth).square().mean().sqrt()) / size for one in (wrong, right)]
    assert off[0] > 0.1 and off[1] < 0.01


@pytest.mark.parametrize("loop", [20, 80])
def test_lines_are_off_by_what_interpolation_is(loop: int) -> None:
    """At most T^2 / 8 of the second derivative, times what the filter makes of it: 0.4 / (1 - 0.7) + 0.2."""
    source, frequency = Sine(frequency=0.4), 2 * np.pi * 0.4
    (truth,) = said(Fed(source, a_filter("5 ms")), 2, 0.08, "y")
    most = (0.4 / 0.3 + 0.2) * (loop * 1e-3) ** 2 / 8 * frequency**2
    off = {}
    for between in ("linear", "hold"):
        (y,) = said(Fed(source, MAKE(a_filter("5 ms"), period=f"{loop} ms", between=between)), 2, 0.08, "y")
        off[between] = float((y - truth).abs().max())
    assert off["linear"] <= most < off["hold"]


@pytest.mark.parametrize("loop", ["7 ms", "50 ms", "200 ms"])
def test_both_engines_agree(loop: str) -> None:
    lanes = {"source.frequency": torch.tensor([0.3, 1.1, 2.0])}
    options: dict[str, Any] = {"every": 0.1, "record": ["net.y", "net.h"], "set": lanes}
    nets = [MAKE(a_filter(), period=loop) for _ in range(2)]
    a = simulate(Fed(Sine(), nets[0]), 2, engine="torch", **options)
    b = simulate(Fed(Sine(), nets[1]), 2, engine="native", **options)
    assert b.engine == "native"
    for name in ("net.y", "net.h"):
        torch.testing.assert_close(a[name].values, b[name].values, rtol=0, atol=1e-12)


def test_a_lane_alone_is_that_lane_of_the_batch() -> None:
    def run(*frequencies: float) -> Tensor:
        lanes = {"source.frequency": torch.tensor(frequencies)}
        return said(Fed(Sine(), MAKE(a_gru(), period="50 ms")), 1, 0.05, "y", set=lanes)[0]

    assert torch.equal(run(0.3, 1.1, 2.0)[1], run(1.1)[0])


def test_a_reset_begins_again_with_a_sample_at_its_tick() -> None:
    """Every 30 ms in a loop of 50 ms."""
    loop = Restarted(MAKE(a_filter("30 ms"), period="50 ms"))
    run = simulate(loop, 0.6, every=0.05, record=["net.y"], engine="torch")
    exact = filtered(np.ones(30))
    ticks = [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4]  # the ramp passes 0.35 between the ticks at 0.35 and 0.40
    np.testing.assert_allclose(run["net.y"].values[0].numpy(), exact[[k * 50 // 30 for k in ticks]], atol=1e-12)


def test_gradients_reach_the_weights() -> None:
    """dy/db of a constant input, by hand: y = sum of a^i b u + d u."""
    net = MAKE(a_filter(), period="60 ms")
    run = simulate(Fed(Constant(value=1.0), net), 0.06, every=0.06, grad=True, engine="torch", record=["net.y"])
    run["net.y"].values[0, -1].backward()  # type: ignore[no-untyped-call]
    by_hand = [0.4 * (1 + 2 * 0.7 + 3 * 0.49), 1 + 0.7 + 0.49 + 0.343, 1.0]
    assert net.module.weights.grad.tolist() == pytest.approx(by_hand)


def test_cards_give_ports_units_and_scales(tmp_path: Any) -> None:
    torch.manual_seed(0)
    module = lstm(2, 1, hidden=4, head=0)
    block = RECURRENT(module, inputs={"v": Input(unit="V"), "i": Input(unit="A")}, outputs={"soc": Output(unit="%")},
                      period="1 s", warmup="3 s")  # fmt: skip
    scales = {"v": (3.7, 0.2), "i": (0.0, 2.0), "soc": (50.0, 20.0)}
    save(tmp_path, module, ModelCard.of(block, "lstm", {"inputs": 2, "hidden": 4, "head": 0}, scales=scales))
    with pytest.raises(NetworkError, match="trained every 1 s: give it its samples .simdl.networks.Resampled."):
        Recurrent.from_card(tmp_path, period="2 s")
    own = Recurrent.from_card(tmp_path)
    net = MAKE(own, period="2 s")
    assert type(net).declared()["v"].unit == "V" and type(net).declared()["soc"].unit == "%"
    first = [simulate(one, 0, inputs={"v": 3.9, "i": 1.0}, every=1, engine="torch")["soc"].values for one in
             (net, Recurrent.from_card(tmp_path))]  # fmt: skip
    assert torch.equal(*first) and first[0].abs().min() > 0  # the first tick is its first sample
    assert net.remarks()[0] == "given samples every 1 s, as trained: lines between ticks"


def test_labels_of_a_classifier_are_held() -> None:
    module = nn.Linear(1, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        module.bias.zero_()
    net = MAKE(CLASSIFIER(module, labels=("up", "down"), inputs={"u": Input(())}, period="100 ms"), period="30 ms")
    run = simulate(Fed(Sine(frequency=1.0, phase=0.1), net), 1, every=0.03, record=["net.predicted"], engine="torch")
    u = np.sin(2 * np.pi * np.arange(11) * 0.1 + 0.1)
    seen = [int(u[k * 30 // 100] < 0) for k in range(34)]
    assert run["net.predicted"].values[0].tolist() == seen


def test_it_is_copied_and_pickled() -> None:
    net = MAKE(a_gru(), period="50 ms")
    source = Sine(frequency=1.0)
    truth = said(Fed(source, net), 1, 0.05, "y")[0]
    fresh = MAKE(a_gru(), period="50 ms")
    for other in (copy.deepcopy(fresh), pickle.loads(pickle.dumps(fresh))):
        assert torch.equal(said(Fed(Sine(frequency=1.0), other), 1, 0.05, "y")[0], truth)


def test_the_hash_of_a_model_knows_both_rates_and_what_is_between() -> None:
    def made(own: str = "20 ms", **options: Any) -> str:
        return digest(compile_model(Fed(Sine(), MAKE(a_gru(own), **{"period": "50 ms", **options}))))

    assert made() == made()
    assert len({made(), made("10 ms"), made(period="40 ms"), made(between="hold")}) == 4


@pytest.mark.parametrize(("make", "message"), [
    (lambda: MAKE(nn.Linear(1, 1), period=1), "a network with a period of its own"),
    (lambda: MAKE(a_gru()), "no period"),
    (lambda: MAKE(a_gru(), period="50 ms", between="cubic"), "between='cubic'"),
    (lambda: MAKE(a_gru(reset="level"), period="50 ms"), "with an input reset[\\s\\S]*a resettable subsystem"),
    (lambda: MAKE(a_gru(x0="input"), period="50 ms"), "with an input x0"),
    (lambda: MAKE(a_gru("1 us"), period="1 s"), "1000000 samples of a network"),
    (lambda: MAKE(a_gru(latency="1 ms"), period="1 s"), "an offset or a latency"),
    (lambda: MAKE(NETWORK(nn.Linear(1, 1), inputs={"x": Input(())}, triggered=True), period="1 s"), "has no period"),
    (lambda: MAKE(NETWORK(nn.Tanh(), period="1 s"), period="2 s"), "an input of open shape"),
], ids=["module", "period", "between", "reset", "x0", "many", "latency", "triggered", "shape"])  # fmt: skip
def test_what_cannot_be_resampled_is_refused(make: Any, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        make()
