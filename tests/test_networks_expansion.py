"""A network taken apart into blocks says what it said, layer by layer, and what it says with fewer bits."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from simdl import Diagram, Input, Output, simulate
from simdl.blocks import CartPole
from simdl.errors import NetworkError
from simdl.networks import Classifier, Expanded, Fixed, Layout, ModelCard, Network, Recurrent, Window
from simdl.networks.architecture import mlp

NETWORK: Any = Network
TAKEN: Any = Expanded
STATES = ("x", "v", "theta", "omega")


def controller() -> Network:
    torch.manual_seed(0)
    found: Network = NETWORK(mlp(4, 1, hidden=(8, 6)), inputs=STATES, outputs=("force",), period="20 ms")
    return found


class Loop(Diagram):
    """A cart and pole under a network, or under what was made of it."""

    theta = Output()

    def __init__(self, net: Any) -> None:
        self.plant, self.net = CartPole(), net
        for name in STATES:
            setattr(self.net, name, getattr(self.plant, name))
        self.plant.force = self.net.force
        self.theta = self.plant.theta


def test_the_loop_sees_what_it_saw_of_the_network() -> None:
    start = {"plant.theta": torch.tensor([0.1, -0.2, 0.3])}
    for engine in ("torch", "native"):
        nets = controller(), TAKEN(controller())
        a, b = (simulate(Loop(net), 0.5, every=0.1, set=start, engine=engine) for net in nets)
        assert a.engine == b.engine == engine
        torch.testing.assert_close(b["theta"].values, a["theta"].values, rtol=0, atol=1e-6)


class Residual(nn.Module):
    """Branches, a sum, a product with a weight, a part used twice, a shape that depends on the number of lanes."""

    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
        self.gain = nn.Parameter(torch.tensor([0.5, 1.0, 2.0, -1.0]))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.enc(x)) * self.gain
        z = nn.functional.relu(self.enc(2.0 * x)).view(x.size(0), -1)
        found: Tensor = self.head(torch.cat([y, z - y.mean(1, keepdim=True)], 1))
        return found


class Split(nn.Module):
    """A tuple on the way, and a dict at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        a, b = self.both(x).chunk(2, 1)
        return {"q": b.sin(), "p": a.softmax(1)}


def values(net: Any, **inputs: Any) -> dict[str, Tensor]:
    names = [name for name, one in type(net).declared().items() if isinstance(one, Output)]
    run = simulate(net, 0, every=1, inputs=inputs, engine="torch", record=names)
    return {name: run[name].values[:, 0] for name in names}


MODULES: dict[str, tuple[Any, dict[str, Any]]] = {
    "residual": (Residual, {"outputs": ("p", "q")}),
    "split": (Split, {"outputs": {"p": Output((2,)), "q": Output((2,))}}),
    "a single layer": (lambda: nn.Linear(3, 2), {"outputs": ("p", "q")}),
    "normalised": (lambda: nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 2)),
                   {"outputs": ("p", "q")}),
    "nothing but a function": (lambda: nn.Sequential(nn.Sigmoid()), {"outputs": ("p", "q", "r")}),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_each_network_says_what_it_said(name: str) -> None:
    torch.manual_seed(3)
    make, options = MODULES[name]
    module = make()
    rows = torch.tensor([[0.3, -1.0, 2.0], [1.0, 0.0, -0.5], [0.1, 0.2, 0.3]])
    inputs = dict(zip("abc", rows))
    net = NETWORK(module, inputs=tuple(inputs), period=1, **options)
    apart = TAKEN(net)
    before, after = values(net, **inputs), values(apart, **inputs)
    assert list(before) == list(after) and apart.layers
    for port, value in before.items():
        torch.testing.assert_close(after[port], value, rtol=0, atol=1e-6)


