"""Recurrent networks: hidden state is declared state, and stepping equals the whole sequence."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from simdl import Block, Diagram, Input, Output, Simulator, State, resettable, simulate, tick
from simdl.errors import NetworkError, SimdlError
from simdl.networks import Network, Recurrent

CELLS: dict[str, Any] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
PORTS: dict[str, Any] = {"inputs": ("a", "b"), "outputs": ("y",), "period": "1 s"}


class Sequence(Block):
    """Plays x (samples, 2) back, one sample a tick, shifted by a number per lane."""

    a, b = Output(), Output()
    n = State(0, dtype="int64")
    shift = Input(default=0.0)

    def __init__(self, x: Tensor, **options: Any) -> None:
        self._assign(options)
        vars(self)["x"] = x

    @tick
    def play(self, n, shift):
        row = vars(self)["x"][n.clamp(max=len(vars(self)["x"]) - 1)]
        return dict(a=row[:, 0] + shift, b=row[:, 1] - shift, n=n + 1)


class Played(Diagram):
    """A recurrent network fed with a sequence."""

    y, ok = Output(), Output()
    shift, reset = Input(default=0.0), Input(default=0.0)

    def __init__(self, x: Tensor, net: Recurrent) -> None:
        self.source = Sequence(x, period="1 s")
        self.source.shift = self.shift
        self.net = net
        self.net.a, self.net.b = self.source.a, self.source.b
        if "reset" in type(net).declared():
            self.net.reset = self.reset > 0.5
        self.y, self.ok = self.net.y, self.net.ok


def samples(n: int = 12, seed: int = 0) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def played(net: Recurrent, x: Tensor, **options: Any) -> Tensor:
    """y (lanes, samples)."""
    run = simulate(Played(x, net), until=float(len(x) - 1), every=1.0, **options)
    values: Tensor = run["y"].values
    return values


@settings(max_examples=40)
@given(
    kind=st.sampled_from(sorted(CELLS)), layers=st.integers(1, 3), hidden=st.integers(1, 9), batch_first=st.booleans(),
    head=st.booleans(), double=st.booleans(), bias=st.booleans(), projected=st.booleans(),
)  # fmt: skip
def test_stepping_in_the_loop_equals_the_whole_sequence(
    kind: str, layers: int, hidden: int, batch_first: bool, head: bool, double: bool, bias: bool, projected: bool
) -> None:  # fmt: skip
    torch.manual_seed(hidden)
    more = {"proj_size": 1} if projected and kind == "lstm" and hidden > 1 else {}
    module = CELLS[kind](2, hidden, num_layers=layers, batch_first=batch_first, bias=bias, **more)
    width = more.get("proj_size", hidden)
    last = nn.Linear(width, 1) if head or width > 1 else None
    dtype = torch.float64 if double else torch.float32
    module.to(dtype)
    if last is not None:
        last.to(dtype)
    x = samples()
    net = Recurrent(module, head=last, **PORTS)
    sequence = x[None].to(dtype) if batch_first else x[:, None].to(dtype)
    whole = module(sequence)[0] if last is None else last(module(sequence)[0])
    assert torch.allclose(played(net, x)[0], whole.flatten().double(), atol=1e-12 if double else 1e-6)
    assert net.deviation is not None and net.deviation <= (1e-10 if double else 1e-4)


class Headed(nn.Module):
    """forward(x, state) -> (y, state), with the time axis alone as output."""

    def __init__(self, kind: str = "gru") -> None:
        super().__init__()
        self.rnn, self.head = CELLS[kind](2, 6, 2, batch_first=True), nn.Linear(6, 1)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        y, state = self.rnn(x, state)
        return self.head(y)[..., 0] + 0.5, state


class Inside(nn.Module):
    """forward(x) -> y with layers inside that keep nothing between calls; `last`: only the last sample's output."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.last = last
        self.first = nn.LSTM(2, 5, batch_first=True)
        self.second = nn.GRU(5, 4, 2, batch_first=True)
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(torch.tanh(self.first(x)[0]))[0]
        result: Tensor = self.head(y[:, -1] if self.last else y)
        return result


@pytest.mark.parametrize("last", [False, True])
def test_recurrent_layers_inside_a_module_are_found(last: bool) -> None:
    torch.manual_seed(0)
    module, x = Inside(last), samples()
    net = Recurrent(module, **PORTS)
    declared = type(net).declared()
    shapes = {name: one.shape for name, one in declared.items() if isinstance(one, State)}
    assert shapes == {"first_h": (1, 5), "first_c": (1, 5), "second_h": (2, 4), "ticks": None}
    whole = [module(x[None, : k + 1].float()).flatten()[-1].item() for k in range(len(x))]
    assert played(net, x)[0].tolist() == pytest.approx(whole, abs=1e-6)
    assert not module.first._forward_hooks and not module.first._forward_pre_hooks


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_modules_that_take_and_return_their_state(kind: str) -> None:
    torch.manual_seed(0)
    module, x = Headed(kind), samples()
    whole = module(x[None].float())[0][0]
    assert torch.allclose(played(Recurrent(module, **PORTS), x)[0], whole.double(), atol=1e-6)


