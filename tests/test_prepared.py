"""Prepared runs and the networks in them: weights are data, layers are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from simdl import RK4, Block, Diagram, Network, Output, RunError, State, prepare, simulate, tick
from simdl.blocks import Pendulum

OPTIONS: dict[str, Any] = dict(set={"plant.theta": 1.0}, every=0.1, solver=RK4(max_step=0.005))


class Loop(Diagram):
    """A pendulum driven by a network."""

    y = Output()

    def __init__(self, module: nn.Module) -> None:
        self.plant = Pendulum()
        self.net = Network(module, period="20 ms", inputs=("theta", "omega"), outputs=("torque",))
        self.net.theta, self.net.omega = self.plant.theta, self.plant.omega
        self.plant.torque = self.net.torque
        self.y = self.plant.theta


class Squares(Block):
    """Counts, and squares in numpy."""

    y, n = Output(), State(0.0)

    @tick
    def go(self, n: torch.Tensor) -> dict[str, Any]:
        return dict(y=torch.from_numpy(n.numpy() ** 2), n=n + 1)


def scale(module: nn.Sequential) -> None:
    with torch.no_grad():
        module[0].weight.mul_(2)


def replace_parameter(module: nn.Sequential) -> None:
    module[0].weight = nn.Parameter(module[0].weight.detach() * 3)


def replace_layer(module: nn.Sequential) -> None:
    module[1] = nn.ReLU()


@pytest.mark.parametrize("change", [scale, replace_parameter, replace_layer])
def test_a_changed_network_is_the_one_that_runs(change: Callable[[nn.Sequential], None]) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1)).double()
    loop = Loop(module)
    ready = prepare(loop, 1.0, engine="native", **OPTIONS)
    before = ready.run()["y"].values
    change(module)
    after = ready.run()["y"].values
    assert not torch.allclose(before, after)
    assert torch.equal(after, simulate(loop, 1.0, engine="native", **OPTIONS)["y"].values)
    assert torch.allclose(after, simulate(loop, 1.0, engine="torch", **OPTIONS)["y"].values, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("threads", [0, -1, 2.5, True, "two"])
def test_threads_are_a_whole_number(threads: Any) -> None:
    with pytest.raises(RunError, match="threads: .*\n.*at least 1"):
        simulate(Squares(period=0.1), 1.0, threads=threads)


def test_numpy_in_a_sampled_block_is_called_at_its_ticks() -> None:
    run = simulate(Squares(period=0.1), 1.0, engine="native")
    assert run["y"].values[0].tolist() == [float(k * k) for k in range(11)]
    assert "in torch at its ticks (numpy()" in run.why