def test_every_layer_shows_what_it_computes() -> None:
    torch.manual_seed(3)
    module = Residual().eval()
    apart = TAKEN(NETWORK(module, inputs={"x": Input((3,))}, outputs=("p", "q"), period=1))
    assert apart.layers == {
        "enc_0": "enc.0", "enc_1": "enc.1", "tanh": "tanh", "mul": "mul", "mul_1": "mul", "enc_0_use2": "enc.0",
        "enc_1_use2": "enc.1", "relu": "relu", "view": "view", "mean": "mean", "sub": "sub", "cat": "cat",
        "head": "head",
    }  # fmt: skip
    x = torch.tensor([[0.3, -1.0, 2.0], [1.0, 0.0, -0.5]])
    keys = [f"{name}.y" for name in apart.layers]
    run = simulate(apart, 0, every=1, inputs={"x": x}, engine="torch", record=keys)
    with torch.no_grad():
        first, second = module.enc(x), module.enc(2.0 * x)
        y, z = first.tanh() * module.gain, second.relu()
        wanted = {"enc_0": first, "enc_1": first, "tanh": first.tanh(), "mul": y, "mul_1": 2.0 * x,
                  "enc_0_use2": second, "enc_1_use2": second, "relu": z, "view": z, "mean": y.mean(1, keepdim=True),
                  "sub": z - y.mean(1, keepdim=True), "cat": torch.cat([y, z - y.mean(1, keepdim=True)], 1),
                  "head": module(x)}  # fmt: skip
    for name, value in wanted.items():
        torch.testing.assert_close(run[f"{name}.y"].values[:, 0].float(), value, rtol=0, atol=1e-6)


def test_pictures_labels_and_scores() -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                           nn.Linear(36, 3))  # fmt: skip
    make: Any = Classifier
    net = make(module, labels=("a", "b", "c"), inputs={"x": Input((6, 6, 3), dtype="uint8")}, period="10 ms",
               layout=Layout("hwc", "chw", mean=(0.4, 0.5, 0.6)))  # fmt: skip
    x = torch.randint(0, 256, (5, 6, 6, 3), dtype=torch.uint8)
    before, after = values(net, x=x), values(TAKEN(net), x=x)
    assert torch.equal(before["predicted"], after["predicted"])
    torch.testing.assert_close(after["scores"], before["scores"], rtol=0, atol=1e-6)


def test_the_scales_of_the_card_stand_before_and_behind_the_layers() -> None:
    module = mlp(2, 1, hidden=[4])
    plain = NETWORK(module, inputs={"v": Input((), unit="V"), "i": Input((), unit="A")}, outputs=("soc",), period="1 s")
    card = ModelCard.of(plain, "mlp", {"inputs": 2, "hidden": [4]}, scales={"v": (3.7, 0.2), "soc": (50.0, 20.0)})
    net = NETWORK(module, card=card)
    apart = TAKEN(net)
    assert type(apart).declared()["v"].unit == "V" and str(apart.entry.clock) == "1 s"
    run = simulate(apart, 0, every=1, inputs={"v": 3.9, "i": 1.5}, record=["entry.given", "soc"], engine="torch")
    assert run["entry.given"].values[0, 0].tolist() == pytest.approx([1.0, 1.5])
    assert torch.equal(run["soc"].values[:, 0], values(net, v=3.9, i=1.5)["soc"])


def test_latency_and_offset_are_those_of_the_network() -> None:
    times = {"period": "10 ms", "latency": "4 ms", "offset": "2 ms"}
    net = NETWORK(nn.Linear(1, 1), inputs={"x": Input(())}, outputs=("y",), **times)
    options: dict[str, Any] = {"every": 0.001, "inputs": {"x": 1.0}, "engine": "torch"}
    a, b = (simulate(one, 0.03, **options)["y"].values for one in (net, TAKEN(net)))
    assert torch.equal(a, b) and float(a[0, 5]) == 0.0 != float(a[0, 6])


