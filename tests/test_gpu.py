"""The torch engine on a GPU does what it does on the CPU: every block of the library, noise, networks and gradients.

Skipped where there is no GPU. The last machine and date on which it ran are in RELIABILITY.md.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from simdl import RK4, Diagram, Network, Output, Run, simulate
from simdl.blocks import Pendulum, WhiteNoise
from tests.test_library import CASES, run

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def on(device: str, name: str) -> Run:
    """A case of the library in three lanes."""
    model, keywords = CASES[name]()
    return run(model, {**keywords, "device": device}, [0, 1, 2])


@gpu
@pytest.mark.parametrize("name", sorted(CASES))
def test_block_agrees_with_the_cpu(name: str) -> None:
    here, there = on("cpu", name), on("cuda", name)
    assert here.status == there.status
    for path, trace in here.traces.items():
        one, other = trace.values.double(), there.traces[path].values.cpu().double()
        assert torch.equal(trace.t, there.traces[path].t.cpu()), path
        worst = ((one - other).abs() / (1 + one.abs())).amax()
        assert worst < 1e-9, f"{path}: {float(worst):.3g}"


class Swing(Diagram):
    """A pendulum, seen through noise by a small network that drives it."""

    angle = Output()

    def __init__(self, module: torch.nn.Module) -> None:
        self.plant, self.noise = Pendulum(), WhiteNoise(period="20 ms", std=0.01)
        self.net = Network(module, period="20 ms", inputs=("seen",), outputs=("torque",))
        self.net.seen = self.plant.theta + self.noise.y
        self.plant.torque = self.net.torque
        self.angle = self.plant.theta


def gradient(device: str) -> tuple[torch.Tensor, list[torch.Tensor]]:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double().to(device)
    loop = Swing(module)
    given: dict[Any, Any] = {loop.plant.theta: torch.linspace(0.1, 1.0, 64, dtype=torch.float64)}
    found = simulate(loop, 0.5, set=given, every=0.02, device=device, grad=True, seed=3, solver=RK4(max_step="5 ms"))
    values = found["angle"].values
    loss = values.square().mean()
    loss.backward()
    return values.detach().cpu(), [p.grad.cpu() for p in module.parameters() if p.grad is not None]


@gpu
def test_networks_noise_and_gradients_agree_with_the_cpu() -> None:
    values, gradients = gradient("cpu")
    other, others = gradient("cuda")
    assert torch.allclose(values, other, rtol=1e-9, atol=1e-10)
    assert len(gradients) == len(others) == 4
    for one, two in zip(gradients, others):
        assert torch.allclose(one, two, rtol=1e-8, atol=1e-12)
