"""Learning one step of a part from its record, by running on the network's own predictions."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simdl.errors import NetworkError
from simdl.learn.interrupt import requests
from simdl.networks.architecture import mlp
from simdl.progress import progress


class Affine(nn.Module):
    """size (A row + b + net(row)): a linear part that least squares finds, and a network for what is not linear."""

    size: Tensor

    def __init__(self, ins: int, size: Tensor, hidden: Sequence[int]) -> None:
        super().__init__()
        self.linear = nn.Linear(ins, len(size))
        self.net = mlp(ins, len(size), hidden=list(hidden)) if hidden else None
        self.register_buffer("size", size)

    def forward(self, row: Tensor) -> Tensor:
        found: Tensor = self.linear(row)
        return self.size * (found if self.net is None else found + self.net(row))

    def solve(self, rows: Tensor, wanted: Tensor) -> None:
        """Least squares for A and b, with the last layer of the network at zero."""
        ones = torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
        gram = ones.T @ ones / len(ones)
        gram += 1e-9 * torch.eye(len(gram), dtype=gram.dtype)
        found = torch.linalg.solve(gram, ones.T @ (wanted / self.size) / len(ones)).T
        with torch.no_grad():
            self.linear.weight.copy_(found[:, :-1])
            self.linear.bias.copy_(found[:, -1])
            if self.net is not None:
                last = [layer for layer in self.net.modules() if isinstance(layer, nn.Linear)][-1]
                last.weight.mul_(0.01)
                last.bias.zero_()


@dataclass(frozen=True)
class Training:
    """How a surrogate was trained.

    rows: (step, loss of the batch, error of free runs over whole validation lanes), the last two relative to standard
    deviations; best: the error that was kept; linear: that of the least-squares start; stopped: "steps", "seconds" or
    "interrupted".
    """

    rows: tuple[tuple[int, float, float], ...]
    best: float
    linear: float
    seconds: float
    lanes: int
    samples: int
    stopped: str


def normalised(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(lanes, samples, n) in standard deviations, with the means and deviations (n,)."""
    if not values.shape[2]:
        return values, values.new_zeros(0), values.new_ones(0)
    mean, std = values.mean((0, 1)), values.std((0, 1))
    std = torch.where(std > 1e-12 * (1.0 + mean.abs()), std, torch.ones_like(std))
    return (values - mean) / std, mean, std


def train(
    states: Tensor, inputs: Tensor, outputs: Tensor, *, hidden: Sequence[int], through: bool, horizon: int, steps: int,
    batch: int, learning_rate: float, seconds: float | None, validate: float, seed: int, shown: bool | None,
) -> tuple[Affine, Affine | None, Training]:  # fmt: skip
    """Learn x(k+1) = x(k) + f(x, u) and y = g(x, u) from normalised records (lanes, samples, n).

    The loss is the mean square over `horizon` steps on the network's own predictions. The weights kept are those with
    the smallest error of free runs over whole lanes held out, the least-squares start among them. Ctrl-C ends training
    and keeps the best so far.
    """
    lanes, samples, width = states.shape
    held = max(1, round(validate * lanes))
    if lanes - held < 1 or not 1 <= horizon < samples:
        raise NetworkError("surrogate", f"{lanes} lanes of {samples} samples, horizon={horizon}",
                           "two lanes, and more samples than the horizon")  # fmt: skip
    ins = width + inputs.shape[2]
    change = states[:, 1:] - states[:, :-1]
    size = change.std((0, 1)).clamp(min=1e-9)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        f = Affine(ins, size, hidden).double()
        g = None if not outputs.shape[2] else Affine(ins if through else width, size.new_ones(outputs.shape[2]), hidden)
    f.size = size
    rows = torch.cat([states, inputs], 2)
    seen = rows if through else states
    f.solve(rows[:-held, :-1].flatten(0, 1), change[:-held].flatten(0, 1))
    if g is not None:
        g = g.double()
        g.solve(seen[:-held].flatten(0, 1), outputs[:-held].flatten(0, 1))

    def run(x: Tensor, u: Tensor, wanted: Tensor, shown: Tensor) -> Tensor:
        """Mean squares of a run from x over the steps of u (rows, steps, n)."""
        found = x.new_zeros(())
        for k in range(u.shape[1]):
            row = torch.cat([x, u[:, k]], 1)
            if g is not None:
                found = found + (g(row if through else x) - shown[:, k]).square().mean()
            x = x + f(row)
            found = found + (x - wanted[:, k]).square().mean()
        return found / u.shape[1]

    def error() -> float:
        with torch.no_grad():
            value = run(states[-held:, 0], inputs[-held:, :-1], states[-held:, 1:], outputs[-held:, :-1]).sqrt()
        return float(value.nan_to_num(nan=torch.inf))

    parts = nn.ModuleList([one for one in (f, g) if one is not None])
    best = linear = error()
    kept = copy.deepcopy(parts.state_dict())
    optimiser = torch.optim.Adam(parts.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps))
    generator = torch.Generator().manual_seed(seed)
    history: list[tuple[int, float, float]] = []
    stopped, begun = "steps", time.monotonic()
    with progress("surrogate: training", steps, shown, "steps") as bar, requests() as stop:
        for step in range(1, steps + 1):
            length = min(horizon, 1 + step * 2 * horizon // max(1, steps))  # longer runs as it learns
            lane = torch.randint(0, lanes - held, (batch, 1), generator=generator)
            first = torch.randint(0, samples - length, (batch, 1), generator=generator)
            now = first + torch.arange(length)
            loss = run(states[lane[:, 0], first[:, 0]], inputs[lane, now], states[lane, now + 1], outputs[lane, now])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            bar.advance()
            late = seconds is not None and time.monotonic() - begun > seconds
            stopped = "interrupted" if stop else "seconds" if late else "steps"
            if step % 25 == 0 or step == steps or stopped != "steps":
                history.append((step, float(loss.detach()), error()))
                bar.note(f"surrogate: free-run error {history[-1][2]:.3g}, best {best:.3g}")
                if history[-1][2] < best:
                    best, kept = history[-1][2], copy.deepcopy(parts.state_dict())
            if stopped != "steps":
                break
    parts.load_state_dict(kept)
    done = Training(tuple(history), best, linear, time.monotonic() - begun, lanes, samples, stopped)
    return f, g, done
