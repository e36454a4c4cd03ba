"""The network of the shared weights as a torch module, and the closed loop around it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.data import Data
from simdl import Diagram, Input, Network
from simdl.blocks import CartPole


class Scaled(nn.Module):
    """10 tanh(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return 10.0 * torch.tanh(x)


def controller(data: Data, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """4-64-64-1 with tanh, and 10 tanh at the end."""
    made = nn.Sequential(
        nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1), Scaled()
    ).to(dtype)  # fmt: skip
    w = data.weights
    with torch.no_grad():
        for layer, number in ((made[0], 1), (made[2], 2), (made[4], 3)):
            assert isinstance(layer, nn.Linear)
            layer.weight.copy_(torch.as_tensor(w[f"w{number}"].T))
            layer.bias.copy_(torch.as_tensor(w[f"b{number}"]))
    return made


NAMES = ("x", "v", "theta", "omega")


class Loop(Diagram):
    """The pole balanced by the network."""

    def __init__(self, module: nn.Module) -> None:
        self.plant = CartPole()
        self.net = Network(module, period="20 ms", inputs=NAMES, outputs=("force",), mode="fast")
        for name in NAMES:
            setattr(self.net, name, self.measured(name))
        self.plant.force = self.net.force

    def measured(self, name: str) -> Any:
        return getattr(self.plant, name)


class NoisyLoop(Loop):
    """The same with what is given at the inputs added to the measurements."""

    x, v, theta, omega = Input(0.0), Input(0.0), Input(0.0), Input(0.0)

    def measured(self, name: str) -> Any:
        return getattr(self.plant, name) + getattr(self, name)
