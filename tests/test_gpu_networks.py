"""Heads, detectors, monitors, loops on a computer do on a GPU what they do on the CPU. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from simdl import RK4, Block, Diagram, Input, Output, State, derivative, simulate, stack
from simdl.computer import Compute, Computer, Processor, Read, Task, Uniform, Write
from simdl.networks import Classifier, Detector, Ensemble, MCDropout, Monitor, Network, NeuralStateSpace, Recurrent
from simdl.networks.ood import KNN, Mahalanobis

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
STEP = RK4(max_step="5 ms")


class Swing(Block):
    """x'' = u - x."""

    u = Input()
    x, v = State(1.0), State(0.0)

    @derivative(x, v)
    def motion(self, x, v, u):
        return v, u - x


class Loop(Diagram):
    """A plant with any network that reads (x, v); what it says first comes back with a weight."""

    y = Output()

    def __init__(self, net: Any, says: str, vector: bool = False) -> None:
        self.plant = Swing()
        self.net = net
        if vector:
            self.net.pair = stack(self.plant.x, self.plant.v)
        else:
            self.net.x, self.net.v = self.plant.x, self.plant.v
        said = getattr(self.net, says)
        self.plant.u = -0.3 * said
        self.y = self.plant.x


def layers(outputs: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, outputs)).double()


PORTS: dict[str, Any] = {"inputs": ("x", "v"), "period": "20 ms"}


class Boxes(nn.Module):
    """Boxes that move with the state, for the detector."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        base = torch.arange(6, dtype=x.dtype, device=x.device)
        corner = base.unsqueeze(0) * 3 + x[:, :1]
        boxes = torch.stack([corner, corner, corner + 4, corner + 4], -1)
        return boxes, torch.sigmoid(base + x[:, 1:] - 2), torch.zeros_like(corner).to(torch.int64)


def monitored() -> Any:
    rows = torch.randn(400, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    scorer = Mahalanobis().fit(rows[:200]).calibrate(rows[200:], per_sample=0.1)
    return Monitor.around(Network(layers(1).eval(), outputs=("u",), **PORTS), 0.5, scorer=scorer)


def nearest() -> Any:
    rows = torch.randn(400, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    scorer = KNN(k=3, bank=64).fit(rows[:200]).calibrate(rows[200:], per_sample=0.1)
    return Monitor.around(Network(layers(1).eval(), outputs=("u",), **PORTS), 0.5, scorer=scorer)


def recurrent() -> Any:
    torch.manual_seed(0)
    return Recurrent(nn.GRU(2, 1, batch_first=True).double(), outputs=("u",), **PORTS)


MADE: dict[str, tuple[Callable[[], Any], str]] = {
    "classifier": (lambda: Classifier(layers(3).eval(), labels=("a", "b", "c"), **PORTS), "confidence"),
    "ensemble": (lambda: Ensemble([layers(1).eval(), layers(1).eval()], **PORTS), "mean"),
    "dropout": (lambda: MCDropout(layers(1), samples=4, **PORTS), "mean"),
    "monitor": (monitored, "u"),
    "nearest": (nearest, "u"),
    "recurrent": (recurrent, "u"),
}


def values(make: Callable[[], Any], says: str, device: str) -> torch.Tensor:
    loop = Loop(make(), says).to(device)
    start: dict[Any, Any] = {"plant.x": torch.linspace(-2.0, 2.0, 33, dtype=torch.float64)}
    return simulate(loop, 1, set=start, every=0.05, device=device, seed=3, solver=STEP)["y"].values.cpu()


@gpu
@pytest.mark.parametrize("name", MADE)
def test_a_network_agrees_with_the_cpu(name: str) -> None:
    here, there = (values(*MADE[name], device) for device in ("cpu", "cuda"))
    assert torch.allclose(here, there, rtol=1e-9, atol=1e-10)


@gpu
def test_a_detector_agrees_with_the_cpu() -> None:
    found = []
    for device in ("cpu", "cuda"):
        net = Detector(Boxes(), most=4, inputs={"pair": Input(shape=(2,))}, period="20 ms")
        start: dict[Any, Any] = {"plant.x": torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)}
        run = simulate(Loop(net, "count", vector=True), 0.5, set=start, every=0.05, device=device, solver=STEP)
        found.append(run["y"].values.cpu())
    assert torch.allclose(*found, rtol=1e-9, atol=1e-10)


@gpu
def test_a_neural_state_space_agrees_with_the_cpu() -> None:
    class Whole(Diagram):
        y = Output()

        def __init__(self) -> None:
            torch.manual_seed(0)
            module = nn.Sequential(nn.Linear(2, 2), nn.Tanh()).double()
            self.net = NeuralStateSpace(module, states=("p", "q"), inputs=())
            self.y = self.net.p

    found = [simulate(Whole().to(device), 1, every=0.1, device=device, solver=STEP, set={"net.p": torch.ones(3)})
             for device in ("cpu", "cuda")]  # fmt: skip
    assert torch.allclose(found[0]["y"].values, found[1]["y"].values.cpu(), rtol=1e-9, atol=1e-10)


def decided() -> Computer:
    def body(job):
        said = yield Read("net")
        yield Compute("2 ms" if abs(said) < 0.2 else "9 ms")
        yield Write("net")

    return Computer([Task("t", Processor("cpu"), period="20 ms", body=body, runs=["net"])])


@gpu
@pytest.mark.parametrize("live", [False, True])
def test_a_loop_on_a_computer_agrees_with_the_cpu(live: bool) -> None:
    drawn = Task("t", Processor("cpu"), period="20 ms", execution=Uniform("1 ms", "15 ms"), runs=["net"])
    found = []
    for device in ("cpu", "cuda"):
        loop = Loop(Network(layers(1).eval(), outputs=("u",), **PORTS), "u")
        model = decided().on(loop, live=True) if live else Computer([drawn]).on(loop, horizon=1)
        start: dict[Any, Any] = {"plant.x": torch.linspace(-2.0, 2.0, 7, dtype=torch.float64)}
        run = simulate(model.to(device), 1, set=start, every=0.05, device=device, seed=3, solver=STEP)
        found.append(run["y"].values.cpu())
    assert torch.allclose(*found, rtol=1e-9, atol=1e-10)
