"""Prepared runs and the networks in them: weights are data, layers are not."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from simdl import (
    RK4,
    Block,
    Diagram,
    Network,
    Output,
    RunError,
    State,
    Tsit5,
    derivative,
    hit,
    prepare,
    simulate,
    tick,
)
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


class Waits(Block):
    """Runs again after a time that a layer says, in every lane for itself."""

    n, y = State(0.0), Output()

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    @hit(first=0.0)
    def go(self, n: torch.Tensor) -> dict[str, Any]:
        return dict(n=n + 1, y=n, next=self.module(n[:, None])[:, 0])


class Turning(Block):
    """A rotation at a frequency that a layer says."""

    x, y = State(1.0), State(0.0)

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    @derivative(x, y)
    def flow(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rate = self.module(torch.zeros_like(x)[:, None])[:, 0]
        return -rate * y, rate * x


class Says(nn.Module):
    """The same number whatever it is asked."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.tensor([number], dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0 + self.number


ENDLESS = [(Waits, 0.25, 1e-9, None), (Turning, 1.0, 1e9, Tsit5(rtol=1e-9, max_steps=10**9))]


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="signals of POSIX")
@pytest.mark.parametrize(("kind", "quick", "slow", "solver"), ENDLESS, ids=["hits", "steps"])
def test_ctrl_c_ends_a_call_of_hours_and_the_next_run_is_as_before(
    kind: Any, quick: float, slow: float, solver: Any, interrupts: None
) -> None:
    module = Says(quick)
    ready = prepare(kind(module), 4.0, engine="native", solver=solver, every=0.5, lanes=2, record=["y"])
    before = ready.run()
    with torch.no_grad():
        module.number.fill_(slow)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        ready.run()
    timer.join()
    with torch.no_grad():
        module.number.fill_(quick)
    after = ready.run()
    assert torch.equal(before["y"].values, after["y"].values)
    assert all(torch.equal(before.final[key], after.final[key]) for key in before.final)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_whose_handler_raises_nothing_changes_nothing(number: signal.Signals) -> None:
    module = Says(1e-5)
    ready = prepare(Waits(module), 10.0, engine="native", every=0.5, record=["y"])
    before = ready.run()
    heard: list[int] = []
    old = signal.signal(number, lambda *_: heard.append(1))
    try:
        timer = threading.Timer(0.01, os.kill, (os.getpid(), number))
        timer.start()
        after = ready.run()
        timer.join()
    finally:
        signal.signal(number, old)
    assert heard == [1]
    assert torch.equal(before["y"].values, after["y"].values)