def test_fixed_point_is_rounding_of_weights_and_of_every_result() -> None:
    """Against numpy, with whole numbers."""
    torch.manual_seed(5)
    module = mlp(2, 1, hidden=[5], activation="relu").double()
    net = NETWORK(module, inputs=("a", "b"), outputs=("y",), period=1)
    before = copy.deepcopy(module.state_dict())
    x = np.array([[0.5, -1.25], [3.0, 2.0], [-7.5, 100.0]])

    def rounded(values: Any) -> Any:
        return np.clip(np.rint(np.asarray(values) * 16), -128, 127) / 16

    w = [rounded(value.numpy()) for value in module.state_dict().values()]
    hidden = rounded(np.maximum(rounded(x @ w[0].T + w[1]), 0.0))
    wanted = rounded(hidden @ w[2].T + w[3])
    found = values(TAKEN(net, Fixed(8, 4)), a=torch.tensor(x[:, 0]), b=torch.tensor(x[:, 1]))["y"]
    assert found.tolist() == wanted[:, 0].tolist()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    last = values(TAKEN(net, {"layer_2": Fixed(8, 4)}), a=torch.tensor(x[:, 0]), b=torch.tensor(x[:, 1]))["y"]
    free = np.maximum(x @ module[0].weight.detach().numpy().T + module[0].bias.detach().numpy(), 0.0)
    np.testing.assert_allclose(last.numpy(), rounded(free @ w[2].T + w[3])[:, 0], atol=1e-12)


def test_bits_that_are_added_bring_it_nearer_to_the_network() -> None:
    inputs = {name: torch.linspace(-1, 1, 32).roll(7 * k) for k, name in enumerate(STATES)}
    truth = values(controller(), **inputs)["force"]
    apart = [TAKEN(controller(), Fixed(24, fraction)) for fraction in (3, 7, 11, 15)]
    off = [float((values(one, **inputs)["force"] - truth).abs().max()) for one in apart]
    assert off == sorted(off, reverse=True) and off[-1] < 1e-3 < off[0]


def test_it_is_copied_and_pickled() -> None:
    inputs = {name: 0.3 for name in STATES}
    apart = TAKEN(controller())
    truth = values(apart, **inputs)["force"]
    for other in (copy.deepcopy(apart), pickle.loads(pickle.dumps(TAKEN(controller())))):
        assert torch.equal(values(other, **inputs)["force"], truth)


class Decides(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(("make", "message"), [
    (lambda: TAKEN(Decides()), "a network"),
    (lambda: TAKEN(NETWORK(nn.Linear(2, 1), inputs=("a", "b"), window=Window(1, hop=2), period=1)), "with memory"),
    (lambda: TAKEN(Recurrent(nn.GRU(1, 2, batch_first=True), inputs=("u",), outputs={"y": Output((2,))},
                             period=1)), "with memory"),  # type: ignore[call-arg]
    (lambda: TAKEN(NETWORK(nn.Linear(2, 1), inputs=("a", "b"), nan="hold", period=1)), "with memory"),
    (lambda: TAKEN(NETWORK(nn.Sequential(nn.Linear(2, 1)), inputs=("a", "b"), activations=("0",), period=1)),
     "with activations"),
    (lambda: TAKEN(NETWORK(nn.Linear(2, 1), inputs=("a", "b"), triggered=True)), "no period"),
    (lambda: TAKEN(NETWORK(nn.Tanh(), period=1)), "an input of open shape"),
    (lambda: TAKEN(NETWORK(Decides(), inputs={"x": Input((1,))}, period=1)), "torch.fx cannot follow Decides"),
    (lambda: TAKEN(controller(), {"layer_22": Fixed(8, 4)}), "fixed for a layer 'layer_22'[\\s\\S]*mean: layer_2"),
    (lambda: Fixed(1, 0), "bits=1"), (lambda: Fixed(8, 0.5), "fraction=0.5"),  # type: ignore[arg-type]
], ids=["module", "window", "recurrent", "hold", "taps", "triggered", "shape", "decides", "layer", "bits",
        "half"])  # fmt: skip
def test_what_cannot_be_taken_apart_is_refused(make: Any, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        make()
