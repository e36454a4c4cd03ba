"""Training finds what can be found, says what is wrong, and keeps the best."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from simdl.data import Normalisation, Schema, Sequences, Shards, ShardWriter, Signal, Windows, split_by_lane
from simdl.errors import RunError
from simdl.learn import Cosine, Epoch, History, Linear, QuarticLoss, evaluate, fit, mse
from simdl.networks.weights import load_weights


def line(count: int = 256, noise: float = 0.0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(3)
    x = torch.randn(count, 3, generator=g)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3 + noise * torch.randn(count, 1, generator=g)
    return x, y


def linear(seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(3, 1)


class Filter(nn.Module):
    """y[k] = a y[k-1] + b x[k], with a written so that 0 < a < 1. Counts how it is called."""

    def __init__(self, a: float = 0.5, b: float = 1.0) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))
        self.lengths: list[int] = []

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.lengths.append(x.shape[1])
        y = x.new_zeros(x.shape[0]) if state is None else state
        rows = []
        for k in range(x.shape[1]):
            y = self.a * y + self.b * x[:, k, 0]
            rows.append(y)
        return torch.stack(rows, 1)[..., None], y


def test_least_squares_is_found() -> None:
    x, y = line(noise=0.1)
    net = linear()
    history = fit(net, (x, y), epochs=500, batch=256, rate=0.1, optimizer="adam")
    exact = np.linalg.lstsq(np.c_[x.numpy(), np.ones(len(x))], y.numpy(), rcond=None)[0][:, 0]
    found = torch.cat([net.weight[0], net.bias]).detach().numpy()
    np.testing.assert_allclose(found, exact, atol=2e-4)
    residual = y.numpy()[:, 0] - np.c_[x.numpy(), np.ones(len(x))] @ exact
    assert history.best.train == pytest.approx(float((residual**2).mean()), rel=1e-4)


def test_one_step_of_gradient_descent_is_the_formula() -> None:
    x, y = line(8)
    net = linear()
    w, b = net.weight.detach().clone(), net.bias.detach().clone()
    error = x @ w.T + b - y
    fit(net, (x, y), epochs=1, batch=8, rate=0.01, optimizer="sgd", schedule="constant")
    torch.testing.assert_close(net.weight, w - 0.01 * 2 * (error.T @ x) / 8)
    torch.testing.assert_close(net.bias, b - 0.01 * 2 * error.mean(0))


def test_pieces_carry_the_state_but_not_its_gradient() -> None:
    x = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])
    y = torch.zeros(1, 4, 1)
    net = Filter(0.5, 1.0)
    fit(net, (x, y), epochs=1, rate=0.01, optimizer="sgd", schedule="constant", truncation=2)
    # By hand: first piece y = 1, 2.5; dL/da = mean(2 y dy/da), dy1/da = 0, dy2/da = y1; dL/db likewise.
    a, b = 0.5, 1.0
    y1 = b * 1
    y2 = a * y1 + b * 2
    da = (0 + 2 * y2 * y1) / 2
    db = (2 * y1 * 1 + 2 * y2 * (a * 1 + 2)) / 2
    a1, b1 = a - 0.01 * da, b - 0.01 * db
    # Second piece, with the new weights, from y2 as a number.
    y3 = a1 * y2 + b1 * 3
    y4 = a1 * y3 + b1 * 4
    da = (2 * y3 * y2 + 2 * y4 * (y3 + a1 * y2)) / 2
    db = (2 * y3 * 3 + 2 * y4 * (a1 * 3 + 4)) / 2
    assert net.a.item() == pytest.approx(a1 - 0.01 * da, rel=1e-6)
    assert net.b.item() == pytest.approx(b1 - 0.01 * db, rel=1e-6)
    assert net.lengths == [2, 2]


def sequences(count: int = 32, length: int = 24) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, length, 1, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return x, Filter(0.8, 0.4)(x)[0]


@pytest.mark.parametrize("truncation", [None, 1, 7, 24, 100])
def test_a_filter_is_identified(truncation: int | None) -> None:
    net = Filter()
    fit(net, sequences(), epochs=60, batch=8, rate=0.05, optimizer="adam", truncation=truncation)
    assert net.a.item() == pytest.approx(0.8, abs=0.02) and net.b.item() == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("truncation", [None, 1, 5, 8, 30])
@pytest.mark.parametrize("warmup", [0, 3, 8, 11])
def test_the_loss_does_not_depend_on_the_pieces(truncation: int | None, warmup: int) -> None:
    x, y = sequences()
    y = y + torch.arange(24.0)[None, :, None]
    net = Filter(0.3, 0.2)
    with torch.no_grad():
        exact = (net(x)[0] - y)[:, warmup:].square().mean().item()
    assert evaluate(net, (x, y), truncation=truncation, warmup=warmup, batch=5) == pytest.approx(exact, rel=1e-6)
    mask = torch.rand(32, 24, generator=torch.Generator().manual_seed(2)) < 0.4
    with torch.no_grad():
        kept = (net(x)[0] - y)[:, warmup:][mask[:, warmup:]].square().mean().item()
    assert evaluate(net, (x, y, mask), truncation=truncation, warmup=warmup, batch=5) == pytest.approx(kept, rel=1e-6)


def test_the_warmup_and_the_mask_hide_samples() -> None:
    x, y = sequences()
    y = y.clone()
    y[:, :6] = 1e3
    y[3, 10:] = -1e3
    mask = torch.ones(32, 24, dtype=torch.bool)
    mask[3, 10:] = False
    net = Filter()
    history = fit(
        net, (x, y, mask), (x, y, mask), epochs=60, batch=8, rate=0.05, optimizer="adam", truncation=4, warmup=6
    )
    assert history.best.score < 1e-3 and net.a.item() == pytest.approx(0.8, abs=0.02)


def test_the_quartic_loss_is_its_formula() -> None:
    e = torch.tensor([0.5, -2.0, 0.0], dtype=torch.float64)
    assert QuarticLoss(3.0)(e, torch.zeros(3)).item() == pytest.approx((0.25 + 4 + 3 * (0.0625 + 16)) / 3)
    assert torch.autograd.gradcheck(QuarticLoss(0.7), (e.requires_grad_(), torch.zeros(3, dtype=torch.float64)))
    assert QuarticLoss(0.0)(e, torch.ones(3)) == mse(e, torch.ones(3))


def test_the_best_weights_are_kept() -> None:
    x, y = line(64, noise=1.0)
    net = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 1))
    held = line(300)
    seen: list[dict[str, Tensor]] = []
    history = fit(
        net,
        (x[:10], y[:10]),
        held,
        epochs=200,
        rate=0.01,
        batch=10,
        on_epoch=lambda row, module: seen.append({k: v.clone() for k, v in module.state_dict().items()}),
    )
    assert 1 < history.best.epoch < 200, "it overfits"
    assert history.best.score == min(row.score for row in history.epochs)
    assert all(torch.equal(v, seen[history.best.epoch - 1][k]) for k, v in net.state_dict().items())
    assert evaluate(net, held) == pytest.approx(history.best.score, rel=1e-6)


def test_patience_stops() -> None:
    x, y = line(64, noise=1.0)
    net = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 1))
    history = fit(net, (x[:10], y[:10]), line(300), epochs=10_000, rate=0.01, batch=10, patience=5, schedule="constant")
    assert history.stopped == "patience" and len(history.epochs) == history.best.epoch + 5


def test_a_time_budget_ends_and_validates() -> None:
    history = fit(linear(), line(), line(), seconds=0.3, batch=16)
    assert history.stopped == "seconds" and history.epochs[-1].seconds >= 0.3
    assert history.epochs[-1].validate is not None and history.epochs[-1].rate < 0.1 * 1e-3


def test_callbacks_measure_and_stop() -> None:
    def rmse(row: Epoch, module: nn.Module) -> dict[str, float]:
        assert not module.training
        return {"rmse": row.train**0.5}

    history = fit(linear(), line(), epochs=50, on_epoch=[rmse, lambda row, module: row.epoch == 7])
    assert history.stopped == "callback" and len(history.epochs) == 7
    assert all(row.metrics["rmse"] == row.train**0.5 for row in history.epochs)


def test_the_callers_random_numbers_and_mode_are_left_alone() -> None:
    net = linear().eval()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(net, line(), epochs=3)
    assert torch.equal(torch.rand(3), expected) and not net.training


def test_equal_seeds_give_equal_weights() -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        torch.manual_seed(torch.initial_seed() + seed * 31)  # what the caller did with the generator is no matter
        fit(net, line(), epochs=3, seed=seed)
        return torch.cat([p.flatten() for p in net.parameters()])

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


def test_schedules_fall_with_progress() -> None:
    for schedule in (Cosine(), Linear()):
        values = [schedule(k / 1000) for k in range(1001)]
        assert (
            values[0] == pytest.approx(0.05) and max(values) == pytest.approx(1.0) and values[20] == pytest.approx(1.0)
        )
        assert values[-1] == pytest.approx(0.01) and sorted(values[20:], reverse=True) == values[20:]
    rates = [row.rate for row in fit(linear(), line(), epochs=10, rate=0.5, schedule="linear").epochs]
    assert rates == sorted(rates, reverse=True) and rates[-1] < 0.1


def test_augmentation_sees_each_batch_with_its_own_generator() -> None:
    drawn: list[float] = []

    def jitter(batch: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
        drawn.append(torch.rand(1, generator=generator).item())
        return batch[0] + 0.01 * torch.randn(batch[0].shape, generator=generator), batch[1]

    fit(linear(), line(), epochs=2, batch=64, augment=jitter, seed=4)
    first = list(drawn)
    drawn.clear()
    fit(linear(), line(), epochs=2, batch=64, augment=jitter, seed=4)
    assert drawn == first and len(set(first)) == 8


class Numbered(Dataset[tuple[Tensor, Tensor]]):
    """A torch Dataset as people write it."""

    def __init__(self) -> None:
        self.x, self.y = line(40)

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


@pytest.mark.parametrize("workers", [0, 2])
def test_any_torch_dataset_trains_as_its_tensors_do(workers: int) -> None:
    nets = [linear(), linear()]
    fit(nets[0], line(40), epochs=3, batch=16, seed=2)
    fit(nets[1], Numbered(), epochs=3, batch=16, seed=2, workers=workers)
    assert torch.equal(nets[0].weight, nets[1].weight)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    folder = tmp_path_factory.mktemp("fit")
    with ShardWriter(folder, Schema([Signal("u", 10**9), Signal("y", 10**9, role="target")])) as writer:
        x, y = sequences(40, 30)
        writer.write(range(40), {"u": 5 + 3 * x[..., 0], "y": 100 * y[..., 0]})
    return Shards(folder)


def test_from_shards_to_weights(shards: Shards, tmp_path: Path) -> None:
    train, validate = split_by_lane(shards, (0.7, 0.3), seed=1)
    norm = Normalisation.of(train, ["u", "y"])
    sets = [Sequences(part, ["u"], ["y"], normalise=norm) for part in (train, validate)]
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = nn.GRU(1, 8, batch_first=True), nn.Linear(8, 1)

        def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
            y, state = self.cell(x, state)
            return self.head(y), state

    net = Net()
    history = fit(
        net,
        *sets,
        epochs=60,
        batch=8,
        rate=0.02,
        truncation=10,
        warmup=3,
        clip=1.0,
        loss=QuarticLoss(0.5),
        checkpoint=tmp_path,
    )
    assert history.best.score < 0.05 * history.epochs[0].score
    assert all(row.gradient is not None and row.gradient > 0 for row in history.epochs)
    saved = load_weights(tmp_path / "best.safetensors")
    assert all(torch.equal(saved[name], value) for name, value in net.state_dict().items())
    assert History.read(tmp_path) == history
    assert evaluate(net, sets[1], loss=QuarticLoss(0.5), truncation=10, warmup=3) == pytest.approx(history.best.score)
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["stopped"] == "epochs"


def test_windows_train_a_network_without_memory(shards: Shards) -> None:
    norm = Normalisation.of(shards, ["u", "y"])
    windows = Windows(shards, ["u"], ["y"], length=12, normalise=norm)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
    history = fit(net, windows, epochs=20, batch=64, rate=0.02)
    assert history.best.train < 0.02


def test_curves_are_drawn(tmp_path: Path) -> None:
    history = fit(linear(), line(), line(), epochs=30, rate=0.05, clip=10.0, checkpoint=tmp_path)
    figure = history.plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    losses, rates, norms = figure.axes
    assert losses.get_yscale() == "log" and losses.get_ylabel() == "loss" and rates.get_xlabel() == "epoch"
    assert norms.get_ylabel() == "gradient norm (dotted)"
    assert [text.get_text() for text in losses.get_legend().get_texts()][:2] == ["training", "validation"]
    assert np.allclose(losses.lines[1].get_ydata(), [row.validate for row in history.epochs])


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no budget": ({"epochs": None}, "neither epochs nor seconds"),
    "epochs": ({"epochs": 0}, "epochs=0\n  expected: a whole number, at least 1"),
    "seconds": ({"epochs": None, "seconds": -1}, "seconds=-1"),
    "optimizer": ({"optimizer": "adamm"}, "optimizer='adamm'\n.*did you mean: adam"),
    "schedule": ({"schedule": "cosin"}, "schedule='cosin'\n.*did you mean: cosine"),
    "clip": ({"clip": 0}, "clip=0\n"),
    "warmup of rows": ({"warmup": 3}, r"truncation= or warmup= with targets \(64, 1\)"),
    "one tensor": ({"train": (torch.ones(3),)}, "inputs, targets"),
    "other lengths": ({"train": (torch.ones(3), torch.ones(4))}, r"\[\(3,\), \(4,\)\]"),
    "no rows": ({"train": (torch.ones(0, 3), torch.ones(0, 1))}, "no training data"),
    "no targets axis": ({"train": (torch.ones(9, 3), torch.ones(9))}, r"returned \(9, 1\)\n  expected: \(9,\), as the"),
    "double": (
        {"train": (torch.ones(9, 3).double(), torch.ones(9, 1))},
        "torch.float64 for a module of torch.float32\n.*dtype=torch.float32",
    ),
    "NaN input": (
        {"train": (torch.tensor([[1.0, 2, float("nan")]]), torch.ones(1, 1))},
        r"inputs are not finite at \(0, 2\) of a batch \(epoch 1, batch 1 of 1\)",
    ),
    "NaN target": (
        {"train": (torch.ones(1, 3), torch.tensor([[float("inf")]]))},
        r"targets are not finite at \(0, 0\)",
    ),
    "NaN in validation": (
        {"validate": (torch.ones(1, 3), torch.tensor([[float("nan")]]))},
        "validation loss is nan in epoch 1",
    ),
    "too fast": (
        {"rate": 1e30, "optimizer": "sgd", "epochs": 50},
        r"the loss became (inf|nan) \(epoch \d+, batch \d+ of 4\).*\n.*\n  fix: a lower rate=",
    ),
    "no state": (
        {"train": (torch.ones(2, 5, 3), torch.ones(2, 5, 1)), "truncation": 2, "module": nn.Linear(3, 1)},
        "truncation=2, but forward takes no state\n  expected: forward",
    ),
    "all masked": (
        {"train": (torch.ones(2, 5, 3), torch.ones(2, 5, 1), torch.zeros(2, 5))},
        "no training sample counts",
    ),
    "all warm-up": ({"train": (torch.ones(2, 5, 3), torch.ones(2, 5, 1)), "warmup": 5}, "no training sample counts"),
    "frozen": ({"module": nn.Flatten()}, "no parameters to train"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str) -> None:
    words, message = WRONG[name]
    words = {"module": linear(), "train": line(), "epochs": 1, **words}
    with pytest.raises(RunError) as error:
        fit(**words)
    assert re.search(message, str(error.value), re.S), str(error.value)


def test_data_without_an_order_are_refused() -> None:
    class Stream(IterableDataset[Tensor]):
        def __iter__(self) -> Any:
            return iter([])

    with pytest.raises(RunError, match="data of type Stream without a length\n.*\n  fix: an interrupted run must see"):
        fit(linear(), Stream(), epochs=1)
