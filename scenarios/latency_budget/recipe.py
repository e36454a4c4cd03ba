"""How the controller that ships was trained: it imitates a linear quadratic regulator that knows no delay."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from simdl import Input, LinearModel, Output, linearise
from simdl.blocks import CartPole
from simdl.blocks.lqr import lqr_gain
from simdl.networks import ModelCard, Network, save
from simdl.networks.architecture import mlp
from simdl.scenarios.latency_budget import cost
from simdl.scenarios.latency_budget.loop import CONTROLLER, FORCE, PERIOD

BOX = {"x": (-1.2, 1.2), "v": (-2.0, 2.0), "theta": (-0.5, 0.5), "omega": (-2.5, 2.5)}
SHAPE: dict[str, Any] = {"inputs": 4, "hidden": [24, 24]}


def gain() -> torch.Tensor:
    """K of u = -K (x, v, theta, omega) for the pole standing up, sampled every 20 ms."""
    model: LinearModel = linearise(CartPole(), [0.0] * 4, [0.0], period=PERIOD)
    Q, R = torch.diag(torch.tensor(cost.STATES, dtype=torch.float64)), [[cost.FORCE]]
    return torch.as_tensor(lqr_gain(model, Q, R))[0]


def samples(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """States in the box and the force there, within what the motor gives: (count, 4), (count, 1)."""
    generator = torch.Generator().manual_seed(seed)
    low, high = (torch.tensor([box[k] for box in BOX.values()]) for k in (0, 1))
    x = low + (high - low) * torch.rand(count, 4, generator=generator)
    small = torch.rand(count, 1, generator=generator)  # more of them near the top
    x = x * small
    return x, (-(x @ gain().float())).clamp(-FORCE, FORCE).unsqueeze(1)


def train(folder: Path, steps: int = 4000, seed: int = 0) -> ModelCard:
    """Train on 65 536 states, and save the network with its card."""
    torch.manual_seed(seed)
    module = mlp(**SHAPE)
    x, y = samples(65_536, seed)
    scales = {name: (0.0, high / 3**0.5) for name, (_, high) in BOX.items()}
    width = torch.tensor([deviation for _, deviation in scales.values()])
    optimiser = torch.optim.Adam(module.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
    order = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(x), (512,), generator=order)
        loss = nn.functional.smooth_l1_loss(module(x[rows] / width), y[rows] / FORCE)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    fresh, wanted = samples(16_384, seed + 1)
    with torch.no_grad():
        error = (module(fresh / width) * FORCE - wanted).square().mean().sqrt()
    block = Network(
        module.eval(),
        inputs={name: Input(unit=one.unit) for name, one in CONTROLLER.inputs.items()},
        outputs={"force": Output(unit="N")},
        period=PERIOD,
    )
    card = ModelCard.of(
        block, "mlp", SHAPE, scales={**scales, "force": (0.0, FORCE)}, boxes=BOX, name="latency_budget controller",
        metrics={"rmse_N": float(error)}, notes="imitates a linear quadratic regulator that knows no delay",
    )  # fmt: skip
    return save(folder, module, card)
