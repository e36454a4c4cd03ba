"""The delay margin that linear theory gives each pole, to set beside what is simulated."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from simdl import LinearModel, linearise
from simdl.blocks import CartPole
from simdl.clock import SECOND, nanoseconds
from simdl.computer import DelayedLoop
from simdl.networks import Network
from simdl.scenarios.latency_budget.loop import PERIOD
from simdl.scenarios.latency_budget.scenario import CARD, SCENARIO
from simdl.space import draw

POLES = ("plant.cart", "plant.pole", "plant.half")
CONTROL = nanoseconds(PERIOD) / SECOND  # s
STEP, LONGEST = 2e-3, 0.3  # s: between the delays tried, and the longest of them


def gain() -> torch.Tensor:
    """The network's Jacobian at the top: force over x, v, theta and omega, (1, 4)."""
    return linearise(Network.from_card(CARD), [], [0.0] * 4).D


def loop(plant: LinearModel, K: torch.Tensor, ticks: int) -> DelayedLoop:
    """The linear loop whose controller shows what it computed so many ticks ago."""
    outputs, inputs = K.shape
    F = torch.zeros(ticks, ticks, dtype=torch.float64)
    F[1:, :-1] = torch.eye(max(0, ticks - 1), dtype=torch.float64)
    G = torch.zeros(ticks, inputs, dtype=torch.float64)
    H = torch.zeros(outputs, ticks, dtype=torch.float64)
    if ticks:
        G[:1], H[:, -1], K = K, 1.0, torch.zeros_like(K)
    controller = LinearModel(F, G, H, K, period=CONTROL)
    return DelayedLoop(plant, controller, weights=np.eye(len(plant.A) + outputs))


def delay_margin(parameters: Mapping[str, Any], K: torch.Tensor) -> float:
    """The shortest constant delay, s, between samples and force with which the linear loop of a pole is not stable."""
    plant = linearise(CartPole(**parameters), [0.0] * 4, [0.0])

    def stable(delay: float) -> bool:
        ticks = int(delay / CONTROL + 1e-9)
        return loop(plant, K, ticks).radius([max(0.0, delay - ticks * CONTROL)]) < 1

    low = next((d for d in np.arange(STEP, LONGEST, STEP) if not stable(d)), LONGEST) - STEP
    high = low + STEP
    for _ in range(7):
        middle = (low + high) / 2
        low, high = (middle, high) if stable(middle) else (low, middle)
    return float(low)


def delay_margins(lanes: int, seed: int = 0) -> NDArray[np.float64]:
    """The margins, s, of the poles that so many lanes of the scenario have, (lanes,)."""
    drawn = draw({path: SCENARIO.space[path] for path in POLES}, seed, torch.arange(lanes))
    K = gain()
    poles = [{path.removeprefix("plant."): float(values[k]) for path, values in drawn.items()} for k in range(lanes)]
    return np.array([delay_margin(pole, K) for pole in poles])