@pytest.mark.parametrize("cell", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_cells_take_single_samples(cell: Any) -> None:
    torch.manual_seed(0)
    module, head, x = cell(2, 4), nn.Linear(4, 1), samples()
    state: Any = None
    wanted = []
    for row in x.float():
        state = module(row[None], state)
        wanted.append(head(state[0] if isinstance(state, tuple) else state).item())
    net = Recurrent(module, head=head, **PORTS)
    assert played(net, x)[0].tolist() == pytest.approx(wanted, abs=1e-6) and net.deviation is None


def test_a_module_that_needs_its_state_starts_from_x0() -> None:
    class Decay(nn.Module):
        """s' = s / 2 + a, y = s'; takes single samples and no None."""

        def forward(self, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
            s = 0.5 * s + x[:, :1]
            return s, s

    x = torch.zeros(4, 2, dtype=torch.float64)
    net = Recurrent(Decay(), x0=torch.tensor([8.0]), sequence=False, **PORTS)
    assert played(net, x)[0].tolist() == [4.0, 2.0, 1.0, 0.5]
    with pytest.raises(NetworkError, match="x0="):
        Recurrent(Decay(), sequence=False, **PORTS)


def test_x0_of_layers_is_per_layer_and_state() -> None:
    torch.manual_seed(0)
    module, head, x = nn.LSTM(2, 3, 2, batch_first=True), nn.Linear(3, 1), samples()
    h, c = torch.randn(2, 3), torch.randn(2, 3)
    whole = head(module(x[None].float(), (h[:, None], c[:, None]))[0])
    net = Recurrent(module, head=head, x0=(h, c), **PORTS)
    assert torch.allclose(played(net, x)[0], whole.flatten().double(), atol=1e-6)


def test_x0_as_ports_is_read_at_the_start_per_lane() -> None:
    class WithX0(Played):
        h0 = Input(shape=(1, 3))

        def __init__(self, x: Tensor, net: Recurrent) -> None:
            Played.__init__(self, x, net)
            self.net.x0 = self.h0

    torch.manual_seed(0)
    module, head, x = nn.GRU(2, 3, batch_first=True), nn.Linear(3, 1), samples()
    net = Recurrent(module, head=head, x0="input", **PORTS)
    starts = torch.randn(5, 1, 3, dtype=torch.float64)
    run = simulate(WithX0(x, net), until=11.0, every=1.0, inputs={"h0": starts})
    for lane in range(5):
        whole = head(module(x[None].float(), starts[lane][:, None].float())[0]).flatten().double()
        assert torch.allclose(run["y"].values[lane], whole, atol=1e-6)


def test_the_hidden_state_is_recorded_and_has_the_networks_type() -> None:
    torch.manual_seed(0)
    module, x = nn.GRU(2, 3, 2, batch_first=True), samples()
    net = Recurrent(module, head=nn.Linear(3, 1), **PORTS)
    run = simulate(Played(x, net), until=11.0, every=1.0, record=["net.h"])
    assert run["net.h"].values.shape == (1, 12, 2, 3)
    found, state = [], None
    for row in x.float():
        found.append(torch.zeros(2, 3) if state is None else state[:, 0])
        _, state = module(row[None, None], state)
    assert torch.allclose(run["net.h"].values[0].float(), torch.stack(found), atol=1e-6)


def test_snapshot_and_restore_bring_the_hidden_state_back() -> None:
    torch.manual_seed(0)
    x = samples()
    net = Recurrent(nn.LSTM(2, 5, batch_first=True), head=nn.Linear(5, 1), **PORTS)
    straight = Simulator(Played(x, copy.deepcopy(net)))
    straight.run_until(11.0)
    simulator = Simulator(Played(x, net))
    simulator.run_until(4.0)
    kept = simulator.snapshot()
    simulator.run_until(8.0)
    simulator.restore(kept)
    simulator.run_until(11.0)
    assert torch.equal(simulator["net.c"], straight["net.c"]) and torch.equal(simulator["net.y"], straight["net.y"])


def test_a_lane_alone_equals_the_lane_in_the_batch() -> None:
    torch.manual_seed(0)
    for hidden, dtype in ((37, torch.float64), (24, torch.float32)):
        module = nn.GRU(2, hidden, 2, batch_first=True).to(dtype)
        net = Recurrent(module, head=nn.Linear(hidden, 1).to(dtype), **PORTS)
        x, shift = samples(20), torch.linspace(-1, 1, 67, dtype=torch.float64)
        batch = played(net, x, inputs={"shift": shift})
        assert batch.shape == (67, 20)
        for lane in (0, 33, 66):
            other = Recurrent(module, head=net.module["head"], **PORTS)
            assert torch.equal(played(other, x, inputs={"shift": shift[lane : lane + 1]})[0], batch[lane])


# -- warm-up and reset ------------------------------------------------------------------------------------------------


def oks(net: Recurrent, **options: Any) -> list[bool]:
    run = simulate(Played(samples(), net), until=11.0, every=1.0, **options)
    found: list[bool] = run["ok"].values[0].bool().tolist()
    return found


def gru(**options: Any) -> Recurrent:
    torch.manual_seed(0)
    return Recurrent(nn.GRU(2, 3, batch_first=True), head=nn.Linear(3, 1), **{**PORTS, **options})


def test_ok_is_false_until_the_warm_up_has_passed() -> None:
    assert oks(gru()) == [True] * 12
    assert oks(gru(warmup="3 s")) == [False] * 3 + [True] * 9
    assert oks(gru(warmup="2.5 s")) == [False] * 3 + [True] * 9
    assert gru(warmup=0.5, period=None, rate=30).warmup_ticks == 15
    assert gru(warmup="2.5 s").warmup_seconds == 3.0


@pytest.mark.parametrize(
    ("edge", "restarts"), [("rising", [4]), ("falling", [7]), ("either", [4, 7]), ("level", [4, 5, 6])]
)
def test_reset_restarts_the_state_and_the_warm_up(edge: str, restarts: list[int]) -> None:
    """The reset is on at ticks 4, 5 and 6: the sample of that tick is the first that the fresh state sees."""
    x = samples()
    signal = (torch.tensor([0.0, 4.0, 7.0]), torch.tensor([0.0, 1.0, 0.0]))
    net = gru(reset=edge, warmup="2 s")
    run = simulate(Played(x, net), until=11.0, every=1.0, inputs={"reset": signal})
    module, head = net.module["recurrent"], net.module["head"]
    wanted, ok, state, age = [], [], None, 0
    for k, row in enumerate(x.float()):
        if k in restarts:
            state, age = None, 0
        y, state = module(row[None, None], state)
        wanted.append(head(y).item())
        ok.append(age >= 2)
        age += 1
    assert run["y"].values[0].tolist() == pytest.approx(wanted, abs=1e-6)
    assert run["ok"].values[0].bool().tolist() == ok


def test_reset_is_per_lane() -> None:
    x = samples()
    mask = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    run = simulate(
        Played(x, gru(reset="rising")), until=11.0, every=1.0,
        inputs={"reset": (torch.tensor([0.0, 4.0, 7.0]), mask)},
    )  # fmt: skip
    same = run["y"].values[0] == run["y"].values[1]
    assert same[:4].all() and not same[4:].any()
    assert torch.equal(run["y"].values[0], played(gru(), x)[0])


def test_a_resettable_subsystem_resets_the_hidden_state_too() -> None:
    class Reset(Diagram):
        y = Output()

        def __init__(self, x: Tensor) -> None:
            self.inner = Played(x, gru())
            self.clock_of_reset = Tick5(period="1 s")
            resettable(self.inner.net, self.clock_of_reset.on > 0.5)
            self.y = self.inner.y

    class Tick5(Block):
        on = Output()
        n = State(0.0)

        @tick
        def count(self, n):
            return dict(n=n + 1, on=1.0 * (n == 5))

    x = samples()
    found = simulate(Reset(x), until=11.0, every=1.0)["y"].values[0]
    assert torch.allclose(found[:5], played(gru(), x)[0, :5])
    assert torch.allclose(found[5:], played(gru(), x[5:])[0])


def test_gradients_flow_through_the_hidden_state() -> None:
    torch.manual_seed(0)
    module, head, x = nn.GRU(2, 3, batch_first=True).double(), nn.Linear(3, 1).double(), samples()
    net = Recurrent(module, head=head, **PORTS)
    simulate(Played(x, net), until=11.0, every=1.0, grad=True)["y"].values.square().sum().backward()
    found = [p.grad.clone() for p in net.module.parameters()]
    net.module.zero_grad()
    head(module(x[None])[0]).square().sum().backward()
    for a, b in zip(found, [p.grad for p in net.module.parameters()]):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)


# -- refused ----------------------------------------------------------------------------------------------------------


class Convolved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv1d(2, 4, 3, padding=1)
        self.rnn, self.head = nn.GRU(4, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.rnn(self.look(x.transpose(1, 2)).transpose(1, 2))[0])
        return result


class Turned(nn.Module):
    """A layer with time first in a module with lanes first: its layout cannot be seen from the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(2, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.rnn(x.transpose(0, 1))[0].transpose(0, 1))
        return result


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(2, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.rnn(self.rnn(x)[0])[0]
        return result


class OwnStart(nn.Module):
    """Starts from ones when it is given no state."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(2, 1, batch_first=True)

    def forward(self, x: Tensor, s: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, s = self.rnn(x, torch.ones(1, x.shape[0], 1) if s is None else s)
        return y, s


class InsideStart(nn.Module):
    """Gives its layer a state of ones inside forward(x)."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(2, 1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.rnn(x, torch.ones(1, x.shape[0], 1))[0]
        return result


REFUSED: list[tuple[str, Any, dict[str, Any], str]] = [
    ("bidirectional", nn.GRU(2, 4, bidirectional=True), {}, r"bidirectional layer reads the future[\s\S]*Window"),
    ("looks ahead", Convolved(), {}, r"whole sequence differ by[\s\S]*convolution"),
    ("dropout in training", nn.GRU(2, 4, 2, dropout=0.2), {"train": True}, r"dropout 0\.2[\s\S]*train=False"),
    ("no recurrent layer", nn.Linear(2, 1), {}, r"no recurrent layer in Linear[\s\S]*Network"),
    ("layer twice", Twice(), {}, "used twice"),
    ("own start", OwnStart(), {}, r"does not start from zeros[\s\S]*x0="),
    ("layout", Turned(), {}, "batch_first=True"),
    ("features", nn.GRU(3, 4), {}, r"fails on 2 features[\s\S]*one input for each feature"),
    ("x0 of a wrong shape", nn.GRU(2, 4), {"x0": torch.zeros(3, 4)}, r"x0: shapes \[\(3, 4\)\]"),
    ("x0 of a wrong kind", nn.GRU(2, 4), {"x0": "port"}, r"'port'"),
    ("no clock", nn.GRU(2, 1), {"period": None}, "does not inherit continuous time"),
    ("negative warm-up", nn.GRU(2, 1), {"warmup": "-1 s"}, "zero or more"),
    ("outputs", nn.GRU(2, 4), {"outputs": ("p", "q")}, r"\(lanes, 4\) for 2 outputs"),
    ("a class", nn.GRU, {}, "the class GRU"),
]


@pytest.mark.parametrize(("module", "options", "message"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_modules_that_cannot_be_stepped_are_refused(module: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SimdlError, match=message):
        Recurrent(module, **{**PORTS, **options})


def test_a_layout_that_is_told_and_a_start_inside_the_module_are_kept() -> None:
    torch.manual_seed(0)
    x = samples()
    turned = Turned()
    wanted = turned(x[None].float()).flatten().double()
    assert torch.allclose(played(Recurrent(turned, batch_first=True, **PORTS), x)[0], wanted, atol=1e-6)
    inside = InsideStart()
    net = Recurrent(inside, **PORTS)
    assert torch.allclose(played(net, x)[0], inside(x[None].float()).flatten().double(), atol=1e-6)


def test_names_of_states_give_way_to_ports() -> None:
    net = Recurrent(nn.LSTM(2, 1, batch_first=True), inputs=("h", "b"), outputs=("c",), period="1 s")
    assert [n for n, d in type(net).declared().items() if isinstance(d, State)] == ["hidden_h", "hidden_c", "ticks"]


def test_typed_form_and_copies() -> None:
    class Sensor(Recurrent):
        """State of charge."""

        voltage, current = Input(unit="V"), Input(unit="A")
        soc = Output()

    torch.manual_seed(0)
    net = Sensor(Headed(), period="1 s", warmup="10 s")
    assert net.h.path == "h" and type(net).__name__ == "Sensor" and net.warmup_ticks == 10
    memory = {"h": torch.zeros(3, 2, 6), "ticks": torch.zeros(3, dtype=torch.int64)}
    x = torch.randn(2, 3).double()
    wanted = net.step(*x, **memory)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(Recurrent(Headed(), **PORTS)))):
        assert other.step(*x, **memory).keys() >= {"h", "ok", "ticks"}
    assert torch.equal(copy.deepcopy(net).step(*x, **memory)["soc"], wanted["soc"])


def test_a_window_over_a_recurrent_layer_forgets_by_intent() -> None:
    from simdl.networks import Window

    net = Network(Inside(last=True), window=Window(5, fill="zeros"), **PORTS)
    assert "history" in type(net).declared()
