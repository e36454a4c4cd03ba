"""The study of latency: its margins fall with delay, load and jitter, and priority takes the load away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from simdl import LinearModel, simulate
from simdl.networks import Network
from simdl.scenario import scenario
from simdl.scenarios.latency_budget import recipe
from simdl.scenarios.latency_budget.loop import Balance
from simdl.scenarios.latency_budget.machine import machine
from simdl.scenarios.latency_budget.scenario import CARD


def test_the_network_imitates_the_regulator_to_a_fraction_of_a_newton() -> None:
    net = Network.from_card(CARD)
    x, wanted = recipe.samples(4096, seed=99)
    force = net.step(*x.double().unbind(1))["force"]
    assert float((force - wanted[:, 0]).square().mean().sqrt()) < 0.2  # N, of 12


def test_the_regulator_makes_the_upright_pole_stable() -> None:
    """The closed loop of the sampled linear model has its poles inside the unit circle."""
    from simdl import linearise
    from simdl.blocks import CartPole

    model: LinearModel = linearise(CartPole(), [0.0] * 4, [0.0], period="20 ms")
    closed = model.A - model.B @ recipe.gain().unsqueeze(0)
    assert float(torch.linalg.eigvals(closed).abs().max()) < 1


def test_response_times_without_load_are_the_sum_of_their_parts() -> None:
    """0.4 + 0.2 ms of computing, a copy of 0.2 ms, the inference, and two switches of 5 us at most."""
    found = machine(inference=0.004, jitter=0.0, load=0.0).schedule("1 s").responses("control") / 1e6
    assert np.all(found >= 4.8) and np.all(found <= 4.8 + 0.011)


def test_first_come_waits_for_the_others_and_priority_for_one_of_them_at_most() -> None:
    fifo = machine(load=0.6).schedule("20 s", seed=1).responses("control") / 1e6
    first = machine(load=0.6, order="priority").schedule("20 s", seed=1).responses("control") / 1e6
    assert fifo.max() > 30
    # its own longest time (5 + 0.8 ms), one inference under way (8.2 ms), and its own job before it at most
    assert first.max() < 5.81 + 8.2 + 0.1


def test_a_delay_on_the_computer_is_the_latency_of_the_block() -> None:
    """Without load and jitter the computer is a constant delay: the same loop with latency= gives the same angle."""
    on_computer = machine(inference=0.004, jitter=0.0, load=0.0).on(Balance(CARD), horizon="2 s")
    delay = machine(inference=0.004, jitter=0.0, load=0.0).schedule("1 s").responses("control")
    assert len(set(delay.tolist())) == 1
    late = Balance(Network.from_card(CARD, latency=f"{delay[0]} ns"))
    start = {"plant.theta": torch.tensor([0.1, -0.05])}
    runs = [simulate(loop, until=2, every=0.02, set=start, seed=3)["angle"].values for loop in (on_computer, late)]
    assert torch.allclose(*runs, rtol=0, atol=1e-6)  # float32 inside the network


def test_margins_fall_with_the_delay_until_the_pole_falls() -> None:
    base = scenario("latency_budget")
    margins = []
    for sensing in (0.0, 0.06, 0.12):
        one = replace(base, computer=machine(load=0.0, jitter=0.0, sensing=sensing), until="4 s",
                      requirements={"stays up": "always[2:4](abs(angle) < 0.4)"})  # fmt: skip
        margins.append(float(one.campaign(16, seed=5).margins["stays up"].min()))
    assert margins[0] > margins[1] > margins[2]
    assert margins[1] > 0 > margins[2]


def test_a_network_of_ones_own_goes_into_the_slot_and_onto_the_computer(tmp_path: Path) -> None:
    zero = torch.nn.Linear(4, 1).double()
    torch.nn.init.zeros_(zero.weight)
    torch.nn.init.zeros_(zero.bias)
    study = replace(scenario("latency_budget"), until="2 s").swap(controller=zero)
    run = study.run(seed=1)
    assert float(run["angle"].values.abs().max()) > 0.5  # nobody holds it
    assert "controller" in study.build().describe()


def test_workers_get_the_computer_too() -> None:
    study = replace(scenario("latency_budget"), until="1 s", requirements={"up": "always[0:1](abs(angle) < 0.4)"})
    alone, shared = (study.campaign(6, seed=2, workers=n, shard=3, progress=False) for n in (1, 2))
    assert torch.equal(alone.margins["up"], shared.margins["up"])
